"""Results -> report.html (one self-contained file), report.md and PNGs; and the small tables of the notebooks.

Everything that comes from a repository or a model is escaped, cut, and freed of what is not for reading.

    tables      tables and pieces of text as HTML, for notebooks
    numbers     rates, differences and intervals as text
    blocks      the pieces of a section
    content     what the sections say; `learned`: on what was learned
    answers     side by side, worst regressions first; diffs of recited texts
    figures     forest plots, recall by length, changed facts, the dial
    page        all of it as HTML; `markdown`: as Markdown
    first       the report of the first schema
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftlib.report import content, figures, first, markdown, page
from ftlib.report.blocks import label
from ftlib.report.first import loss_rows, recall_rows, score_rows
from ftlib.report.tables import audit_table, coloured, png, shown, table
from ftlib.workspace import atomic_write, write_json, write_jsonl

__all__ = [
    "audit_table",
    "coloured",
    "loss_rows",
    "png",
    "recall_rows",
    "score_rows",
    "section",
    "shown",
    "table",
    "write_report",
]
PICTURES = ("scorecard", "general", "recall", "changed", "dial")


def write_report(
    folder: Path, samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any], about: Mapping[str, Any]
) -> Path:
    """Write samples.jsonl, results.json, report.md, report.html and the figures as PNG; returns the page's path.

    Args:
        samples, results: of schema 2 (`results["schema"] == 2`), any part of which may be missing; or of the first.
        about: what stands under the title: project, run, model and the like, as short values.
    """
    if results.get("schema") != 2:
        return first.write_report(folder, samples, results, about)
    pictures = {name: png(figure) for name, figure in figures.draw(samples, results).items()}
    write_jsonl(folder / "samples.jsonl", samples)
    write_json(folder / "results.json", results)
    for name in PICTURES:
        if name in pictures:
            with atomic_write(folder / f"{name}.png", "wb") as image:
                image.write(pictures[name])
        else:
            (folder / f"{name}.png").unlink(missing_ok=True)  # an earlier evaluation's
    parts, labels = content.sections(samples, results), _labels(results)
    with atomic_write(folder / "report.md") as out:
        out.write(markdown.render(parts, samples, labels, about, pictures))
    with atomic_write(folder / "report.html") as out:
        out.write(page.render(parts, samples, labels, about, pictures))
    return folder / "report.html"


def section(name: str, samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> str:
    """One section as HTML without figures, for a notebook: verdict, scorecard, learned, forgotten, leaked, measured."""
    found = next(part for part in content.sections(samples, results) if part.name == name)
    return "".join(page.block(one, {}) for one in found.blocks)


def _labels(results: Mapping[str, Any]) -> dict[str, str]:
    return {name: label(results, name) for name in results.get("sets") or {}}
