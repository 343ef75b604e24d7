"""Pairs -> those worth training on, step by step, each step with its count and what it removed.

schema           an item has a question and an answer (checked as it is read; here only counted)
deixis           nothing points at a text that the reader of the question does not see
named            the question, or the one that it is another wording of, names the project, page, file or pull request
evidence         the passage given as proof stands in the document, and so do the answer's numbers
near-duplicates  one question is asked once, and none that is kept for 04_eval only
judge            optional: a model finds it answerable, supported and self-contained
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ftlib.metrics import admits
from ftlib.similar import near_duplicates, repeated
from ftlib.synth.curation.deixis import THE_FILE, any_of, points_outside
from ftlib.synth.curation.evidence import has_evidence, made_up_numbers
from ftlib.synth.curation.naming import is_named, names_of, words_of

Row = dict[str, Any]
Removed = list[tuple[Row, str]]
STEPS = ("schema", "deixis", "named", "evidence", "near-duplicates", "judge")
_WENT = "other words for a question that went"
SAMPLES = 3  # of what a step removed, in the manifest; all of it is in rejected.jsonl

_NOT_SAID = any_of(  # what the prompt asks an answer to say, beside the words for "I don't know"
    r"\b(?:does|do|did)(?: not|n't) (?:say|mention|state|specify|describe|document|cover|explain|tell|give|name|list"
    r"|define|discuss|indicate|address|include)\b|\bmakes? no mention\b"
    r"|\b(?:is|are)(?: not|n't) (?:said|stated|specified|described|documented|covered|explained|given|named|listed)\b"
)


def _deixis(row: Row, document: Mapping[str, Any] | None, project: Sequence[str]) -> str:
    # The project's own name is no code that "this function" could mean.
    names = "|".join(r"[\W_]?".join(words) for name in project if (words := [re.escape(w) for w in words_of(name)]))
    question = re.sub(rf"(?<!\w)(?:{names or '$^'})(?!\w)", "Project", row["question"], flags=re.I)
    for what, text, before in (("question", question, ""), ("answer", row["answer"], row["question"])):
        if found := points_outside(text, before):
            return f"the {what} points at what is not there: {found!r}"
    pointed = THE_FILE.search(question)
    if pointed and not (document and is_named(row["question"], names_of(document))):
        return f"the question points at what is not there: {pointed[0]!r}"
    return ""


def _named(row: Row, document: Mapping[str, Any] | None, project: Sequence[str]) -> str:
    names = [*project, *(names_of(document) if document else ())]
    return "" if is_named(row["question"], names) else f"neither {project[0]} nor the page is named"


def _evidence(row: Row, document: Mapping[str, Any] | None, project: Sequence[str]) -> str:
    if row.get("kind") == "unanswerable":
        said = admits(row["answer"]) or _NOT_SAID.search(row["answer"])
        return "" if said else "called unanswerable, but the answer does not say so"
    if document is None or (row.get("evidence") is None and row["by"] == "file"):
        return ""  # a question file need not give any
    if not row.get("evidence"):
        return "no evidence is given"
    # The model was given the title with the text.
    there = has_evidence(row["evidence"], f"{document['title']}\n{document['text']}")
    if not there:
        return "the evidence does not stand in the document"
    known = [document[name] for name in ("text", "title", "path")] + [document.get("date", ""), row["question"]]
    numbers = made_up_numbers(row["answer"], *known)
    return f"the answer's {numbers[0]} stands nowhere in the document" if numbers else ""


def curate(
    rows: Sequence[Row],
    documents: Mapping[str, Mapping[str, Any]],
    project: Sequence[str],
    *,
    others: Iterable[str] = (),
    asked_only: Iterable[str] = (),
) -> tuple[list[Row], dict[str, Removed]]:
    """Take the steps from deixis to near-duplicates.

    Args:
        rows: dicts of question, answer, evidence, kind, document_id and `by` ("api" or "file").
        documents: by id; of a row that names none, the evidence is not looked for.
        project: names of the project, the first for the messages.
        others: questions of other chats to train on (the user's own dialogues), which come first.
        asked_only: questions that are never trained on.

    Returns:
        the rows that are left, and by step those that it removed, each with the reason.
    """
    removed: dict[str, Removed] = {}
    left = list(rows)
    for step, check in (("deixis", _deixis), ("named", _named), ("evidence", _evidence)):
        found = [(row, check(row, documents.get(row["document_id"]), project)) for row in left]
        if step == "named":  # users leave the name out, and beside the pair's own question it is clear what is meant
            named = {row["id"] for row, reason in found if not reason}
            found = [(row, "" if row.get("of") in named else reason) for row, reason in found]
        # Who wrote a file mends the pair; what an API was paid for is looked at for itself.
        mine = {row["id"] for row, reason in found if reason and row["by"] == "file"}
        found = [(row, reason or (_WENT if row.get("of") in mine else "")) for row, reason in found]
        removed[step] = [(row, reason) for row, reason in found if reason]
        left = [row for row, reason in found if not reason]
    before = list(others)
    again = (number - len(before) for number in repeated([*before, *(row["question"] for row in left)]))
    twice = dict.fromkeys((number for number in again if number >= 0), "asked before in nearly these words")
    kept = near_duplicates([row["question"] for row in left], asked_only)
    twice |= dict.fromkeys(kept, "kept for 04_eval in nearly these words")
    gone = {left[number]["id"] for number in twice}
    for number, row in enumerate(left):
        if row.get("of") in gone:
            twice.setdefault(number, _WENT)
    removed["near-duplicates"] = [(left[number], reason) for number, reason in sorted(twice.items())]
    return [row for number, row in enumerate(left) if number not in twice], removed


def judged(rows: Sequence[Row], verdicts: Mapping[str, Any]) -> tuple[list[Row], Removed]:
    """The rows that a judge let through, and those that it, by its verdict or for want of one, did not.

    `verdicts`: by row id, `prompts.Verdict`; a paraphrase without one takes that of its pair.
    """
    left, removed = [], []
    for row in rows:
        verdict = verdicts.get(row["id"]) or verdicts.get(row.get("of", ""))
        names = ("answerable", "supported", "self_contained") if verdict is not None else ()
        wrong = [name.replace("_", "-") for name in names if not getattr(verdict, name)]
        if verdict is None:
            removed.append((row, "the judge said nothing of it"))
        elif wrong:
            removed.append((row, f"the judge: not {', not '.join(wrong)}"))
        else:
            left.append(row)
    return left, removed


def funnel(found: int, removed: Mapping[str, Removed]) -> list[dict[str, Any]]:
    """One dict a step that was taken: step, kept, removed and samples (question and reason) of what it removed.

    `found`: items that were answered, of the asked form or not.
    """
    rows = [{"step": "asked for and answered", "kept": found, "removed": 0, "samples": []}]
    for step in STEPS:
        if step in removed:
            samples = [{"question": row["question"], "reason": reason} for row, reason in removed[step][:SAMPLES]]
            found -= len(removed[step])
            rows.append({"step": step, "kept": found, "removed": len(removed[step]), "samples": samples})
    return rows
