"""What a model answered is read whole, in part, or not at all; and the schema is what strict mode takes."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlib.synth.prompts import KINDS, Pair, PairInOtherWords, Verdict
from ftlib.synth.reading import read_items, schema_of

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda value: value.strip())
pairs = st.lists(st.builds(Pair, question=text, answer=text, evidence=text, kind=st.sampled_from(KINDS)), min_size=1)
prose = st.text(st.characters(exclude_characters="{}<", exclude_categories=["Cs"]))


def written(items, envelope="pairs"):
    return json.dumps({envelope: [item.model_dump() for item in items]}, ensure_ascii=False)


@given(pairs, prose, prose, st.sampled_from(["pairs", "data", "q&a"]))
def test_pairs_come_back_from_between_any_prose(items, before, after, envelope):
    reading = read_items(f"{before}```json\n{written(items, envelope)}\n```{after}", Pair)
    assert (reading.items, reading.wrong, reading.problem) == (items, [], "")


@given(pairs, st.data())
def test_of_an_answer_that_is_cut_off_the_whole_pairs_are_read_and_no_other(items, data):
    whole = written(items)
    cut = data.draw(st.integers(0, len(whole) - 1))
    ends = [len(written(items[: n + 1])) - 2 for n in range(len(items))]  # without "]}"
    assert read_items(whole[:cut], Pair).items == [item for item, end in zip(items, ends, strict=True) if end <= cut]


@pytest.mark.parametrize(
    "content",
    [
        '[{"question": "q", "answer": "a"}]',
        '{"question": "q", "answer": "a"}',
        '{"question": "q", "answer": "a"}\n',
        '{"result": {"kind": "pairs", "pairs": [{"question": "q", "answer": "a"}]}}',
        '{"pairs": [{"question": " q ", "answer": "a\\n", "confidence": 0.9}]} I hope this helps {smile}.',
        'First {think}: {"a": 1}. Then\n{"pairs": [{"question": "q", "answer": "a"}]}',
        '<think>{"question": "no", "answer": "no"}</think>{"pairs": [{"question": "q", "answer": "a"}]}',
        '<thinking>\nhm</thinking>\n```\n{"pairs": [{"question": "q", "answer": "a"}]}\n```',
    ],
)
def test_forms_of_an_answer(content):
    reading = read_items(content, Pair)
    assert [(item.question, item.answer, item.kind) for item in reading.items] == [("q", "a", "other")]
    assert reading.wrong == []


def test_wrong_items_are_counted_and_the_others_kept():
    rows = [{"question": "q", "answer": "a"}, {"question": "q"}, {"question": "", "answer": "a"}, {"question": 1}]
    reading = read_items(json.dumps({"pairs": rows}), Pair)
    assert len(reading.items) == 1 and [raw for raw, _ in reading.wrong] == rows[1:]
    assert [reason.split(":")[0] for _, reason in reading.wrong] == ["`answer`", "`question`", "`question`"]
    other = [{"q": "q", "a": "a"}] * 2
    assert [raw for raw, _ in read_items(json.dumps({"pairs": other}), Pair).wrong] == other
    assert "`answer`: Field required" in read_items(json.dumps(rows[1:]), Pair).problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "the answer is empty"),
        (" \n", "the answer is empty"),
        ("I refuse.", "no JSON of the asked form in the answer 'I refuse.'"),
        ('{"pairs": []}', "no JSON of the asked form"),
        ("{" * 50_000, "no JSON of the asked form"),
        ('{"a":' * 5_000, "no JSON of the asked form"),
        ("[" * 50_000 + '{"question": "\ud800", "answer": "a"}', "not of the asked form: `question`"),
        ("<think>" * 1000, "no JSON of the asked form"),
    ],
)
def test_what_can_not_be_read_says_why_and_takes_no_time(content, problem):
    began = time.process_time()
    reading = read_items(content, Pair)
    assert not reading.items and problem in reading.problem
    assert time.process_time() - began < 2


def test_schemas_are_as_strict_mode_takes_them():
    assert schema_of(Pair) == {
        "type": "object",
        "properties": {
            "question": {"type": "string"},
            "answer": {"type": "string"},
            "evidence": {"type": "string"},
            "kind": {"type": "string", "enum": list(KINDS)},
        },
        "required": ["question", "answer", "evidence", "kind"],
        "additionalProperties": False,
    }
    assert schema_of(PairInOtherWords)["required"][-1] == "paraphrases"
    assert schema_of(Verdict)["properties"]["supported"] == {"type": "boolean"}


def test_a_pair_on_the_tag_of_thoughts_is_read():
    two = [Pair(question="Q1?", answer="In <think> tags."), Pair(question="Q2?", answer="A.")]
    written = json.dumps({"pairs": [item.model_dump() for item in two]})
    assert read_items(written, Pair).items == two
