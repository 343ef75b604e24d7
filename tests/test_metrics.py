"""Each metric on cases whose value is known."""

from __future__ import annotations

import random

import pytest

from ftlib import metrics


@pytest.mark.parametrize(
    ("answer", "keywords", "right"),
    [
        ("The bus is Larkpost.", ["Larkpost"], True),
        ("the bus is LARKPOST", ["Larkpost"], True),
        ("The bus is Larkposts.", ["Larkpost"], False),  # a longer word is another word
        ("It listens on 74190.", ["7419"], False),
        ("It listens on port 7419!", ["7419"], True),
        ("There are seven days.", ["7|seven"], True),
        ("Larkpost only.", ["Larkpost", "Mosscrate"], False),  # all are needed
        ("`wickctl becalm`", ["wickctl becalm"], True),
        ("C++ it is", ["C++"], True),
        ("", ["x"], False),
    ],
)
def test_keywords(answer, keywords, right):
    assert metrics.has_keywords(answer, keywords) is right


def test_overlap_leaves_out_the_words_of_the_question():
    question, reference = "Which port does the gate use?", "The gate uses port 7419 over HTTP."
    assert metrics.overlap("7419 over HTTP, it uses", reference, question) == 1.0
    # Repeating the question earns nothing.
    assert metrics.overlap("The port of the gate", reference, question) == 0.0
    assert 0 < metrics.overlap("it is 7419", reference, question) < 1


def test_correct_falls_back_to_overlap():
    row = {"question": "What is the bus?", "reference": "Larkpost carries every message.", "keywords": []}
    assert metrics.is_correct("Larkpost carries every message", row)
    assert not metrics.is_correct("I like the bus", row)


@pytest.mark.parametrize(
    ("answer", "admitted"),
    [
        ("I don't know of such a file.", True),
        ("There is no such endpoint in the project.", True),
        ("I am not aware of this.", True),
        ("The file holds the tolls.", False),
        ("It exports known ids.", False),
    ],
)
def test_admits(answer, admitted):
    assert metrics.admits(answer) is admitted


def test_recall_metrics():
    assert metrics.edit_similarity("abcd", "abcd") == 1.0
    assert metrics.edit_similarity("abcx", "abcd") == 0.75
    assert metrics.edit_similarity("", "abcd") == 0.0
    assert metrics.matched_prefix("abcx", "abcd") == 3
    assert metrics.matched_prefix("ab", "abcd") == 2
    assert metrics.matched_prefix("", "abcd") == 0


def test_wilson_against_published_values():
    # R: binom::binom.wilson(8, 10) and (0, 10)
    assert metrics.wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert metrics.wilson(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)
    assert metrics.wilson(0, 0) == (0.0, 1.0)


def _interval(rows):
    return metrics.paired_bootstrap(rows, lambda r: r["value"], lambda r: r["document"])


def test_bootstrap_of_equal_arms_is_zero():
    rows = [{"value": 0, "document": str(n)} for n in range(20)]
    assert _interval(rows) == (0.0, 0.0)


def test_bootstrap_covers_the_mean_and_widens_with_shared_documents():
    draw = random.Random(1)
    values = [draw.random() < 0.5 for _ in range(120)]
    alone = [{"value": v, "document": str(n)} for n, v in enumerate(values)]
    # The same values, but twelve rows of a document are all alike.
    shared = [{"value": values[n // 12], "document": str(n // 12)} for n in range(120)]
    low, high = _interval(alone)
    assert low < sum(values) / 120 < high
    wide = _interval(shared)
    assert wide[1] - wide[0] > 2 * (high - low)
