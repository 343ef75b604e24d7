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
    ("answer", "share"),
    [
        ("", 0.0),
        ("Paris.", 0.0),
        ("The bus carries the messages of the gate to the store.", 0.0),  # the same words, not behind themselves
        ("one two one two", 2 / 4),
        ("one two one two one", 3 / 5),  # the last round is cut
        ("one two three one two", 0.0),  # no round is whole
        ("no no No no", 3 / 4),
        ("It is red. It is red. It is red. It is red.", 12 / 16),
        ("Well then: " + "it is red. " * 4, 12 / 19),
        ("a b a b then c d e c d e c d e", 6 / 14),  # the longest loop counts, not all of them
        ([5, 5, 5, 5, 5], 4 / 5),
        ([1, 2, 3, 1, 2, 3, 1], 4 / 7),
        ([1, 2, 3, 4], 0.0),
        ([], 0.0),
    ],
)
def test_repetition(answer, share):
    assert metrics.repetition(answer) == pytest.approx(share)


def test_repetition_finds_a_loop_behind_a_real_answer_and_none_in_prose_and_code():
    assert metrics.repetition("The port is 7419.\n" + "The gate listens on it. " * 30) > 0.9
    assert metrics.repetition(metrics.__doc__ + (metrics.repetition.__doc__ or "")) < 0.1
    with open(metrics.__file__, encoding="utf-8") as file:
        assert metrics.repetition(file.read()) < 0.1
    # A table's or list's rows differ in what they say.
    assert metrics.repetition("\n".join(f"- item {n}: {n * 7}" for n in range(30))) < 0.1


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
