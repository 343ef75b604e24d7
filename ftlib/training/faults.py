"""What goes wrong in the middle of a run: a loss that is no number, a card that is full."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlib.errors import LossIsNaN, OutOfMemory, SetupError
from ftlib.rows import arrays
from ftlib.training import planner

if TYPE_CHECKING:
    from ftlib.runtime import Accelerator
    from ftlib.settings import TrainConfig

NAMED = 10  # documents in a message, at most


def stop_at_nan(trainer: Any, recent: Iterable[Sequence[Mapping[str, Any]]], rows: Any, folder: Path) -> None:
    """Stop when the loss or the gradient's norm is no number, before such weights are saved.

    Args:
        recent: the features of the batches since the loss was looked at last.
        rows: the mixture's rows, for the names of the documents in them; or None.
        folder: the run's, whose checkpoints stay.
    """
    from accelerate.utils import gather_object
    from transformers import TrainerCallback
    from transformers.trainer_utils import get_last_checkpoint

    class StopAtNaN(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # The loss is looked at before it is too late.
            control.should_log |= control.should_save

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            numbers = [float(logs[name]) for name in ("loss", "grad_norm") if name in (logs or {})]
            if all(math.isfinite(number) for number in numbers):
                return
            # In fp16 a gradient out of range is no fault: the scaler skips the step and takes half the scale, which
            # starts at 65,536. Below 1 it is the gradient itself that fp16 can't hold.
            scaler = trainer.accelerator.scaler
            if scaler is not None and math.isfinite(float(logs.get("loss", 0.0))) and scaler.get_scale() >= 1:
                return
            last = get_last_checkpoint(str(folder / "checkpoints"))
            # All processes are here: the loss is the mean of theirs.
            names = list(dict.fromkeys(gather_object(_names(recent, rows))))
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            held = ", ".join(names[:NAMED]) + more if names else "rows whose documents are not known"
            kept = f"The last good checkpoint is {last}." if last else "There is no checkpoint yet."
            raise LossIsNaN(
                f"The loss or its gradient became {logs.get('loss')} / {logs.get('grad_norm')} at step "
                f"{state.global_step}; training has stopped. {kept} The batch held: {held}. Look at "
                "these texts, and try a lower learning_rate, warmup_steps, or precision='fp32'."
            )

    trainer.add_callback(StopAtNaN())


def _names(recent: Iterable[Sequence[Mapping[str, Any]]], rows: Any) -> list[str]:
    """The documents of some batches, found again by their tokens."""
    import numpy as np

    wanted = set()
    for features in recent:
        for feature in features:
            ids = np.asarray(feature["input_ids"], dtype=np.int64)
            ends = np.cumsum(feature.get("seq_lengths", [len(ids)]))
            wanted |= {part.tobytes() for part in np.split(ids, ends[:-1])}
    found: dict[str, None] = {}
    for row in () if rows is None else arrays(rows):
        if np.asarray(row["input_ids"], dtype=np.int64).tobytes() in wanted:
            found[str(row.get("document_id") or row["source"])] = None
    return list(found)


def out_of_memory(config: TrainConfig, machine: Accelerator) -> OutOfMemory:
    """The error for a card that is full, with the planner's next smaller settings."""
    lora = "method='lora', " if config.method == "full" else ""
    way_out = f"There is no smaller setting: take {lora}a smaller model or another card."
    smaller, sentence = planner.smaller(config, machine) or (None, "")
    if smaller is not None:
        before = asdict(config)
        differs = ", ".join(f"{name}={value!r}" for name, value in asdict(smaller).items() if value != before[name])
        way_out = (
            f"{sentence} Set {differs} and call load_model again; restart the runtime first if memory stays taken."
        )
    told = f"{machine.name} ({machine.memory_gib:.0f} GiB) is full. {way_out} Checkpoints are kept."
    return OutOfMemory(told, smaller)


def compiler_error(error: Exception) -> SetupError | None:
    """The error for a compiler that failed (no C compiler, say); None for any other."""
    if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor", "triton")):
        return None
    said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return SetupError(f"The compiled blocks could not be compiled here: {said} Set backend='unsloth' or 'trl'.")


def free_memory() -> None:
    """Give back what a trainer that is gone held of the card."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
