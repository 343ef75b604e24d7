"""Training rows on disk: written one batch after another, read through a memory map.

An Arrow file, which `datasets` opens without loading it: memory stays flat in the number of rows.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROWS, TOKENS = 1000, 1_000_000  # of a batch, at most


def scratch() -> Path:
    """A folder that is removed when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="ftlib-rows-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def fingerprint(row: Mapping[str, Any]) -> int:
    """64 bits that change with any id, label or other field of a row; the sum over rows knows no order."""
    import numpy as np

    about = "\0".join(str(row[name]) for name in ("source", "document_id", "split"))
    values = [np.asarray(row[name], dtype=np.int32).tobytes() for name in ("input_ids", "labels")]
    return int.from_bytes(hashlib.blake2b(about.encode() + b"".join(values), digest_size=8).digest(), "big")


def store(rows: Iterable[Mapping[str, Any]], folder: Path, name: str = "rows") -> Any:
    """Write rows (dicts of input_ids, labels, source, document_id and split) to a file of a folder.

    Returns:
        a `datasets.Dataset` over the file, in the order of `rows`.
    """
    import pyarrow as pa
    from datasets import Dataset

    ints = pa.list_(pa.int32())
    schema = pa.schema(
        [("input_ids", ints), ("labels", ints), ("source", pa.string()), ("document_id", pa.string()),
         ("split", pa.string())]
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    # A name of its own each time: an earlier file may still be mapped by a dataset in use.
    file = Path(tempfile.mkdtemp(dir=folder, prefix=f"{name}-")) / f"{name}.arrow"
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
        for batch in _batches(rows):
            out.write_batch(
                pa.record_batch(
                    [pa.array([row[field.name] for row in batch], type=field.type) for field in schema], schema=schema
                )
            )
    return Dataset.from_file(str(file))


def concatenate(*datasets: Any) -> Any:
    """One dataset after the other, still on disk; empty ones are left out, having no types of their own."""
    from datasets import concatenate_datasets

    return concatenate_datasets([dataset for dataset in datasets if len(dataset)] or [datasets[0]])


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row["input_ids"])
        if len(batch) >= ROWS or size >= TOKENS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def arrays(rows: Any) -> Iterator[dict[str, Any]]:
    """The rows of a dataset (or list of dicts) with input_ids and labels as NumPy arrays, for counting."""
    import numpy as np

    if isinstance(rows, (list, tuple)):
        for row in rows:
            yield {**row, "input_ids": np.asarray(row["input_ids"]), "labels": np.asarray(row["labels"])}
        return
    for batch in rows.with_format("arrow").iter(batch_size=ROWS):
        columns = {name: batch[name].combine_chunks() for name in batch.column_names}
        ids, labels = columns.pop("input_ids"), columns.pop("labels")
        others = {name: column.to_pylist() for name, column in columns.items()}
        for number in range(len(batch)):
            yield {
                **{name: values[number] for name, values in others.items()},
                "input_ids": ids[number].values.to_numpy(),
                "labels": labels[number].values.to_numpy(),
            }


def lengths(rows: Any) -> list[int]:
    """Tokens of each row of a dataset (or list of dicts), without reading the rows themselves into Python."""
    if isinstance(rows, (list, tuple)):
        return [len(row["input_ids"]) for row in rows]
    import pyarrow.compute as pc

    batches = rows.select_columns(["input_ids"]).with_format("arrow").iter(batch_size=ROWS)
    return [length for batch in batches for length in pc.list_value_length(batch["input_ids"]).to_pylist()]


def longest(rows: Any) -> int:
    """Tokens of the longest row; 0 where there is none."""
    return max(lengths(rows), default=0)
