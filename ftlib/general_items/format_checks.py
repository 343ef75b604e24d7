"""Rules on an answer's form, each a function of the answer and its arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftlib.metrics import has_keywords

_BULLET = re.compile(r"\s*[-*•]\s+(\S.*)")
_NUMBERED = re.compile(r"\s*(\d+)[.)]\s+(\S.*)")
_FENCED = re.compile(r"\s*```[\w-]*\n(.*?)\n?\s*```\s*", re.S)
_SEPARATOR = re.compile(r":?-{1,}:?")


def broken_rule(rules: Sequence[Mapping[str, Any]], answer: str) -> str:
    """The first rule that an answer breaks, as text; empty where it keeps them all.

    Args:
        rules: {"rule": a name of RULES, and its arguments}.
    """
    answer = answer.strip()
    for rule in rules:
        arguments = {name: value for name, value in rule.items() if name != "rule"}
        if not answer or not RULES[rule["rule"]](answer, **arguments):
            return " ".join([rule["rule"], *(f"{name}={value}" for name, value in arguments.items())])
    return ""


def _lines(answer: str) -> list[str]:
    return [line.strip() for line in answer.splitlines() if line.strip()]


def _words(answer: str) -> list[str]:
    return re.findall(r"\w+(?:['’.-]\w+)*", answer)


def _bullets(answer: str, n: int, only: bool = False) -> bool:
    """Exactly n lines with a bullet; `only`: and no other line."""
    found = [line for line in _lines(answer) if _BULLET.fullmatch(line)]
    return len(found) == n and not (only and len(_lines(answer)) != n)


def _numbered(answer: str, n: int) -> bool:
    """Exactly the lines 1. to n., in order; other lines may stand around them."""
    found = [match[1] for line in _lines(answer) if (match := _NUMBERED.fullmatch(line))]
    return found == [str(number + 1) for number in range(n)]


def _word_count(answer: str, least: int = 1, most: int = 10**6) -> bool:
    return least <= len(_words(answer)) <= most


def _line_count(answer: str, n: int) -> bool:
    return len(_lines(answer)) == n


def _sentences(answer: str, n: int) -> bool:
    """Exactly n sentences, each with its mark at the end; they may be listed."""
    answer = re.sub(r"(?m)^\s*(?:[-*•]|\d+[.)])\s+", "", answer)
    return len(re.findall(r"[.!?]+[\"')\]]*(?=\s|$)", answer)) == n and answer[-1] in ".!?\"')"


def _paragraphs(answer: str, n: int) -> bool:
    return len([part for part in re.split(r"\n\s*\n", answer) if part.strip()]) == n


def _equals(answer: str, text: str, case: bool = False) -> bool:
    """The answer is one of the alternatives ("a|b"), whatever its case and a full stop or quotes around it."""
    if case:
        return answer in text.split("|")
    return answer.strip(" .!\"'`*\n").lower() in text.lower().split("|")


def _keywords(answer: str, words: Sequence[str]) -> bool:
    return has_keywords(answer, words)


def _lacks(answer: str, words: Sequence[str]) -> bool:
    return not any(has_keywords(answer, [word]) for word in words)


def _upper(answer: str) -> bool:
    return answer.isupper()


def _lower(answer: str) -> bool:
    return answer.islower()


def _without(answer: str, characters: str) -> bool:
    return not set(characters.lower()) & set(answer.lower())


def _starts(answer: str, text: str) -> bool:
    return answer.startswith(text)


def _ends(answer: str, text: str) -> bool:
    return answer.endswith(text)


def _matches(answer: str, pattern: str) -> bool:
    """The whole answer matches a regular expression."""
    return re.fullmatch(pattern, answer, re.S) is not None


def _count(answer: str, word: str, n: int) -> bool:
    """A word stands exactly n times in the answer, in any case."""
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", answer, re.I)) == n


def _items(answer: str, n: int | None = None, of: Sequence[str] = (), by: str = ",") -> bool:
    """One line of exactly n items, or exactly the items `of` in that order, with the separator between them."""
    found = [item.strip() for item in answer.rstrip(".").split(by)]
    if len(_lines(answer)) != 1 or not all(found):
        return False
    return [item.lower() for item in found] == [item.lower() for item in of] if of else len(found) == n


def _sequence(answer: str, of: Sequence[str]) -> bool:
    """Exactly these items in that order, one on a line or between commas, bulleted, numbered or plain."""
    parts = _lines(answer) if len(_lines(answer)) > 1 else answer.rstrip(".").split(",")
    bare = [re.sub(r"^(?:[-*•]|\d+[.)])\s+", "", part.strip()).strip(" .,*`").lower() for part in parts]
    return bare == [item.lower() for item in of]


def _line_starts(answer: str, of: Sequence[str]) -> bool:
    """As many lines as there are texts, each beginning with its own; they may stand in one fence."""
    fenced = _FENCED.fullmatch(answer)
    lines = _lines(fenced[1] if fenced else answer)
    return len(lines) == len(of) and all(line.startswith(text) for line, text in zip(lines, of, strict=True))


def _tagged(answer: str, tag: str, text: str = "") -> bool:
    """Nothing but one element of that name; `text`: alternatives of what it holds."""
    match = re.fullmatch(rf"<{tag}>(.*)</{tag}>", answer, re.S)
    return bool(match and match[1].strip() and f"<{tag}>" not in match[1] and (not text or _equals(match[1], text)))


def _fence(answer: str, tag: str = "") -> bool:
    """Nothing but one fenced code block; `tag`: of that language."""
    return re.fullmatch(rf"```{tag or '[a-z]*'}\n[^`]*\S[^`]*\n?```", answer, re.S) is not None


def _json(
    answer: str,
    keys: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
    types: Mapping[str, str] | None = None,
    array: Sequence[Any] | None = None,
) -> bool:
    """A JSON document, alone or in one fence.

    Args:
        keys: of the object: these and no others.
        values: of keys, text in any case.
        types: Python's names of the types of values.
        array: the whole document.
    """
    fenced = _FENCED.fullmatch(answer)
    try:
        found = json.loads(fenced[1] if fenced else answer)
    except (ValueError, RecursionError):
        return False
    if array is not None:
        return _same(found, list(array))
    return (
        isinstance(found, dict)
        and (not keys or set(found) == set(keys))
        and all(key in found and _same(found[key], value) for key, value in (values or {}).items())
        and all(type(found.get(key)).__name__ == name for key, name in (types or {}).items())
    )


def _same(found: Any, wanted: Any) -> bool:
    """Equal as JSON: text in any case, and true is not 1."""
    if isinstance(found, str) and isinstance(wanted, str):
        return found.lower() == wanted.lower()
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return set(found) == set(wanted) and all(_same(found[key], wanted[key]) for key in wanted)
    return isinstance(found, bool) == isinstance(wanted, bool) and bool(found == wanted)


def _table(answer: str, columns: Sequence[str], rows: int) -> bool:
    """A Markdown table with these headings and so many rows beneath them; other lines may stand around it."""
    lines = [line.strip("|").split("|") for line in _lines(answer) if "|" in line]
    cells = [[cell.strip(" *") for cell in line] for line in lines]
    return (
        len(cells) == rows + 2
        and all(len(row) == len(columns) for row in cells)
        and [cell.lower() for cell in cells[0]] == [name.lower() for name in columns]
        and all(_SEPARATOR.fullmatch(cell) for cell in cells[1])
        and all(all(row) for row in cells[2:])
    )


RULES: dict[str, Callable[..., bool]] = {
    "bullets": _bullets,
    "numbered": _numbered,
    "words": _word_count,
    "lines": _line_count,
    "sentences": _sentences,
    "paragraphs": _paragraphs,
    "equals": _equals,
    "keywords": _keywords,
    "lacks": _lacks,
    "upper": _upper,
    "lower": _lower,
    "without": _without,
    "starts": _starts,
    "ends": _ends,
    "matches": _matches,
    "count": _count,
    "items": _items,
    "sequence": _sequence,
    "line_starts": _line_starts,
    "tagged": _tagged,
    "fence": _fence,
    "json": _json,
    "table": _table,
}
