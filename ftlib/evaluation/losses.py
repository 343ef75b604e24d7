"""Losses of both arms, row by row: what they are summed from, and how many of a recited text's tokens are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftlib import chat, tokens
from ftlib.inference import ARMS, arm, held_out, row_losses
from ftlib.training.whole import scaled

Row = Mapping[str, Any]
Held = dict[str, list[dict[str, Any]]]

SHARE_OF_DIAL = 4  # a scale's losses are of a part of the tokens


def rows_of(tokenizer: Any, validation: Sequence[Row], general: Sequence[Row], most: int) -> Held:
    """What has a loss: held-out chats and raw text, and the references of general items; each row with its bytes.

    Args:
        most: tokens of the chats, and of the raw text; 0: all.
    """
    chats = [_exchange(row) for row in general]
    encoded = chat.encode_chats(tokenizer, chats, "assistant") if chats else []
    found = {kind: [dict(row) for row in part] for kind, part in held_out(validation, most).items()}
    found["general"] = [
        {**row, "id": item["id"], "document_id": ""} for row, item in zip(encoded, general, strict=True)
    ]
    for number, row in enumerate(row for part in found.values() for row in part):
        # Behind the first token, which nothing predicts.
        counted = [token for token, label in zip(row["input_ids"][1:], row["labels"][1:], strict=True) if label >= 0]
        row["bytes"] = len(tokenizer.decode(counted, skip_special_tokens=True).encode())
        row["id"] = row.get("id") or f"row {number}"
        row["counted"] = len(counted)
    # A row of one token has none to predict; of such alone there is no mean.
    kept = {kind: [row for row in part if row.pop("counted")] for kind, part in found.items()}
    return {kind: part for kind, part in kept.items() if part}


def _exchange(row: Row) -> list[dict[str, str]]:
    return [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["reference"]}]


def measure(model: Any, tokenizer: Any, held: Held) -> None:
    """Put each arm's nll, tokens and hits into the rows."""
    for name in ARMS:
        with arm(model, name):
            for part in held.values():
                for row, found in zip(part, row_losses(model, part, tokenizer.pad_token_id), strict=True):
                    row[name] = found


def at_scale(model: Any, tokenizer: Any, held: Held, scale: float) -> dict[str, float]:
    """Loss of a part of the chats and of the raw text with the adapter at a scale, by token; after `measure`."""
    means = {}
    for kind in ("chat", "raw"):
        if part := held.get(kind, [])[::SHARE_OF_DIAL]:
            if scale in (0.0, 1.0):
                found = [row[ARMS[int(scale)]] for row in part]
            else:
                with scaled(model, scale):
                    found = row_losses(model, part, tokenizer.pad_token_id)
            means[kind] = sum(one["nll"] for one in found) / sum(one["tokens"] for one in found)
    return means


def token_accuracy(model: Any, tokenizer: Any, recited: Sequence[dict[str, Any]]) -> None:
    """Put token_hits, token_count and token_accuracy into both answers of recited texts.

    Teacher-forced: of the reference's tokens, each behind the right ones, those that the model finds the likeliest.
    """
    if not recited:
        return
    encoded = chat.encode_chats(tokenizer, [_exchange(row) for row in recited], "assistant")
    ends = tokens.control_ids(tokenizer)
    for row, one in zip(recited, encoded, strict=True):
        if not row["whole"]:
            # It does not end where it was cut; some templates have several tokens for that.
            one["labels"] = [chat.IGNORE if label in ends else label for label in one["labels"]]
    for name in ARMS:
        with arm(model, name):
            for row, found in zip(recited, row_losses(model, encoded, tokenizer.pad_token_id), strict=True):
                share = found["hits"] / found["tokens"] if found["tokens"] else 0.0
                row[name] |= {"token_hits": found["hits"], "token_count": found["tokens"], "token_accuracy": share}
