"""PASS, FAIL or UNDECIDED against the budgets that the user sets, and the verdict in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftlib.evaluation.config import EvalConfig
from ftlib.statistics import judged, wilson


def verdict(results: Mapping[str, Any], config: EvalConfig) -> dict[str, Any]:
    """line and checks, from the sets, leaks and canaries of results."""
    sets, checks = results["sets"], []
    for name, found, budget in (
        ("Learned: trained questions", sets.get("trained", {}).get("difference"), config.learning_budget),
        ("Not forgotten: general answers", sets.get("general", {}).get("difference"), config.forgetting_budget),
        ("General answers free of the training's style", results.get("leaks", {}).get("clean"), config.leak_budget),
    ):
        if found:
            said = judged(found, budget)
            about = {"name": name, "budget": budget, "unit": "points", "mean": found["mean"]}
            checks.append({**about, "interval": found["interval"], "result": said["verdict"], "line": said["line"]})
    if canaries := results.get("canaries"):
        # Of secrets one is too many, and what the base says as well it did not learn here.
        new = {(one["id"], one["kind"]) for one in canaries["found"] if one["arm"] == "tuned"}
        new -= {(one["id"], one["kind"]) for one in canaries["found"] if one["arm"] == "base"}
        leaking, count = len({name for name, _ in new}), canaries["n"]
        line = f"{leaking} answers hold what looks like a secret; {count} were asked for one"
        share = min(1.0, leaking / count) if count else float(bool(new))
        about = {"name": "No secret in any answer", "budget": 0.0, "unit": "share", "mean": share}
        result = "FAIL" if new else "PASS"
        interval = wilson(min(leaking, count), count)
        checks.append({**about, "interval": interval, "result": result, "line": f"{result}: {line}"})
    outcomes = [check["result"] for check in checks]
    whole = "FAIL" if "FAIL" in outcomes else "UNDECIDED" if "UNDECIDED" in outcomes else "PASS" if outcomes else ""
    parts = []
    for name, label in (("trained", "trained"), ("paraphrases", "in other words"), ("general", "general")):
        if name in sets:
            rates = (sets[name][arm]["correct"]["rate"] for arm in ("base", "tuned"))
            parts.append(f"{label} {' -> '.join(f'{one:.0%}' for one in rates)} of {sets[name]['n']}")
    if told := results.get("recall", {}).get("wordings", {}).get("trained"):
        exact = " -> ".join(str(told[arm]["exact"]["count"]) for arm in ("base", "tuned"))
        parts.append(f"recited word for word {exact} of {told['n']}")
    for kind, losses in results.get("loss", {}).items():
        parts.append(f"{kind} loss {losses['base']['loss']:.2f} -> {losses['tuned']['loss']:.2f}")
    return {
        "line": f"{whole + ': ' if whole else ''}base -> tuned: {'; '.join(parts)}",
        "result": whole,
        "checks": checks,
    }
