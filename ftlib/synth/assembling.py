"""What comes beside the pairs of an API: own dialogues, recited texts, questions that are only asked; the counts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftlib import chat
from ftlib.dialogues import read_dialogues
from ftlib.errors import SetupError
from ftlib.similar import repeated
from ftlib.synth.changed import changed_facts
from ftlib.synth.config import SynthConfig
from ftlib.synth.curation import Removed, Row
from ftlib.synth.questions import read_questions
from ftlib.synth.recited import INSTRUCTIONS, PAGE_SOURCES, SNAPSHOTS, file_snapshot, page_instruction, record
from ftlib.workspace import Workspace, read_manifest

Documents = Sequence[Mapping[str, Any]]


def own_dialogues(path: str, documents: Documents) -> list[dict[str, Any]]:
    """The user's dialogues; a document that one names must be there, since it decides its split."""
    yours = list(read_dialogues(Path(path).expanduser())) if path else []
    known = {document["id"] for document in documents}
    for one in yours:
        if one["document_id"] and one["document_id"] not in known:
            raise SetupError(
                f"{path}, {one['id']}: `document_id` {one['document_id']!r} is no document. Give the id of one in "
                "documents.jsonl, for example 'wiki:Home.md', or leave it out."
            )
    return yours


def asked_only(
    sets: Mapping[str, Path],
    documents: Documents,
    config: SynthConfig,
    workspace: Workspace,
    project: str,
) -> list[Row]:
    """The questions for 04_eval: those of files, and facts that changed."""
    asked: list[Row] = [
        {**row, "set": kind}
        for kind, path in sets.items()
        if kind != "questions"
        for row in read_questions(path, documents)
    ]
    if config.changed_facts:
        mined = changed_facts(documents, project, _histories(workspace))
        # Those that a file asks for in other words are asked once.
        given = {(row.get("old"), row.get("current")) for row in asked}
        asked += [{**row, "set": "changed"} for row in mined if (row["old"], row["current"]) not in given]
    return asked


def _histories(workspace: Workspace) -> list[tuple[Path, str]]:
    """Where the history of pages may be read: the clones that 01_scrape read, and the commits it read there."""
    settings = (read_manifest(workspace.documents) or {})["settings"]
    given = Path(str(settings["repository"])).expanduser()
    home = given.resolve()
    folders = [given, home.with_name(f"{home.name.removesuffix('.git')}.wiki.git")] if given.is_dir() else []
    folders += sorted(workspace.clones.glob("*.git"))
    commits = [commit for name in ("commit_read", "wiki_read") if (commit := settings.get(name))]
    return [(folder, commit) for folder in folders for commit in commits]


def file_rows(path: Path, documents: Documents) -> list[Row]:
    """The pairs of a question file, then their paraphrases, so that no pair gives way to another one's paraphrase."""
    rows, again = [], []
    for row in read_questions(path, documents, need=("question", "answer")):
        pair = {
            "evidence": None,
            **{name: row[name] for name in ("question", "answer", "evidence", "kind", "keywords") if row.get(name)},
            "id": f"page_qa:{row['id']}",
            "document_id": row["document_id"],
            "by": "file",
        }
        rows.append(pair)
        for number, wording in enumerate(row.get("paraphrases", []), 1):
            again.append({**pair, "id": f"{pair['id']}:p{number}", "question": wording, "of": pair["id"]})
    return rows + again


def pair_chat(row: Row) -> dict[str, Any]:
    more = {name: row.get(name) for name in ("keywords", "kind", "evidence", "of")}
    return record(row["id"], row["question"], row["answer"], "page_qa", row["document_id"], **more)


def last_paraphrases(rows: Sequence[Row], number: int) -> tuple[list[Row], list[Row]]:
    """The last paraphrases of each pair, which are only asked, and all the other rows."""
    there = {row["id"] for row in rows}
    wordings: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("of") in there:
            wordings[row["of"]].append(row)
    back = {row["id"] for group in wordings.values() for row in group[-number:]} if number else set()
    names = ("id", "of", "question", "answer", "document_id", "kind", "keywords")
    asked = [row for row in rows if row["id"] in back]
    asked = [{name: row[name] for name in names if name in row} | {"set": "paraphrases"} for row in asked]
    return asked, [row for row in rows if row["id"] not in back]


def recitations(
    documents: Documents, project: str, tokenizer: Any, longest: int, wordings: int = 1
) -> tuple[list[dict[str, Any]], dict[str, int] | None]:
    """page_instruction and file_snapshot chats of at most `longest` tokens, and how many are longer, by method.

    Without a tokenizer all of them, and None: nobody can count. Each document has up to `wordings` chats: `of` of
    the later ones is the id of the first, and only the first counts as too long.
    """
    pages = [d for d in documents if d["source"] in PAGE_SOURCES]
    files = [d for d in documents if d["source"] == "code"]
    chats = [page_instruction(d, project, n) for n in range(min(wordings, len(INSTRUCTIONS))) for d in pages]
    chats += [file_snapshot(d, project, n) for n in range(min(wordings, len(SNAPSHOTS))) for d in files]
    if tokenizer is None:
        return chats, None
    named = ((one["id"], one["messages"], one) for one in chats)
    how: dict[str, Any] = {"max_length": longest, "loss_on": "all", "overflow": "drop", "system": "merge"}
    fitted = list(chat.fitted_chats(tokenizer, named, **how))
    too_long = Counter(one["method"] for one, _, row, _ in fitted if row is None and "of" not in one)
    return [one for one, _, row, _ in fitted if row is not None], dict(too_long)


def further_wordings(recited: Documents, chats: Documents, asked: Sequence[Row]) -> tuple[list[Any], int]:
    """The recited chats that are other wordings of some in `chats`, without those that repeat a question; how many do.

    None is left that asks, in nearly the same words, what is only asked, or what another chat asks, a held-out one
    above all: what 04_eval and 03_train measure on is what it was with one wording.
    """
    there = {one["id"] for one in chats}
    more = [one for one in recited if one.get("of") in there]
    before = [*questions_of(asked), *user_turns(chats)]
    again = {number - len(before) for number in repeated([*before, *user_turns(more)])}
    left = [one for number, one in enumerate(more) if number not in again]
    return left, len(more) - len(left)


def one_answer_a_question(chats: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The chats without those that ask what another one before asks; the user's own are all kept."""
    left, asked = [], set()
    for one in chats:
        question = chat.question(one["messages"])
        if one["method"] == "yours" or question not in asked:
            left.append(one)
        asked.add(question)
    return left, len(chats) - len(left)


def coverage(documents: Documents, chats: Documents) -> dict[str, dict[str, int]]:
    """By source: documents, those with question/answer pairs, those with any chat."""
    pairs = {one["document_id"] for one in chats if one["method"] == "page_qa"}
    any_chat = {one["document_id"] for one in chats}
    sources = Counter(d["source"] for d in documents)
    return {
        source: {
            "documents": number,
            "with pairs": sum(d["id"] in pairs for d in documents if d["source"] == source),
            "with any chat": sum(d["id"] in any_chat for d in documents if d["source"] == source),
        }
        for source, number in sources.items()
    }


def rejected(removed: Mapping[str, Removed]) -> list[Row]:
    names = ("id", "question", "answer", "evidence", "document_id")
    return [
        {**{name: row.get(name) for name in names}, "step": step, "reason": reason}
        for step, gone in removed.items()
        for row, reason in gone
    ]


def questions_of(rows: Sequence[Row]) -> list[str]:
    return [row["question"] for row in rows]


def user_turns(chats: Documents) -> list[str]:
    """All that users say in chats, one turn by one."""
    turns = [message for one in chats for message in one["messages"]]
    return [message["content"] for message in turns if message["role"] == "user"]
