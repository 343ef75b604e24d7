"""Chats from documents: the three methods, the question files, and a real OpenAI client against a scripted server."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from werkzeug import Request, Response

from ftlib.chat import check_messages
from ftlib.errors import SetupError
from ftlib.mixture import split_of
from ftlib.scrape import ScrapeConfig, scrape
from ftlib.synth import SynthConfig, file_snapshot, parse_pairs, questions_path, read_questions, synth
from ftlib.workspace import open_workspace, read_jsonl, write_jsonl


@pytest.fixture
def scraped(tmp_path):
    space = open_workspace(tmp_path / "space")
    scrape(ScrapeConfig("sample"), space)
    return space


def completion(content: str) -> Response:
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
    }
    return Response(json.dumps(body), content_type="application/json")


def test_the_sample_without_an_api_takes_its_question_file_and_says_so(scraped, capsys):
    manifest = synth(SynthConfig(), scraped)
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
    assert asked == {"paraphrases": 24, "unknown": 8, "changed": 3}


def test_nothing_only_asked_is_trained_on(scraped):
    synth(SynthConfig(), scraped)
    trained = {chat["messages"][0]["content"] for chat in read_jsonl(scraped.chats)}
    assert not trained & {row["question"] for row in read_jsonl(questions_path(scraped))}


def test_a_second_run_is_skipped_and_another_setting_is_not(scraped, capsys):
    synth(SynthConfig(), scraped)
    capsys.readouterr()
    synth(SynthConfig(), scraped)
    assert "up to date" in capsys.readouterr().out
    assert "general" not in synth(SynthConfig(general_chats=False), scraped)["counts"]["chats"]


def test_no_api_and_no_question_file(scraped, capsys):
    for path in scraped.clones.glob("*.jsonl"):
        path.unlink()
    manifest = synth(SynthConfig(), scraped)
    assert "page_qa" not in manifest["counts"]["chats"]
    assert "no API key, no base_url and no question file" in capsys.readouterr().out


def test_documents_first(tmp_path):
    with pytest.raises(SetupError, match="01_scrape"):
        synth(SynthConfig(), open_workspace(tmp_path))


def test_file_snapshot_is_the_recipes():
    document = {"id": "code:a.md", "path": "a.md", "date": "2023-12-21T10:00:00Z", "text": "```\nx\n```"}
    user, assistant = file_snapshot(document, "manage-frontend")["messages"]
    assert user["content"] == "What does the a.md file in the manage-frontend repository look like?"
    assert assistant["content"] == "As of December 2023, the a.md file looks like:\n\n````\n```\nx\n```\n````"


@pytest.mark.parametrize(
    "content",
    [
        '{"pairs": [{"question": "q", "answer": "a"}]}',
        'Here they are:\n```json\n{"pairs": [{"question": "q", "answer": "a"}]}\n```\nDone.',
    ],
)
def test_pairs_are_found(content):
    assert [(pair.question, pair.answer) for pair in parse_pairs(content)] == [("q", "a")]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "I refuse.",
        '{"pairs": []}',
        '{"pairs": [{"question": "q"}]}',
        '{"pairs": [{"question": " ", "answer": "a"}]}',
    ],
)
def test_what_is_no_pairs_is_an_error(content):
    with pytest.raises(ValueError):
        parse_pairs(content)


def test_page_qa_asks_each_page_once_in_all(scraped, httpserver):
    asked: Counter[str] = Counter()

    def handler(request: Request) -> Response:
        page = json.loads(request.data)["messages"][1]["content"]
        asked[page] += 1
        if "Deploying" in page.splitlines()[0]:
            return completion("Sorry, I can't.")
        if len(asked) == 3 and asked[page] == 1:
            return Response("busy", status=500)  # the client's own retry must go on from here
        pair = {"question": f"Q {page.splitlines()[0]}?", "answer": "A."}
        return completion(json.dumps({"pairs": [pair]}))

    httpserver.expect_request("/v1/chat/completions", method="POST").respond_with_handler(handler)
    config = SynthConfig(base_url=httpserver.url_for("/v1"), model="m", concurrency=2)
    manifest = synth(config, scraped)
    pages = [d for d in read_jsonl(scraped.documents) if d["source"] in ("wiki", "docs")]
    assert manifest["counts"]["chats"]["page_qa"] == len(pages) - 1
    assert list(manifest["failed_pages"]) == ["wiki:Deploying.md"]
    assert len(asked) == len(pages) and sum(asked.values()) == len(pages) + 1
    # Responses are kept: other settings of the stage ask nothing again, a torn last line included.
    cache = scraped.root / "responses.jsonl"
    cache.write_text(cache.read_text() + '{"key": "torn')
    synth(SynthConfig(base_url=config.base_url, model="m", general_chats=False), scraped)
    assert sum(asked.values()) == len(pages) + 1
    # What is appended behind the torn line is whole: a new page's answer is kept too.
    synth(SynthConfig(base_url=config.base_url, model="m", pairs_per_page=7, limit=1), scraped)
    assert json.loads(cache.read_text().splitlines()[-1])["page"] == pages[0]["id"]


def test_an_api_that_never_answers_is_one_error(scraped, httpserver):
    httpserver.expect_request("/v1/chat/completions").respond_with_data("no", status=401)
    with pytest.raises(SetupError, match="401"):
        synth(SynthConfig(base_url=httpserver.url_for("/v1"), model="m"), scraped)
    assert not scraped.chats.exists()


def test_a_wrong_row_of_a_question_file_is_named(tmp_path):
    path = tmp_path / "x.questions.jsonl"
    write_jsonl(path, [{"question": "q", "answer": "a"}, {"question": "q2"}])
    with pytest.raises(SetupError, match=r"row 2: `answer`"):
        list(read_questions(path, [], need=("question", "answer")))


def test_a_chosen_question_file_must_exist(scraped):
    with pytest.raises(SetupError, match="does not exist"):
        synth(SynthConfig(questions="nowhere.jsonl"), scraped)
