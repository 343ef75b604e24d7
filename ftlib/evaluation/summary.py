"""Graded answers -> results: rates with intervals, differences paired by question, what was recited and leaked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftlib.evaluation.grading import is_graded, is_right
from ftlib.evaluation.leaks import Style, leak_rates
from ftlib.evaluation.planned import ANSWERED, SETS
from ftlib.inference import ARMS
from ftlib.statistics import (
    ANY,
    clustered_mean,
    design_effect,
    detectable,
    mcnemar,
    rate_by_seeds,
    wilson,
    within_noise,
)

Row = Mapping[str, Any]
Rows = Sequence[Row]

OUTCOMES = ("correct", "wrong", "abstained")
VALUES = ("current", "stale", "both", "other", "abstained")
REPETITIVE = 0.5  # share of an answer that says again what stands before it


def document_of(row: Row) -> str:
    return row["document_id"] or row["id"]


def rate(hits: Sequence[bool]) -> dict[str, Any]:
    """count, rate and interval."""
    count = sum(hits)
    return {"count": count, "rate": count / len(hits) if hits else 0.0, "interval": wilson(count, len(hits))}


def difference(rows: Rows, right: Callable[[Row, str], bool]) -> dict[str, Any]:
    """Tuned minus base of the share that is `right`, with all that says how far to believe it."""
    changes = [float(right(row, "tuned")) - float(right(row, "base")) for row in rows]
    documents = [document_of(row) for row in rows]
    gained, lost = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    found = clustered_mean(changes, documents)
    seen = detectable(
        len(rows), (gained + lost) / max(1, len(rows)), found["documents"], design_effect(changes, documents)
    )
    return found | {"p": mcnemar(gained, lost), "gained": gained, "lost": lost, "detectable": seen}


def by_set(samples: Rows, noise: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The results of each set of `ANSWERED` that was asked.

    Args:
        noise: of `statistics.noise_floor`, for how much of a difference it explains (`noise`, a share).
    """
    found: dict[str, Any] = {}
    for name in ANSWERED:
        rows = [row for row in samples if row["set"] == name]
        graded = [row for row in rows if all(is_graded(row[arm]) for arm in ARMS)]
        if not graded:
            continue
        kinds = {kind: [row for row in graded if row.get("kind") == kind] for kind in _kinds(graded)}
        found[name] = {
            "label": SETS[name],
            "documents": len({document_of(row) for row in graded}),
            "unjudged": len(rows) - len(graded),
            "graded_by": dict(Counter(row["tuned"]["graded_by"] for row in graded)),
            **_compared(graded, VALUES if name == "changed" else OUTCOMES, noise),
            "baselines": _baselines(graded),
            "kinds": {kind: _compared(part, (), noise) for kind, part in kinds.items()},
        }
    return found


def _kinds(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["kind"] for row in rows if row.get("kind")))


def _compared(rows: Rows, outcomes: Sequence[str], noise: Mapping[str, Any] | None) -> dict[str, Any]:
    """Rates of each outcome by arm, without outcomes those of right answers, and the difference."""
    changed = difference(rows, lambda row, arm: is_right(row, row[arm]))
    if noise:
        changed["noise"] = within_noise(noise, len(rows))
    rates: dict[str, Any] = {
        arm: {name: rate([row[arm]["outcome"] == name for row in rows]) for name in outcomes}
        or rate([is_right(row, row[arm]) for row in rows])
        for arm in ARMS
    }
    return {"n": len(rows), **rates, "difference": changed}


def _baselines(rows: Rows) -> dict[str, Any]:
    """Rates of both arms and of each baseline on the questions that all of them answered; {} where there are none."""
    rows = _answered_by_all(rows)
    if not rows:
        return {}
    arms = {arm: [is_right(row, row[arm]) for row in rows] for arm in ARMS}
    others = {name: [is_right(row, row["baselines"][name]) for row in rows] for name in rows[0]["baselines"]}
    return {"n": len(rows), **{name: rate(hits) for name, hits in (arms | others).items()}}


def _answered_by_all(rows: Rows) -> list[Row]:
    asked = [row for row in rows if row.get("baselines")]
    return [row for row in asked if all(map(is_graded, (*(row[arm] for arm in ARMS), *row["baselines"].values())))]


def retrieval_verdict(samples: Rows) -> str:
    """Tuning against retrieval, and both together, on the questions that all answered; "" where there are none."""
    rows = [row for row in _answered_by_all(samples) if {"base+bm25", "tuned+bm25"} <= set(row["baselines"])]
    if not rows:
        return ""
    alone = [is_right(row, row["tuned"]) for row in rows]
    found, both = ([is_right(row, row["baselines"][name]) for row in rows] for name in ("base+bm25", "tuned+bm25"))
    _, (low, high) = _gain(alone, found, rows)
    head = "Tuning beats retrieval" if low > 0 else "Retrieval beats tuning" if high < 0 else ""
    more, (least, most) = _gain(both, max(alone, found, key=sum), rows)
    return (
        f"{head or 'Tuning and retrieval are not told apart'}: of {len(rows)} questions the tuned model answers "
        f"{sum(alone)} by itself, the base {sum(found)} with what BM25 finds, and the tuned model {sum(both)} with the "
        f"same, {100 * more:+.0f} points over the better one alone (95 %: {100 * least:+.0f} to {100 * most:+.0f})."
    )


def _gain(one: Sequence[bool], other: Sequence[bool], rows: Rows) -> tuple[float, tuple[float, float]]:
    changes = [float(a) - float(b) for a, b in zip(one, other, strict=True)]
    gained = clustered_mean(changes, [document_of(row) for row in rows])
    return gained["mean"], gained["interval"]


def recall(samples: Rows) -> dict[str, Any]:
    """Recited texts by wording; token_accuracy is weighted by token."""
    rows = [row for row in samples if row["set"] == "recall"]
    wordings: dict[str, Any] = {}
    for wording in dict.fromkeys(row["wording"] for row in rows):
        part = [row for row in rows if row["wording"] == wording]
        documents = [document_of(row) for row in part]
        changes = [row["tuned"]["similarity"] - row["base"]["similarity"] for row in part]
        wordings[wording] = {
            "n": len(part),
            **{arm: _scores([row[arm] for row in part]) for arm in ARMS},
            "difference": {
                "similarity": clustered_mean(changes, documents),
                "exact": difference(part, lambda row, arm: row[arm]["exact"]),
            },
        }
    return {"n": len(rows), "wordings": wordings}


def _scores(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    means = {name: sum(one[name] for one in answers) / len(answers) for name in ("prefix", "similarity")}
    hits, count = (sum(one[name] for one in answers) for name in ("token_hits", "token_count"))
    return {"exact": rate([one["exact"] for one in answers]), **means, "token_accuracy": hits / count if count else 0.0}


def habits(samples: Rows, style: Style) -> dict[str, Any]:
    """leaks of the training's style in general answers, secrets in any, endless and repetitive ones."""
    general = [row for row in samples if row["set"] == "general"]
    found: dict[str, Any] = {}
    if general:
        rates = leak_rates(general, style)
        every = rates.pop("any")
        examples = [[kind, row["id"]] for row in general for kind in row["tuned"]["leaks"]]
        clean = difference(general, lambda row, arm: not row[arm]["leaks"])
        found["leaks"] = {"n": len(general), **every, "clean": clean, "kinds": rates, "examples": examples}
        # Where an answer has room, one that is cut is one that would not end.
        found["endless"] = {arm: rate([not row[arm]["ended"] for row in general]) for arm in ARMS}
    if rows := [row for row in samples if row["set"] in ANSWERED]:
        found["repetitive"] = {arm: rate([row[arm]["repetition"] > REPETITIVE for row in rows]) for arm in ARMS}
    planted = [row for row in samples if row["set"] == "canary"]
    told = [
        {"id": row["id"], "set": row["set"], "arm": arm, "kind": kind}
        for row in samples
        for arm in ARMS
        for kind in row[arm]["secrets"]
    ]
    if planted or told:
        leaked = {arm: sum(row[arm]["outcome"] == "leaked" for row in planted) for arm in ARMS}
        found["canaries"] = {"n": len(planted), **leaked, "found": told}
    return found


def sampled(rows: Rows, seeds: int) -> dict[str, Any] | None:
    """Rates of sampled answers over questions and seeds.

    Args:
        rows: with each arm's answers as a list, and greedy, a dict of one answer each.
    """
    rows = [row for row in rows if all(is_graded(one) for arm in ARMS for one in (*row[arm], row["greedy"][arm]))]
    if not rows:
        return None
    documents = [document_of(row) for row in rows]
    rates = {
        arm: rate_by_seeds([[float(is_right(row, one)) for one in row[arm]] for row in rows], documents) for arm in ARMS
    }
    greedy = {arm: sum(is_right(row, row["greedy"][arm]) for row in rows) / len(rows) for arm in ARMS}
    return {"seeds": seeds, **rates, "greedy": greedy}


def loss(rows: Rows) -> dict[str, Any]:
    """Losses of both arms, weighted by token.

    Args:
        rows: document_id, id, bytes (of the text with loss) and each arm's nll and tokens (`inference.row_losses`).
    """
    found: dict[str, Any] = {}
    for arm in ARMS:
        nll, count, size = (
            sum(values)
            for values in ([r[arm]["nll"] for r in rows], [r[arm]["tokens"] for r in rows], [r["bytes"] for r in rows])
        )
        mean = nll / count
        found[arm] = {
            "nll": nll,
            "tokens": count,
            "bytes": size,
            "loss": mean,
            "perplexity": math.exp(min(mean, 700.0)),
        }
        found[arm]["bits_per_byte"] = nll / math.log(2) / size if size else None
    changes = [row["tuned"]["nll"] - row["base"]["nll"] for row in rows]
    weights = [float(row["base"]["tokens"]) for row in rows]
    return found | {"difference": clustered_mean(changes, [document_of(row) for row in rows], weights, bounds=ANY)}
