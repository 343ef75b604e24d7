"""Pull requests, issues and discussions of a repository on GitHub as documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from ftlib import progress
from ftlib.scrape import anonymous, threads
from ftlib.scrape.conversation import author, label_names, lines_ended, said
from ftlib.scrape.documents import Document, Snapshot, document
from ftlib.scrape.filters import one_line
from ftlib.scrape.github import GitHub
from ftlib.scrape.pull_requests import pull_texts

Lists = dict[str, list[threads.Row]]

SOURCES = {"pullRequests": "pull_request", "issues": "issue", "discussions": "discussion"}


def reader(hub: GitHub) -> ModuleType:
    """The module whose `list_threads` and `read_threads` fit: GraphQL answers only with a token."""
    return threads if hub.has_token else anonymous


def list_all(hub: GitHub, limits: dict[str, int], until: str, notes: list[str]) -> Lists:
    """The last threads of each kind, up to a date; what can't be had is noted.

    Args:
        limits: key of SOURCES -> how many.
    """
    if not hub.has_token:
        notes.append(anonymous.NOTE)
    kinds = [kind for kind, limit in limits.items() if limit and (hub.has_token or kind != "discussions")]
    return {kind: reader(hub).list_threads(hub, kind, limits[kind], until) for kind in kinds}


def documents(
    hub: GitHub, at: Snapshot, lists: Lists, until: str, branch: str, fetch: Callable[[list[int]], None]
) -> Iterator[Document]:
    """A document for each thread, in the order of `lists`.

    Args:
        at: the snapshot whose repository holds the changes, and whose licence the texts have.
        branch, fetch: see `pull_requests.pull_texts`.
    """
    for kind, rows in lists.items():
        source = SOURCES[kind]
        with progress.bar(len(rows), "", f"{source.replace('_', ' ')}s from GitHub") as bar:
            found = [thread for _, thread in reader(hub).read_threads(hub, kind, rows, bar.update)]
        if kind == "pullRequests":
            texts = pull_texts(at, hub, found, until, branch, fetch)
        else:
            texts = (_text(thread, until) for thread in found)
        for row, thread, text in zip(rows, found, texts, strict=True):
            number, title = thread["number"], one_line(thread["title"])
            name = "PR" if kind == "pullRequests" else source.capitalize()
            path = f"{'pull' if kind == 'pullRequests' else source}/{number}"
            commit = (
                ((thread.get("mergeCommit") or {}).get("oid") or thread["headRefOid"]) if "headRefOid" in thread else ""
            )
            made = document(
                source, path, f"{name} #{number}: {title}", thread["url"], text, row["at"], commit, at.licence
            )
            yield {**made, "id": f"{source}:{number}"}


def _text(thread: dict[str, Any], until: str) -> str:
    """An issue or a discussion, less the line with number and title."""
    lines = [f"URL: {thread['url']}", f"Author: {author(thread)}"]
    if category := thread.get("category"):
        lines += [f"Category: {category['name']}"]
    if labels := label_names(thread):
        lines += [f"Labels: {labels}"]
    if thread.get("state"):
        closed = thread["closedAt"] and thread["closedAt"] <= until
        lines += [f"State: {'closed at ' + thread['closedAt'] if closed else 'open'}"]
    lines += [f"Created at: {thread['createdAt']}"]
    if body := lines_ended(thread["body"]):
        lines += [f"Description: {body}"]
    answer = thread.get("answer")
    if answer and answer["createdAt"] <= until:
        lines += ["", f"Answer by {author(answer)} at {answer['createdAt']}:\n{lines_ended(answer['body'])}"]
    if comments := said(thread, until):
        lines += ["", comments]
    return "\n".join(lines)
