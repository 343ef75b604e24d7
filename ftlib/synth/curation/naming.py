"""Whether a question names the project or the document that it is about."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

# Titles and file names that name nothing: every project has them.
_GENERIC = frozenset(
    "readme home index introduction overview faq changes changelog contributing license docs documentation guide setup "
    "installation install usage testing tests development deployment deploying configuration notes todo summary about "
    "help getting started architecture quickstart tutorial examples security troubleshooting roadmap authors api "
    "requirements support init main utils types constants".split()
)
# Scripts that put no space between words: each character is a word.
DENSE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = rf"#\d+|[{DENSE}]|[^\W_{DENSE}]+"  # compiled at the first use


def is_named(question: str, names: Iterable[str]) -> bool:
    """Whether one of the names stands in the question as whole words; case and what parts the words is no matter."""
    asked, edges = _run(question)
    wanted = filter(None, (_run(name)[0] for name in names))
    found = ((m.start(), len(w)) for w in wanted for m in re.finditer(f"(?={re.escape(w)})", asked))
    return any(at in edges and at + length in edges for at, length in found)


def words_of(text: str) -> list[str]:
    return [
        w for w in re.findall(_WORD, unicodedata.normalize("NFKC", text).casefold()) if w != "and"
    ]  # "&" in a title


def _run(text: str) -> tuple[str, set[int]]:
    """The words without what parts them (manage-frontend, manageFrontend), and where words begin and end."""
    run, edges = "", set()
    for word in words_of(text):
        run += " " if run[-1:].isdigit() and word[0].isdigit() else ""
        edges |= {len(run), len(run) + len(word)}
        run += word
    return run, edges


def number_of(document: Mapping[str, Any]) -> int | None:
    """The number of a pull request, an issue or a discussion: `pull_request:12` is 12."""
    match = re.search(r"(\d+)$", document["id"])
    return int(match[1]) if match else None


def names_of(document: Mapping[str, Any]) -> list[str]:
    """What a question may call a document: its path, file name, title or number, where these say something."""
    path, title = document["path"], document["title"]
    if document["source"] in ("pull_request", "issue", "discussion"):
        number = number_of(document)
        called = ("#", "PR ", "GH-", "pull/", "request ", "request number ", "request no. ", "issue ", "discussion ")
        title = re.sub(r"^(?:PR|Issue|Discussion) #\d+: ", "", title)
        return [f"{word}{number}" for word in called] + ([title] if len(words_of(title)) > 1 else [])
    file = path.rsplit("/", 1)[-1]
    stem, _, ending = file.rpartition(".")
    names = [file, stem] if document["source"] in ("wiki", "docs") and stem else [file]
    names = [name for name in (*names, title) if not set(words_of(name.removesuffix(f".{ending}"))) <= _GENERIC]
    return [path, *names] if "/" in path else names
