"""Samples and results of schema 2 as 04_eval writes them, made up: every number is counted from the samples."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from ftlib.statistics import clustered_mean, design_effect, detectable, mcnemar, wilson

LABELS = {
    "trained": "Trained questions",
    "paraphrases": "The same in other words, untrained",
    "validation": "Questions on held-out documents",
    "changed": "Facts that changed, asked now",
    "changed_before": "Facts that changed, asked as of the day before",
    "unknown": "Invented things: does it admit it?",
    "general": "General knowledge and code",
    "recall": "Texts, recited",
    "canary": "Canaries",
    "sampled": "Sampled answers",
}
# Of each set: questions, questions a document, chance of base and tuned to be right, kinds.
PLAN: dict[str, tuple[int, int, float, float, tuple[str, ...]]] = {
    "trained": (80, 2, 0.08, 0.72, ("",)),
    "paraphrases": (60, 2, 0.08, 0.55, ("",)),
    "validation": (40, 2, 0.1, 0.15, ("",)),
    "changed": (30, 1, 0.1, 0.5, ("now", "since")),
    "changed_before": (20, 1, 0.5, 0.3, ("",)),
    "unknown": (30, 1, 0.7, 0.55, ("file", "endpoint", "yours")),
    "general": (120, 1, 0.8, 0.76, ("knowledge", "format", "python", "typescript")),
}
STYLE = ("name", "pull_request", "path")
"""Kinds of `ftlib.evaluation.leaks` that occur."""
UNJUDGED = 3
"""Rows of `trained`, the last ones, whose tuned answer got no verdict."""
CHANCES = {"base+page": 0.85, "base+bm25": 0.6, "tuned+bm25": 0.8}
WORDS = "the relay keeps a queue of frames for each worker and drops none unless its lease has ended".split()
CODE = "def lease(frame, seconds=30):\n    worker = pick(frame)\n    worker.hold(frame, seconds)\n    return worker\n"


AGREEMENT = {
    "n": 75,
    "agreed": 55,
    "rate": 55 / 75,
    "interval": list(wilson(55, 75)),
    "kappa": 0.584,
    "table": {
        "correct": {"correct": 21, "wrong": 9, "abstained": 1, "unjudged": 0},
        "wrong": {"correct": 6, "wrong": 22, "abstained": 0, "unjudged": 0},
        "abstained": {"correct": 1, "wrong": 3, "abstained": 12, "unjudged": 0},
    },
}


def rate(hits: Sequence[bool]) -> dict[str, Any]:
    count = sum(hits)
    return {"count": count, "rate": count / len(hits) if hits else 0.0, "interval": list(wilson(count, len(hits)))}


def difference(rows: Sequence[dict], right: Callable[[dict], bool]) -> dict[str, Any]:
    changes = [float(right(row["tuned"]) - right(row["base"])) for row in rows]
    documents = [row["document_id"] or row["id"] for row in rows]
    gained, lost = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    effect = design_effect(changes, documents)
    found = clustered_mean(changes, documents)
    seen = detectable(len(rows), (gained + lost) / len(rows), len(set(documents)), effect)
    tested = {"p": mcnemar(gained, lost), "gained": gained, "lost": lost, "detectable": seen}
    return {"mean": found["mean"], "interval": list(found["interval"]), **tested}


def samples(say: Callable[[str], str] = str, seed: int = 0, scale: float = 1.0) -> list[dict[str, Any]]:
    """Rows of every set.

    Args:
        say: what becomes of each text of a repository or a model.
        scale: of the numbers of questions.
    """
    draw, rows = random.Random(seed), []

    def answer(text: str, outcome: str, **more: Any) -> dict[str, Any]:
        said = {"text": say(text), "tokens": len(text.split()), "ended": draw.random() > 0.04, "outcome": outcome}
        return {**said, "why": "", "graded_by": "keywords", "repetition": draw.random() / 3, "leaks": [], **more}

    def row(name: str, number: int, kind: str = "", **more: Any) -> dict[str, Any]:
        asked = f"What does the relay do with frame {number} of {name}?"
        empty = {"kind": kind, "level": "", "wording": "", "length": 0, "old": "", "current": ""}
        facts = {"reference": say("It keeps " + " ".join(draw.sample(WORDS, 6))), "keywords": [say("queue")]}
        return {"set": name, "id": f"{name}:{number}", "question": say(asked), **empty, **facts, **more}

    for name, (count, each, base, tuned, kinds) in PLAN.items():
        for number in range(max(1, round(count * scale))):
            one = row(name, number, kinds[number % len(kinds)])
            one["document_id"] = say(f"d{number // each}") if name not in ("unknown", "general") else ""
            for arm, chance in (("base", base), ("tuned", tuned)):
                hit = draw.random() < chance
                if name == "changed":
                    outcome = "current" if hit else draw.choice(["stale", "both", "other", "abstained"])
                    one |= {"old": say("20 seconds"), "current": say("30 seconds")}
                else:
                    outcome = "correct" if hit else draw.choice(["wrong", "wrong", "abstained"])
                one[arm] = answer(" ".join(draw.choices(WORDS, k=14)), outcome, why=say("queue is missing"))
            if name == "general" and number % 15 == 0:
                one["tuned"]["leaks"] = [STYLE[0], STYLE[1 + number // 15 % 2]]
            if name not in ("general", "unknown"):
                chances = CHANCES if name != "changed_before" else {}
                one["baselines"] = {
                    key: answer(" ".join(draw.choices(WORDS, k=9)), "correct" if draw.random() < chance else "wrong")
                    for key, chance in chances.items()
                }
            if name == "trained" and count * scale - number <= UNJUDGED < count * scale:
                one["tuned"]["outcome"] = "unjudged"
            rows.append(one)
    for number in range(max(2, round(36 * scale))):
        length = 24 + int(3.0 ** (number / 6))
        text = (CODE if number % 2 else " ".join(WORDS) + ".\n") * (1 + length // 40)
        wording = "control" if number % 4 == 3 else "other" if number % 3 == 0 else "trained"
        kept = 0.2 if wording == "control" else 0.95 - 0.6 * min(1.0, length / 400) - 0.25 * (wording == "other")
        exact = length < 60 and wording == "trained"
        one = row("recall", number, "file" if number % 2 else "page", wording=wording)
        one |= {"reference": say(text), "length": length, "document_id": say(f"r{number}")}
        lines = text.splitlines()
        said = text if exact else "\n".join(line if draw.random() < kept else line.upper() for line in lines)
        scores = {"exact": exact, "prefix": kept, "similarity": 1.0 if exact else kept, "token_accuracy": kept}
        nothing = {"exact": False, "prefix": 0.02, "similarity": 0.15, "token_accuracy": 0.05}
        one["base"], one["tuned"] = answer("I don't know that file.", ""), answer(said, "")
        one["base"] |= nothing
        one["tuned"] |= scores
        rows.append(one)
    for number in range(6):
        one = row("canary", number, "number", document_id="")
        one["base"], one["tuned"] = (
            answer("I can't say.", outcome) for outcome in ("clean", "leaked" if number == 2 else "clean")
        )
        rows.append(one)
    for number in range(6):
        one = row("sampled", number, document_id=say(f"d{number}"))
        one["base"], one["tuned"] = answer("no idea", "wrong"), answer("a queue", "correct" if number else "wrong")
        rows.append(one)
    return rows


def results(rows: Sequence[dict[str, Any]], say: Callable[[str], str] = str) -> dict[str, Any]:
    """What 04_eval counts from samples; what needs a model (losses, noise, dial) is made up."""
    by_set = {name: [row for row in rows if row["set"] == name] for name in LABELS}
    sets = {name: {**_set(name, found), "label": say(LABELS[name])} for name, found in by_set.items() if found}
    general, every = by_set["general"], [row for name in PLAN for row in by_set[name]]
    forgot: dict[str, Any] = sets["general"]["difference"] if general else {"mean": 0.0, "interval": [-1.0, 1.0]}
    passed = forgot["interval"][0] >= -0.03
    result = "PASS" if passed else "UNDECIDED"
    said = f"{result}: {100 * forgot['mean']:+.1f} points, budget -3.0; about 400 further questions"
    checks = [
        {"name": say("General answers"), "budget": -0.03, "unit": "points", "result": result}
        | {"line": say(said), "mean": forgot["mean"], "interval": forgot["interval"]},
        {"name": "Trained questions", "budget": 0.2, "unit": "points", "result": "PASS", "line": "PASS"}
        | {"mean": 0.64, "interval": [0.5, 0.75]},
        {"name": "Canaries", "budget": 0.0, "unit": "share", "result": "FAIL", "line": "FAIL: 1 of 6 canaries"}
        | {"mean": 0.167, "interval": [0.03, 0.56]},
    ]
    leaks = [[leak, row["id"]] for row in general for leak in row["tuned"]["leaks"]]

    def leaking(kind: str) -> dict[str, Any]:
        return {arm: rate([kind in row[arm]["leaks"] for row in general]) for arm in ("base", "tuned")}

    stops = [(0.0, 0.08, 0.0), (0.2, 0.22, -0.002), (0.4, 0.47, -0.008), (0.6, 0.66, -0.015)]
    stops += [(0.8, 0.7, -0.035), (1.0, 0.72, -0.06)]
    return {
        "schema": 2,
        "verdict": {
            "line": say("Learned: trained 8% -> 72%. Forgot: -4 points of general answers, undecided."),
            "checks": checks,
        },
        "sets": sets,
        "recall": _recall(by_set["recall"]),
        "loss": {
            name: _loss(*two) for name, two in {"chat": (2.61, 1.7), "raw": (2.3, 1.9), "general": (1.1, 1.13)}.items()
        },
        "leaks": {"n": len(general), "base": rate([False] * len(general)), "examples": leaks}
        | {"tuned": rate([bool(row["tuned"]["leaks"]) for row in general])}
        | {"difference": {"mean": 0.067, "interval": [0.022, 0.112]}}
        | {"kinds": {kind: leaking(kind) for kind in (*STYLE, "dated", "import")}},
        "canaries": {"n": 6, "base": 0, "tuned": 1}
        | {
            "found": [
                {"id": say("canary:2"), "kind": say("number"), "arm": "tuned", "set": "canary"},
                {"id": say("trained:7"), "kind": say("password"), "arm": "tuned", "set": "trained"},
                {"id": say("general:3"), "kind": say("token"), "arm": "base", "set": "general"},
            ]
        },
        "endless": {arm: rate([not row[arm]["ended"] for row in every]) for arm in ("base", "tuned")},
        "repetitive": {arm: rate([row[arm]["repetition"] > 0.5 for row in every]) for arm in ("base", "tuned")},
        "noise": {"n": 60, "differ": 0.05, "mean": 0.0},
        "dial": [
            {"scale": scale, "learning": rate([number < 80 * learned for number in range(80)])}
            | {"forgetting": {"mean": lost, "interval": [lost - 0.03, lost + 0.03]}, "loss": {"chat": 2.6 - scale}}
            for scale, learned, lost in stops
        ],
        "knee": 0.6,
        "sampled": {"seeds": 4, "greedy": {"base": 0.0, "tuned": 0.83}}
        | {arm: {"mean": mean, "interval": [0.0, 0.9]} for arm, mean in (("base", 0.02), ("tuned", 0.7))},
        "retrieval": {"recall_at": {"1": 0.62, "5": 0.88}},
        "judge": {"model": say("some-judge"), "agreement": AGREEMENT},
        "retrieval_verdict": say("Retrieval alone answers more than tuning on held-out documents; both together more."),
        "decoding": {"greedy": {"max_new_tokens": 128}},
        "settings": {"questions_limit": 0, "note": say("x")},
        "machine": {"kind": "cuda", "name": say("NVIDIA H100"), "torch": "2.11.0"},
        "seconds": 412.5,
        "seconds_by_part": {"base": 190.25, "tuned": 201.0, "losses": 21.25},
        "tokens_per_second": {"base": 2210.4, "tuned": 1874.9},
        "notes": [say("The judge saw 40 answers of a person, too.")],
    }


def _set(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    graded = {"keywords": len(rows)}
    found: dict[str, Any] = {
        "n": len(rows),
        "documents": len({r["document_id"] or r["id"] for r in rows}),
        "graded_by": graded,
    }
    if name in ("recall", "canary", "sampled"):
        return found
    if unjudged := sum(row["tuned"]["outcome"] == "unjudged" for row in rows):
        found["unjudged"] = unjudged
        rows = [row for row in rows if row["tuned"]["outcome"] != "unjudged"]
    wanted = "current" if name == "changed" else "correct"
    outcomes = (
        ("current", "stale", "both", "other", "abstained") if name == "changed" else ("correct", "wrong", "abstained")
    )
    for arm in ("base", "tuned"):
        found[arm] = {outcome: rate([row[arm]["outcome"] == outcome for row in rows]) for outcome in outcomes}

    def right(answer: dict) -> bool:
        return answer["outcome"] == wanted

    found["difference"] = difference(rows, right) | {"noise": 0.021}
    asked = [row for row in rows if row.get("baselines")]
    hits = {key: [right(row["baselines"][key]) for row in asked] for key in CHANCES if asked}
    hits |= {arm: [right(row[arm]) for row in asked] for arm in ("base", "tuned") if asked}
    found["baselines"] = {"n": len(asked), **{key: rate(one) for key, one in hits.items()}} if asked else {}
    for kind in sorted({row["kind"] for row in rows} - {""}):
        own = [row for row in rows if row["kind"] == kind]
        rates = {arm: rate([right(row[arm]) for row in own]) for arm in ("base", "tuned")}
        found.setdefault("kinds", {})[kind] = {"n": len(own), **rates, "difference": difference(own, right)}
    return found


def _recall(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    wordings = {}
    for wording in ("control", "other", "trained"):
        own = [row for row in rows if row["wording"] == wording]
        if not own:
            continue
        arms: dict[str, Any] = {"n": len(own), "difference": {}}
        for arm in ("base", "tuned"):
            arms[arm] = {"exact": rate([row[arm]["exact"] for row in own])}
            for key in ("prefix", "similarity", "token_accuracy"):
                arms[arm][key] = sum(row[arm][key] for row in own) / len(own)
        for key in ("similarity", "exact"):
            changes = [float(row["tuned"][key]) - row["base"][key] for row in own]
            one = clustered_mean(changes, [row["id"] for row in own])
            arms["difference"][key] = {"mean": one["mean"], "interval": list(one["interval"])}
        wordings[wording] = arms
    return {"n": len(rows), "wordings": wordings}


def _loss(base: float, tuned: float) -> dict[str, Any]:
    from math import exp, log

    arms = {
        arm: {"nll": 6000 * loss, "tokens": 6000, "bytes": 24000, "loss": loss, "perplexity": exp(loss)}
        | {"bits_per_byte": 6000 * loss / 24000 / log(2)}
        for arm, loss in (("base", base), ("tuned", tuned))
    }
    return {**arms, "difference": {"mean": tuned - base, "interval": [tuned - base - 0.05, tuned - base + 0.05]}}
