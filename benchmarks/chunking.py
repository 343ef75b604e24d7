"""What exact chunking costs: its time over one bare tokenizer pass on the same documents, beside four text splitters.

    .venv/bin/python benchmarks/chunking.py [--repository PATH] [--max-length 8192] [--repeats 5] [--no-peers]

The bare pass is `tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)`, one batch on all cores. It
alternates with what is measured, in one process, and a ratio is the median of the pairs. Below 1 is possible: the pass
makes Python lists of all offsets, and ftlib reads those it needs.

What comes out is counted, not assumed. over_limit: chunks of more than max_length tokens; ftlib's with header, BOS and
EOS, a peer's without any of them. lost_characters: of the documents, in no chunk. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import shutil
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

# Before transformers is imported: all cores for everybody, and no network.
os.environ.update(TOKENIZERS_PARALLELISM="true", HF_HUB_OFFLINE="1")

from ftlib import chunking, models, tokens
from ftlib.scrape import ScrapeConfig, scrape
from ftlib.workspace import Workspace, open_workspace, read_jsonl

CASE = Path(__file__).resolve().parents[2] / "shared/data/manage-frontend.git.tar.gz"
OTHER_LENGTHS = (1024, 512)
PEER_SECONDS = 60.0  # a peer that would need longer gets fewer repeats, then a share of the documents
PACKAGES = """ftlib transformers tokenizers langchain-text-splitters semchunk semantic-text-splitter chonkie
chonkie-core""".split()

Document = dict[str, Any]
Split = Callable[[Sequence[Document]], list[list[str]]]


# --- peers: each returns the chunks of each document, none with an overlap --------------------------------------------


def langchain(tokenizer: Any, max_length: int, **settings: Any) -> Split:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter.from_huggingface_tokenizer(
        tokenizer, chunk_size=max_length, chunk_overlap=0, **settings
    )
    return lambda documents: [splitter.split_text(document["text"]) for document in documents]


def semchunk(tokenizer: Any, max_length: int) -> Split:
    from semchunk import chunkerify

    chunker = chunkerify(tokenizer, max_length)

    def split(documents: Sequence[Document]) -> list[list[str]]:
        # It forks one process a core; the tokenizer's own threads don't survive a fork.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        try:
            return cast(Any, chunker([document["text"] for document in documents], processes=os.cpu_count() or 1))
        finally:
            os.environ["TOKENIZERS_PARALLELISM"] = "true"

    return split


def semantic_text_splitter(tokenizer: Any, max_length: int, **settings: Any) -> Split:
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    plain, markdown = (
        kind.from_huggingface_tokenizer(tokenizer.backend_tokenizer, max_length, **settings)
        for kind in (TextSplitter, MarkdownSplitter)
    )

    def split(documents: Sequence[Document]) -> list[list[str]]:
        found: dict[int, list[str]] = {}
        for splitter, sources in ((plain, ("code", "pull_request")), (markdown, ("docs", "wiki"))):
            numbers = [number for number, document in enumerate(documents) if document["source"] in sources]
            found.update(zip(numbers, splitter.chunk_all([documents[n]["text"] for n in numbers]), strict=True))
        return [found[number] for number in range(len(documents))]

    return split


def chonkie_recursive(tokenizer: Any, max_length: int) -> Split:
    from chonkie import RecursiveChunker

    chunker = RecursiveChunker(tokenizer=tokenizer, chunk_size=max_length)
    return lambda documents: [
        [chunk.text for chunk in chunks]
        for chunks in chunker.chunk_batch([document["text"] for document in documents], show_progress=False)
    ]


def chonkie_token(tokenizer: Any, max_length: int) -> Split:
    from chonkie import TokenChunker

    chunker = TokenChunker(tokenizer=tokenizer, chunk_size=max_length)
    return lambda documents: [
        [chunk.text for chunk in chunks]
        for chunks in chunker.chunk_batch(
            [document["text"] for document in documents], batch_size=len(documents), show_progress_bar=False
        )
    ]


PEERS: dict[str, Callable[[Any, int], Split]] = {
    "langchain-text-splitters RecursiveCharacterTextSplitter": langchain,
    "langchain-text-splitters, strip_whitespace=False": lambda t, n: langchain(t, n, strip_whitespace=False),
    "semchunk": semchunk,
    "semantic-text-splitter": semantic_text_splitter,
    "semantic-text-splitter, trim=False": lambda t, n: semantic_text_splitter(t, n, trim=False),
    "chonkie RecursiveChunker": chonkie_recursive,
    "chonkie TokenChunker": chonkie_token,
}


# --- inputs -----------------------------------------------------------------------------------------------------------


def documents_of(repository: str, folder: Path) -> Workspace:
    """Scrape a repository; "" for the case study where its archive lies beside the checkout, else the sample."""
    if not repository and CASE.is_file():
        with tarfile.open(CASE) as archive:
            archive.extractall(folder, filter="data")
        repository = str(folder / CASE.name.removesuffix(".tar.gz"))
    if not repository:
        print(f"No {CASE}: this measures the built-in sample, which is too small to say much.", file=sys.stderr)
    space = open_workspace(folder / "workspace")
    scrape(ScrapeConfig(repository or "sample", pull_requests=200), space)
    return space


def mistral_tokenizer(folder: Path, chat_template: str = "") -> Any:
    """The tokenizer of Mistral 7B Instruct v0.2, from the SentencePiece file that mistral-common carries."""
    import mistral_common

    folder.mkdir()
    shutil.copy(Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1", folder / "tokenizer.model")
    config: dict[str, Any] = {"add_bos_token": True, "tokenizer_class": "LlamaTokenizer"}
    if chat_template:
        config["chat_template"] = chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "mistral"}), encoding="utf-8")
    return models.load_tokenizer(str(folder))


def subset(documents: Sequence[Document], share: float) -> list[Document]:
    """A random share of the documents by characters; the same each time."""
    shuffled = random.Random(0).sample(list(documents), len(documents))
    left = share * sum(len(document["text"]) for document in documents)
    chosen = []
    for document in shuffled:
        if left <= 0:
            break
        chosen.append(document)
        left -= len(document["text"])
    return chosen


# --- measuring --------------------------------------------------------------------------------------------------------


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def paired(passes: Sequence[Callable[[], Any]], repeats: int) -> list[tuple[float, ...]]:
    """Seconds of each, by turns."""
    return [tuple(timed(one)[0] for one in passes) for _ in range(repeats)]


def median_ratio(seconds: Sequence[tuple[float, ...]], one: int, other: int) -> float:
    return round(statistics.median(row[one] / row[other] for row in seconds), 3)


def lost(text: str, chunks: str) -> int:
    """Characters of a text that its chunks, joined, lack: all but the longest common subsequence, which is exact for
    chunks that are slices, and the most favourable count for those that are not."""
    from rapidfuzz.distance import LCSseq

    return 0 if text == chunks else len(text) - LCSseq.similarity(text, chunks)


def measure_ours(documents: Sequence[Document], tokenizer: Any, max_length: int, repeats: int) -> dict[str, Any]:
    texts = [document["text"] for document in documents]
    passes: list[Callable[[], Any]] = [
        lambda: tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True),
        lambda: list(chunking.chunk_documents(documents, tokenizer, max_length)),
        lambda: tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False),
    ]
    paired(passes, 1)
    seconds = paired(passes, repeats)
    chunks = passes[1]()
    parts: dict[str, list[dict[str, Any]]] = {document["id"]: [] for document in documents}
    for chunk in chunks:
        parts[chunk["document_id"]].append(chunk)
    return {
        "ratio": median_ratio(seconds, 1, 0),
        "ratios": [round(row[1] / row[0], 3) for row in seconds],
        "ratio_to_backend_pass": median_ratio(seconds, 1, 2),
        "seconds": round(statistics.median(row[1] for row in seconds), 3),
        "pass_seconds": round(statistics.median(row[0] for row in seconds), 3),
        "chunks": len(chunks),
        "over_limit": sum(len(chunk["input_ids"]) > max_length for chunk in chunks),
        "lost_characters": sum(lost_by_ours(document, parts[document["id"]], tokenizer) for document in documents),
    }


def lost_by_ours(document: Document, parts: Sequence[dict[str, Any]], tokenizer: Any) -> int:
    """Characters that are not in the slices, or not in the text that the ids stand for."""
    slices = "".join(document["text"][part["start"] : part["end"]] for part in parts)
    bos, eos = tokens.bos_ids(tokenizer), tokenizer.eos_token_id
    bodies = []
    for part in parts:
        last = part is parts[-1] and part["input_ids"][-1] == eos
        text = tokenizer.decode(part["input_ids"][len(bos) : len(part["input_ids"]) - last])
        head = chunking.header(document, part["part"])
        bodies.append(text[len(head) :] if text.startswith(head) else "")
    return max(lost(document["text"], slices), lost(document["text"], "".join(bodies)))


def measure_peer(
    make: Callable[[Any, int], Split], documents: Sequence[Document], tokenizer: Any, max_length: int, repeats: int
) -> dict[str, Any]:
    # A new splitter each time: some remember the counts of all texts that they have seen.
    trial = subset(documents, 0.05)
    size = sum(len(document["text"]) for document in documents)
    estimate = timed(lambda: make(tokenizer, max_length)(trial))[0] * size / sum(len(d["text"]) for d in trial)
    chosen = list(documents) if estimate <= PEER_SECONDS else subset(documents, PEER_SECONDS / estimate)
    repeats = max(1, min(repeats, int(PEER_SECONDS / estimate)))
    texts = [document["text"] for document in chosen]
    seconds: list[tuple[float, ...]] = []
    found: list[list[str]] = []
    for _ in range(repeats):
        split = make(tokenizer, max_length)
        bare, _ids = timed(lambda: tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True))
        del _ids
        took, found = timed(partial(split, chosen))
        seconds.append((bare, took))
    chunks = [chunk for one in found for chunk in one]
    counts = [len(ids) for ids in tokenizer(chunks, add_special_tokens=False)["input_ids"]]
    share = 1.0
    if len(chosen) < len(documents):
        sets = (chosen, documents)
        part, whole = (sum(map(len, tokens.encode_texts(tokenizer, [d["text"] for d in one]))) for one in sets)
        share = part / whole
    return {
        "ratio": median_ratio(seconds, 1, 0),
        "seconds": round(statistics.median(row[1] for row in seconds), 3),
        "chunks": len(chunks),
        "over_limit": sum(count > max_length for count in counts),
        "longest": max(counts),
        "lost_characters": sum(lost(text, "".join(one)) for text, one in zip(texts, found, strict=True)),
        "share_of_tokens": round(share, 3),
    }


# --- output -----------------------------------------------------------------------------------------------------------


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def line(name: str, row: dict[str, Any]) -> str:
    share = row.get("share_of_tokens", 1.0)
    return (
        f"{name:56}{row['ratio']:>7.2f}{row['seconds']:>9.2f} s{row['chunks']:>8,}{row['over_limit']:>12,}"
        f"{row['lost_characters']:>10,}" + (f"   on {share:.0%} of the tokens" if share < 1 else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repository", default="", help="a path or URL; empty: the case study, else the sample")
    parser.add_argument("--max-length", type=int, default=8192)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ftlib-bench-") as name:
        documents = list(read_jsonl(documents_of(options.repository, Path(name)).documents))
        tokenizer = mistral_tokenizer(Path(name) / "mistral")
        size = sum(row["tokens"] for row in tokens.count_tokens(documents, tokenizer))
        print(f"{len(documents):,} documents, {size:,} tokens, max_length {options.max_length:,}; {cpu()}\n")
        print(f"{'':56}{'ratio':>7}{'time':>11}{'chunks':>8}{'over limit':>12}{'lost':>10}", flush=True)
        ours = measure_ours(documents, tokenizer, options.max_length, options.repeats)
        print(line("ftlib", ours), flush=True)
        others = {n: measure_ours(documents, tokenizer, n, options.repeats) for n in OTHER_LENGTHS}
        for length, row in others.items():
            print(line(f"ftlib, max_length {length:,}", row), flush=True)
        peers: dict[str, Any] = {}
        for peer, make in PEERS.items() if options.peers else ():
            try:
                peers[peer] = measure_peer(make, documents, tokenizer, options.max_length, options.repeats)
                print(line(peer, peers[peer]), flush=True)
            except ImportError as error:
                peers[peer] = None
                print(f"{peer} is not installed ({error}); `pip install -e .[bench]` brings it.", file=sys.stderr)
    result = {
        "ratio_to_one_pass": ours["ratio"],
        "ratio_to_backend_pass": ours["ratio_to_backend_pass"],
        "ratios": ours["ratios"],
        "by_max_length": {str(length): row["ratio"] for length, row in others.items()},
        # At all lengths together.
        "over_limit": sum(row["over_limit"] for row in (ours, *others.values())),
        "lost_characters": sum(row["lost_characters"] for row in (ours, *others.values())),
        "chunks": ours["chunks"],
        "seconds": ours["seconds"],
        "pass_seconds": ours["pass_seconds"],
        "documents": len(documents),
        "tokens": size,
        "max_length": options.max_length,
        "repeats": options.repeats,
        "peers": peers,
        "cpu": cpu(),
        "versions": versions(PACKAGES),
    }
    print("\n" + json.dumps(result))


if __name__ == "__main__":
    main()
