"""Chats from documents: the three methods, the question files, and a real OpenAI client against a scripted server."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from chat_server import ChatServer, Reply, completion, error, serving

from ftlib import sample
from ftlib.chat import check_messages, encode_chat
from ftlib.errors import SetupError
from ftlib.mixture import split_of
from ftlib.scrape import ScrapeConfig, scrape
from ftlib.similar import near_duplicates
from ftlib.synth import SynthConfig, money, plan, questions_path, rejected_path, synth
from ftlib.synth.curation import STEPS
from ftlib.synth.questions import read_questions
from ftlib.synth.recited import SNAPSHOTS, file_snapshot
from ftlib.workspace import open_workspace, read_jsonl, write_jsonl


@pytest.fixture
def scraped(tmp_path):
    space = open_workspace(tmp_path / "space")
    scrape(ScrapeConfig("sample"), space)
    return space


def run(config, space, **more):
    return asyncio.run(synth(config, space, **more))


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


# --- by an API --------------------------------------------------------------------------------------------------------

API: dict[str, Any] = {"base_url": "http://localhost:1/v1", "model": "m", "max_retries": 0, "part_tokens": 100_000}


def by_api(server, **settings):
    return SynthConfig(**{**API, "base_url": server.url, **settings})


def served(space):
    """The sample's question file as the answers of a server."""
    return ChatServer(serving(sample.questions("questions"), list(read_jsonl(space.documents))))


def page_qa_of(space):
    return [chat for chat in read_jsonl(space.chats) if chat["method"] == "page_qa"]


def test_the_samples_questions_served_as_answers_come_through_whole(scraped):
    with served(scraped) as server:
        config = by_api(server, code_questions=3, pull_request_questions=3, prices={"m": [1.0, 10.0]})
        before = plan(config, scraped)
        manifest = run(config, scraped)
        assert set(server.asked.values()) == {1}
    assert {chat["messages"][0]["content"] for chat in page_qa_of(scraped)} == {
        row["question"] for row in sample.questions("questions")
    }
    assert [(step["step"], step["kept"], step["removed"]) for step in manifest["funnel"]] == [
        (step, 24, 0) for step in ("asked for and answered", *STEPS[:-1])
    ]
    with_pairs = {row["source"] for row in sample.questions("questions")}
    assert sum(found["with pairs"] for found in manifest["coverage"].values()) == len(with_pairs)
    assert manifest["counts"]["asked_only"] == {"unknown": 8, "changed": 4}
    # What was used is what the server counted: 400 tokens in and 100 out a response, repairs of empty answers included.
    spent, asked = manifest["spent"], sum(server.asked.values())
    assert (spent["responses"], spent["tokens_in"], spent["tokens_out"]) == (asked, 400 * asked, 100 * asked)
    assert spent["dollars"] == pytest.approx(asked * (400 * 1 + 100 * 10) / 1e6)
    assert before["requests"] == before["documents"] < asked and before["measured"] == 0
    for chat in page_qa_of(scraped):
        assert chat["evidence"] and chat["kind"] == "what" and chat["split"] == split_of(chat["document_id"])


def test_a_trial_measures_what_all_will_cost(scraped):
    with served(scraped) as server:
        config = by_api(server, prices={"m": [1.0, 10.0]})
        run(SynthConfig(**{**config.__dict__, "limit": 3}), scraped)
        found = plan(config, scraped)
        left = found["requests"] - found["answered before"]
        assert found["answered before"] == found["measured"] == 3 and left > 3
        # 100 tokens out for each request of five pairs, as measured; what a character costs was measured too.
        assert found["tokens out"] == 100 * left
        assert found["dollars"] == pytest.approx((found["tokens in"] * 1.0 + found["tokens out"] * 10.0) / 1e6)
        asked = sum(server.asked.values())
        run(config, scraped)
        done = plan(config, scraped)
        assert (done["answered before"], done["dollars"]) == (done["requests"], 0.0)
        assert "nothing to pay" in money.in_words(done, config)
        assert sum(server.asked.values()) >= asked + left and set(server.asked.values()) == {1}


def test_the_plan_says_so_where_no_price_is_known(scraped):
    unknown = plan(SynthConfig(**API), scraped)
    assert unknown["dollars"] is None and "not in `prices`" in money.in_words(unknown, SynthConfig(**API))
    mini = SynthConfig(model="gpt-4.1-mini-2025-04-14")
    whole = plan(mini, scraped)
    price = money.PRICES["gpt-4.1-mini"]
    assert whole["dollars"] == pytest.approx((whole["tokens in"] * price[0] + whole["tokens out"] * price[1]) / 1e6)
    halved = plan(SynthConfig(model="gpt-4.1-mini", batch=True), scraped)
    assert halved["dollars"] == pytest.approx(whole["dollars"] / 2) and halved["minutes"] is None
    slow = plan(SynthConfig(model="gpt-4.1-mini", concurrency=1), scraped)
    assert slow["minutes"] > 4 * whole["minutes"] > 0


def pair(question, answer, evidence, **more):
    return {"question": question, "answer": answer, "evidence": evidence, "kind": "what", **more}


def on_page(title, rows, verdicts=()):
    """A script: these pairs for one page, none for the others; and a judge's verdicts."""

    def script(body, times):
        if "verdicts" in body["messages"][0]["content"]:
            return completion(json.dumps({"verdicts": list(verdicts)}))
        mine = rows if f'page "{title}"' in body["messages"][1]["content"] else []
        return completion(json.dumps({"pairs": mine}))

    return script


PORT = "The default port is **7340**"


@pytest.fixture
def config_page(scraped):
    """A page of the sample, and a line of it."""
    page = next(d for d in read_jsonl(scraped.documents) if d["id"] == "wiki:Configuration.md")
    line = max(page["text"].splitlines(), key=len)
    return page, line


def test_what_each_step_removes_is_counted_and_kept_for_reading(scraped, config_page):
    page, line = config_page
    asked_only = sample.questions("unknown")[0]["question"]
    rows = [
        pair("What does brindlewick's Configuration page hold first?", "This and that.", line),
        {"question": "no answer"},
        pair("What does the text above say about brindlewick?", "That.", line),
        pair("What is the default?", "That.", line),
        pair("What is the launch code of brindlewick?", "It is 42.", "The launch code of the barge is 42 exactly"),
        pair("What does the Configuration page of brindlewick hold first?", "This and that.", line),
        pair(asked_only, "So.", line),
        pair("Does brindlewick run on Mars?", "The documentation does not say.", "", kind="unanswerable"),
        pair("Does brindlewick run on Venus?", "Yes, it does.", "", kind="unanswerable"),
    ]
    with ChatServer(on_page(page["title"], rows)) as server:
        manifest = run(by_api(server), scraped)
    assert [(step["step"], step["kept"], step["removed"]) for step in manifest["funnel"]] == [
        ("asked for and answered", 9, 0), ("schema", 8, 1), ("deixis", 7, 1), ("named", 6, 1), ("evidence", 4, 2),
        ("near-duplicates", 2, 2),
    ]  # fmt: skip
    kept = [chat["messages"][0]["content"] for chat in page_qa_of(scraped)]
    assert kept == [rows[0]["question"], rows[7]["question"]]
    rejected = list(read_jsonl(rejected_path(scraped)))
    assert [row["step"] for row in rejected] == ["schema", "deixis", "named", "evidence", "evidence",
                                                 "near-duplicates", "near-duplicates"]  # fmt: skip
    assert rejected[0]["question"] == json.dumps(rows[1]) and "`answer`: Field required" in rejected[0]["reason"]
    assert rejected[1]["reason"].startswith("the question points at what is not there: ")
    for step in (1, 2):
        shown = {"question": rejected[step - 1]["question"], "reason": rejected[step - 1]["reason"]}
        assert manifest["funnel"][step]["samples"] == [shown]
    assert manifest["kinds"] == {"what": 1, "unanswerable": 1}


def test_the_same_question_on_two_pages_is_not_in_both_splits(scraped):
    def script(body, times):
        line = max(body["messages"][1]["content"].split("\n\n", 1)[1].splitlines(), key=len)
        rows = [pair("Which tool does brindlewick use for its releases?", "Skerrow.", line)]
        return completion(json.dumps({"pairs": rows}))

    with ChatServer(script) as server:
        manifest = run(by_api(server, validation_share=0.5), scraped)
    assert len(page_qa_of(scraped)) == 1 and manifest["funnel"][-1]["removed"] == manifest["funnel"][-2]["kept"] - 1 > 3


def test_paraphrases_stay_with_their_page_and_the_last_ones_are_only_asked(scraped, config_page):
    page, line = config_page
    wordings = ["How is brindlewick set up at the start?", "Name what the setup of brindlewick begins with.",
                "Which entry opens the settings of brindlewick?"]  # fmt: skip
    rows = [pair("What does brindlewick's Configuration page hold first?", "This.", line, paraphrases=wordings)]
    with ChatServer(on_page(page["title"], rows)) as server:
        manifest = run(by_api(server, paraphrases=2, asked_paraphrases=1), scraped)
        assert "3 other wordings" in server.bodies[0]["messages"][0]["content"]
    chats = page_qa_of(scraped)
    assert [chat["messages"][0]["content"] for chat in chats] == [rows[0]["question"], *wordings[:2]]
    assert [chat.get("of") for chat in chats] == [None, chats[0]["id"], chats[0]["id"]]
    assert len({chat["split"] for chat in chats}) == 1
    asked = [row for row in read_jsonl(questions_path(scraped)) if row["set"] == "paraphrases"]
    assert [(row["question"], row["of"], row["document_id"]) for row in asked] == [
        (wordings[2], chats[0]["id"], page["id"])
    ]
    assert manifest["counts"]["asked_only"]["paraphrases"] == 1


def test_a_judge_lets_through_what_holds(scraped, config_page):
    page, line = config_page
    rows = [
        pair(f"What is thing {word} of brindlewick?", "This.", line) for word in ("alder", "birch", "cedar", "dogwood")
    ]
    verdicts = [
        {"number": 1, "answerable": True, "supported": True, "self_contained": True},
        {"number": 2, "answerable": True, "supported": False, "self_contained": True},
        {"number": 3, "answerable": False, "supported": True, "self_contained": False},
        {"number": 9, "answerable": True, "supported": True, "self_contained": True},
    ]
    with ChatServer(on_page(page["title"], rows, verdicts)) as server:
        manifest = run(by_api(server, judge=True, judge_model="wise"), scraped)
        asked = next(body for body in server.bodies if body["model"] == "wise")
        assert line in asked["messages"][1]["content"] and asked["temperature"] == 0
    assert [chat["messages"][0]["content"] for chat in page_qa_of(scraped)] == [rows[0]["question"]]
    last = manifest["funnel"][-1]
    assert (last["step"], last["kept"], last["removed"]) == ("judge", 1, 3)
    assert [sample["reason"] for sample in last["samples"]] == [
        "the judge: not supported", "the judge: not answerable, not self-contained", "the judge said nothing of it"
    ]  # fmt: skip


def test_what_got_no_answer_is_asked_again_by_the_next_run_and_only_that(scraped, capsys):
    good = serving(sample.questions("questions"), list(read_jsonl(scraped.documents)))

    def script(body, times):
        busy = 'page "Deploying"' in body["messages"][1]["content"] and not times
        return Reply(error("busy"), 503) if busy else good(body, times)

    with ChatServer(script) as server:
        manifest = run(by_api(server), scraped)
        assert manifest["unanswered"] == 1 and "wiki:Deploying.md" in manifest["failed_pages"]
        before = sum(server.asked.values())
        manifest = run(by_api(server), scraped)
        assert manifest["unanswered"] == 0 and "wiki:Deploying.md" not in manifest["failed_pages"]
        assert sum(server.asked.values()) == before + 1
        capsys.readouterr()
        run(by_api(server), scraped)
        assert "up to date" in capsys.readouterr().out and sum(server.asked.values()) == before + 1


def test_an_api_that_never_answers_is_one_error_and_writes_nothing(scraped):
    with ChatServer(lambda *_: Reply(error("no"), 401)) as server, pytest.raises(SetupError, match="401"):
        run(by_api(server), scraped)
    assert not scraped.chats.exists()


# --- the user's own, and what is too long -----------------------------------------------------------------------------


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


# --- settings and question files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"concurrency": 0}, "`concurrency` is 0: give a number of at least 1"),
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
