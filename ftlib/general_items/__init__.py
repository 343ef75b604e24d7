"""General items: what a fine-tuned model may have forgotten, asked plainly and checked without a judge.

    items = general_items()
    results = check_all(items, answers)      # [{"correct": True, "why": ""}, ...]

`items.jsonl` was written for ftlib (CC0) and has nothing of any code base in it: knowledge (keywords on word
boundaries), format (instructions that a function can check), python (the code is run against calls) and typescript (the
code is parsed). A row holds id, kind, level (easy, medium, hard), prompt, reference (an answer that passes) and check.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ftlib.errors import SetupError
from ftlib.general_items import code, format_checks, typescript
from ftlib.metrics import has_keywords

KINDS = ("knowledge", "format", "python", "typescript")
LEVELS = ("easy", "medium", "hard")

_ITEMS = Path(__file__).parent / "items.jsonl"


def general_items(kinds: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """The items, in the order of the file; typescript only where its parser is installed, with a note where not.

    Args:
        kinds: some of KINDS; None for all.

    Raises:
        SetupError: an unknown kind.
    """
    wanted = set(KINDS if kinds is None else kinds)
    if unknown := wanted - set(KINDS):
        raise SetupError(f"General items of kind {', '.join(sorted(unknown))} are unknown: use {', '.join(KINDS)}.")
    if "typescript" in wanted and not typescript.can_parse():
        print("typescript: left out, pip install 'ftlib[eval]'")
        wanted.remove("typescript")
    rows = map(json.loads, _ITEMS.read_text(encoding="utf-8").splitlines())
    return [row for row in rows if row["kind"] in wanted]


def check(item: Mapping[str, Any], answer: str) -> dict[str, Any]:
    """Whether an answer to an item is right.

    Returns:
        correct, and why: what was found wrong, empty where nothing was.

    Raises:
        SetupError: a typescript item without its parser.
    """
    rules = item["check"]
    if item["kind"] == "knowledge":
        missing = [keyword for keyword in rules["keywords"] if not has_keywords(answer, [keyword])]
        why = f"not in the answer: {', '.join(missing)}" if missing else ""
    elif item["kind"] == "format":
        why = format_checks.broken_rule(rules["rules"], answer)
    elif item["kind"] == "python":
        why = code.python_fault(answer, rules["name"], rules["asserts"])
    else:
        why = typescript.fault(answer, rules["declares"])
    return {"correct": not why, "why": why}


def check_all(items: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> list[dict[str, Any]]:
    """`check` of every item and its answer, in their order; the processes of python items run side by side."""
    if len(items) != len(answers):
        raise ValueError(f"{len(items)} items, but {len(answers)} answers")
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(check, items, answers))
