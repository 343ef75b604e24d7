"""Pull requests from a branch's history: no API and no token, so no comments either.

GitHub leaves two marks on the first-parent line: `Merge pull request #N from ...` on a merge commit (title and
description are its body), and `title (#N)` on a squash commit, which can't be told from one that names an issue.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ftlib.scrape.git import Env, git, iso, records
from ftlib.scrape.patches import Section

DESCRIPTION_LIMIT = 100_000
"""Characters of a description; GitHub takes 65,536."""
FILES_LIMIT = 4_000_000
"""Characters of all that is said of a pull request's files: names and marks, beside the patches."""

_MERGE = re.compile(r"Merge pull request #(\d{1,10})(?!\d)(?: from (?:[^/\s]+/)?(\S+))?")
_SQUASH = re.compile(r"(.*\S)\s*\(#(\d{1,10})\)")


class Pull(NamedTuple):
    """A merged pull request: `merged` in seconds since 1970, `parents` of its commit."""

    number: int
    title: str
    description: str
    commit: str
    parents: list[str]
    merged: int


def find_pulls(env: Env, tip: str, limit: int) -> list[Pull]:
    """The last `limit` pull requests by merge date, newest first, each number once."""
    form = "--format=%H%x00%P%x00%ct%x00%B"
    fields = records("log", "--first-parent", "-z", "--encoding=UTF-8", form, tip, env=env)
    pulls: dict[int, Pull] = {}
    for commit, parents, seconds, message in zip(fields, fields, fields, fields, strict=True):
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
        commit, seconds, *parents = row.split(" ")  # a damaged commit has no date
        graph[commit] = (seconds, [parent for parent in parents if parent])
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


def pull_text(pull: Pull, url: str, created: str, files: Sequence[Section]) -> str:
    """A pull request as text, less the line with number and title: dates, description, then file by file."""
    lines = [f"URL: {url}"] if url else []
    lines += [f"Description: {pull.description[:DESCRIPTION_LIMIT]}"] if pull.description else []
    more = len(pull.description) - DESCRIPTION_LIMIT
    lines += [f"[cut: {more:,} more characters]"] if more > 0 else []
    lines += [f"Created at: {created}"] if created else []
    lines += [f"Merged at: {merged}"] if (merged := iso(pull.merged)) else []
    return "\n".join([*lines, *file_sections(files)]).removeprefix("\n")


def file_sections(files: Sequence[Section]) -> list[str]:
    """The lines for the files of a pull request, each file after an empty line."""
    lines: list[str] = []
    left = FILES_LIMIT
    for number, (heading, patch) in enumerate(files):
        left -= sum(map(len, heading)) + len(patch)
        if left < 0:
            return [*lines, "", f"[cut: {len(files) - number:,} more files]"]
        lines += ["", *heading, f"Changes: {patch}" if patch.startswith("[") else f"Changes:\n{patch}"]
    return lines
