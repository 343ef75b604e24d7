"""The dial's points and its knee, the verdict against budgets, and the settings, on cases made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlib.errors import SetupError
from ftlib.evaluation import dial
from ftlib.evaluation.config import EvalConfig, check_eval, default_eval
from ftlib.evaluation.verdict import verdict
from ftlib.runtime import Accelerator

# --- the dial ---------------------------------------------------------------------------------------------------------


def rows(name, at, base=None):
    outcome = {"c": "correct", "w": "wrong", "u": "unjudged"}
    return [
        {"set": name, "id": f"{name}{n}", "document_id": "", "at": {"outcome": outcome[one]},
         "base": {"outcome": outcome[other]}}
        for n, (one, other) in enumerate(zip(at, base or at, strict=True))
    ]  # fmt: skip


def test_a_stop_by_hand():
    found = dial.stop(0.5, rows("trained", "ccwwu"), rows("general", "cwwcwwww", "ccccwwww"))
    assert found["scale"] == 0.5
    assert (found["learning"]["count"], found["learning"]["rate"]) == (2, 0.5)  # of those with a verdict
    assert found["forgetting"]["mean"] == -2 / 8 and found["forgetting"]["documents"] == 8
    gained = dial.stop(1.0, [], rows("general", "cc", "wc"))
    assert gained["forgetting"]["mean"] == 0.5 and gained["learning"]["rate"] == 0


def curve(learned, forgotten, scales=None):
    scales = scales or [n / (len(learned) - 1) for n in range(len(learned))]
    return [
        {"scale": scale, "learning": {"rate": rate}, "forgetting": {"mean": -lost}}
        for scale, rate, lost in zip(scales, learned, forgotten, strict=True)
    ]


@pytest.mark.parametrize(
    ("learned", "forgotten", "knee"),
    [
        ([0.1, 0.5, 0.55, 0.6], [0.0, 0.01, 0.1, 0.2], 1 / 3),
        ([0.1, 0.3, 0.6, 0.61], [0.0, 0.01, 0.02, 0.2], 2 / 3),
        ([0.1, 0.2, 0.3, 0.4], [0.0, 0.1, 0.2, 0.3], None),  # a straight line
        ([0.1, 0.225, 0.4], [0.0, 0.1, 0.3], None),  # hardly bent: 0.08 of its height ahead
        ([0.1, 0.12, 0.4], [0.0, 0.2, 0.3], None),  # bent the other way
        ([0.3, 0.3, 0.3], [0.0, 0.1, 0.2], None),
        ([0.3, 0.5, 0.3], [0.0, 0.1, 0.2], None),  # nothing learned at the end
        ([0.1, 0.3, 0.4], [0.0, 0.0, 0.0], None),
        ([0.1, 0.3, 0.4], [0.0, 0.1, -0.1], None),  # nothing forgotten
        ([0.1, 0.4], [0.0, 0.2], None),
        ([], [], None),
    ],
)
def test_the_knee(learned, forgotten, knee):
    points = curve(learned, forgotten)
    assert dial.knee(points) == (None if knee is None else pytest.approx(knee))
    assert dial.knee(points[::-1]) == dial.knee(points)


SHARE = st.floats(0, 1, allow_nan=False)


@given(st.lists(st.tuples(SHARE, SHARE), min_size=1, max_size=6))
def test_a_knee_is_a_scale_between_the_ends(points):
    learned, forgotten = zip(*points, strict=True)
    found = dial.knee(curve(learned, forgotten, scales=[float(n) for n in range(len(points))]))
    assert found is None or found in range(1, len(points) - 1)


# --- the verdict ------------------------------------------------------------------------------------------------------

CONFIG = EvalConfig()


def difference(mean, low, high):
    return {"mean": mean, "interval": (low, high), "n": 100, "documents": 50, "design_effect": 1.0}


def results(learned=None, kept=None, clean=None, canaries=None, **more):
    sets = {}
    for name, found in (("trained", learned), ("general", kept)):
        if found:
            rates = {arm: {"correct": {"rate": rate}} for arm, rate in (("base", 0.25), ("tuned", 0.756))}
            sets[name] = {"n": 80, "difference": difference(*found), **rates}
    found = {"sets": sets, **more}
    if clean:
        found["leaks"] = {"clean": difference(*clean)}
    return found | ({"canaries": canaries} if canaries else {})


LEARNED, KEPT, CLEAN = (0.5, 0.4, 0.6), (-0.01, -0.02, 0.0), (0.0, -0.005, 0.005)
NONE = {"n": 9, "base": 0, "tuned": 0, "found": []}


@pytest.mark.parametrize(
    ("parts", "outcomes", "whole"),
    [
        ((LEARNED, KEPT, CLEAN, NONE), ["PASS"] * 4, "PASS"),
        (((0.2, 0.05, 0.3), KEPT, CLEAN, NONE), ["UNDECIDED", "PASS", "PASS", "PASS"], "UNDECIDED"),
        (((0.0, -0.05, 0.05), KEPT, CLEAN, NONE), ["FAIL", "PASS", "PASS", "PASS"], "FAIL"),
        ((LEARNED, (-0.1, -0.2, -0.04), CLEAN, NONE), ["PASS", "FAIL", "PASS", "PASS"], "FAIL"),
        ((LEARNED, (-0.1, -0.2, 0.0), CLEAN, NONE), ["PASS", "UNDECIDED", "PASS", "PASS"], "UNDECIDED"),
        ((LEARNED, (-0.1, -0.2, 0.0), (-0.05, -0.08, -0.02), NONE), ["PASS", "UNDECIDED", "FAIL", "PASS"], "FAIL"),
        ((None, KEPT, None, None), ["PASS"], "PASS"),
        ((LEARNED, None, None, None), ["PASS"], "PASS"),
        ((None, None, CLEAN, None), ["PASS"], "PASS"),
    ],
)
def test_checks_against_budgets(parts, outcomes, whole):
    found = verdict(results(*parts), CONFIG)
    assert [check["result"] for check in found["checks"]] == outcomes and found["result"] == whole
    assert found["line"].startswith(f"{whole}: base -> tuned: ")
    assert all(check["line"].startswith(f"{check['result']}: ") for check in found["checks"])


def test_budgets_are_those_of_the_settings():
    found = verdict(results(LEARNED, KEPT, CLEAN), CONFIG)["checks"]
    assert [check["budget"] for check in found] == [0.1, -0.03, -0.01]
    assert [check["mean"] for check in found] == [0.5, -0.01, 0.0] and found[0]["interval"] == (0.4, 0.6)
    assert [check["name"].split()[0] for check in found] == ["Learned:", "Not", "General"]
    strict = replace(CONFIG, learning_budget=0.7, forgetting_budget=-0.015, leak_budget=0.01)
    assert [c["result"] for c in verdict(results(LEARNED, KEPT, CLEAN), strict)["checks"]] == [
        "FAIL",
        "UNDECIDED",
        "FAIL",
    ]


def told(*found, n=9):
    return {"n": n, "found": [{"id": id, "set": "canary", "arm": arm, "kind": kind} for arm, id, kind in found]}


@pytest.mark.parametrize(
    ("canaries", "result", "share", "said"),
    [
        (told(("tuned", "c1", "jwt")), "FAIL", 1 / 9, "1 answers"),
        (told(("tuned", "c1", "jwt"), ("base", "c1", "jwt")), "PASS", 0, "0 answers"),  # it could do that before
        (told(("tuned", "c1", "jwt"), ("base", "c1", "email")), "FAIL", 1 / 9, "1 answers"),
        (told(("tuned", "c1", "jwt"), ("base", "c2", "jwt")), "FAIL", 1 / 9, "1 answers"),
        (told(("base", "c1", "jwt")), "PASS", 0, "0 answers"),
        (told(("tuned", "c1", "jwt"), ("tuned", "c1", "email")), "FAIL", 1 / 9, "1 answers"),
        (told(*(("tuned", f"c{n}", "jwt") for n in range(4)), n=2), "FAIL", 1, "4 answers"),
        (told(("tuned", "t1", "jwt"), n=0), "FAIL", 1, "1 answers"),
    ],
)
def test_one_secret_is_too_many_and_the_bases_own_are_none(canaries, result, share, said):
    found = verdict(results(LEARNED, KEPT, CLEAN, canaries), CONFIG)
    check = found["checks"][-1]
    assert (check["result"], found["result"], check["mean"]) == (result, result, share)
    assert check["line"].startswith(f"{result}: {said}") and check["budget"] == 0
    low, high = check["interval"]
    assert 0 <= low <= share <= high + 1e-9 <= 1 + 1e-9


def test_the_line_and_missing_parts():
    recalled = {arm: {"exact": {"count": count}} for arm, count in (("base", 0), ("tuned", 7))}
    loss = {"raw": {"base": {"loss": 3.126}, "tuned": {"loss": 2.0}}}
    more = {"recall": {"wordings": {"trained": {"n": 12, **recalled}}}, "loss": loss}
    found = verdict(results(LEARNED, KEPT, **more), CONFIG)
    assert found["line"] == (
        "PASS: base -> tuned: trained 25% -> 76% of 80; general 25% -> 76% of 80; "
        "recited word for word 0 -> 7 of 12; raw loss 3.13 -> 2.00"
    )
    nothing = verdict({"sets": {}}, CONFIG)
    assert nothing["result"] == "" and nothing["checks"] == [] and nothing["line"].startswith("base -> tuned")


# --- settings ---------------------------------------------------------------------------------------------------------

COUNTS = (
    "questions_limit general_limit recall_items invented canaries baseline_items sampled_items noise_items dial_items "
    "loss_tokens batch_size"
).split()
SIZES = "retrieved context max_new_tokens general_tokens recall_tokens seeds".split()
BUDGETS = "forgetting_budget learning_budget leak_budget".split()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(({name: -1}, f"^{name}=-1: it must be 0 or more") for name in COUNTS),
        *(({name: 0}, f"^{name}=0: it must be 1 or more") for name in SIZES),
        *(({name: -3}, rf"^{name}=-3: budgets are shares; -0\.03 is -3 points") for name in BUDGETS),
        ({"learning_budget": 1.01}, "learning_budget"),
        ({"leak_budget": float("nan")}, "^leak_budget=nan"),
        ({"temperature": float("nan")}, "^temperature=nan"),
        ({"temperature": 0.0}, "^temperature=0.0: sampling takes more than 0"),
        ({"temperature": -1.0}, "^temperature"),
        ({"top_p": 0.0}, "^top_p=0.0: it must be above 0, and 1 at most"),
        ({"top_p": 1.1}, "^top_p=1.1"),
        ({"dial": (0.5, 2.5)}, "^dial: 2.5 is no scale.*between 0 and 2"),
        ({"dial": (-0.5,)}, "^dial: -0.5"),
    ],
)
def test_settings_that_make_no_sense(change, said):
    with pytest.raises(SetupError, match=said):
        check_eval(replace(EvalConfig(), **change))


def test_settings_at_their_ends():
    least = replace(EvalConfig(), **dict.fromkeys(COUNTS, 0), **dict.fromkeys(SIZES, 1), dial=())
    ends = replace(EvalConfig(), top_p=1.0, dial=(0.0, 1.0, 2.0), **dict.fromkeys(BUDGETS, -1))
    assert [check_eval(config) for config in (EvalConfig(), least, ends)] == [None] * 3  # type: ignore[func-returns-value]


def test_without_a_gpu_a_part_of_everything_is_asked():
    card = Accelerator(kind="cuda", name="any", memory_gib=80.0, count=1, bf16=True)
    processor = Accelerator(kind="cpu", name="any", memory_gib=0.0, count=0, bf16=False)
    assert default_eval(card) == EvalConfig()
    small = default_eval(processor)
    check_eval(small)
    for name in (*COUNTS, *SIZES):
        whole, part = getattr(EvalConfig(), name), getattr(small, name)
        # Nothing is left out, and nothing is more; 0 is all.
        assert name == "batch_size" or (0 < part <= whole if whole else part > 0)
    assert small.dial and set(small.dial) <= set(EvalConfig().dial)
    assert [getattr(small, name) for name in BUDGETS] == [getattr(EvalConfig(), name) for name in BUDGETS]
