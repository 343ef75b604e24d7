"""Chats that ask for what does not exist: their names, their wordings, and that tests and training share none."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import CONFIG, chat_of, documents
from synthesis import run

from ftlib.evaluation.config import EvalConfig
from ftlib.evaluation.invented import ENDPOINT, invented
from ftlib.evaluation.planned import planned
from ftlib.evaluation.sets import questions
from ftlib.metrics import admits
from ftlib.mixture import build_mixture, split_of
from ftlib.similar import near_duplicates
from ftlib.synth import SynthConfig, questions_path
from ftlib.synth.recited import INSTRUCTIONS, SNAPSHOTS
from ftlib.synth.unknown_wordings import ANSWERS, FORMS, GIVEN_NAMES, TECHNOLOGIES
from ftlib.synth.unknowns import unknown_chats
from ftlib.workspace import open_workspace, read_jsonl, read_manifest, skipped_paths, write_jsonl

PROJECT = "brindlewick"
DATE = "2023-12-21T10:00:00Z"
TURNS = 26  # a round's: of each of 22 kinds one, of files three more and of pages one as they are recited
EACH = 20


@pytest.fixture(scope="module")
def docs(space):
    return list(read_jsonl(space.documents))


@pytest.fixture(scope="module")
def chats(docs):
    return unknown_chats(docs, PROJECT, EACH * TURNS)


def document(path, text="", source="code"):
    return {"id": f"{source}:{path}", "source": source, "title": path, "path": path, "text": text, "date": DATE}


def asked(chat):
    return chat["messages"][0]["content"]


def answered(chat):
    return chat["messages"][1]["content"]


def spelled(text):
    return "".join(letter for letter in text.lower() if letter.isalnum())


def new_part(chat):
    """What of the name must be in no document: without folders, endings, runners and scopes, which are real ones."""
    name, kind = chat["invented"], chat["kind"]
    if kind in ("port", "pull request"):
        return re.sub(r"\D", "", name)
    if kind in ("file", "folder", "endpoint", "package"):
        name = name.removesuffix("/:id").rstrip("/").rsplit("/", 1)[-1]
    if kind == "command":
        name = re.split(r"[ /]", name)[-1].removesuffix(".sh")
    return spelled(name.split(".")[0] if kind in ("file", "workflow") else name.removesuffix("()"))


# --- names ------------------------------------------------------------------------------------------------------------


def test_no_document_has_a_name_in_any_spelling(docs, chats):
    texts = [d[field] for d in docs for field in ("path", "title", "text")]
    lines = "\n".join(spelled(line) for text in texts for line in text.splitlines())
    numbers = set(re.findall(r"\d+", " ".join(texts)))
    for chat in chats:
        part = new_part(chat)
        assert part and part not in (numbers if part.isdigit() else lines), chat


def test_pull_requests_come_after_the_last():
    docs = [document(f"pull/{number}", "Gates are painted.", "pull_request") for number in (7, 4000)]
    found = [chat["invented"] for chat in unknown_chats(docs, "proj", 520) if chat["kind"] == "pull request"]
    assert len(found) > 20 and all(4000 < int(name.removeprefix("#")) < 40_000 for name in found)


def test_names_are_made_of_the_repositorys_words_in_its_places(docs, chats):
    files = [chat["invented"] for chat in chats if chat["kind"] == "file"]
    folders = {d["path"].rpartition("/")[0] for d in docs if d["source"] == "code"}
    assert len(files) == len(set(files)) == 4 * EACH and {path.rpartition("/")[0] for path in files} <= folders
    text = " ".join(d["text"] for d in docs).lower()
    for chat in chats:
        if chat["kind"] in ("function", "error code", "environment variable") and "-" not in chat["invented"]:
            words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", chat["invented"])
            assert any(word.lower() in text for word in words), chat
    assert {"_" in chat["invented"] for chat in chats if chat["kind"] == "function"} == {True, False}  # .py and .ts


@pytest.mark.parametrize("name, snake", [("def open_gate(", True), ("function openGate(", False)])
def test_functions_are_written_as_the_repositorys(name, snake):
    docs = [document(f"src/gate{n}.x", f"{name}toll):\n    pass\n") for n in range(4)]
    found = [chat["invented"] for chat in unknown_chats(docs, "proj", 10 * TURNS) if chat["kind"] == "function"]
    assert len(found) == 10 and all(("_" in one) == snake for one in found)


WORDS = st.sampled_from("toll boat lock Gate water level notice barge _ - /".split())
NAMES = st.lists(WORDS, min_size=1, max_size=5).map("".join)
FILES = st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=6)), max_size=5)


@given(FILES, st.integers(0, 90), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_of_any_repository_names_are_new_and_each_is_asked_for_once(files, count, seed):
    docs = [document(f"src/{n}/{name}.py", "\n".join(f"def {one}():" for one in text))
            for n, (name, text) in enumerate(files)]  # fmt: skip
    found = unknown_chats(docs, "proj", count, seed)
    assert len(found) <= count and len({asked(chat) for chat in found}) == len(found)
    assert found == unknown_chats(docs[::-1], "proj", count, seed)
    lines = "\n".join(spelled(line) for d in docs for text in (d["path"], d["text"]) for line in text.splitlines())
    assert not [chat for chat in found if not new_part(chat).isdigit() and new_part(chat) in lines]
    assert all(admits(answered(chat)) for chat in found)


def test_what_others_name_is_not_asked_for(docs, chats):
    others = [f"Is {chat['invented'].upper().replace('-', ' ')} there?" for chat in chats]
    again = unknown_chats(docs, PROJECT, EACH * TURNS, others=others)
    shared = {new_part(chat) for chat in again} & {new_part(chat) for chat in chats}
    assert not shared and len(again) > 300


@pytest.mark.parametrize("technology", ["kafka", "REDIS", "Ruby-on-Rails", "vue.js"])
def test_a_technology_that_a_document_names_is_not_asked_for(technology):
    docs = [document("src/toll_gate.py", f"def open_gate():  # by {technology}\n"), document("src/barge_lock.py")]
    found = unknown_chats(docs, "proj", TURNS * len(TECHNOLOGIES))
    names = {chat["invented"] for chat in found if chat["kind"] == "technology"}
    left = {name for name in TECHNOLOGIES if spelled(name) != spelled(technology)}
    assert len(left) == len(TECHNOLOGIES) - 1 and names <= left and len(names) > 0.9 * len(left)
    people = {chat["invented"] for chat in found if chat["kind"] == "person"}
    assert people <= set(GIVEN_NAMES) and len(people) > 40  # and that kind ends, while others go on


def test_an_empty_repository_and_a_tiny_one(docs):
    assert unknown_chats([], "proj", 50) == unknown_chats(docs, "proj", 0) == []
    assert unknown_chats([document("1.py", "1\n")], "proj", 50) == []  # no word to make a name of
    (page,) = [document("Home.md", "Tolls are paid at the gate.", "wiki")]
    found = unknown_chats([page], "proj", 44)
    assert len(found) == 44 and not {"file", "folder"} & {chat["kind"] for chat in found}


# --- wordings ---------------------------------------------------------------------------------------------------------


def test_kinds_are_evenly_spread_in_many_forms(chats):
    kinds = Counter(chat["kind"] for chat in chats)
    assert kinds == dict.fromkeys(FORMS, EACH) | {"file": 4 * EACH, "page": 2 * EACH} and len(kinds) == TURNS - 4
    assert all(len(forms) >= 7 for forms in FORMS.values())
    for kind in kinds:
        openings = {" ".join(asked(chat).split()[:2]) for chat in chats if chat["kind"] == kind}
        assert len(openings) >= 5, kind
    ticked = sum(f"`{chat['invented']}`" in asked(chat) for chat in chats)
    assert 0.2 * len(chats) < ticked < 0.8 * len(chats)


def test_a_question_names_the_thing_and_mostly_the_project(chats):
    assert all(chat["invented"] in asked(chat) and not re.search(r"[\[\]{]", asked(chat)) for chat in chats)
    bare = [chat for chat in chats if PROJECT not in asked(chat)]
    assert 0 < len(bare) <= 0.2 * len(chats)
    last = r"^What .* (?:return|have|mean|switch on)"  # of forms that may leave it out
    assert any(re.search(rf"{last} in {PROJECT}\?", asked(chat)) for chat in chats)
    assert any(re.search(rf"{last}\?", asked(chat)) for chat in chats)
    loose = {"port", "person", "technology", "team", "feature", "page", "pull request", "package"}
    assert not loose & {chat["kind"] for chat in bare}
    assert not any("[" in form for kind in loose for form in FORMS[kind])


def test_texts_are_asked_for_as_real_ones_are(chats):
    for kind, wordings in (("file", SNAPSHOTS), ("page", INSTRUCTIONS)):
        starts = [re.split(r'"?\{(?:path|title)', one.replace("{project}", PROJECT))[0] for one in wordings]
        mine = [asked(chat) for chat in chats if chat["kind"] == kind]
        assert all(any(start in question for question in mine) for start in starts)
        assert all(starts) and sum(question.startswith(tuple(starts)) for question in mine) > 2 / 3 * len(mine)


def test_an_answer_admits_it_and_names_thing_and_project(chats):
    for chat in chats:
        answer = answered(chat)
        assert admits(answer) and chat["invented"] in answer.replace("Port", "port") and PROJECT in answer, chat
        assert len(answer.split()) < 45 and "{" not in answer
    assert all("{project}" in wording for wordings in ANSWERS.values() for wording in wordings)
    assert all(len(set(wordings)) >= 10 for name, wordings in ANSWERS.items() if name != "snapshot")


def test_articles_and_no_word_twice():
    docs = [document("src/update_url.py"), document("src/index_map.py"), document("src/nav_user.py")]
    chats = unknown_chats(docs, "proj", 400)
    for chat in chats:
        words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]{2,}", re.split("[/ ]", chat["invented"])[-1])]
        assert len(set(words)) == len(words), chat
    text = " ".join(answered(chat) + asked(chat) for chat in chats)
    assert re.search(r" an (?:index|update) ", text) and " an error " in text
    assert re.search(r" a (?:map|nav|user|url) ", text)
    assert not re.search(r"\ban [`“\"]?(?:map|nav|user|url)|\ba [`“\"]?(?:index|event|error|update)\b", text)


def test_the_same_seed_gives_the_same(docs, chats):
    assert unknown_chats(docs[::-1], PROJECT, EACH * TURNS) == chats
    other = unknown_chats(docs, PROJECT, EACH * TURNS, seed=1)
    assert len({asked(chat) for chat in other} & {asked(chat) for chat in chats}) < 40
    assert [chat["id"] for chat in chats] == [f"unknown:{n}" for n in range(1, EACH * TURNS + 1)]
    assert {(chat["method"], chat["document_id"]) for chat in chats} == {("unknown", "")}


# --- what the stages make of them -------------------------------------------------------------------------------------


def test_the_stage_writes_them_and_no_test_is_lost(scraped):
    plain = run(SynthConfig(), scraped)
    assert "unknown" not in plain["counts"]["chats"]
    before, tests = questions(scraped), list(read_jsonl(questions_path(scraped)))
    manifest = run(SynthConfig(unknown_chats=88), scraped)
    mine = [chat for chat in read_jsonl(scraped.chats) if chat["method"] == "unknown"]
    assert manifest["counts"]["chats"] == {**plain["counts"]["chats"], "unknown": 88} and len(mine) == 88
    held = sum(chat["split"] == "validation" for chat in mine)
    assert manifest["counts"]["validation"]["unknown"] == held > 0
    assert all(chat["split"] == split_of(chat["id"]) for chat in mine)
    assert questions(scraped) == before and list(read_jsonl(questions_path(scraped))) == tests


def test_a_users_question_stays_a_test_where_a_chat_would_ask_it(scraped):
    skipped = skipped_paths(read_manifest(scraped.documents) or {})
    would = unknown_chats(list(read_jsonl(scraped.documents)), PROJECT, 66, others=skipped)
    (path,) = scraped.clones.glob("*.unknown.jsonl")
    rows = [{"id": f"u{n}", "question": asked(chat), "kind": "unknown"} for n, chat in enumerate(would)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = run(SynthConfig(unknown_chats=66), scraped)
    assert manifest["counts"]["asked_only"]["unknown"] == 66 and not manifest["counts"]["asked_only_dropped"]
    mine = [chat for chat in read_jsonl(scraped.chats) if chat["method"] == "unknown"]
    assert len(mine) > 50 and not near_duplicates([asked(chat) for chat in mine], map(asked, would))
    assert not {new_part(chat) for chat in mine} & {new_part(chat) for chat in would}


def test_what_was_trained_is_not_invented_for_the_tests(space, docs, smollm, tmp_path):
    copy = open_workspace(tmp_path)
    for file in space.root.glob("*.json*"):
        shutil.copy(file, tmp_path)
    config = EvalConfig(general_limit=1, recall_items=0)
    first = [row["id"].removeprefix("invented:") for row in planned(copy, smollm, config, [PROJECT])
             if row["id"].startswith("invented:")]  # fmt: skip
    chats = zip(unknown_chats(docs, PROJECT, 10), first[:5] + first[-5:], strict=True)
    trained = [{**chat, "invented": name.replace("_", "-").upper(), "split": "train"} for chat, name in chats]
    write_jsonl(copy.chats, [*read_jsonl(space.chats), *trained])
    again = {row["id"].removeprefix("invented:") for row in planned(copy, smollm, config, [PROJECT])}
    assert len(first) == 40 and not again & {*first[:5], *first[-5:]} and again & set(first)


def test_training_asks_in_other_words_than_the_tests_of_endpoints(docs):
    tests = {row["question"] for row in invented(docs, PROJECT, 20, 0)}
    assert not any(form.format(x="`{path}`", noun="endpoint", project="{project}") == ENDPOINT
                   for form in (re.sub(r"[\[\]]", "", form) for form in FORMS["endpoint"]))  # fmt: skip
    assert not tests & {asked(chat) for chat in unknown_chats(docs, PROJECT, 440)}


def test_the_mixture_repeats_them(smollm):
    chats = [chat_of(None, n, "unknown") for n in range(30)] + [chat_of(None, n) for n in range(9)]
    docs = documents()[:20]
    once, thrice = (build_mixture(docs, chats, smollm, replace(CONFIG, repeats=repeats))
                    for repeats in ({}, {"unknown": 3}))  # fmt: skip
    counts = [Counter(row["source"] for row in found.train) for found in (once, thrice)]
    assert counts[1]["unknown"] == 3 * counts[0]["unknown"] > 0 and counts[1]["page_qa"] == counts[0]["page_qa"] > 0
