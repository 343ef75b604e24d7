"""General chats of the base's own making: asked and answered by the real model, kept, gone on with, and trained on."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from test_packing import CONFIG

from ftlib import replay, sample
from ftlib.chat import encode_chat
from ftlib.errors import SetupError
from ftlib.general_items import KINDS, general_items
from ftlib.inference import token_loss
from ftlib.metrics import repetition
from ftlib.mixture import MixtureConfig, build_mixture, split_of_chat
from ftlib.runtime import accelerator
from ftlib.settings import TrainConfig, default_config, default_mixture
from ftlib.similar import near_duplicates
from ftlib.synth.journal import Journal
from ftlib.training.backends import load_base

pytestmark = pytest.mark.usefixtures("one_thread")
LIMITS, WANTED = {"ANSWER_TOKENS": 16, "TOPIC_TOKENS": 20, "QUESTION_TOKENS": 32}, 120


@pytest.fixture(scope="module")
def demo():
    return load_base(TrainConfig(model="demo", precision="fp32"))


@pytest.fixture(scope="module")
def written(demo, tmp_path_factory):
    """A journal of two rounds of eight questions, with short answers."""
    path = tmp_path_factory.mktemp("replay") / "replay.jsonl"
    with pytest.MonkeyPatch.context() as patch, Journal(path) as journal:
        for name, limit in LIMITS.items():
            patch.setattr(replay, name, limit)
        first = replay.write(demo[0], demo[1], journal, 20, rows=8)
        more = replay.write(demo[0], demo[1], journal, WANTED, rows=8)
    return path, first, more


def test_it_asks_and_answers_itself(written):
    """Two turns of text without control strings; as many tokens as were wanted, and not a whole chat more."""
    path, first, more = written
    assert first == more[: len(first)] and len(more) > len(first)
    for chat in more:
        question, answer = chat["messages"]
        assert (question["role"], answer["role"]) == ("user", "assistant")
        assert "<|" not in question["content"] + answer["content"] and len(question["content"].split()) > 1
        assert answer["content"] and repetition(answer["content"]) <= replay.REPETITIVE
    openings = tuple(opening for opening in map(replay.opening, range(24)) if opening)
    assert sum(chat["messages"][0]["content"].startswith(openings) for chat in more) > len(more) / 3
    kept = sorted(map(json.loads, path.read_text().splitlines()), key=lambda one: int(one["key"]))
    kept = [one for one in kept if one["tokens"]][: len(more)]
    assert [one["messages"] for one in kept] == [chat["messages"] for chat in more]
    sizes = [one["tokens"] for one in kept]
    assert sum(sizes) >= WANTED > sum(sizes[:-1])
    # An answer of all the tokens that there are, others on a topic, is cut.
    limits = [LIMITS["TOPIC_TOKENS" if int(one["key"]) % 2 else "ANSWER_TOKENS"] for one in kept]
    assert [chat["cut"] for chat in more] == [size == limit for size, limit in zip(sizes, limits, strict=True)]
    assert {size for size, chat in zip(sizes, more, strict=True) if chat["cut"]} == {16, 20}
    assert {chat["cut"] for chat in more} == {True, False}


def test_questions_begin_in_all_ways_and_on_all_topics():
    """Topics lie there by areas, some 35 each; few questions show many, and none twice before all had their turn."""
    topics = replay.topics()
    assert len({topic.lower() for topic in topics}) == len(topics) > 2000
    begun = [replay.opening(number) for number in range(4 * len(topics))]
    assert set(replay.OPENINGS) == set(begun[0::2])
    first, second = begun[1 : 2 * len(topics) : 2], begun[2 * len(topics) + 1 :: 2]
    for half in (first, second):
        about = [max((t for t in topics if one.endswith(f" {t}")), key=len) for one in half]
        assert set(about) == set(topics)
        assert len({topics.index(topic) // 35 for topic in about[:60]}) > 30
    assert not set(first) & set(second)
    assert all(any(one.startswith(way.split("{}")[0]) for one in first) for way in replay.ABOUT)


def test_an_interrupted_call_goes_on_to_the_same(demo, written, tmp_path, monkeypatch):
    path, _, more = written
    for name, limit in LIMITS.items():
        monkeypatch.setattr(replay, name, limit)
    lines = path.read_text().splitlines(keepends=True)
    half = tmp_path / "replay.jsonl"
    half.write_text("".join(lines[:8]) + lines[8][:20])  # a whole round, and a torn line
    with Journal(half) as journal:
        assert replay.write(demo[0], demo[1], journal, WANTED, rows=8) == more
    monkeypatch.setattr(replay, "_questions", None)  # nobody is asked for what is there
    with Journal(half) as journal:
        assert replay.write(demo[0], demo[1], journal, WANTED, rows=8) == more


def test_what_04_eval_asks_is_not_written(demo, tmp_path, monkeypatch):
    tested = general_items(("knowledge",))[0]["prompt"]
    asked = {0: tested, 1: "Which sea do the ferries of Brindle cross at night?"}
    monkeypatch.setattr(replay, "_questions", lambda *given: asked)
    monkeypatch.setattr(replay, "ANSWER_TOKENS", 8)
    with Journal(tmp_path / "replay.jsonl") as journal:
        found = replay.write(demo[0], demo[1], journal, 5, rows=2)
    assert [chat["messages"][0]["content"] for chat in found] == [asked[1]]


def test_answers_that_loop_or_say_nothing_are_left_out(demo, tmp_path, monkeypatch):
    said = ["A ferry is a boat.", "", "no, no, no, no, no, no, no", "It sails at nine."]
    monkeypatch.setattr(replay, "_questions", lambda *given: {n: f"Where does ferry {n} go?" for n in range(4)})
    answer = {"tokens": 5, "ended": True}
    monkeypatch.setattr(replay, "answers", lambda *given, **more: [(n, {"text": said[n], **answer}) for n in range(4)])
    with Journal(tmp_path / "replay.jsonl") as journal:
        found = replay.write(demo[0], demo[1], journal, 10, rows=4)
    assert [chat["messages"][1]["content"] for chat in found] == [said[0], said[3]]


def test_a_model_that_continues_no_user_s_turn_is_told(tiny_model, tmp_path):
    """Random weights never end a turn."""
    base = load_base(replace(CONFIG, model=str(tiny_model)))
    with Journal(tmp_path / "replay.jsonl") as journal, pytest.raises(SetupError, match="replay_tokens=0"):
        replay.write(base[0], base[1], journal, 100, rows=8)


def test_the_process_that_writes_says_what_is_wrong(workspace, capfd):
    with pytest.raises(SetupError, match="replay_tokens=0"):
        replay.records(workspace, replace(CONFIG, model=str(workspace.root / "nowhere")), 100)
    assert "There is no folder" in capfd.readouterr().out


def fill(path: Any, number: int) -> None:
    with Journal(path) as journal:
        said = [{"role": "user", "content": "Who is it?"}, {"role": "assistant", "content": "Nobody at all"}]
        for at in range(number):
            journal.extend({str(2 * at): {"tokens": 0}})
            journal.extend({str(2 * at + 1): {"tokens": 3, "messages": said, "cut": at % 2 == 0}})


def test_records_are_rows_of_their_own_kind(workspace, smollm):
    """Trained on whatever the split, cut ones without the token that ends an answer."""
    config = TrainConfig(model="demo")
    assert replay.records(workspace, config, 0) == []
    fill(replay._path(workspace, config), 4)
    own = replay.records(workspace, config, 10)
    assert [one["id"] for one in own] == [f"replay:{n}" for n in range(4)]
    document = {"id": "code:a", "source": "code", "path": "a", "title": "a", "text": "x = 1\n", "date": "2024-01-01"}
    chat = {"id": "c", "method": "general", "document_id": None, "messages": own[0]["messages"]}
    chat["split"] = split_of_chat(chat, 0.99)
    mixing = MixtureConfig(validation_share=0.99, loss_on="assistant", replay_tokens=10, repeats={"replay": 2})
    mixture = build_mixture([document], [chat, *own], smollm, mixing)
    rows = [row for row in mixture.train if row["source"] == "replay"]
    assert len(rows) == 8
    assert sum(row["labels"][-1] == smollm.eos_token_id for row in rows) == 0
    assert sum(smollm.eos_token_id in row["labels"] for row in rows) == 4  # whole ones end
    assert all(row["labels"][-1] != -100 for row in rows if smollm.eos_token_id not in row["labels"])
    with pytest.raises(SetupError, match="ftlib.replay.records"):
        build_mixture([document], [chat], smollm, mixing)


def test_without_a_gpu_the_first_of_the_embedded_model_are_there_already(workspace, monkeypatch):
    def written(*given: object) -> None:
        raise SetupError("It writes.")

    monkeypatch.setattr(replay, "_written", written)
    config = TrainConfig(model="demo")
    own = replay.records(workspace, config, 6000)
    rows = list(map(json.loads, replay.OF_DEMO.read_text(encoding="utf-8").splitlines()))
    assert [one["messages"] for one in own] == [row["messages"] for row in rows if row["tokens"]][: len(own)]
    assert replay.records(workspace, config, 6000) == own
    for other in (replace(config, model="owner/name"), replace(config, chat_template="mistral-reference")):
        with pytest.raises(SetupError, match="It writes"):
            replay.records(workspace, other, 6000)
    (path := replay._path(workspace, config)).unlink()
    monkeypatch.setattr(replay, "accelerator", lambda: replace(accelerator(), kind="cuda"))
    with pytest.raises(SetupError, match="It writes"):
        replay.records(workspace, config, 6000)
    assert not path.read_bytes()


def test_what_is_there_already_is_the_embedded_model_s_own(demo):
    """Each question begins as its number has it, none is 04_eval's, and the answers are as likely as sampled ones are
    (1.5 nats a token, ends of cut ones included): what others wrote is not."""
    model, tokenizer = demo
    rows = list(map(json.loads, replay.OF_DEMO.read_text(encoding="utf-8").splitlines()))
    assert [row["key"] for row in rows] == [str(number) for number in range(replay.ROUND_CPU)]
    kept = [row for row in rows if row["tokens"]]
    assert (
        sum(row["tokens"] for row in kept)
        > default_mixture(default_config("demo", replace(accelerator(), kind="cpu"))).replay_tokens
    )
    for row in kept:
        question, answer = (message["content"] for message in row["messages"])
        assert question.startswith(replay.opening(int(row["key"]))) and repetition(answer) <= replay.REPETITIVE
        assert abs(len(tokenizer.encode(answer)) - row["tokens"]) <= 5
    asked = [row["messages"][0]["content"] for row in kept]
    assert not near_duplicates(asked, [item["prompt"] for item in general_items(KINDS[:3])])

    pad = tokenizer.pad_token_id

    def loss(chats: list[list[dict[str, str]]]) -> float:
        return token_loss(model, [encode_chat(tokenizer, chat, "assistant") for chat in chats], pad)["loss"]

    others = sample.questions("questions")[:8]
    said = [(one["question"], one["answer"]) for one in others]
    turns = [[{"role": "user", "content": a}, {"role": "assistant", "content": b}] for a, b in said]
    assert loss([row["messages"] for row in kept[:8]]) < 1.7 < 2.4 < loss(turns)


def test_another_process_s_file_is_waited_for(workspace):
    """While one writes, another waits, and takes what the first has written."""
    config = TrainConfig(model="demo")
    path = replay._path(workspace, config)
    settings = json.dumps({"path": str(path), "tokens": 3, "config": {"model": "demo"}})
    with Journal(path) as journal:
        waiting = subprocess.Popen(
            [sys.executable, "-m", "ftlib.replay", settings], stdout=subprocess.PIPE, env={**os.environ}
        )
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(4)
        journal.extend({"0": {"tokens": 3, "messages": [], "cut": False}})
    assert waiting.wait(60) == 0 and path.read_text().count("\n") == 1


def test_a_file_that_another_process_has_just_then_is_asked_for_again(workspace, monkeypatch):
    """Of several processes of a run, one may look while the next one does."""
    config = TrainConfig(model="demo")
    fill(path := replay._path(workspace, config), 4)
    others = [Journal(path).__enter__()]

    def written(*given: object) -> None:
        others.pop().__exit__()

    monkeypatch.setattr(replay, "_written", written)
    assert len(replay.records(workspace, config, 10)) == 4 and not others


def test_other_settings_of_the_base_have_a_file_of_their_own(workspace):
    config = TrainConfig(model="demo")
    paths = {
        replay._path(workspace, one) for one in (config, replace(config, load_in_4bit=True), replace(config, seed=3))
    }
    assert len(paths) == 2 and replay._path(workspace, replace(config, seed=3)) == replay._path(workspace, config)
