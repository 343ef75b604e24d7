"""A fast tokenizer that agrees with its SentencePiece file.

transformers 5.17 makes a fast tokenizer from a bare `tokenizer.model` with merges in the order of the vocabulary, not
of the pieces' scores: runs of spaces, the first pieces after the bytes, are then merged first, "    return" becomes
"▁▁▁▁", "return" where Mistral and Llama 2 were trained on "▁▁▁", "▁return". A `tokenizer.json` from the hub is right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ftlib.errors import SetupError

# None begins with a space: SentencePiece puts one more before it, the fast tokenizers do not.
_PROBES = (
    "if x:\n    return x",
    "a  b",
    "\n\n        if (x) {\n\t\ty();\n      }",
    "Hi there, Mr.  O'Neil: 12 345",
    "naïve — 日本",
)
# A space before a text's first piece, and none before those that follow a control token (transformers' LlamaTokenizer).
_PREFIXED = {
    "normalizer": None,
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
    "decoder": {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    },
}


def mend(tokenizer: Any) -> Any:
    """Put the merges into the order of the scores where a tokenizer disagrees with its SentencePiece file.

    Raises:
        SetupError: it still disagrees; its tokens would not be the model's.
    """
    file = getattr(tokenizer, "vocab_file", None)
    if not file or not str(file).endswith(".model") or not Path(file).is_file():
        return tokenizer
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:  # transformers needs it to read the file at all
        return tokenizer
    try:
        reference = SentencePieceProcessor(model_file=str(file))
    except RuntimeError:  # a .model of another kind (tiktoken)
        return tokenizer
    if _agree(tokenizer, reference):
        return tokenizer
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    if backend["model"]["type"] == "BPE":
        backend["model"]["merges"] = _merges(reference)
        _replace(tokenizer, backend)
        if not _agree(tokenizer, reference) and reference.encode("Hi", out_type=str) == ["▁Hi"]:
            # For a config.json of type "mistral", transformers also leaves out the space that begins a text.
            _replace(tokenizer, backend | _PREFIXED)
    if not _agree(tokenizer, reference):
        raise SetupError(
            f"{tokenizer.name_or_path}: the fast tokenizer disagrees with {Path(file).name}, and its tokens would "
            "not be the model's. Put the model's tokenizer.json into the folder."
        )
    return tokenizer


def _replace(tokenizer: Any, backend: dict[str, Any]) -> None:
    from tokenizers import Tokenizer

    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(backend))


def _agree(tokenizer: Any, reference: Any) -> bool:
    return all(tokenizer(probe, add_special_tokens=False)["input_ids"] == reference.encode(probe) for probe in _PROBES)


def _merges(reference: Any) -> list[list[str]]:
    """All pairs of pieces that make a piece, best score first; ties by the order of the vocabulary."""
    size = reference.get_piece_size()
    pieces = {
        reference.id_to_piece(number): reference.get_score(number)
        for number in range(size)
        if not (reference.is_control(number) or reference.is_unknown(number) or reference.is_byte(number))
    }
    order = {piece: number for number, piece in enumerate(pieces)}
    found = [
        (-score, order[piece], order[piece[:at]], piece[:at], piece[at:])
        for piece, score in pieces.items()
        for at in range(1, len(piece))
        if piece[:at] in pieces and piece[at:] in pieces
    ]
    return [[left, right] for *_, left, right in sorted(found)]
