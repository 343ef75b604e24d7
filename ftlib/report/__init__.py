"""Results -> report.html (one self-contained file), report.md and PNGs; and the small tables of the notebooks.

Everything that comes from a repository or a model is escaped, cut, and freed of what is not for reading.

    tables      tables and pieces of text as HTML, for notebooks
    numbers     rates, differences and intervals as text
    blocks      the pieces of a section
    content     what the sections say; `learned`, `forgotten`: on what was learned, and what was forgotten
    answers     side by side, worst regressions first; diffs of recited texts
    figures     forest plots, recall by length, changed facts, the dial
    page        all of it as HTML; `markdown`: as Markdown
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftlib.errors import SetupError
from ftlib.report import content, figures, markdown, page
from ftlib.report.blocks import label
from ftlib.report.numbers import finite
from ftlib.report.tables import audit_table, coloured, png, shown, table
from ftlib.workspace import atomic_write, plain, write_json, write_jsonl

__all__ = [
    "audit_table",
    "card",
    "coloured",
    "png",
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
        samples, results: of schema 2 (`results["schema"] == 2`), any part of which may be missing. Infinities and what
            is no number are written as null.
        about: what stands under the title: project, run, model and the like, as short values.

    Raises:
        SetupError: the results are of another schema.
    """
    _check_schema(results)
    samples, results = [finite(plain(row)) for row in samples], finite(plain(results))
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


def card(results: Mapping[str, Any]) -> list[str]:
    """What a model card says of an evaluation, as lines of Markdown: verdict, checks, and the rates of each set.

    Raises:
        SetupError: the results are of another schema.
    """
    _check_schema(results)
    return markdown.blocks(content.card(results))


def _check_schema(results: Mapping[str, Any]) -> None:
    if results.get("schema") != 2:
        raise SetupError(
            f"These results are of schema {results.get('schema', 1)!r}, this version of ftlib reads schema 2 only. "
            "Run notebook 04_eval again."
        )


def _labels(results: Mapping[str, Any]) -> dict[str, str]:
    return {name: label(results, name) for name in results.get("sets") or {}}
