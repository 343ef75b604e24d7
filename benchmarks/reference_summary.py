"""What a seed's evaluation says, and what all seeds say together: rates in percent, differences in points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ftlib.evaluation.grading import is_graded, is_right
from ftlib.evaluation.summary import document_of
from ftlib.inference import ARMS
from ftlib.statistics import DIFFERENCE, RATE, rate_by_seeds

Row = Mapping[str, Any]
RECITED_TOKENS = 500
SUMMARY = ("recall_exact", "seen", "paraphrase", "unknown_admitted", "general_delta", "leak_rate")
BELOW = ("leak_rate", "train_minutes")
"""What is to be below its goal; all else is to be at it or above."""


def _recited(row: Row, wording: str) -> bool:
    fits = row["set"] == "recall" and row["kind"] == "file" and row["whole"] and row["length"] <= RECITED_TOKENS
    return fits and row["wording"] == wording


ASKED: dict[str, Callable[[Row], bool]] = {
    "recall_exact": lambda row: _recited(row, "trained"),
    "recall_exact_reworded": lambda row: _recited(row, "other"),
    "seen": lambda row: row["set"] == "trained",
    "paraphrase": lambda row: row["set"] == "paraphrases",
    "validation": lambda row: row["set"] == "validation",
    "unknown_admitted": lambda row: row["set"] == "unknown" and row["kind"] == "yours",
    "unknown_invented": lambda row: row["set"] == "unknown" and row["kind"] != "yours",
    "general": lambda row: row["set"] == "general",
    "leak_rate": lambda row: row["set"] == "general",
}
"""Which samples each rate is of."""


def _hit(name: str, row: Row, arm: str) -> float:
    answer = row[arm]
    if name == "leak_rate":
        return float(bool(answer["leaks"]))
    return float(answer["exact"] if row["set"] == "recall" else is_right(row, answer))


def _scores(samples: Sequence[Row], name: str) -> Iterator[tuple[Row, float]]:
    """The samples of a rate with the tuned model's score; of `general_delta` less the base's."""
    of = "general" if name == "general_delta" else name
    for row in samples:
        if ASKED[of](row) and all(is_graded(row[arm]) for arm in ARMS if "outcome" in row[arm]):
            yield row, _hit(of, row, "tuned") - (_hit(of, row, "base") if name == "general_delta" else 0.0)


def record(seed: int, run: Row, samples: Sequence[Row], results: Row) -> dict[str, Any]:
    """One seed.

    Args:
        run: its manifest, with seconds of replay and training.
        samples, results: of `evaluate`.
    """
    counts, sets = run["counts"], results["sets"]
    rates = {arm: {name: _percent([_hit(name, row, arm) for row in samples if ASKED[name](row)]) for name in ASKED}
             for arm in ARMS}  # fmt: skip
    changed = {
        arm: {value: round(100 * sets["changed"][arm][value]["rate"], 1) for value in ("current", "stale")}
        for arm in ARMS
        if "changed" in sets
    }
    return {
        "seed": seed,
        "seconds": {**run["seconds"], "evaluation": results["seconds"], "by_part": results["seconds_by_part"]},
        **{name: counts.get(name) for name in ("steps", "tokens", "tokens_per_second", "peak_memory_gib")},
        "rows": counts["train_rows"],
        "held_out": {name: counts.get(name) for name in ("before", "after")},
        **rates,
        "n": {name: sum(map(asked, samples)) for name, asked in ASKED.items()},
        "general": _general(sets.get("general")),
        "changed": changed,
        "retrieval": {name: _baselines(found["baselines"]) for name, found in sets.items() if found["baselines"]},
        "retrieval_verdict": results["retrieval_verdict"],
        "loss": {
            kind: {arm: round(found[arm]["loss"], 4) for arm in ARMS} for kind, found in results["loss"].items()
        },
        "verdict": results["verdict"]["line"],
        "tokens_per_second_answers": results["tokens_per_second"],
        "settings": run["settings"],
    }  # fmt: skip


def _percent(hits: Sequence[float]) -> float | None:
    return round(100 * sum(hits) / len(hits), 2) if hits else None


def _general(found: Row | None) -> dict[str, Any]:
    """base, tuned and delta of all general items and by kind."""
    if not found:
        return {}
    rates = {"all": {**found, **{arm: found[arm]["correct"] for arm in ARMS}}, **found["kinds"]}
    return {
        kind: {
            **{arm: round(100 * one[arm]["rate"], 1) for arm in ARMS},
            "delta": round(100 * one["difference"]["mean"], 1),
            "n": one["n"],
        }
        for kind, one in rates.items()
    }


def _baselines(found: Row) -> dict[str, Any]:
    rates = {name: round(100 * one["rate"], 1) for name, one in found.items() if name != "n"}
    return {"n": found["n"], **rates}


def over_seeds(seeds: Sequence[Sequence[Row]], name: str) -> list[float | None]:
    """Mean and 95 % interval of a rate over questions and seeds: a question's seeds are averaged, documents are drawn.

    Args:
        seeds: the samples of each.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    documents: dict[str, str] = {}
    for samples in seeds:
        for row, score in _scores(samples, name):
            scores[row["id"]].append(score)
            documents[row["id"]] = document_of(row)
    if not scores:
        return [None, None, None]
    bounds = DIFFERENCE if name == "general_delta" else RATE
    found = rate_by_seeds(list(scores.values()), [documents[key] for key in scores], bounds)
    return [round(100 * number, 2) for number in (found["mean"], *found["interval"])]


def summary(records: Sequence[Row], seeds: Sequence[Sequence[Row]], goals: Mapping[str, float]) -> dict[str, Any]:
    """The rates of SUMMARY as [mean, low, high], minutes, goals and the seeds' records.

    Args:
        records, seeds: of each seed, its record and its samples.
        goals: in percent, points or minutes, of what is in the summary.
    """
    found: dict[str, Any] = {name: over_seeds(seeds, name) for name in SUMMARY}
    minutes = {part: [one["seconds"][part] / 60 for one in records] for part in ("training", "replay")}
    found["train_minutes"] = round(sum(minutes["training"]) / len(records), 2)
    found["replay_minutes"] = round(max(minutes["replay"]), 2)  # the first seed's; the others find what it made
    found["goals"] = {name: _met(name, found[name], goal) for name, goal in goals.items()}
    return {**found, "seeds": list(records)}


def _met(name: str, value: Any, goal: float) -> dict[str, Any]:
    mean = value[0] if isinstance(value, list) else value
    side = "below" if name in BELOW else "at_least"
    return {side: goal, "mean": mean, "met": mean is not None and (mean < goal if name in BELOW else mean >= goal)}
