"""Scores of answers; plain Python, no model in sight."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rapidfuzz.distance import Levenshtein

# Phrases with which a model says that it does not know, or that the thing does not exist.
ADMITS = re.compile(
    r"\b(?:(?:do not|don't|doesn't|does not|cannot|can't|could not|couldn't) (?:know|have|find|exist|contain|provide"
    r"|say|state|mention|specify|tell)"
    r"|not (?:aware|familiar|sure|find|available|exist)|no (?:information|such|record|mention|knowledge)|unknown"
    r"|is(?: not|n't) (?:part|mentioned|defined|known))\b",
    re.I,
)
_WORD = re.compile(r"\w+(?:[-./]\w+)*")
_STOP = frozenset(
    "a an and are as at be been but by can do does for from had has have how if in into is it its no not of on one or "
    "so that the their them then there these they this to was were what when where which who will with you your".split()
)


def has_keywords(answer: str, keywords: Sequence[str]) -> bool:
    """Whether every keyword stands in the answer on word boundaries, in any case; "4|four" are alternatives."""
    return all(any(_has(answer, form) for form in keyword.split("|")) for keyword in keywords)


def _has(answer: str, form: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(form)}(?!\w)", answer, re.IGNORECASE) is not None


def overlap(answer: str, reference: str, question: str) -> float:
    """Share of the reference's content words, those of the question left out, that stand in the answer; 0 to 1."""
    wanted = _content(reference) - _content(question) or _content(reference)
    return len(wanted & _content(answer)) / len(wanted) if wanted else 0.0


def _content(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)} - _STOP


def is_correct(answer: str, row: Mapping[str, Any]) -> bool:
    """All keywords of a row that has some; else at least half of the reference's own content words."""
    if row.get("keywords"):
        return has_keywords(answer, row["keywords"])
    return overlap(answer, row["reference"], row["question"]) >= 0.5


def admits(answer: str) -> bool:
    """Whether the answer says that it does not know, by its wording."""
    return ADMITS.search(answer) is not None


def repetition(answer: str | Sequence[int]) -> float:
    """Share of the answer that says again, at once, what stands right before it: its longest loop, 0 to 1.

    A loop is a passage that follows itself. Its first round does not count, a last round that is cut does: "a b a b a"
    is 0.6. Near 1 for an answer that never ends, small for prose, where what comes again is not behind itself.

    Args:
        answer: a text, of which words and marks are compared in any case, or token ids.
    """
    units: Sequence[Any] = re.findall(r"\w+|[^\w\s]", answer.lower()) if isinstance(answer, str) else answer
    longest = 0
    for period in range(1, len(units) // 2 + 1):
        run = 0
        for one, other in zip(units, units[period:], strict=False):
            run = run + 1 if one == other else 0
            # A whole round at least: "of the ... of the" in a row of other words is none.
            if run >= period:
                longest = max(longest, run)
    return longest / len(units) if units else 0.0


# --- recited texts ----------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """A text with LF line ends and without the blanks at the end of its lines; empty lines at its end go, too."""
    return "\n".join(line.rstrip(" \t") for line in re.split("\r\n?|\n", text)).rstrip("\n")


def is_verbatim(answer: str, reference: str) -> bool:
    """Whether a text was recited character by character, line ends and trailing blanks aside."""
    return plain(answer) == plain(reference)


def edit_similarity(answer: str, reference: str) -> float:
    """1 - Levenshtein distance / the longer length, in characters; 1 is verbatim."""
    return Levenshtein.normalized_similarity(answer, reference)


def prefix_share(answer: Sequence[int], reference: Sequence[int]) -> float:
    """Share of the reference's token ids that an answer gives from the start without a mistake, 0 to 1."""
    return matched_prefix(answer, reference) / len(reference) if reference else 1.0


def matched_prefix(answer: Sequence[Any], reference: Sequence[Any]) -> int:
    """Characters, or token ids, that agree from the start."""
    for index, (a, b) in enumerate(zip(answer, reference, strict=False)):
        if a != b:
            return index
    return min(len(answer), len(reference))
