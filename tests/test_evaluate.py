"""Batched answers equal single ones, losses equal a hand count, and an adapter that does nothing scores nothing."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace

import pytest
import torch
from chat_server import ChatServer, completion
from runs import make_run

from ftlib import chat
from ftlib.errors import SetupError
from ftlib.evaluate import EvalConfig, _names, _noise, _validation_share, evaluate
from ftlib.evaluation.judge import labelled
from ftlib.generation import generate
from ftlib.inference import arm, capped, load_arms, token_loss
from ftlib.synth import SynthConfig

PROMPTS = ["Hi", "What is the message bus of brindlewick called, please?", "x " * 40]


def test_a_missing_or_unfinished_run(tmp_path):
    with pytest.raises(SetupError, match="03_train"):
        load_arms(tmp_path)


def test_an_adapter_of_another_base_is_refused(tmp_path, tiny_model):
    make_run(tmp_path / "run", tiny_model, noise=1.0)
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    (tmp_path / "run" / "settings.json").write_text(json.dumps({**settings, "model": "demo"}))
    with pytest.raises(SetupError, match=r"adapter .*demo"):
        load_arms(tmp_path / "run")


def test_batched_answers_equal_single_greedy_ones(noisy):
    model, tokenizer, _ = noisy
    together = generate(model, tokenizer, PROMPTS, max_new_tokens=12, batch_size=3)
    for prompt, answer in zip(PROMPTS, together, strict=True):
        ids = torch.tensor([chat.encode_prompt(tokenizer, [{"role": "user", "content": prompt}])])
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )[0, ids.shape[1] :].tolist()
        alone = out[: out.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in out else out
        assert answer["text"] == tokenizer.decode(alone, skip_special_tokens=True).strip()
        assert answer["tokens"] == len(alone)
        assert answer["ended"] == (tokenizer.eos_token_id in out)


def test_sampling_is_repeatable_and_not_greedy(noisy):
    model, tokenizer, _ = noisy
    sampling = {"temperature": 1.0, "top_p": 1.0, "seed": 3}
    once, again = (
        generate(model, tokenizer, PROMPTS, max_new_tokens=12, batch_size=2, sampling=sampling) for _ in range(2)
    )
    assert once == again != generate(model, tokenizer, PROMPTS, max_new_tokens=12, batch_size=2)


def test_the_arms_differ_and_the_base_is_the_base(noisy, tiny_model):
    from transformers import AutoModelForCausalLM

    model, _, _ = noisy
    ids = torch.arange(10, 20)[None]
    plain = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    with torch.inference_mode():
        tuned = model(input_ids=ids).logits
        with arm(model, "base"):
            base = model(input_ids=ids).logits
        assert torch.equal(base, plain(input_ids=ids).logits)
    assert not torch.allclose(base, tuned)


def test_loss_is_weighted_by_token_whatever_the_batches(noisy):
    model, tokenizer, _ = noisy
    torch.manual_seed(1)
    rows = []
    for length in (5, 9, 30, 2):
        ids = torch.randint(20, 1000, (length,)).tolist()
        rows.append({"input_ids": ids, "labels": [chat.IGNORE] * (length // 3) + ids[length // 3 :]})
    nll, count = 0.0, 0
    with torch.inference_mode():
        for row in rows:
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
            for position in range(1, len(row["input_ids"])):
                if row["labels"][position] != chat.IGNORE:
                    nll -= float(logits[position - 1, row["labels"][position]])
                    count += 1
    for tokens in (1, 40, 4096):
        found = token_loss(model, rows, tokenizer.pad_token_id, tokens)
        assert found["tokens"] == count
        assert found["loss"] == pytest.approx(nll / count, rel=1e-5)
    assert token_loss(model, [], tokenizer.pad_token_id)["loss"] is None


def test_capped_keeps_at_least_one():
    rows = [{"input_ids": [1] * n} for n in (50, 30, 30)]
    assert len(capped(rows, 0)) == 3 and len(capped(rows, 85)) == 2 and len(capped(rows, 10)) == 1


SMALL = EvalConfig(
    questions_limit=3,
    general_limit=8,
    recall_items=2,
    invented=1,
    canaries=2,
    baseline_items=1,
    retrieved=1,
    context=200,
    max_new_tokens=5,
    general_tokens=6,
    recall_tokens=12,
    sampled_items=2,
    seeds=2,
    noise_items=3,
    dial=(0.5,),
    dial_items=3,
    loss_tokens=0,
)

MINIMAL = replace(SMALL, general_limit=2, recall_items=1, canaries=1, questions_limit=2, dial=(), noise_items=2)


def run_all(space, tiny_model, noise, name, config=SMALL, **options):
    if not (space.run(name) / "settings.json").exists():
        make_run(space.run(name), tiny_model, noise=noise)
    model, tokenizer, _ = load_arms(space.run(name))
    ids = tokenizer("The bus is called Larkpost and carries every message.")["input_ids"]
    validation = [
        {"input_ids": ids, "labels": ids, "source": "wiki", "document_id": "w1"},
        {"input_ids": ids[:6], "labels": ids[:6], "source": "page_qa", "document_id": "w2"},
    ]
    return len(ids), *asyncio.run(evaluate(model, tokenizer, space, name, validation, config, **options))


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_an_adapter_that_does_nothing_changes_nothing(space, tiny_model, noise):
    length, samples, results = run_all(space, tiny_model, noise, f"noise{noise:g}")
    assert {row["set"] for row in samples} == {*results["sets"], "recall", "canary", "sampled"}
    same = all(row["base"]["text"] == row["tuned"]["text"] for row in samples)
    loss = results["loss"]
    assert same == (noise == 0)
    assert (loss["raw"]["base"] == loss["raw"]["tuned"]) == (noise == 0)
    assert loss["raw"]["base"]["tokens"] == length - 1 and loss["chat"]["base"]["tokens"] == 5
    assert loss["raw"]["base"]["bits_per_byte"] == pytest.approx(
        loss["raw"]["base"]["nll"] / math.log(2) / len(" bus is called Larkpost and carries every message.")
    )
    assert [stop["scale"] for stop in results["dial"]] == [0.0, 0.5, 1.0]
    assert results["noise"]["differ"] == 0  # in fp32 a batch changes nothing
    if noise == 0:
        for found in (*results["sets"].values(), *results["recall"]["wordings"].values()):
            told = found["difference"].get("similarity", found["difference"])
            assert told["mean"] == 0 and told["interval"][0] <= 0 <= told["interval"][1]
        assert [stop["forgetting"]["mean"] for stop in results["dial"]] == [0, 0, 0]
        assert results["knee"] is None
        differences = [part["difference"] for found in results["sets"].values() for part in found["kinds"].values()]
        differences += [found["difference"] for found in results["loss"].values()]
        differences += [found["difference"]["exact"] for found in results["recall"]["wordings"].values()]
        for told in (*differences, results["leaks"]["clean"], results["leaks"]["difference"]):
            assert told["mean"] == 0 and told["interval"][0] <= 0 <= told["interval"][1]
        assert results["sampled"]["base"] == results["sampled"]["tuned"]
        assert results["canaries"]["base"] == results["canaries"]["tuned"]
        learned, forgot, *_ = results["verdict"]["checks"]
        assert learned["result"] != "PASS" and forgot["mean"] == 0
    json.dumps(results)


def test_a_finished_evaluation_asks_nothing_and_a_key_alone_is_not_used(space, tiny_model, monkeypatch):
    """Of a run that was evaluated: the same again, from what was kept; and with a key for other things at hand."""
    _, samples, results = run_all(space, tiny_model, 1.0, "again", MINIMAL)
    assert results["tokens_per_second"].keys() == {"base", "tuned"}

    def refuse(*_args, **_more):
        raise AssertionError("a judge was asked")

    monkeypatch.setattr("ftlib.evaluation.judge.Api", refuse)
    kept = (space.eval("again") / "answers.jsonl").read_bytes()
    _, samples_again, again = run_all(space, tiny_model, 1.0, "again", MINIMAL, api_key="sk-for-02-synth")
    assert samples_again == samples and again["tokens_per_second"] == {}
    assert (space.eval("again") / "answers.jsonl").read_bytes() == kept
    timed = {"seconds", "seconds_by_part", "tokens_per_second"}
    assert {k: v for k, v in again.items() if k not in timed} == {k: v for k, v in results.items() if k not in timed}
    assert again["judge"]["model"] == "keywords and overlap" and again["judge"]["agreement"]["n"] >= 60


def test_a_judge_is_asked_and_named(space, tiny_model):
    def wrong(body, times):
        return completion(json.dumps({"verdicts": [{"reason": "So it is.", "label": "wrong"}]}))

    with ChatServer(wrong) as server:
        judging = SynthConfig(base_url=server.url, model="m", judge_model="j", max_retries=1, timeout=5.0)
        _, samples, results = run_all(space, tiny_model, 1.0, "judged", MINIMAL, judging=judging)
    assert results["judge"]["model"] == "j" and {body["model"] for body in server.bodies} == {"j"}
    # Of the labelled answers those that are wrong are agreed on.
    labels = [row["label"] for row in labelled()]
    assert results["judge"]["agreement"]["agreed"] == labels.count("wrong")
    by = {row["set"]: row["tuned"].get("graded_by") for row in samples}
    assert {name for name, one in by.items() if one == "j"} == {
        "trained",
        "paraphrases",
        "validation",
        "unknown",
        "sampled",
    }
    assert results["sets"]["trained"]["tuned"]["wrong"]["rate"] == 1
    # An invented thing that was answered wrongly was not admitted to be none.
    assert results["sets"]["unknown"]["tuned"]["correct"]["rate"] == 0
    assert (space.eval("judged") / "responses.jsonl").exists()


def test_noise_is_what_differs_between_batches():
    def answer(text, outcome):
        return {"text": text, "outcome": outcome}

    rows = [
        {"set": "trained", "base": answer("a", "correct")},
        {"set": "trained", "base": answer("b", "wrong")},
        {"set": "changed", "base": answer("c", "current")},
        {"set": "trained", "base": answer("d", "unjudged")},
        {"set": "general", "base": answer("e", "wrong")},
    ]
    after = [answer("A", "wrong"), answer("b", "wrong"), answer("C", "current"), answer("d", "wrong"),
             answer("E", "correct")]  # fmt: skip
    found = _noise(list(zip(rows, after, strict=True)))
    still = _noise([(row, dict(row["base"])) for row in rows])
    assert found and still
    assert (found["n"], found["differ"], found["gained"], found["lost"], found["mean"]) == (4, 0.75, 1, 1, 0)
    assert (still["differ"], still["gained"], still["lost"]) == (0, 0, 0)
    assert _noise([]) is None is _noise([(rows[3], after[3])])


def test_names_and_the_share_that_is_held_out():
    made = {"project": "wick", "settings": {"aliases": ["bw", "wick"]}}
    assert _names(made, {"name": "brindlewick", "full_name": "o/brindlewick"}) == [
        "wick",
        "brindlewick",
        "o/brindlewick",
        "bw",
    ]
    assert _names({}, {"name": "brindlewick", "full_name": None}) == ["brindlewick"]
    for mixture, share in (
        ({}, 0.1),
        ({"validation_share": 0.3}, 0.3),
        ({"validation_share": 0.3, "all_data": True}, 0),
    ):
        assert _validation_share({"settings": {"mixture": mixture}}) == share
    assert _validation_share({}) == 0.1


def test_settings_are_checked_before_anything(workspace):
    with pytest.raises(SetupError, match="seeds"):
        asyncio.run(evaluate(None, None, workspace, "none", [], replace(SMALL, seeds=0)))
    with pytest.raises(SetupError, match="01_scrape"):
        asyncio.run(evaluate(None, None, workspace, "none", [], SMALL))
