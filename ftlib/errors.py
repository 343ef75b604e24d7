"""The exceptions of ftlib: something the user can put right, said in one message."""

from __future__ import annotations

from typing import Any


class SetupError(Exception):
    """A wrong input, setting or order of steps. The message names it and the way out.

    In a notebook only the message is shown, since the traceback leads into ftlib and not to the mistake.
    """

    exit_code = 2

    def _render_traceback_(self) -> list[str]:
        # IPython's hook for an exception that renders itself.
        return [f"{type(self).__name__}: {self}"]


class OutOfMemory(SetupError):
    """Training does not fit the card."""

    exit_code = 3

    def __init__(self, message: str, smaller: Any = None) -> None:
        """smaller: the TrainConfig to try next; None where there is none."""
        super().__init__(message)
        self.smaller = smaller


class LossIsNaN(SetupError):
    """The loss is not a number any more, and the adapter neither."""

    exit_code = 4


class Busy(SetupError):
    """Another process has the file at this moment; later it may be free."""
