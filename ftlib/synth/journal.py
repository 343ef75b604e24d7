"""Every response of an API, on disk before it is looked at: what was paid for once is never asked for again.

`responses.jsonl` is only ever appended to, one line a response, under a key that stands for all that the answer depends
on. A run that is killed in mid-write leaves half a line, which the next run ends and ignores.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ftlib.errors import Busy, SetupError

Response = dict[str, Any]


class Journal:
    """The responses by key; only their places are held in memory. Use as a context: one process writes at a time."""

    def __init__(self, path: Path):
        self.path = path
        self._places: dict[str, int] = {}

    def __enter__(self) -> Journal:
        self._file = self.path.open("a+b")
        try:
            _lock(self._file, self.path)
        except SetupError:
            self._file.close()
            raise
        self._file.seek(0)
        place, whole = 0, True
        for line in self._file:
            whole = line.endswith(b"\n")
            with suppress(ValueError, KeyError, TypeError):  # torn by a kill, or no row of ours
                self._places[json.loads(line)["key"]] = place
            place += len(line)
        if not whole:
            self._file.write(b"\n")
            self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __getitem__(self, key: str) -> Response:
        self._file.seek(self._places[key])
        return json.loads(self._file.readline())

    def get(self, key: str) -> Response | None:
        return None if key not in self._places else self[key]

    def append(self, key: str, response: Response) -> None:
        """Write a response; it is on disk when this returns."""
        self.extend({key: response})

    def extend(self, responses: Mapping[str, Response]) -> None:
        """Write several; they are on disk when this returns, which takes as long as one."""
        place = self._file.seek(0, os.SEEK_END)
        places = {}
        for key, response in responses.items():
            line = json.dumps({"key": key, **response}, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
            self._file.write(line)
            places[key] = place
            place += len(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._places |= places


def _lock(file: Any, path: Path) -> None:
    """Keep a second run out, which would ask for the same things at the same time."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Busy(
            f"Another run is writing {path} at this moment. Wait for it, or stop it: two would pay for the same thing."
        ) from error
    except OSError:
        pass  # a file system without locks, as Drive on Colab
