"""The same threads by the REST API, which answers without a token too: 60 requests an hour, public repositories only.

The lists hold title and description; comments come from the lists of the whole repository, a hundred a request, unless
asking for each thread takes fewer requests. Verdicts and summaries of reviews have no such list (one request for each
pull request) and are left out. Discussions are only in GraphQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ftlib.scrape.github import GitHub
from ftlib.scrape.threads import Row, newest

NOTE = (
    "No GITHUB_TOKEN was given: GitHub answers 60 requests an hour for each address then, and the verdicts and "
    "summaries of reviews were not read; comments, also those on lines of code, were. Discussions need a token."
)
# Kind -> path, what the list is asked for, the field that it is ordered by, the date that counts.
_LISTS = {
    "pullRequests": ("/pulls", {"state": "closed", "sort": "updated", "direction": "desc"}, "updated", "merged_at"),
    "issues": ("/issues", {"state": "all", "sort": "created", "direction": "desc"}, "at", "created_at"),
}


def list_threads(hub: GitHub, kind: str, limit: int, until: str) -> list[Row]:
    """As `threads.list_threads`; each row holds its `thread`, still without comments."""
    path, asked, by, date = _LISTS[kind]

    def keep(row: dict[str, Any]) -> Row:
        thread = (
            {} if kind == "issues" and "pull_request" in row else _thread(row)
        )  # every pull request is an issue too
        at = row.get(date) if thread else None
        return {"number": row["number"], "at": at, "updated": row["updated_at"], "thread": thread if at else {}}

    def page(position: int | None, key: str) -> tuple[list[Row], int | None]:
        number = position or 1
        answer = hub.page(f"list {kind} rest {key}", path, keep, number, **asked)
        return answer["rows"], None if answer["last"] is None else number + 1

    return newest(page, limit, until, by)


def read_threads(
    hub: GitHub, kind: str, rows: Sequence[Row], progress: Callable[[int], Any]
) -> Iterator[tuple[str, Row]]:
    """As `threads.read_threads`, without the reviews' verdicts and summaries."""
    keys = {row["number"]: f"{kind} rest {row['number']} {row['updated']}" for row in rows}
    missing = {row["number"]: row["thread"] for row in rows if keys[row["number"]] not in hub.answers}
    progress(len(rows) - len(missing))
    comments = _said(hub, "/issues", missing)
    on_lines = _said(hub, "/pulls", missing) if kind == "pullRequests" else {}
    for number, thread in missing.items():
        discussions: dict[int, Row] = {}
        for row in on_lines.get(number, []):
            place = {key: row[key] for key in ("path", "line", "originalLine")}
            discussions.setdefault(row["thread"], {**place, "comments": {"nodes": []}})["comments"]["nodes"].append(row)
        thread["comments"] = {"nodes": comments.get(number, [])}
        thread["reviewThreads"] = {"nodes": list(discussions.values())}
        hub.answers.put(keys[number], thread)
    progress(len(missing))
    for key in keys.values():
        yield key, hub.answers[key]


def _said(hub: GitHub, path: str, threads: dict[int, Row]) -> dict[int, list[Row]]:
    """Number -> comments, for the threads given and others."""
    if not threads:
        return {}
    since = min(thread["createdAt"] for thread in threads.values())
    asked = {"since": since, "sort": "created", "direction": "asc"}
    key = f"list {path}/comments {since}"
    # A list that names no last page may go on for long.
    pages = hub.page(key, f"{path}/comments", _comment, 1, **asked)["last"]
    if pages is None or 0 < pages <= len(threads):
        rows = list(hub.get_all(key, f"{path}/comments", _comment, **asked))
    else:
        rows = [
            row
            for number in threads
            for row in hub.get_all(f"list {path}/{number}/comments", f"{path}/{number}/comments", _comment)
        ]
    said: dict[int, list[Row]] = {}
    for row in rows:
        said.setdefault(row["number"], []).append(row)
    return said


def _comment(row: dict[str, Any]) -> Row:
    """A comment of the REST API with the names of GraphQL."""
    thread = row.get("issue_url") or row["pull_request_url"]
    return {
        "number": int(thread.rsplit("/", 1)[1]),
        "thread": row.get("in_reply_to_id") or row["id"],
        "author": _login(row),
        "createdAt": row["created_at"],
        "body": row["body"] or "",
        "path": row.get("path"),
        "line": row.get("line"),
        "originalLine": row.get("original_line"),
    }


def _thread(row: dict[str, Any]) -> Row:
    """A pull request or an issue of the REST API with the names of GraphQL."""
    thread = {
        "number": row["number"],
        "title": row["title"],
        "url": row["html_url"],
        "body": row["body"] or "",
        "createdAt": row["created_at"],
        "author": _login(row),
        "labels": {"nodes": [{"name": label["name"]} for label in row["labels"]]},
    }
    if "merged_at" not in row:
        return thread | {"state": row["state"].upper(), "closedAt": row["closed_at"]}
    return thread | {
        "mergedAt": row["merged_at"],
        "baseRefName": row["base"]["ref"],
        "baseRefOid": row["base"]["sha"],
        "headRefOid": row["head"]["sha"],
        "mergeCommit": {"oid": row["merge_commit_sha"]} if row["merge_commit_sha"] else None,
        "changedFiles": None,
    }


def _login(row: dict[str, Any]) -> dict[str, str] | None:
    return {"login": row["user"]["login"]} if row.get("user") else None
