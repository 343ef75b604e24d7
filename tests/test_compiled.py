"""The compiled path on a CPU, where nothing is compiled but all else is the same: its steps are those of plain TRL.

On a GPU the same is measured with flex attention, compiled blocks and CUDA graphs
(benchmarks/results/compiled_blocks_h100.json).
"""

import sys
from dataclasses import replace
from types import MethodType, ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packing import CONFIG, check_step, load_strong, make_mixture, real_step, rows_of

from ftlib.audit import RAW_SOURCES
from ftlib.errors import SetupError
from ftlib.train import build_trainer, load_model, train
from ftlib.training import attention, batches, compiled, lora
from ftlib.training.batches import IGNORE
from ftlib.training.cross_entropy import chunk_tokens, linear_cross_entropy

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def config(tiny_model):
    return replace(CONFIG, model=str(tiny_model), backend="compiled")


@pytest.fixture(scope="module")
def loaded(config):
    return load_strong(config)


@pytest.fixture(scope="module")
def mixture(loaded):
    return make_mixture(loaded[1], 60)


def documents(batch) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Ids and labels of each document of a batch, padding left out."""
    ids, labels, positions = (batch[name].flatten().tolist() for name in ("input_ids", "labels", "position_ids"))
    begins = [at for at, position in enumerate(positions) if position == 0]
    parts = [slice(begin, end) for begin, end in zip(begins, [*begins[1:], len(ids)], strict=True)]
    return [(tuple(ids[part]), tuple(labels[part])) for part in parts]


# --- batches ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=3),
    st.booleans(),
)
def test_every_token_is_in_the_batch_with_its_label(packs, causal):
    features = []
    token = 1000
    for lengths in packs:
        ids = list(range(token, token + sum(lengths)))
        token += len(ids)
        features.append({"input_ids": ids, "labels": [i if i % 3 else IGNORE for i in ids], "seq_lengths": lengths})
    batch = batches.fixed_shape(features, 40, 3, 7, causal)
    masked = "starts" in batch
    assert masked == (not causal or any(len(lengths) > 1 for lengths in packs))
    assert batch["input_ids"].shape == ((1, 120) if masked else (3, 40))
    found = [(ids, labels) for ids, labels in documents(batch) if any(i != 7 for i in ids)]
    wanted = []
    for feature in features:
        at = 0
        for length in feature["seq_lengths"]:
            ids, labels = feature["input_ids"][at : at + length], feature["labels"][at : at + length]
            wanted.append((ids, [IGNORE, *labels[1:]]))
            at += length
    if not masked:  # a row is one document with its padding
        found = [(ids[: len(w)], labels[: len(w)]) for (ids, labels), (w, _) in zip(found, wanted, strict=True)]
    assert [(list(ids), list(labels)) for ids, labels in found] == wanted
    assert (batch["labels"] != IGNORE).sum() == sum(label != IGNORE for _, labels in wanted for label in labels)
    if masked:
        starts, positions = batch["starts"], batch["position_ids"][0]
        assert (starts + positions).tolist() == list(range(120))


def test_rows_packed_in_order_stay_in_order(loaded, config, tmp_path):
    mixture = make_mixture(loaded[1], 60, order="raw_then_chat")
    kept = [n for n, (_, ids, _) in enumerate(rows_of(mixture)) if len(ids) <= 48]
    rows = [rows_of(mixture)[n] for n in kept]
    trainer = build_trainer(loaded[0], loaded[1], mixture.train.select(kept), config, tmp_path, "raw_then_chat")
    loader = list(trainer.get_train_dataloader())
    pad = loaded[1].pad_token_id
    found = [ids for batch in loader for ids, labels in documents(batch) if set(ids) != {pad}]
    assert [tuple(i for i in ids if i != pad) for ids in found] == [
        tuple(i for i in ids if i != pad) for _, ids, _ in rows
    ]
    assert 2 * len(loader) < len(rows) / 1.9, "it was not packed"
    sources = [source in RAW_SOURCES for source, *_ in rows]
    assert sources == sorted(sources, reverse=True) and len(set(sources)) == 2


# --- masks ------------------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_the_block_mask_is_that_of_all_pairs(lengths):
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    length = 640
    starts = torch.zeros(length, dtype=torch.int32)
    at = 0
    for part in [*lengths, length]:
        starts[at : at + part] = at
        at = min(at + part, length)
    ours = attention.block_mask(starts)
    dense = attention.documents_mask(starts)[0, 0]
    position = torch.arange(length)
    wanted = (position[:, None] >= position[None]) & (starts[:, None] == starts[None])
    assert torch.equal(dense, wanted)
    theirs = create_block_mask(
        lambda _b, _h, q, k: (q >= k) & (starts[q] == starts[k]), 1, 1, length, length, device="cpu"
    )
    assert torch.equal(ours.to_dense(), theirs.to_dense())
    for kind in ("kv", "full_kv"):
        number, chosen = (getattr(ours, f"{kind}_{part}")[0, 0] for part in ("num_blocks", "indices"))
        number_, chosen_ = (getattr(theirs, f"{kind}_{part}")[0, 0] for part in ("num_blocks", "indices"))
        assert torch.equal(number, number_), kind
        for row in range(len(number)):
            assert set(chosen[row, : number[row]].tolist()) == set(chosen_[row, : number[row]].tolist()), kind


# --- loss and adapter ---------------------------------------------------------------------------------------------


def test_the_loss_from_hidden_states_is_cross_entropy(monkeypatch):
    import torch

    monkeypatch.setattr("ftlib.training.cross_entropy.CHUNK_BYTES", 1)
    assert chunk_tokens(3000) == 64  # three chunks, the last one short
    torch.manual_seed(0)
    hidden = torch.randn(150, 16, requires_grad=True)
    head = torch.randn(3000, 16, requires_grad=True)
    labels = torch.randint(0, 100, (150,))
    labels[::3] = IGNORE
    items = torch.tensor(70.0)
    wanted = torch.nn.functional.cross_entropy(hidden @ head.t(), labels, ignore_index=IGNORE, reduction="sum") / items
    gradients = torch.autograd.grad(3 * wanted, (hidden, head))
    loss = linear_cross_entropy(hidden, head, labels, 1 / items)
    for ours, gradient in zip(torch.autograd.grad(3 * loss, (hidden, head)), gradients, strict=True):
        assert (ours - gradient).norm() < 1e-5 * gradient.norm()
    frozen = linear_cross_entropy(hidden, head.detach(), labels, 1 / items)
    (ours,) = torch.autograd.grad(3 * frozen, hidden)
    assert (ours - gradients[0]).norm() < 1e-5 * gradients[0].norm()
    assert loss.item() == frozen.item() == pytest.approx(wanted.item(), rel=1e-6)
    nothing = linear_cross_entropy(hidden, head, torch.full((150,), IGNORE), 1 / items)
    assert nothing.item() == 0 and torch.autograd.grad(nothing, hidden)[0].abs().max() == 0


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_layer_and_adapter_in_one_operation(bias, scale):
    import torch

    torch.manual_seed(0)
    x, weight = torch.randn(2, 5, 8, requires_grad=True), torch.randn(6, 8)
    a, b = torch.randn(3, 8, requires_grad=True), torch.randn(6, 3, requires_grad=True)
    shift = torch.randn(6) if bias else None
    wanted = torch.nn.functional.linear(x, weight, shift) + scale * (x @ a.t()) @ b.t()
    lora.register()
    found = lora.lora_linear(x, weight, shift, a, b, scale)
    assert torch.allclose(found, wanted, atol=1e-5)
    direction = torch.randn_like(wanted)
    for ours, theirs in zip(
        torch.autograd.grad(found, (x, a, b), direction),
        torch.autograd.grad(wanted, (x, a, b), direction),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-4)


def lora_layers(model) -> list:
    from peft.tuners.lora.layer import Linear

    return [module for module in model.modules() if isinstance(module, Linear)]


def test_an_adapter_that_is_off_is_off(loaded):
    """On and off the model answers as it does with PEFT's own layers."""
    import torch

    model, _ = loaded
    assert model.ftlib_path["fused_lora_layers"] == 2 * 7
    ids = torch.arange(5, 25)[None]
    with torch.inference_mode():
        on = model(input_ids=ids).logits
        with model.disable_adapter():
            off = model(input_ids=ids).logits
        for layer in lora_layers(model):
            layer.forward = MethodType(type(layer).forward, layer)  # PEFT's own
        peft_on = model(input_ids=ids).logits
        with model.disable_adapter():
            peft_off = model(input_ids=ids).logits
    assert lora.fuse(model) == 2 * 7
    assert torch.allclose(on, peft_on, atol=1e-4) and torch.allclose(off, peft_off, atol=1e-4)
    assert (on - off).abs().max() > 0.1


# --- a step -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [0, 1, -1])
@pytest.mark.parametrize("order", ["mixed", "raw_then_chat"])
def test_a_step_is_the_step_on_its_rows(config, loaded, mixture, tmp_path, order, layers):
    """Loss and gradients of a real step of two batches, against the rows one by one, each token weighing the same."""
    step_config = replace(config, gradient_accumulation_steps=2, max_steps=1, max_grad_norm=1e9, learning_rate=1e-12)
    # Two of these at least fit into a packed row.
    short = [number for number, (_, ids, _) in enumerate(rows_of(mixture)) if len(ids) <= 48]
    trainer = build_trainer(loaded[0], loaded[1], mixture.train.select(short), step_config, tmp_path, order)
    for number, layer in enumerate(loaded[0].get_base_model().model.layers):
        layer.gradient_checkpointing = layers < 0 or number < layers
    seen, gradients = real_step(trainer)
    checkpointed = []
    for layer in trainer.model.get_base_model().model.layers:
        checkpointed.append(layer.gradient_checkpointing)
        layer.gradient_checkpointing = False
    assert sum(checkpointed) == (2 if layers < 0 else layers)

    rows = [row for batch in seen for row in documents(batch)]
    assert any("starts" in batch for batch in seen) and len(rows) > 4
    check_step(trainer, rows, gradients)


def test_it_learns_what_plain_trl_learns(config, tmp_path):
    """The same settings, data and seed: the same losses, step by step."""

    def curve(backend: str) -> list[float]:
        settings = replace(config, backend=backend, learning_rate=2e-2, max_steps=8, seed=3)
        model, tokenizer = load_model(settings)
        assert model.ftlib_path["backend"] == backend
        mixture = make_mixture(tokenizer, 12)
        trainer = build_trainer(model, tokenizer, mixture.train, settings, tmp_path / backend)
        result = train(trainer, settings, tmp_path / backend)
        assert result["steps"] == 8
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    ours, theirs = curve("compiled"), curve("trl")
    assert ours == pytest.approx(theirs, rel=1e-4) and ours[-1] < ours[0] - 0.05


# --- what it does not take ------------------------------------------------------------------------------------------


def test_models_it_does_not_know_are_refused(config, tiny_model, tmp_path):
    from transformers import AutoConfig, GPT2Config, MistralConfig

    known = AutoConfig.from_pretrained(tiny_model)
    assert compiled.obstacle(known, 4096) == ""
    assert "gpt2" in compiled.obstacle(GPT2Config(), 64)
    assert "back 32 tokens" in compiled.obstacle(MistralConfig(sliding_window=32), 64)
    assert compiled.obstacle(MistralConfig(sliding_window=4096), 4096) == ""
    # As config.json has it: Qwen's name a window that they do not use.
    qwen = {"model_type": "qwen2", "sliding_window": 32}
    assert compiled.obstacle(SimpleNamespace(**qwen, use_sliding_window=False), 64) == ""
    assert "back 32 tokens" in compiled.obstacle(SimpleNamespace(**qwen, use_sliding_window=True), 64)
    GPT2Config().save_pretrained(tmp_path)
    with pytest.raises(SetupError, match=r"backend='compiled' can't train .*gpt2.*Set backend='unsloth'"):
        load_model(replace(config, model=str(tmp_path)))


@pytest.mark.parametrize("paged", [False, True])
def test_an_8_bit_step_waits_for_the_card_only_where_states_are_paged(monkeypatch, paged):
    """Of bitsandbytes, which needs a GPU, the shape alone: a step that waits after each weight."""
    module: Any = ModuleType("bitsandbytes.optim.optimizer")
    waited: list[int] = []
    module.sync_gpu = waited.append

    def step(self):
        for weight in range(3):
            module.sync_gpu(weight)

    optimizer = type("AdamW", (), {"__module__": module.__name__, "is_paged": paged, "step": step})()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "the default one")
    monkeypatch.setattr(torch.cuda, "default_stream", lambda: "the default one")
    compiled._without_waiting(optimizer)
    optimizer.step()
    assert waited == ([0, 1, 2] if paged else [])
    assert optimizer.step.__func__  # what a schedule wraps
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "another")
    optimizer.step()
    assert waited[-3:] == [0, 1, 2]  # on another stream, and whoever else steps: as it was
    assert module.sync_gpu.__self__ is waited


def test_training_mode_is_set_where_it_is_not_and_walked_for_once(config, tmp_path):
    model, tokenizer = load_model(config)
    trainer = build_trainer(model, tokenizer, make_mixture(tokenizer).train, config, tmp_path)
    walks: list[bool] = []
    inner = trainer.model.base_model
    usual = inner.train

    def walk(mode: bool = True) -> object:
        walks.append(mode)
        return usual(mode)

    inner.train = walk
    inner.eval()  # as PEFT leaves a model that was loaded: itself in training mode, its layers not
    assert trainer.model.training
    for _ in range(3):
        assert trainer.model.train() is trainer.model
    assert all(module.training for module in trainer.model.modules()) and walks == [False, True]
    trainer.model.eval()
    assert not any(module.training for module in trainer.model.modules())
    trainer.model.train()
    assert all(module.training for module in trainer.model.modules()) and walks == [False, True, False, True]
