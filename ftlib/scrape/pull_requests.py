"""Pull requests from GitHub as documents: what was said from the API, what was changed from git.

The changes of one are those between its head and the commit where it left the branch, as GitHub shows them. Where git
has not got these, the merge commit; where that is missing too, GitHub's list of files. What can't be had is marked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from ftlib.scrape.conversation import author, label_names, lines_ended, said
from ftlib.scrape.documents import Snapshot
from ftlib.scrape.git import Env, GitError, git, line, sizes
from ftlib.scrape.github import GitHub
from ftlib.scrape.history import file_sections
from ftlib.scrape.patches import Change, Section, patches, sections

Row = dict[str, Any]

_STATUS = {"added": "A", "removed": "D", "renamed": "R", "copied": "A"}
_LISTED = 3000  # files of one pull request that GitHub lists at most


def pull_texts(
    at: Snapshot, hub: GitHub, pulls: Sequence[Row], until: str, branch: str, fetch: Callable[[list[int]], None]
) -> Iterator[str]:
    """The text of each pull request, less the line with number and title: dates, description, files, conversation.

    Args:
        pulls: threads as `read_threads` gives them.
        until: what was said later is left out.
        branch: the one that is scraped; another one that a pull request was merged into is named.
        fetch: brings the heads of pull requests by number, where git can get them.
    """
    env = at.env
    _fetch_heads(env, pulls, fetch)
    pairs = _pairs(env, pulls)
    with closing(patches(env, [pair for pair in pairs if pair], at.notes)) as changes:
        for pull, pair in zip(pulls, pairs, strict=True):
            files = next(changes) if pair else []
            if not pair or any(text.startswith("[not available") for _, text in files):  # an object is missing
                files = _listed(env, hub, pull)
            yield _text(pull, files, until, branch)


def _text(pull: Row, files: list[Section], until: str, branch: str) -> str:
    lines = [f"URL: {pull['url']}", f"Author: {author(pull)}"]
    if labels := label_names(pull):
        lines += [f"Labels: {labels}"]
    if pull["baseRefName"] != branch:
        lines += [f"Merged into: {pull['baseRefName']}"]
    if body := lines_ended(pull["body"]):
        lines += [f"Description: {body}"]
    lines += [f"Created at: {pull['createdAt']}", f"Merged at: {pull['mergedAt']}", *file_sections(files)]
    if comments := said(pull, until):
        lines += ["", comments]
    return "\n".join(lines)


def _fetch_heads(env: Env, pulls: Sequence[Row], fetch: Callable[[list[int]], None]) -> None:
    here = _there(env, [pull["headRefOid"] for pull in pulls])
    if missing := [pull["number"] for pull in pulls if pull["headRefOid"] not in here]:
        fetch(missing)


def _pairs(env: Env, pulls: Sequence[Row]) -> list[tuple[str, str] | None]:
    """For each pull request the two commits between which its changes lie, None where git has not got them."""
    merges = [(pull["mergeCommit"] or {}).get("oid", "") for pull in pulls]
    here = _there(env, [*merges, *(pull[key] for pull in pulls for key in ("headRefOid", "baseRefOid"))])
    parents = _parents(env, [merge for merge in merges if merge in here])
    found: list[tuple[str, str] | None] = []
    for pull, merge in zip(pulls, merges, strict=True):
        before = parents.get(merge, [])
        base, head = (before[0] if before else pull["baseRefOid"]), pull["headRefOid"]
        pair = None
        if head in here and (before or base in here) and (start := _merge_base(env, base, head)) and start != head:
            pair = (start, head)
        elif len(before) > 1:
            # A commit with one parent may be the last one of several that were put on top of the branch.
            pair = (before[0], merge)
        found.append(pair)
    return found


def _there(env: Env, commits: Sequence[str]) -> set[str]:
    asked = [commit for commit in commits if re.fullmatch(r"[0-9a-f]{40,64}", commit)]
    found = sizes(env, (f"{commit}^{{commit}}" for commit in asked))
    return {commit for commit, (oid, _) in zip(asked, found, strict=True) if oid}


def _parents(env: Env, commits: Sequence[str]) -> dict[str, list[str]]:
    """None are shown of a commit at which a shallow clone ends."""
    if not commits:
        return {}
    asked = "".join(f"{commit}\n" for commit in commits).encode()
    log = git("log", "--no-walk=unsorted", "--format=%H %P", "--stdin", env=env, stdin=asked).decode()
    rows = (row.split() for row in log.splitlines())
    return {commit: parents for commit, *parents in rows}


def _merge_base(env: Env, one: str, other: str) -> str:
    try:
        return line("merge-base", one, other, env=env)
    except GitError:  # the clone is shallow and does not reach back that far
        return ""


def _listed(env: Env, hub: GitHub, pull: Row) -> list[Section]:
    """The files as GitHub lists them."""

    def keep(row: Row) -> Row:
        return {
            key: row.get(key) for key in ("filename", "previous_filename", "status", "additions", "deletions", "patch")
        }

    number = pull["number"]
    # The head names what is listed: the answer holds as long as it does.
    rows = list(hub.get_all(f"files {number} {pull['headRefOid']}", f"/pulls/{number}/files", keep))
    files = sections(env, [_change(row) for row in rows])
    for n, row in enumerate(rows):
        heading, text = files[n]
        changed = row["additions"] + row["deletions"]
        if row["patch"] is None and changed and not text.startswith("[not shown"):
            files[n] = heading, f"[not available: GitHub shows no patch for these {changed:,} changed lines]"
        elif row["patch"] is not None and (shown := len(re.findall(r"^[+-]", row["patch"], re.M))) < changed:
            files[n] = heading, f"{text}\n[cut: GitHub shows {shown:,} of {changed:,} changed lines]"
    total = pull["changedFiles"] or 0
    if len(rows) < total or len(rows) >= _LISTED:
        some = f"{len(rows):,} of {total:,}" if total else f"{len(rows):,}"
        files.append(([], f"[cut: GitHub lists {some} files]"))
    return files


def _change(row: Row) -> Change:
    path = row["filename"].encode()
    old = (row["previous_filename"] or row["filename"]).encode()
    hunks = f"\n{row['patch']}\n" if row["patch"] else "\n"
    return Change(_STATUS.get(row["status"], "M"), "100644", old, path, b"a b" + hunks.encode())
