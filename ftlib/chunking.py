"""One tokenizer pass a document -> token-exact, lossless chunks.

A chunk is a slice of the document's own token ids, so nothing is tokenised twice and nothing is counted roughly:

    first part   [BOS] header + text[0:cut]           one encode of header + document
    later parts  [BOS] header "(part k)" + text[a:b]  the header's ids, then the slice
    last part    ... [EOS]

BOS only where the model's tokenizer adds one, EOS only where the document ends.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ftlib.errors import SetupError

# Boundaries from best to worst; a cut falls before the match. Each is tried in the last half of the room left.
_LINE = re.compile(r"(?<=\n)")
_BLANK = re.compile(r"(?<=\n)(?:[ \t]*\n)+")
BOUNDARIES: dict[str, list[re.Pattern[str]]] = {
    "pages": [re.compile(r"^#{1,3} ", re.M), re.compile(r"^#{4,6} ", re.M), _BLANK, _LINE],
    "code": [
        re.compile(r"^(?:export |async |public |pub |def |class |func |fn |function |interface |type |const |@)", re.M),
        _BLANK,
        _LINE,
    ],
    "pull_request": [re.compile(r"^(?:diff --git |File: )", re.M), re.compile(r"^@@ ", re.M), _BLANK, _LINE],
}
KINDS = {"wiki": "pages", "docs": "pages", "code": "code", "pull_request": "pull_request"}
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.M)


def header(document: Mapping[str, Any], part: int = 1) -> str:
    """The lines that say what a sample is, in RECIPE.md's form; later parts carry their number."""
    later = f" (part {part})" if part > 1 else ""
    if document["source"] == "code":
        return f"- File: {document['path']}{later}\n  Content:\n"
    if document["source"] == "pull_request":
        return f"{document['title']}{later}\n"
    return f"- Page: {document['title']}{later}\n  Content:\n"


def encode(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Token ids and character offsets of `text`; control strings in it (`</s>`, `<|im_end|>`) stay text."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True)
    return encoded["input_ids"], encoded["offset_mapping"]


def bos_ids(tokenizer: Any) -> list[int]:
    """[bos_token_id] where the tokenizer puts a BOS before a text, else []."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("a")["input_ids"][:1] == [bos] else []


def count_tokens(documents: Iterable[Mapping[str, Any]], tokenizer: Any) -> list[dict[str, Any]]:
    """Documents, characters and tokens by source: one dict a source, in the order of first appearance."""
    table: dict[str, dict[str, Any]] = {}
    for document in documents:
        row = table.setdefault(
            document["source"], {"source": document["source"], "documents": 0, "characters": 0, "tokens": 0}
        )
        row["documents"] += 1
        row["characters"] += len(document["text"])
        row["tokens"] += len(encode(tokenizer, document["text"])[0])
    return list(table.values())


def chunk(document: Mapping[str, Any], tokenizer: Any, max_length: int) -> Iterator[dict[str, Any]]:
    """Cut a document into samples of at most `max_length` tokens, header, BOS and EOS included.

    Yields:
        dicts of input_ids (list of token ids), labels (all of them), document_id, source, part (from 1), start and end
        (characters of document["text"]; the slices joined are the text).

    Raises:
        SetupError: `max_length` leaves no room for text beside the header.
    """
    text, first = document["text"], header(document)
    bos, eos = bos_ids(tokenizer), [tokenizer.eos_token_id]
    ids, offsets = encode(tokenizer, first + text)
    shift = len(first)
    boundaries = _boundaries(first + text, KINDS[document["source"]], shift)
    position, part = 0, 1
    while True:
        # From the second part on, the header is its own encode; ids of the first part hold theirs.
        head = bos + (encode(tokenizer, header(document, part))[0] if part > 1 else [])
        room = max_length - len(head) - len(eos)
        stop = len(ids)
        if stop - position > room:
            stop = _cut(offsets, position, position + room, shift, boundaries)
            if stop == position:
                raise SetupError(
                    f"{document['id']}: max_length={max_length} leaves no room for text after the header of "
                    f"{len(encode(tokenizer, header(document, part))[0])} tokens. Raise max_length."
                )
        last = stop == len(ids)
        sample = head + ids[position:stop] + (eos if last else [])
        yield {
            "input_ids": sample,
            "labels": list(sample),
            "document_id": document["id"],
            "source": document["source"],
            "part": part,
            "start": max(0, offsets[position][0] - shift) if part > 1 else 0,
            "end": len(text) if last else offsets[stop][0] - shift,
        }
        if last:
            return
        position, part = stop, part + 1


def _boundaries(text: str, kind: str, shift: int) -> list[list[int]]:
    """Character positions of the possible cuts, one list for each rank of boundary."""
    fences = [m.start() for m in _FENCE.finditer(text)] if kind == "pages" else []
    ranks = []
    for rank, pattern in enumerate(BOUNDARIES[kind]):
        found = [m.start() for m in pattern.finditer(text) if m.start() > shift]
        if kind == "pages" and rank < 2:
            # A heading inside a fence is a comment of a code example.
            found = [p for p in found if bisect_left(fences, p) % 2 == 0]
        ranks.append(found)
    return ranks


def _cut(offsets: list[tuple[int, int]], position: int, limit: int, shift: int, boundaries: list[list[int]]) -> int:
    """The token to cut before: the last of the best boundaries in the second half of the room; `position` if none."""
    limit = min(limit, len(offsets))
    middle = position + (limit - position) // 2

    def starts_character(index: int) -> bool:
        # Tokens that share a character (bytes of an emoji) share its offsets: no cut between them.
        return index > 0 and offsets[index][0] >= offsets[index - 1][1] and offsets[index][0] > shift

    for rank in boundaries:
        low, high = offsets[middle][0], offsets[min(limit, len(offsets) - 1)][0]
        for place in reversed(rank[bisect_left(rank, low) : bisect_left(rank, high + 1)]):
            index = bisect_left(offsets, (place, -1), position, limit + 1)
            if position < index <= limit and offsets[index][0] == place and starts_character(index):
                return index
    for index in range(limit, position, -1):
        if starts_character(index):
            return index
    return position
