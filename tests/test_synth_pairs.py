"""02_synth by an API, from the pages to curated and split chats: curation, paraphrases, the judge."""

from __future__ import annotations

import asyncio
import json

import pytest
from chat_server import ChatServer, Reply, completion, error, serving
from synthesis import by_api, on_page, page, page_qa_of, pair, run, served

from ftlib import sample
from ftlib.errors import SetupError
from ftlib.mixture import split_of
from ftlib.synth import SynthConfig, plan, questions_path, rejected_path
from ftlib.synth.curation import STEPS
from ftlib.synth.pairs import Api, asked_about, judge
from ftlib.workspace import read_jsonl, write_jsonl


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


PORT = "The default port is **7340**"


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


@pytest.mark.parametrize("wordings", [2, 3])
def test_all_other_wordings_are_only_asked_where_fewer_are_left_than_were_wanted(scraped, config_page, wordings):
    page, line = config_page
    again = ["How is brindlewick set up at the start?", "Name what the setup of brindlewick begins with.",
             "Which entry opens the settings of brindlewick?"][:wordings]  # fmt: skip
    rows = [pair("What does brindlewick's Configuration page hold first?", "This.", line, paraphrases=again)]
    with ChatServer(on_page(page["title"], rows)) as server:
        run(by_api(server, asked_paraphrases=wordings + 1), scraped)
    assert [chat["messages"][0]["content"] for chat in page_qa_of(scraped)] == [rows[0]["question"]]


def test_a_trial_takes_pages_first_and_code_last():
    sources = ("code", "docs", "pull_request", "wiki")
    documents = [page(source, source=source) for source in sources]
    config = SynthConfig(code_questions=1, pull_request_questions=1)
    assert [d["source"] for d in asked_about(documents, config)] == ["wiki", "docs", "pull_request", "code"]


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


GOOD_VERDICT = {"answerable": True, "supported": True, "self_contained": True}


def judging(title, rows, verdicts):
    """`on_page` with the bodies that the judge got; `verdicts(body)` makes its answer."""
    real = on_page(title, rows)

    def script(body, times):
        if "verdicts" in body["messages"][0]["content"]:
            return completion(json.dumps({"verdicts": verdicts(body)}))
        return real(body, times)

    return script


def judged_pairs(body):
    text = body["messages"][1]["content"]
    return json.loads(text[len("The pairs:\n") : text.index("\n\nThe text:")])


def words(count, line, **more):
    names = ("alder", "birch", "cedar", "dogwood")[:count]
    return [pair(f"What is thing {name} of brindlewick?", "This.", line, **more) for name in names]


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


def test_a_verdict_on_a_number_that_is_not_there_is_of_no_pair(scraped, config_page):
    page, line = config_page
    with ChatServer(judging(page["title"], words(2, line), lambda _: [{"number": 0, **GOOD_VERDICT}])) as server:
        run(by_api(server, judge=True), scraped)
    assert not page_qa_of(scraped)


def test_other_wordings_are_not_judged_again_and_what_the_judge_took_is_counted(scraped, config_page):
    page, line = config_page
    rows = words(1, line, paraphrases=["Say what thing alder is in brindlewick, please."])
    seen = []

    def verdicts(body):
        seen.append([one["question"] for one in judged_pairs(body)])
        return [{"number": 1, **GOOD_VERDICT}]

    with ChatServer(judging(page["title"], rows, verdicts)) as server:
        manifest = run(by_api(server, judge=True, paraphrases=1), scraped)
        assert manifest["spent"]["responses"] == sum(server.charged.values())
    assert seen == [[rows[0]["question"]]] and len(page_qa_of(scraped)) == 2


def test_a_judge_that_does_not_answer_is_asked_again_by_the_next_run(scraped, config_page):
    page, line = config_page
    replies = iter([Reply(error("busy"), 503)])
    real = judging(page["title"], words(1, line), lambda _: [{"number": 1, **GOOD_VERDICT}])

    def script(body, times):
        judge = "verdicts" in body["messages"][0]["content"]
        return next(replies, None) or real(body, times) if judge else real(body, times)

    with ChatServer(script) as server:
        assert run(by_api(server, judge=True), scraped)["unanswered"] == 1 and not page_qa_of(scraped)
        assert run(by_api(server, judge=True), scraped)["unanswered"] == 0 and len(page_qa_of(scraped)) == 1


def test_a_pair_is_judged_against_the_part_that_it_was_made_from(tmp_path):
    rows = [{"id": str(n), "question": f"Q{n}?", "answer": "A", "document_id": "wiki:a", "text": f"Part {n}."}
            for n in range(2)]  # fmt: skip
    with ChatServer(lambda *_: completion(json.dumps({"verdicts": [{"number": 1, **GOOD_VERDICT}]}))) as server:
        config = SynthConfig(base_url=server.url, model="m", concurrency=1)

        async def work():
            async with Api(config, tmp_path, "key") as api:
                return await judge(rows, "proj", config, api)

        assert asyncio.run(work())[0] == rows
    about = [body["messages"][1]["content"] for body in server.bodies]
    assert [("Q0?" in text, "Part 0." in text, "Q1?" in text) for text in about] == [
        (True, True, False), (False, False, True)]  # fmt: skip


def test_a_judge_of_another_model_is_asked_in_the_words_that_it_takes(scraped, config_page):
    page, line = config_page
    real = judging(page["title"], words(2, line), lambda body: [{"number": n, **GOOD_VERDICT} for n in (1, 2)])

    def script(body, times):
        # The one takes a schema, the other prompts only.
        refused = body["model"] == "small" and "response_format" in body
        return Reply(error("response_format is not supported"), 400) if refused else real(body, times)

    with ChatServer(script) as server:
        run(by_api(server, model="small", judge=True, judge_model="wise"), scraped)
        forms = [body.get("response_format", {}).get("type") for body in server.bodies if body["model"] == "wise"]
    assert forms == ["json_schema"] and len(page_qa_of(scraped)) == 2


def test_a_question_of_an_own_dialogue_is_asked_once_whichever_its_turn(scraped, config_page, tmp_path):
    page, line = config_page
    rows = words(2, line)
    turns = ["Hello.", "Hello!", rows[0]["question"], "This."]
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(turns)]
    write_jsonl(tmp_path / "mine.jsonl", [{"messages": messages}])
    with ChatServer(on_page(page["title"], rows)) as server:
        run(by_api(server, dialogues=str(tmp_path / "mine.jsonl")), scraped)
    assert [chat["messages"][0]["content"] for chat in page_qa_of(scraped)] == [rows[1]["question"]]
