"""The Batch API through the real client: sent once, collected by whoever comes back, in any order of interruptions.

Runs with the installed client, and in `make test` once more with the other major version.
"""

from __future__ import annotations

import json

import pytest
from chat_server import ChatServer, Reply, completion, error, pairs
from synthesis import GOOD, MANY, ask, on, page, picky

from ftlib.errors import SetupError
from ftlib.synth import SynthConfig, batches, money
from ftlib.synth.batches import Pending
from ftlib.synth.journal import Journal
from ftlib.synth.pairs import responses_path
from ftlib.workspace import read_json

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    real = batches.asyncio.sleep
    monkeypatch.setattr(batches.asyncio, "sleep", lambda seconds: real(min(seconds, 0.01)))


def come_back(server, folder, documents=MANY, **settings):
    """A run of the cell: the answers, or what it says is pending."""
    try:
        return ask(server, folder, documents, batch=True, **settings)
    except Pending as pending:
        return str(pending)


def until_done(server, folder, documents=MANY, finish=lambda server: server.batches.finish()):
    for _ in range(8):
        answers = come_back(server, folder, documents)
        if not isinstance(answers, str):
            return answers
        finish(server)
    raise AssertionError("never done")


def sent(server):
    return [len(server.batches.lines(batch["input_file_id"])) for batch in server.batches.batches.values()]


def test_submit_leave_come_back_collect(tmp_path):
    with ChatServer(lambda *_: GOOD) as server:
        said = come_back(server, tmp_path)
        assert "11 requests are sent (batch_0)" in said and "Run this cell again later" in said
        assert "batch_0 is in_progress, 0 of 11 done" in come_back(server, tmp_path)
        assert sent(server) == [11] and len(server.bodies) == 1  # the first went directly, to see that all is well
        line = server.batches.lines("file-0")[0]
        assert line["method"] == "POST" and line["url"] == "/v1/chat/completions" and len(line["custom_id"]) == 64
        assert line["body"]["response_format"]["type"] == "json_schema"
        server.batches.finish()
        answers = come_back(server, tmp_path)
        assert len(answers.rows) == 24 and not answers.problems and sent(server) == [11]
        assert len(server.asked) == 12 and set(server.asked.values()) == {1}
        assert len(come_back(server, tmp_path).rows) == 24 and set(server.charged.values()) == {1}
    # Half the price for what came by batch: 11 of 12 answers of 400 tokens in and 100 out.
    config = SynthConfig(prices={"m": [100.0, 1000.0]}, batch=True)
    with Journal(responses_path(tmp_path)) as journal:
        spent = money.used(answers.keys, journal, config)
    assert spent["dollars"] == pytest.approx((1 + 11 / 2) * (400 * 100 + 100 * 1000) / 1e6)


class Killed(BaseException):
    """As a kill: nothing in the way may catch it."""


def steps_on_disk(monkeypatch, at):
    """Die at the `at`-th write, before or after it; returns how many there were."""
    count = [0]

    def dying(real):
        def write(*args, **more):
            count[0] += 1
            if count[0] == at[0] and not at[1]:
                raise Killed
            real(*args, **more)
            if count[0] == at[0]:
                raise Killed

        return write

    monkeypatch.setattr(batches, "write_json", dying(batches.write_json))
    monkeypatch.setattr(Journal, "append", dying(Journal.append))
    return count


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_write_nothing_is_sent_or_paid_for_twice(tmp_path, after):
    killed = number = 0
    while True:
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.MonkeyPatch.context() as monkeypatch, ChatServer(lambda *_: GOOD) as server:
            monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
            steps_on_disk(monkeypatch, (number, after))
            try:
                until_done(server, folder, MANY[:4])
                break
            except Killed:
                killed += 1
            answers = until_done(server, folder, MANY[:4])
            # Before a batch is noted, a run asks one page directly.
            assert len(answers.rows) == 8 and sum(sent(server)) in (2, 3) and len(sent(server)) == 1, number
            # The direct request alone may be under way when the run is killed before its answer is on disk.
            lost = number == 1 and not after
            assert sorted(server.charged.values()) == [1, 1, 1, 1 + lost], number
    assert killed >= 7


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("reply", [Reply(error("oops"), 500), Reply({}, cut=1), Reply(error("slow"), 429)])
def test_a_submission_whose_answer_is_lost_is_found_again_and_not_repeated(tmp_path, reply, done):
    with ChatServer(lambda *_: GOOD) as server:
        server.batches.faults.append(("POST /v1/batches", reply, done))
        assert "11 requests are sent (batch_0)" in come_back(server, tmp_path)
        assert sent(server) == [11]


def test_what_can_not_be_sent_now_is_sent_later(tmp_path):
    with ChatServer(lambda *_: GOOD) as server:
        server.batches.faults += [("POST /v1/batches", Reply(error("oops"), 500), False)] * batches.TRIES
        assert "11 requests are not sent yet" in come_back(server, tmp_path)
        assert sent(server) == []
        assert "11 requests are sent" in come_back(server, tmp_path)
        assert len(until_done(server, tmp_path).rows) == 24 and sent(server) == [11]


def test_of_an_expired_batch_only_the_rest_is_sent_again(tmp_path):
    ends = iter([("expired", 4), ("cancelled", 2), ("completed", None)])
    with ChatServer(lambda *_: GOOD) as server:
        answers = until_done(server, tmp_path, finish=lambda server: server.batches.finish(*next(ends)))
        assert sent(server) == [11, 7, 5]
        assert len(answers.rows) == 24 and set(server.charged.values()) == {1}


def test_answers_that_can_not_be_used_are_repaired_directly(tmp_path):
    answers = {"p3": completion("No."), "p5": completion(pairs("Q1?", "Q2?")[:-30], "length"),
               "p7": completion(None, refusal="No.")}  # fmt: skip

    def script(body, times):
        name = body["messages"][1]["content"].split('"')[1]
        return answers.get(name, GOOD) if len(body["messages"]) == 2 else GOOD

    with ChatServer(script) as server:
        found = until_done(server, tmp_path)
        assert len(found.rows) == 22 and list(found.problems) == ["wiki:p7"]
        assert sent(server) == [11] and sum(server.asked.values()) == 14 and set(server.asked.values()) == {1}


def test_what_a_batch_refuses_is_asked_directly(tmp_path):
    long = page("long", "A line of words.\n" * 200)

    def script(body, times):
        too_long = len(body["messages"][1]["content"]) > 2500
        return Reply(error("maximum context length exceeded"), 400) if too_long else GOOD

    with ChatServer(script) as server:
        found = until_done(server, tmp_path, [*MANY, long])
        assert sum(row["document_id"] == "wiki:long" for row in found.rows) == 4 and sent(server) == [12]


def test_a_busy_line_of_an_error_file_is_sent_again(tmp_path):
    with ChatServer(on("p4", lambda times, _: Reply(error("slow"), 429) if not times else GOOD)) as server:
        assert len(until_done(server, tmp_path).rows) == 24
        assert sent(server) == [11, 1]


def test_a_batch_that_is_not_taken_says_why_and_is_not_sent_again(tmp_path):
    with ChatServer(lambda *_: GOOD) as server:
        come_back(server, tmp_path)
        server.batches.batches["batch_0"] |= {
            "status": "failed",
            "errors": {"object": "list", "data": [{"code": "model_not_found", "message": "no batches for m"}]},
        }
        with pytest.raises(SetupError, match="took none of batch batch_0: no batches for m"):
            ask(server, tmp_path, MANY, batch=True)
        assert sent(server) == [11]


def test_a_server_without_batches(tmp_path):
    with ChatServer(lambda *_: GOOD) as server:
        server.batches.faults.append(("GET /v1/batches", Reply(error("no such path"), 404), False))
        with pytest.raises(SetupError, match="takes no batch.*Set `batch` to False"):
            ask(server, tmp_path, MANY, batch=True)
        assert len(ask(server, tmp_path, MANY).rows) == 24  # and without, all goes on


def test_many_requests_are_several_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "REQUESTS", 4)
    with ChatServer(lambda *_: GOOD) as server:
        assert len(until_done(server, tmp_path).rows) == 24
        assert sent(server) == [4, 4, 3] and set(server.asked.values()) == {1}
        notes = sorted(tmp_path.glob("batches/*.json"))
        assert [read_json(path)["state"] for path in notes] == ["collected"] * 3
        assert all(json.loads(line) for path in tmp_path.glob("batches/*.jsonl") for line in path.open())


def test_what_the_server_takes_is_known_to_the_run_that_comes_back(tmp_path):
    ends = iter([("expired", 4), ("completed", None)])
    with ChatServer(picky({"formats": ["none"], "room": "max_tokens", "temperature": False})) as server:
        answers = until_done(server, tmp_path, finish=lambda server: server.batches.finish(*next(ends)))
        bodies = [line["body"] for name in server.batches.files for line in server.batches.lines(name)
                  if "body" in line]  # fmt: skip
        assert len(answers.rows) == 24 and sent(server) == [11, 7]
        assert all("response_format" not in body and "temperature" not in body for body in bodies)


def test_a_batch_holds_no_more_bytes_than_the_server_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "BYTES", 10_000)
    with ChatServer(lambda *_: GOOD) as server:
        come_back(server, tmp_path)
        sizes = [len(server.batches.files[batch["input_file_id"]]) for batch in server.batches.batches.values()]
    assert sum(sent(server)) == 11 and max(sizes) <= 10_000 and len(sizes) > 1
    assert sizes[0] + sizes[1] > 10_000 and min(sizes[:-1]) > 5_000


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "cancelling"])
def test_a_batch_is_waited_for_until_it_has_ended(tmp_path, status):
    with ChatServer(lambda *_: GOOD) as server:
        come_back(server, tmp_path)
        server.batches.batches["batch_0"]["status"] = status
        assert f"batch_0 is {status}" in come_back(server, tmp_path) and sent(server) == [11]
        server.batches.batches["batch_0"]["status"] = "in_progress"
        assert len(until_done(server, tmp_path).rows) == 24 and sent(server) == [11]


def test_what_could_not_be_sent_twice_in_a_row_is_sent_once(tmp_path):
    with ChatServer(lambda *_: GOOD) as server:
        server.batches.faults += [("POST /v1/batches", Reply(error("oops"), 500), False)] * (2 * batches.TRIES)
        assert "11 requests are not sent yet" in come_back(server, tmp_path)
        come_back(server, tmp_path)
        assert len(until_done(server, tmp_path).rows) == 24
        assert sent(server) == [11] and set(server.charged.values()) == {1}


def test_a_batch_that_was_noted_and_never_taken_is_not_sent_once_its_requests_are_answered(tmp_path):
    with ChatServer(lambda *_: GOOD) as server:
        server.batches.faults.append(("GET /v1/batches", Reply(error("no such path"), 404), False))
        with pytest.raises(SetupError, match="takes no batch"):
            ask(server, tmp_path, MANY, batch=True)
        assert len(ask(server, tmp_path, MANY).rows) == 24
        come_back(server, tmp_path)
        assert sent(server) == []


@pytest.mark.parametrize("odd", ["\u2028", "\x85"])
def test_a_line_separator_inside_an_answer_ends_no_line_of_an_output_file(tmp_path, odd):
    """As JSON allows, and as servers other than OpenAI's write it (pydantic's model_dump_json)."""
    with ChatServer(lambda *_: completion(pairs(f"Q{odd}1?", "Q2?"))) as server:
        come_back(server, tmp_path)
        server.batches.finish()
        output = server.batches.batches["batch_0"]["output_file_id"]
        # The content itself is JSON in a string: the raw character in both.
        rows = [json.loads(line) for line in server.batches.files[output].decode().splitlines()]
        for one in rows:
            message = one["response"]["body"]["choices"][0]["message"]
            message["content"] = json.dumps(json.loads(message["content"]), ensure_ascii=False)
        raw = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows)
        server.batches.files[output] = raw.encode()
        assert len(come_back(server, tmp_path).rows) == 24
