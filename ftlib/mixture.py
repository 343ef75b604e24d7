"""Documents and chats -> the rows the trainer sees: split by document, mixed, counted.

A raw row is a chunk of a document, a chat row is a whole chat; both are input_ids and labels by now. They are written
to disk as they are made (`rows`), so memory does not grow with their number. The audit counts what went in and what
comes out, by source, and refuses to go on when something is lost.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from ftlib import chat, chunking, tokens
from ftlib.audit import RAW_SOURCES, audit, new_tally
from ftlib.errors import SetupError
from ftlib.general import general_rows
from ftlib.progress import counted
from ftlib.rows import scratch, store
from ftlib.similar import near_duplicates

Order = Literal["mixed", "raw_then_chat", "raw_only", "chat_only"]
CHAT_METHODS = ("page_qa", "page_instruction", "file_snapshot", "yours", "general")


@dataclass(frozen=True)
class MixtureConfig:
    """What is shown to the model, how often and in which order."""

    max_length: int = 8192
    """Tokens of the longest row, BOS and EOS included."""
    overlap: int = 0
    """Tokens of a document's part that the next part begins with again, as context without loss."""
    order: Order = "mixed"
    """mixed: one shuffled run (the recipe); raw_then_chat: all raw rows before all chats; or one kind alone."""
    loss_on: chat.LossOn = "all"
    """Where the loss of a chat falls: all tokens (the article's) or the assistant's turns."""
    system: chat.System = "merge"
    """A system message that the chat template has no place for: merged into the first user message, or an error."""
    repeats: Mapping[str, int] = field(default_factory=dict)
    """How often an epoch shows each row of a source or method, e.g. {"page_qa": 4}; "chat" for all methods that are not
    named; 1 where nothing is said."""
    overflow: chat.Overflow = "drop"
    """A chat longer than max_length: left out and counted, cut in its last answer and counted, or an error."""
    general: str = ""
    """More general chats against forgetting: a JSONL file of messages, or a hub data set ("owner/name:split")."""
    general_share: float = 0.1
    """Share of the tokens to train on that come from `general`."""
    drop_near_duplicates: bool = True
    """Leave held-out chats out whose question is trained on in nearly the same words."""
    validation_share: float = 0.1
    """Share of the documents, with their chats, that is held out. The same as in 02_synth."""
    all_data: bool = False
    """Train on the held-out documents and chats too: the last run, after the settings are chosen."""
    seed: int = 0
    """Of the shuffle, and of the sample of general chats."""


@dataclass(frozen=True)
class Mixture:
    """Data sets of input_ids, labels (lists of int, equally long), source, document_id and split."""

    train: Any
    validation: Any
    audit: list[dict[str, Any]]


def split_of(document_id: str, validation_share: float = 0.1) -> str:
    """Either "train" or "validation", by a stable hash of the document's id: adding documents moves none."""
    number = int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:8], "big")
    return "validation" if number < validation_share * 2**64 else "train"


def build_mixture(
    documents: Iterable[Mapping[str, Any]],
    chats: Iterable[Mapping[str, Any]],
    tokenizer: Any,
    config: MixtureConfig,
    folder: Path | None = None,
) -> Mixture:
    """Tokenise, split and order all rows.

    Args:
        documents, chats: records; generators are read once.
        folder: where the rows are stored; None: a scratch folder that goes when the program ends.

    Raises:
        SetupError: nothing to train on, a chat that is too long where `overflow` refuses it, a split that disagrees
            with 02_synth's, or an audit that finds a loss.
    """
    _check(config)
    tallies: dict[str, dict[str, int]] = {}
    notes: list[tuple[str, str, int, str]] = []  # source, split, tokens and question of each stored row

    def noted() -> Iterator[dict[str, Any]]:
        raw = _raw_rows(counted(documents, "documents"), tokenizer, config, tallies)
        for row in raw:
            notes.append((row["source"], row["split"], len(row["input_ids"]), ""))
            yield row
        for row in _chat_rows(counted(chats, "chats"), tokenizer, config, tallies):
            notes.append((row["source"], row["split"], len(row["input_ids"]), row["question"]))
            yield row

    folder = folder or scratch()
    stored = store(noted(), folder)
    is_raw = [source in RAW_SOURCES for source, *_ in notes]
    wanted = {"raw_only": [True], "chat_only": [False]}.get(config.order, [True, False])
    train = [n for n, note in enumerate(notes) if is_raw[n] in wanted and (config.all_data or note[1] == "train")]
    # Validation keeps both kinds whatever is trained on, so that runs of different orders compare.
    held_out = _without_duplicates([n for n, note in enumerate(notes) if note[1] != "train"], notes, tallies, config)
    repeated = [n for n in train for _ in range(_repeats(config, notes[n][0]))]
    for number in repeated:
        tallies[notes[number][0]]["rows"] += 1
        tallies[notes[number][0]]["tokens"] += notes[number][2]
    for number in held_out:
        tallies[notes[number][0]]["validation_rows"] += 1
        tallies[notes[number][0]]["validation_tokens"] += notes[number][2]
    if config.general and config.order != "raw_only":
        stored, more = _with_general(stored, sum(notes[n][2] for n in repeated), tokenizer, config, folder, tallies)
        repeated += range(len(notes), len(notes) + more)
        is_raw += [False] * more
    if not repeated:
        raise SetupError(
            f"There is nothing to train on with order={config.order!r}: no rows are left in the training split."
        )
    random.Random(config.seed).shuffle(repeated)
    if config.order == "raw_then_chat":
        repeated.sort(key=lambda number: not is_raw[number])
    train_rows, validation_rows = stored.select(repeated), stored.select(held_out)
    return Mixture(train_rows, validation_rows, audit(train_rows, validation_rows, tallies, tokenizer))


def _check(config: MixtureConfig) -> None:
    hints = get_type_hints(MixtureConfig)
    for entry in fields(config):
        allowed, value = get_args(hints[entry.name]), getattr(config, entry.name)
        if isinstance(entry.default, str) and allowed and value not in allowed:
            raise SetupError(f"{entry.name}={value!r} is unknown: use {', '.join(allowed)}.")
    for name, number in config.repeats.items():
        if name not in (*RAW_SOURCES, *CHAT_METHODS, "chat"):
            known = ", ".join((*RAW_SOURCES, *CHAT_METHODS))
            raise SetupError(f"repeats names {name!r}, which is no source. There are {known}, and chat for all chats.")
        if not isinstance(number, int) or number < 0:
            raise SetupError(f"repeats={{{name!r}: {number!r}}}: a whole number of at least 0 was expected.")
    if not 0 <= config.validation_share < 1 or not 0 <= config.general_share < 1:
        raise SetupError("validation_share and general_share must be at least 0 and below 1.")


def _repeats(config: MixtureConfig, source: str) -> int:
    default = 1 if source in RAW_SOURCES else config.repeats.get("chat", 1)
    return config.repeats.get(source, default)


def _raw_rows(
    documents: Iterable[Mapping[str, Any]], tokenizer: Any, config: MixtureConfig, tallies: dict[str, dict[str, int]]
) -> Iterator[dict[str, Any]]:
    lengths: dict[str, int] = {}  # of the documents of the batch at work

    def read() -> Iterator[Mapping[str, Any]]:
        for document in documents:
            name, text = document.get("id"), document.get("text")
            if name in lengths:
                raise SetupError(f"Two documents have the id {name!r}. Run 01_scrape again.")
            if isinstance(name, str) and isinstance(text, str):  # what is wrong else, chunk_documents says
                lengths[name] = len(text)
            yield document

    name, covered = "", 0
    for row in chunking.chunk_documents(read(), tokenizer, config.max_length, config.overlap):
        tally = tallies.setdefault(row["source"], new_tally())
        if row["part"] == 1:
            _check_whole(name, covered, lengths)
            tally["documents"] += 1
            name, covered = row["document_id"], 0
        if row["start"] != covered or row["document_id"] != name:
            raise SetupError(f"{name}: characters {covered} to {row['start']} fell between two chunks.")
        covered = row["end"]
        tally["replaced"] += row["replaced"]
        yield {**row, "split": split_of(name, config.validation_share)}
    _check_whole(name, covered, lengths)
    if lengths:
        raise SetupError(f"{next(iter(lengths))}: no chunk was made of it.")


def _check_whole(name: str, covered: int, lengths: dict[str, int]) -> None:
    if name and (whole := lengths.pop(name)) != covered:
        raise SetupError(f"{name}: only {covered} of {whole} characters were kept.")


def _chat_rows(
    chats: Iterable[Mapping[str, Any]], tokenizer: Any, config: MixtureConfig, tallies: dict[str, dict[str, int]]
) -> Iterator[dict[str, Any]]:
    for batch in tokens.batches(chats, lambda record: len(str(record.get("messages")))):
        names = [f"chats.jsonl, chat {record.get('id')}" for record in batch]
        for name, record in zip(names, batch, strict=True):
            _check_record(name, record, config)
        encoded = chat.encode_chats(
            tokenizer, [r["messages"] for r in batch], config.loss_on, system=config.system, names=names
        )
        for name, record, whole in zip(names, batch, encoded, strict=True):
            tally = tallies.setdefault(record["method"], new_tally())
            tally["documents"] += 1
            try:
                row, how = chat.fit(whole, config.max_length, config.overflow)
            except SetupError as error:
                raise SetupError(f"{name}: {error}") from error
            tally["system_merged"] += whole["merged"]
            tally["replaced"] += whole["replaced"]
            if how != "whole":
                tally[how] += 1
            if row is not None:
                question = "\n".join(m["content"] for m in record["messages"] if m["role"] == "user")
                about = {name: record[name] for name in ("document_id", "split")}
                yield {**row, **about, "source": record["method"], "question": question}


def _check_record(name: str, record: Mapping[str, Any], config: MixtureConfig) -> None:
    for key in ("id", "method", "document_id", "split"):
        if key not in record:
            raise SetupError(f"{name}: `{key}` is missing. Run 02_synth again, which writes it.")
    if record["method"] not in CHAT_METHODS:
        raise SetupError(f"{name}: method={record['method']!r} is unknown; there are {', '.join(CHAT_METHODS)}.")
    if record["split"] != split_of(record["document_id"] or record["id"], config.validation_share):
        raise SetupError(
            f"{name} is in split {record['split']!r}, but validation_share={config.validation_share} "
            "puts its document elsewhere. Use the same validation_share in 02_synth and 03_train."
        )


def _without_duplicates(
    held_out: list[int],
    notes: list[tuple[str, str, int, str]],
    tallies: dict[str, dict[str, int]],
    config: MixtureConfig,
) -> list[int]:
    """Held-out rows without the chats whose question is also trained on."""
    if not config.drop_near_duplicates:
        return held_out
    asked = [number for number in held_out if notes[number][3]]
    trained = [question for _, split, _, question in notes if split == "train" and question]
    gone = {asked[index] for index in near_duplicates([notes[n][3] for n in asked], trained)}
    for number in gone:
        tallies[notes[number][0]]["near_duplicates"] += 1
    return [number for number in held_out if number not in gone]


def _with_general(
    stored: Any, size: int, tokenizer: Any, config: MixtureConfig, folder: Path, tallies: dict[str, dict[str, int]]
) -> tuple[Any, int]:
    """The stored rows with general chats behind them, and the number of those."""
    from datasets import concatenate_datasets

    wanted = round(size * config.general_share / (1 - config.general_share))
    settings = {name: getattr(config, name) for name in ("max_length", "loss_on", "overflow", "system")}
    rows, counts = general_rows(config.general, tokenizer, wanted, config.seed, **settings)
    tally = tallies.setdefault("general", new_tally())
    for name, number in counts.items():
        tally[name] += number
    tally["rows"] += len(rows)
    tally["tokens"] += sum(len(row["input_ids"]) for row in rows)
    return concatenate_datasets([stored, store(rows, folder, "general")]), len(rows)
