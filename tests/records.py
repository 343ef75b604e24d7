"""Documents and chats as 01_scrape and 02_synth write them, for the tests of what is made of them."""

from typing import Any

from ftlib import sample
from ftlib.audit import RAW_SOURCES
from ftlib.mixture import MixtureConfig, split_of

CONFIG = MixtureConfig(max_length=64, validation_share=0.25)


def document(name: str, source: str = "code", text: str = "value = 1\n") -> dict[str, str]:
    return {"id": f"{source}:{name}", "source": source, "title": name, "path": name, "text": text}


def chat_of(about, number: int = 0, method: str = "page_qa", answer: str = "It is so.", share: float = 0.25):
    messages = [
        {"role": "user", "content": f"What is it, {number}, in {about}?"},
        {"role": "assistant", "content": answer},
    ]
    own = f"{method}:{about}:{number}"
    return {
        "id": own,
        "messages": messages,
        "method": method,
        "document_id": about,
        "split": split_of(about or own, share),
    }


def documents() -> list[dict[str, str]]:
    """120 documents, of the sample's code among others; about a quarter is held out."""
    files = sorted((sample._DATA / "initial").rglob("*.py"))[:4]
    docs = [document(path.name, "code", path.read_text(encoding="utf-8")) for path in files]
    kinds = len(RAW_SOURCES)
    return docs + [document(f"{n}", RAW_SOURCES[n % kinds], f"Text {n}.\n" * (1 + n % 3)) for n in range(116)]


def chats() -> list[dict[str, Any]]:
    """Two pairs on each document, and a snapshot of each file."""
    rows = [chat_of(d["id"], n) for d in documents() for n in range(2)]
    return rows + [chat_of(d["id"], 0, "file_snapshot") for d in documents() if d["source"] == "code"]


def by_content(rows):
    return sorted((row["source"], row["document_id"], row["input_ids"]) for row in rows)
