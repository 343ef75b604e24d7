"""The small tables and pieces of text of the notebooks, as HTML. Everything from a repository or a model is escaped."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ftlib.chunking import IGNORE
from ftlib.tokens import control_ids

# Terminal colours, other control characters, halves of a character that UTF-8 can't hold, and marks that turn the
# direction of text: they would act on a reader's screen and not be read.
_UNSEEN = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    r"|[\ud800-\udfff\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c\u2028\u2029\ufeff]"
)
LONGEST = 1500  # characters of an answer shown; samples.jsonl holds the whole


def clean(text: Any) -> str:
    """Text of a repository or model with the characters replaced that are not for reading."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", str(text))


def cut(text: Any, longest: int = LONGEST) -> str:
    """`clean` text, cut at `longest` characters with the number of those left out."""
    text = clean(text)
    return text if len(text) <= longest else f"{text[:longest]} ... ({len(text) - longest:,} more characters)"


def shown(text: Any, longest: int = LONGEST) -> str:
    """Text of a repository or model as safe HTML, cut at `longest` characters, control characters made visible."""
    return escape(cut(text, longest))


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str] | None = None) -> str:
    """An HTML table of dicts; `columns` maps keys to headings. Numbers stand right, with thousands separators."""
    columns = columns or {key: key.replace("_", " ") for key in (rows[0] if rows else {})}
    numeric = {key for key in columns if rows and all(isinstance(row.get(key), (int, float)) for row in rows)}
    # Inline, since Jupyter's own style would set text to the right and let a long path push the rest out of sight.
    left = ' style="text-align:left;vertical-align:top;overflow-wrap:anywhere"'
    cls = {key: ' class="n"' if key in numeric else left for key in columns}
    head = "".join(f"<th{cls[key]}>{escape(name)}</th>" for key, name in columns.items())
    body = "".join(
        "<tr>" + "".join(f"<td{cls[key]}>{_cell(row.get(key, ''))}</td>" for key in columns) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else shown(value)


def audit_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The audit as an HTML table with a line of sums; what happened nowhere takes no column."""
    sums = {key: sum(row[key] for row in rows) if key != "source" else "all" for key in (rows[0] if rows else {})}
    rare = ("near_duplicates", "other_wordings", "system_merged", "replaced", "bos")
    columns = {key: key.replace("_", " ") for key in sums if key not in rare or sums[key]}
    return table([*rows, sums] if rows else [], columns)


def coloured(row: Mapping[str, Any], tokenizer: Any) -> str:
    """A training row as HTML, token by token: green carries loss, grey does not; hover shows the id.

    Control tokens have a frame: the same words in a file's text have none.
    """
    control = control_ids(tokenizer)
    spans = []
    for token, label in zip(row["input_ids"], row["labels"], strict=True):
        colour = "#15803d33" if label != IGNORE else "#8882"
        frame = "outline:1px solid #8888;border-radius:2px;" if token in control else ""
        # A piece of a character can't be shown by itself; its id can.
        text = shown(tokenizer.decode([token])).replace("\n", "↵\n")
        spans.append(f'<span style="{frame}background:{colour}" title="{token}">{text}</span>')
    return f'<pre style="white-space:pre-wrap;line-height:1.7">{"".join(spans)}</pre>'


def png(figure: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
