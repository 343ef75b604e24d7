"""Progress lines, and the count of what the trainer really saw."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


def bar(total: int, unit: str, what: str) -> Any:
    """A text progress bar on stderr; the same in a terminal, in Colab and in an executed notebook.

    (`tqdm.auto` would take a widget, which leaves nothing behind in a notebook that is executed by a program.)
    """
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, desc=what, file=sys.stderr, mininterval=1.0, dynamic_ncols=False, ncols=100)


def counted(items: Iterable[Any], what: str) -> Iterator[Any]:
    """Yield `items` under a bar that shows how many there were; none for what takes less than a second."""
    from tqdm import tqdm

    yield from tqdm(items, desc=what, unit="", file=sys.stderr, delay=1.0, mininterval=1.0, unit_scale=True)


@dataclass
class TokenCount:
    """Real tokens of the batches that were trained on, padding left out; and what the last batches were made of."""

    tokens: int = 0
    """Of this process."""
    everywhere: int = 0
    """Of all processes that share the run, when the loss was looked at last."""
    paused: float = 0.0
    """Seconds in which nothing was trained: measurements."""
    recent: deque[list[dict[str, Any]]] = field(default_factory=deque)


def count_tokens_by_step(trainer: Any) -> TokenCount:
    """Count a batch when a step takes it: the loader collates one ahead, and `max_steps` may end before its turn."""
    collate, step = trainer.data_collator, trainer.training_step
    waiting: deque[list[dict[str, Any]]] = deque()
    count = TokenCount(recent=deque(maxlen=trainer.args.logging_steps * trainer.args.gradient_accumulation_steps))

    def collating(features: list[dict[str, Any]]) -> Any:
        waiting.append(features)
        return collate(features)

    def stepping(*args: Any, **more: Any) -> Any:
        features = waiting.popleft()
        count.tokens += sum(len(feature["input_ids"]) for feature in features)
        count.recent.append(features)
        return step(*args, **more)

    trainer.data_collator, trainer.training_step = collating, stepping
    return count


def show_training(trainer: Any, count: TokenCount) -> None:
    """Put one text bar (steps, loss, tokens/s) in place of the trainer's own displays."""
    from transformers import TrainerCallback
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    class Bar(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar = bar(state.max_steps, "step", "training")
            self.bar.update(state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.update(state.global_step - self.bar.n)

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            if logs and "loss" in logs:
                elapsed = self.bar.format_dict["elapsed"] or 1.0
                self.bar.set_postfix_str(
                    f"loss {logs['loss']:.3f}, {count.everywhere / elapsed:,.0f} tokens/s", refresh=False
                )

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    for callback in list(trainer.callback_handler.callbacks):
        # By name: the notebook's own display can't be imported where IPython is missing.
        if isinstance(callback, (PrinterCallback, ProgressCallback)) or "Notebook" in type(callback).__name__:
            trainer.remove_callback(callback)
    trainer.add_callback(Bar())


def note_totals(trainer: Any, count: TokenCount) -> None:
    """Write tokens (of all processes) and seconds of the whole run so far into each entry of the trainer's history.

    Checkpoints hold the history, so that the totals go on with an interrupted run.
    """
    from accelerate.utils import gather_object
    from transformers import TrainerCallback

    class Totals(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            before: dict[str, Any] = next((entry for entry in reversed(state.log_history) if "tokens" in entry), {})
            self.tokens, self.seconds = before.get("tokens", 0), before.get("seconds", 0.0)
            self.began = time.perf_counter() - count.paused

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # Where not every step is looked at, the last ones count too.
            control.should_log |= state.global_step >= state.max_steps

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" in (logs or {}):
                elapsed = round(self.seconds + time.perf_counter() - self.began - count.paused, 3)
                # Each process is here at the same step: the trainer has just gathered the loss.
                count.everywhere = sum(gather_object([count.tokens]))
                state.log_history[-1] |= {"tokens": self.tokens + count.everywhere, "seconds": elapsed}

    trainer.add_callback(Totals())


def curves(log_history: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A trainer's history as training steps (loss, learning_rate, ...) and measurements (step, validation)."""
    return [entry for entry in log_history if "loss" in entry], [e for e in log_history if "validation" in e]


def live_plot(every: float = 10.0) -> Callable[[Any], None] | None:
    """In a notebook, what draws a trainer's losses so far, in one picture that it replaces; elsewhere None.

    Args:
        every: seconds between two pictures, at least.
    """
    try:
        from IPython import get_ipython  # type: ignore[attr-defined]
    except ImportError:
        return None
    shell = get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import Image, display

    from ftlib import plots, report

    handle: Any = None
    last = 0.0

    def draw(state: Any) -> None:
        nonlocal handle, last
        steps, measured = curves(state.log_history)
        if not steps or time.monotonic() - last < every:
            return
        last = time.monotonic()
        picture = Image(report.png(plots.loss_curve(steps, measured)))
        if handle is None:
            handle = display(picture, display_id=True)
        else:
            handle.update(picture)

    return draw
