"""Each metric on cases whose value is known."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("a\r\nb\r", "a\nb", True),
        ("a  \nb\t\n\n", "a\nb", True),
        ("a\n\nb", "a\nb", False),  # an empty line inside is a line
        (" a\nb", "a\nb", False),  # so is what a line is set in by
        ("a\nB", "a\nb", False),
        ("a\xa0", "a", False),
    ],
)
def test_verbatim_but_for_line_ends_and_trailing_blanks(answer, reference, same):
    assert metrics.is_verbatim(answer, reference) is same


def test_the_matched_prefix_in_tokens():
    assert metrics.prefix_share([5, 6, 9, 8], [5, 6, 7, 8]) == 0.5
    assert metrics.prefix_share([5, 6, 7, 8, 9], [5, 6, 7, 8]) == 1.0
    assert metrics.prefix_share([6, 5], [5, 6]) == 0.0 == metrics.prefix_share([], [5])
