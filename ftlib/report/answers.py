"""Side by side: prompt, reference and answers of the worst regressions of each set, bounded whatever they hold."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ftlib.report.blocks import APART, LEAKS, SETS
from ftlib.report.numbers import Mark, number, text
from ftlib.report.tables import clean, shown

SHOWN = 12  # answers of a set
BYTES = 1_200_000  # of all answers on the page
SUMMARY = 200  # characters of a prompt on its folded line
LINES, CHARACTERS = 120, 6000  # of each text in a diff
CONTEXT = 3  # lines that agree around a difference
ORDER = (*SETS, *APART)
_WORTH = {"correct": 1.0, "current": 1.0, "clean": 1.0, "both": 0.5, "abstained": 0.25}
_OPEN = ("both", "abstained")
_NOT_GRADED = ("", "unjudged")  # the judge gave no verdict


def standing(answer: Any) -> Mark:
    """An answer's outcome as a sign and a word; of recalled text how much of it agrees."""
    answer = answer or {}
    if "similarity" in answer:
        exact = bool(answer.get("exact"))
        return Mark(
            "✓ word for word" if exact else f"≈ {text(answer['similarity'], '.2f')}", "good" if exact else "open"
        )
    outcome = str(answer.get("outcome") or "")[:40]
    if outcome in _NOT_GRADED:
        return Mark("○ not graded", "open")
    if outcome in _OPEN:
        return Mark(f"○ {outcome}", "open")
    return Mark(f"✓ {outcome}", "good") if _WORTH.get(outcome) else Mark(f"✗ {outcome}", "bad")


def _worth(answer: Any) -> float:
    answer = answer or {}
    if "similarity" in answer:
        return number(answer["similarity"]) or 0.0
    return _WORTH.get(str(answer.get("outcome")), 0.0)


def _gain(row: Mapping[str, Any]) -> tuple[float, float]:
    """What sorts the worst first: what tuning gained, then what its answer is worth; nothing was lost where the judge
    gave no verdict."""
    base, tuned = row.get("base") or {}, row.get("tuned") or {}
    graded = not any(answer.get("outcome") == "unjudged" for answer in (base, tuned))
    return (_worth(tuned) - _worth(base) if graded else 0.0, _worth(tuned) if graded else 1.0)


def worst_first(samples: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each set: what tuning lost first, then what is wrong still, then the rest."""
    sets: dict[str, list[Mapping[str, Any]]] = {name: [] for name in (*ORDER, *labels)}
    for row in samples:
        sets.setdefault(str(row.get("set", "")), []).append(row)
    for rows in sets.values():
        rows.sort(key=_gain)
    return {name: rows for name, rows in sets.items() if rows}


def side_by_side(samples: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> str:
    """All sets as HTML: as many rows of each as SHOWN and its part of BYTES allow, the rest counted."""
    sets, parts = worst_first(samples, labels), []
    for name, rows in sets.items():
        spent, kept = 0, []
        for row in rows[:SHOWN]:
            one = _details(row)
            spent += len(one.encode())
            if spent > BYTES // len(sets):
                break
            kept.append(one)
        parts += [f"<h3>{shown(labels.get(name, name), SUMMARY)}</h3>", *kept]
        if rest := len(rows) - len(kept):
            parts.append(f'<p class="small">{rest:,} more in samples.jsonl.</p>')
    return "\n".join(parts)


def _details(row: Mapping[str, Any]) -> str:
    question, reference = str(row.get("question", "")), str(row.get("reference", ""))
    marks = " → ".join(f"{arm} {marked(standing(row.get(arm)))}" for arm in ("base", "tuned"))
    parts = [f'<summary><span class="marks">{marks}</span> <bdi>{shown(question, SUMMARY)}</bdi></summary>']
    if len(question) > SUMMARY:
        parts.append(_pane("prompt", "", question))
    recalled = "similarity" in (row.get("tuned") or {})
    panes = [] if recalled else [_pane("reference", _facts(row), reference)]
    panes += [_pane(arm, _note(row.get(arm)), _said(row.get(arm))) for arm in ("base", "tuned")[: 1 if recalled else 2]]
    if recalled:
        said = _said(row["tuned"])
        who = f"<b>reference and tuned</b>{_note(row['tuned'])}<br>{diff_note(reference, said)}"
        panes.insert(0, f'<div class="wide"><p class="who">{who}</p>{diff(reference, said)}</div>')
    parts.append(f'<div class="answers">{"".join(panes)}</div>')
    if others := row.get("baselines") or {}:
        inner = "".join(_pane(name, _note(answer), _said(answer)) for name, answer in others.items())
        parts.append(f'<details><summary>baselines</summary><div class="answers">{inner}</div></details>')
    return f"<details>{''.join(parts)}</details>"


def _said(answer: Any) -> str:
    return str((answer or {}).get("text") or "")


def _facts(row: Mapping[str, Any]) -> str:
    """What stands beside a reference: keywords; of a changed fact both values."""
    facts = {"now": row.get("current"), "before": row.get("old"), "keywords": ", ".join(row.get("keywords") or [])}
    return "".join(f" · {name}: {shown(value, SUMMARY)}" for name, value in facts.items() if value)


def _note(answer: Any) -> str:
    answer = answer or {}
    notes = [marked(standing(answer))]
    notes += [shown(answer[key], SUMMARY) for key in ("graded_by", "why") if answer.get(key)]
    if number(answer.get("tokens")) is not None:
        notes.append(f"{answer['tokens']:,} tokens")
    if answer.get("ended") is False:
        notes.append("cut at the token limit")
    if (number(answer.get("repetition")) or 0) > 0.5:
        notes.append(f"repeats itself ({answer['repetition']:.0%})")
    notes += [
        f"of the training's style: {shown(LEAKS.get(leak, leak), SUMMARY)}" for leak in (answer.get("leaks") or [])[:3]
    ]
    return " · " + " · ".join(notes)


def _pane(name: str, note: str, said: str) -> str:
    return f'<div><p class="who"><b>{shown(name, SUMMARY)}</b>{note}</p><pre>{shown(said)}</pre></div>'


def marked(mark: Mark) -> str:
    return f'<span class="{mark.kind}">{escape(clean(mark.text))}</span>'


# --- recalled text ----------------------------------------------------------------------------------------------------


def _lines(said: str) -> list[str]:
    # A diff takes as long as the product of both lengths, or more.
    return clean(said[:CHARACTERS]).split("\n")[:LINES]


def diff_note(reference: str, said: str) -> str:
    if reference == said:
        return "the same, word for word"
    more = [
        name
        for name, whole in (("reference", reference), ("answer", said))
        if len(whole) > CHARACTERS or whole.count("\n") >= LINES
    ]
    note = f"; only the beginning is compared ({' and '.join(more)} longer)" if more else ""
    return f"− only in the reference, + only in the answer{note}"


def diff(reference: str, said: str) -> str:
    """Reference against answer line by line, as HTML: what is missing and what was added by sign and by colour."""
    before, after = _lines(reference), _lines(said)
    if before == after:
        return f"<pre>{shown(reference)}</pre>"
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    out, end = [], 0
    for group in matcher.get_grouped_opcodes(CONTEXT):
        if gap := group[0][1] - end:
            out.append(_agree(gap))
        end = group[-1][2]
        for kind, a, b, c, d in group:
            if kind == "equal":
                out += [f"  {escape(line)}" for line in before[a:b]]
            else:
                out += [f"<del>− {escape(line)}</del>" for line in before[a:b]]
                out += [f"<ins>+ {escape(line)}</ins>" for line in after[c:d]]
    if gap := len(before) - end:
        out.append(_agree(gap))
    return f'<pre class="diff">{chr(10).join(out)}</pre>'


def _agree(count: int) -> str:
    return f'<span class="small">  … {count:,} {"lines agree" if count > 1 else "line agrees"}</span>'
