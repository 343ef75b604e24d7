"""Answers that are kept: asked once, whatever interrupts; and the rounds of questions, with a model that counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ftlib import generation
from ftlib.evaluation import asking, rounds
from ftlib.evaluation.asking import Session, ask
from ftlib.evaluation.config import EvalConfig
from ftlib.synth.journal import Journal
from ftlib.workspace import read_jsonl

pytestmark = pytest.mark.usefixtures("one_thread")
PROMPTS = ["Hi", "What is a tarrow?", "x " * 20, "Hi", "Name three ports."]
LIMITS = [6, 5, 4, 6, 6]
SAMPLING = {"temperature": 1.0, "top_p": 0.9, "seed": 3}


class Stopped(Exception):
    pass


@pytest.fixture
def calls(monkeypatch):
    """What each call of the model was given, as `made`; it stops behind `stop_after` answers."""
    calls = SimpleNamespace(made=[], stop_after=-1)

    def answers(model: Any, tokenizer: Any, prompts: list[str], **options: Any) -> Iterator[Any]:
        calls.made.append({"prompts": prompts, **options})
        for done, found in enumerate(generation.answers(model, tokenizer, prompts, **options)):
            if done == calls.stop_after:
                raise Stopped
            yield found

    monkeypatch.setattr(asking, "answers", answers)
    return calls


@pytest.fixture
def opened(noisy, tmp_path):
    """Sessions on a journal of a folder, each a process's."""

    model, tokenizer, _ = noisy

    def run(work, identity="run", path="answers.jsonl", batch_size=2):
        with Journal(tmp_path / path) as journal:
            return work(Session(model, tokenizer, journal, identity, batch_size))

    return run


def asked(name="tuned", prompts=PROMPTS, limits=LIMITS, **options):
    return lambda session: ask(session, name, prompts, limits, **options)


def test_what_was_answered_is_not_asked_again(opened, calls):
    first = opened(asked())
    assert [set(answer) for answer in first] == [{"text", "tokens", "ended"}] * 5
    assert first[0] == first[3] and first[0] is not first[3]
    # The same prompt is answered once.
    assert sorted(calls.made[0]["prompts"]) == sorted(set(PROMPTS)) and len(calls.made) == 1
    limits = dict(zip(calls.made[0]["prompts"], calls.made[0]["max_new_tokens"], strict=True))
    assert limits == dict(zip(PROMPTS, LIMITS, strict=True))
    assert opened(asked()) == first and len(calls.made) == 1
    back = opened(asked(prompts=PROMPTS[::-1], limits=LIMITS[::-1]))
    assert back == first[::-1] and len(calls.made) == 1
    opened(asked(prompts=[*PROMPTS, "New"], limits=[*LIMITS, 6]))
    assert [made["prompts"] for made in calls.made[1:]] == [["New"]]


@pytest.mark.parametrize("sampling", [None, SAMPLING], ids=["greedy", "sampled"])
@pytest.mark.parametrize("kept", [0, 1, 3])
def test_an_interruption_keeps_what_was_answered(opened, calls, tmp_path, kept, sampling):
    whole = opened(asked(sampling=sampling), path="whole.jsonl")
    calls.stop_after = kept
    with pytest.raises(Stopped):
        opened(asked(sampling=sampling))
    calls.stop_after = -1
    assert len(list(read_jsonl(tmp_path / "answers.jsonl"))) == kept
    assert opened(asked(sampling=sampling)) == whole
    assert len(calls.made[-1]["prompts"]) == 4 - kept
    lines = sorted(map(json.dumps, read_jsonl(tmp_path / "answers.jsonl")))
    assert lines == sorted(map(json.dumps, read_jsonl(tmp_path / "whole.jsonl")))


def test_a_torn_last_line_is_asked_again(opened, calls, tmp_path):
    whole = opened(asked())
    path = tmp_path / "answers.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:-9])
    assert opened(asked()) == whole and len(calls.made[1]["prompts"]) == 1
    assert opened(asked()) == whole and len(calls.made) == 2


@pytest.mark.parametrize(
    ("options", "session"),
    [
        ({}, {"identity": "another run"}),
        ({"name": "base"}, {}),
        ({"scale": 0.5}, {}),
        ({"sampling": SAMPLING}, {}),
        ({"limits": [5, 5, 4, 5, 5]}, {}),
        ({"batch_size": 7}, {}),
    ],
    ids=["run", "arm", "scale", "sampling", "limit", "batch"],
)
def test_another_answer_has_a_key_of_its_own(opened, calls, options, session):
    first = opened(asked())
    opened(asked(**options), **session)
    assert len(calls.made) == 2
    made = calls.made[1]
    assert len(made["prompts"]) == (2 if "limits" in options else 4)  # of two prompts the limit is the same
    assert made["sampling"] == options.get("sampling") and made["batch_size"] == options.get("batch_size", 2)
    assert opened(asked()) == first and len(calls.made) == 2  # the first ones are still there


def test_seeds_of_sampling_are_kept_apart(opened, calls):
    one, two = (opened(asked(sampling={**SAMPLING, "seed": seed})) for seed in (1, 2))
    assert len(calls.made) == 2 and one != two
    assert opened(asked(sampling={**SAMPLING, "temperature": 0.5})) and len(calls.made) == 3


def test_each_arm_answers_for_itself(opened, noisy):
    from ftlib.inference import arm
    from ftlib.training.whole import scaled

    model, tokenizer, _ = noisy
    found = {}
    for name, scale in (("base", 1.0), ("tuned", 1.0), ("tuned", 0.4), ("tuned", 0.0)):
        with scaled(model, scale), arm(model, name):
            wanted = generation.generate(model, tokenizer, PROMPTS, max_new_tokens=LIMITS)
        found[name, scale] = opened(asked(name, scale=scale))
        assert found[name, scale] == wanted
    assert found["tuned", 0.0] == found["base", 1.0]
    texts = [[answer["text"] for answer in one] for one in found.values()]
    assert texts[0] != texts[1] != texts[2] != texts[0]


def test_tokens_and_seconds_are_those_of_what_was_asked(opened):
    def work(session):
        first, again = ask(session, "base", PROMPTS, LIMITS), ask(session, "base", PROMPTS, LIMITS)
        assert first == again
        return first, {name: list(one) for name, one in session.spent.items()}

    first, spent = opened(work)
    different = [first[n] for n in (0, 1, 2, 4)]
    assert set(spent) == {"base"} and spent["base"][1] > 0
    assert spent["base"][0] == sum(one["tokens"] for one in different)
    assert opened(work)[1] == {}


def test_the_token_that_ends_an_answer_took_its_time_too(opened, monkeypatch):
    found = [(n, {"text": "x", "tokens": 5, "ended": n != 1}) for n in range(4)]
    monkeypatch.setattr(asking, "answers", lambda *_args, **_options: iter(found))

    def work(session):
        return [answer["ended"] for answer in ask(session, "base", PROMPTS, LIMITS)], session.spent["base"][0]

    ended, spent = opened(work)
    assert ended.count(False) == 1 and spent == 4 * 5 + 3


# --- rounds -----------------------------------------------------------------------------------------------------------

CONFIG = EvalConfig(max_new_tokens=5, general_tokens=7, noise_items=3, dial=(0.5,), dial_items=2, seeds=3)


def row(name, number, **more):
    about = {"set": name, "id": f"{name}{number}", "document_id": f"d{number}", "reference": "", "keywords": []}
    return {**about, "question": f"Question {number} of {name}?", "kind": "k", **more}


@pytest.fixture
def rows():
    found = [row(name, n) for name in ("trained", "paraphrases", "validation", "changed", "general") for n in range(4)]
    return [*found, row("recall", 0, length=9, whole=True), row("recall", 1, length=9, whole=False), row("canary", 0)]


def test_the_limit_of_each_set(rows):
    limits = {(row["set"], row.get("whole")): rounds.limit(row, CONFIG) for row in rows}
    # A whole text has room to end, and to go on wrongly; one that was cut is compared as far as it goes.
    assert limits.pop(("recall", True)) > 9 == limits.pop(("recall", False))
    assert limits.pop(("general", None)) == 7 and set(limits.values()) == {5}


def test_the_rounds_ask_each_what_they_should(opened, calls, rows):
    def work(session):
        rounds.plain(session, rows, CONFIG)
        plain = len(calls.made)
        rows[0]["baselines"] = {"base+bm25": {"text": "found"}}
        made = rounds.sampled(session, rows, CONFIG)
        sampled = len(calls.made)
        again = rounds.again(session, rows, CONFIG)
        noise = len(calls.made)
        return plain, made, sampled, again, noise, rounds.at_scales(session, rows, CONFIG)

    plain, made, sampled, again, noise, stops = opened(work)
    assert plain == 2 and all(row["base"] is not row["tuned"] for row in rows)
    assert [row["set"] for row in made] == ["sampled"] * 4 and made[0]["id"] == "trained0"
    assert not any("baselines" in row for row in made) and "baselines" in rows[0]
    # All seeds of an arm at once.
    for call in calls.made[plain:sampled]:
        assert call["sampling"] == {"temperature": 0.7, "top_p": 0.95, "seed": [0, 1, 2] * 4}
        assert call["prompts"] == [row["question"] for row in made for _ in range(3)]
    assert sampled == plain + 2
    for one, first in zip(made, rounds.of_set(rows, "trained"), strict=True):
        assert one["greedy"] == {"base": first["base"], "tuned": first["tuned"]}
        assert [len(one[name]) for name in ("base", "tuned")] == [3, 3]
        assert isinstance(first["base"], dict)
    assert len(again) == 3 and {one["set"] for one, _ in again} <= {*rounds.TEXT_SETS, "general"}
    assert [c["batch_size"] for c in calls.made[sampled:noise]] == [rounds.NOISE_BATCH]
    assert all(answer == one["base"] and answer is not one["base"] for one, answer in again)
    assert [stop["scale"] for stop in stops] == [0, 0.5, 1]
    assert [[row["set"] for row in (*stop["learned"], *stop["general"])] for stop in stops] == [
        ["trained", "trained", "general", "general"]
    ] * 3
    # 0 and 1 are the arms; only what lies between is asked.
    assert len(calls.made) == noise + 1 and len(calls.made[-1]["prompts"]) == 4
    for stop, name in ((stops[0], "base"), (stops[2], "tuned")):
        assert all(row["at"] is row[name] for row in stop["learned"] + stop["general"])


def test_prompts_with_a_text_in_them(opened, calls, rows):
    documents = [
        {
            "id": f"d{n}",
            "source": "wiki",
            "title": f"Page {n}",
            "path": f"p{n}",
            "text": f"Question {n} is answered 4{n}.",
        }
        for n in range(4)
    ]
    config = EvalConfig(baseline_items=2, retrieved=1, context=300, max_new_tokens=4)
    found = opened(lambda session: rounds.with_text(session, rows, documents, config))
    chosen = [row for row in rows if "baselines" in row]
    assert [row["set"] for row in chosen] == [name for name in rounds.TEXT_SETS for _ in range(2)]
    assert all(list(row["baselines"]) == ["base+prompt", "base+page", "base+bm25", "tuned+bm25"] for row in chosen)
    assert found == {"n": 6, "recall_at": {"1": 1.0}}
    base, tuned = (c["prompts"] for c in calls.made)
    short, page, bm25 = base[:6], base[6:12], base[12:]
    assert all("is answered 4" in prompt for prompt in page) and bm25 == tuned
    assert not any("is answered" in prompt for prompt in short)


def test_without_bm25s_the_other_baselines_are_asked(opened, calls, rows, monkeypatch, capsys):
    monkeypatch.setattr(rounds, "find_spec", lambda name: None)
    config = EvalConfig(baseline_items=1, context=300, max_new_tokens=4)
    assert opened(lambda session: rounds.with_text(session, rows, [], config)) is None
    asked = [row["baselines"] for row in rows if "baselines" in row]
    assert asked and all(list(one) == ["base+prompt", "base+page"] for one in asked)
    assert "pip install 'ftlib[eval]'" in capsys.readouterr().out


def test_what_is_not_wanted_is_not_asked(opened, calls, rows):
    config = EvalConfig(baseline_items=0, sampled_items=0, noise_items=0, dial=())
    parts = (
        lambda session: rounds.with_text(session, rows, [], config),
        lambda session: rounds.sampled(session, rows, config),
        lambda session: rounds.again(session, rows, config),
        lambda session: rounds.at_scales(session, rows, config),
    )
    assert [opened(part) for part in parts] == [None, [], [], []] and not calls.made
