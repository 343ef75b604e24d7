"""Rates, intervals, differences, losses and habits of answers made by hand, against counts made by hand."""

from __future__ import annotations

import math

import pytest

from ftlib.evaluation import summary
from ftlib.evaluation.leaks import style_of
from ftlib.evaluation.planned import ANSWERED, SETS
from ftlib.report.answers import side_by_side
from ftlib.statistics import wilson, within_noise

ARMS = ("base", "tuned")
RIGHT = {"c": "correct", "w": "wrong", "a": "abstained", "u": "unjudged"}
VALUES = {"c": "current", "s": "stale", "b": "both", "o": "other", "a": "abstained"}


def answer(outcome, **more):
    about = {"text": "It is so.", "ended": True, "repetition": 0.0, "secrets": [], "leaks": [], "graded_by": "keywords"}
    return {**about, "outcome": outcome, **more}


def rows_of(name, base, tuned, outcomes=RIGHT, documents=None, **more):
    """A row for each letter of both; each on a document of its own where nothing is said."""
    return [
        {
            "set": name,
            "id": f"{name}{n}",
            "document_id": documents[n] if documents else f"d{n}",
            "question": f"Question {n}?",
            "base": answer(outcomes[one]),
            "tuned": answer(outcomes[other]),
            **{key: values[n] for key, values in more.items()},
        }
        for n, (one, other) in enumerate(zip(base, tuned, strict=True))
    ]


# --- by set -----------------------------------------------------------------------------------------------------------


def test_rates_and_differences_counted_by_hand():
    rows = rows_of("trained", "cwwawwwwww", "ccccwawwwc", documents=list("aabbccddee"))
    (name, found), *rest = summary.by_set(rows).items()
    assert (name, rest, found["label"], found["n"], found["documents"]) == ("trained", [], SETS["trained"], 10, 5)
    counts = {arm: {key: found[arm][key]["count"] for key in ("correct", "wrong", "abstained")} for arm in ARMS}
    assert counts == {
        "base": {"correct": 1, "wrong": 8, "abstained": 1},
        "tuned": {"correct": 5, "wrong": 4, "abstained": 1},
    }
    assert found["tuned"]["correct"] == {"count": 5, "rate": 0.5, "interval": wilson(5, 10)}
    told = found["difference"]
    assert told["mean"] == pytest.approx(0.4) and (told["gained"], told["lost"], told["n"]) == (4, 0, 10)
    assert told["p"] == pytest.approx(2 * 0.5**4) and told["documents"] == 5
    assert told["interval"][0] < 0.4 < told["interval"][1] and 0 < told["detectable"] <= 1
    assert found["graded_by"] == {"keywords": 10} and found["unjudged"] == 0
    assert found["baselines"] == {} == found["kinds"]


def test_a_loss_is_negative_and_an_equal_change_is_none():
    lost = summary.by_set(rows_of("validation", "ccccccww", "wwwwwccw"))["validation"]["difference"]
    assert (lost["mean"], lost["gained"], lost["lost"]) == (-0.5 + 0, 1, 5) and lost["p"] == pytest.approx(14 / 64)
    even = summary.by_set(rows_of("validation", "ccwwcw", "wwcccw"))["validation"]["difference"]
    assert (even["mean"], even["gained"], even["lost"], even["p"]) == (0, 2, 2, 1)


def test_an_adapter_that_does_nothing_is_0_within_its_interval_everywhere():
    rows = [row for name in ANSWERED for row in rows_of(name, "cwcwcwac", "cwcwcwac", kind="kkkkjjjj")]
    for row in rows:
        if row["set"] == "changed":
            for arm in ARMS:
                row[arm]["outcome"] = {"correct": "current", "wrong": "stale"}.get(row[arm]["outcome"], "abstained")
    found = summary.by_set(rows)
    assert list(found) == list(ANSWERED)
    for one in found.values():
        for part in (one, *one["kinds"].values()):
            told = part["difference"]
            assert (told["mean"], told["p"], told["gained"], told["lost"]) == (0, 1, 0, 0)
            assert told["interval"][0] < 0 < told["interval"][1]


def test_documents_are_drawn_and_not_rows():
    base, tuned = "w" * 40, "c" * 20 + "w" * 20
    alone = summary.by_set(rows_of("trained", base, tuned))["trained"]["difference"]
    clustered = summary.by_set(rows_of("trained", base, tuned, documents=[f"d{n // 5}" for n in range(40)]))
    wide = clustered["trained"]["difference"]
    assert wide["mean"] == alone["mean"] == 0.5 and (wide["documents"], alone["documents"]) == (8, 40)
    assert wide["interval"][1] - wide["interval"][0] > 1.5 * (alone["interval"][1] - alone["interval"][0])
    assert wide["detectable"] > alone["detectable"]
    # A row without a document is one of its own.
    none = summary.by_set(rows_of("trained", base, tuned, documents=[""] * 40))["trained"]["difference"]
    assert none["documents"] == 40 and none["interval"] == pytest.approx(alone["interval"], abs=0.02)


def test_kinds_and_values_of_changed_facts():
    rows = rows_of("changed", "sscoba", "ccsbac", VALUES, kind=["now", "since"] * 3)
    found = summary.by_set(rows)["changed"]
    base, tuned = ({key: found[arm][key]["count"] for key in VALUES.values()} for arm in ARMS)
    assert base == {"current": 1, "stale": 2, "both": 1, "other": 1, "abstained": 1}
    assert tuned == {"current": 3, "stale": 1, "both": 1, "other": 0, "abstained": 1}
    assert (found["difference"]["gained"], found["difference"]["lost"]) == (3, 1)
    kinds = found["kinds"]
    assert list(kinds) == ["now", "since"] and [kind["n"] for kind in kinds.values()] == [3, 3]
    assert [kinds["now"][arm]["count"] for arm in ARMS] == [1, 1]
    assert [kinds["since"][arm]["count"] for arm in ARMS] == [0, 2]
    assert kinds["since"]["difference"]["mean"] == pytest.approx(2 / 3) and kinds["now"]["difference"]["mean"] == 0


def test_rows_without_a_verdict_are_left_out_in_pairs():
    found = summary.by_set(rows_of("trained", "ucwwc", "cuccc", documents=list("abcde")))["trained"]
    assert (found["n"], found["unjudged"], found["documents"]) == (3, 2, 3)
    assert [found[arm]["correct"]["count"] for arm in ARMS] == [1, 3] and found["difference"]["mean"] == 2 / 3
    assert summary.by_set(rows_of("trained", "u", "c")) == {}


def test_baselines_and_arms_are_rates_of_the_same_questions():
    rows = rows_of("trained", "wwwcw", "cwcwc")
    for row, page, found in zip(rows[:4], "cwuw", "ccww", strict=True):
        row["baselines"] = {"base+page": answer(RIGHT[page]), "base+bm25": answer(RIGHT[found])}
    # The third has an answer without a verdict, the fifth was not asked with a text.
    told = summary.by_set(rows)["trained"]["baselines"]
    assert told["n"] == 3
    assert {name: told[name]["count"] for name in told if name != "n"} == {
        "base": 1,
        "tuned": 1,
        "base+page": 1,
        "base+bm25": 2,
    }
    assert told["base+bm25"] == {"count": 2, "rate": 2 / 3, "interval": wilson(2, 3)}
    assert summary.by_set(rows_of("trained", "w", "c"))["trained"]["baselines"] == {}


def test_noise_is_that_of_as_many_questions():
    noise = {"square": 0.1, "n": 40}
    rows = [{**row, "kind": "a" if n < 2 else "b"} for n, row in enumerate(rows_of("unknown", "wwwwww", "cwcwcw"))]
    found = summary.by_set(rows, noise)["unknown"]
    assert found["difference"]["noise"] == within_noise(noise, 6)
    assert found["kinds"]["a"]["difference"]["noise"] == within_noise(noise, 2) > within_noise(noise, 4)
    assert "noise" not in summary.by_set(rows)["unknown"]["difference"]


# --- retrieval --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alone", "found", "both", "said", "counts", "gain"),
    [
        ("c" * 18 + "ww", "w" * 18 + "cc", "c" * 20, "Tuning beats retrieval", (18, 2, 20), 10),
        ("w" * 17 + "ccc", "c" * 20, "w" * 20, "Retrieval beats tuning", (3, 20, 0), -100),
        ("cw" * 10, "wc" * 10, "c" + "w" * 19, "Tuning and retrieval are not told apart", (10, 10, 1), -45),
    ],
)
def test_tuning_against_retrieval(alone, found, both, said, counts, gain):
    rows = rows_of("trained", "w" * 20, alone)
    for row, one, other in zip(rows, found, both, strict=True):
        row["baselines"] = {"base+bm25": answer(RIGHT[one]), "tuned+bm25": answer(RIGHT[other])}
    odd = rows_of("trained", "wc", "uc")  # one without a verdict, one that was not asked with a text
    odd[0]["baselines"] = rows[0]["baselines"]
    assert summary.retrieval_verdict([*rows, *odd]).startswith(
        f"{said}: of 20 questions the tuned model answers {counts[0]} by itself, the base {counts[1]} with what BM25 "
        f"finds, and the tuned model {counts[2]} with the same, {gain:+d} points over the better one alone (95 %: "
    )


def test_retrieval_that_was_not_asked():
    assert summary.retrieval_verdict(rows_of("trained", "wc", "cc")) == ""


# --- recited ----------------------------------------------------------------------------------------------------------


def recited(wording, number, base, tuned):
    """exact, similarity, hits and tokens of each arm."""
    row = {"set": "recall", "id": f"{wording}{number}", "document_id": f"d{number}", "wording": wording}
    for arm, (exact, similarity, hits, count) in (("base", base), ("tuned", tuned)):
        row[arm] = {"exact": exact, "similarity": similarity, "prefix": similarity / 2, "token_hits": hits,
                    "token_count": count}  # fmt: skip
    return row


def test_recall_by_wording():
    none = (False, 0.0, 0, 10)
    rows = [
        recited("trained", 0, (False, 0.2, 1, 10), (True, 1.0, 90, 90)),
        recited("trained", 1, (False, 0.4, 1, 90), (False, 0.6, 0, 10)),
        recited("control", 0, none, none),
    ]
    found = summary.recall([*rows, *rows_of("trained", "c", "c")])
    assert found["n"] == 3 and list(found["wordings"]) == ["trained", "control"]
    one = found["wordings"]["trained"]
    assert one["n"] == 2 and one["tuned"]["exact"] == {"count": 1, "rate": 0.5, "interval": wilson(1, 2)}
    assert one["base"]["exact"]["count"] == 0
    assert (one["base"]["similarity"], one["tuned"]["similarity"]) == pytest.approx((0.3, 0.8))
    assert (one["base"]["prefix"], one["tuned"]["prefix"]) == pytest.approx((0.15, 0.4))
    # By token: 2 of 100 and 90 of 100, not the mean of two texts.
    assert (one["base"]["token_accuracy"], one["tuned"]["token_accuracy"]) == pytest.approx((0.02, 0.9))
    assert one["difference"]["similarity"]["mean"] == pytest.approx(0.5)
    exact = one["difference"]["exact"]
    assert (exact["mean"], exact["gained"], exact["lost"]) == (0.5, 1, 0)
    same = found["wordings"]["control"]["difference"]
    assert same["similarity"]["mean"] == 0 == same["exact"]["mean"]
    assert summary.recall([]) == {"n": 0, "wordings": {}}


# --- habits -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def style():
    return style_of([], ["brindlewick"])


def test_leaks_endless_and_repetitive_answers(style):
    rows = rows_of("general", "c" * 6, "c" * 6, documents=[""] * 6)
    for n, row in enumerate(rows):
        row["base"] |= {"ended": n != 0}
        if n < 2:
            row["tuned"] |= {"text": "As Brindlewick has it.", "leaks": ["name"]}
        row["tuned"] |= {"ended": n > 3, "repetition": (0.2, 0.5, 0.51, 0.9, 0, 0)[n]}
    rows += rows_of("trained", "cc", "cc")
    rows[-1]["tuned"] |= {"ended": False, "repetition": 0.8, "text": "As Brindlewick has it.", "leaks": ["name"]}
    found = summary.habits(rows, style)
    assert found["endless"]["base"] == {"count": 1, "rate": 1 / 6, "interval": wilson(1, 6)}
    assert found["endless"]["tuned"]["count"] == 4  # a question's answer is short of room, and proves nothing
    assert [found["repetitive"][arm]["count"] for arm in ARMS] == [0, 3]
    assert found["repetitive"]["tuned"]["rate"] == 3 / 8
    leaks = found["leaks"]
    assert leaks["n"] == 6 and (leaks["base"]["count"], leaks["tuned"]["count"]) == (0, 2)
    assert (leaks["kinds"]["name"]["tuned"]["count"], leaks["kinds"]["path"]["tuned"]["count"]) == (2, 0)
    assert leaks["examples"] == [["name", "general0"], ["name", "general1"]]
    assert leaks["difference"]["mean"] == pytest.approx(1 / 3)
    assert leaks["clean"]["mean"] == pytest.approx(-1 / 3) and leaks["clean"]["lost"] == 2
    assert "canaries" not in found


def test_an_answer_that_was_cut_is_flagged_in_the_report():
    rows = rows_of("general", "c", "c")
    assert "cut at the token limit" not in side_by_side(rows, SETS)
    rows[0]["tuned"]["ended"] = False
    assert side_by_side(rows, SETS).count("cut at the token limit") == 1


def test_canaries_and_secrets_of_any_answer(style):
    rows = rows_of("canary", "xyz", "xyz", dict.fromkeys("xyz", "clean"))
    rows[0]["tuned"] |= {"outcome": "leaked", "secrets": ["jwt"]}
    rows[1]["base"] |= {"outcome": "leaked", "secrets": ["email", "jwt"]}
    rows += rows_of("trained", "c", "c")
    rows[-1]["tuned"]["secrets"] = ["aws_access_key_id"]
    found = summary.habits(rows, style)["canaries"]
    assert (found["n"], found["base"], found["tuned"]) == (3, 1, 1)
    assert sorted((one["id"], one["set"], one["arm"], one["kind"]) for one in found["found"]) == [
        ("canary0", "canary", "tuned", "jwt"),
        ("canary1", "canary", "base", "email"),
        ("canary1", "canary", "base", "jwt"),
        ("trained0", "trained", "tuned", "aws_access_key_id"),
    ]
    alone = summary.habits(rows[-1:], style)["canaries"]
    assert (alone["n"], len(alone["found"])) == (0, 1)
    assert summary.habits([], style) == {}


# --- sampled ----------------------------------------------------------------------------------------------------------


def test_sampled_rates_are_of_all_seeds():
    plan = [("ww", "cc", "w", "c"), ("cw", "cc", "c", "c"), ("ww", "cw", "w", "w"), ("ww", "ww", "w", "w")]
    rows = [
        {
            "set": "sampled",
            "id": f"s{n}",
            "document_id": f"d{n}",
            "base": [answer(RIGHT[one]) for one in base],
            "tuned": [answer(RIGHT[one]) for one in tuned],
            "greedy": {"base": answer(RIGHT[first]), "tuned": answer(RIGHT[second])},
        }
        for n, (base, tuned, first, second) in enumerate([*plan, ("uw", "cc", "c", "c"), ("cc", "cc", "c", "u")])
    ]
    found = summary.sampled(rows, 2)  # without those that have no verdict somewhere
    assert found is not None and found["seeds"] == 2 and (found["base"]["n"], found["tuned"]["n"]) == (4, 4)
    assert (found["base"]["mean"], found["tuned"]["mean"]) == (1 / 8, 5 / 8)
    assert found["greedy"] == {"base": 0.25, "tuned": 0.5}
    assert 0 <= found["base"]["interval"][0] <= 1 / 8 <= found["base"]["interval"][1] <= 1
    # One question of four differs by seed: a variance of 1/2 over 2 seeds, in one of four questions.
    assert found["base"]["sampling"] == pytest.approx(math.sqrt(0.25 / 4 / 4))
    assert summary.sampled(rows[4:], 2) is None is summary.sampled([], 2)


# --- losses -----------------------------------------------------------------------------------------------------------


def measured(number, size, base, tuned, count, document=None):
    return {
        "id": f"r{number}",
        "document_id": f"d{number}" if document is None else document,
        "bytes": size,
        "base": {"nll": base, "tokens": count, "hits": 0},
        "tuned": {"nll": tuned, "tokens": count, "hits": 0},
    }


def test_losses_by_hand():
    two = math.log(2)
    rows = [measured(0, 8, 16 * two, 8 * two, 4), measured(1, 4, 2 * two, 4 * two, 2)]
    rows += [measured(n, 0, 0, 0, 0) for n in (2, 3)]
    found = summary.loss(rows)
    assert found["base"] == {
        "nll": pytest.approx(18 * two),
        "tokens": 6,
        "bytes": 12,
        "loss": pytest.approx(3 * two),
        "perplexity": pytest.approx(8),
        "bits_per_byte": pytest.approx(1.5),
    }
    assert found["tuned"]["perplexity"] == pytest.approx(4) and found["tuned"]["bits_per_byte"] == pytest.approx(1)
    # By token: -6 bits of 6 tokens, where the mean of the texts would be -1/2.
    assert found["difference"]["mean"] == pytest.approx(-two)
    assert found["difference"]["interval"] == (-math.inf, math.inf)  # of two documents that weigh anything


def test_a_loss_has_an_interval_by_document():
    rows = [measured(n, 10, 10.0, 10.0 - 0.1 * (n % 3), 5) for n in range(12)]
    low, high = summary.loss(rows)["difference"]["interval"]
    assert -0.04 < low < -0.02 < high < 0 and summary.loss(rows)["difference"]["mean"] == pytest.approx(-0.02)
    same = summary.loss([measured(n, 10, 10.0, 10.0, 5) for n in range(12)])["difference"]
    assert (same["mean"], *same["interval"]) == (0, 0, 0)
    assert summary.loss([measured(0, 0, 1.0, 1.0, 1)])["base"]["bits_per_byte"] is None
    assert math.isfinite(summary.loss([measured(0, 1, 1e6, 1.0, 1)])["base"]["perplexity"])
    # Rows of one document are drawn together.
    whole = summary.loss([measured(n, 10, 10.0, 9.0, 5, document="one") for n in range(12)])["difference"]
    assert whole["documents"] == 1 and whole["interval"] == (-math.inf, math.inf)
