"""What 04_eval asks, each question with its document.

trained, paraphrases, validation    questions that were trained on, in other words, and on held-out documents
recall, reworded, control           texts to recite: as trained, asked for in words never trained on, never trained
changed                             facts with an old and a current value: asked now, and as of a date
unknown                             the user's own; `invented` makes more, `canaries` asks for what was redacted
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ftlib.errors import SetupError
from ftlib.metrics import has_keywords
from ftlib.mixture import split_of
from ftlib.similar import near_duplicates
from ftlib.synth.assembling import user_turns
from ftlib.synth.changed.wordings import gives_away, keywords_of
from ftlib.synth.questions import path_of, questions_path
from ftlib.workspace import Workspace, read_jsonl, require

Row = dict[str, Any]
Record = Mapping[str, Any]

RECITED = ("page_instruction", "file_snapshot")
# None of them is one of ftlib.synth.recited's, and a check looks whether chats.jsonl has it all the same.
REWORDED = {
    "page_instruction": (
        "I need the whole text of the {project} documentation page “{title}”, word for word.",
        "Recite from memory, from its heading to its last line: “{title}”, a page on {project}.",
    ),
    "file_snapshot": (
        "Write out the source of {path} as {project} has it, from the first line to the last.",
        "From memory, please: every line of {project}'s {path}.",
    ),
}
SEEN = 0.5
_LINE = 20  # characters from which on a line is a document's own


def questions(workspace: Workspace) -> list[Row]:
    """trained, validation, paraphrases, changed and unknown: set, id, document_id, question, reference, keywords.

    A row of `changed` has more fields, see `changed_rows`. The reference of `unknown` is empty.

    Raises:
        SetupError: chats.jsonl is missing or stale.
    """
    require(workspace, "documents", "chats")
    documents, rows = list(read_jsonl(workspace.documents)), []
    for record in read_jsonl(workspace.chats):
        # A trained paraphrase is its question once more; a dialogue can't be asked by its last question alone.
        if record["method"] in ("page_qa", "yours") and len(record["messages"]) == 2 and not record.get("of"):
            question, answer = (message["content"] for message in record["messages"])
            kind = "trained" if record["split"] == "train" else "validation"
            rows.append(_row(kind, record, question, answer, record.get("keywords")))
    asked = list(read_jsonl(questions_path(workspace)))
    for kind in ("paraphrases", "unknown"):
        mine = (row for row in asked if row["set"] == kind)
        rows += [_row(kind, row, row["question"], row.get("answer") or "", row.get("keywords")) for row in mine]
    order = ("trained", "paraphrases", "validation", "changed", "unknown")
    rows += changed_rows([row for row in asked if row["set"] == "changed"], documents)
    return sorted(rows, key=lambda row: order.index(row["set"]))


def _row(kind: str, source: Record, question: str, reference: str, keywords: Sequence[str] | None, **more: Any) -> Row:
    about = {"set": kind, "id": source["id"], "document_id": source.get("document_id") or ""}
    return about | {"question": question, "reference": reference, "keywords": list(keywords or []), **more}


# --- facts that changed -----------------------------------------------------------------------------------------------


def changed_rows(facts: Iterable[Record], documents: Iterable[Record]) -> list[Row]:
    """Each fact as it is asked now and, where its dates are known, as of two days.

    Args:
        facts: rows of a file (question, old, current) or of `ftlib.synth.changed`, which have more.

    Returns:
        rows with when ("now"; "before": the day before the change; "since": the snapshot's), expected ("current" or
        "stale"), old, current, older and form; reference and keywords are those of what is expected.
    """
    documents = list(documents)
    by_path = {document["path"]: document for document in documents}
    newest = max((document["date"] for document in documents), default="")
    rows = []
    for fact in facts:
        form = fact.get("form", "")
        form = "name" if form == "replacement" else form
        values = {"stale": fact["old"], "current": fact["current"]}
        kept = {"old": fact["old"], "current": fact["current"], "older": fact.get("older") or [], "form": form}
        keywords = {"stale": keywords_of(form, fact["old"])}
        keywords["current"] = fact.get("keywords") or keywords_of(form, fact["current"])
        asked = [("now", "current", fact["question"])]
        changed = fact.get("as_of_old") or _merged(by_path.get(path_of(fact.get("source_current") or "")))
        # "X was once used. What is in its place?" can't be asked of a day on which X was.
        if changed and not gives_away(fact["question"], [fact["old"]]):
            timeless = re.sub(r"\s+now\b", "", fact["question"])
            days = _day(changed, -1), _day(fact.get("as_of_current") or max(newest, changed))
            asked += [("before", "stale", f"As of {days[0]}: {timeless}")]
            asked += [("since", "current", f"As of {days[1]}: {timeless}")]
        for when, expected, question in asked:
            more = {"when": when, "expected": expected}
            row = _row("changed", fact, question, values[expected], keywords[expected], **more, **kept)
            rows.append(row | {"id": fact["id"] if when == "now" else f"{fact['id']}:{when}"})
    return rows


def _merged(document: Record | None) -> str:
    """When a pull request was merged; the date of a page says nothing of when a line of it changed."""
    return document["date"] if document and document["source"] == "pull_request" else ""


def _day(date: str, days: int = 0) -> str:
    day = datetime.fromisoformat(date.replace("Z", "+00:00")) + timedelta(days)
    return f"{day.day} {day:%B %Y}"


def staleness(answer: str, row: Record) -> str:
    """Which value of a changed fact an answer names: stale, current, both, or other.

    A former value is stale too, except as of the day before the change.
    """
    before = [row["old"]] if row["expected"] == "stale" else [row["old"], *row["older"]]
    current = _names(answer, row["current"], before, row["form"])
    stale = any(_names(answer, value, [row["current"]], row["form"]) for value in before)
    return ("both" if stale else "current") if current else "stale" if stale else "other"


def _names(answer: str, value: str, others: Sequence[str], form: str) -> bool:
    mine = keywords_of(form, value)
    for other in others:
        if has_keywords(other, mine):  # Node in "Node 22"
            answer = re.sub(re.escape(other.strip("` ")), " ", answer, flags=re.IGNORECASE)
    return has_keywords(answer, mine)


# --- texts to recite --------------------------------------------------------------------------------------------------


def recitals(
    chats: Iterable[Record], documents: Iterable[Record], project: str, validation_share: float = 0.1
) -> list[Row]:
    """Pages and files to recite: `recall` as trained, `reworded` in other words, and `control`, the held-out ones.

    Of a text that was trained on in several wordings, `recall` has the first; `reworded` is none of them.
    A held-out text of which half the lines stand in a trained document, the patch of a pull request for example, is no
    control: its set is `control_seen`. With `all_data` everything is trained on, and nothing is a control.

    Returns:
        rows with method (of RECITED) and, of held-out ones, seen: that share of lines. Shortest first.

    Raises:
        SetupError: all other wordings of a text are trained on.
    """
    chats, by_id = list(chats), {document["id"]: document for document in documents}
    recited = sorted(
        (chat for chat in chats if chat["method"] in RECITED and chat["document_id"] in by_id and not chat.get("of")),
        key=lambda chat: (len(chat["messages"][-1]["content"]), chat["id"]),
    )
    trained = [chat for chat in recited if chat["split"] == "train"]
    shown = (document for id, document in by_id.items() if split_of(id, validation_share) == "train")
    known = {line for document in shown for line in _lines(document)}
    rows = []
    for chat in recited:
        kind = "recall" if chat["split"] == "train" else "control"
        question, answer = (message["content"] for message in chat["messages"])
        rows.append(_row(kind, chat, question, answer, None, method=chat["method"]))
        if kind == "control":
            lines = _lines(by_id[chat["document_id"]])
            seen = sum(line in known for line in lines) / len(lines) if lines else 0.0
            rows[-1] |= {"seen": seen, "set": "control" if seen < SEEN else "control_seen"}
    other = reworded(trained, by_id, project, user_turns(chats))
    for chat, question in zip(trained, other, strict=True):
        row = _row("reworded", chat, question, chat["messages"][-1]["content"], None, method=chat["method"])
        rows.append(row | {"id": f"{chat['id']}:reworded"})
    return rows


def reworded(trained: Sequence[Record], by_id: Mapping[str, Record], project: str, shown: Sequence[str]) -> list[str]:
    """For each recited chat, a question for its text that is no near-duplicate of what was `shown` in training."""
    found: dict[int, str] = {}
    for wording in range(len(REWORDED[RECITED[0]])):
        left = [number for number in range(len(trained)) if number not in found]
        asked = [_reworded(trained[number], by_id, project, wording) for number in left]
        again = set(near_duplicates(asked, shown)) if asked else set()
        found |= {number: asked[place] for place, number in enumerate(left) if place not in again}
    if missing := [chat for number, chat in enumerate(trained) if number not in found]:
        raise SetupError(
            f"chats.jsonl trains on all wordings by which {missing[0]['id']} could be asked for anew: take the chat "
            f"that asks {_reworded(missing[0], by_id, project, 0)!r} out."
        )
    return [found[number] for number in range(len(trained))]


def _reworded(chat: Record, by_id: Mapping[str, Record], project: str, wording: int) -> str:
    document = by_id[chat["document_id"]]
    text = REWORDED[chat["method"]][wording]
    return text.format(project=project, title=document["title"], path=document["path"])


def _lines(document: Record) -> list[str]:
    # A patch has a sign before each line.
    texts = (line.strip().lstrip("+-").strip() for line in document["text"].splitlines())
    return [line for line in texts if len(line) >= _LINE]
