"""Facts that changed: an old and a current value of one statement, from pull requests' diffs and the pages' history.

    facts = changed_facts(documents, "manage-frontend", [(git_dir, commit)])
    chats = changed_chats(facts, "manage-frontend")

They ask a tuned model whether what it learned is stale. So a fact counts only if a hunk removed and added the same
statement with one other value, the current value still stands in that statement of the snapshot, the old one nowhere
in the file, and the question has one answer. All that is in doubt is left out.

statements.py reads lines of code and configuration, page_sentences.py pages, patch_lines.py patches, titles.py the
titles of pull requests ("Migrate from TeamCity to GitHub Actions"); rows.py and wordings.py make the row and its words.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftlib.metrics import has_keywords
from ftlib.scrape.redaction import redact
from ftlib.similar import near_duplicates
from ftlib.synth.changed import page_sentences as prose
from ftlib.synth.changed.patch_lines import Hunk, Renamed, history_hunks, pull_hunks
from ftlib.synth.changed.rows import Row, fact_row
from ftlib.synth.changed.statements import (
    LONGEST_VALUE,
    is_automatic,
    is_noise,
    is_own_version,
    is_skipped,
    parents,
    statements,
    usable,
)
from ftlib.synth.changed.titles import replacements
from ftlib.synth.changed.wordings import dated_answer, gives_away, key_subject, keywords_of, places, wordings
from ftlib.synth.curation.naming import number_of
from ftlib.synth.recited import record

Document = Mapping[str, Any]
_PAGES = ("docs", "wiki")
_COUNTED = 3  # numbers of one hunk that moved by as much


@dataclass(frozen=True)
class _Step:
    """One change of a statement in one document."""

    document_id: str
    kind: str
    """Of a Statement, or number, name, code in a sentence."""
    about: tuple[str, str]
    """What the statement is about: ("", the name), or the sentence before and after the value."""
    old: str
    new: str
    evidence: tuple[str, str]
    """The lines that said so."""
    date: str
    commit: str
    number: int | None


def changed_facts(documents: Iterable[Document], project: str, histories: Sequence[tuple[Path, str]] = ()) -> list[Row]:
    """The facts whose value changed and stands in the snapshot, in the order of their files.

    Args:
        documents: the records of documents.jsonl.
        histories: (git directory, commit) of the code repository and of the wiki, for what pages said before; what is
            not there or can't be read is passed over.

    Returns:
        rows of `id, question, old, current, older` (earlier values, newest first), `document_id` and `path` of the page
        or file that holds the current value, `source_old` (`pull/12` or `commit/<id>`, which ended the old value),
        `source_current` (the path), `as_of_old` (until when the old one held), `as_of_current` (the snapshot), both
        ISO dates UTC, `evidence_old, evidence_current` (the lines, word for word), `pull_request` (number or None),
        `kind` ("changed"), `form` (version, image, action, key, constant, file; number, name, code in a sentence;
        replacement), `subject` and `place` (for the words of a chat), `keywords` (the current value, as
        `ftlib.metrics` reads it); of a replacement also `still_in`, the pages that hold the old value to this day.
    """
    documents = list(documents)
    pulls = [row for row in documents if row["source"] == "pull_request"]
    files = {row["path"]: row for row in documents if row["source"] in ("code", "docs")}
    wiki = {row["path"]: row for row in documents if row["source"] == "wiki"}
    by_id = {row["id"]: row for row in (*files.values(), *wiki.values())}
    now = max((row["date"] for row in by_id.values()), default="")
    steps = [*_pull_steps(pulls, files), *_history_steps(files, wiki, pulls, histories)]
    chains: dict[tuple[str, str, tuple[str, str]], list[_Step]] = defaultdict(list)
    for step in steps:
        kind = "sentence" if by_id[step.document_id]["source"] in _PAGES else step.kind
        chains[step.document_id, kind, step.about].append(step)
    held: dict[str, _Current] = {}
    named = places(by_id.values())
    rows: list[Row] = []
    seen: set[tuple[str, str, str]] = set()
    for (document_id, _, _), chain in sorted(chains.items(), key=lambda item: item[0]):
        document = by_id[document_id]
        if document_id not in held:  # the chains of a document follow each other
            held = {document_id: _Current(document)}
        row = _row(chain, held[document_id], project, now, named[document_id])
        # A thing with a new name has it in many sentences, and a version in many files; one of them is enough.
        name = "" if document["source"] in _PAGES else chain[0].about[1]
        if row and (same := (name, row["old"], row["current"])) not in seen:
            seen.add(same)
            rows.append(row)
    given = {(row["old"], row["current"]) for row in rows}
    replaced = replacements(pulls, [*files.values(), *wiki.values()], project, now)
    return rows + [row for row in replaced if (row["old"], row["current"]) not in given]


# --- what changed -----------------------------------------------------------------------------------------------------


def _pull_steps(pulls: Iterable[Document], files: Mapping[str, Document]) -> Iterator[_Step]:
    """The changes in the patches of pull requests, in files that are there today, maybe by another name."""
    renamed: dict[str, str] = {}  # a former path -> the one that it has today
    for pull in sorted(pulls, key=lambda row: (row["date"], row["id"]), reverse=True):
        number = number_of(pull)
        hunks = list(pull_hunks(pull["text"]))
        # What changes along with its name became something else.
        moves = {hunk.path: hunk.old for hunk in hunks if isinstance(hunk, Renamed)}
        for hunk in hunks:
            path = renamed.get(hunk.path, hunk.path)
            if isinstance(hunk, Hunk) and hunk.path not in moves and (document := files.get(path)):
                yield from _steps(document, hunk, pull["date"], pull["commit"], number)
        renamed |= {old: renamed.get(new, new) for new, old in moves.items()}


def _history_steps(
    files: Mapping[str, Document],
    wiki: Mapping[str, Document],
    pulls: Iterable[Document],
    histories: Sequence[tuple[Path, str]],
) -> Iterator[_Step]:
    """The changes of pages in a repository's history; those of pull requests that are documents carry their number."""
    numbers = {row["commit"]: number for row in pulls if (number := number_of(row))}
    of_code = {row["commit"] for row in files.values()}
    docs = {path: row for path, row in files.items() if row["source"] == "docs"}
    for git_dir, tip in histories:
        pages = docs if tip in of_code else wiki
        for commit, date, hunk in history_hunks(git_dir, tip, [path for path in sorted(pages) if not is_skipped(path)]):
            if document := pages.get(hunk.path):
                steps = list(_steps(document, hunk, date, commit, numbers.get(commit)))
                # Nobody has redacted this yet, and what a line holds may show in those around it.
                sides = [redact("\n".join(side))[0] for side in (hunk.old, hunk.new)] if steps else []
                yield from (step for step in steps if step.evidence[0] in sides[0] and step.evidence[1] in sides[1])


def _steps(document: Document, hunk: Hunk, date: str, commit: str, number: int | None) -> Iterator[_Step]:
    if is_skipped(document["path"]) or is_automatic(document["text"]):
        return
    if document["source"] in _PAGES:
        for before, after, found in prose.differences(hunk.old, hunk.new):
            about, evidence = (found.before, found.after), (before.source, after.source)
            yield _Step(document["id"], found.kind, about, found.old, found.new, evidence, date, commit, number)
        return
    removed, added = statements(hunk.path, hunk.removed), statements(hunk.path, hunk.added)
    steps = []
    for (kind, name), values in removed.items():
        others = added.get((kind, name), {})
        if len(values) != 1 or len(others) != 1:
            continue  # two items of a list, or of two lists
        (old, at), (new, to) = next(iter(values.items())), next(iter(others.items()))
        if _is_change(old, new):
            evidence = (hunk.removed[at[0]].strip(), hunk.added[to[0]].strip())
            steps.append(_Step(document["id"], kind, ("", name), old, new, evidence, date, commit, number))
    shifts = Counter(_shift(step) for step in steps)
    # Where many numbers move by as much, something was put into a list that counts its items.
    yield from (step for step in steps if not _shift(step) or shifts[_shift(step)] < _COUNTED)


def _shift(step: _Step) -> int:
    """By how much a whole number changed, 0 for another value."""
    return int(step.new) - int(step.old) if re.fullmatch(r"\d{1,9}", step.old) and step.new.isdecimal() else 0


def _is_change(old: str, new: str) -> bool:
    """Whether two values differ in more than case and signs."""
    if not (usable(old) and usable(new)):
        return False
    return re.sub(r"[\W_]", "", old).casefold() != re.sub(r"[\W_]", "", new).casefold()


# --- what stands today ------------------------------------------------------------------------------------------------


class _Current:
    """The snapshot's text of a document, read once for all the questions on it."""

    def __init__(self, document: Document):
        self.document = document
        self.lines = [line.rstrip("\r") for line in document["text"].split("\n")]
        page = document["source"] in _PAGES
        self.units = prose.units(self.lines) if page else []
        self.by_text = {unit.text: unit for unit in self.units}
        self.by_start = sorted(self.by_text)
        self.by_end = sorted(text[::-1] for text in self.by_text)
        self.stated = {} if page else statements(document["path"], self.lines)

    def evidence(self, step: _Step) -> tuple[str, list[str]] | None:
        """The lines that state the step's new value, and the blocks round them; None unless it alone is stated."""
        if self.units:
            before, after = step.about
            unit = self.by_text.get(before + step.new + after)
            alone = unit and self._alike(before, after) == 1
            return (unit.source, []) if unit and alone and not self._is_word(step) else None
        values = self.stated.get((step.kind, step.about[1]), {})
        if list(values) != [step.new]:
            return None
        places = values[step.new]
        above = [parents(self.document["path"], self.lines, number) for number in places[:5]]
        return self.lines[places[0]].strip(), above[0] if all(one == above[0] for one in above) else []

    def _alike(self, before: str, after: str) -> int:
        """How many sentences are this one with any value in its blank."""
        longest = len(before) + len(after) + LONGEST_VALUE
        by_start = len(before) >= len(after)
        texts, start, end = (self.by_start, before, after) if by_start else (self.by_end, after[::-1], before[::-1])
        few = texts[bisect_left(texts, start) : bisect_right(texts, start + "\U0010ffff")]
        return sum(text.endswith(end) and len(text) <= longest for text in few)

    def _is_word(self, step: _Step) -> bool:
        """Whether a name is also a word of the page, as in an environment called CODE: any answer could hold it."""
        word = step.new.lower()
        return word.isalpha() and word != step.new and f" {word} " in self.document["text"]


def _chain(steps: Sequence[_Step]) -> tuple[_Step, list[str]]:
    """The last step, and the values before its old one, newest first."""
    ordered = sorted(steps, key=lambda step: (step.date, step.number or 0, step.commit))
    last = ordered[-1]
    older: list[str] = []
    value = last.old
    for step in reversed(ordered[:-1]):
        if step.new == value:
            value = step.old
            older.append(value)
    return last, list(dict.fromkeys(value for value in older if value != last.old))


def _row(chain: Sequence[_Step], current: _Current, project: str, now: str, place: str) -> Row | None:
    step, older = _chain(chain)
    stands = current.evidence(step)
    if not stands:
        return None
    evidence, above = stands
    document = current.document
    if is_noise(evidence) or is_noise(step.evidence[0]) or is_own_version(step.about[1], above):
        return None
    keywords = keywords_of(step.kind, step.new)
    # Else a stale answer would count as right; so it would where the value came back to a former one.
    if any(has_keywords(value, keywords) for value in (step.old, *older)) or not has_keywords(step.new, keywords):
        return None
    name = step.about[1]
    subject = "___".join(step.about) if current.units else key_subject(name, above) if step.kind == "key" else name
    question, other = wordings(step.kind, subject, place, project)
    if gives_away(f"{question}\n{other}", (step.old, step.new, *keywords)):
        return None
    return fact_row(
        "\0".join((step.document_id, *step.about)),
        (step.kind, subject, place),
        (step.old, step.new),
        document,
        (step.evidence[0], evidence),
        project,
        source=f"pull/{step.number}" if step.number else f"commit/{step.commit}",
        dates=(step.date, now),
        number=step.number,
        older=older,
    )


# --- chats ------------------------------------------------------------------------------------------------------------


def changed_chats(facts: Iterable[Mapping[str, Any]], project: str) -> list[Row]:
    """One chat for each fact, whose answer says when each value held; none of the questions is one of the evaluation.

    Returns:
        records of `id, messages, method, document_id, split` ("", for the caller to set), `kind` and `evidence`.
    """
    facts = list(facts)
    questions = [wordings(fact["form"], fact["subject"], fact["place"], project)[1] for fact in facts]
    asked = set(near_duplicates(questions, [fact["question"] for fact in facts]))
    return [
        record(
            f"changed:{fact['id'].removeprefix('changed-')}",
            question,
            dated_answer(fact),
            "page_qa",
            fact["document_id"],
            kind="changed",
            evidence=fact["evidence_current"],
        )
        for number, (fact, question) in enumerate(zip(facts, questions, strict=True))
        if number not in asked
    ]
