"""Pull requests from a branch's history: no API and no token, so no comments either.

GitHub leaves two marks on the first-parent line: `Merge pull request #N from ...` on a merge commit (title and
description are its body), and `title (#N)` on a squash commit, which can't be told from one that names an issue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ftlib.scrape.filters import GENERATED, VENDORED, decode, path_reason, shown, text_reason, unsafe_reason
from ftlib.scrape.git import Env, GitError, attributes, git, iso, shallow_commits

FILE_LIMIT = 200_000
"""Characters of one file's patch; a longer one is named and not shown."""
PULL_LIMIT = 2_000_000
"""Characters of all patches of one pull request."""

_MERGE = re.compile(r"Merge pull request #(\d+)(?: from (?:[^/\s]+/)?(\S+))?")
_SQUASH = re.compile(r"(.*\S)\s*\(#(\d+)\)")
_STATUS = {"A": "added", "D": "removed", "R": "renamed from "}
_DIFF = ("diff-tree", "-r", "--raw", "-z", "--root", "--no-commit-id", "--no-ext-diff", "--no-textconv", "--no-color")


class Pull(NamedTuple):
    """A merged pull request: `merged` in seconds since 1970, `parents` of its commit."""

    number: int
    title: str
    description: str
    commit: str
    parents: list[str]
    merged: int


class Change(NamedTuple):
    """One file of a diff: git's status letter, its mode, the path before (of a rename) and after, and the hunks."""

    status: str
    mode: str
    old: bytes
    path: bytes
    patch: bytes


def find_pulls(env: Env, tip: str, limit: int) -> list[Pull]:
    """The last `limit` pull requests by merge date, newest first, each number once."""
    log = git("log", "--first-parent", "-z", "--encoding=UTF-8", "--format=%H%x00%P%x00%ct%x00%B", tip, env=env)
    fields = log.split(b"\0")[:-1]
    pulls: dict[int, Pull] = {}
    for commit, parents, seconds, message in zip(*(fields[k::4] for k in range(4)), strict=True):
        # Messages carry no promise of an encoding, and a title is better read with a mark in it than not at all.
        subject, _, body = message.decode("utf-8", "replace").strip().partition("\n")
        if match := _MERGE.match(subject):
            title, _, body = body.strip().partition("\n")
            number, title = int(match[1]), title.strip() or match[2] or subject
        elif match := _SQUASH.fullmatch(subject.rstrip()):
            number, title = int(match[2]), match[1]
        else:
            continue
        # The line runs from new to old: of several commits with one number the earliest is its merge.
        pulls[number] = Pull(number, title, body.strip(), commit.decode(), parents.decode().split(), int(seconds or 0))
    return sorted(pulls.values(), key=lambda pull: pull.merged, reverse=True)[:limit]


def branch_starts(env: Env, tip: str, oldest: Pull) -> dict[str, str]:
    """Merge commit -> author date of the first commit of its branch, from the oldest pull request to the tip."""
    graph: dict[str, tuple[str, list[str]]] = {}
    below = [f"^{parent}" for parent in oldest.parents[:1]]
    for row in git("log", "--format=%H %at %P", tip, *below, env=env).decode().splitlines():
        commit, seconds, *parents = row.split()
        graph[commit] = (seconds, parents)
    mainline, commit = [], tip
    while commit in graph:
        mainline.append(commit)
        commit = next(iter(graph[commit][1]), "")
    starts: dict[str, str] = {}
    seen: set[str] = set()  # what the mainline reaches before the merge in hand
    for merge in reversed(mainline):
        seen.add(merge)
        sides = graph[merge][1][1:]
        first, commit = "", next(iter(sides), "")
        while commit in graph and commit not in seen:
            first, commit = commit, next(iter(graph[commit][1]), "")
        if first and commit:  # a line that ends before it meets the mainline begins beyond what the clone holds
            starts[merge] = iso(graph[first][0])
        while sides:
            commit = sides.pop()
            if commit in graph and commit not in seen:
                seen.add(commit)
                sides.extend(graph[commit][1])
    return starts


def pull_text(env: Env, pull: Pull, url: str, created: str) -> str:
    """A pull request as text, less the line with number and title: dates, description, then file by file."""
    lines = [f"URL: {url}"] if url else []
    lines += [f"Description: {pull.description}"] if pull.description else []
    lines += [f"Created at: {created}"] if created else []
    lines += [f"Merged at: {iso(pull.merged)}"]
    left = PULL_LIMIT
    for heading, patch in _files(env, pull):
        if len(patch) > left:
            patch = f"[not shown: the pull request's changes exceed {PULL_LIMIT:,} characters]"
        else:
            left -= len(patch)
        lines += ["", *heading, f"Changes: {patch}" if patch.startswith("[") else f"Changes:\n{patch}"]
    return "\n".join(lines)


def _files(env: Env, pull: Pull) -> Iterator[tuple[list[str], str]]:
    """For each file its line in the text and its hunks, or a mark in brackets that says why there are none."""
    # Merged result against the branch before it: the merge-base diff, and what was done to merge it.
    pair = [*pull.parents[:1], pull.commit]
    if pull.commit in shallow_commits(env):
        yield [], "[not available: the clone is shallow and starts with this commit]"
        return
    absent: set[bytes] = set()
    try:
        found = _diff(env, "-p", "-M", *pair)
    except GitError:  # an object is missing: file by file, the others can be shown
        found = []
        try:
            listed = _diff(env, "--no-renames", *pair)
        except GitError:
            yield [], "[not available: this clone lacks its list of files]"
            return
        for change in listed:
            try:
                found += _diff(env, "-p", "--no-renames", *pair, "--", change.path.decode("utf-8", "surrogateescape"))
            except GitError:
                found.append(change)
                absent.add(change.path)
    if not found:
        yield [], "[none: it changed no file]"
    safe = [change.path for change in found if not unsafe_reason(change.path)]
    values = attributes(env, safe, (GENERATED, VENDORED))
    for change in found:
        status = _STATUS.get(change.status[0], "modified") + (shown(change.old) if change.status[0] == "R" else "")
        reason = unsafe_reason(change.path) or path_reason(change.path.decode(), change.mode, values[change.path])
        text = f"[not shown: {reason}]" if reason else "[not available: this clone lacks the file's content]"
        if not reason and change.path not in absent:
            text = _patch(change)
        yield [f"File: {shown(change.path)}, Status: {status}"], text


def _diff(env: Env, *args: str) -> list[Change]:
    """The files of one diff, in memory together."""
    raw, _, patches = git(*_DIFF, *args, env=env).partition(b"\0\0")
    # Every line of a hunk starts with a sign of its own, so none can be taken for the next file's header.
    sections = iter(re.split(rb"^diff --git ", patches, flags=re.M)[1:])
    fields = iter(raw.removesuffix(b"\0").split(b"\0"))
    found = []
    for facts in filter(None, fields):
        old_mode, mode, _, _, status = facts[1:].decode().split()
        old = next(fields)
        path = next(fields) if status[0] == "R" else old
        # A change of type (a file becomes a link) has two sections, one that removes and one that adds.
        patch = b"".join(next(sections, b"") for _ in range(1 + (status == "T")))
        found.append(Change(status, old_mode if status == "D" else mode, old, path, patch))
    return found


def _patch(change: Change) -> str:
    header, _, hunks = change.patch.partition(b"\n@@ ")
    if change.status == "T":
        return "[not shown: the file's type changed]"
    if not hunks:
        if re.search(rb"^Binary files ", header, re.M):
            return "[not shown: binary]"
        return "[none: the file is empty]" if change.status in {"A", "D"} else "[none: only its name or mode changed]"
    hunks = b"@@ " + hunks.removesuffix(b"\n")
    body = b"\n".join(row[1:] for row in hunks.split(b"\n") if row[:1] in {b"+", b"-", b" "})
    text, reason = decode(body)
    if reason and reason != "empty":
        return f"[not shown: {reason}]"
    patch = hunks.decode("utf-8", "ignore")  # the body is valid; a header's context may be cut inside a letter
    if len(patch) > FILE_LIMIT:
        return f"[not shown: {len(patch):,} characters]"
    # A marker further down in a file is none, and two long lines make no minified file.
    reason = text_reason(change.path.decode(), text)
    counts = re.match(r"@@ -[01][, ]|@@ -\d+(,\d+)? \+[01][, ]", patch) if reason == "generated" else len(text) > 2000
    return f"[not shown: {reason}]" if reason and counts else patch
