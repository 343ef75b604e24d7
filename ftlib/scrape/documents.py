"""Files, wiki pages and pull requests of a snapshot as documents; what is left out goes to a list with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

from ftlib.progress import counted
from ftlib.scrape.filters import (
    GENERATED,
    UNREADABLE,
    VENDORED,
    decode,
    one_line,
    path_reason,
    shown,
    text_reason,
    unsafe_reason,
)
from ftlib.scrape.git import Entry, Env, attribute_reader, blobs, iso, load_attributes, records, tree
from ftlib.scrape.history import branch_starts, find_pulls, pull_text
from ftlib.scrape.licences import declared, licence_of, spdx_header
from ftlib.scrape.pages import is_page, page_title, wiki_name, wiki_reason, wiki_title
from ftlib.scrape.patches import patches

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
    notes: list[str] = field(default_factory=list)
    """What could not be used, in sentences."""

    @cached_property
    def entries(self) -> list[Entry]:
        """Its files; from here on their attributes can be asked for."""
        entries = tree(self.env, self.commit)
        self.notes.extend(load_attributes(self.env, entries, (GENERATED, VENDORED)))
        return entries

    @cached_property
    def licence(self) -> str:
        """The SPDX expression of the licence, of its text or as a package declares it; "" where none is known."""
        named = re.compile(rb"(licen[cs]e|copying|unlicense)([.-].*)?|(?P<package>[a-z]+\.(json|toml))", re.I)
        small = [entry for entry in self.entries if entry.size is not None and entry.size < 100_000]
        found = [(entry, match) for entry in small if (match := named.fullmatch(entry.path))]
        contents = blobs(self.env, [entry.oid for entry, _ in found])
        texts = [(match["package"], decode(data or b"")[0]) for (_, match), data in zip(found, contents, strict=True)]
        own = (licence_of(text) for package, text in texts if not package)
        packages = (declared(package.decode(), text) for package, text in texts if package)
        return next(filter(None, [*own, *packages]), "")


def files(at: Snapshot, limit: int, skipped: Skips) -> Iterator[Document]:
    """The code and the pages of a repository; files over `limit` bytes are skipped."""
    paths = [entry.path for entry in at.entries if not unsafe_reason(entry.path)]
    with attribute_reader(at.env, (GENERATED, VENDORED), at.notes) as values:
        specified = values(paths)

    def judge(entry: Entry) -> str | None:
        return path_reason(entry.path.decode(), entry.mode, specified.get(entry.path, {}))

    for path, text in _texts(at, judge, limit, skipped):
        kind = "docs" if is_page(path) else "code"
        title = one_line(page_title(path, text)) if kind == "docs" else shown(path)
        url = f"{at.web}/blob/{at.commit}/{quote(path)}" if at.web else ""
        yield document(kind, path, title, url, text, at.date, at.commit, spdx_header(text) or at.licence)


def pages(at: Snapshot, limit: int, skipped: Skips) -> Iterator[Document]:
    """The pages of a wiki, each with the date and commit of its last change."""

    def judge(entry: Entry) -> str | None:
        path = entry.path.decode()
        return path_reason(path, entry.mode, {}) or wiki_reason(path)

    last = _last_changes(at)
    for path, text in _texts(at, judge, limit, skipped, prefix="wiki:"):
        commit, date = last.get(path.encode(), (at.commit, at.date))
        url = f"{at.web}/wiki/{quote(wiki_name(path))}" if at.web else ""
        yield document("wiki", path, one_line(wiki_title(path)), url, text, date, commit, "")


def pulls(at: Snapshot, limit: int) -> Iterator[Document]:
    """The last `limit` merged pull requests, newest first."""
    if not limit or not (found := find_pulls(at.env, at.commit, limit)):
        return
    starts = branch_starts(at.env, at.commit, found[-1])
    pairs = [(next(iter(pull.parents), ""), pull.commit) for pull in found]
    licence = at.licence  # reads the tree, whose attributes are asked for next
    with closing(patches(at.env, pairs, at.notes)) as sections:
        for pull, files in zip(counted(found, "pull requests"), sections, strict=True):
            number, date = pull.number, iso(pull.merged)
            url = f"{at.web}/pull/{number}" if at.web else ""
            text = pull_text(pull, url, starts.get(pull.commit, ""), files)
            title = f"PR #{number}: {one_line(pull.title)}"
            row = document("pull_request", f"pull/{number}", title, url, text, date, pull.commit, licence)
            yield {**row, "id": f"pull_request:{number}"}


def document(source: str, path: str, title: str, url: str, text: str, date: str, commit: str, licence: str) -> Document:
    """A row of `documents.jsonl`; its keys are those of `scrape`."""
    row = {"id": f"{source}:{path}", "source": source, "title": title, "path": path, "url": url, "text": text}
    return {**row, "date": date, "commit": commit, "licence": licence}


def _texts(
    at: Snapshot, judge: Callable[[Entry], str | None], limit: int, skipped: Skips, prefix: str = ""
) -> Iterator[tuple[str, str]]:
    """Path and text of every file that passes `judge` and the filters."""

    def unread(entry: Entry) -> str | None:
        if reason := unsafe_reason(entry.path) or judge(entry):
            return reason
        if entry.size is None:
            return UNREADABLE
        return "too large" if entry.size > limit else None

    reasons = [unread(entry) for entry in at.entries]
    wanted = [entry.oid for entry, reason in zip(at.entries, reasons, strict=True) if not reason]
    with closing(blobs(at.env, wanted)) as contents:
        for entry, reason in zip(counted(at.entries, "files"), reasons, strict=True):
            text = ""
            if not reason:
                data = next(contents)
                text, reason = decode(data) if data is not None else ("", UNREADABLE)
            if not reason:
                # Everything in a wiki is a page, also `notes.txt`.
                reason = text_reason("page.md" if prefix else entry.path.decode(), text)
            if reason:
                skipped.append({"path": prefix + shown(entry.path), "reason": reason})
            else:
                yield entry.path.decode(), text


def _last_changes(at: Snapshot) -> dict[bytes, tuple[str, str]]:
    """Path -> the last commit that changed it, and its date; one pass over the history."""
    last: dict[bytes, tuple[str, str]] = {}
    here = ("", "")
    for item in records("log", "-z", "--name-only", "--no-renames", "--format=%x01%H %ct", at.commit, env=at.env):
        if match := re.fullmatch(rb"\n?\x01([0-9a-f]{40,64}) (-?\d*)", item):
            here = (match[1].decode(), iso(match[2]))
        else:
            last.setdefault(item.removeprefix(b"\n"), here)
    return last
