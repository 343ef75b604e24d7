"""Rows on which the model is held to its base: a token's loss is the distance to all that the base would say there.

Against forgetting, on chats that the base itself wrote (`ftlib.replay`). The distance is KL(base || tuned) over the
whole vocabulary (learning without forgetting, Li and Hoiem 2016, arXiv:1606.09282; there on the new task's inputs): one
token says as much as many sampled ones, so few chats do, and what they happen to say need not be learnt by heart.

The base is the model with its adapter off: it is computed along, without gradients. That is some two fifths more work
with LoRA, a third where all weights are trained; where rows are not packed, for the rows in question alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ftlib.chunking import IGNORE
from ftlib.training.cross_entropy import Hold, from_forward, linear_cross_entropy

if TYPE_CHECKING:
    from ftlib.settings import TrainConfig

SOURCE = "replay"
HELD = 2**24
"""Added to a label of such a row, since nothing else of a row survives TRL's packing; beyond every vocabulary."""


def any_held(rows: Any) -> bool:
    """Whether a data set has rows of SOURCE."""
    return "source" in rows.column_names and SOURCE in set(rows["source"])


def can_hold(config: TrainConfig, backend: str, on_gpu: bool) -> bool:
    """Whether a run can hold rows to its base.

    On a GPU Unsloth has a forward and a loss of its own, which nobody has held to anything here; in fp16 the gradients,
    which are made along with the loss, would be so before it is scaled.
    """
    return config.precision != "fp16" and (backend != "unsloth" or not on_gpu)


def is_held(rows: Any, config: TrainConfig, backend: str, on_gpu: bool) -> bool:
    """Whether a run of these settings holds any of the rows to its base."""
    return bool(config.hold_strength) and can_hold(config, backend, on_gpu) and any_held(rows)


def mark(rows: Any) -> Any:
    """A data set of input_ids, labels and source, with the labels of SOURCE's rows marked."""
    import numpy as np

    def marked(batch: dict[str, Any]) -> dict[str, Any]:
        return {
            "labels": [
                np.where(np.asarray(labels) == IGNORE, IGNORE, np.asarray(labels) + HELD).tolist()
                if source == SOURCE
                else labels
                for labels, source in zip(batch["labels"], batch["source"], strict=True)
            ]
        }

    return rows.map(marked, batched=True, features=rows.features)


def base_context(model: Any) -> Callable[[], Any]:
    """A context in which a PEFT model computes its base.

    PEFT's own `disable_adapter` walks through all modules and turns their gradients off, a matter of 30 ms a step.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    tuned = [module for module in model.modules() if isinstance(module, (BaseTunerLayer, ModulesToSaveWrapper))]

    @contextmanager
    def base() -> Iterator[None]:
        try:
            for module in tuned:
                module._disable_adapters = True
            yield
        finally:
            for module in tuned:
                module._disable_adapters = False

    return base


def attach(trainer: Any, strength: float) -> None:
    """Have a trainer of plain batches hold marked labels to the base (for compiled ones: `compiled.attach`)."""
    causal, base = trainer.model.get_base_model(), base_context(trainer.model)
    usual = causal.forward

    def forward(*args: Any, items: Any = None, **inputs: Any) -> Any:
        return usual(*args, **inputs) if items is None else {"loss": held_loss(causal, base, inputs, items, strength)}

    causal.forward = forward
    from_forward(trainer)


def held_loss(causal: Any, base: Callable[[], Any], inputs: dict[str, Any], items: Any, strength: float) -> Any:
    """Sum of a batch's losses over `items`, the number of labels of the whole step.

    Args:
        base: `base_context` of the model.
        inputs: input_ids, labels (marked), and what else a forward takes, each [rows, tokens].
    """
    import torch

    labels = torch.nn.functional.pad(inputs["labels"][:, 1:], (0, 1), value=IGNORE)
    names = ("input_ids", "attention_mask", "position_ids")
    read = {name: inputs[name] for name in names if inputs.get(name) is not None}
    counted = labels != IGNORE
    following = labels[counted]
    marked = following >= HELD
    held = None
    if marked.any():
        rows = (labels >= HELD).any(1)
        with torch.no_grad(), base():
            found = causal.model(**{name: value[rows] for name, value in read.items()}, use_cache=False)
            base_head = causal.lm_head.weight
            # Of other rows there is nothing to know: their tokens are not held.
            of_base = found.last_hidden_state.new_zeros((*labels.shape, found.last_hidden_state.shape[-1]))
            of_base[rows] = found.last_hidden_state
        held = Hold(of_base[counted], base_head, marked, strength)
    hidden = causal.model(**read, use_cache=False).last_hidden_state[counted]
    following = torch.where(marked, following - HELD, following)
    return linear_cross_entropy(hidden, causal.lm_head.weight, following, 1.0 / items, held)
