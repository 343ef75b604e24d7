"""Question files: pairs in place of an API's, and the sets beside them that are only asked.

`NAME.questions.jsonl` beside the repository (or one that is chosen) holds rows of `question`, `answer` and, where there
are some, `id, source, evidence, kind, keywords` and `paraphrases`: a list of other wordings of the question, which are
trained on with the same answer. Beside it may lie NAME.paraphrases.jsonl, NAME.unknown.jsonl and NAME.changed.jsonl:
questions for 04_eval, never trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ftlib.errors import SetupError
from ftlib.workspace import Workspace, read_jsonl

ASKED_ONLY = ("paraphrases", "unknown", "changed")


def questions_path(workspace: Workspace) -> Path:
    """The questions that are only asked, as 02_synth writes them for 04_eval."""
    return workspace.root / "questions.jsonl"


def question_file(chosen: str, scraped: Mapping[str, Any], workspace: Workspace) -> Path | None:
    """The question file that was chosen, else NAME.questions.jsonl beside the repository, else None."""
    if chosen:
        return Path(chosen).expanduser()
    repository = Path(scraped["settings"]["repository"]).expanduser()
    folder = repository.resolve().parent if repository.exists() else workspace.clones
    beside = folder / f"{scraped['name']}.questions.jsonl"
    return beside if beside.is_file() else None


def question_sets(file: Path | None) -> dict[str, Path]:
    """The question file and its neighbours, by kind; only those that exist."""
    if file is None:
        return {}
    sets = {"questions": file}
    if "questions" in file.name:
        neighbours = {kind: file.with_name(file.name.replace("questions", kind)) for kind in ASKED_ONLY}
        sets |= {kind: path for kind, path in neighbours.items() if path.is_file()}
    return sets


def read_questions(
    path: Path, documents: Iterable[Mapping[str, Any]], need: tuple[str, ...] = ("question",)
) -> Iterator[dict[str, Any]]:
    """Rows of a question file, with the id of the document that each names as its `source`.

    Raises:
        SetupError: a field of `need` is missing or empty in a row, or its `paraphrases` are no list of texts; the
            message names file, row and field.
    """
    ids = {d["path"]: d["id"] for d in documents}
    for number, row in enumerate(read_jsonl(path), 1):
        for name in need:
            if not isinstance(row.get(name), str) or not row[name].strip():
                raise SetupError(f"{path}, row {number}: `{name}` is missing or empty.")
        more = row.get("paraphrases", [])
        if not isinstance(more, list) or not all(isinstance(text, str) and text.strip() for text in more):
            raise SetupError(
                f"{path}, row {number}: `paraphrases` is {more!r}: give a list of questions, or leave it out."
            )
        found = path_of(row.get("source") or row.get("source_current") or "")
        yield {**row, "id": row.get("id") or str(number), "document_id": ids.get(found, "")}


def path_of(source: str) -> str:
    """A document's path for what a question file calls it: `PR #12`, `pull/012` and `pull/12` are `pull/12`."""
    return re.sub(r"^(?:pull/|PR #)0*(?=\d+$)", "pull/", source)
