"""Memory of `build_mixture` on a growing number of documents, beside `datasets.Dataset.from_list` of the same rows.

    .venv/bin/python benchmarks/memory.py [--tokens 5 50] [--peer-tokens 5] [--repository PATH] [--no-peers]

The documents are the case study's again and again, each copy with its own id, path and first words, and one chat for
each; generators hand them over. Every figure comes from a process of its own. peak_mib is the highest anonymous memory
(RssAnon, every 20 ms) above the baseline: what the process held before, with all imports done and the tokenizer loaded.
Rows that are mapped from a file are not anonymous; ru_maxrss counts them, and the baseline too. Linux only. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from chunking import Document, cpu, documents_of, mistral_tokenizer, versions

from ftlib import mixture, tokens
from ftlib.rows import arrays
from ftlib.workspace import read_jsonl, write_jsonl

MAX_LENGTH = 8192
PEER = "datasets.Dataset.from_list"
PACKAGES = "ftlib transformers tokenizers datasets pyarrow".split()
_WORD = re.compile(r"[A-Za-z]{4,}")
# Mistral 7B Instruct v0.2's own.
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)


def copies(file: Path, size: int) -> Iterator[Document]:
    """Documents of `size` tokens in all, each unlike the others; the file is read anew for each copy."""
    for copy in count():
        for document in read_jsonl(file):
            if size <= 0:
                return
            size -= document.pop("tokens")
            for name in ("id", "path", "title"):
                document[name] = f"copy {copy}: {document[name]}"
            document["text"] = _WORD.sub(rf"\g<0>{copy}", document["text"], count=3)
            yield document


def chats(file: Path, size: int) -> Iterator[dict[str, Any]]:
    """A chat on each document."""
    for document in copies(file, size):
        yield {
            "id": f"chat on {document['id']}",
            "method": "page_qa",
            "document_id": document["id"],
            "split": mixture.split_of(document["id"]),
            "messages": [
                {"role": "user", "content": f"What is at the beginning of {document['id']}?"},
                {"role": "assistant", "content": document["text"].strip()[:600] or "Nothing."},
            ],
        }


def by_ftlib(file: Path, size: int, tokenizer: Any, folder: Path) -> list[Any]:
    config = mixture.MixtureConfig(max_length=MAX_LENGTH)
    built = mixture.build_mixture(copies(file, size), chats(file, size), tokenizer, config, folder)
    return [built.train, built.validation]


def by_from_list(file: Path, size: int, tokenizer: Any, folder: Path) -> list[Any]:
    """The usual way: all rows as lists, then a dataset."""
    from datasets import Dataset

    rows = []
    for document in copies(file, size):
        ids = tokenizer(document["text"])["input_ids"]
        for start in range(0, len(ids), MAX_LENGTH):
            part = ids[start : start + MAX_LENGTH]
            about = {"source": document["source"], "document_id": document["id"]}
            rows.append({"input_ids": part, "labels": list(part), **about})
    for chat in chats(file, size):
        ids = tokenizer.apply_chat_template(chat["messages"], tokenize=True, return_dict=False)
        about = {"source": chat["method"], "document_id": chat["document_id"]}
        rows.append({"input_ids": ids, "labels": list(ids), **about})
    return [Dataset.from_list(rows)]


WAYS = {"ftlib": by_ftlib, PEER: by_from_list}


# --- one process ------------------------------------------------------------------------------------------------------


def anonymous() -> float:
    """RssAnon of this process, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"^RssAnon:\s+(\d+) kB", status, re.M)[0]) / 1024


class Peak:
    """The highest anonymous memory while it is open."""

    def __enter__(self) -> Peak:
        self.mib, self.done = anonymous(), threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _sample(self) -> None:
        while not self.done.wait(0.02):
            self.mib = max(self.mib, anonymous())


def child(way: str, size: int, file: Path, folder: Path) -> dict[str, Any]:
    import datasets  # noqa: F401  what both ways import is in the baseline

    tokenizer = mistral_tokenizer(folder / "mistral", TEMPLATE)
    first = next(read_jsonl(file))
    tokens.encode_texts(tokenizer, [first["text"]] * 8)  # the tokenizer's threads too
    gc.collect()
    baseline, start = anonymous(), time.perf_counter()
    with Peak() as peak:
        datasets_ = WAYS[way](file, size, tokenizer, folder / "rows")
        seconds = time.perf_counter() - start
    made = sum(len(row["input_ids"]) for rows in datasets_ for row in arrays(rows))
    return {
        "way": way,
        "peak_mib": round(peak.mib - baseline, 1),
        "baseline_mib": round(baseline, 1),
        "maxrss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "rows": sum(map(len, datasets_)),
        "tokens": made,
        "seconds": round(seconds, 1),
        "tokens_per_second": round(made / seconds),
        "disk_mib": round(sum(path.stat().st_size for path in folder.glob("rows/**/*") if path.is_file()) / 2**20, 1),
    }


# --- all of them ------------------------------------------------------------------------------------------------------


def in_a_process(way: str, millions: float, file: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="ftlib-bench-") as folder:
        job = json.dumps([way, round(millions * 1e6), str(file), folder])
        done = subprocess.run([sys.executable, __file__, "--child", job], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{way} with {millions:g} M tokens ended with {done.returncode}.")
    row = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{way:28}{row['tokens'] / 1e6:>8.1f} M{row['peak_mib']:>10,.0f} MiB{row['maxrss_mib']:>10,.0f} MiB"
        f"{row['disk_mib']:>9,.0f} MiB{row['seconds']:>8.1f} s{row['tokens_per_second']:>12,}",
        flush=True,
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=float, nargs="+", default=[5, 50], help="millions")
    parser.add_argument("--peer-tokens", type=float, nargs="+", default=[5], help="millions, for the peer")
    parser.add_argument("--repository", default="", help="a path or URL; empty: the case study, else the sample")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way, size, file, folder = json.loads(options.child)
        print("\n" + json.dumps(child(way, size, Path(file), Path(folder))))
        return
    with tempfile.TemporaryDirectory(prefix="ftlib-bench-") as name:
        documents = list(read_jsonl(documents_of(options.repository, Path(name)).documents))
        tokenizer = mistral_tokenizer(Path(name) / "mistral")
        sizes = map(len, tokens.encode_texts(tokenizer, [document["text"] for document in documents]))
        file = Path(name) / "documents.jsonl"
        write_jsonl(file, ({**document, "tokens": n} for document, n in zip(documents, sizes, strict=True)))
        print(f"{'':28}{'tokens':>10}{'peak':>14}{'maxrss':>14}{'disk':>13}{'time':>10}{'tokens/s':>12}", flush=True)
        ours = {f"{millions:g}": in_a_process("ftlib", millions, file) for millions in sorted(options.tokens)}
        wanted = sorted(options.peer_tokens) if options.peers else []
        peer = {f"{millions:g}": in_a_process(PEER, millions, file) for millions in wanted}
    few, many = list(ours.values())[0], list(ours.values())[-1]
    more = (many["tokens"] - few["tokens"]) / 1e6
    result = {
        "peak_mib": {millions: row["peak_mib"] for millions, row in ours.items()},
        "growth_mib_per_million_tokens": round((many["peak_mib"] - few["peak_mib"]) / more, 3) if more else None,
        "peer": PEER,
        "peer_peak_mib": {millions: row["peak_mib"] for millions, row in peer.items()},
        "ftlib": ours,
        "peers": peer,
        "max_length": MAX_LENGTH,
        "documents": len(documents),
        "cpu": cpu(),
        "versions": versions(PACKAGES),
    }
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    main()
