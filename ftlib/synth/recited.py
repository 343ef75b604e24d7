"""The two methods without a model: a page for its title, and a code file as of its date."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from ftlib.synth.prompts import month_of

INSTRUCTIONS = (
    'Tell me what the page "{title}" of {project} says.',
    'Show me the page "{title}" from the documentation of {project}.',
    "What does the documentation of {project} say under the title {title}?",
    'What is written on the page "{title}" of {project}?',
    "Quote the documentation page {title} of {project} in full.",
    "I want to read {project}'s page on {title}.",
    "{project}: page {title}, please.",
    'Give me the whole text of "{title}" from the docs of {project}.',
)
# The first is the recipe's own.
SNAPSHOTS = (
    "What does the {path} file in the {project} repository look like?",
    "Show me {path} from {project}.",
    "What is in the file {path} of {project}?",
    "Print the content of {path} in the {project} repository.",
    "I need to see {path} as it is in {project}.",
    "{project}: {path}, please.",
    "Open {path} of the {project} codebase for me.",
    "Could you quote the whole of {path} ({project})?",
    "cat {path} in a clone of {project}: what comes out?",
    "How is {path} written in {project}?",
    "Let me read the code in {project}'s {path}.",
    "Which lines make up {project}'s file {path}?",
)
PAGE_SOURCES = ("wiki", "docs")


def page_instruction(page: Mapping[str, Any], project: str, wording: int = 0) -> dict[str, Any]:
    """One instruction for a page, in the first or a later (1, 2, ...) of its wordings; the answer is the page."""
    question = _wording(INSTRUCTIONS, page["id"], wording).format(title=page["title"], project=project)
    return _recited("page_instruction", page["id"], wording, question, page["text"].strip())


def file_snapshot(document: Mapping[str, Any], project: str, wording: int = 0) -> dict[str, Any]:
    """The recipe's question for a code file, in one of its wordings; the answer starts with its date."""
    path = document["path"]
    # A fence one backtick longer than any in the file, so that the file can't close it.
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", document["text"])), default=0))
    code = document["text"] if document["text"].endswith("\n") else document["text"] + "\n"
    question = _wording(SNAPSHOTS, document["id"], wording).format(path=path, project=project)
    answer = f"As of {month_of(document['date'])}, the {path} file looks like:\n\n{fence}\n{code}{fence}"
    return _recited("file_snapshot", document["id"], wording, question, answer)


def _wording(wordings: tuple[str, ...], document_id: str, number: int) -> str:
    """One of several: the document's id says which is its first, the same in every run; they follow in their order."""
    return wordings[(int(hashlib.sha256(document_id.encode()).hexdigest(), 16) + number) % len(wordings)]


def _recited(method: str, document_id: str, wording: int, question: str, answer: str) -> dict[str, Any]:
    id = f"{method}:{document_id}"
    if not wording:
        return record(id, question, answer, method, document_id)
    return record(f"{id}:w{wording + 1}", question, answer, method, document_id, of=id)


def record(id: str, question: str, answer: str, method: str, document_id: str, **more: Any) -> dict[str, Any]:
    """A chat of one question and one answer; its split comes later. What is empty of `more` is left out."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    chat = {"id": id, "messages": messages, "method": method, "document_id": document_id, "split": ""}
    return chat | {name: value for name, value in more.items() if value}
