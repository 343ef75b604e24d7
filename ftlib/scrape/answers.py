"""What GitHub has answered, on disk before it is used: a second run asks for nothing that it has.

A JSONL file of `{"key": ..., "value": ...}`, appended to and read again at the start, so that a run may be killed at
any moment. Lists are kept for the run that asked for them; the threads that they name are kept for good, under a key
that holds the time of their last change. Secrets are taken out before a row is written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftlib.scrape.redaction import redact
from ftlib.workspace import write_jsonl

LIST_HOURS = 24
"""A list of an unfinished run that is older than this is asked for again."""


class Answers:
    """A dictionary of JSON values that outlives the process; `reused` counts the answers that were here already."""

    def __init__(self, path: Path):
        self._path = path
        self._rows: dict[str, dict[str, Any]] = {}
        self._old: set[str] = set()
        self.reused = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.is_file() else b""
        whole = data[: data.rfind(b"\n") + 1]  # a kill may have cut the last row
        for line in whole.splitlines():
            try:
                row = json.loads(line)
                self._rows[row["key"]] = row
            except (ValueError, KeyError, TypeError):  # a disk that filled up, a second process: ask again
                continue
        if len(whole) < len(data):
            os.truncate(path, len(whole))
        deadline = time.time() - LIST_HOURS * 3600
        self._rows = {key: row for key, row in self._rows.items() if not _is_list(key) or row["at"] > deadline}
        self._old = set(self._rows)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def get(self, key: str, ask: Callable[[], Any]) -> Any:
        """The value of `key`; `ask` is called for it when it is not here."""
        if key not in self._rows:
            self.put(key, ask())
        return self[key]

    def __getitem__(self, key: str) -> Any:
        if key in self._old:
            self._old.discard(key)
            self.reused += 1
        return json.loads(json.dumps(self._rows[key]["value"]))  # the caller may change what it gets

    def put(self, key: str, value: Any) -> None:
        row = {"key": key, "at": int(time.time()), "value": _clean(value)}
        with self._path.open("a", encoding="utf-8", newline="\n") as out:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())
        self._rows[key] = row

    def finish(self) -> None:
        """Forget the lists: the next run asks what has changed."""
        self._rows = {key: row for key, row in self._rows.items() if not _is_list(key)}
        write_jsonl(self._path, self._rows.values())


def _is_list(key: str) -> bool:
    return key.startswith("list ")


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)[0]
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return {key: _clean(item) for key, item in value.items()} if isinstance(value, dict) else value
