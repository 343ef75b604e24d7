"""How many requests a hundred pull requests with their conversations cost: ftlib beside PyGithub's own loops.

Both ask the same GitHub-shaped server (tests/github_server.py). The naive way is what PyGithub's documentation shows:
the list of closed pull requests, and for each of them its comments, review comments, reviews and files.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import github
from github_server import GitHubServer, pull, said

from ftlib.scrape import threads
from ftlib.scrape.answers import Answers
from ftlib.scrape.github import GitHub

NAME, PULLS = "fennhollow/brindlewick", 100


def records() -> list[dict[str, Any]]:
    """130 pull requests, 117 of them merged: six comments, three reviews, four discussed lines, five files each."""
    rows = []
    for n in range(1, 131):
        at = f"2024-{1 + n // 28:02d}-{1 + n % 28:02d}T10:00:00Z"
        line = {"path": "a.py", "line": 3, "comments": [said("Why?", at), said("So.", at)]}
        rows.append(
            pull(
                n,
                at if n % 10 else None,
                comments=[said(f"comment {k}", at) for k in range(6)],
                reviews=[said("", at, state="APPROVED")] * 3,
                reviewThreads=[line] * 4,
                files=[
                    {"filename": f"f{k}.py", "status": "modified", "additions": 1, "deletions": 1} for k in range(5)
                ],
            )
        )
    return rows


def measure() -> dict[str, int]:
    """Requests of both; raises where the two read different things."""
    with GitHubServer(NAME, pulls=records()) as server:
        found, requests = _ours(server), len(server.requests)
        server.requests.clear()
        theirs, naive = _naive(server), len(server.requests)
    if found != theirs:
        raise SystemExit("ftlib and PyGithub's loops did not read the same pull requests and comments.")
    return {"requests": requests, "requests_naive": naive}


def _ours(server: GitHubServer) -> dict[int, tuple[int, int, int]]:
    """Number -> comments, reviews, review comments. The files come from git, and cost no request."""
    with tempfile.TemporaryDirectory() as folder:
        hub = GitHub(NAME, Answers(Path(folder, "answers.jsonl")), token="t", api=server.api)
        rows = threads.list_threads(hub, "pullRequests", PULLS, "9999")
        found = {}
        for _, row in threads.read_threads(hub, "pullRequests", rows, lambda done: None):
            lines = sum(len(thread["comments"]["nodes"]) for thread in row["reviewThreads"]["nodes"])
            found[row["number"]] = len(row["comments"]["nodes"]), len(row["reviews"]["nodes"]), lines
    return found


def _naive(server: GitHubServer) -> dict[int, tuple[int, int, int]]:
    hub = github.Github(auth=github.Auth.Token("t"), base_url=server.api, seconds_between_requests=None)
    merged = (
        row for row in hub.get_repo(NAME).get_pulls(state="closed", sort="updated", direction="desc") if row.merged_at
    )
    found = {}
    for row, _ in zip(merged, range(PULLS), strict=False):
        comments, lines = len(list(row.get_issue_comments())), len(list(row.get_review_comments()))
        found[row.number] = comments, len(list(row.get_reviews())), lines
        list(row.get_files())
    return found
