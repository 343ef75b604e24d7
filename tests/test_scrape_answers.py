"""What GitHub answered, kept on disk; and what was said, as text."""

import json
import time

from github_server import said

from ftlib.scrape.answers import Answers
from ftlib.scrape.conversation import said as conversation

END = "2030-01-01T00:00:00Z"


def test_conversation_in_the_order_of_dates_up_to_one():
    row = {
        "comments": {"nodes": [said("Late.", "2024-01-09T00:00:00Z"), said(" First\r\nline ", "2024-01-01T00:00:00Z")]},
        "reviews": {
            "nodes": [
                said("", "2024-01-02T00:00:00Z", state="APPROVED", submittedAt=None),
                said("No.", "2024-01-02T00:00:00Z", state="CHANGES_REQUESTED", submittedAt="2024-01-04T00:00:00Z"),
                said("", "2024-01-02T00:00:00Z", state="COMMENTED", submittedAt=None),
            ]
        },
        "reviewThreads": {
            "nodes": [
                {
                    "path": "src/a.ts",
                    "line": None,
                    "originalLine": 12,
                    "comments": {"nodes": [said("Why?", "2024-01-03T00:00:00Z", author=None)]},
                }
            ]
        },
    }
    for part in (row["comments"], row["reviews"], row["reviewThreads"]["nodes"][0]["comments"]):
        for one in part["nodes"]:
            one["author"] = one["author"] and {"login": one["author"]}
    assert conversation(row, "2024-01-08") == (
        "Comment by ann at 2024-01-01T00:00:00Z:\nFirst\nline\n\n"
        "Review by ann at 2024-01-02T00:00:00Z: approved\n\n"
        "Review comment by ghost at 2024-01-03T00:00:00Z on src/a.ts, line 12:\nWhy?\n\n"
        "Review by ann at 2024-01-04T00:00:00Z: asked for changes\nNo."
    )


def test_answers_survive_a_cut_row_and_hold_no_secret(tmp_path):
    path = tmp_path / "folder" / "answers.jsonl"
    answers = Answers(path)
    token = "gh" + "p_" + "a1B2" * 9
    assert answers.get("list a", lambda: [{"body": f"use {token}"}]) == [{"body": "use <REDACTED:github_token>"}]
    answers.put("pull 1", {"n": 1})
    assert token not in path.read_text()
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        here = Answers(path)
        assert ("list a" in here, "pull 1" in here) == (whole[:cut].count(b"\n") > 0, False)
        here.put("pull 1", 2)
        assert Answers(path)["pull 1"] == 2
    answers = Answers(path)
    answers.finish()
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["pull 1"]


def test_old_lists_are_asked_for_again(tmp_path, monkeypatch):
    answers = Answers(tmp_path / "a.jsonl")
    answers.put("list x", 1)
    answers.put("pull x", 1)
    tomorrow = time.time() + 25 * 3600
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    later = Answers(tmp_path / "a.jsonl")
    assert "list x" not in later and "pull x" in later
