"""Two losses apart, chat and raw, each a sum over all its tokens, from before the first step on; and a third beside.

A mean of batch means depends on the batch: the same model and data gave 1.57 at batch 1 and 0.90 in one batch. Here the
losses of all labels are summed, and divided once. The third, on general answers that no run trains on, is a first look
at forgetting: where it rises, something is lost. Where it falls, the model has learned to answer as shortly as they do,
which says nothing of what it still knows: that is 04_eval's to find out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ftlib import chat, inference
from ftlib.general_items import general_items
from ftlib.training.batches import fixed_shape, packs

if TYPE_CHECKING:
    from ftlib.mixture import Mixture
    from ftlib.progress import TokenCount
    from ftlib.settings import TrainConfig

# Those that take no parser, and of them as many as a pass between two steps has time for.
GENERAL, EVERY = ("knowledge", "format", "python"), 8

Groups = dict[str, list[Mapping[str, Any]]]


def groups(mixture: Mixture, tokenizer: Any, config: TrainConfig) -> Groups:
    """The rows of each loss: held-out chats, held-out raw text, general answers; each up to `config.eval_tokens`.

    Raw rows carry loss on all tokens, chats as the mixture has it, general ones on the answer.
    """
    asked = (
        (one["id"], [{"role": "user", "content": one["prompt"]}, {"role": "assistant", "content": one["reference"]}], 0)
        for one in general_items(GENERAL)[::EVERY]
    )
    fitted = chat.fitted_chats(
        tokenizer, asked, max_length=config.max_length, loss_on="assistant", overflow="drop", system="merge"
    )
    found = inference.held_out(mixture.validation, config.eval_tokens)
    found["general"] = inference.capped((row for *_, row, _ in fitted if row is not None), config.eval_tokens)
    return {name: rows for name, rows in found.items() if rows}


def measure(model: Any, rows: Groups, config: TrainConfig, pad_token_id: int) -> dict[str, dict[str, float]]:
    """By group: loss (nats a token) and tokens (labels counted); the model's mode is left as it was."""
    training = model.training
    model.eval()
    try:
        packed = model.ftlib_path["backend"] == "compiled"
        sums = {
            name: _packed_loss(model, group, config, pad_token_id)
            if packed
            else inference.token_loss(model, group, pad_token_id)
            for name, group in rows.items()
        }
    finally:
        model.train(training)
    return {name: {"loss": found["loss"], "tokens": found["tokens"]} for name, found in sums.items() if found["tokens"]}


def _packed_loss(
    model: Any, rows: Sequence[Mapping[str, Any]], config: TrainConfig, pad_token_id: int
) -> dict[str, Any]:
    """As `inference.token_loss`, in sequences of the one shape that is compiled."""
    import torch

    causal = model.get_base_model()
    device = next(causal.parameters()).device
    one = torch.ones((), device=device)
    total, counted = 0.0, 0
    for pack in packs(rows, config.max_length):
        batch = fixed_shape([pack], config.max_length, 1, pad_token_id)
        counted += int((batch["labels"] != chat.IGNORE).sum())
        with torch.no_grad():
            total += float(causal(**{name: value.to(device) for name, value in batch.items()}, items=one)["loss"])
    return {"nll": total, "tokens": counted, "loss": total / counted if counted else None}


def follow(
    trainer: Any, rows: Groups, config: TrainConfig, count: TokenCount, shown: Callable[[Any], None] | None = None
) -> None:
    """Measure before the first step and every `config.eval_steps`, into the trainer's history, which checkpoints keep.

    Args:
        count: gets the seconds that it took.
        shown: is called with the trainer's state after each measurement, to draw it.
    """
    from transformers import TrainerCallback

    pad = trainer.processing_class.pad_token_id

    def note(state: Any) -> None:
        if any("validation" in entry and entry["step"] == state.global_step for entry in state.log_history):
            return
        began = time.perf_counter()
        losses = measure(trainer.model, rows, config, pad)
        count.paused += time.perf_counter() - began
        state.log_history.append({"step": state.global_step, "validation": losses})
        if shown:
            shown(state)

    class Follow(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                note(state)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero and config.eval_steps and state.global_step % config.eval_steps == 0:
                note(state)

    trainer.add_callback(Follow())
