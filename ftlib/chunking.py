"""One tokenizer pass a document -> token-exact, lossless chunks.

A chunk is a slice of the document's own token ids, so nothing is tokenised twice and nothing is counted roughly:

    first part   [BOS] header + text[0:cut]           one encode of header + document
    later parts  [BOS] header "(part k)" + text[a:b]  the header's ids, then the slice
    last part    ... [EOS]

BOS only where the model's tokenizer adds one, EOS only where the document ends. Where a cut falls is `boundaries`' job.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ftlib import tokens
from ftlib.boundaries import KINDS, cuts_of
from ftlib.errors import SetupError

IGNORE = -100  # the label that torch's cross entropy skips


@dataclass(frozen=True)
class _Characters:
    """A text as its characters, for cuts where no tokenizer is known; `\\r\\n` is one."""

    text: str

    def start(self, index: int) -> int:
        return index - (self.text[index - 1 : index + 1] == "\r\n")

    def end(self, index: int) -> int:
        return index + 1


def cut_text(text: str, source: str, longest: int) -> list[str]:
    """Cut a text at its best boundaries into parts of at most so many characters; joined they are the text.

    For what another's tokenizer counts: an API's. What is trained on is cut by `chunk_documents`.

    Args:
        source: of the document (code, wiki, ...), which decides where its boundaries are.
        longest: characters of a part, at least 2.

    Raises:
        SetupError: `longest` is below 2.
    """
    if longest < 2:
        raise SetupError(f"A part of {longest} characters is too short.")
    parts, position, characters = [], 0, _Characters(text)
    cuts = cuts_of(text, source, 0) if len(text) > longest else None
    while cuts is not None and len(text) - position > longest:
        stop = cuts.before(characters, position, position + longest)
        parts.append(text[position:stop])
        position = stop
    return [*parts, text[position:]]


def header(document: Mapping[str, Any], part: int = 1) -> str:
    """The lines that say what a sample is, in RECIPE.md's form; later parts carry their number."""
    later = f" (part {part})" if part > 1 else ""
    if document["source"] == "code":
        return f"- File: {document['path']}{later}\n  Content:\n"
    if document["source"] in {"pull_request", "issue", "discussion"}:
        return f"{document['title']}{later}\n"
    return f"- Page: {document['title']}{later}\n  Content:\n"


def chunk(document: Mapping[str, Any], tokenizer: Any, max_length: int, overlap: int = 0) -> Iterator[dict[str, Any]]:
    """Cut one document; see `chunk_documents`."""
    return chunk_documents([document], tokenizer, max_length, overlap)


def chunk_documents(
    documents: Iterable[Mapping[str, Any]], tokenizer: Any, max_length: int, overlap: int = 0
) -> Iterator[dict[str, Any]]:
    """Cut documents into samples of at most `max_length` tokens, header, BOS and EOS included.

    The documents are read and tokenised in batches, on all cores; memory does not grow with their number.

    Args:
        overlap: tokens of the part before that a later part begins with again, as context: they carry no loss, so that
            every token of a document is trained on once. Exactly so many; where the first would be a piece of a
            character (bytes of an emoji), the whole character.

    Yields:
        dicts of input_ids, labels (the ids, -100 on the overlap), document_id, source, part (from 1), start, end
        (characters of document["text"] that are new in this part: the slices joined are the text), body_start (where
        its body begins; before `start` by the overlap) and replaced (characters in start:end that the tokenizer has no
        token for).

    Raises:
        SetupError: a tokenizer with no EOS, a negative overlap, or no room for text beside header and overlap.
    """
    if overlap < 0:
        raise SetupError(f"overlap={overlap}: it must be 0 or more tokens.")
    bos, eos = tokens.bos_ids(tokenizer), tokens.eos_id(tokenizer)
    for batch in tokens.batches(map(_checked, documents), lambda document: len(document["text"])):
        texts = [header(document) + document["text"] for document in batch]
        for document, text, encoded in zip(batch, texts, tokens.encode_texts(tokenizer, texts), strict=True):
            yield from _parts(document, text, encoded, tokenizer, max_length, overlap, bos, eos)


def _checked(document: Mapping[str, Any]) -> Mapping[str, Any]:
    name = document.get("id", "a document without an id")
    for field in ("id", "source", "title", "path", "text"):
        if not isinstance(document.get(field), str):
            raise SetupError(f"{name}: `{field}` must be a string, found {document.get(field)!r:.40}.")
        tokens.check_text(document[field], f"{name!r}, `{field}`")
    if document["source"] not in KINDS:
        raise SetupError(f"{name}: source={document['source']!r} is unknown; there are {', '.join(KINDS)}.")
    return document


def _parts(
    document: Mapping[str, Any],
    text: str,
    encoded: tokens.Tokens,
    tokenizer: Any,
    max_length: int,
    overlap: int,
    bos: list[int],
    eos: int,
) -> Iterator[dict[str, Any]]:
    """The parts of one document; `text` is its header and text, encoded in one pass."""
    shift, ids = len(text) - len(document["text"]), encoded.ids
    cuts = None
    heads = _later_heads(document, tokenizer, bos, len(ids) // max(1, max_length))
    position, part, begin = 0, 1, 0  # the first new token, and the new text's first character, of this part
    while True:
        # From the second part on, the header is its own encode; ids of the first part hold theirs.
        head = bos if part == 1 else next(heads)
        back = _back(encoded, position, overlap, shift) if part > 1 and overlap else position
        room = max_length - len(head) - (position - back)
        stop, end, left = len(ids), len(document["text"]), len(ids) - position
        if left + 1 > room:  # with EOS
            cuts = cuts or cuts_of(text, document["source"], shift)
            # All that is left would fit without EOS: then one token at least goes to the next part, with it.
            stop = cuts.before(encoded, position, position + min(room, left - 1))
            if stop <= position:
                raise SetupError(_no_room(document, tokenizer, max_length, part, overlap))
            end = encoded.start(stop) - shift
        body = ids[back:stop]
        sample = head + body if stop < len(ids) else [*head, *body, eos]
        labels = list(sample)
        if back < position:
            labels[len(head) : len(head) + position - back] = [IGNORE] * (position - back)
        yield {
            "input_ids": sample,
            "labels": labels,
            "document_id": document["id"],
            "source": document["source"],
            "part": part,
            "start": begin,
            "end": end,
            "body_start": begin if back == position else encoded.start(back) - shift,
            "replaced": _between(encoded.replaced, begin + shift, end + shift),
        }
        if stop == len(ids):
            return
        position, part, begin = stop, part + 1, end


def _later_heads(document: Mapping[str, Any], tokenizer: Any, bos: list[int], expected: int) -> Iterator[list[int]]:
    """BOS and the header's ids of the second part, the third and so on; many in one call."""
    part = 2
    while True:
        batch = range(part, part + min(expected, 1000) + 1)
        for encoded in tokens.encode_texts(tokenizer, [header(document, number) for number in batch]):
            yield bos + encoded.ids
        part = batch.stop


def _back(encoded: tokens.Tokens, position: int, overlap: int, shift: int) -> int:
    """The token that the overlap before `position` begins with: inside the text, at the start of a character."""
    index = max(position - overlap, 0)
    while index > 0 and encoded.start(index) < encoded.end(index - 1):
        index -= 1
    while index < position and encoded.start(index) < shift:  # the header is repeated anyway
        index += 1
    return index


def _between(places: tuple[int, ...], start: int, end: int) -> int:
    return bisect_left(places, end) - bisect_left(places, start)


def _no_room(document: Mapping[str, Any], tokenizer: Any, max_length: int, part: int, overlap: int) -> str:
    taken = len(tokens.encode(tokenizer, header(document, part)))
    beside = f"the header of {taken} tokens" + (f" and the overlap of {overlap}" if overlap else "")
    return (
        f"{document['id']}: max_length={max_length} leaves no room for text after {beside}. Raise max_length"
        f"{' or lower overlap' if overlap else ''}."
    )
