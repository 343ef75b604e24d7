"""Text -> token ids and offsets, exactly: text stays text, whatever control strings or odd bytes it holds.

All of ftlib tokenises here, with a copy of the tokenizer's own Rust backend: many texts in one call use all cores, ids
and offsets are read only where they are needed, and nothing that a library does on the way (BOS of a post-processor,
offsets trimmed of their spaces, truncation left on by an earlier call) gets in.
"""

from __future__ import annotations

import copy
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from ftlib.errors import SetupError

Item = TypeVar("Item")
# A batch for the tokenizer: enough to keep all cores busy, little enough to keep memory flat.
BATCH_TEXTS, BATCH_CHARACTERS = 512, 2_000_000
# No text can hold it: it differs from process to process.
CUT = f"\ue000{uuid.uuid4().hex}\ue001"


@dataclass(frozen=True)
class Tokens:
    """One encoded text."""

    ids: list[int]
    """The token ids; shared, not to be changed."""
    encoding: Any
    """The `tokenizers.Encoding` that they come from."""
    replaced: tuple[int, ...] = ()
    """Positions of the characters for which the tokenizer has no token, and which a substitute stands for."""

    def __len__(self) -> int:
        return len(self.ids)

    def start(self, index: int) -> int:
        """The character that a token begins with."""
        return self.encoding.token_to_chars(index)[0]

    def end(self, index: int) -> int:
        """The character after a token's last one."""
        return self.encoding.token_to_chars(index)[1]


def encode(tokenizer: Any, text: str) -> Tokens:
    """Encode one text; see `encode_texts`."""
    return encode_texts(tokenizer, [text])[0]


def encode_texts(tokenizer: Any, texts: Sequence[str]) -> list[Tokens]:
    """Encode texts as text, on all cores: control strings in them (`</s>`, `<|im_end|>`) become ordinary tokens.

    A character for which the vocabulary has no token would become `<unk>`, or `<|endoftext|>` with byte-level BPE that
    lacks a byte (SmolLM2 lacks U+0004 and the unassigned planes). A substitute is encoded in its place, usually U+FFFD,
    and `replaced` says where.

    Raises:
        SetupError: the tokenizer can't encode the substitute either.
    """
    backend = backend_copy(tokenizer)
    backend.encode_special_tokens = True
    found = backend.encode_batch(list(texts), add_special_tokens=False)
    return [_checked(tokenizer, text, encoded, backend) for text, encoded in zip(texts, found, strict=True)]


def encode_piece(tokenizer: Any, text: str, *, first: bool) -> tuple[list[int], list[tuple[int, int]], int]:
    """Ids, offsets and number of replaced characters of a piece of a text, as in `encode_texts`.

    A SentencePiece tokenizer puts a space before the first piece of a text only; a later piece encoded by itself would
    get one too, and `[INST]` other ids than in a chat without control strings. `CUT` stands for what came before.
    """
    if first:
        found = encode(tokenizer, text)
        return found.ids, found.encoding.offsets, len(found.replaced)
    backend = _copy_with_cut(tokenizer, _state(tokenizer))
    backend.encode_special_tokens = True
    found = _checked(tokenizer, CUT + text, backend.encode(CUT + text, add_special_tokens=False), backend)
    offsets = [(a - len(CUT), b - len(CUT)) for a, b in found.encoding.offsets[1:]]
    return found.ids[1:], offsets, len(found.replaced)


def encode_rendered(tokenizer: Any, texts: Sequence[str]) -> list[Tokens]:
    """Encode what a chat template wrote, on all cores: control strings become control tokens."""
    backend = backend_copy(tokenizer)
    backend.encode_special_tokens = False
    return [Tokens(encoded.ids, encoded) for encoded in backend.encode_batch(list(texts), add_special_tokens=False)]


def control_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that only a template, or a row's beginning and end, may produce.

    Tokens that were added but are not special (`<think>` of Qwen 3) are ordinary: text that holds them becomes them.
    """
    return _control_ids(tokenizer, _state(tokenizer))


def control_pattern(tokenizer: Any) -> re.Pattern[str]:
    """Matches the control tokens with the white space that some take in; group 1 is the token. Longest first."""
    return _control_pattern(tokenizer, _state(tokenizer))


def bos_ids(tokenizer: Any) -> list[int]:
    """[bos_token_id] where the tokenizer puts a BOS before a text, else []."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("a")["input_ids"][:1] == [bos] else []


def eos_id(tokenizer: Any) -> int:
    """The id that ends a document. Raises SetupError where the tokenizer has none."""
    if tokenizer.eos_token_id is None:
        raise SetupError(
            f"{tokenizer.name_or_path}: the tokenizer has no end-of-text token. Set tokenizer.eos_token, for example "
            "to the one in the model's generation_config.json."
        )
    return tokenizer.eos_token_id


def check_text(text: str, where: str) -> None:
    """Raises SetupError for half a surrogate pair, which JSON can hold and no tokenizer can encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SetupError(
            f"{where}: character {error.start} is half a surrogate pair ({text[error.start]!r}). Replace it."
        ) from error


def count_tokens(documents: Iterable[Mapping[str, Any]], tokenizer: Any) -> list[dict[str, Any]]:
    """Documents, characters, tokens, first and last date by source: a dict each, in the order of first appearance."""
    table: dict[str, dict[str, Any]] = {}
    for batch in batches(documents, lambda document: len(document["text"])):
        for document, tokens in zip(batch, encode_texts(tokenizer, [d["text"] for d in batch]), strict=True):
            row = table.setdefault(
                document["source"],
                {"source": document["source"], "documents": 0, "characters": 0, "tokens": 0, "first": "", "last": ""},
            )
            row["documents"] += 1
            row["characters"] += len(document["text"])
            row["tokens"] += len(tokens)
            if day := document["date"][:10]:
                row["first"], row["last"] = min(row["first"] or day, day), max(row["last"], day)
    return list(table.values())


def batches(items: Iterable[Item], characters: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Cut a stream into batches for `encode_texts`; `characters` gives an item's length."""
    batch: list[Item] = []
    total = 0
    for item in items:
        size = characters(item)
        if batch and (len(batch) == BATCH_TEXTS or total + size > BATCH_CHARACTERS):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size
    if batch:
        yield batch


def backend_copy(tokenizer: Any) -> Any:
    """A copy of the Rust tokenizer that adds no special tokens, truncates and pads nothing and keeps offsets whole."""
    return _copy(tokenizer, _state(tokenizer))


def _state(tokenizer: Any) -> tuple[int, ...]:
    """What the caches below depend on beside the tokenizer: a token that is added or named later makes a new copy."""
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
    return (len(tokenizer), *(-1 if number is None else number for number in special))


@lru_cache(maxsize=4)
def _copy(tokenizer: Any, state: tuple[int, ...]) -> Any:
    from tokenizers import processors

    if not getattr(tokenizer, "is_fast", False):
        raise SetupError(f"{tokenizer.name_or_path}: a fast tokenizer is needed; this one gives no offsets.")
    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    # A byte-level post-processor may cut the space off the offsets of " word", and chunks must be slices of the text.
    backend.post_processor = processors.Sequence([])
    backend.no_truncation()
    backend.no_padding()
    return backend


@lru_cache(maxsize=4)
def _copy_with_cut(tokenizer: Any, state: tuple[int, ...]) -> Any:
    from tokenizers import AddedToken

    backend = copy.deepcopy(_copy(tokenizer, state))
    backend.add_tokens([AddedToken(CUT, normalized=False)])
    return backend


@lru_cache(maxsize=4)
def _control_ids(tokenizer: Any, state: tuple[int, ...]) -> frozenset[int]:
    added = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    named = {tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id} - {None}
    # Some pad with an ordinary word ("!"), which transformers then takes for special. It is ordinary where the
    # merges of a BPE make it of its characters.
    pad = tokenizer.pad_token_id
    if pad is not None and pad not in named and type(tokenizer.backend_tokenizer.model).__name__ == "BPE":
        backend = _copy(tokenizer, state)
        backend.encode_special_tokens = True
        if backend.encode(tokenizer.decode([pad]), add_special_tokens=False).ids == [pad]:
            added.discard(pad)
    return frozenset(added | named)


@lru_cache(maxsize=4)
def _control_pattern(tokenizer: Any, state: tuple[int, ...]) -> re.Pattern[str]:
    added = tokenizer.added_tokens_decoder
    left, right, plain = [], [], []
    for number in sorted(control_ids(tokenizer)):
        word = tokenizer.convert_ids_to_tokens(number)
        plain.append(word)
        left += [word] if number in added and added[number].lstrip else []
        right += [word] if number in added and added[number].rstrip else []
    if not plain:
        return re.compile(r"(?!)()")

    def any_of(words: list[str]) -> str:
        return "|".join(map(re.escape, sorted(words, key=len, reverse=True))) or r"(?!)"

    ahead, behind = rf"(?:\s*(?={any_of(left)}))?", "".join(rf"(?:(?<={re.escape(word)})\s*)?" for word in right)
    return re.compile(f"{ahead}({any_of(plain)}){behind}")


def _checked(tokenizer: Any, text: str, encoded: Any, backend: Any) -> Tokens:
    """Encode again, with a substitute for each character that came out as a control token."""
    control, ids = control_ids(tokenizer), encoded.ids
    if control.isdisjoint(ids):
        return Tokens(ids, encoded)
    characters, replaced = list(text), set[int]()
    stand_in = _stand_in(tokenizer, _state(tokenizer))
    while bad := [index for index, token in enumerate(ids) if token in control]:
        places = {place for index in bad for place in range(*encoded.token_to_chars(index))}
        if places <= replaced:
            raise SetupError(f"{tokenizer.name_or_path}: no tokens for {text[min(places)]!r}, nor for {stand_in!r}.")
        for place in places:
            characters[place] = stand_in
        replaced |= places
        encoded = backend.encode("".join(characters), add_special_tokens=False)
        ids = encoded.ids
    return Tokens(ids, encoded, tuple(sorted(replaced)))


@lru_cache(maxsize=4)
def _stand_in(tokenizer: Any, state: tuple[int, ...]) -> str:
    """What is encoded for a character without a token: as long as it, so that offsets stay."""
    backend, control = backend_copy(tokenizer), control_ids(tokenizer)
    backend.encode_special_tokens = True
    return next((c for c in "\ufffd?" if control.isdisjoint(backend.encode(c, add_special_tokens=False).ids)), " ")
