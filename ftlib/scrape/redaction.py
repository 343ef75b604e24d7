"""Secrets and e-mail addresses -> placeholders that say what stood there, `<REDACTED:github_token>`.

Four detectors: the formats that providers document (secret_rules.py), those that the installed detect-secrets knows
beside them, values next to a telling name (secret_names.py, secret_values.py), and blocks of several lines such as
keys (secret_blocks.py). Good, not perfect: a password made of words passes, so the notebooks look again before training
and after it.

Nearly all lines hold nothing. Each line and word is looked at once and remembered while it is clean, since files and
patches of a project share most of their lines; the rules see what is left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from itertools import filterfalse

from ftlib.scrape.secret_blocks import block_spans
from ftlib.scrape.secret_names import UNFINISHED, named_secrets, telling_words
from ftlib.scrape.secret_rules import PLACES, TOKENS, Rule, compiled
from ftlib.scrape.secret_values import CHECKS, CHUNK, high_entropy, random_assignments

# What earlier texts held; a cache only, so that no result depends on it. Suspect words are those whose lines the rules
# have to see because of a name or an address.
_clean_groups: set[str] = set()
_clean_words: set[str] = set()
_suspect_words: set[str] = set()
_kept = 0
_MOST, _LONGEST = 40_000_000, 100_000  # characters kept in all, and of one text
_PLACEHOLDER = re.compile(r"<REDACTED:(\w+)>")
_PLACED = re.compile(r"<REDACTED:[a-z0-9_]+>$")
_LIBRARY_LINE = 1000  # detect-secrets' patterns take time that grows with the square of a line's length

_AT = re.compile(r"@[\w-][^\n]*")
_ADDRESS = re.compile(r"\w@[\w-]{1,64}\.[\w.-]{0,200}[A-Za-z]|://[^\s/@]{1,300}@")
# Every token has a digit before a letter, or capitals where no word begins; a line of pgpass has a port.
_DIGITS = re.compile(r"\d(?:[A-Za-z0-9]{5}|\d{2,4}:)[^\n]*|A3-[^\n]*")
_CAPITALS = re.compile(r"[A-Z](?:[a-z]?[A-Z][a-z]?[A-Z][a-z]|[A-Z]{15})[^\n]*")
_RUN = re.compile(
    r"(?<![A-Za-z0-9])(?=[A-Za-z0-9]{0,40}(?:\d[A-Za-z]|[A-Za-z]\d{3}))[A-Za-z0-9]{10}|A3-|:(?:\d{3,5}|\*):\w"
)
_LITERAL = re.compile(r"[\"'`]([A-Za-z0-9+/_=-]{32,120})[\"'`]")
_EMAIL = re.compile(
    r"(?<![\w.%+/@-])[A-Za-z0-9][\w.%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}"
    r"(?:[a-z]{2,24}|[A-Z]{2,24})(?![\w@-])",
    re.ASCII,
)
# `logo@home.png` is a file, `this@Main.finish` is Kotlin, `getty@tty.service` a unit.
_NO_MAIL = re.compile(
    r"^(?:git|this|super|return|it)@|\.(?:png|jpe?g|gif|svg|webp|avif|ico|[cm]?[jt]sx?|s?css|less|json|ya?ml|html?|md|py|"
    r"service|target|socket|timer|mount|so|dll|exe|zip|gz)$",
    re.IGNORECASE,
)


def redact(text: str) -> tuple[str, Counter[str]]:
    """Replace secrets by placeholders.

    Returns:
        the text, and how many of each kind were replaced. Redacting the result again changes nothing.
    """
    found: Counter[str] = Counter()
    before = None
    while text != before:  # a placeholder can free what stood next to it; every round takes something away
        before = text
        words, tokens = _suspects(set(filterfalse(_clean_words.__contains__, text.split())))
        if words:
            text = _replace(text, block_spans(text, " ".join(words)), found)
            text = _lines(text, words, tokens, found) if text == before else text
    return text, found


def places(text: str) -> dict[str, list[int]]:
    """Kind of secret -> the lines on which a redacted text holds its placeholder, from 0 on."""
    found: dict[str, list[int]] = {}
    number, start = 0, 0
    for match in _PLACEHOLDER.finditer(text):
        number, start = number + text.count("\n", start, match.start()), match.start()
        found.setdefault(match[1], []).append(number)
    return found


# --- lines ------------------------------------------------------------------------------------------------------------


def _lines(text: str, words: set[str], tokens: bool, found: Counter[str]) -> str:
    groups: list[list[int]] = []  # where lines that belong together begin and end
    for start, end in sorted(_lines_with(words, text)):
        after = _end_of(text, end, _going_on(text[start:end]))
        if groups and start <= groups[-1][1]:
            groups[-1][1] = max(groups[-1][1], after)
        else:
            groups.append([start, after])
    groups = [group for group in groups if text[slice(*group)] not in _clean_groups]
    if not groups:
        return text
    gap = "\n" + next(sign for sign in map(chr, range(0x110000)) if sign not in text) + "\n"
    before = [text[start:end] for start, end in groups]
    block = gap.join(before)
    after_all = _apply(block, tokens, found)
    if after_all == block:
        _remember(_clean_groups, before, len(block))
        return text
    parts, last = [], 0
    for (start, end), line in zip(groups, after_all.split(gap), strict=True):
        parts += [text[last:start], line]
        last = end
    return "".join([*parts, text[last:]])


def _lines_with(words: set[str], text: str) -> set[tuple[int, int]]:
    found = set()
    for word in words:
        place = text.find(word)
        while place >= 0:
            end = text.find("\n", place)
            end = len(text) if end < 0 else end
            found.add((text.rfind("\n", 0, place) + 1, end))
            place = text.find(word, end)
    return found


def _end_of(text: str, end: int, more: int) -> int:
    for _ in range(more):
        following = text.find("\n", end + 1)
        end = len(text) if following < 0 else following
    return end


def _going_on(line: str) -> int:
    """How many of the next lines may belong to this one."""
    end = line.rstrip()[-80:]
    if end.endswith(">") and _PLACED.search(end):
        return 0
    return 0 if end[-1:] != "=" and not UNFINISHED.search(_lower(end)) else 5 if end[-1:] == "{" else 2


def _remember(clean: set[str], texts: Collection[str], size: int) -> None:
    global _kept
    if size > _LONGEST:
        return
    _kept += size
    if _kept > _MOST:
        forget()
    clean.update(texts)


def forget() -> None:
    """Empty the caches."""
    global _kept
    for texts in (_clean_groups, _clean_words, _suspect_words):
        texts.clear()
    _kept = 0


def _suspects(words: set[str]) -> tuple[set[str], bool]:
    """The words whose lines may hold a secret, and whether one of them is a token; the others are remembered."""
    known = words & _suspect_words
    words -= known
    block = "\n".join(words)
    named = telling_words(block, _lower(block))
    if "@" in block:
        named.update(filter(_ADDRESS.search, (_line_at(block, match.start()) for match in _AT.finditer(block))))
    tokens = _tokens(words)
    _remember(_suspect_words, named - tokens, len(block))
    _remember(_clean_words, words - named - tokens, len(block))
    return known | named | tokens, bool(tokens)


def _lower(text: str) -> str:
    """In lower case, and as long as before: one letter would become two."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text.replace("\u0130", "i").lower()


def _line_at(text: str, place: int) -> str:
    end = text.find("\n", place)
    return text[text.rfind("\n", 0, place) + 1 : len(text) if end < 0 else end]


def _tokens(words: set[str]) -> set[str]:
    """Those of the words that hold a token."""
    block = "\n".join([word for word in words if len(word) >= 15])
    digits = {_line_at(block, match.start()) for match in _DIGITS.finditer(block)}
    capitals = {_line_at(block, match.start()) for match in _CAPITALS.finditer(block)}
    odd = set(filter(_RUN.search, digits))
    odd.update(word for word in capitals if len(CHUNK.findall(word)) > 0.3 * len(word))
    if not odd:
        return odd
    text = "\n".join(odd)
    places = [match.start() for rule in TOKENS if _hinted(rule, text) for match in _matches(rule, text)]
    places += (start for start, _, _ in _library_finds(text))
    places += (match.start() for match in _LITERAL.finditer(text) if high_entropy(match[1]))
    return {_line_at(text, place) for place in places}


# --- rules ------------------------------------------------------------------------------------------------------------


def _apply(text: str, tokens: bool, found: Counter[str]) -> str:
    for rule in TOKENS if tokens else ():
        if _hinted(rule, text):
            text = _replace(text, ((*_span(match), rule.kind) for match in _matches(rule, text)), found)
    lower = _lower(text)
    for rule in PLACES:
        if _hinted(rule, lower):
            text = _replace(text, ((*_span(match), rule.kind) for match in _matches(rule, text)), found)
    text = _replace(text, _library_finds(text), found)
    text = _replace(text, ((*span, "secret") for span in named_secrets(text, _lower(text))), found)
    if tokens:
        text = _replace(text, ((*span, "high_entropy") for span in random_assignments(text)), found)
    if "@" in text:
        text = _replace(text, ((*m.span(), "email") for m in _EMAIL.finditer(text) if not _NO_MAIL.search(m[0])), found)
    return text


def _hinted(rule: Rule, text: str) -> bool:
    # Most of the work; any() with a generator takes three times as long.
    for hint in rule.hints:  # noqa: SIM110
        if hint in text:
            return True
    return False


def _span(match: re.Match[str]) -> tuple[int, int]:
    return match.span("secret" if "secret" in match.re.groupindex else 0)


def _matches(rule: Rule, text: str) -> Iterator[re.Match[str]]:
    check = CHECKS[rule.check]
    for match in compiled(rule).finditer(text):
        start, end = _span(match)
        if check(text[start:end]):
            yield match


def _replace(text: str, spans: Iterable[tuple[int, int, str]], found: Counter[str]) -> str:
    parts, last = [], 0
    for start, end, kind in spans:
        if start < last or end == start or _in_placeholder(text, start, end):
            continue
        found[kind] += 1
        parts += [text[last:start], f"<REDACTED:{kind}>"]
        last = end
    return "".join([*parts, text[last:]]) if parts else text


def _in_placeholder(text: str, start: int, end: int) -> bool:
    before = text.rfind("<REDACTED:", max(0, start - 50), start)
    return "<REDACTED:" in text[start:end] or before >= 0 and text.find(">", before) >= start


@cache
def _library() -> list[tuple[str, re.Pattern[str]]]:
    """The patterns of detect-secrets' plugins by kind; a newer release brings newer ones. Loaded when first needed."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    patterns = []
    for name, plugin in sorted(get_mapping_from_secret_type_to_class().items()):
        # Ours for these three know placeholders, whole blocks, and what an npm integrity hash looks like.
        if issubclass(plugin, RegexBasedDetector) and plugin.__name__ not in _OWN_BETTER:
            kind = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
            patterns += [(kind, pattern) for pattern in plugin.denylist]  # type: ignore[attr-defined]
    return patterns


_OWN_BETTER = {"BasicAuthDetector", "PrivateKeyDetector", "AzureStorageKeyDetector"}
_LIBRARY_RUN = re.compile(r"\d[A-Za-z0-9+/_-]{12}")


def _library_finds(text: str) -> Iterator[tuple[int, int, str]]:
    done = -1
    for run in _LIBRARY_RUN.finditer(text):
        if run.start() <= done:
            continue
        start = text.rfind("\n", 0, run.start()) + 1
        done = text.find("\n", run.start())
        done = len(text) if done < 0 else done
        if done - start > _LIBRARY_LINE:
            continue
        line, spans = text[start:done], []
        for kind, pattern in _library():
            for match in pattern.finditer(line):
                first, end = match.span(1 if pattern.groups == 1 and match[1] else 0)
                if not (line[first - 1 : first].isalnum() or line[end : end + 1].isalnum()):
                    spans.append((start + first, start + end, kind))
        yield from sorted(spans)
