"""Losses and hits by hand, and the adapter's scale: at 0 the base, at 1 what was trained, behind it bit for bit."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from ftlib import chat
from ftlib.evaluation import losses
from ftlib.inference import arm, row_losses
from ftlib.training import whole

pytestmark = pytest.mark.usefixtures("one_thread")
IDS = torch.arange(40, 72)[None]


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


def one_of(kind, tiny_model):
    """A model with an adapter that was trained: LoRA alone, with embedding and head, or every weight."""
    from dataclasses import replace

    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from ftlib.settings import TrainConfig

    config = replace(TrainConfig(), method="full" if kind == "full" else "lora", train_embeddings=kind == "embeddings")
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    options = whole.lora_options(config, base, {"r": 4, "target_modules": ["q_proj", "down_proj"]})
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=0.3)
    return model


@pytest.fixture(scope="module", params=["lora", "embeddings", "full"])
def model(request, tiny_model):
    return one_of(request.param, tiny_model)


def test_scaled_to_0_is_the_base_and_1_changes_nothing(model):
    before, tuned = weights(model), logits(model)
    with model.disable_adapter():
        base = logits(model)
    assert (base - tuned).abs().max() > 0.1
    with whole.scaled(model, 0.0):
        assert torch.allclose(logits(model), base, atol=1e-5)
    with whole.scaled(model, 1.0):
        assert torch.equal(logits(model), tuned)
    with whole.scaled(model, 0.0), arm(model, "base"):
        assert torch.equal(logits(model), base)
    assert torch.equal(logits(model), tuned)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())


@pytest.mark.parametrize("factor", [0.3, 2.0])
def test_scaled_is_as_if_less_or_more_had_been_learned(model, factor):
    """As `whole.scale`, which multiplies LoRA's B and is tested by itself; and not one weight moves for good."""
    before, tuned = weights(model), logits(model)
    with whole.scaled(model, factor):
        found = logits(model)
        with whole.scaled(model, 0.5):
            half = logits(model)
        assert torch.equal(logits(model), found)
    whole.scale(model, factor)
    assert torch.allclose(logits(model), found, atol=1e-5) and (found - tuned).abs().max() > 0.05
    whole.scale(model, 0.5)
    assert torch.allclose(logits(model), half, atol=1e-5)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(before[name])


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
def test_behind_it_the_model_is_the_same_to_the_bit(model, factor):
    before, tuned = weights(model), logits(model)
    with pytest.raises(KeyError), whole.scaled(model, factor):
        assert torch.equal(logits(model), tuned) == (factor == 1)
        raise KeyError
    after = weights(model)
    assert all(torch.equal(weight, before[name]) for name, weight in after.items()) and after.keys() == before.keys()
    assert torch.equal(logits(model), tuned)


def test_a_16_bit_base_is_restored_too(tiny_model):
    model = one_of("full", tiny_model).to(torch.bfloat16)
    before = weights(model)
    with whole.scaled(model, 0.37):
        assert any(not torch.equal(weight, before[name]) for name, weight in weights(model).items())
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())


# --- rows -------------------------------------------------------------------------------------------------------------


class Table:
    """A model that says the same of what follows a token wherever it stands: logits [words, words]."""

    device = torch.device("cpu")

    def __init__(self, table):
        self.table, self.shapes = torch.tensor(table), []

    def __call__(self, input_ids, attention_mask):
        self.shapes.append((tuple(input_ids.shape), attention_mask.sum().item()))
        return SimpleNamespace(logits=self.table[input_ids])


# After 0 comes 1 with 3/4, after 1 comes 2 with 1/2, after 2 all are as likely but 0, which is likelier.
THREE = [[0.0, math.log(6), 0.0], [0.0, 0.0, math.log(2)], [math.log(2), 0.0, 0.0]]


def test_nll_and_hits_by_hand():
    rows = [
        {"input_ids": [0, 1, 2], "labels": [0, 1, 2]},  # 3/4, then 1/2
        {"input_ids": [0, 1, 1, 0, 2], "labels": [chat.IGNORE, 1, chat.IGNORE, 0, 2]},  # 3/4, 1/4, 1/8
        {"input_ids": [2, 0, 1, 2, 1, 0], "labels": [chat.IGNORE] * 5 + [0]},  # 1/4
        {"input_ids": [2, 1], "labels": [2, chat.IGNORE]},
        {"input_ids": [2], "labels": [2]},
    ]
    wanted = [(-math.log(3 / 8), 2, 2), (-math.log(3 / 4 * 1 / 4 * 1 / 8), 3, 1), (math.log(4), 1, 0), (0, 0, 0)]
    for tokens in (1, 8, 4096):
        model = Table(THREE)
        found = row_losses(model, rows, 2, tokens)
        for row, (nll, count, hits) in zip(found, [*wanted, (0, 0, 0)], strict=True):
            assert row["nll"] == pytest.approx(nll) and (row["tokens"], row["hits"]) == (count, hits)
        assert sum(seen for _, seen in model.shapes) == 17
        assert len(model.shapes) == {1: 5, 8: 4, 4096: 1}[tokens]
    assert row_losses(Table(THREE), [], 0) == []


def test_rows_with_a_loss_and_their_bytes(smollm):
    ids = smollm("The Fähre is called Larkpost.")["input_ids"]
    first = len(smollm.decode(ids[:1]).encode())
    validation = [
        {"input_ids": ids, "labels": ids, "source": "wiki", "document_id": "w"},
        {"input_ids": ids[:1], "labels": ids[:1], "source": "wiki", "document_id": "lone"},
        {"input_ids": ids, "labels": [chat.IGNORE] * 4 + ids[4:], "source": "page_qa", "document_id": "q", "id": "own"},
        {"input_ids": ids, "labels": ids, "source": "general", "document_id": ""},
    ]
    general = [{"id": "g1", "question": "Say ä.", "reference": "ä, öß"}]
    held = losses.rows_of(smollm, validation, general, 0)
    assert list(held) == ["chat", "raw", "general"]
    (raw,), (asked,), (item,) = held["raw"], held["chat"], held["general"]  # the lone token has no loss
    assert raw["bytes"] == len("The Fähre is called Larkpost.".encode()) - first == 27
    assert asked["bytes"] == len(smollm.decode(ids[4:]).encode()) < 27 and asked["id"] == "own"
    # Without the end of the turn, which has a loss and no bytes.
    assert item["bytes"] == len("ä, öß".encode()) == 8 and (item["id"], item["document_id"]) == ("g1", "")
    assert sum(label != chat.IGNORE for label in item["labels"]) == len(smollm("ä, öß")["input_ids"]) + 1
    assert raw["id"] and "bytes" not in validation[0]
    assert losses.rows_of(smollm, validation[1:2], [], 0) == {} == losses.rows_of(smollm, [], [], 5)
    twice = [validation[0], {**validation[0], "document_id": "w2"}]
    assert len(losses.rows_of(smollm, twice, [], len(ids))["raw"]) == 1
    assert len(losses.rows_of(smollm, twice, [], 2 * len(ids))["raw"]) == 2


def test_each_arm_and_each_scale_has_its_loss(noisy):
    model, tokenizer, _ = noisy
    texts = [f"Page {n} of the relay says what a tarrow is, and for how long." for n in range(9)]
    rows = [
        {"input_ids": ids, "labels": ids, "source": "wiki", "document_id": str(n)}
        for n, ids in enumerate(tokenizer(texts)["input_ids"])
    ]
    held = losses.rows_of(tokenizer, rows, [], 0)
    losses.measure(model, tokenizer, held)
    for name in ("base", "tuned"):
        with arm(model, name):
            wanted = row_losses(model, rows, tokenizer.pad_token_id)
        assert [row[name] for row in held["raw"]] == wanted
    at = {scale: losses.at_scale(model, tokenizer, held, scale) for scale in (0.0, 0.5, 1.0)}
    part = held["raw"][::4]  # the first, fifth and ninth
    assert [row["document_id"] for row in part] == ["0", "4", "8"]
    for scale, name in ((0.0, "base"), (1.0, "tuned")):
        mean = sum(row[name]["nll"] for row in part) / sum(row[name]["tokens"] for row in part)
        assert at[scale] == {"raw": pytest.approx(mean, rel=1e-5)}
    assert len({round(found["raw"], 4) for found in at.values()}) == 3
    assert losses.at_scale(model, tokenizer, {}, 0.5) == {}


def recited(name, text, whole):
    about = {"set": "recall", "id": name, "question": f"Recite {name}.", "reference": text, "whole": whole}
    return {**about, "base": {}, "tuned": {}}


def test_token_accuracy_is_teacher_forced_and_a_cut_text_has_no_end(noisy):
    model, tokenizer, _ = noisy
    text = "The relay keeps a queue of frames."
    rows = [recited("a", text, True), recited("b", text, False), recited("c", "Yes", False)]
    losses.token_accuracy(model, tokenizer, rows)
    length = len(tokenizer(text)["input_ids"])
    assert [row["base"]["token_count"] for row in rows] == [length + 1, length, 1]
    for name in ("base", "tuned"):
        messages = [{"role": "user", "content": "Recite a."}, {"role": "assistant", "content": text}]
        (one,) = chat.encode_chats(tokenizer, [messages], "assistant")
        with torch.no_grad(), arm(model, name):
            likeliest = model(input_ids=torch.tensor([one["input_ids"]])).logits[0].argmax(-1).tolist()
        places = [n for n, label in enumerate(one["labels"]) if label != chat.IGNORE]
        hits = [likeliest[n - 1] == one["input_ids"][n] for n in places]
        found = rows[0][name]
        assert found["token_hits"] == sum(hits) and found["token_accuracy"] == sum(hits) / (length + 1)
    losses.token_accuracy(model, tokenizer, [])


def test_token_accuracy_sees_a_text_that_is_known(smollm, monkeypatch):
    """A stand-in that knows one text but for its second word, and says so by the likeliest token."""
    text, other = "Frames wait for a worker.", "No such thing is known."
    ids = smollm(text)["input_ids"]
    after = dict(zip(ids, ids[1:], strict=False)) | {ids[1]: 0}

    class Knows:
        device = torch.device("cpu")

        def __call__(self, input_ids, attention_mask):
            found = torch.zeros(*input_ids.shape, len(smollm))
            for row, line in enumerate(input_ids.tolist()):
                for place, token in enumerate(line):
                    found[row, place, after.get(token, 0)] = 5.0
            return SimpleNamespace(logits=found)

        def disable_adapter(self):
            return torch.no_grad()

    rows = [recited("a", text, True), recited("b", other, True)]
    losses.token_accuracy(Knows(), smollm, rows)
    # Not the first token, which follows the prompt, not the third, and not the end.
    assert rows[0]["tuned"] == {
        "token_hits": len(ids) - 2,
        "token_count": len(ids) + 1,
        "token_accuracy": (len(ids) - 2) / (len(ids) + 1),
    }
    assert rows[1]["base"]["token_hits"] == 0 < rows[1]["base"]["token_count"]


def test_a_cut_text_has_none_of_several_end_tokens(smollm):
    """As Cohere 2's template has them; the model here is never right, only what is counted is of interest."""
    import copy

    tokenizer = copy.deepcopy(smollm)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<empty_output><|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    rows = [recited("a", "Yes", True), recited("b", "Yes", False)]

    class Silent(Table):
        def __init__(self):
            super().__init__([[0.0]])

        def __call__(self, input_ids, attention_mask):
            return SimpleNamespace(logits=torch.zeros(*input_ids.shape, len(smollm)))

        def disable_adapter(self):
            return torch.no_grad()

    losses.token_accuracy(Silent(), tokenizer, rows)
    assert [row["tuned"]["token_count"] for row in rows] == [3, 1]
