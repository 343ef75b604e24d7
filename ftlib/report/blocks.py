"""The pieces of which the report's sections are made. They hold plain text: whoever renders them escapes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftlib.report.numbers import dig

Cell = Any
"""Text, or a Mark."""


@dataclass(frozen=True)
class Say:
    text: str
    style: str = ""
    """verdict, small, or nothing."""


@dataclass(frozen=True)
class Listing:
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    rows: Sequence[Mapping[str, Cell]]
    """At least one; the first one's keys are the headings."""
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    name: str
    """Of a figure of `figures.draw`; left out where it drew none."""
    alt: str


@dataclass(frozen=True)
class Fold:
    title: str
    blocks: Sequence[Any]


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    blocks: Sequence[Any]


SETS = ("trained", "paraphrases", "validation", "changed", "changed_before", "unknown", "general")
"""The question sets, in the report's order; others of the results stand behind them."""
APART = ("recall", "canary", "sampled")
"""Sets that are no questions with one right answer each: they have places of their own."""
WORDINGS = {
    "trained": "as trained",
    "other": "in other words",
    "control": "never trained on (control)",
}
"""How texts to recite are asked for; the control shows what a model recites that has not seen the text."""
LEAKS = {
    "name": "the project's name",
    "snapshot": "the opening of a recited file",
    "dated": "“In” with a month and a year",
    "heading": "the heading of a document",
    "pull_request": "lines of a pull request",
    "path": "a path of the project",
    "import": "an import of its own (of answers that import)",
}
"""Kinds of the training's style, of `ftlib.evaluation.leaks`."""


def question_sets(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The results of each question set that was asked, in the report's order."""
    found = dig(results, "sets") or {}
    names = [*(name for name in SETS if name in found), *(n for n in found if n not in SETS and n not in APART)]
    return {name: found[name] for name in names if isinstance(found[name], Mapping)}


def label(results: Mapping[str, Any], name: str) -> str:
    return str(dig(results, "sets", name, "label") or name)


def right(arm: Any) -> Any:
    """The RATE that counts in a set: of changed facts the current value, else what was right."""
    return dig(arm, "current") or dig(arm, "correct")


def not_measured(parts: Mapping[str, Any]) -> list[Any]:
    """A line that names the parts for which there is nothing."""
    names = [name for name, value in parts.items() if not value]
    return [Say(f"Not measured: {', '.join(names)}.", "small")] if names else []
