"""Pairs from a scripted server through the real client: every fault, each page asked the smallest number of times.

Runs with the installed client, and in `make test` once more with the other major version.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from chat_server import ChatServer, Reply, completion, error, pairs
from synthesis import COMMON, GOOD, MANY, PAGES, ask, lines_of, on, page, shown_title

from ftlib.errors import SetupError
from ftlib.synth import SynthConfig
from ftlib.synth.journal import Journal
from ftlib.synth.pairs import Api, page_qa, responses_path

pytestmark = pytest.mark.usefixtures("quick_retries")


def asked_on(server, name):
    """How often each request about a page was sent."""
    return sorted(n for key, n in server.asked.items() if f'page \\"{name}\\"' in key)


FENCED = f"Here you are:\n```json\n{pairs('Q1?', 'Q2?')}\n```\nAnything else?"


THINKING = f'<think>A pair {{like}} this: {{"question": "x"}}</think>\n{pairs("Q1?", "Q2?")}'


BARE = json.dumps(json.loads(pairs("Q1?", "Q2?"))["pairs"])


RAW_BREAK = pairs("Q1?", "Q2?").replace("Yes.", "Yes\nsir.", 1).replace("\\n", "\n")


@pytest.mark.parametrize("content", [FENCED, THINKING, BARE, RAW_BREAK, pairs("Q1?", "Q2?").replace("pairs", "data")])
def test_json_in_whatever_stands_round_it_costs_no_second_request(tmp_path, content):
    with ChatServer(on("odd", lambda *_: completion(content))) as server:
        answers = ask(server, tmp_path, PAGES)
    assert [row["question"] for row in answers.rows] == ["Q1?", "Q2?"] * 3
    assert not answers.problems and asked_on(server, "odd") == [1]


# What the odd page's requests get in turn; how often each of its requests is sent, and how many of its pairs are had.
FAULTS: dict[str, tuple[list[Any], list[int], int]] = {
    "429 with Retry-After": ([Reply(error("slow"), 429, {"Retry-After": "0.01"})], [2], 2),
    "429 with retry-after-ms": ([Reply(error("slow"), 429, {"retry-after-ms": "5"})], [2], 2),
    "429 without a header": ([Reply(error("slow"), 429)], [2], 2),
    "429 twice": ([Reply(error("slow"), 429)] * 2, [3], 2),
    "408": ([Reply(error("slow"), 408)], [2], 2),
    "409": ([Reply(error("conflict"), 409)], [2], 2),
    "500": ([Reply(error("oops"), 500)], [2], 2),
    "an error under a status of 200": ([{"error": {"message": "overloaded", "code": 502}}] * 9, [1], 0),
    "403 for this page": ([Reply(error("flagged by moderation"), 403)] * 9, [1], 0),
    "500 that is no JSON": ([Reply(b"<html>oops", 500)], [2], 2),
    "503": ([Reply(error("busy"), 503)], [2], 2),
    "a time-out": ([Reply(GOOD, wait=1.5)], [2], 2),
    "a connection that breaks": ([Reply(GOOD, cut=20)], [2], 2),
    "prose": ([completion("I would rather talk.")], [1, 1], 2),
    "an empty answer": ([completion("")], [1, 1], 2),
    "null": ([completion(None)], [1, 1], 2),
    "no choices": ([{**completion("x"), "choices": []}], [1, 1], 2),
    "a wrong schema": ([completion(json.dumps({"pairs": [{"q": "Q1?", "a": "A"}]}))], [1, 1], 2),
    "wrong types": ([completion(json.dumps({"pairs": [{"question": 1, "answer": []}]}))], [1, 1], 2),
    "empty strings": ([completion(json.dumps({"pairs": [{"question": " ", "answer": "A"}]}))], [1, 1], 2),
    "an empty list": ([completion('{"pairs": []}')], [1, 1], 2),
    "one pair of two wrong": ([completion('{"pairs": [{"question": "Q1?", "answer": "A"}, {"question": 2}]}')], [1], 1),
    "cut off in the second pair": (
        [completion(pairs("Q1?", "Q2?")[:-30], "length"), completion(pairs("Q2?"))],
        [1, 1],
        2,
    ),
    "cut off in the first pair": ([completion('{"pairs": [{"question": "Q', "length")], [1, 1], 2),
    "cut off while rambling": ([completion("Well, well, well,", "length")], [1, 1], 2),
    "cut off, but whole": ([completion(pairs("Q1?", "Q2?"), "length")], [1], 2),
    "reasoned to the end of the room": ([completion("", "length")], [1, 1], 2),
    "a refusal": ([completion(None, refusal="I can't help with that.")], [1], 0),
    "a content filter": ([completion("", "content_filter")], [1], 0),
    "400 for this page": ([Reply(error("the content is not allowed", code="content_filter"), 400)] * 9, [3], 0),
    "prose twice": ([completion("No.")] * 2, [1, 1], 0),
    "cut off twice": ([completion(pairs("Q1?", "Q2?")[:-30], "length")] * 2, [1, 1], 1),
    "500 to the end": ([Reply(error("oops"), 500)] * 3, [3], 0),
}


MORE_ROOM = ("in the second pair", "in the first pair", "twice")


@pytest.mark.parametrize("case", FAULTS)
def test_all_pairs_that_could_be_had_are_had_and_no_page_is_asked_too_often(tmp_path, case):
    replies, sent, had = FAULTS[case]
    total = [0]

    def reply(times, body):
        total[0] += 1
        return replies[total[0] - 1] if total[0] <= len(replies) else GOOD

    with ChatServer(on("odd", reply)) as server:
        answers = ask(server, tmp_path, PAGES, timeout=1.0)
        assert asked_on(server, "odd") == sent
        assert asked_on(server, "one") == asked_on(server, "two") == [1]
        assert sum(row["document_id"] == "wiki:odd" for row in answers.rows) == had
        assert sum(row["document_id"] != "wiki:odd" for row in answers.rows) == 4
        if had < 2 and case != "one pair of two wrong":
            assert list(answers.problems) == ["wiki:odd"] and answers.problems["wiki:odd"]
        unanswered = case in ("500 to the end", "an error under a status of 200")
        assert answers.unanswered == unanswered
        # Only what was cut off in the middle of its JSON, or before it began, gets more room.
        more = any(body["max_tokens"] > COMMON["max_tokens"] for body in server.bodies)
        assert more == (case.startswith("cut off") and case[8:] in MORE_ROOM or case.startswith("reasoned"))
        # A second run asks only what got no answer at all.
        before = sum(server.asked.values())
        again = ask(server, tmp_path, PAGES, timeout=1.0)
        unpaid = 3 if case == "400 for this page" else int(unanswered or case == "403 for this page")
        assert sum(server.asked.values()) == before + unpaid
        assert max(server.charged.values()) == 1
    if case == "500 to the end":
        assert len(again.rows) == 6
    elif not unpaid:
        assert [row["question"] for row in again.rows] == [row["question"] for row in answers.rows]


def test_after_a_cut_off_answer_there_is_twice_the_room_and_only_what_is_missing_is_asked_for(tmp_path):
    def reply(times, body):
        if len(body["messages"]) == 2:
            return completion(pairs("Q1?", "Q2?")[:-30], "length")
        assert body["max_tokens"] == 600
        assert json.loads(body["messages"][2]["content"])["pairs"][0]["question"] == "Q1?"
        assert "Write the 1 that are missing" in body["messages"][3]["content"]
        return completion(pairs("Q2?"))

    with ChatServer(on("odd", reply)) as server:
        assert len(ask(server, tmp_path, PAGES).rows) == 6


def test_a_repair_says_what_was_wrong(tmp_path):
    said = []

    def reply(times, body):
        said.append(body["messages"][2:])
        return completion('{"pairs": [{"question": "Q1?"}]}') if len(said) == 1 else GOOD

    with ChatServer(on("odd", reply)) as server:
        ask(server, tmp_path, PAGES)
    assert said[0] == [] and [message["role"] for message in said[1]] == ["assistant", "user"]
    assert (
        said[1][0]["content"] == '{"pairs": [{"question": "Q1?"}]}'
        and "`answer`: Field required" in said[1][1]["content"]
    )


def test_the_client_is_the_one_that_is_meant():
    """`make test` names the other major version, which lies on PYTHONPATH then."""
    major = openai.__version__.split(".")[0]
    assert major in ("2", "3") and major == os.environ.get("FTLIB_OPENAI", major)


def test_a_server_that_dies_in_mid_run_ends_it_and_what_came_is_kept(tmp_path):
    def script(body, times):
        return GOOD if len(server.bodies) <= 10 else Reply(error("down"), 500)

    many = [page(f"p{n}") for n in range(60)]
    with ChatServer(script) as server:
        with pytest.raises(SetupError, match="answered none of the last 5 requests: 500"):
            ask(server, tmp_path, many, concurrency=2, max_retries=0)
        assert len(server.bodies) < 20
        server.script = lambda *_: GOOD
        before = len(server.bodies)
        assert len(ask(server, tmp_path, many).rows) == 120
        assert len(server.bodies) == before + 50 and max(server.charged.values()) == 1


def test_the_requests_under_way_are_bounded_and_the_first_goes_alone(tmp_path):
    with ChatServer(lambda *_: GOOD, latency=0.05) as server:
        began = time.monotonic()
        ask(server, tmp_path, [page(f"p{n}") for n in range(41)], concurrency=8)
        took = time.monotonic() - began
    assert server.most == 8 and took < 0.05 * 41 / 2


SCRIPT = """
import asyncio, sys
from pathlib import Path
from synthesis import COMMON, page
from ftlib.synth.config import SynthConfig
from ftlib.synth.pairs import Api, page_qa
config = SynthConfig(**{**COMMON, "base_url": sys.argv[1], "model": "m", "concurrency": 4})
async def work():
    async with Api(config, Path(sys.argv[2]), "key") as api:
        await page_qa([page(f"p{n}") for n in range(30)], "proj", config, api)
asyncio.run(work())
"""


@pytest.mark.parametrize("after", [1, 7, 20])
def test_kill_9_in_mid_run_costs_only_what_was_under_way(tmp_path, after):
    with ChatServer(lambda *_: GOOD, latency=0.05) as server:
        run = subprocess.Popen([sys.executable, "-c", SCRIPT, server.url, str(tmp_path)], cwd=Path(__file__).parent)
        while sum(server.charged.values()) < after:
            time.sleep(0.005)
            assert run.poll() is None
        run.send_signal(signal.SIGKILL)
        run.wait()
        kept = len(responses_path(tmp_path).read_bytes().splitlines())
        before = sum(server.asked.values())
        answers = ask(server, tmp_path, [page(f"p{n}") for n in range(30)])
        assert len(answers.rows) == 60
        assert sum(server.asked.values()) - before == 30 - kept and kept >= after - 4


def test_half_a_line_is_no_answer_and_spoils_no_other(tmp_path):
    with ChatServer(lambda *_: GOOD) as server:
        ask(server, tmp_path, PAGES, concurrency=1)
        path = responses_path(tmp_path)
        whole = path.read_bytes()
        for cut in (1, 40, len(whole.splitlines()[-1])):
            path.write_bytes(whole[:-cut])
            before = sum(server.asked.values())
            assert len(ask(server, tmp_path, PAGES).rows) == 6
            assert sum(server.asked.values()) == before + 1 if cut > 1 else before
            assert len(ask(server, tmp_path, PAGES).rows) == 6  # and the answer behind the torn line is found again
            assert sum(server.asked.values()) == before + (cut > 1)


@pytest.mark.parametrize(
    "change",
    [{"model": "m2"}, {"temperature": 0.5}, {"max_tokens": 301}, {"pairs_per_page": 3}, {"paraphrases": 1},
     {"part_tokens": 100}],
)  # fmt: skip
def test_another_setting_is_another_question(tmp_path, change):
    documents = [lines_of("one", 20)]
    with ChatServer(lambda *_: GOOD) as server:
        ask(server, tmp_path, documents)
        before = sum(server.asked.values())
        ask(server, tmp_path, documents, concurrency=3, timeout=9.0, max_retries=1, limit=7)
        assert sum(server.asked.values()) == before
        ask(server, tmp_path, documents, **change)
        assert sum(server.asked.values()) > before


def test_the_same_text_on_two_pages_is_two_questions_and_another_address_is_the_same(tmp_path):
    with ChatServer(lambda *_: GOOD) as server:
        assert len(ask(server, tmp_path, [page("a", source="wiki"), page("a", source="docs")]).rows) == 4
        assert sum(server.asked.values()) == 2
    with ChatServer(lambda *_: GOOD) as elsewhere:
        assert len(ask(elsewhere, tmp_path, [page("a", source="wiki"), page("a", source="docs")]).rows) == 4
        assert not elsewhere.asked


def test_two_runs_at_once_are_refused(tmp_path):
    with Journal(responses_path(tmp_path)), pytest.raises(SetupError, match="Another run is writing"):
        Journal(responses_path(tmp_path)).__enter__()


def test_a_cancelled_cell_keeps_what_came(tmp_path):
    config = SynthConfig(**{**COMMON, "model": "m", "concurrency": 2})

    async def work(server):
        settings = SynthConfig(**{**config.__dict__, "base_url": server.url})
        async with Api(settings, tmp_path, "key") as api:
            task = asyncio.create_task(page_qa([page(f"p{n}") for n in range(30)], "proj", settings, api))
            while len(server.charged) < 6:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with ChatServer(lambda *_: GOOD, latency=0.03) as server:
        asyncio.run(work(server))
        kept = len(responses_path(tmp_path).read_bytes().splitlines())
        assert kept >= 4
        before = sum(server.asked.values())
        ask(server, tmp_path, [page(f"p{n}") for n in range(30)])
        assert sum(server.asked.values()) == before + 30 - kept


def test_every_second_answer_lost_ends_no_run(tmp_path):
    bad = [page(f"p{n}") for n in range(0, 12, 2)]

    def script(body, times):
        return Reply(error("busy"), 503) if any(f'"{one["title"]}"' in shown_title(body) for one in bad) else GOOD

    with ChatServer(script) as server:
        answers = ask(server, tmp_path, MANY, concurrency=1, max_retries=0)
    assert answers.unanswered == 6 and len(answers.rows) == 12


@pytest.mark.parametrize("status", [408, 409, 429, 503])
def test_a_server_that_stays_busy_is_asked_again_by_the_next_run(tmp_path, status):
    with ChatServer(on("odd", lambda *_: Reply(error("slow"), status))) as server:
        answers = ask(server, tmp_path, [page("one"), page("odd")], max_retries=0)
    assert answers.unanswered == 1 and list(answers.problems) == ["wiki:odd"]


def test_what_is_read_again_is_what_was_written_whatever_the_characters(tmp_path):
    path, rows = tmp_path / "r.jsonl", {"a": "größer", "b": "日本\u2028", "c": "\ud800", "d": "end"}
    for key in rows:
        with Journal(path) as journal:
            # The file is read before it is written.
            assert all(journal[other]["content"] == rows[other] for other in rows if other in journal)
            assert key == "a" or journal["a"]["content"] == rows["a"]
            journal.append(key, {"content": rows[key]})
            assert journal[key]["content"] == rows[key]
            assert journal.get("a") == {"key": "a", "content": rows["a"]}


def test_items_that_can_not_be_used_are_counted_before_and_after_the_repair(tmp_path):
    wrong = completion(json.dumps({"pairs": [{"question": "Q1?"}]}))
    with ChatServer(on("odd", lambda *_: wrong)) as server:
        assert len(ask(server, tmp_path, [page("one"), page("odd")]).wrong) == 2


def test_half_a_character_in_an_answer_spoils_one_pair_and_no_run(tmp_path):
    with ChatServer(on("odd", lambda *_: completion(pairs("Q\ud800?", "Q2?")))) as server:
        for _ in range(2):
            answers = ask(server, tmp_path, [page("one"), page("odd")])
            assert len(answers.rows) == 3 and len(answers.wrong) == 1


def test_a_file_system_without_locks_is_worked_on_all_the_same(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with ChatServer(lambda *_: GOOD) as server:
        assert len(ask(server, tmp_path, [page("one")]).rows) == 2


def test_after_an_empty_answer_no_empty_message_is_sent(tmp_path):
    with ChatServer(on("odd", lambda times, body: completion("") if len(body["messages"]) == 2 else GOOD)) as server:
        assert len(ask(server, tmp_path, [page("odd")]).rows) == 2
    assert [message["role"] for message in server.bodies[1]["messages"]] == ["system", "user", "user"]


def test_a_kind_that_was_not_asked_for_is_another_and_costs_no_pair(tmp_path):
    with ChatServer(lambda *_: completion(pairs("Q1?", "Q2?", kind="trivia"))) as server:
        answers = ask(server, tmp_path, [page("one")])
    assert [row["kind"] for row in answers.rows] == ["other", "other"]
