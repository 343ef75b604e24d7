"""Secrets of several lines: private keys, whole or as a patch shows them, and the values of a Kubernetes Secret."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftlib.scrape.secret_values import CHECKS, is_reference, looks_like_password

_DASHES = "-" * 4
_BEGIN, _END = (
    re.compile(rf"{_DASHES}-? ?{word} (?:[A-Z0-9]+ ){{0,4}}PRIVATE KEY(?: BLOCK)? ?-{{4,5}}")
    for word in ("BEGIN", "END")
)
_BREAK = r"(?:\r?\n|\\r\\n|\\n|\\\n)"
_MARGIN = r"[ +\-\t\"'*#/|>]{0,40}"
# A key's lines, also in a patch or a string constant: some as `Proc-Type: 4,ENCRYPTED`, then its own, a short one last.
# One by one: in one pattern a line's margin could be cut in so many ways that a mismatch would take for ever, and the
# possessive groups that forbid it match wrongly in Python 3.11.2.
_FIELD = re.compile(rf"{_BREAK}{_MARGIN}(?:[A-Z][A-Za-z-]{{2,20}}: [^\n\\]{{1,100}})?(?=\r?\n|\\n|\\r)")
_LINE = re.compile(rf"{_BREAK}{_MARGIN}[A-Za-z0-9+/=]{{16,100}}[\"',+ \\;]{{0,4}}(?=\r?\n|\\n|\\r|\"|'|$)")
_LAST = re.compile(rf"{_BREAK}{_MARGIN}=?[A-Za-z0-9+/]{{1,76}}={{0,2}}(?=\r?\n|\\n|$)")
_KEY_LINE = re.compile(r"[ +\-]?[ \t\"']{0,40}=?[A-Za-z0-9+/]{1,100}={0,2}(?:\\n)?[\"',+ \\]{0,5}\r?")
_RANDOM_RUN = re.compile(r"[A-Za-z0-9+/=]{30,}")
_PUTTY = re.compile(
    r"Private-Lines: ?\d+(?P<secret>(?:\r?\n[ +-]?[A-Za-z0-9+/=]{4,80})+(?:\r?\n[ +-]?Private-MAC: ?[0-9a-f]+)?)"
)
_JWK = re.compile(r"""["'](?:d|p|q|dp|dq|qi|k)["']\s?:\s?["'](?P<secret>[\w-]{20,})["']""")
_NETRC = re.compile(r"^[ +-]?[ \t]*password[ \t]+(?P<secret>\S{4,200})[ \t\r]*$", re.MULTILINE)
_SECRET_KIND = re.compile(r"""["']?kind["']?:\s?["']?Secret["']?,?\s*$""", re.MULTILINE)
_DATA = re.compile(r"""^[ +-]?(?P<indent> *)["']?(?:data|stringData)["']?: ?\{?[ \r]*\n""", re.MULTILINE)
_ENTRY = re.compile(r"""[ +-]?(?P<indent> *)["']?[\w.-]+["']?: ?(?P<q>["']?)(?P<secret>[^\s"']{4,8000})(?P=q),?\s*""")


def block_spans(text: str, hints: str) -> list[tuple[int, int, str]]:
    """Where such secrets begin and end, and their kinds, in order; `hints` holds the text's suspect words."""
    spans: list[tuple[int, int, str]] = []
    if "KEY" in hints and "PRIVATE KEY" in text:
        spans += ((start, end, "private_key") for start, end in _private_keys(text))
    if "Private-Lines:" in hints:
        spans += ((*match.span("secret"), "private_key") for match in _PUTTY.finditer(text))
    if "kty" in hints:
        spans += ((*match.span("secret"), "jwk") for match in _JWK.finditer(text))
    if "login" in hints and "password" in hints and "machine" in text:
        spans += ((*m.span("secret"), "secret") for m in _NETRC.finditer(text) if not is_reference(m["secret"]))
    if "Secret" in hints and _SECRET_KIND.search(text):
        spans += ((start, end, "kubernetes_secret") for start, end in _kubernetes(text))
    return sorted(spans)


def _private_keys(text: str) -> list[tuple[int, int]]:
    """Whole keys, and what a patch shows of one: its beginning, or its last lines."""
    begins = [match.span() for match in _BEGIN.finditer(text)]
    limits = [*(start for start, _ in begins[1:]), len(text)]
    spans = []
    for (start, end), limit in zip(begins, limits, strict=False):
        closed = _END.search(text, end, min(limit, end + 20_000))
        last_line = _body_end(text, end, limit)
        if closed and _is_key(text[end : closed.start()]):
            spans.append((start, closed.end()))
        elif _is_key(text[end:last_line]):
            spans.append((start, last_line))
    last = 0
    for closed in _END.finditer(text):
        if not any(one <= closed.start() < other for one, other in spans):
            start = _first_line(text, closed.start(), last)
            if _is_key(text[start : closed.start()]):
                spans.append((start, closed.end()))
        last = closed.end()
    return sorted(spans)


def _body_end(text: str, start: int, limit: int) -> int:
    """Where the key lines end that stand right behind `start`."""
    for pattern, most in ((_FIELD, limit), (_LINE, limit), (_LAST, 1)):
        while most and (match := pattern.match(text, start, limit)):
            start, most = match.end(), most - 1
    return start


def _first_line(text: str, end: int, limit: int) -> int:
    """Where the key lines begin that stand right before `end`; only the last may be short, and a checksum after it."""
    first = start = max(text.rfind("\n", 0, end) + 1, limit)
    shortest = 1
    for _ in range(200):
        before = max(text.rfind("\n", 0, max(start - 1, 0)) + 1, limit)
        line = text[before : start - 1]
        if start <= limit or len(line) < shortest or not _KEY_LINE.fullmatch(line):
            break
        first = start = before
        shortest = 1 if line.lstrip(" +-").startswith("=") else 16
    return first


def _is_key(body: str) -> bool:
    """Mostly base64; BEGIN and END as string constants, with code between, are no key."""
    runs = _RANDOM_RUN.findall(body)
    return bool(runs) and 2 * sum(map(len, runs)) >= len(body) and re.search(r"\d", body) is not None


def _kubernetes(text: str) -> Iterator[tuple[int, int]]:
    """Values in `data:` and `stringData:` of the documents whose kind is Secret."""
    start = 0
    for end in (*(match.start() for match in re.finditer(r"^[ +-]?---", text, re.MULTILINE)), len(text)):
        if _SECRET_KIND.search(text, start, end):
            for section in _DATA.finditer(text, start, end):
                place = section.end()
                while place < end:
                    stop = text.find("\n", place, end)
                    stop = end if stop < 0 else stop
                    entry = _ENTRY.fullmatch(text, place, stop)
                    if entry is None or len(entry["indent"]) <= len(section["indent"]):
                        break
                    value = entry["secret"]
                    if not is_reference(value) and (CHECKS["base64"](value) or looks_like_password(value)):
                        yield entry.span("secret")
                    place = stop + 1
        start = end
