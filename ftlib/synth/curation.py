"""Pairs -> those worth training on, step by step, each step with its count and what it removed.

schema           an item has a question and an answer (checked as it is read; here only counted)
deixis           nothing points at a text that the reader of the question does not see
named            the question names the project, or the page, file or pull request
evidence         the passage given as proof stands in the document
near-duplicates  one question is asked once, and none that is kept for 04_eval only
judge            optional: a model finds it answerable, supported and self-contained
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rapidfuzz import fuzz

from ftlib.metrics import admits
from ftlib.similar import near_duplicates, repeated

Row = dict[str, Any]
Removed = list[tuple[Row, str]]
STEPS = ("schema", "deixis", "named", "evidence", "near-duplicates", "judge")
SAMPLES = 3  # of what a step removed, in the manifest; all of it is in rejected.jsonl
SIMILARITY = 90.0  # percent, of the evidence with the best place in the document

# Words for what a model was given.
_GIVEN = r"(?:text|passage|excerpt|snippet|paragraph|context|article)"
_THING = rf"(?:{_GIVEN}|page|document|documentation|section|file|diff|patch|pull request|information|material|content)"
_SAID = (
    r"(?:said|states?|stated|mentions?|mentioned|describes?|described|says?|explains?|lists?|gives?|provides?|shows?)"
)
# Always a way to say "what you gave me".
_OUTSIDE = re.compile(
    rf"""\b(?:
      the\ (?:above|following|given|provided|attached|quoted)\ (?:[\w-]+\ )?(?:{_THING}|code|example|list|table)s?\b
    | (?:{_THING}|code|example|list|table)s?\ (?:given\ |shown\ |provided\ |quoted\ )?(?:above|below)\b
    | (?:mentioned|described|listed|shown|stated|discussed|provided|given|noted|quoted|as|see|seen)
        \ (?:above|below|earlier)\b
    | (?:above|below)[-\ ]mentioned
    | (?:according\ to|based\ on|(?:stated|described|mentioned|shown|given|found)\ in|in|from|per|by)
        \ (?:the|this)\ (?:{_GIVEN}|document)\b
        (?!\s+(?:of|for|on|about|named|called|titled|in|field|box|area|node|editor)\b)
    | the\ {_GIVEN}\ {_SAID}\b
    | what\ (?:do|does|did)\ the\ (?:{_GIVEN}|document)\b
    | the\ authors?\b
    )""",
    re.I | re.X,
)
# They point at something said before, if there is any: "pull request #7 ... this pull request".
_THIS = re.compile(rf"\b(?:this|these)\ (?:[\w-]+\ )?({_THING}|code|snippet)s?\b", re.I)
_THE_PAGE = re.compile(
    rf"\b(?:do|does|did)\ the\ (?:page|file|section)\ \w+|\bthe\ (?:page|file|section)\ {_SAID}\b", re.I
)
# Titles that name no page: every project has one.
_GENERIC = frozenset(
    "readme home index introduction overview faq changes changelog contributing license docs documentation guide setup "
    "installation install usage testing tests development deployment deploying configuration notes todo summary "
    "about help getting started architecture".split()
)
_SPACE = re.compile(r"[\s*_`>#|\\]+")  # white space and the marks of Markdown, which a quotation leaves out
_GAP = re.compile(r"\s*(?:\[?\.\.\.\]?|\[?…\]?)\s*")
_EXACT = re.compile(r"[\w./-]*\d[\w./-]*")  # a number, version, date or path with one: no near miss will do
SHORT = 20  # characters: less would fit anywhere by chance, so it must stand there as it is


def points_outside(text: str, before: str = "") -> str:
    """The words that point at something the reader does not see ("the text above"); empty where there are none.

    Args:
        before: what was said before the text: the question of an answer.
    """
    if found := _OUTSIDE.search(text):
        return found[0]
    for match in _THIS.finditer(text):
        if match[1].casefold() not in f"{before}\n{text[: match.start()]}".casefold():
            return match[0]
    return ""


def is_named(question: str, names: Iterable[str]) -> bool:
    """Whether one of the names stands in the question as whole words; case, `-`, `_` and spaces make no difference."""
    asked = f" {_words(question)} "
    return any(f" {words} " in asked for name in names if (words := _words(name)))


def _words(text: str) -> str:
    return " ".join(re.findall(r"[\w#]+", text.casefold().replace("_", " ")))


def names_of(document: Mapping[str, Any]) -> list[str]:
    """What a question may call a document: its path, file name, title or number, where these say something."""
    path, title = document["path"], document["title"]
    if document["source"] in ("pull_request", "issue", "discussion"):
        number = document["id"].rpartition(":")[2].rpartition("/")[2]
        return [f"#{number}", f"request {number}", f"PR {number}", f"issue {number}", f"discussion {number}", title]
    file = path.rsplit("/", 1)[-1]
    stem = file.rsplit(".", 1)[0] if document["source"] in ("wiki", "docs") else ""
    names = [path, file, title, stem, stem.replace("-", " ")]
    return [name for name in names if _words(name) and not set(_words(name).split()) <= _GENERIC]


def has_evidence(evidence: str, text: str) -> bool:
    """Whether a passage stands in a text, but for white space, Markdown's marks and some misspelling.

    A number, a version or a path with a digit must stand there exactly; a gap ("...") parts it into passages, each of
    which must. rapidfuzz's partial ratio: the normalised Indel similarity with the best window of the text.
    """
    page = _SPACE.sub(" ", text).casefold()
    pieces = [piece for part in _GAP.split(evidence) if (piece := _SPACE.sub(" ", part).casefold().strip(" \"'“”"))]
    return bool(pieces) and all(_stands_in(piece, page) for piece in pieces)


def _stands_in(piece: str, page: str) -> bool:
    if piece in page:
        return True
    if len(piece) < SHORT or len(piece) > len(page):
        return False
    place = fuzz.partial_ratio_alignment(piece, page, score_cutoff=SIMILARITY)
    if place is None:
        return False
    # The window may begin or end inside a word.
    window = page[max(0, place.dest_start - 20) : place.dest_end + 20]
    there = {word.strip("./-") for word in _EXACT.findall(window)}
    return all(word.strip("./-") in there for word in _EXACT.findall(piece))


# --- the steps --------------------------------------------------------------------------------------------------------


def _deixis(row: Row, document: Mapping[str, Any] | None, project: Sequence[str]) -> str:
    for name, before in (("question", ""), ("answer", row["question"])):
        if found := points_outside(row[name], before):
            return f"the {name} points at what is not there: {found!r}"
    # "What does the page say" is a question only for whom the page lies before.
    found = _THE_PAGE.search(row["question"])
    if found and not (document and is_named(row["question"], names_of(document))):
        return f"the question points at what is not there: {found[0]!r}"
    return ""


def _named(row: Row, document: Mapping[str, Any] | None, project: Sequence[str]) -> str:
    names = [*project, *(names_of(document) if document else ())]
    return "" if is_named(row["question"], names) else f"neither {project[0]} nor the page is named"


def _evidence(row: Row, document: Mapping[str, Any] | None, project: Sequence[str]) -> str:
    if row.get("kind") == "unanswerable":
        return "" if admits(row["answer"]) else "called unanswerable, but the answer does not say so"
    if document is None or (row.get("evidence") is None and row["by"] == "file"):
        return ""  # a question file need not give any
    if not row.get("evidence"):
        return "no evidence is given"
    return "" if has_evidence(row["evidence"], document["text"]) else "the evidence does not stand in the document"


CHECKS: dict[str, Callable[[Row, Mapping[str, Any] | None, Sequence[str]], str]] = {
    "deixis": _deixis,
    "named": _named,
    "evidence": _evidence,
}


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
    for step, check in CHECKS.items():
        found = [(row, check(row, documents.get(row["document_id"]), project)) for row in left]
        removed[step] = [(row, reason) for row, reason in found if reason]
        left = [row for row, reason in found if not reason]
    before = list(others)
    kept = set(near_duplicates([row["question"] for row in left], asked_only))
    again = {number - len(before) for number in repeated([*before, *(row["question"] for row in left)])}
    removed["near-duplicates"] = [
        (row, "kept for 04_eval in nearly these words" if number in kept else "asked before in nearly these words")
        for number, row in enumerate(left)
        if number in kept or number in again
    ]
    return [row for number, row in enumerate(left) if number not in kept and number not in again], removed


def judged(rows: Sequence[Row], verdicts: Mapping[str, Any]) -> tuple[list[Row], Removed]:
    """The rows that a judge let through; a row without a verdict is not let through.

    Args:
        verdicts: by row id, `prompts.Verdict`; a paraphrase without one takes that of its pair.
    """
    left, removed = [], []
    for row in rows:
        verdict = verdicts.get(row["id"]) or verdicts.get(row.get("of", ""))
        wrong = [
            name.replace("_", "-")
            for name in ("answerable", "supported", "self_contained")
            if verdict is not None and not getattr(verdict, name)
        ]
        if verdict is None:
            removed.append((row, "the judge said nothing of it"))
        elif wrong:
            removed.append((row, f"the judge: not {', not '.join(wrong)}"))
        else:
            left.append(row)
    return left, removed


def funnel(found: int, wrong: int, removed: Mapping[str, Removed]) -> list[dict[str, Any]]:
    """One dict a step: step, kept, removed and samples (question and reason) of what it removed.

    Args:
        found: pairs that were of the asked form; wrong: items that were not.
    """
    rows = [{"step": "asked for and answered", "kept": found + wrong, "removed": 0, "samples": []}]
    rows.append({"step": "schema", "kept": found, "removed": wrong, "samples": []})
    for step in STEPS[1:]:
        if step in removed:
            gone = removed[step]
            samples = [{"question": row["question"], "reason": reason} for row, reason in gone[:SAMPLES]]
            found -= len(gone)
            rows.append({"step": step, "kept": found, "removed": len(gone), "samples": samples})
    return rows
