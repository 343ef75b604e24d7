"""The REST half of tests/github_server.py: lists with pages, as GitHub's answers without a token."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from werkzeug import Request, Response

Row = dict[str, Any]

PATHS = {"pulls": "pull", "issues": "issues", "discussions": "discussions"}


def rest_answer(request: Request, full_name: str, api: str, records: dict[str, list[Row]]) -> Response:
    prefix = f"/repos/{full_name}"
    if request.path == prefix:
        return answer({"full_name": full_name, "url": f"{api}{prefix}"})
    if not request.path.startswith(prefix + "/"):
        return answer({"message": "Not Found"}, 404)
    path, asked, url = request.path.removeprefix(prefix), request.args, api + prefix
    pulls = {str(row["number"]): row for row in records["pulls"]}
    if match := re.fullmatch(r"/pulls/(\d+)/files", path):
        rows = pulls[match[1]]["files"]
    elif path == "/pulls":
        rows = [_pull(row, full_name, url) for row in pulls.values()]
    elif path == "/issues":
        rows = [_thread(row, full_name, "issues") for row in records["issues"]]
        rows += [_thread(row, full_name, "pulls") | {"pull_request": {}} for row in pulls.values()]
    elif match := re.fullmatch(r"/issues(?:/(\d+))?/comments", path):
        rows = _comments([*pulls.values(), *records["issues"]], match[1], url)
    elif match := re.fullmatch(r"/pulls(?:/(\d+))?/comments", path):
        rows = _line_comments(list(pulls.values()), match[1], url)
    elif match := re.fullmatch(r"/pulls/(\d+)/reviews", path):
        rows = [
            {"id": n, "state": row["state"], "body": row["body"]} for n, row in enumerate(pulls[match[1]]["reviews"])
        ]
    elif match := re.fullmatch(r"/pulls/(\d+)", path):
        return answer(_pull(pulls[match[1]], full_name, url))
    else:
        return answer({"message": "Not Found"}, 404)
    if asked.get("sort"):
        field = {"updated": "updated_at", "created": "created_at"}[asked["sort"]]
        down = asked.get("direction") == "desc"
        rows = sorted(rows, key=lambda row: (row[field], row.get("number", 0)), reverse=down)
    if since := asked.get("since"):
        rows = [row for row in rows if row["updated_at"] >= since]
    size, page = int(asked.get("per_page", 30)), int(asked.get("page", 1))
    last = max(1, -(-len(rows) // size))
    links = {"next": page + 1, "last": last} if page < last else {}
    same = "&".join(f"{key}={value}" for key, value in asked.items() if key != "page")
    base = f"{api}{request.path}?{same}"
    link = ", ".join(f'<{base}&page={number}>; rel="{rel}"' for rel, number in links.items())
    return answer(rows[(page - 1) * size : page * size], headers={"Link": link} if link else None)


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    text = body if isinstance(body, str) else json.dumps(body)
    left = {"X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "4000", "X-RateLimit-Reset": "1"}
    return Response(text, status=status, headers={**left, **(headers or {})}, content_type="application/json")


def limited(reset: int | None = None) -> Response:
    """The answer when the hour's requests are used up."""
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset or int(time.time()) + 1)}
    return answer({"message": "API rate limit exceeded for 127.0.0.1."}, 403, headers)


def _thread(row: Row, full_name: str, kind: str) -> Row:
    return {
        "number": row["number"],
        "title": row["title"],
        "body": row["body"],
        "user": {"login": row["author"]} if row["author"] else None,
        "state": row.get("state", "CLOSED").lower(),
        "labels": [{"name": name} for name in row["labels"]],
        "created_at": row["createdAt"],
        "updated_at": row["updatedAt"],
        "closed_at": row.get("closedAt"),
        "html_url": f"https://github.com/{full_name}/{PATHS[kind]}/{row['number']}",
    }


def _pull(row: Row, full_name: str, url: str) -> Row:
    return _thread(row, full_name, "pulls") | {
        "url": f"{url}/pulls/{row['number']}",
        "issue_url": f"{url}/issues/{row['number']}",
        "merged_at": row["mergedAt"],
        "base": {"ref": row["baseRefName"], "sha": row["baseRefOid"]},
        "head": {"ref": "topic", "sha": row["headRefOid"]},
        "merge_commit_sha": row["mergeCommit"],
    }


def _comments(threads: list[Row], number: str | None, url: str) -> list[Row]:
    return [
        _said(row, 10_000 * one["number"] + n) | {"issue_url": f"{url}/issues/{one['number']}"}
        for one in threads
        if number in {None, str(one["number"])}
        for n, row in enumerate(one["comments"])
    ]


def _line_comments(pulls: list[Row], number: str | None, url: str) -> list[Row]:
    rows = []
    for one in pulls:
        for n, first in enumerate(one["reviewThreads"] if number in {None, str(one["number"])} else []):
            top = 10_000 * one["number"] + 100 * n
            place = {"path": first["path"], "line": first["line"], "original_line": first.get("originalLine")}
            for k, row in enumerate(first["comments"]):
                reply = {"in_reply_to_id": top} if k else {}
                rows.append(_said(row, top + k) | place | reply | {"pull_request_url": f"{url}/pulls/{one['number']}"})
    return rows


def _said(row: Row, number: int) -> Row:
    user = {"login": row["author"]} if row["author"] else None
    at = row["createdAt"]
    return {"id": number, "user": user, "body": row["body"], "created_at": at, "updated_at": at}
