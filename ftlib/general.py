"""General chats against forgetting, from the user's file or a data set of the hub, up to a share of the tokens."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

from ftlib import chat
from ftlib.dialogues import read_dialogues
from ftlib.errors import SetupError

HUB_ROWS = 20_000  # of a hub data set that are looked at


def general_rows(
    source: str, tokenizer: Any, wanted: int, seed: int, **settings: Any
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Rows of a random sample of general chats that hold about `wanted` tokens: less than one chat more.

    Args:
        source: a file of dialogues (`messages`, ShareGPT or Alpaca rows, see `dialogues`), or a data set with a
            `messages` column: a hub id or a folder, split "train" unless one is named ("owner/name:split").
        wanted: tokens.
        seed: of the sample; the same chats for the same seed, in whatever order the file has them.
        settings: max_length, loss_on, overflow and system of the mixture.

    Returns:
        the rows, and counts: documents (looked at), dropped, truncated, system_merged, replaced.

    Raises:
        SetupError: no such file or data set, or a row of the file that is no chat; the message names file and row.
    """
    counts = dict.fromkeys(("documents", "dropped", "truncated", "system_merged", "replaced"), 0)
    if wanted <= 0:
        return [], counts
    # The chats of lowest rank that together reach `wanted`: a heap with the highest on top, which goes when it may.
    heap: list[tuple[int, int, dict[str, Any]]] = []
    total, order = 0, count()
    chats = ((name, messages, messages) for name, messages in _chats(source, tokenizer, counts))
    for messages, _, row, how in chat.fitted_chats(tokenizer, chats, **settings):
        if row is None:
            counts["dropped"] += 1
            continue
        row |= {"source": "general", "document_id": "", "split": "train", "how": how}
        row["question"] = chat.question(messages)
        rank = hashlib.sha256(f"{seed} {messages}".encode()).digest()[:8]
        heapq.heappush(heap, (-int.from_bytes(rank, "big"), next(order), row))
        total += len(row["input_ids"])
        while total - len(heap[0][2]["input_ids"]) >= wanted:
            total -= len(heapq.heappop(heap)[2]["input_ids"])
    chosen = [row for _, _, row in sorted(heap, key=lambda item: item[0], reverse=True)]
    counts["truncated"] = sum(row.pop("how") == "truncated" for row in chosen)
    counts["system_merged"] = sum(row["merged"] for row in chosen)
    counts["replaced"] = sum(row["replaced"] for row in chosen)
    if total < wanted:
        print(f"general: {source} has {total:,} tokens, {wanted:,} were wanted")
    return chosen, counts


def _chats(source: str, tokenizer: Any, counts: dict[str, int]) -> Iterator[tuple[str, Any]]:
    """A name and the messages of each chat."""
    path = Path(source).expanduser()
    if path.is_file() or source.endswith((".jsonl", ".json", ".gz")):
        for number, record in enumerate(read_dialogues(path), 1):
            counts["documents"] += 1
            yield f"{path}, row {number}", record["messages"]
        return
    from datasets import load_dataset

    name, _, split = source.partition(":")
    try:
        data = load_dataset(name, split=split or "train", streaming=True)
        for number, row in enumerate(islice(data, HUB_ROWS), 1):
            counts["documents"] += 1
            messages = [{"role": m.get("role"), "content": m.get("content")} for m in row["messages"]]
            try:
                chat.check_messages(messages)
                chat.render(tokenizer, messages)
                if messages[-1]["role"] != "assistant":
                    raise SetupError("no answer")
            except SetupError:  # tools, pictures, reasoning: nobody can mend a row of the hub
                counts["dropped"] += 1
                continue
            yield f"{source}, row {number}", messages
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(
            f"The general chats {source!r} can't be read: {error}. Give a JSONL file of messages, or a data set with "
            "a `messages` column."
        ) from error
