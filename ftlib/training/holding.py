"""Rows on which the model is held to its base: a token's loss is the distance to all that the base would say there.

Against forgetting, on chats that the base itself wrote (`ftlib.replay`). The distance is KL(base || tuned) over the
whole vocabulary (learning without forgetting, Li and Hoiem 2016, arXiv:1606.09282; there on the new task's inputs): one
token says as much as many sampled ones, so few chats do, and what they happen to say need not be learnt by heart.

The base is the model with its adapter off: it is computed along, without gradients. That is some two fifths more work
with LoRA, a third where all weights are trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ftlib.chunking import IGNORE

if TYPE_CHECKING:
    from ftlib.settings import TrainConfig

SOURCE = "replay"
HELD = 2**24
"""Added to a label of such a row, since nothing else of a row survives TRL's packing; beyond every vocabulary."""


def any_held(rows: Any) -> bool:
    """Whether a data set has rows of SOURCE."""
    return "source" in rows.column_names and SOURCE in set(rows["source"])


def is_held(rows: Any, config: TrainConfig, backend: str) -> bool:
    """Whether a run of these settings holds any of the rows to its base: the compiled backend alone can."""
    return bool(config.hold_strength) and backend == "compiled" and any_held(rows)


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
