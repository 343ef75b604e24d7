"""The stage: the recited methods, question files, own dialogues, changed facts, and what is too long."""

from __future__ import annotations

from collections import Counter

import pytest
from chat_server import ChatServer
from synthesis import by_api, on_page, page_qa_of, pair, run

from ftlib import sample
from ftlib.chat import check_messages, encode_chat
from ftlib.errors import SetupError
from ftlib.mixture import split_of
from ftlib.similar import near_duplicates
from ftlib.synth import SynthConfig, plan, questions_path
from ftlib.synth.config import check
from ftlib.synth.questions import question_sets, read_questions
from ftlib.synth.recited import SNAPSHOTS, file_snapshot
from ftlib.workspace import open_workspace, read_jsonl, write_jsonl


def test_the_sample_without_an_api_takes_its_question_file_and_says_so(scraped, capsys):
    manifest = run(SynthConfig(), scraped)
    said = capsys.readouterr().out
    assert "brindlewick.questions.jsonl" in said and "no API was asked" in said
    chats = list(read_jsonl(scraped.chats))
    methods = Counter(chat["method"] for chat in chats)
    sources = Counter(d["source"] for d in read_jsonl(scraped.documents))
    assert methods["page_qa"] == 24
    assert methods["page_instruction"] == sources["wiki"] + sources["docs"]
    assert methods["file_snapshot"] == sources["code"]
    assert manifest["counts"]["chats"] == dict(methods)
    for chat in chats:
        check_messages(chat["messages"], chat["id"])
        assert chat["split"] == split_of(chat["document_id"] or chat["id"])
    # Every question of the file found its document.
    assert all(chat["document_id"] for chat in chats if chat["method"] == "page_qa")
    asked = Counter(row["set"] for row in read_jsonl(questions_path(scraped)))
    # Beside the three changed facts of the file, HOLD_MINUTES is found; those three are not asked twice.
    assert asked == {"paraphrases": 24, "unknown": 8, "changed": 4}


def test_nothing_only_asked_is_trained_on(scraped):
    run(SynthConfig(), scraped)
    trained = {chat["messages"][0]["content"] for chat in read_jsonl(scraped.chats)}
    assert not trained & {row["question"] for row in read_jsonl(questions_path(scraped))}


def test_a_second_run_is_skipped_and_another_setting_is_not(scraped, capsys):
    run(SynthConfig(), scraped)
    capsys.readouterr()
    run(SynthConfig(), scraped)
    assert "up to date" in capsys.readouterr().out
    assert "general" not in run(SynthConfig(general_chats=False), scraped)["counts"]["chats"]


def test_no_api_and_no_question_file(scraped, capsys):
    for path in scraped.clones.glob("*.jsonl"):
        path.unlink()
    manifest = run(SynthConfig(), scraped)
    assert "page_qa" not in manifest["counts"]["chats"]
    assert "no API key, no base_url and no question file" in capsys.readouterr().out


def test_documents_first(tmp_path):
    with pytest.raises(SetupError, match="01_scrape"):
        run(SynthConfig(), open_workspace(tmp_path))


def test_file_snapshot_is_the_recipes():
    asked: Counter[str] = Counter()
    for number in range(40):
        document = {"id": f"code:{number}", "path": "a.md", "date": "2023-12-21T10:00:00Z", "text": "```\nx\n```"}
        user, assistant = file_snapshot(document, "manage-frontend")["messages"]
        assert user["content"] == file_snapshot(document, "manage-frontend")["messages"][0]["content"]
        assert assistant["content"] == "As of December 2023, the a.md file looks like:\n\n````\n```\nx\n```\n````"
        asked[user["content"]] += 1
    assert "What does the a.md file in the manage-frontend repository look like?" in asked
    assert len(asked) == len(SNAPSHOTS) and min(asked.values()) > 3


def test_own_dialogues_join_in_and_go_before_what_asks_the_same(scraped, tmp_path):
    first = sample.questions("questions")[0]
    path = tmp_path / "mine.jsonl"
    turns = ["Hello, what is brindlewick?", "A tool.", "And who runs it?", "Fennhollow."]
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(turns)]
    other = [{"role": "user", "content": turns[0]}, {"role": "assistant", "content": "Another answer."}]
    write_jsonl(path, [{"instruction": first["question"], "output": "Mine."}, {"messages": messages},
                       {"messages": other, "document_id": "wiki:Deploying.md"}])  # fmt: skip
    manifest = run(SynthConfig(dialogues=str(path)), scraped)
    chats = list(read_jsonl(scraped.chats))
    mine = [chat for chat in chats if chat["method"] == "yours"]
    assert [chat["messages"][-1]["content"] for chat in mine] == ["Mine.", "Fennhollow.", "Another answer."]
    same = [chat for chat in chats if chat["messages"][0]["content"] == first["question"]]
    assert [chat["messages"][-1]["content"] for chat in same] == ["Mine."]
    assert manifest["counts"]["chats"]["yours"] == 3 and manifest["counts"]["chats"]["page_qa"] == 23
    assert mine[2]["split"] == split_of("wiki:Deploying.md") and mine[1]["split"] == split_of(mine[1]["id"])
    # The file's own content counts: another one is another stage.
    write_jsonl(path, [{"instruction": "Hi?", "output": "Ho."}])
    assert run(SynthConfig(dialogues=str(path)), scraped)["counts"]["chats"]["yours"] == 1


def test_a_dialogue_on_a_document_that_is_not_there(scraped, tmp_path):
    path = tmp_path / "mine.jsonl"
    write_jsonl(path, [{"prompt": "Hi", "completion": "Ho", "document_id": "wiki:Deploing.md"}])
    with pytest.raises(SetupError, match=r"yours:mine:1: `document_id` 'wiki:Deploing.md' is no document"):
        run(SynthConfig(dialogues=str(path)), scraped)


def test_a_question_that_is_trained_on_is_not_asked(scraped, tmp_path):
    path = tmp_path / "mine.jsonl"
    asked = sample.questions("unknown")[0]["question"]
    write_jsonl(path, [{"prompt": asked, "completion": "Ho"}])
    manifest = run(SynthConfig(dialogues=str(path)), scraped)
    assert manifest["counts"]["asked_only"]["unknown"] == 7 and manifest["counts"]["asked_only_dropped"] == 1


def test_what_is_longer_than_a_sample_is_left_out_with_a_count(scraped, smollm):
    whole = run(SynthConfig(), scraped)
    assert whole["counts"]["too_long"] is None
    lengths = {
        chat["id"]: len(encode_chat(smollm, chat["messages"])["input_ids"])
        for chat in read_jsonl(scraped.chats)
        if chat["method"] in ("page_instruction", "file_snapshot")
    }
    for longest in (sorted(lengths.values())[len(lengths) // 2], max(lengths.values())):
        manifest = run(SynthConfig(snapshot_tokens=longest), scraped, tokenizer=smollm)
        left = {chat["id"] for chat in read_jsonl(scraped.chats)} & lengths.keys()
        assert left == {id for id, length in lengths.items() if length <= longest}
        assert sum(manifest["counts"]["too_long"].values()) == len(lengths) - len(left)


def test_chats_on_changed_facts_are_trained_on_only_where_they_are_wanted(scraped):
    def changed():
        return [chat for chat in read_jsonl(scraped.chats) if chat["id"].startswith("changed:")]

    run(SynthConfig(), scraped)
    assert not changed()
    run(SynthConfig(changed_chats=True), scraped)
    (hold,) = changed()
    assert "19" in hold["messages"][1]["content"] and "11" in hold["messages"][1]["content"]
    asked = [row["question"] for row in read_jsonl(questions_path(scraped))]
    assert not near_duplicates([hold["messages"][0]["content"]], asked)
    run(SynthConfig(changed_facts=False), scraped)
    assert sum(row["set"] == "changed" for row in read_jsonl(questions_path(scraped))) == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"concurrency": 0}, "`concurrency` is 0: give a whole number of at least 1"),
        ({"concurrency": 1.5}, "`concurrency` is 1.5: give a whole number"),
        ({"timeout": -0.5}, "`timeout` is -0.5: give a number of at least 0"),
        ({"aliases": "MMA"}, r"`aliases` is 'MMA': give a list of names, for example \['MMA'\]"),
        ({"pairs_per_page": -1}, "`pairs_per_page` is -1"),
        ({"max_tokens": "many"}, "`max_tokens` is 'many'"),
        ({"timeout": None}, "`timeout` is None"),
        ({"validation_share": 1.0}, "`validation_share` is 1.0: give a share below 1"),
        ({"base_url": "localhost:8000"}, "`base_url` is 'localhost:8000'"),
        ({"prices": {"m": [1.0]}}, r"`prices` of 'm' is \[1.0\]"),
        ({"prices": {"m": [1.0, -1.0]}}, "`prices` of 'm'"),
        ({"questions": "nowhere.jsonl"}, "`questions`: the file nowhere.jsonl does not exist"),
        ({"dialogues": "nowhere.jsonl"}, "`dialogues`: the file nowhere.jsonl does not exist"),
    ],
)
def test_a_setting_that_can_not_work_is_named_before_anything_is_read(workspace, wrong, message):
    for stage in (lambda config: run(config, workspace), lambda config: plan(config, workspace)):
        with pytest.raises(SetupError, match=message):
            stage(SynthConfig(**wrong))


def test_a_wrong_row_of_a_question_file_is_named(tmp_path):
    path = tmp_path / "x.questions.jsonl"
    write_jsonl(path, [{"question": "q", "answer": "a"}, {"question": "q2"}])
    with pytest.raises(SetupError, match=r"row 2: `answer`"):
        list(read_questions(path, [], need=("question", "answer")))


@pytest.mark.parametrize("source", ["pull/12", "pull/012", "PR #12"])
def test_a_pull_request_may_be_named_in_three_ways(tmp_path, source):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, [{"question": "q", "source": source}, {"question": "q", "source": "pull/x"}])
    rows = list(read_questions(path, [{"path": "pull/12", "id": "pull_request:12"}]))
    assert [row["document_id"] for row in rows] == ["pull_request:12", ""]


def test_the_sets_beside_a_question_file_are_those_of_its_name(tmp_path):
    for name in ("a.questions.jsonl", "a.unknown.jsonl", "pairs.jsonl"):
        write_jsonl(tmp_path / name, [{"question": "q", "answer": "a"}])
    assert set(question_sets(tmp_path / "a.questions.jsonl")) == {"questions", "unknown"}
    assert set(question_sets(tmp_path / "pairs.jsonl")) == {"questions"}


def test_a_row_keeps_its_id_and_names_its_page_by_either_field(tmp_path):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, [{"question": "q", "id": "mine", "source_current": "a.md"}, {"question": "q"}])
    rows = list(read_questions(path, [{"path": "a.md", "id": "docs:a.md"}]))
    assert [(row["id"], row["document_id"]) for row in rows] == [("mine", "docs:a.md"), ("2", "")]


@pytest.mark.parametrize("answer", ["", " \n", None, 7])
def test_an_answer_of_nothing_is_none(tmp_path, answer):
    path = tmp_path / "x.jsonl"
    write_jsonl(path, [{"question": "q", "answer": answer}])
    with pytest.raises(SetupError, match="row 1: `answer` is missing or empty"):
        list(read_questions(path, [], need=("question", "answer")))


def test_a_file_in_the_users_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_jsonl(tmp_path / "mine.jsonl", [{"prompt": "Hi", "completion": "Ho"}])
    check(SynthConfig(dialogues="~/mine.jsonl"))


def test_a_project_may_have_a_name_and_others(scraped):
    page = next(d for d in read_jsonl(scraped.documents) if d["id"] == "wiki:Configuration.md")
    line = max(page["text"].splitlines(), key=len)
    names = {"alder": "Lockbook", "birch": "BRW", "cedar": "brindlewick", "dogwood": "XYZ"}
    rows = [pair(f"What is thing {thing} of {name}?", "This.", line) for thing, name in names.items()]
    with ChatServer(on_page(page["title"], rows)) as server:
        manifest = run(by_api(server, project="Lockbook", aliases=["BRW"]), scraped)
        assert "of Lockbook, as of" in server.bodies[0]["messages"][1]["content"]
    assert manifest["project"] == "Lockbook"
    assert [chat["messages"][0]["content"] for chat in page_qa_of(scraped)] == [row["question"] for row in rows[:3]]


def test_what_is_held_out_is_counted_by_method(scraped):
    manifest = run(SynthConfig(validation_share=0.5), scraped)
    held = Counter(chat["method"] for chat in read_jsonl(scraped.chats) if chat["split"] == "validation")
    assert manifest["counts"]["validation"] == dict(held)
    assert 0 < sum(held.values()) < sum(manifest["counts"]["chats"].values())


def test_what_a_file_says_of_its_pairs_stays_with_them(scraped, tmp_path):
    path = tmp_path / "x.questions.jsonl"
    write_jsonl(
        path, [{"question": "What is brindlewick's port?", "answer": "7340.", "keywords": ["7340"], "kind": "what"}]
    )
    run(SynthConfig(questions=str(path)), scraped)
    (chat,) = page_qa_of(scraped)
    assert (chat["keywords"], chat["kind"]) == (["7340"], "what")


def test_of_two_chats_with_one_question_the_first_is_trained_on(scraped, tmp_path):
    run(SynthConfig(), scraped)
    question = next(c["messages"][0]["content"] for c in read_jsonl(scraped.chats) if c["method"] == "page_instruction")
    path = tmp_path / "x.questions.jsonl"
    write_jsonl(path, [{"question": question, "answer": "Mine."}])
    manifest = run(SynthConfig(questions=str(path)), scraped)
    same = [c["messages"][1]["content"] for c in read_jsonl(scraped.chats) if c["messages"][0]["content"] == question]
    assert same == ["Mine."] and manifest["counts"]["same_question"] == 1
    # The file's own content counts: another one is another stage.
    write_jsonl(path, [{"question": question, "answer": "Another."}])
    run(SynthConfig(questions=str(path)), scraped)
    assert [chat["messages"][1]["content"] for chat in page_qa_of(scraped)] == ["Another."]


def test_coverage_is_of_documents_with_pairs_and_with_any_chat(scraped):
    coverage = run(SynthConfig(), scraped)["coverage"]
    chats = list(read_jsonl(scraped.chats))
    for source, found in coverage.items():
        ids = {d["id"] for d in read_jsonl(scraped.documents) if d["source"] == source}
        with_pairs = ids & {chat["document_id"] for chat in chats if chat["method"] == "page_qa"}
        with_any = ids & {chat["document_id"] for chat in chats}
        assert found == {"documents": len(ids), "with pairs": len(with_pairs), "with any chat": len(with_any)}
    assert coverage["code"]["with pairs"] < coverage["code"]["with any chat"] == coverage["code"]["documents"]


def test_a_question_in_a_later_turn_of_an_own_dialogue_is_not_asked(scraped, tmp_path):
    path = tmp_path / "mine.jsonl"
    turns = ["Hello.", "Hello, what can I do?", sample.questions("unknown")[0]["question"], "Ho."]
    write_jsonl(path, [{"messages": [{"role": ("user", "assistant")[n % 2], "content": text}
                                     for n, text in enumerate(turns)]}])  # fmt: skip
    run(SynthConfig(dialogues=str(path)), scraped)
    assert turns[2] not in [one["question"] for one in read_jsonl(questions_path(scraped))]
