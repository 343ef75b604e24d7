"""The report of the first schema, which `ftlib.evaluate` writes still: to be deleted with it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ftlib import plots
from ftlib.evaluate import SETS
from ftlib.report.markdown import md
from ftlib.report.tables import png, shown, table
from ftlib.workspace import atomic_write, write_json, write_jsonl

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #15803d; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) { :root { --good: #4ade80; --bad: #f87171; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.verdict { border-left: .3rem solid #2563c9; padding: .5rem 1rem; background: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
img { max-width: 100%; height: auto; background: #fff; border-radius: .3rem; }
details { border: 1px solid var(--line); border-radius: .3rem; margin: .4rem 0; padding: .3rem .7rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(16rem, 1fr)); gap: .8rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; background: var(--soft); padding: .5rem;
  margin: .2rem 0; max-height: 24rem; overflow-y: auto; }
.good { color: var(--good); } .bad { color: var(--bad); } .small { font-size: .85rem; opacity: .8; }
"""


def score_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The scorecard, one dict a set, as text."""
    rows = []
    for kind, label in SETS.items():
        if kind not in results["sets"]:
            continue
        found = results["sets"][kind]
        row: dict[str, Any] = {"set": label, "n": found["n"]}
        for name in ("base", "tuned"):
            low, high = found[name]["interval"]
            row[name] = f"{found[name]['correct']} ({found[name]['rate']:.0%}, {low:.0%} to {high:.0%})"
        low, high = found["difference"]["interval"]
        row["difference"] = f"{found['difference']['rate']:+.0%} ({low:+.0%} to {high:+.0%})"
        rows.append(row)
    return rows


def loss_rows(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "held out": {"chat": "chats", "raw": "raw text"}[kind],
            "tokens": arms["base"]["tokens"],
            "base": round(arms["base"]["loss"], 3),
            "tuned": round(arms["tuned"]["loss"], 3),
        }
        for kind, arms in results["loss"].items()
        if arms["base"]["loss"] is not None
    ]


def recall_rows(samples: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "text": row["id"].split(":", 1)[1],
            "characters": len(row["reference"]),
            "base": round(row["base"]["similarity"], 2),
            "tuned": round(row["tuned"]["similarity"], 2),
            "tuned_prefix": row["tuned"]["prefix"],
        }
        for row in samples
        if "similarity" in row["tuned"]
    ]


def write_report(
    folder: Path, samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any], about: Mapping[str, Any]
) -> Path:
    """Write samples.jsonl, results.json, scorecard.png, report.md and report.html; returns the last one's path.

    Args:
        about: what stands under the title: project, run, model and the like, as short values.
    """
    figure = png(plots.scorecard(results["sets"], SETS))
    write_jsonl(folder / "samples.jsonl", samples)
    write_json(folder / "results.json", results)
    with atomic_write(folder / "scorecard.png", "wb") as image:
        image.write(figure)
    with atomic_write(folder / "report.md") as out:
        out.write(markdown(samples, results, about))
    with atomic_write(folder / "report.html") as out:
        out.write(html(samples, results, about, figure))
    return folder / "report.html"


def html(
    samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any], about: Mapping[str, Any], figure: bytes
) -> str:
    """The page as one string: no script, no outside resource."""
    recall = recall_rows(samples)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{shown(about['project'])}: base against tuned</title><style>{STYLE}</style></head><body>",
        f"<h1>{shown(about['project'])}: base against tuned</h1>",
        f'<p class="small">{" · ".join(f"{shown(k)} {shown(v)}" for k, v in about.items() if k != "project")}</p>',
        f'<p class="verdict">{shown(results["verdict"])}</p>',
        f'<img alt="Share answered right" src="data:image/png;base64,{base64.b64encode(figure).decode()}">',
        "<h2>Scorecard</h2>",
        table(
            score_rows(results),
            {"set": "set", "n": "n", "base": "base", "tuned": "tuned", "difference": "tuned - base"},
        ),
        f'<p class="small">{escape(METHOD)}</p>',
        "<h2>Loss on held-out text</h2>",
        table(loss_rows(results)) if loss_rows(results) else "<p>No document was held out.</p>",
        '<p class="small">Sum of the negative log-likelihood over the number of label tokens, in nats.</p>',
    ]
    if recall:
        parts += [
            "<h2>Verbatim recall</h2>",
            table(
                recall,
                {
                    "text": "text",
                    "characters": "characters",
                    "base": "base",
                    "tuned": "tuned",
                    "tuned_prefix": "tuned, prefix",
                },
            ),
            '<p class="small">Edit similarity to the text\'s beginning (1 is verbatim), and how many characters agree '
            "from the start.</p>",
        ]
    titles = {
        **SETS,
        "page_instruction": "Recited pages",
        "file_snapshot": "Recited files",
        "sampled": "Sampled answers",
    }
    for kind, title in titles.items():
        rows = sorted((row for row in samples if row["set"] == kind), key=_regressions_first)
        if rows:
            parts.append(f"<h2>{escape(title)}</h2>")
            parts += [_details(row) for row in rows]
    return "\n".join([*parts, "</body></html>\n"])


METHOD = (
    "An answer is right when it holds the reference's keywords (on word boundaries), or, where a question has none, "
    "half of the reference's own content words: overlap, not a judge. Unknown: right when the answer admits it, by its "
    "wording. Rates carry Wilson intervals, differences a paired bootstrap by document, both at 95 %. Greedy decoding "
    "unless a section says sampled."
)


def _regressions_first(row: Mapping[str, Any]) -> float:
    if "similarity" in row["tuned"]:
        return row["tuned"]["similarity"] - row["base"]["similarity"]
    return row["tuned"]["correct"] - row["base"]["correct"]


def _mark(scores: Mapping[str, Any]) -> str:
    if "similarity" in scores:
        return f"{scores['similarity']:.2f}"
    return '<span class="good">✓</span>' if scores["correct"] else '<span class="bad">✗</span>'


def _details(row: Mapping[str, Any]) -> str:
    panes = [("reference", shown(row["reference"]), "")]
    for name in ("base", "tuned"):
        cut = "" if row[name]["ended"] else " · cut at the token limit"
        panes.append((name, shown(row[name]["text"]), f" {_mark(row[name])}{cut}"))
    body = "".join(f'<div><span class="small">{name}{note}</span><pre>{text}</pre></div>' for name, text, note in panes)
    marks = f"base {_mark(row['base'])} tuned {_mark(row['tuned'])}"
    summary = f'<summary>{shown(row["question"])} <span class="small">{marks}</span></summary>'
    return f'<details>{summary}<div class="answers">{body}</div></details>'


def markdown(samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Verdict and tables, for a pull request or a model card."""
    lines = [f"# {md(about['project'])}: base against tuned", "", f"**{md(results['verdict'])}**", ""]
    lines += [f"- {md(key)}: {md(value)}" for key, value in about.items() if key != "project"]
    for title, rows in (
        ("Scorecard", score_rows(results)),
        ("Loss on held-out text", loss_rows(results)),
        ("Verbatim recall", recall_rows(samples)),
    ):
        if rows:
            lines += ["", f"## {title}", "", "| " + " | ".join(rows[0]) + " |", "|" + " --- |" * len(rows[0])]
            lines += ["| " + " | ".join(md(value) for value in row.values()) + " |" for row in rows]
    return "\n".join([*lines, "", METHOD, ""])
