"""What took the place of what, by the titles of pull requests: "Migrate from TeamCity to GitHub Actions".

A diff does not say it: such a change removes one set of files and adds another. A title is believed only if today's
code agrees: the former name stands nowhere in it, the present one does. Pages may still hold the former name, and often
do; asking is then most worth it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ftlib.synth.changed.rows import Row, fact_row
from ftlib.synth.changed.statements import LONGEST_VALUE
from ftlib.synth.changed.wordings import gives_away
from ftlib.synth.curation.naming import number_of

Document = Mapping[str, Any]
MOST = 50  # titles, the newest: each is looked for in all files

_NAME = r"(`[^`]+`|'[^']+'|\"[^\"]+\"|“[^”]+”|[\w@./#+-]+(?: [\w@./#+-]+){0,3}?)"
_TAIL = r"(?: (?:in|for|on|across|when|as|to|within|where|and) .*| \(.*\))?\W*$"
_MOVES = (
    r"(?:migrat(?:e|es|ed|ing|ion)|mov(?:e|es|ed|ing)|switch(?:es|ed|ing)?|chang(?:e|es|ed|ing)|convert(?:s|ed|ing)?"
)
_MOVES += r"|port(?:s|ed|ing)?|upgrad(?:e|es|ed|ing)|transition(?:s|ed|ing)?)"
# Texts, compiled at the first use: ftlib is imported in an instant.
_TITLES = (
    rf"\b{_MOVES}\b(?: [\w-]+){{0,4}}? from {_NAME} to {_NAME}{_TAIL}",
    rf"\breplac(?:e|es|ed|ing) (?:the |all )?(?:(?:references?|usages?|uses?|calls?) (?:to|of) )?{_NAME} "
    rf"(?:with|by) (?:the )?{_NAME}{_TAIL}",
    rf"\brenam(?:e|es|ed|ing) (?:the )?{_NAME} (?:to|as|into) {_NAME}{_TAIL}",
)
_INSTEAD = rf"\b(?:use|uses|using|adopt) {_NAME} (?:instead of|rather than|in place of) {_NAME}{_TAIL}"
_PREFIX = re.compile(r"^(?:PR #\d+: )?(?:[a-z]+(?:\([^)]*\))?!?: )?")
_QUOTES = "`'\"“”"
_VERSION = re.compile(r"v?\d[\w.+-]*$")


def replacements(pulls: Iterable[Document], files: Sequence[Document], project: str, now: str) -> Iterator[Row]:
    """The replacements that titles of pull requests name and today's files bear out, the newest first.

    Args:
        files: code and pages of the snapshot; now: its date.

    Yields:
        rows as `changed_facts` returns them, of the form "replacement", with `still_in`: ids of pages that hold the old
        value. The question holds it too, as there is no other name for the thing.
    """
    newest = sorted(pulls, key=lambda row: (row["date"], row["id"]), reverse=True)
    named = [(pull, values) for pull in newest if (values := _values(pull["title"]))][:MOST]
    texts = [(row, text, text.casefold()) for row in files if named and (text := f"{row['text']}\n{row['path']}")]
    seen: set[tuple[str, str]] = set()
    for pull, (old, current) in named:
        if (old, current) in seen or (current, old) in seen:
            continue  # done twice, or undone since
        seen.add((old, current))
        former = [row for row, text, low in texts if _stands(old, text, low)]
        present = [(row, text) for row, text, low in texts if _stands(current, text, low)]
        if present and all(row["source"] != "code" for row in former):
            document, text = min(present, key=lambda one: (one[0]["source"] != "code", one[0]["path"]))
            evidence = next(line for line in text.splitlines() if _stands(current, line, line.casefold()))
            row = fact_row(
                pull["title"],
                ("replacement", old, ""),
                (old, current),
                document,
                (pull["title"], evidence),
                project,
                source=pull["path"],
                dates=(pull["date"], now),
                number=number_of(pull),
            )
            if row and not gives_away(row["question"], row["keywords"]):
                yield row | {"still_in": [row["id"] for row in former]}


def _values(title: str) -> tuple[str, str] | None:
    """The former and the present name in a title; None where it names no two things."""
    title = _PREFIX.sub("", title[:300])
    if match := re.search(_INSTEAD, title, re.I):
        current, old = match[1], match[2]
    elif match := next(filter(None, (re.search(pattern, title, re.I) for pattern in _TITLES)), None):
        old, current = match[1], match[2]
    else:
        return None
    names = [value.strip(_QUOTES).rstrip(".,") for value in (old, current)]
    if any(not _is_name(value, plain) for value, plain in zip((old, current), names, strict=True)):
        return None
    one, other = (name.casefold() for name in names)
    return None if one in other or other in one else (names[0], names[1])


def _is_name(written: str, plain: str) -> bool:
    """Whether a value is the name of something: in quotes, with a capital or a sign inside, or one word alone."""
    if not 2 < len(plain) <= LONGEST_VALUE or _VERSION.match(plain):
        return False
    return written[0] in _QUOTES or bool(re.search(r"[A-Z@_./]|\w-\w|\d", plain)) or " " not in plain


def _stands(name: str, text: str, low: str) -> bool:
    """Whether a name stands in a text as whole words; the text in lower case is looked through first."""
    if name.casefold() not in low:
        return False
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text, re.I) is not None
