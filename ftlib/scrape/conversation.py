"""What was said in a pull request, an issue or a discussion, as text in the order of its dates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Row = dict[str, Any]

_VERDICTS = {"APPROVED": "approved", "CHANGES_REQUESTED": "asked for changes", "DISMISSED": "dismissed"}


def said(thread: Row, until: str) -> str:
    """Comments, reviews and discussions of lines up to a date; "" where there are none.

    Args:
        thread: as GraphQL gives it: `comments`, `reviews`, `reviewThreads`, each with its `nodes`.
        until: `2023-12-21T23:59:59Z`.
    """
    parts = sorted((part for part in _parts(thread) if part[0] <= until), key=lambda part: part[0])
    return "\n\n".join(text for _, text in parts)


def author(row: Row) -> str:
    """The login, "ghost" for a deleted user, as on GitHub."""
    return (row.get("author") or {}).get("login") or "ghost"


def label_names(thread: Row) -> str:
    return ", ".join(label["name"] for label in (thread["labels"] or {"nodes": []})["nodes"])


def lines_ended(text: str) -> str:
    """GitHub keeps what a browser sends: CRLF."""
    return text.replace("\r\n", "\n").strip()


def _parts(thread: Row) -> Iterator[tuple[str, str]]:
    for row in _nodes(thread, "comments"):
        yield from _one("Comment", row)
        for reply in _nodes(row, "replies"):
            yield from _one("Reply", reply)
    for row in _nodes(thread, "reviews"):
        verdict = _VERDICTS.get(row["state"], "")
        if verdict or row["body"].strip():  # a review without either only holds comments on lines
            at = row["submittedAt"] or row["createdAt"]
            yield at, f"Review by {author(row)} at {at}: {verdict}\n{lines_ended(row['body'])}".rstrip(": \n")
    for discussion in _nodes(thread, "reviewThreads"):
        line = discussion["line"] or discussion["originalLine"]
        place = f" on {discussion['path']}" + (f", line {line}" if line else "")
        for row in _nodes(discussion, "comments"):
            yield from _one("Review comment", row, place)


def _one(what: str, row: Row, place: str = "") -> Iterator[tuple[str, str]]:
    if body := lines_ended(row["body"]):
        yield row["createdAt"], f"{what} by {author(row)} at {row['createdAt']}{place}:\n{body}"


def _nodes(row: Row, field: str) -> list[Row]:
    return [node for node in (row.get(field) or {}).get("nodes") or [] if node]
