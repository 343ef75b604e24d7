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
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from ftlib import chat, chunking
from ftlib.audit import RAW_SOURCES, audit, new_tally
from ftlib.errors import SetupError
from ftlib.general import general_rows
from ftlib.progress import counted
from ftlib.rows import concatenate, fingerprint, scratch, store
from ftlib.similar import near_duplicates

Order = Literal["mixed", "raw_then_chat", "raw_only", "chat_only"]
CHAT_METHODS = ("page_qa", "page_instruction", "file_snapshot", "unknown", "yours", "general", "replay")


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
    """More general chats against forgetting: a JSONL file of messages, or a data set ("owner/name:split", a folder)."""
    general_share: float = 0.1
    """Share of the tokens to train on that come from `general`; each of its chats is shown once."""
    replay_tokens: int = 0
    """Tokens of the answers of general chats that the base model writes itself before training (`ftlib.replay`), on
    which it is held to what it was (`hold_strength`); 0: none. `repeats` has them as "replay"."""
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


class Note(NamedTuple):
    """What is remembered of a stored row."""

    source: str
    split: str
    size: int
    question: str
    again: bool
    fingerprint: int

    @property
    def raw(self) -> bool:
        return self.source in RAW_SOURCES


def split_of(document_id: str, validation_share: float = 0.1) -> str:
    """Either "train" or "validation", by a stable hash of the document's id: adding documents moves none."""
    number = int.from_bytes(hashlib.sha256(document_id.encode()).digest()[:8], "big")
    return "validation" if number < validation_share * 2**64 else "train"


def split_of_chat(record: Mapping[str, Any], validation_share: float = 0.1) -> str:
    """That of its document; of a chat of none, by the id of the chat that it has in other words (`of`), or its own.

    The base's own chats are all trained on.
    """
    if record["method"] == "replay":
        return "train"
    return split_of(record["document_id"] or record.get("of") or record["id"], validation_share)


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
    notes: list[Note] = []

    def noted(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for row in rows:
            size, asked, again = len(row["input_ids"]), row.get("question", ""), row.get("again", False)
            notes.append(Note(row["source"], row["split"], size, asked, again, fingerprint(row)))
            yield row

    folder = folder or scratch()
    raw_rows = _raw_rows(counted(documents, "documents"), tokenizer, config, tallies)
    stored = store(noted(chain(raw_rows, _chat_rows(counted(chats, "chats"), tokenizer, config, tallies))), folder)
    wanted = {"raw_only": [True], "chat_only": [False]}.get(config.order, [True, False])
    train = [n for n, note in enumerate(notes) if note.raw in wanted and (config.all_data or note.split == "train")]
    # Validation keeps both kinds whatever is trained on, so that runs of different orders compare.
    held_out = _measured([n for n, note in enumerate(notes) if note.split != "train"], notes, tallies, config)
    repeated = [n for n in train for _ in range(_repeats(config, notes[n].source))]
    if config.general and config.order != "raw_only":
        asked = [notes[number].question for number in held_out if notes[number].question]
        more = _general(sum(notes[n].size for n in repeated), asked, tokenizer, config, tallies)
        repeated += range(len(notes), len(notes) + len(more))
        stored = concatenate(stored, store(noted(more), folder, "general"))
    for numbers, prefix in ((repeated, ""), (held_out, "validation_")):
        for number in numbers:
            note = notes[number]
            tally = tallies[note.source]
            tally[f"{prefix}rows"] += 1
            tally[f"{prefix}tokens"] += note.size
            tally[f"{prefix}checksum"] += note.fingerprint
    if config.replay_tokens and config.order != "raw_only" and "replay" not in tallies:
        raise SetupError(
            f"replay_tokens={config.replay_tokens}, but no chat is the base's own: give those of ftlib.replay.records "
            "beside the others, or set replay_tokens=0."
        )
    if not repeated:
        dropped = sum(tally["dropped"] for tally in tallies.values())
        reason = f"; {dropped} chats were over max_length={config.max_length} and dropped" if dropped else ""
        raise SetupError(
            f"There is nothing to train on with order={config.order!r}: no rows are left in the training split{reason}."
        )
    random.Random(config.seed).shuffle(repeated)
    if config.order == "raw_then_chat":
        repeated.sort(key=lambda number: not notes[number].raw)
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
    seen: set[int] = set()  # hashes of the ids: all that is kept of a document

    def read() -> Iterator[Mapping[str, Any]]:
        for document in documents:
            name, text = document.get("id"), document.get("text")
            if isinstance(name, str) and isinstance(text, str):  # what is wrong else, chunk_documents says
                if hash(name) in seen:
                    raise SetupError(f"Two documents have the id {name!r}. Run 01_scrape again.")
                lengths[name] = len(text)
                seen.add(hash(name))
            yield document

    name: str | None = None
    covered = 0
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
        yield {**row, "split": split_of(row["document_id"], config.validation_share)}
    _check_whole(name, covered, lengths)
    if lengths:
        raise SetupError(f"{next(iter(lengths))}: no chunk was made of it.")


def _check_whole(name: str | None, covered: int, lengths: dict[str, int]) -> None:
    if name is not None and (whole := lengths.pop(name)) != covered:
        raise SetupError(f"{name}: only {covered} of {whole} characters were kept.")


def _chat_rows(
    chats: Iterable[Mapping[str, Any]], tokenizer: Any, config: MixtureConfig, tallies: dict[str, dict[str, int]]
) -> Iterator[dict[str, Any]]:
    def named() -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
        for record in chats:
            name = f"chats.jsonl, chat {record.get('id')}"
            _check_record(name, record, config)
            yield name, record.get("messages"), record

    there: set[str] = set()  # ids of held-out chats
    for record, whole, row, how in chat.fitted_chats(tokenizer, named(), **_chat_settings(config)):
        tally = tallies.setdefault(record["method"], new_tally())
        tally["documents"] += 1
        tally["system_merged"] += whole["merged"]
        tally["replaced"] += whole["replaced"]
        if how != "whole":
            tally[how] += 1
        if row is not None:
            if record.get("cut"):
                row = chat.unended(row, tokenizer.eos_token_id)
            about = {"document_id": record["document_id"] or "", "split": record["split"], "source": record["method"]}
            asked = {"question": chat.question(record["messages"]), "again": record.get("of") in there}
            yield {**row, **about, **asked}
            if record["split"] != "train":
                there.add(record["id"])


def _chat_settings(config: MixtureConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ("max_length", "loss_on", "overflow", "system")}


def _check_record(name: str, record: Mapping[str, Any], config: MixtureConfig) -> None:
    for key in ("id", "method", "document_id", "split"):
        if not isinstance(record.get(key), str) and not (key == "document_id" and record.get(key, 0) is None):
            raise SetupError(f"{name}: `{key}` is missing or no string. Run 02_synth again, which writes it.")
    if record["method"] not in CHAT_METHODS:
        raise SetupError(f"{name}: method={record['method']!r} is unknown; there are {', '.join(CHAT_METHODS)}.")
    if record["split"] != split_of_chat(record, config.validation_share):
        raise SetupError(
            f"{name} is in split {record['split']!r}, but validation_share={config.validation_share} "
            "puts its document elsewhere. Use the same validation_share in 02_synth and 03_train."
        )


def _measured(
    held_out: list[int],
    notes: list[Note],
    tallies: dict[str, dict[str, int]],
    config: MixtureConfig,
) -> list[int]:
    """Held-out rows without other wordings of one of them, and without the chats whose question is also trained on."""
    for number in held_out:
        tallies[notes[number].source]["other_wordings"] += notes[number].again
    held_out = [number for number in held_out if not notes[number].again]
    if not config.drop_near_duplicates:
        return held_out
    asked = [number for number in held_out if notes[number].question]
    trained = [note.question for note in notes if note.split == "train" and note.question]
    gone = {asked[index] for index in near_duplicates([notes[n].question for n in asked], trained)}
    for number in gone:
        tallies[notes[number].source]["near_duplicates"] += 1
    return [number for number in held_out if number not in gone]


def _general(
    size: int, held_out: list[str], tokenizer: Any, config: MixtureConfig, tallies: dict[str, dict[str, int]]
) -> list[dict[str, Any]]:
    """Rows of general chats for `size` tokens of others, without those that ask what is held out."""
    wanted = round(size * config.general_share / (1 - config.general_share))
    rows, counts = general_rows(config.general, tokenizer, wanted, config.seed, **_chat_settings(config))
    if config.drop_near_duplicates:
        gone = set(near_duplicates([row["question"] for row in rows], held_out))
        rows = [row for number, row in enumerate(rows) if number not in gone]
        counts["near_duplicates"] = len(gone)
    tally = tallies.setdefault("general", new_tally())
    for name, number in counts.items():
        tally[name] += number
    return rows
