"""Progress lines, and the count of what the trainer really saw."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
    """Real tokens of the batches that were trained on, padding left out."""

    tokens: int = 0


def count_tokens_by_step(trainer: Any) -> TokenCount:
    """Count a batch when a step takes it: the loader collates one ahead, and `max_steps` may end before its turn."""
    collate, step = trainer.data_collator, trainer.training_step
    waiting: deque[int] = deque()
    count = TokenCount()

    def collating(features: list[dict[str, Any]]) -> Any:
        waiting.append(sum(len(feature["input_ids"]) for feature in features))
        return collate(features)

    def stepping(*args: Any, **more: Any) -> Any:
        count.tokens += waiting.popleft()
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
                    f"loss {logs['loss']:.3f}, {count.tokens / elapsed:,.0f} tokens/s", refresh=False
                )

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.bar.close()

    for callback in list(trainer.callback_handler.callbacks):
        # By name: the notebook's own display can't be imported where IPython is missing.
        if isinstance(callback, (PrinterCallback, ProgressCallback)) or "Notebook" in type(callback).__name__:
            trainer.remove_callback(callback)
    trainer.add_callback(Bar())
