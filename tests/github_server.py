"""A GitHub-shaped server: GraphQL executed by graphql-core on a schema with GitHub's names, REST with its pages,
limits on nodes and requests, and faults on request.

    with GitHubServer(pulls=[...]) as hub:
        GitHub("o/n", answers, token="t", api=hub.api)

Records are plain dicts (see `pull`, `comment`); the server makes what GitHub would answer of them.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import graphql
from github_rest import PATHS, answer, limited, rest_answer
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

NODES = 500_000
SCHEMA = """
scalar DateTime  scalar GitObjectID  scalar URI
type Query { repository(owner: String!, name: String!): Repository  node(id: ID!): Node }
interface Node { id: ID! }
type Actor { login: String! }
type Label { name: String! }
type Commit { oid: GitObjectID! }
type PageInfo { hasNextPage: Boolean!  endCursor: String }
enum OrderDirection { ASC DESC }
enum IssueOrderField { CREATED_AT UPDATED_AT COMMENTS }
enum DiscussionOrderField { CREATED_AT UPDATED_AT }
enum PullRequestState { OPEN CLOSED MERGED }
enum PullRequestReviewState { PENDING COMMENTED APPROVED CHANGES_REQUESTED DISMISSED }
input IssueOrder { field: IssueOrderField!  direction: OrderDirection! }
input DiscussionOrder { field: DiscussionOrderField!  direction: OrderDirection! }
type Repository {
  pullRequests(first: Int, after: String, states: [PullRequestState!], orderBy: IssueOrder): PullRequests!
  issues(first: Int, after: String, orderBy: IssueOrder): Issues!
  discussions(first: Int, after: String, orderBy: DiscussionOrder): Discussions!
  pullRequest(number: Int!): PullRequest  issue(number: Int!): Issue  discussion(number: Int!): Discussion
}
type PullRequests { totalCount: Int!  pageInfo: PageInfo!  nodes: [PullRequest] }
type Issues { totalCount: Int!  pageInfo: PageInfo!  nodes: [Issue] }
type Discussions { totalCount: Int!  pageInfo: PageInfo!  nodes: [Discussion] }
type Labels { pageInfo: PageInfo!  nodes: [Label] }
type Comments { pageInfo: PageInfo!  nodes: [Comment] }
type Reviews { pageInfo: PageInfo!  nodes: [Review] }
type PullRequestReviewThreads { pageInfo: PageInfo!  nodes: [PullRequestReviewThread] }
type DiscussionComments { pageInfo: PageInfo!  nodes: [DiscussionComment] }
type Comment { id: ID!  author: Actor  body: String!  createdAt: DateTime! }
type Review {
  id: ID!  author: Actor  body: String!  createdAt: DateTime!  submittedAt: DateTime  state: PullRequestReviewState!
}
type PullRequestReviewThread implements Node {
  id: ID!  path: String!  line: Int  originalLine: Int  comments(first: Int, after: String): Comments!
}
type DiscussionComment implements Node {
  id: ID!  author: Actor  body: String!  createdAt: DateTime!  replies(first: Int, after: String): Comments!
}
type DiscussionCategory { name: String! }
type PullRequest implements Node {
  id: ID!  number: Int!  title: String!  url: URI!  body: String!  createdAt: DateTime!  updatedAt: DateTime!
  mergedAt: DateTime  author: Actor  labels(first: Int): Labels  baseRefName: String!  baseRefOid: GitObjectID!
  headRefOid: GitObjectID!  mergeCommit: Commit  changedFiles: Int!
  comments(first: Int, after: String): Comments!  reviews(first: Int, after: String): Reviews!
  reviewThreads(first: Int, after: String): PullRequestReviewThreads!
}
type Issue implements Node {
  id: ID!  number: Int!  title: String!  url: URI!  body: String!  createdAt: DateTime!  updatedAt: DateTime!
  closedAt: DateTime  state: String!  author: Actor  labels(first: Int): Labels
  comments(first: Int, after: String): Comments!
}
type Discussion implements Node {
  id: ID!  number: Int!  title: String!  url: URI!  body: String!  createdAt: DateTime!  updatedAt: DateTime!
  author: Actor  labels(first: Int): Labels  category: DiscussionCategory!  answer: DiscussionComment
  comments(first: Int, after: String): DiscussionComments!
}
"""
_ORDER = {"UPDATED_AT": "updatedAt", "CREATED_AT": "createdAt"}


def said(body: str, at: str, author: str | None = "ann", **more: Any) -> dict[str, Any]:
    """A comment, or with `state` a review, or with `path` and `line` the first comment on a line."""
    return {"body": body, "createdAt": at, "author": author, **more}


def pull(number: int, merged: str | None, **more: Any) -> dict[str, Any]:
    row = {
        "number": number,
        "title": f"Change {number}",
        "body": f"Why {number}.",
        "createdAt": merged or "2024-01-01T00:00:00Z",
        "updatedAt": merged or "2024-01-01T00:00:00Z",
        "mergedAt": merged,
        "author": "ann",
        "labels": [],
        "baseRefName": "main",
        "baseRefOid": "0" * 40,
        "headRefOid": f"{number:040x}",
        "mergeCommit": f"{number + 10**6:040x}",
        "comments": [],
        "reviews": [],
        "reviewThreads": [],
        "files": [],
    }
    return row | more


def thread(number: int, created: str, **more: Any) -> dict[str, Any]:
    """An issue or a discussion; a discussion has a `category`, and comments with `replies`."""
    return {
        "number": number,
        "title": f"Topic {number}",
        "body": f"About {number}.",
        "createdAt": created,
        "updatedAt": created,
        "closedAt": None,
        "author": "bob",
        "labels": [],
        "comments": [],
        "state": "OPEN",
        "answer": None,
    } | more


class _Server(HTTPServer):
    def thread_target(self) -> None:
        assert self.server
        self.server.serve_forever(poll_interval=0.02)  # so long does it take to stop


class GitHubServer:
    """Serves one repository. `requests` are the (method, path and query or GraphQL text) of what was asked.

    fault: called with the number of each request from 0 on; returns a Response in place of the true answer, or None.
    before: called with the same number before the answer is made, to change the records meanwhile.
    """

    def __init__(self, full_name: str = "fennhollow/brindlewick", **records: list[dict[str, Any]]):
        self.full_name = full_name
        self.records = {kind: records.get(kind, []) for kind in ("pulls", "issues", "discussions")}
        self.requests: list[tuple[str, str]] = []
        self.fault: Callable[[int], Response | None] = lambda number: None
        self.before: Callable[[int], None] = lambda number: None
        self.anonymous_limit = 60
        self.max_parts = 10**6
        self._schema = graphql.build_schema(SCHEMA)
        self._lock = threading.Lock()
        self._server = _Server(host="127.0.0.1", threaded=True)
        self._server.expect_request(re.compile(".*")).respond_with_handler(self._handle)

    def __enter__(self) -> GitHubServer:
        self._server.start()
        self.api = self._server.url_for("").rstrip("/")
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.stop()

    def _handle(self, request: Request) -> Response:
        with self._lock:
            number = len(self.requests)
            is_graphql = request.path == "/graphql"
            asked = request.get_json()["query"] if is_graphql else request.full_path.rstrip("?")
            self.requests.append((request.method, asked))
        self.before(number)
        if (broken := self.fault(number)) is not None:
            return broken
        token = request.headers.get("Authorization")
        if is_graphql:
            if not token:
                return answer({"message": "This endpoint requires you to be authenticated."}, 401)
            return self._graphql(request.get_json())
        if not token and number >= self.anonymous_limit:
            return limited(reset=int(time.time()) + 3000)
        return rest_answer(request, self.full_name, self.api, self.records)

    # --- GraphQL ---

    def _graphql(self, body: dict[str, Any]) -> Response:
        document = graphql.parse(body["query"])
        errors: list[Any] = [{"message": str(e.message)} for e in graphql.validate(self._schema, document)]
        operation, *fragments = document.definitions
        named = {fragment.name.value: fragment.selection_set for fragment in fragments}  # type: ignore[attr-defined]
        if not errors and (nodes := _nodes(operation.selection_set, named)) > NODES:  # type: ignore[attr-defined]
            errors = [{"type": "MAX_NODE_LIMIT_EXCEEDED", "message": f"{nodes} nodes"}]
        if not errors and len(re.findall(r"\b[tm]\d+: ", body["query"])) > self.max_parts:
            return answer("upstream took too long", 502)
        if errors:
            return answer({"errors": errors})
        root = {"repository": self._repository, "node": self._node}
        done = graphql.execute_sync(self._schema, document, root, variable_values=body["variables"])
        result: dict[str, Any] = {"data": done.data}
        if done.errors:
            kind = "NOT_FOUND" if "NOT_FOUND" in str(done.errors[0]) else "INTERNAL"
            result["errors"] = [{"type": kind, "message": str(e.message)} for e in done.errors]
        return answer(result)

    def _repository(self, info: Any, owner: str, name: str) -> Any:
        if f"{owner}/{name}" != self.full_name:
            raise ValueError("NOT_FOUND")

        def one(kind: str) -> Callable[..., Any]:
            return lambda info, number: next(
                (self._node_of(kind, row) for row in self.records[kind] if row["number"] == number), None
            )

        def several(kind: str) -> Callable[..., Any]:
            def resolve(
                info: Any,
                orderBy: dict[str, str],
                first: int = 0,
                after: str | None = None,
                states: list[str] | None = None,
            ) -> Any:
                field = _ORDER[orderBy["field"]]
                rows = [row for row in self.records[kind] if states != ["MERGED"] or row["mergedAt"]]
                rows.sort(key=lambda row: (row[field], row["number"]), reverse=orderBy["direction"] == "DESC")
                # GitHub's cursors hold the place in the order, not a number of rows.
                if after:
                    place = tuple(json.loads(after))
                    rows = [row for row in rows if (row[field], row["number"]) < place]
                page = rows[:first]
                end = json.dumps([page[-1][field], page[-1]["number"]]) if page else None
                nodes = [self._node_of(kind, row) for row in page]
                return {"totalCount": len(rows), "pageInfo": _info(len(rows) > first, end), "nodes": nodes}

            return resolve

        return {
            **{field: one(kind) for field, kind in _FIELDS.items()},
            **{kind_field: several(kind) for kind_field, kind in _LIST_FIELDS.items()},
        }

    def _node(self, info: Any, id: str) -> Any:
        kind, number, *inner = id.split("-")
        row = next((row for row in self.records[kind] if str(row["number"]) == number), None)
        if row is None:
            return None
        node = self._node_of(kind, row)
        for field, place in zip(inner[::2], inner[1::2], strict=True):
            node = node["_" + field][int(place)]
        return node

    def _node_of(self, kind: str, row: dict[str, Any]) -> dict[str, Any]:
        node_id = f"{kind}-{row['number']}"
        node = _said(row) | {
            "__typename": _TYPES[kind],
            "id": node_id,
            "url": f"https://github.com/{self.full_name}/{PATHS[kind]}/{row['number']}",
            "labels": lambda info, first: {"nodes": [{"name": name} for name in row["labels"][:first]]},
        }
        for field, inner in (
            ("comments", "Comment"),
            ("reviews", "Review"),
            ("reviewThreads", "PullRequestReviewThread"),
        ):
            if field in row:
                inner = "DiscussionComment" if kind == "discussions" else inner
                children = [_child(f"{node_id}-{field}-{n}", inner, child) for n, child in enumerate(row[field])]
                node |= {field: _connection(children), "_" + field: children}
        if kind == "pulls":
            merge = row["mergeCommit"]
            node["mergeCommit"] = {"oid": merge} if merge else None
            node.setdefault("changedFiles", len(row["files"]))
        if kind == "discussions":
            node |= {"category": {"name": row["category"]}}
            node["answer"] = node["_comments"][row["answer"]] if row["answer"] is not None else None
        return node


_TYPES = {"pulls": "PullRequest", "issues": "Issue", "discussions": "Discussion"}
_FIELDS = {"pullRequest": "pulls", "issue": "issues", "discussion": "discussions"}
_LIST_FIELDS = {"pullRequests": "pulls", "issues": "issues", "discussions": "discussions"}


def _info(more: bool, end: str | None) -> dict[str, Any]:
    return {"hasNextPage": more, "endCursor": end}


def _said(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"author": {"login": row["author"]} if row.get("author") else None}


def _child(node_id: str, kind: str, row: dict[str, Any]) -> dict[str, Any]:
    node = _said(row) | {"__typename": kind, "id": node_id}
    if kind == "Review":
        node |= {"submittedAt": row.get("submittedAt", row["createdAt"])}
    for field in ("comments", "replies"):
        if field in row or (kind, field) == ("DiscussionComment", "replies"):
            children = [
                _child(f"{node_id}-{field}-{n}", "Comment", child) for n, child in enumerate(row.get(field, []))
            ]
            node |= {field: _connection(children), "_" + field: children}
    return node


def _connection(children: list[dict[str, Any]]) -> Callable[..., Any]:
    def resolve(info: Any, first: int = 0, after: str | None = None) -> dict[str, Any]:
        start = int(after or 0)
        end = min(start + first, len(children))
        return {"pageInfo": _info(end < len(children), str(end)), "nodes": children[start:end]}

    return resolve


def _nodes(selection: Any, fragments: dict[str, Any], times: int = 1) -> int:
    """Nodes that a query may return: each list's `first` times those of what holds it, as GitHub counts them."""
    total = 0
    for field in selection.selections if selection else []:
        first = 1
        for argument in getattr(field, "arguments", None) or ():
            first = int(argument.value.value) if argument.name.value == "first" else first
        inner = fragments[field.name.value] if field.kind == "fragment_spread" else field.selection_set
        total += (times * first if first > 1 else 0) + _nodes(inner, fragments, times * first)
    return total
