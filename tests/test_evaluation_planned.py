"""Everything that is asked of the sample, counted; what limits leave; and texts to recite, whole, cut and held out."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftlib import tokens
from ftlib.evaluation.config import EvalConfig
from ftlib.evaluation.planned import SETS, draw, planned, spread
from ftlib.general_items import KINDS, general_items
from ftlib.mixture import split_of
from ftlib.workspace import (
    file_hash,
    manifest_path,
    open_workspace,
    read_json,
    read_jsonl,
    write_json,
    write_jsonl,
)

NAMES = ["brindlewick", "Brindlewick Relay"]
FIELDS = {"set", "id", "document_id", "question", "reference", "keywords"}


@pytest.fixture(scope="module")
def everything(space, smollm):
    return planned(space, smollm, EvalConfig(), NAMES)


def of(rows, name, **more):
    return [row for row in rows if row["set"] == name and all(row[key] == value for key, value in more.items())]


def copied(space, folder):
    """The workspace once more, to be changed."""
    copy = open_workspace(folder)
    for path in space.root.glob("*.json*"):
        shutil.copy(path, folder)
    return copy


def test_the_sets_of_the_sample(space, everything):
    assert Counter(row["set"] for row in everything) == {
        "trained": 21,
        "paraphrases": 21,
        "validation": 6,
        "changed": 8,
        "changed_before": 4,
        "unknown": 48,
        "general": 220,
        "recall": 2 * 32 + 3,
        "canary": 9,
    }
    # What was not trained on in any words is no paraphrase of what was.
    trained = {row["document_id"] for row in of(everything, "trained")}
    assert {row["document_id"] for row in of(everything, "paraphrases")} <= trained
    assert not {row["document_id"] for row in of(everything, "validation")} & trained
    places = [list(SETS).index(row["set"]) for row in everything]
    assert places == sorted(places)
    ids = {document["id"] for document in read_jsonl(space.documents)}
    assert all(row.keys() >= FIELDS and row["document_id"] in {"", *ids} for row in everything)
    assert len({(row["set"], row["id"]) for row in everything}) == len(everything)


def test_kinds_of_what_changed_and_of_what_is_unknown(everything):
    assert Counter(row["kind"] for row in of(everything, "changed")) == {"now": 4, "since": 4}
    assert all(row["expected"] == "current" and row["reference"] == row["current"] for row in of(everything, "changed"))
    before = of(everything, "changed_before")
    assert {row["kind"] for row in before} == {"before"}
    assert all(row["expected"] == "stale" and row["reference"] == row["old"] for row in before)
    unknown = of(everything, "unknown")
    assert Counter(row["kind"] for row in unknown) == {"yours": 8, "file": 20, "endpoint": 20}
    assert not any(row["reference"] for row in unknown)


def test_a_limit_is_of_each_set_by_seed_and_in_order(space, smollm, everything):
    def asked(**settings):
        config = EvalConfig(**{"questions_limit": 5, "general_limit": 20, "recall_items": 0, "canaries": 4, **settings})
        return planned(space, smollm, config, NAMES)

    some, again, other = asked(), asked(), asked(seed=1)
    assert some == again != other
    counts = {**dict.fromkeys(SETS, 5), "changed_before": 4, "general": 20, "canary": 4}
    counts.pop("sampled"), counts.pop("recall")
    assert Counter(row["set"] for row in some) == Counter(row["set"] for row in other) == counts
    for name in ("trained", "paraphrases", "changed", "general"):
        whole, part = of(everything, name), of(some, name)
        assert [row for row in whole if row in part] == part != whole[: len(part)]
        assert part != of(other, name)
    none = asked(invented=0, canaries=0, questions_limit=0)
    assert {row["kind"] for row in of(none, "unknown")} == {"yours"} and not of(none, "canary")
    assert len(of(none, "trained")) == 21


def test_general_items_are_of_all_kinds(space, smollm, everything):
    sizes = Counter(item["kind"] for item in general_items())
    assert Counter(row["kind"] for row in of(everything, "general")) == sizes
    item, row = general_items()[0], of(everything, "general")[0]
    assert (row["id"], row["question"], row["reference"]) == (item["id"], item["prompt"], item["reference"])
    for limit in (3, 4, 24, 100):
        rows = of(planned(space, smollm, EvalConfig(general_limit=limit, recall_items=0), NAMES), "general")
        found = Counter(row["kind"] for row in rows)
        assert len(rows) == limit and len(found) == min(limit, len(KINDS))
        if limit > 4:
            assert all(abs(found[kind] - limit * size / 220) < 1 for kind, size in sizes.items())


# --- draw and spread --------------------------------------------------------------------------------------------------

ROWS = st.lists(st.sampled_from("aaaaaabbc")).map(lambda keys: [{"n": n, "key": key} for n, key in enumerate(keys)])


@given(ROWS, st.integers(0, 12), st.integers(0, 3))
def test_draw_and_spread_keep_the_order_and_never_exceed(rows, count, seed):
    def key(row):
        return row["key"]

    sizes = Counter(map(key, rows))
    drawn, part = draw(rows, count, key, seed), spread(rows, count, key, seed)
    for found in (drawn, part):
        assert [row["n"] for row in found] == sorted({row["n"] for row in found})
        assert all(row is rows[row["n"]] for row in found)
    assert Counter(map(key, drawn)) == {name: min(size, count or size) for name, size in sizes.items()}
    assert len(part) == min(count, len(rows))
    shares = Counter(map(key, part))
    assert len(shares) == min(len(part), len(sizes))
    for one in sizes:  # the larger group has no smaller part
        assert all(shares[one] >= shares[other] for other in sizes if sizes[one] > sizes[other])
    assert drawn == draw(rows, count, key, seed) and part == spread(rows, count, key, seed)


# --- texts to recite --------------------------------------------------------------------------------------------------


def test_recited_texts_are_half_pages_of_all_lengths(space, smollm):
    rows = of(planned(space, smollm, EvalConfig(recall_items=10), NAMES), "recall")
    trained, other, control = (of(rows, "recall", wording=name) for name in ("trained", "other", "control"))
    assert Counter(row["kind"] for row in trained) == {"page": 5, "file": 5}
    everything = of(planned(space, smollm, EvalConfig(recall_items=1000), NAMES), "recall", wording="trained")
    for kind in ("page", "file"):
        lengths = sorted(row["length"] for row in everything if row["kind"] == kind)
        found = [row["length"] for row in trained if row["kind"] == kind]
        assert (found[0], found[-1]) == (lengths[0], lengths[-1])
        # One of each fifth of the texts.
        places = [lengths.index(length) / (len(lengths) - 1) for length in found]
        assert places == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.11)
    # The same texts in words that were not trained on.
    chats = list(read_jsonl(space.chats))
    asked = {chat["messages"][0]["content"]: chat for chat in chats}
    for one, two in zip(trained, other, strict=True):
        chat = asked[one["question"]]
        assert chat["id"] == one["id"] and chat["split"] == "train" and two["id"] == f"{one['id']}:other"
        assert one["reference"] == chat["messages"][1]["content"].strip() and two["question"] not in asked
        assert {**one, "id": "", "question": "", "wording": ""} == {**two, "id": "", "question": "", "wording": ""}
        assert one["length"] == len(tokens.encode(smollm, one["reference"]).ids) and one["whole"]
    assert control and all(split_of(row["document_id"]) == "validation" for row in control)
    assert {row["id"] for row in control} <= {chat["id"] for chat in chats if chat["split"] == "validation"}
    assert not {row["document_id"] for row in control} & {row["document_id"] for row in trained}


def test_where_few_fit_the_shortest_of_the_others_are_cut(space, smollm):
    limit = 96
    whole = {row["id"]: row for row in of(planned(space, smollm, EvalConfig(), NAMES), "recall")}
    rows = of(planned(space, smollm, EvalConfig(recall_items=20, recall_tokens=limit), NAMES), "recall")
    trained = [row for row in rows if row["wording"] == "trained"]
    assert Counter((row["kind"], row["whole"]) for row in trained) == {
        ("page", True): 6,
        ("page", False): 4,
        ("file", True): 5,
        ("file", False): 5,
    }
    for row in rows:
        text, full = row["reference"], whole[row["id"]]
        assert row["whole"] == (full["length"] <= limit)
        assert row["length"] == min(limit, full["length"])
        ids, wanted = (tokens.encode(smollm, one).ids for one in (text, full["reference"]))
        # Blanks at the end of what is left are no part of it: an answer is stripped, too.
        assert text == full["reference"][: len(text)] and text == text.strip()
        assert smollm.decode(wanted[: row["length"]]).rstrip() == text and len(ids) <= row["length"]
    # By characters.
    left = [row for row in whole.values() if row["wording"] == "trained" and row["length"] > limit]
    left = sorted((row for row in left if row["kind"] == "file"), key=lambda row: len(row["reference"]))
    cut = {row["id"] for row in trained if not row["whole"] and row["kind"] == "file"}
    assert cut == {row["id"] for row in left[:5]}


@pytest.mark.parametrize("mark", [" ", "-"])
def test_a_text_of_very_long_tokens_is_cut_too(space, smollm, tmp_path, mark):
    copy = copied(space, tmp_path)
    document = next(d for d in read_jsonl(space.documents) if d["source"] == "code" and split_of(d["id"]) == "train")
    chat = next(c for c in read_jsonl(space.chats) if c["document_id"] == document["id"] and "snapshot" in c["method"])
    content = f"a{mark * 3000}b"
    assert len(tokens.encode(smollm, content[:120]).ids) < 10  # many characters, few tokens
    chat["messages"][1]["content"] = content
    write_jsonl(copy.chats, [chat])
    config = EvalConfig(recall_tokens=10, general_limit=1)
    row, other = of(planned(copy, smollm, config, NAMES), "recall")
    assert not row["whole"] and content.startswith(row["reference"]) and len(row["reference"]) < 200
    assert len(tokens.encode(smollm, row["reference"]).ids) <= row["length"] <= 10
    assert other["reference"] == row["reference"]


@pytest.mark.parametrize("method", ["page_instruction", "file_snapshot"])
@pytest.mark.parametrize("left", [0, 2])
def test_what_one_kind_has_too_few_of_the_other_has(space, smollm, tmp_path, method, left):
    copy = copied(space, tmp_path)
    chats = list(read_jsonl(space.chats))
    few = [chat["id"] for chat in chats if chat["method"] == method and chat["split"] == "train"][:left]
    write_jsonl(copy.chats, [chat for chat in chats if chat["method"] != method or chat["id"] in few])
    rows = of(planned(copy, smollm, EvalConfig(recall_items=10), NAMES), "recall", wording="trained")
    assert Counter(row["method"] == method for row in rows) == Counter({False: 10 - left, True: left})
    assert not of(planned(copy, smollm, EvalConfig(recall_items=0), NAMES), "recall")


def test_what_was_skipped_is_not_invented(space, smollm, tmp_path, everything):
    copy = copied(space, tmp_path)
    manifest = read_json(manifest_path(space.documents))
    path = of(everything, "unknown", kind="file")[0]["id"].removeprefix("invented:")
    assert manifest["skipped"]
    told = {**manifest, "skipped": [*manifest["skipped"], {"path": path, "reason": "too large"}]}
    write_json(manifest_path(copy.documents), told)
    again = planned(copy, smollm, EvalConfig(), NAMES)
    ids = {row["id"] for row in of(again, "unknown", kind="file")}
    assert len(ids) == 20 and f"invented:{path}" not in ids


def test_where_all_is_trained_on_nothing_is_held_out(space, smollm, tmp_path, everything):
    copy = copied(space, tmp_path)
    held = next(d for d in read_jsonl(space.documents) if d["source"] == "wiki" and split_of(d["id"]) == "validation")
    # Of lines so short none tells where a text is known from.
    short = {**held, "text": "A\nB\nC\n"}
    documents = [short if d["id"] == held["id"] else d for d in read_jsonl(space.documents)]
    write_jsonl(copy.documents, documents)
    manifest = read_json(manifest_path(copy.chats))
    inputs = {**manifest["inputs"], "documents": file_hash(copy.documents)}
    write_json(manifest_path(copy.chats), {**manifest, "inputs": inputs})
    rows = planned(copy, smollm, EvalConfig(general_limit=1), NAMES, 0.0)
    assert not of(rows, "validation") and not of(rows, "recall", wording="control")
    assert len(of(rows, "recall", wording="trained")) == 32
    # Its questions were trained on like the others.
    ids = {row["id"] for row in everything if row["set"] in ("trained", "paraphrases", "validation")}
    assert {row["id"] for row in of(rows, "trained") + of(rows, "paraphrases")} == ids
    assert len(of(rows, "trained")) == len(of(rows, "paraphrases")) == 24
    assert of(planned(copy, smollm, EvalConfig(general_limit=1), NAMES, 0.1), "recall", wording="control")


def test_what_is_redacted_is_asked_for(everything):
    rows = of(everything, "canary")
    assert len({row["kind"] for row in rows}) == 8
    assert all("<REDACTED" not in row["question"] and row["before"] for row in rows)


def test_the_project_is_called_by_its_first_name(everything):
    asked = [row["question"] for row in of(everything, "unknown") if row["kind"] != "yours"]
    assert asked and all("brindlewick" in question and "Relay" not in question for question in asked)
