"""ftlib.similar: the same question is found, another one in nearly the same words is not."""

import random

import pytest

from ftlib.similar import alike, near_duplicates, repeated, signature

SAME = [
    ("What is the default port of Tidewatch?", "what is the default port of tidewatch"),
    ("What is the default port of `tidewatch`?", "Please, what is the default port of the tidewatch?"),
    ("Which file holds src/app/main.py's settings?", "Which file holds src/app/main.py's settings ?"),
    ("日本語の質問ですか", "日本語の質問ですか？"),
    (
        "How does manage-frontend decide which banner a signed-in reader with a paper subscription sees first?",
        "How does manage-frontend decide which banner the signed-in reader with a paper subscription sees first",
    ),
    ("What does Tidewatch's settings page hold first?", "What does the settings page of Tidewatch hold first?"),
    ("???", "!!!"),
]
OTHER = [
    ("What is the default port of Tidewatch?", "What is the default host of Tidewatch?"),
    ("What does the src/a.py file in X look like?", "What does the src/b.py file in X look like?"),
    ("What changed in pull request #12?", "What changed in pull request #13?"),
    ("What is the limit in version 1.2?", "What is the limit in version 1.3?"),
    ("What does getUser return?", "What does getUsers return?"),
    ("Is it fast?", "Is it not fast?"),
    ("Why?", "How?"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_question(one, other):
    assert alike(signature(one), signature(other))
    assert near_duplicates([one, "Something else entirely, with words"], [other]) == [0]


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_question(one, other):
    assert not alike(signature(one), signature(other))
    assert near_duplicates([one], [other]) == []


def test_the_first_of_each_question_stays():
    port, host = "What is the default port of Tidewatch?", "What is the default host of Tidewatch?"
    assert repeated([port, host, port.lower(), "Please, " + port, host]) == [2, 3, 4]
    # What repeats a repeated one only is not counted against it: a chain of small changes is no circle.
    words = [f"word{chr(97 + n)}" for n in range(20)]
    chain = [" ".join(words[n : n + 19]) for n in range(2)] + [" ".join(words[2:] + ["more"])]
    assert near_duplicates([chain[1]], [chain[0]]) == [0] and near_duplicates([chain[2]], [chain[1]]) == [0]
    assert near_duplicates([chain[2]], [chain[0]]) == [] and repeated(chain) == [1]


def test_nine_words_in_ten():
    words = "one two three four five six seven eight nine ten".split()
    assert near_duplicates([" ".join(words)], [" ".join([*words, "eleven"])]) == [0]  # 10 of 11
    assert near_duplicates([" ".join(words[1:])], [" ".join(words)]) == [0]  # 9 of 10
    assert near_duplicates([" ".join([*words[1:], "more"])], [" ".join(words)]) == []  # 9 of 11
    assert near_duplicates([" ".join(words[1:9])], [" ".join(words[1:])]) == []  # 8 of 9


def test_the_index_finds_what_comparing_all_pairs_finds():
    chance = random.Random(0)
    words = [f"word{chr(97 + n)}{chr(97 + n // 26)}" for n in range(60)]

    def question():
        return " ".join(chance.choices(words[:30], k=chance.randint(3, 25)))

    theirs = [question() for _ in range(150)]
    mine = [question() for _ in range(50)]
    for text in theirs[:100]:  # one word changed, added or left out
        parts = text.split()
        at = chance.randrange(len(parts))
        mine.append(" ".join(chance.choice([parts[:at] + parts[at + 1 :], [*parts, chance.choice(words)], parts])))
    expected = [n for n, text in enumerate(mine) if any(alike(signature(text), signature(t)) for t in theirs)]
    assert near_duplicates(mine, theirs) == expected and 20 < len(expected) < 140


def test_many_questions_of_one_template_are_no_work():
    theirs = [f"What does the src/file{n}.ts file in the shop repository look like?" for n in range(20_000)]
    mine = [f"What does the lib/file{n}.ts file in the shop repository look like?" for n in range(2_000)]
    assert near_duplicates([*mine, theirs[7]], theirs) == [2_000]  # all pairs would be 40 million comparisons


def test_a_full_stop_is_no_name_and_small_words_may_be_all():
    assert alike(signature("Explain the port of Tidewatch."), signature("Explain the port of Tidewatch"))
    assert alike(signature("Is it?"), signature("Is it")) and not alike(signature("Is it?"), signature("Does that?"))


@pytest.mark.parametrize("other", ["getUsers", "getGroup", "v2", "get_user"])
def test_names_decide_in_a_long_question(other):
    words = " ".join(f"word{chr(97 + n)}" for n in range(24))
    assert near_duplicates([f"{words} getUser"], [f"{words} {other}"]) == []
    assert near_duplicates([f"{words} getuser"], [f"{words} userget"]) == [0]
