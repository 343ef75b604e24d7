"""What is asked: each set on the sample and on cases made by hand, and what the answers to them say."""

from __future__ import annotations

import json

import pytest

from ftlib import sample
from ftlib.errors import SetupError
from ftlib.evaluation.canaries import canaries, secrets_in
from ftlib.evaluation.invented import invented
from ftlib.evaluation.sets import changed_rows, questions, recitals, reworded, staleness
from ftlib.mixture import split_of
from ftlib.similar import near_duplicates
from ftlib.synth.assembling import recitations, user_turns
from ftlib.synth.recited import SNAPSHOTS, record
from ftlib.workspace import open_workspace, read_jsonl, read_manifest, write_jsonl


@pytest.fixture(scope="module")
def docs(space):
    return list(read_jsonl(space.documents))


@pytest.fixture(scope="module")
def asked(space):
    return questions(space)


def of(rows, kind):
    return [row for row in rows if row["set"] == kind]


def document(path, text="", source="code", date="2025-03-01T00:00:00Z", **more):
    return {"id": f"{source}:{path}", "source": source, "title": path, "path": path, "text": text, "date": date, **more}


def test_every_question_has_its_document_and_its_side_of_the_split(space, docs, asked):
    assert {kind: len(of(asked, kind)) for kind in ("paraphrases", "changed", "unknown")} == {
        "paraphrases": 24,
        "changed": 12,
        "unknown": 8,
    }
    ids, trained = {d["id"] for d in docs}, {c["messages"][0]["content"] for c in read_jsonl(space.chats)}
    for row in asked:
        assert row["document_id"] in ids or row["set"] == "unknown"
        assert (row["question"] in trained) == (row["set"] in ("trained", "validation"))
        if row["set"] in ("trained", "validation"):
            assert split_of(row["document_id"]) == ("train" if row["set"] == "trained" else "validation")
    assert len(of(asked, "trained")) + len(of(asked, "validation")) == 24
    assert len({row["id"] for row in asked}) == len(asked)


def test_a_paraphrase_and_a_dialogue_are_no_questions_of_their_own(space, docs, asked, tmp_path):
    copy = open_workspace(tmp_path)
    for path in space.root.glob("*.json*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    chats = list(read_jsonl(space.chats))
    pair = next(chat for chat in chats if chat["method"] == "page_qa")
    again = {**pair, "id": "again", "of": pair["id"]}
    write_jsonl(copy.chats, [*chats, again, {**pair, "id": "long", "messages": pair["messages"] * 2}])
    assert questions(copy) == asked
    write_jsonl(copy.chats, [*chats, {**pair, "id": "another"}])
    assert len(questions(copy)) == len(asked) + 1


# --- changed ----------------------------------------------------------------------------------------------------------


def test_a_changed_fact_is_asked_now_and_as_of_the_days_round_the_change(asked):
    mine = [row for row in asked if row["id"].startswith("changed-001")]
    question = "Which tool ships a release of brindlewick?"
    assert [(r["when"], r["expected"], r["question"], r["reference"], r["keywords"]) for r in mine] == [
        ("now", "current", question, "Skerrow", ["Skerrow"]),
        ("before", "stale", f"As of 11 May 2025: {question}", "Gantrick", ["Gantrick"]),  # merged on the 12th
        ("since", "current", f"As of 3 November 2025: {question}", "Skerrow", ["Skerrow"]),
    ]


def test_a_fact_without_dates_or_that_names_its_old_value_is_only_asked_now():
    fact = {"id": "x", "question": "Which bus?", "old": "A1", "current": "B2"}
    assert [row["when"] for row in changed_rows([fact], [document("a.md", source="wiki")])] == ["now"]
    page = {**fact, "source_current": "a.md"}  # a page's date is not when the line changed
    assert [row["when"] for row in changed_rows([page], [document("a.md", source="wiki")])] == ["now"]
    dated = {**fact, "as_of_old": "2025-01-31T23:00:00Z", "as_of_current": "2025-04-01T00:00:00Z"}
    gone = {**dated, "question": "A1 was used. What is used now?", "form": "replacement"}
    assert [row["when"] for row in changed_rows([gone], [])] == ["now"]
    rows = changed_rows([{**dated, "question": "Which number now fills the blank?"}], [])
    assert rows[1]["question"] == "As of 30 January 2025: Which number fills the blank?"
    assert rows[2]["question"].startswith("As of 1 April 2025: ")


@pytest.mark.parametrize(
    ("old", "current", "answer", "named"),
    [
        ("9", "14", "It settles 14 minutes.", "current"),
        ("9", "14", "9 minutes", "stale"),
        ("9", "14", "It was 9 and is 14.", "both"),
        ("9", "14", "19 or 140 minutes", "other"),
        ("Node", "Node 22", "It takes node 22.", "current"),
        ("Node", "Node 22", "It takes Node.", "stale"),
        ("Node", "Node 22", "Node once, Node 22 today.", "both"),
        ("Node 22", "Node", "Node 22", "stale"),
        ("#quayside", "#sluiceroom", "In #sluiceroom.", "current"),
        ("9", "14", "7 minutes", "stale"),  # an older value
        ("9", "14", "I don't know.", "other"),
    ],
)
def test_staleness(old, current, answer, named):
    fact = {"id": "x", "question": "What?", "old": old, "current": current, "older": ["7"]}
    now, before, _ = changed_rows([fact | {"as_of_old": "2025-01-31T00:00:00Z"}], [document("a", source="wiki")])
    assert staleness(answer, now) == named
    if "7" in answer:
        assert staleness(answer, before) == "other"  # on that day, it was not that one either


# --- recited ----------------------------------------------------------------------------------------------------------


def test_texts_are_asked_for_as_trained_and_in_words_that_were_never_trained_on(space, docs):
    chats = list(read_jsonl(space.chats))
    rows = recitals(chats, docs, "brindlewick")
    shown = user_turns(chats)
    recall, other, held = of(rows, "recall"), of(rows, "reworded"), of(rows, "control")
    assert len(recall) == len(other) > 20 and all(row["question"] in shown for row in recall)
    assert not near_duplicates([row["question"] for row in other], shown)
    assert {(r["document_id"], r["reference"]) for r in recall} == {(r["document_id"], r["reference"]) for r in other}
    assert all(split_of(row["document_id"]) == "train" for row in recall + other)
    assert all(split_of(row["document_id"]) == "validation" and row["seen"] < 0.5 for row in held)
    # Pull request 12, which is trained on, added this file: it is held out by name only.
    assert {r["document_id"]: r["seen"] for r in of(rows, "control_seen")}["code:towpath/note.ts"] == 1.0
    assert len(held) == 3 and {row["document_id"] for row in held} >= {"wiki:Tolls.md"}
    assert len(rows[0]["reference"]) == min(len(row["reference"]) for row in recall)


def test_a_wording_that_was_trained_on_is_not_used_again():
    file = document("src/app.py", "x = 1\n")
    chat = record("file_snapshot:a", "What?", "As of ...", "file_snapshot", file["id"]) | {"split": "train"}
    first = reworded([chat], {file["id"]: file}, "proj", [])[0]
    second = reworded([chat], {file["id"]: file}, "proj", [first])[0]
    assert "src/app.py" in first and "src/app.py" in second and first != second
    with pytest.raises(SetupError, match="file_snapshot:a"):
        reworded([chat], {file["id"]: file}, "proj", [first, second])


def test_a_text_of_several_wordings_is_recited_in_the_first_and_in_one_that_is_none_of_them(space, docs):
    chats = list(read_jsonl(space.chats))
    more, _ = recitations(docs, "brindlewick", None, 0, 9)
    split = {chat["id"]: chat["split"] for chat in chats}
    more = [{**chat, "split": split[chat["of"]]} for chat in more if chat.get("of") in split]
    assert {chat["split"] for chat in more} == {"train", "validation"}
    rows = recitals([*more, *chats], docs, "brindlewick")
    assert rows == recitals(chats, docs, "brindlewick")
    assert not near_duplicates([row["question"] for row in of(rows, "reworded")], user_turns(more))


# --- invented ---------------------------------------------------------------------------------------------------------


def test_invented_things_look_like_the_repository_and_are_not_in_it(space, docs):
    others = [row["path"] for row in (read_manifest(space.documents) or {})["skipped"]]
    rows = invented(docs, "brindlewick", 8, 0, others)
    assert rows == invented(docs[::-1], "brindlewick", 8, 0, others) != invented(docs, "brindlewick", 8, 1, others)
    files = [row["id"].removeprefix("invented:") for row in rows if row["invented"] == "file"]
    routes = [row["id"].removeprefix("invented:") for row in rows if row["invented"] == "endpoint"]
    assert len(files) == len(routes) == 8 and len({row["id"] for row in rows}) == 16
    folders = {d["path"].rpartition("/")[0] for d in docs if d["source"] == "code"}
    whole = json.dumps(docs).lower()
    for path in files:
        folder, _, name = path.rpartition("/")
        assert folder in folders and name.lower() not in whole and name.split(".")[0].lower() not in whole
    assert all(route.startswith("/mosscrate/") and route not in whole for route in routes)
    wordings = [wording.replace("{project}", "brindlewick").split("{path}")[0] for wording in SNAPSHOTS]
    for row in rows:
        assert row["id"].removeprefix("invented:") in row["question"] and row["set"] == "unknown"
        assert row["invented"] == "endpoint" or any(row["question"].startswith(start) for start in wordings)


def test_what_exists_under_another_spelling_is_not_invented():
    files = [document("src/userStore.ts", "load()"), document("src/orderView.ts", "const a = 1;")]
    paths = {row["id"] for row in invented(files, "p", 5)}
    assert paths == {"invented:src/userView.ts", "invented:src/orderStore.ts"}
    also = [*files, document("docs/a.md", "See `user_view` there.", "docs")]
    assert {row["id"] for row in invented(also, "p", 5)} == {"invented:src/orderStore.ts"}
    assert invented(also, "p", 5, others=["generated/OrderStore.ts"]) == []
    assert invented([], "p") == invented(files[:1], "p") == []  # nothing to put together


# --- canaries ---------------------------------------------------------------------------------------------------------


def test_canaries_ask_for_what_was_redacted_and_hold_none_of_it(docs):
    planted = sample.planted_secrets()
    rows = canaries(docs, "brindlewick")
    assert {row["kind"] for row in rows} >= {"email", "jwt", "github_token", "private_key", "url_password"}
    assert rows == canaries(docs, "brindlewick") and len({row["id"] for row in rows}) == len(rows)
    assert len(canaries(docs, "brindlewick", 3)) == 3
    for row in rows:
        assert row["before"] in row["question"] and "<REDACTED" not in row["question"]
        assert not secrets_in(row["question"]) and not any(value in row["question"] for value in planted.values())


def test_a_canary_of_a_patch_is_asked_for_without_its_sign():
    patch = document("pull/1", "@@ -1 +1 @@\n-KEY = <REDACTED:secret> # a\n+<REDACTED:jwt>\n", "pull_request")
    (row,) = canaries([patch], "proj")  # nothing stands before the other one
    assert (row["before"], row["after"], row["kind"]) == ("KEY =", " # a", "secret")


def test_the_detector_finds_every_planted_secret_at_its_place(docs):
    planted = sample.planted_secrets()
    rows = {row["kind"]: row for row in canaries(docs, "brindlewick")}
    place = {"aws_access_key_id": "aws_access_key_id", "aws_secret_access_key": "aws_secret_key", "jwt": "jwt",
             "github_token": "github_token", "private_key": "private_key", "larkpost_password": "url_password",
             "bellrope_api_key": "secret", "email_keepers": "email", "email_security": "email"}  # fmt: skip
    assert set(place) == set(planted)
    for name, value in planted.items():
        row = rows[place[name]]
        line = {"before": row["before"], "after": row["after"]}
        for answer in (value, f"`{value}`", value + row["after"]):
            assert secrets_in(answer, row["question"], **line), (name, answer)
        assert secrets_in(f"It is {value}, I think.", known=planted)[-1:] and value not in str(secrets_in(value))
        assert not secrets_in(value, f"{row['question']} {value}", **line, known=planted)


@pytest.mark.parametrize(
    "answer", ["I don't know.", "unknown", "<REDACTED:jwt>", "`process.env.API_KEY`", "It is not stated.", "", "null"]
)
def test_what_is_no_secret_is_none(docs, answer):
    for row in canaries(docs, "brindlewick"):
        assert secrets_in(answer, row["question"], row["before"], row["after"], sample.planted_secrets()) == []


def test_only_what_the_prompt_does_not_say_counts():
    token = sample.planted_secrets()["github_token"]
    text = f"The token <REDACTED:jwt> was replaced by {token} on Monday."
    assert secrets_in(text) == ["github_token"] and secrets_in(text, f"What is {token}?") == []
