"""The sentences of a page, and the one value in which two of them differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein

from ftlib.synth.changed.statements import usable

MOST_UNITS = 25
"""Sentences on each side of a hunk; each is held against each, so a hunk with more is left out."""
LONGEST_UNIT = 400
LONGEST_PARAGRAPH = 5000
"""Characters; a longer one is passed over."""
_LEAST_WORDS = 3  # around a value, for the reader to know what is asked
_TYPO = 0.75  # similarity from which on two names are two spellings of one

_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_MARKER = re.compile(r"^\s*(?:[-*+]|\d{1,3}[.)])\s+")
_HEADING = re.compile(r"\s{0,3}(?:#{1,6}|={1,6})\s+")
_RULE = re.compile(r"\s*[-=~^*_|:+\s]{2,}")
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)|<sup>[^<]*</sup>|<[^>]*>")
_LINK = re.compile(r"\[([^\[\]]+)\](?:\([^()\s]*(?:\s+\"[^\"]*\")?\)|\[[^\[\]]*\])")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'`(*#@])")
_TOKEN = re.compile(r"https?://\S+|[#@$£€~^]?\w+(?:[-./@:+'’]\w+)*%?|\s+|.")
_NUMBER_WORD = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand daily weekly monthly "
    "yearly hourly once twice"
).split()
_NUMBER = re.compile(
    rf"[~$£€]?(?:v?\d[\d,._:x]*(?:[-–]\d[\d.]*)?(?:%|[a-zA-Z]{{1,3}})?|{'|'.join(_NUMBER_WORD)})(?:\s[a-z%]{{1,12}})?",
    re.I,
)
_NAME_WORD = re.compile(r"[A-Z]|.*(?:[#@_/]|\w\.\w|[a-z][A-Z]|\d)")
_INNER = re.compile(r".+[A-Z]|.*[\d#@_/]|.*\w\.\w")
_JOINERS = {"of", "and", "for", "the", "on", "in", "by", "to"}


class Unit(NamedTuple):
    """A sentence, list item or row of a table; `source` are the page's lines for it."""

    text: str
    source: str


class Difference(NamedTuple):
    """Two units that are `before` + value + `after`."""

    before: str
    old: str
    new: str
    after: str
    kind: str
    """number, name or code."""


def units(lines: Sequence[str], part: bool = False) -> list[Unit]:
    """The units of a page or of a part of it; Markdown and what resembles it.

    Headings are left out, since they state nothing, and so are blocks of code: they are examples, one like the other.
    In a `part` nobody knows whether a fence opens or closes a block, so there all lines are read; what was code is then
    not found in the page.
    """
    found: list[Unit] = []
    held: list[str] = []
    fence = ""

    def flush() -> None:
        source = "\n".join(held)
        if held and len(source) <= LONGEST_PARAGRAPH:
            bare = [line.lstrip(" \t>") for line in held]
            text = _plain(" ".join([_MARKER.sub("", bare[0], count=1), *bare[1:]]))
            found.extend(Unit(part, source) for part in _SENTENCE.split(text))
        held.clear()

    for line in lines:
        if mark := _FENCE.match(line):
            flush()
            fence = "" if part or (fence and mark[1].startswith(fence)) else fence or mark[1]
        elif (
            fence or len(line) > LONGEST_PARAGRAPH or not line.strip() or _RULE.fullmatch(line) or _HEADING.match(line)
        ):
            flush()
        elif line.lstrip().startswith("|"):
            flush()
            found.append(Unit(_plain(line), line))
        else:
            if _MARKER.match(line):
                flush()
            held.append(line)
    flush()
    return [unit for unit in found if unit.text and len(unit.text) <= LONGEST_UNIT]


def _plain(text: str) -> str:
    """Without pictures, the targets of links, tags and emphasis; backticks stay."""
    text = _LINK.sub(r"\1", _IMAGE.sub("", text))
    return " ".join(re.sub(r"\*\*|(?<!\w)__|__(?!\w)", "", text).split())


def differences(old: Sequence[str], new: Sequence[str]) -> list[tuple[Unit, Unit, Difference]]:
    """The pairs of units of two versions of some lines that differ in one value, each with one partner only."""
    before, after = units(old, part=True), units(new, part=True)
    texts = {unit.text for unit in before}, {unit.text for unit in after}
    gone = [unit for unit in before if unit.text not in texts[1]]
    come = [unit for unit in after if unit.text not in texts[0]]
    if max(len(gone), len(come)) > MOST_UNITS:
        return []
    pairs = [(a, b, found) for a in gone for b in come if (found := difference(a.text, b.text))]
    partners = Counter(unit.text for pair in pairs for unit in pair[:2])
    return [pair for pair in pairs if partners[pair[0].text] == partners[pair[1].text] == 1]


def difference(old: str, new: str) -> Difference | None:
    """The one value in which two sentences differ, or None: they differ in more, in wording or in spelling alone."""
    if old[:1] != new[:1] and old[-1:] != new[-1:]:
        return None  # a quick look, for most pairs
    mine, other = _TOKEN.findall(old), _TOKEN.findall(new)
    start = 0
    while start < min(len(mine), len(other)) and mine[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(mine), len(other)) - start and mine[-1 - end] == other[-1 - end]:
        end += 1
    values = ["".join(tokens[start : len(tokens) - end]).strip() for tokens in (mine, other)]
    before, after = "".join(mine[:start]), "".join(mine[len(mine) - end :])
    if re.search(r"[-/\\.]$", before) or re.match(r"[-/\\$]", after):
        return None  # a part of a name
    if not _differ(*values) or len(re.findall(r"[^\W\d_]{2,}", f"{before} {after}")) < _LEAST_WORDS:
        return None
    quoted = before.count("`") % 2 == 1 or all(value[0] == value[-1] == "`" for value in values)
    first = not re.search(r"\w", before)
    kinds = {"code" if quoted else _kind(value.strip("`*_"), first) for value in values}
    kind = kinds.pop()
    return Difference(before, values[0], values[1], after, kind) if kind and not kinds else None


def _differ(old: str, new: str) -> bool:
    """Whether two spans are two values, and not two wordings or spellings of one."""
    if not (usable(old.strip("`")) and usable(new.strip("`"))) or re.search(r"://|=|#\d", old + new):
        return False  # links, names with their values, and numbers of issues
    words = [set(re.findall(r"\w+", value.casefold())) for value in (old, new)]
    if words[0] & words[1] and any(not word.isdigit() for word in words[0] & words[1]):
        return False  # a word that stays means that more than one thing changed around it
    plain = ["".join(re.findall(r"[^\W_]|\.(?=\d)", value.casefold())) for value in (old, new)]
    spelled = not re.search(r"\d", old + new) and Levenshtein.normalized_similarity(*plain) >= _TYPO
    return plain[0] != plain[1] and not spelled


def _kind(value: str, first: bool) -> str:
    """number or name; "" for other words. A capital says little where the sentence begins."""
    if _NUMBER.fullmatch(value):
        return "number"
    words = value.split()
    if not words or words[-1].lower() in _JOINERS:
        return ""
    named = all(_NAME_WORD.match(word) or (n and word in _JOINERS) for n, word in enumerate(words))
    return "name" if named and (not first or any(_INNER.match(w) for w in words) or len(words) > 1) else ""
