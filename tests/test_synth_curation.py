"""ftlib.synth.curation: of planted pairs the bad ones go, by the right step, and the good ones stay."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_pairs import HELD_OUT, TUNING, Planted, rows_of

from ftlib.similar import near_duplicates
from ftlib.synth.curation import SAMPLES, STEPS, curate, funnel, judged
from ftlib.synth.curation.deixis import points_outside
from ftlib.synth.curation.evidence import has_evidence, made_up_numbers
from ftlib.synth.curation.naming import is_named, names_of

# Least of the bad pairs that each step removes, of all; at the first run the held-out set had 10, 9 and 25.
FLOORS = [
    (TUNING, {"deixis": 35, "named": 15, "evidence": 40}),
    (HELD_OUT, {"deixis": 20, "named": 9, "evidence": 27}),
]
BOTH = pytest.mark.parametrize(("planted", "floors"), FLOORS, ids=["tuning", "held out"])


def step_of(planted: Planted, row: dict) -> str:
    """The step that removes a row, alone; empty if none does."""
    _, removed = curate([row], planted.documents, planted.project)
    return next((step for step, gone in removed.items() if gone), "")


@BOTH
def test_good_pairs_stay(planted, floors):
    rows = rows_of(planted, planted.good)
    assert len(rows) >= 43
    assert [(row["question"], step) for row in rows if (step := step_of(planted, row))] == []


@BOTH
def test_bad_pairs_go_by_the_right_step(planted, floors):
    wrong = {
        step: [row["question"] for row in rows_of(planted, pairs) if step_of(planted, row) != step]
        for step, pairs in planted.bad.items()
    }
    assert {step: len(planted.bad[step]) - len(missed) for step, missed in wrong.items()} == floors, wrong


@BOTH
def test_near_duplicates(planted, floors):
    """Known to stay: "What's cached by" beside "What did ... cache": ftlib.similar wants nine words in ten."""
    found = [bool(near_duplicates([one], [other])) for one, other in planted.same]
    assert found.count(False) <= (planted is HELD_OUT)
    assert not any(near_duplicates([one], [other]) for one, other in planted.other)


@pytest.mark.parametrize("white", ["What does\nthe text\n above say?", "What does the  text above say?"])
def test_words_point_across_lines(white):
    assert points_outside(white) == "text above"


@pytest.mark.parametrize(
    ("text", "before", "points"),
    [
        ("This file holds the port.", "What does src/a.ts hold?", False),
        ("This hook reads it.", "What reads the form of Tide?", False),
        ("The provided information names no port.", "What is the port of Tide?", True),
        ("This text holds the port.", "What holds the port?", True),
        ("What does this PR solve?", "", True),  # "problem" is no PR
        ("What problem does this PR solve?", "", True),
        ("What did PR #7 add, and why was this PR reverted?", "", False),
        ("Is the list below the header?", "", False),
        ("Is the port in the list below?", "", True),
        ("It is as shown below: `a`", "What?", False),
        ("It is as shown below.", "What?", True),
        ("What does the following line do: `a = 1`?", "", False),
        ("What does the following line do?", "", True),
        ("In the text, what is X?", "", True),
        ("Which marks does `strip()` drop in the text?", "", False),
        ("Which marks are dropped in the text?", "", True),
        ("Why does the author say so?", "", True),
        ("In #7, why does the author say so?", "", False),
        ("Does the author of X say so?", "", False),
        ("How does it work in X?", "", True),
        ("How long does it take in X?", "", False),
        ("Is this needed in X?", "", True),
        ("Where is it listed earlier than X?", "", False),
        ("Which X is listed earlier?", "", True),
    ],
)
def test_what_points_outside(text, before, points):
    assert bool(points_outside(text, before)) is points


@pytest.mark.parametrize(
    ("question", "name", "named"),
    [
        ("the port of manageFrontend", "manage-frontend", True),
        ("the port of manage-frontends", "manage-frontend", False),
        ("the frontend we manage", "manage-frontend", False),
        ("in issue 1, 2 files", "issue 12", False),
        ("in PR#12", "#12", True),
        ("in 12 files", "#12", False),
        ("in PR #123", "#12", False),
        ("how to ba\u0308cken", "bäcken", True),
        ("設定ガイドによると", "設定ガイド", True),
        ("anything", "", False),
        ("anything", "...", False),
        ("cats and dogs", "Cats & dogs", True),
    ],
)
def test_names(question, name, named):
    assert is_named(question, [name]) is named


def test_names_of_documents():
    page = {"source": "docs", "path": "README.md", "title": "Overview", "id": "docs:README.md"}
    assert names_of(page) == []
    assert names_of({**page, "path": "docs/a/README.md"}) == ["docs/a/README.md"]
    assert names_of({**page, "path": "docs/Tides.md"}) == ["docs/Tides.md", "Tides.md", "Tides"]
    assert names_of({**page, "source": "code", "path": "src/index.ts", "title": "index.ts"}) == ["src/index.ts"]
    assert "Makefile" in names_of({**page, "source": "code", "path": "Makefile", "title": "Makefile"})
    pull = {"source": "pull_request", "path": "pull/3", "title": "PR #3: Cleanup", "id": "pull_request:3"}
    assert {"#3", "PR 3", "pull/3"} <= {name.strip() for name in names_of(pull)} and "Cleanup" not in names_of(pull)


PAGE = """The worker never retries a request that took more than 1,500 ms, unless `MAX_TRIES` of the queue says so.
1. Use v1.2.3.
2. See the [notes](https://example.org)
3. Stop it."""


@pytest.mark.parametrize(
    "evidence",
    [
        "the worker never retries the request that took more than 1500 ms",  # an article
        "The worker never retrys a request that took more than 1,500 ms"[:0]
        + "worker never retries a requst that took",
        "never retries a request ... unless MAX_TRIES of the queue",
        "says so. Use v1.2.3",
        "says so.\n1. Use v1.2.3",
        "2. See the notes\n3. Stop it",
    ],
)
def test_evidence_that_stands_there(evidence):
    assert has_evidence(evidence, PAGE)


@pytest.mark.parametrize(
    "evidence",
    [
        "The worker ever retries a request that took more than 1,500 ms",
        "Retries a request that took more than 1,500 ms",
        "a request that took more than 1,501 ms, unless `MAX_TRIES` of the queue says so",
        "a request that took more than 150 ms, unless `MAX_TRIES` of the queue says so",
        "took more than 1,500 ms, unless `MAX_TRIAS` of the queue says so",
        "a reqest that tuok more than 1,500 ms",
        "Use v1.2",
        "the ... a",
        "retries ... ms",
        "",
        "…",
        "4. Use v1.2.3",
        "worker never retries a requxxt that took",
        "worker never retries a xequest that took",
        "never retries a request ... zebra",
        "2. See the notes\n4. Stop it",
        "The worker never retries a request unless `MAX_TRIES` of the queue says so.",
    ],
)
def test_evidence_that_does_not(evidence):
    assert not has_evidence(evidence, PAGE)


def test_a_passage_may_end_inside_a_word_where_it_was_cut():
    text = "The harbour master publishes the tables once a year. " * 8
    assert has_evidence(text[:300], text) and text[298:302].isalpha()
    assert has_evidence("master publishes the tables onc...", text)
    assert not has_evidence("master publishes the tables onc", text) and not has_evidence("tables onc...", text)


def test_a_name_behind_a_negation_and_an_article_is_the_page_s_own():
    """Capital in the page, too: the passage does not begin a sentence where the page went on with one."""
    page = "Brindle is not a Harbour, and it is never restarted by hand. Never restart the ferry at night."
    assert has_evidence("Harbour", page) and has_evidence("Harbour, and it is never restarted", page)
    assert not has_evidence("Restart the ferry at night", page)


# --- properties -------------------------------------------------------------------------------------------------------

WORDS = st.text("abcdefgXYZäß日本", min_size=1, max_size=8) | st.sampled_from(["not", "8080", "1.2.3", "a_b", "C++"])
BETWEEN = st.sampled_from(
    [" ", "  ", "\n", "\t", "\u00a0", "\u2003", " **", "** ", " `", "` ", " *", "\n> ", "\n\n", " | "]
)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.lists(WORDS, min_size=3, max_size=40))
def test_a_passage_is_found_whatever_is_put_between_its_words(data, words):
    start = data.draw(st.integers(0, len(words) - 1))
    passage = words[start : start + data.draw(st.integers(1, len(words)))]
    dressed = passage[0] + "".join(data.draw(BETWEEN) + word for word in passage[1:])
    has_content = any(word.casefold() not in ("a", "be", "not") for word in passage)
    assert has_evidence(dressed, " ".join(words)) or not has_content


@settings(deadline=None, max_examples=150)
@given(st.data(), st.lists(WORDS | st.integers(0, 99999).map(str), min_size=3, max_size=30))
def test_another_digit_is_refused(data, words):
    numbers = [n for n, word in enumerate(words) if re.search(r"\d", word)]
    if not numbers:
        return
    chosen = data.draw(st.sampled_from(numbers))
    at = data.draw(st.sampled_from([m.start() for m in re.finditer(r"\d", words[chosen])]))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != words[chosen][at]]))
    changed = words[chosen][:at] + digit + words[chosen][at + 1 :]
    if changed not in words:
        assert not has_evidence(" ".join([*words[:chosen], changed, *words[chosen + 1 :]]), " ".join(words))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(range(len(TUNING.good) + 90)), unique=True), st.integers(0, 3))
def test_curate_parts_its_rows_and_the_funnel_adds_up(chosen, wrong):
    pairs = TUNING.good + [pair for bad in TUNING.bad.values() for pair in bad]
    rows = [rows_of(TUNING, pairs)[number] for number in chosen]
    left, removed = curate(rows, TUNING.documents, TUNING.project)
    gone = [row["id"] for step in removed.values() for row, _ in step]
    assert Counter(row["id"] for row in rows) == Counter([*gone, *(row["id"] for row in left)])
    assert [row["id"] for row in left] == [row["id"] for row in rows if row["id"] not in gone]
    assert all(reason for step in removed.values() for _, reason in step)
    removed["schema"] = [({"question": "{}"}, "`answer`: Field required")] * wrong
    steps = funnel(len(rows) + wrong, removed)
    assert [step["step"] for step in steps[1:]] == [step for step in STEPS if step in removed]
    assert steps[0]["kept"] == len(rows) + wrong and steps[-1]["kept"] == len(left)
    assert all(after["kept"] == step["kept"] - after["removed"] for step, after in zip(steps, steps[1:], strict=False))
    assert all(len(step["samples"]) == min(SAMPLES, step["removed"]) for step in steps)


# --- the steps --------------------------------------------------------------------------------------------------------


def row(question, **more):
    return {
        "id": question,
        "question": question,
        "answer": "A.",
        "evidence": None,
        "document_id": "",
        "by": "file",
    } | more


def test_near_duplicates_of_others_and_of_what_is_only_asked():
    rows = [row(f"Which {word} has tide-table?") for word in ("port", "the port", "host", "name", "age")]
    how = {
        "others": ["which host has tide-table", "Which host has tide-table?"],
        "asked_only": ["Which name has the tide-table?"],
    }
    left, removed = curate(rows, {}, ["tide-table"], **how)
    assert [r["question"] for r in left] == ["Which port has tide-table?", "Which age has tide-table?"]
    reasons = [reason for _, reason in removed["near-duplicates"]]
    assert [reason.split()[0] for reason in reasons] == ["asked", "asked", "kept"]


@pytest.mark.parametrize("question", ["What is the purpose of the module in {}?", "What does the class return in {}?"])
def test_a_part_of_a_file_is_known_by_the_name_of_the_file(question):
    code = {"id": "x", "source": "code", "path": "src/x.py", "title": "x.py", "text": "Port"}
    rows = [row(question.format(name), document_id="x", kind="unanswerable") for name in ("tide", "src/x.py of tide")]
    left, removed = curate([{**r, "answer": "It does not say."} for r in rows], {"x": code}, ["tide"])
    assert [r["question"] for r in left] == [rows[1]["question"]] and len(removed["deixis"]) == 1


def test_a_question_file_need_not_give_evidence_but_the_api_must():
    documents = {"x": {"id": "x", "source": "docs", "path": "x.md", "title": "X", "text": "The port is 8080."}}
    rows = [row("Port of tide?", document_id="x"), row("Port of the Tide, then?", document_id="x", by="api")]
    left, removed = curate(rows, documents, ["tide"])
    assert left == rows[:1] and removed["evidence"][0][1] == "no evidence is given"


def test_the_judge_is_strict_and_paraphrases_follow_their_pair():
    rows = [row("a"), row("a2", of="a"), row("b"), row("c"), row("c2", of="c")]
    good = SimpleNamespace(answerable=True, supported=True, self_contained=True)
    bad = SimpleNamespace(answerable=True, supported=False, self_contained=False)
    left, removed = judged(rows, {"a": good, "c": bad, "c2": good})
    assert [r["id"] for r in left] == ["a", "a2", "c2"]
    assert dict((r["id"], reason) for r, reason in removed) == {
        "b": "the judge said nothing of it",
        "c": "the judge: not supported, not self-contained",
    }


@pytest.mark.parametrize(
    "text",
    ["[", "](", "<a", "1.", "> ", "`", "a/", " ", "a", "_a", "not a", "…", "&", "-", "1,", "=", "~~~\n", "日", "the "],
)
def test_hostile_pages_take_linear_time(text):
    began = time.process_time()
    has_evidence("This is some evidence that stands nowhere here at all, nor there, not once in 12", text * 50_000)
    points_outside(f"this file {text * 5_000} this code")
    assert time.process_time() - began < 2


def test_a_large_page_with_many_passages_takes_less_than_a_second():
    chance = random.Random(0)
    vocabulary = ["".join(chance.choices("abcdefghijklmnoprstuw", k=chance.randint(2, 9))) for _ in range(3000)]
    words = chance.choices([*vocabulary, *["the"] * 300], k=50_000)
    passages = [words[at : at + 50] for at in chance.sample(range(49_000), 20)]
    for number, passage in enumerate(passages):
        if number % 2:
            passage[20] = "zzzzz"
    page = " ".join(words)
    assert len(page) > 290_000
    began = time.process_time()
    assert sum(has_evidence(" ".join(passage), page) for passage in passages) == 10
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("answer", "made_up"),
    [
        ("It is 8080, cleared after 15 minutes, with 10000 rows.", []),
        ("It holds 10,000 rows.", []),
        ("As of December 2023 it is 18.17; 18 is the oldest.", []),
        ("There are 3 steps.", []),  # a count need not stand there
        ("Before the 20th it is the next month.", ["20"]),
        ("It is 8081.", ["8081"]),
        ("It is 18.17.1.", ["18.17.1"]),
        ("It holds 100000 rows.", ["100000"]),
        ("It is 80.", ["80"]),
    ],
)
def test_a_number_of_an_answer_stands_in_its_document(answer, made_up):
    page = "It runs on port 8080, holds 10,000 rows for 15 minutes and needs Node 18.17.0."
    assert made_up_numbers(answer, page, "2023-12-21T10:00:00Z") == made_up
    row = {"question": "What is proj?", "answer": answer, "evidence": "It runs on port 8080", "kind": "what"}
    row |= {"by": "api", "document_id": "d", "id": "i"}
    document = {"source": "wiki", "path": "P.md", "title": "P", "text": page, "date": "2023-12-21T10:00:00Z"}
    left, removed = curate([row], {"d": document}, ["proj"])
    assert bool(left) == (not made_up) and len(removed["evidence"]) == bool(made_up)


def test_the_first_pair_gives_way_to_the_users_own_question_too():
    left, removed = curate([row("Which port has tide?")], {}, ["tide"], others=["which port has the tide"])
    assert not left and len(removed["near-duplicates"]) == 1


def test_the_title_is_evidence_and_a_number_of_the_question_may_be_said_again():
    document = {"id": "x", "source": "docs", "path": "x.md", "title": "Moving the tide to port 8080", "text": "Later."}
    rows = [
        row("Where does tide move?", answer="To 8080.", evidence="the tide to port 8080", document_id="x", by="api"),
        row("Is 42 a port of tide?", answer="42 is none.", evidence="the tide to port 8080", document_id="x", by="api"),
    ]
    assert curate(rows, {"x": document}, ["tide"])[0] == rows


def test_other_wordings_of_a_question_that_is_only_asked_are_not_trained_on():
    rows = [
        row("Which host has tide-table?"),
        row("On what machine does tide-table run?", of="Which host has tide-table?"),
    ]
    left, _ = curate(rows, {}, ["tide-table"], asked_only=["Which host has the tide-table?"])
    assert left == []


@pytest.mark.parametrize(
    ("wrong", "step"),
    [
        ({"question": "What does tide do with the text above?"}, "deixis"),
        ({"question": "Which port is taken?"}, "named"),
        ({"evidence": "The port is 9090."}, "evidence"),
    ],
)
@pytest.mark.parametrize("by", ["file", "api"])
def test_paraphrases_of_a_file_go_with_their_pair_at_whatever_step(wrong, step, by):
    """An API's, which were paid for, are looked at for themselves."""
    documents = {"x": {"id": "x", "source": "docs", "path": "x.md", "title": "X", "text": "The port is 8080."}}
    good = {"evidence": "The port is 8080.", "document_id": "x", "by": by}
    rows = [
        row("Which port has tide?", id="pair", **good) | wrong,
        row("Tide's port?", id="pair:p1", of="pair", **good),
    ]
    left, removed = curate(rows, documents, ["tide"])
    assert [r["id"] for r in left] == ([] if by == "file" else ["pair:p1"])
    assert [r["id"] for r, _ in removed[step]] == ["pair", "pair:p1"][: 2 if by == "file" else 1]


def test_other_wordings_need_not_name_what_their_pair_names():
    rows = [
        row("Which port has tide?", id="pair"),
        row("Where does the server listen?", id="pair:p1", of="pair"),
        row("Which host is taken?", id="bare"),
        row("What machine is it on?", id="bare:p1", of="bare"),
        row("What machine has tide?", id="bare:p2", of="bare"),
        row("Name the colour of the boat.", id="gone:p1", of="gone"),
    ]
    left, removed = curate([one | {"by": "api"} for one in rows], {}, ["tide"])
    assert [one["id"] for one in left] == ["pair", "pair:p1", "bare:p2"]
    assert [one["id"] for one, _ in removed["named"]] == ["bare", "bare:p1", "gone:p1"]
