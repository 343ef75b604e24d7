"""Documents and chats -> the rows the trainer sees: split by document, mixed, counted.

A raw row is a chunk of a document, a chat row is a whole chat; both are input_ids and labels by now. The audit counts
what went in and what comes out, by source, and refuses to go on when something is lost.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ftlib import chat, chunking
from ftlib.errors import SetupError

Order = Literal["mixed", "raw_then_chat", "raw_only", "chat_only"]
RAW_SOURCES = ("wiki", "docs", "code", "pull_request")


@dataclass(frozen=True)
class MixtureConfig:
    max_length: int = 8192
    """Tokens of the longest row, BOS and EOS included."""
    order: Order = "mixed"
    """mixed: one shuffled run (the recipe); raw_then_chat: all raw rows before all chats; or one kind alone."""
    loss_on: chat.LossOn = "all"
    """Where the loss of a chat falls: all tokens (the article's) or the assistant's turns."""
    repeats: Mapping[str, int] = field(default_factory=dict)
    """How often an epoch shows each row of a source or method, e.g. {"page_qa": 4}; 1 where not named."""
    overflow: Literal["drop", "cut", "refuse"] = "drop"
    """A chat longer than max_length: left out and counted, cut in its last answer and counted, or an error."""
    validation_share: float = 0.1
    """Share of the documents, with their chats, that is held out. The same as in 02_synth."""
    all_data: bool = False
    """Train on the held-out documents and chats too: the last run, after the settings are chosen."""
    seed: int = 0
    """Of the shuffle."""


@dataclass(frozen=True)
class Mixture:
    """Rows are dicts of input_ids, labels (lists of int, equally long), source, document_id and split."""

    train: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    audit: list[dict[str, Any]]


def split_of(document_id: str, validation_share: float = 0.1) -> str:
    """Either "train" or "validation", by a stable hash of the document's id: adding documents moves none."""
    number = int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:8], "big")
    return "validation" if number < validation_share * 2**64 else "train"


def build_mixture(
    documents: Iterable[Mapping[str, Any]], chats: Iterable[Mapping[str, Any]], tokenizer: Any, config: MixtureConfig
) -> Mixture:
    """Tokenise, split and order all rows.

    Raises:
        SetupError: nothing to train on, a chat that is too long where `overflow` refuses it, a split that disagrees
            with 02_synth's, or an audit that finds a loss.
    """
    if config.order not in ("mixed", "raw_then_chat", "raw_only", "chat_only"):
        raise SetupError(f"order={config.order!r} is unknown: use mixed, raw_then_chat, raw_only or chat_only.")
    if config.loss_on not in ("all", "assistant"):
        raise SetupError(f"loss_on={config.loss_on!r} is unknown: use all or assistant.")
    if config.overflow not in ("drop", "cut", "refuse"):
        raise SetupError(f"overflow={config.overflow!r} is unknown: use drop, cut or refuse.")
    counts: dict[str, dict[str, int]] = {}
    raw = list(_raw_rows(documents, tokenizer, config, counts))
    chatted = list(_chat_rows(chats, tokenizer, config, counts))
    # Validation keeps both kinds whatever is trained on, so that runs of different orders compare.
    validation = [row for row in raw + chatted if row["split"] == "validation"]
    wanted = {"raw_only": raw, "chat_only": chatted}.get(config.order, raw + chatted)
    train = [row for row in wanted if config.all_data or row["split"] == "train"]
    train = [row for row in train for _ in range(config.repeats.get(row["source"], 1))]
    if not train:
        raise SetupError(
            f"There is nothing to train on with order={config.order!r}: no rows are left in the training split."
        )
    random.Random(config.seed).shuffle(train)
    if config.order == "raw_then_chat":
        train.sort(key=lambda row: row["source"] not in RAW_SOURCES)
    return Mixture(train, validation, audit(train, validation, counts, tokenizer))


def _raw_rows(documents: Any, tokenizer: Any, config: MixtureConfig, counts: dict[str, dict[str, int]]) -> Any:
    for document in documents:
        tally = counts.setdefault(document["source"], {"documents": 0, "dropped": 0, "truncated": 0})
        tally["documents"] += 1
        split, covered = split_of(document["id"], config.validation_share), 0
        for row in chunking.chunk(document, tokenizer, config.max_length):
            if row["start"] != covered:
                raise SetupError(f"{document['id']}: characters {covered} to {row['start']} fell between two chunks.")
            covered = row["end"]
            yield {**row, "split": split}
        if covered != len(document["text"]):
            raise SetupError(f"{document['id']}: only {covered} of {len(document['text'])} characters were kept.")


def _chat_rows(chats: Any, tokenizer: Any, config: MixtureConfig, counts: dict[str, dict[str, int]]) -> Any:
    for record in chats:
        tally = counts.setdefault(record["method"], {"documents": 0, "dropped": 0, "truncated": 0})
        tally["documents"] += 1
        split = split_of(record["document_id"] or record["id"], config.validation_share)
        if split != record["split"]:
            raise SetupError(
                f"Chat {record['id']} is in split {record['split']!r}, but validation_share={config.validation_share} "
                "puts its document elsewhere. Use the same validation_share in 02_synth and 03_train."
            )
        try:
            row = chat.encode_chat(tokenizer, record["messages"], config.loss_on)
        except SetupError as error:
            raise SetupError(f"chats.jsonl, chat {record['id']}: {error}") from error
        if len(row["input_ids"]) > config.max_length:
            if config.overflow == "refuse":
                raise SetupError(
                    f"Chat {record['id']} has {len(row['input_ids'])} tokens, over max_length={config.max_length}. "
                    "Raise max_length, or set overflow to 'drop' or 'cut'."
                )
            row = {name: values[: config.max_length] for name, values in row.items()}
            # A cut before the answer leaves nothing to learn from.
            kept = config.overflow == "cut" and any(label != chat.IGNORE for label in row["labels"])
            tally["truncated" if kept else "dropped"] += 1
            if not kept:
                continue
        yield {**row, "source": record["method"], "document_id": record["document_id"], "split": split}


def audit(
    train: list[dict[str, Any]],
    validation: list[dict[str, Any]],
    counts: Mapping[str, Mapping[str, int]],
    tokenizer: Any,
) -> list[dict[str, Any]]:
    """Count, by source, what the model will see in one epoch.

    Returns:
        one dict a source: documents (or chats) read, rows and tokens to train on, tokens with loss, validation rows,
        dropped, truncated, BOS and EOS tokens.

    Raises:
        SetupError: a row with a second BOS, with no loss at all, or with labels that are not its own ids.
    """
    bos = chunking.bos_ids(tokenizer)
    table = []
    for source, tally in counts.items():
        rows = [row for row in train if row["source"] == source]
        for row in rows:
            ids, labels = row["input_ids"], row["labels"]
            if bos and ids.count(bos[0]) != 1:
                raise SetupError(f"A row of {row['document_id']} has {ids.count(bos[0])} BOS tokens; one was expected.")
            if any(label not in (token, chat.IGNORE) for token, label in zip(ids, labels, strict=True)):
                raise SetupError(f"A row of {row['document_id']} has labels that are not its own tokens.")
            if all(label == chat.IGNORE for label in labels):
                raise SetupError(f"A row of {row['document_id']} carries no loss; it would teach nothing.")
        table.append(
            {
                "source": source,
                "documents": tally["documents"],
                "rows": len(rows),
                "tokens": sum(len(row["input_ids"]) for row in rows),
                "tokens_with_loss": sum(label != chat.IGNORE for row in rows for label in row["labels"]),
                "validation_rows": sum(row["source"] == source for row in validation),
                "dropped": tally["dropped"],
                "truncated": tally["truncated"],
                "bos": sum(row["input_ids"].count(bos[0]) for row in rows) if bos else 0,
                "eos": sum(row["input_ids"].count(tokenizer.eos_token_id) for row in rows),
            }
        )
    return table
