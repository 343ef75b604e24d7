"""Pull requests, issues and discussions of a repository on GitHub, each with all that was said in it, as plain dicts.

With a token they are read by GraphQL: some twenty threads a request, and the rest of the long ones some twenty at a
time. GraphQL allows 500,000 nodes a request (docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-
graphql-api); twenty pull requests are at most 25,000, so that an answer comes well within GitHub's ten seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ftlib.scrape.github import GitHub, TooMuch

Row = dict[str, Any]

BATCH = 20
"""Threads a request."""

# Field of `repository` -> what its list is asked for. Pull requests are looked for by merge date, which is never later
# than the last change; issues and discussions by their creation.
LISTS = {
    "pullRequests": ("states: MERGED, orderBy: {field: UPDATED_AT, direction: DESC}", "number updatedAt mergedAt"),
    "issues": ("orderBy: {field: CREATED_AT, direction: DESC}", "number updatedAt createdAt"),
    "discussions": ("orderBy: {field: CREATED_AT, direction: DESC}", "number updatedAt createdAt"),
}
_PAGE = "pageInfo { hasNextPage endCursor }"
_SAID = "author { login } createdAt body"
_REPLIES = f"id __typename {_SAID} replies(first: 20) {{ {_PAGE} nodes {{ {_SAID} }} }}"
# Type -> field -> the fields of one node: of the lists inside a thread, which may go on over more pages.
_NESTED = {
    "PullRequest": {
        "comments": _SAID,
        "reviews": f"{_SAID} state submittedAt",
        "reviewThreads": f"id __typename path line originalLine comments(first: 20) {{ {_PAGE} nodes {{ {_SAID} }} }}",
    },
    "PullRequestReviewThread": {"comments": _SAID},
    "Issue": {"comments": _SAID},
    "Discussion": {"comments": _REPLIES},
    "DiscussionComment": {"replies": _SAID},
}
_HEAD = "id __typename number title url body createdAt updatedAt author { login } labels(first: 50) { nodes { name } }"
_THREADS = {
    "pullRequests": (
        "pullRequest",
        "PullRequest",
        "mergedAt baseRefName baseRefOid headRefOid mergeCommit { oid } changedFiles",
    ),
    "issues": ("issue", "Issue", "state closedAt"),
    "discussions": ("discussion", "Discussion", f"category {{ name }} answer {{ {_SAID} }}"),
}


def list_threads(hub: GitHub, kind: str, limit: int, until: str) -> list[Row]:
    """The last `limit` threads of a kind, newest first: pull requests by merge date, others by creation.

    Args:
        kind: a key of LISTS.
        until: `2023-12-21T23:59:59Z`; later ones are left out.

    Returns:
        rows of `number, at` (the date that they are ordered by) and `updated`.
    """
    what, fields = LISTS[kind]
    query = (
        f"query($owner: String!, $name: String!, $after: String) {{ repository(owner: $owner, name: $name) {{"
        f" {kind}(first: 100, after: $after, {what}) {{ {_PAGE} nodes {{ {fields} }} }} }} }}"
    )

    def page(after: str | None, key: str) -> tuple[list[Row], str | None]:
        ask = lambda: hub.graphql(query, owner=hub.owner, name=hub.name, after=after)["repository"][kind]  # noqa: E731
        answer = hub.answers.get(f"list {kind} {key} {after}", ask)
        rows = [
            {"number": n["number"], "at": n.get("mergedAt") or n.get("createdAt"), "updated": n["updatedAt"]}
            for n in answer["nodes"]
        ]
        info = answer["pageInfo"]
        return rows, info["endCursor"] if info["hasNextPage"] else None

    return newest(page, limit, until, by="updated" if kind == "pullRequests" else "at")


def newest(page: Callable[[Any, str], tuple[list[Row], Any]], limit: int, until: str, by: str) -> list[Row]:
    """The `limit` rows with the latest `at` up to `until`, out of pages that run from new to old in the field `by`.

    `at` is never later than `by`, so no row behind a page's end can be newer than that end: reading stops as soon as
    the wanted rows all are. A row that changes meanwhile moves to the front, before what was read, and the rows
    behind it move on: so after several pages the front is read again up to where the first reading began.

    Args:
        page: position (None: the front) and a name for this reading -> rows and the position of the next page.
    """
    found: dict[int, Row] = {}

    def chosen() -> list[Row]:
        fits = [row for row in found.values() if row["at"] and row["at"] <= until]
        return sorted(fits, key=lambda row: (row["at"], row["number"]), reverse=True)[:limit]

    position, began, pages = None, "", 0
    while limit:
        rows, position = page(position, "first")
        began = began or (rows[0][by] if rows else "")
        found |= {row["number"]: row for row in rows}
        pages += 1
        best = chosen()
        if position is None or (len(best) == limit and best[-1]["at"] > rows[-1][by]):
            break
    again = 0
    while pages > 1:
        again += 1
        position, front = None, ""
        while True:
            rows, position = page(position, f"again {again}")
            front = front or rows[0][by]
            found |= {row["number"]: row for row in rows}
            if position is None or rows[-1][by] <= began:
                break
        if front == began or again == 3:  # nothing moved while it was read
            break
        began = front
    return chosen()


def read_threads(
    hub: GitHub, kind: str, rows: Sequence[Row], progress: Callable[[int], Any]
) -> Iterator[tuple[str, Row]]:
    """Yield, for each row of `list_threads`, its key in the answers and the thread with all pages of what it holds."""
    keys = [f"{kind} {row['number']} {row['updated']}" for row in rows]
    missing = [n for n, key in enumerate(keys) if key not in hub.answers]
    progress(len(rows) - len(missing))
    field, kind_name, more = _THREADS[kind]
    fragment = f"fragment thread on {kind_name} {{ {_HEAD} {more} {_lists(kind_name)} }}"

    def ask(some: Sequence[int]) -> None:
        parts = " ".join(f"t{n}: {field}(number: {rows[n]['number']}) {{ ...thread }}" for n in some)
        query = f"query($owner: String!, $name: String!) {{ repository(owner: $owner, name: $name) {{ {parts} }} }}"
        data = hub.graphql(f"{query} {fragment}", parts=len(some), owner=hub.owner, name=hub.name)["repository"]
        for n in some:
            hub.answers.put(keys[n], data[f"t{n}"])
        progress(len(some))

    in_batches(missing, ask)
    threads = {key: hub.answers[key] for key in keys}
    _complete(hub, threads)
    yield from threads.items()


def in_batches(items: Sequence[Any], ask: Callable[[Sequence[Any]], None], size: int = BATCH) -> None:
    """Call `ask` with `size` items at a time, with fewer from where that was too much for the server."""
    done = 0
    while done < len(items):
        try:
            ask(items[done : done + size])
            done += size
        except TooMuch:
            size = max(1, size // 2)


def _lists(kind_name: str) -> str:
    return " ".join(
        f"{field}(first: 50) {{ {_PAGE} nodes {{ {fields} }} }}" for field, fields in _NESTED[kind_name].items()
    )


def _complete(hub: GitHub, threads: dict[str, Row]) -> None:
    """Read on where a list inside a thread has more pages."""
    while open_lists := [
        (f"more {key} {owner['id']} {field} {owner[field]['pageInfo']['endCursor']}", owner, field)
        for key, thread in threads.items()
        for owner, field in _unfinished(thread)
    ]:

        def ask(some: Sequence[tuple[str, Row, str]]) -> None:
            parts = []
            for n, (_, owner, field) in enumerate(some):
                name, after = owner["__typename"], owner[field]["pageInfo"]["endCursor"]
                page = f'{field}(first: 100, after: "{after}") {{ {_PAGE} nodes {{ {_NESTED[name][field]} }} }}'
                parts.append(f'm{n}: node(id: "{owner["id"]}") {{ ... on {name} {{ {page} }} }}')
            data = hub.graphql(f"query {{ {' '.join(parts)} }}", parts=len(some))
            for n, (key, _, field) in enumerate(some):
                # A thread that was deleted meanwhile has no more pages.
                more = (data[f"m{n}"] or {}).get(field) or {"nodes": [], "pageInfo": {"hasNextPage": False}}
                hub.answers.put(key, more)

        in_batches([item for item in open_lists if item[0] not in hub.answers], ask)
        for key, owner, field in open_lists:
            page = hub.answers[key]
            owner[field]["nodes"] += page["nodes"]
            owner[field]["pageInfo"] = page["pageInfo"]


def _unfinished(node: Any) -> Iterator[tuple[Row, str]]:
    """The lists in a thread that have a next page: what holds them, and their field."""
    if isinstance(node, list):
        for item in node:
            yield from _unfinished(item)
    elif isinstance(node, dict):
        for field, value in node.items():
            if isinstance(value, dict) and (value.get("pageInfo") or {}).get("hasNextPage"):
                yield node, field
            yield from _unfinished(value)
