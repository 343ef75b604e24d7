"""Batched answers equal single ones, losses equal a hand count, and an adapter that does nothing scores nothing."""

from __future__ import annotations

import asyncio
import json
import math

import pytest
import torch

from ftlib import chat
from ftlib.errors import SetupError
from ftlib.evaluate import EvalConfig, evaluate
from ftlib.generation import generate
from ftlib.inference import arm, capped, load_arms, token_loss
from ftlib.workspace import write_json, write_manifest

PROMPTS = ["Hi", "What is the message bus of brindlewick called, please?", "x " * 40]


def make_run(folder, tiny_model, *, noise: float) -> None:
    """A finished run whose adapter does nothing (noise 0) or something (its B matrices are random)."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_model), LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    )
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=noise) if noise else torch.nn.init.zeros_(parameter)
    model.save_pretrained(folder / "adapter")
    write_json(folder / "settings.json", {"model": str(tiny_model)})
    write_manifest(folder, stage="03_train", settings={})


@pytest.fixture(scope="module")
def noisy(tmp_path_factory, tiny_model):
    folder = tmp_path_factory.mktemp("runs") / "noisy"
    make_run(folder, tiny_model, noise=1.0)
    return load_arms(folder)


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


def run_all(space, tiny_model, noise, name, config=SMALL):
    make_run(space.run(name), tiny_model, noise=noise)
    model, tokenizer, _ = load_arms(space.run(name))
    ids = tokenizer("The bus is called Larkpost and carries every message.")["input_ids"]
    validation = [
        {"input_ids": ids, "labels": ids, "source": "wiki", "document_id": "w1"},
        {"input_ids": ids[:6], "labels": ids[:6], "source": "page_qa", "document_id": "w2"},
    ]
    return len(ids), *asyncio.run(evaluate(model, tokenizer, space, name, validation, config))


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
        learned, forgot, *_ = results["verdict"]["checks"]
        assert learned["result"] != "PASS" and forgot["mean"] == 0
    json.dumps(results)
