"""Secrets and e-mail addresses -> placeholders that say what stood there, `<REDACTED:github_token>`.

By the providers' documented prefixes and the shape of an assignment. Good, not perfect: a password made of words
passes, so the notebooks look again before training and after it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple


class Rule(NamedTuple):
    """What `pattern` matches, or its group `secret` where it has one, is replaced if `accept` agrees.

    Without one of `hints` in the lower-case text the pattern is not tried: most texts hold no secret.
    """

    kind: str
    hints: list[str]
    pattern: re.Pattern[str]
    accept: Callable[[str], bool] = bool


def redact(text: str) -> tuple[str, Counter[str]]:
    """Replace secrets by placeholders.

    Returns:
        the text, and how many of each kind were replaced. Redacting the result again changes nothing.
    """
    found: Counter[str] = Counter()
    before = None
    while text != before:  # a placeholder can free what stood next to it; every round takes something away
        before, lower = text, text.lower()
        for rule in RULES:
            if any(hint in lower for hint in rule.hints):
                text = _apply(rule, text, found)
    return text, found


def _apply(rule: Rule, text: str, found: Counter[str]) -> str:
    group = "secret" if "secret" in rule.pattern.groupindex else 0

    def replace(match: re.Match[str]) -> str:
        if not rule.accept(match[group]):
            return match[0]
        found[rule.kind] += 1
        start, end = (place - match.start() for place in match.span(group))
        return f"{match[0][:start]}<REDACTED:{rule.kind}>{match[0][end:]}"

    return rule.pattern.sub(replace, text)


def _random(value: str) -> bool:
    """Whether a literal looks drawn at random: letters and digits, no words joined up, 3 bits a character or more."""
    if not re.search(r"\d", value) or not re.search(r"[A-Za-z]", value):
        return False
    if re.fullmatch(r"(?:[A-Za-z]+\d{0,4}|\d{1,4})(?:[-_./:@]+(?:[A-Za-z]+\d{0,4}|\d{1,4}))*[-_./:@]*", value):
        return False
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares) >= 3.0


def _key_body(block: str) -> bool:
    return re.search(r"[A-Za-z0-9+/=]{30}", block) is not None  # BEGIN and END as string constants are no key


def _literal(value: str) -> bool:
    return value[0] not in "${%[(" and not set(value.lower()) <= set("*x.")  # not ${PASSWORD}, not ***


def _person(address: str) -> bool:
    # `git@github.com:owner/name` is how a repository is cloned; `logo@home.png` is a file.
    name, _, domain = address.lower().rpartition("@")
    return name != "git" and not re.search(r"\.(png|jpe?g|gif|svg|webp|[jt]sx?|s?css|json|html)$", domain)


def _token(kind: str, hints: str, pattern: str, accept: Callable[[str], bool] = bool) -> Rule:
    return Rule(kind, hints.split(), re.compile(rf"(?<![A-Za-z0-9_-])(?:{pattern})(?![A-Za-z0-9])"), accept)


def _shape(kind: str, hints: str, pattern: str, accept: Callable[[str], bool] = bool) -> Rule:
    return Rule(kind, hints.split("|"), re.compile(pattern, re.IGNORECASE | re.MULTILINE), accept)


_NAMED = r"(?:api[_-]?key|access[_-]?key|private[_-]?key|secret|token|passw(?:or)?d|passphrase|credential)"
_HINTS = "key|secret|token|passw|passphrase|credential"
_VALUE = r"(?P<secret>[^\s\"'`<>{}$(),;&]{12,200})"
_BEGIN, _END = (rf"-----{word} (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----" for word in ("BEGIN", "END"))
# A key's lines, also in a patch or a string constant.
_BODY = r"(?:(?:\r?\n|\\r\\n|\\n)[ +\-\t\"']{0,20}[A-Za-z0-9+/=]{16,76}[\"',+ ]{0,4})+"

RULES = (
    _shape("private_key", "private key", rf"{_BEGIN}[\s\S]{{1,20000}}?{_END}|{_BEGIN}{_BODY}", _key_body),
    _shape("private_key", "private key", rf"(?:^[ +\-]?[A-Za-z0-9+/=]{{16,76}}\r?\n){{1,200}}[ +\-]?{_END}"),
    _token("github_token", "gh github_pat_", r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,}"),
    _token("gitlab_token", "gl", r"gl(?:pat|oas|dt|rt|ptt|cbt|ft)-[A-Za-z0-9_.-]{19,}[A-Za-z0-9]"),
    _token("slack_token", "xox xapp-", r"(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,}"),
    _token("slack_webhook", "hooks.slack.com", r"https://hooks\.slack\.com/(?:services|workflows)/[\w/]{20,}"),
    _token("anthropic_key", "sk-ant-", r"sk-ant-[\w-]{20,}", _random),
    _token("openai_key", "sk-", r"sk-[\w-]{20,}", _random),
    _token("google_key", "aiza gocspx- ya29.", r"AIza[\w-]{35}|GOCSPX-[\w-]{20,}|ya29\.[\w-]{30,}"),
    _token("stripe_key", "k_live_ k_test_ whsec_", r"[sr]k_(?:live|test)_\w{16,}|whsec_[\w+/=]{24,}"),
    _token("huggingface_token", "hf_", r"hf_[A-Za-z0-9]{30,}"),
    _token("npm_token", "npm_", r"npm_[A-Za-z0-9]{36,}"),
    _token("pypi_token", "pypi-", r"pypi-[\w-]{50,}"),
    _token("sendgrid_key", "sg.", r"SG\.[\w-]{20,24}\.[\w-]{40,46}"),
    _token("aws_access_key_id", "akia asia aroa aida", r"(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}"),
    _shape(
        "aws_secret_key",
        "aws|secret",
        r"(?:aws|secret)\w{0,30}[\"']?\s{0,3}[=:]{1,2}>?\s{0,3}[\"']?(?P<secret>[\w/+]{40})(?![\w/+=])",
        _random,
    ),
    _token("jwt", "eyj", r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    _shape(
        "url_password",
        "://",
        r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'`<>]{0,100}:(?P<secret>[^\s/@\"'`<>]{1,200})@",
        _literal,
    ),
    _shape("authorization", "bearer|basic", r"\b(?:bearer|basic)\s+(?P<secret>[\w+/=.~-]{20,})", _random),
    _shape(  # name = "value", also as `name: string = "value"`, {"name": "value"}, name => 'value'
        "secret",
        _HINTS,
        rf"{_NAMED}[\w-]{{0,30}}[\"'\]]{{0,2}}(?:\s?:\s?\w{{1,20}}(?=\s?=))?\s{{0,3}}(?:=>|:=|[:=(]){{1,2}}\s{{0,3}}"
        rf"(?P<quote>[\"'`]){_VALUE}(?P=quote)",
        _random,
    ),
    _shape(  # NAME=value and name: value at a line's start, ?name=value in a URL
        "secret",
        _HINTS,
        rf"(?:^[ \t+\-]*(?:export )?[\w.-]{{0,40}}|[?&][\w.-]{{0,20}}){_NAMED}[\w-]{{0,30}}[ \t]?[:=][ \t]?{_VALUE}"
        r"(?=$|[&\"'`<>\s])",
        _random,
    ),
    _shape(
        "email",
        "@",
        r"(?<![\w.%+/@-])[a-z0-9][\w.%+-]{0,63}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}(?![\w@-])",
        _person,
    ),
)
