"""Files, wiki pages and pull requests of a snapshot as documents; what is left out goes to a list with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from ftlib.scrape.filters import (
    GENERATED,
    UNREADABLE,
    VENDORED,
    decode,
    path_reason,
    shown,
    text_reason,
    unsafe_reason,
)
from ftlib.scrape.git import Entry, Env, attributes, blob_reader, git, iso, load_attributes, tree
from ftlib.scrape.history import branch_starts, find_pulls, pull_text
from ftlib.scrape.pages import is_page, licence_of, page_title, wiki_reason, wiki_title

Document = dict[str, Any]
Skips = list[dict[str, str]]


@dataclass(frozen=True)
class Snapshot:
    """One commit of a repository that is being read."""

    env: Env
    commit: str
    date: str
    web: str
    """`https://github.com/owner/name` of the repository (also for its wiki), or ""."""


def files(at: Snapshot, limit: int, skipped: Skips) -> Iterator[Document]:
    """The code and the pages of a repository; files over `limit` bytes are skipped."""
    entries = tree(at.env, at.commit)
    load_attributes(at.env, entries)
    safe = [entry.path for entry in entries if not unsafe_reason(entry.path)]
    values = attributes(at.env, safe, (GENERATED, VENDORED))
    licence = _licence(at.env, entries)
    for path, text in _texts(
        at, entries, lambda e: path_reason(e.path.decode(), e.mode, values[e.path]), limit, skipped
    ):
        kind = "docs" if is_page(path) else "code"
        title = shown(page_title(path, text) if kind == "docs" else path)
        url = f"{at.web}/blob/{at.commit}/{quote(path)}" if at.web else ""
        yield _document(kind, path, title, url, text, at.date, at.commit, licence)


def pages(at: Snapshot, limit: int, skipped: Skips) -> Iterator[Document]:
    """The pages of a wiki, each with the date and commit of its last change."""

    def judge(entry: Entry) -> str | None:
        path = entry.path.decode()
        return path_reason(path, entry.mode, {}) or wiki_reason(path)

    last = _last_changes(at)
    for path, text in _texts(at, tree(at.env, at.commit), judge, limit, skipped, prefix="wiki:"):
        commit, date = last.get(path.encode(), (at.commit, at.date))
        url = f"{at.web}/wiki/{quote(PurePosixPath(path).stem)}" if at.web else ""
        yield _document("wiki", path, shown(wiki_title(path)), url, text, date, commit, "")


def pulls(at: Snapshot, limit: int) -> Iterator[Document]:
    """The last `limit` merged pull requests, newest first."""
    found = find_pulls(at.env, at.commit, limit) if limit else []
    starts = branch_starts(at.env, at.commit, found[-1]) if found else {}
    licence = _licence(at.env, tree(at.env, at.commit)) if found else ""
    for pull in _progress(found, "pull requests"):
        number, date = pull.number, iso(pull.merged)
        url = f"{at.web}/pull/{number}" if at.web else ""
        text = pull_text(at.env, pull, url, starts.get(pull.commit, ""))
        row = _document(
            "pull_request", f"pull/{number}", f"PR #{number}: {pull.title}", url, text, date, pull.commit, licence
        )
        yield {**row, "id": f"pull_request:{number}"}


def _document(
    source: str, path: str, title: str, url: str, text: str, date: str, commit: str, licence: str
) -> Document:
    row = {"id": f"{source}:{path}", "source": source, "title": title, "path": path, "url": url, "text": text}
    return {**row, "date": date, "commit": commit, "licence": licence}


def _texts(
    at: Snapshot,
    entries: list[Entry],
    judge: Callable[[Entry], str | None],
    limit: int,
    skipped: Skips,
    prefix: str = "",
) -> Iterator[tuple[str, str]]:
    """Path and text of every file that passes `judge` and the filters."""
    with blob_reader(at.env) as read:
        for entry in _progress(entries, "files"):
            text, reason = "", unsafe_reason(entry.path) or judge(entry)
            if reason is None and (entry.size is None or entry.size > limit):
                reason = UNREADABLE if entry.size is None else "too large"
            if reason is None:
                data = read(entry.oid)
                text, reason = decode(data) if data is not None else ("", UNREADABLE)
            if reason is None:
                reason = text_reason(entry.path.decode(), text)
            if reason:
                skipped.append({"path": prefix + shown(entry.path), "reason": reason})
            else:
                yield entry.path.decode(), text


def _licence(env: Env, entries: list[Entry]) -> str:
    with blob_reader(env) as read:
        for entry in entries:
            if (
                re.fullmatch(rb"(licen[cs]e|copying|unlicense)([.-].*)?", entry.path, re.I)
                and (entry.size or 0) < 100_000
            ):
                text, _ = decode(read(entry.oid) or b"")
                if name := licence_of(text):
                    return name
    return ""


def _last_changes(at: Snapshot) -> dict[bytes, tuple[str, str]]:
    """Path -> the last commit that changed it, and its date; one pass over the history."""
    last: dict[bytes, tuple[str, str]] = {}
    here = ("", "")
    log = git("log", "-z", "--name-only", "--no-renames", "--format=%x01%H %ct", at.commit, env=at.env)
    for item in log.split(b"\0"):
        if match := re.fullmatch(rb"\n?\x01([0-9a-f]{40,64}) (\d*)", item):
            here = (match[1].decode(), iso(match[2]))
        else:
            last.setdefault(item.removeprefix(b"\n"), here)
    return last


def _progress(items: list[Any], what: str) -> Iterator[Any]:
    from tqdm import tqdm  # type: ignore[import-untyped]

    yield from tqdm(items, desc=what, disable=len(items) < 50)
