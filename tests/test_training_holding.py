"""Rows on which the model is held to its base: the loss there is KL(base || tuned), elsewhere cross-entropy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import in_a_process_of_its_own
from test_packing import CONFIG, load_strong

from ftlib.train import build_trainer, load_model, train
from ftlib.training import holding
from ftlib.training.batches import IGNORE
from ftlib.training.cross_entropy import Hold, linear_cross_entropy
from ftlib.workspace import read_json, write_json

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS: list[dict[str, Any]] = [
    {"input_ids": [9, 3, 4, 5, 6], "labels": [IGNORE, IGNORE, 4, 5, 6], "source": "page_qa"},
    {"input_ids": [9, 30, 31, 32, 33, 34], "labels": [IGNORE, IGNORE, 31, 32, 33, 34], "source": "replay"},
    {"input_ids": [9, 40, 41, 42], "labels": [9, 40, 41, 42], "source": "code"},
    {"input_ids": [9, 50, 51], "labels": [IGNORE, IGNORE, 51], "source": "general"},
    {"input_ids": [9, 60, 61, 62, 63, 64, 65], "labels": [9, 60, 61, 62, 63, 64, 65], "source": "wiki"},
    {"input_ids": [9, 70, 71], "labels": [IGNORE, 70, 71], "source": "replay"},
]


@pytest.fixture
def config(tiny_model):
    return replace(CONFIG, model=str(tiny_model), backend="compiled", max_length=64, max_grad_norm=1e9)


def kl(base: torch.Tensor, tuned: torch.Tensor) -> torch.Tensor:
    """KL(base || tuned) of two rows of logits, summed."""
    return torch.nn.functional.kl_div(tuned.log_softmax(-1), base.log_softmax(-1), reduction="sum", log_target=True)


def test_loss_and_gradients_are_autograd_s(monkeypatch):
    monkeypatch.setattr("ftlib.training.cross_entropy.CHUNK_BYTES", 1)
    torch.manual_seed(0)
    hidden, of_base = torch.randn(150, 16, requires_grad=True), torch.randn(150, 16)
    head, base_head = torch.randn(300, 16, requires_grad=True), torch.randn(300, 16)
    labels, held = torch.randint(0, 300, (150,)), torch.rand(150) < 0.5
    labels[::3] = IGNORE
    likelihoods = torch.nn.functional.cross_entropy(hidden @ head.t(), labels, ignore_index=IGNORE, reduction="none")
    distances = (hidden @ head.t()).log_softmax(-1)
    distances = torch.nn.functional.kl_div(
        distances, (of_base @ base_head.t()).log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)
    wanted = (likelihoods * ~held + 0.3 * distances * held * (labels != IGNORE)).sum() / 70
    gradients = torch.autograd.grad(3 * wanted, (hidden, head))
    loss = linear_cross_entropy(hidden, head, labels, torch.tensor(1 / 70), Hold(of_base, base_head, held, 0.3))
    for ours, gradient in zip(torch.autograd.grad(3 * loss, (hidden, head)), gradients, strict=True):
        assert (ours - gradient).norm() < 1e-5 * gradient.norm()
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.5])
@pytest.mark.parametrize(
    ("backend", "packing", "order"),
    [("compiled", True, "mixed"), ("compiled", True, "raw_then_chat"), ("trl", True, "mixed"), ("trl", False, "mixed")],
)
def test_a_step_is_that_of_its_rows(config, tmp_path, backend, packing, order, strength):
    config = replace(config, backend=backend, packing=packing, hold_strength=strength)
    loss, wanted = compared_step(config, tmp_path, order)
    assert loss == pytest.approx(wanted, rel=1e-4)


def test_a_step_of_unsloth_without_a_gpu_is_that_of_its_rows(tiny_model, tmp_path):
    """It patches transformers for the whole process, so it runs in one of its own."""
    code = "import sys, test_training_holding as t; t.unsloth_step(*sys.argv[1:])"
    in_a_process_of_its_own(code, tmp_path, str(tiny_model), str(tmp_path))
    loss, wanted = read_json(tmp_path / "losses.json")
    assert loss == pytest.approx(wanted, rel=1e-4)


def unsloth_step(model: str, folder: str) -> None:
    config = replace(CONFIG, model=model, backend="unsloth", packing=False, max_length=64, hold_strength=2.5)
    write_json(Path(folder) / "losses.json", compared_step(config, Path(folder), "mixed"))


def compared_step(config, folder, order) -> tuple[float, float]:
    """The losses of a step on all of ROWS, and of its rows one by one; their gradients are the same."""
    model, tokenizer = load_strong(config)
    strength = config.hold_strength
    config = replace(config, max_steps=1, per_device_train_batch_size=1 if config.packing else len(ROWS))
    trainer = build_trainer(model, tokenizer, ROWS, config, folder, order)
    batch = next(iter(trainer.get_train_dataloader()))
    items = (batch["labels"][:, 1:] != IGNORE).sum()
    assert items == sum(label != IGNORE for row in ROWS for label in row["labels"][1:])
    loss = trainer.compute_loss(model, dict(batch), num_items_in_batch=items)
    loss.backward()
    found = [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]
    model.zero_grad()
    wanted = 0.0
    for row in ROWS:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"][1:])
        logits = model(input_ids=ids).logits[0, :-1]
        if row["source"] == "replay" and strength:
            with torch.no_grad(), model.disable_adapter():
                base = model(input_ids=ids).logits[0, :-1]
            wanted += strength * kl(base[labels != IGNORE], logits[labels != IGNORE])
        else:
            wanted += torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    (wanted / items).backward()
    gradients = [weight.grad for weight in model.parameters() if weight.requires_grad]
    assert len(found) == len(gradients) and sum(gradient.abs().sum() for gradient in gradients) > 0.01
    for ours, gradient in zip(found, gradients, strict=True):
        assert (ours - gradient).norm() <= 1e-3 * gradient.norm() + 1e-6
    return loss.item(), (wanted / items).item()


@pytest.mark.parametrize(
    ("backend", "method"), [("compiled", "lora"), ("compiled", "full"), ("trl", "lora"), ("trl", "full")]
)
def test_held_rows_keep_the_base_s_distribution(config, tmp_path, backend, method):
    """Trained on the same rows, the model stays nearer to its base where it is held to it."""
    held_to = torch.tensor([ROWS[1]["input_ids"]])
    distances = {}
    for strength in (0.0, 4.0):
        settings = replace(
            config,
            backend=backend,
            method=method,
            hold_strength=strength,
            max_steps=12,
            learning_rate=1e-2,
            save_steps=0,
            lora_r=8,
        )
        model, tokenizer = load_model(settings)
        trainer = build_trainer(model, tokenizer, ROWS, settings, tmp_path / f"{strength}")
        train(trainer, settings, tmp_path / f"{strength}")
        model.eval()
        with torch.no_grad():
            tuned = model(input_ids=held_to).logits[0]
            with model.disable_adapter():
                base = model(input_ids=held_to).logits[0]
        distances[strength] = kl(base[1:-1], tuned[1:-1]).item()
    assert distances[4.0] < 0.5 * distances[0.0]


def test_only_labels_of_replayed_rows_are_marked():
    from datasets import Dataset

    assert not holding.any_held(Dataset.from_list([ROWS[0], ROWS[2]]))
    rows = Dataset.from_list(ROWS)
    assert holding.any_held(rows)
    marked = holding.mark(rows)
    for row, before in zip(marked, ROWS, strict=True):
        held = before["source"] == "replay"
        assert row["labels"] == [n + holding.HELD if held and n != IGNORE else n for n in before["labels"]]
        assert row["input_ids"] == before["input_ids"]


def test_the_adapter_is_on_again_behind_the_base(config):
    model, _ = load_strong(config)
    ids, base = torch.arange(5, 25)[None], holding.base_context(model)
    with torch.no_grad():
        on = model(input_ids=ids).logits
        with model.disable_adapter():
            off = model(input_ids=ids).logits
        with pytest.raises(ZeroDivisionError), base():
            inside = model(input_ids=ids).logits
            raise ZeroDivisionError
        assert torch.equal(inside, off) and torch.equal(model(input_ids=ids).logits, on) and not torch.equal(on, off)


@pytest.mark.parametrize(
    ("backend", "precision", "on_gpu", "can"),
    [
        ("compiled", "bf16", True, True),
        ("trl", "bf16", True, True),
        ("unsloth", "bf16", True, False),
        ("unsloth", "bf16", False, True),
        ("trl", "fp16", True, False),
        ("trl", "fp32", False, True),
    ],
)
def test_where_rows_are_held(backend, precision, on_gpu, can):
    from datasets import Dataset

    config, rows = replace(CONFIG, precision=precision), Dataset.from_list(ROWS)
    assert holding.is_held(rows, config, backend, on_gpu) == can
    assert not holding.is_held(rows, replace(config, hold_strength=0.0), backend, on_gpu)
    assert not holding.is_held(rows.select([0, 2]), config, backend, on_gpu)
