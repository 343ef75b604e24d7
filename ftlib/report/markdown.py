"""The report as Markdown, for a pull request or a model card."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ftlib.report.answers import standing, worst_first
from ftlib.report.blocks import Fold, Listing, Picture, Say, Section, Table
from ftlib.report.numbers import Mark
from ftlib.report.tables import clean, cut

WORST = 3  # answers of each set, in a table


def md(value: Any) -> str:
    """Text of a repository or model that Markdown, its tables and its mathematics take for nothing but text."""
    text = escape(clean(value), quote=False)
    text = re.sub(r"([\\|*_`\[\]~$])", r"\\\1", re.sub(r"\s+", " ", text).strip())
    # What begins a heading, list, quote or rule at the start of a line; and addresses, which would become links.
    text = re.sub(r"^(?=[-+#=])|^(\d+)(?=[.)])", r"\1\\", text)
    return text.replace("://", "&#58;//")


def render(
    sections: Sequence[Section],
    samples: Sequence[Mapping[str, Any]],
    labels: Mapping[str, str],
    about: Mapping[str, Any],
    pictures: Collection[str],
) -> str:
    """The report as one string.

    Args:
        labels: of the sets.
        pictures: names of those that lie beside the file, as name.png.
    """
    lines = [f"# {md(about.get('project', 'Evaluation'))}: base against tuned", ""]
    lines += [f"- {md(key)}: {md(value)}" for key, value in about.items() if key != "project"]
    for section in sections:
        if section.name == "measured":
            lines += ["", "## Worst regressions", *_regressions(samples, labels)]
        lines += ["", f"## {md(section.title)}"]
        lines += blocks(section.blocks, pictures)
    return "\n".join([*lines, ""])


def blocks(found: Iterable[Any], pictures: Collection[str] = ()) -> list[str]:
    """The lines of blocks, a blank one before each."""
    return [line for block in found for line in _block(block, pictures)]


def _block(block: Any, pictures: Collection[str]) -> Iterator[str]:
    if isinstance(block, Say):
        yield from ("", f"**{md(block.text)}**" if block.style == "verdict" else md(block.text))
    elif isinstance(block, Listing):
        yield from ("", *(f"- {md(item)}" for item in block.items))
    elif isinstance(block, Table):
        yield from ("", *([f"{md(block.caption)}:", ""] if block.caption else []), *_table(block))
    elif isinstance(block, Picture) and block.name in pictures:
        yield from ("", f"![{md(block.alt)}]({block.name}.png)")
    elif isinstance(block, Fold):
        yield from ("", f"### {md(block.title)}")
        yield from blocks(block.blocks, pictures)


def _table(block: Table) -> Iterator[str]:
    yield "| " + " | ".join(md(name) for name in block.rows[0]) + " |"
    yield "|" + " --- |" * len(block.rows[0])
    for row in block.rows:
        cells = (row.get(name, "") for name in block.rows[0])
        yield "| " + " | ".join(md(cell.text if isinstance(cell, Mark) else cell) for cell in cells) + " |"


def _regressions(samples: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> Iterator[str]:
    yield from ("", f"The {WORST} worst of each set; report.html shows more, samples.jsonl has all.")
    for name, rows in worst_first(samples, labels).items():
        yield from ("", f"### {md(labels.get(name, name))}")
        shown = [
            {
                "question": cut(row.get("question", ""), 160),
                **{arm: f"{standing(row.get(arm)).text}: {cut(_text(row, arm), 240)}" for arm in ("base", "tuned")},
            }
            for row in rows[:WORST]
        ]
        yield from ("", *_table(Table(shown)))


def _text(row: Mapping[str, Any], arm: str) -> str:
    return (row.get(arm) or {}).get("text") or ""
