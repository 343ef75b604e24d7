"""Rows packed in their order, and batches of one fixed shape, which compiled code and CUDA graphs need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ftlib.chunking import IGNORE


def packs(rows: Iterable[Mapping[str, Any]], length: int) -> list[dict[str, list[int]]]:
    """Rows one after the other in sequences of at most `length` tokens; none is cut, and their order stays.

    Args:
        rows: input_ids and labels, as lists.

    Returns:
        input_ids, labels and seq_lengths of each sequence, as TRL's packed data sets have them.
    """
    found: list[dict[str, list[int]]] = []
    for row in rows:
        ids = row["input_ids"]
        if not found or len(found[-1]["input_ids"]) + len(ids) > length:
            found.append({"input_ids": [], "labels": [], "seq_lengths": []})
        found[-1]["input_ids"] += ids
        found[-1]["labels"] += row["labels"]
        found[-1]["seq_lengths"].append(len(ids))
    return found


def pack_in_order(rows: Any, length: int) -> Any:
    """`packs` as a `datasets.Dataset`, for orders that mean something: TRL's best fit sorts rows by length."""
    from datasets import Dataset

    return Dataset.from_list(packs(rows, length))


def fixed_shape(
    features: Sequence[dict[str, Any]],
    length: int,
    rows: int,
    pad_token_id: int,
    causal_where_possible: bool = True,
) -> dict[str, Any]:
    """A batch of `rows` sequences of `length` tokens, whatever the features hold.

    What is missing is padding: a document of its own, without loss. Where each sequence is one document the batch may
    be (rows, length), for causal attention; else all sequences are one of (1, rows * length), for masked attention.
    A document's first token has no loss: what comes before it is none of its own.

    Args:
        features: input_ids, labels and, of packed ones, seq_lengths; at most `rows`, of at most `length` tokens each.

    Returns:
        input_ids, labels, position_ids: int64 of that shape; for masked attention also starts: (rows * length,) int32,
        for each token where its document begins.
    """
    import numpy as np
    import torch

    ids = np.full((rows, length), pad_token_id, dtype=np.int64)
    labels = np.full((rows, length), IGNORE, dtype=np.int64)
    starts = np.zeros((rows, length), dtype=np.int32)
    single = causal_where_possible
    for row in range(rows):
        parts: list[int] = []
        if row < len(features):
            feature = features[row]
            tokens = len(feature["input_ids"])
            ids[row, :tokens] = feature["input_ids"]
            labels[row, :tokens] = feature["labels"]
            parts = [int(part) for part in feature.get("seq_lengths", (tokens,))]
        single &= len(parts) <= 1
        begins = np.cumsum([0, *parts])
        for begin, end in zip(begins, [*begins[1:], length], strict=True):
            starts[row, begin:end] = begin
            labels[row, begin : begin + 1] = IGNORE
    if single:
        # Padding follows the document and has no loss, so that it may see it.
        positions = np.tile(np.arange(length), (rows, 1))
        arrays = {"input_ids": ids, "labels": labels, "position_ids": positions}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    positions = np.arange(length)[None] - starts
    starts += length * np.arange(rows, dtype=np.int32)[:, None]
    arrays = {"input_ids": ids, "labels": labels, "position_ids": positions}
    batch = {name: torch.from_numpy(array.reshape(1, -1)) for name, array in arrays.items()}
    return batch | {"starts": torch.from_numpy(starts.reshape(-1))}
