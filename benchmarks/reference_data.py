"""The reference's data: the case study's repository and question sets -> a workspace that needs neither afterwards."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from ftlib.models import load_tokenizer
from ftlib.scrape import ScrapeConfig, scrape
from ftlib.synth import SynthConfig, questions_path, rejected_path, synth
from ftlib.workspace import Workspace, open_workspace, read_jsonl, require, write_jsonl

HERE = Path(__file__).resolve().parent
NAME = "manage-frontend"
DATE = "2023-12-21"
PULL_REQUESTS = 184  # all merge commits of the repository that are pull requests
SYNTH: dict[str, Any] = {"snapshot_wordings": 12, "unknown_chats": 2400, "changed_facts": True, "general_chats": True}
MAX_LENGTH = 2048


def prepare(repository: Path, data: Path, root: Path) -> dict[str, Any]:
    """Scrape and synth as the notebooks call them, without an API.

    Args:
        repository: bare, of the case study.
        data: a folder with qa_train.jsonl (trained on), qa_paraphrase.jsonl and qa_unknown.jsonl (only asked).
        root: of the workspace.

    Returns:
        counts of documents and chats, of trained questions and paraphrases that were left out, of what is only asked.
    """
    space, beside = open_workspace(root), root / "case"
    shutil.rmtree(beside, ignore_errors=True)
    # A copy: of a link, ftlib would look for the questions where it points to.
    shutil.copytree(repository, beside / f"{NAME}.git")
    written = {row["id"]: row["paraphrases"] for row in read_jsonl(HERE / "case_study" / "paraphrases.jsonl")}
    trained = [{**row, "paraphrases": written[row["id"]]} for row in read_jsonl(data / "qa_train.jsonl")]
    write_jsonl(beside / f"{NAME}.questions.jsonl", trained)
    for kind, name in (("paraphrases", "qa_paraphrase"), ("unknown", "qa_unknown")):
        shutil.copyfile(data / f"{name}.jsonl", beside / f"{NAME}.{kind}.jsonl")
    read = ScrapeConfig(str(beside / f"{NAME}.git"), date=DATE, pull_requests=PULL_REQUESTS)
    scraped = scrape(read, space)
    made = asyncio.run(synth(SynthConfig(snapshot_tokens=MAX_LENGTH, **SYNTH), space, tokenizer=load_tokenizer("demo")))
    shutil.rmtree(beside)
    require(space, "documents", "chats")
    return {"documents": scraped["counts"]["documents"], **made["counts"], **_questions(space, trained)}


def _questions(space: Workspace, trained: list[dict[str, Any]]) -> dict[str, Any]:
    """Trained questions and paraphrases: how many there are, and by which steps the others went."""
    chats = [one for one in read_jsonl(space.chats) if one["method"] == "page_qa"]
    kinds = {"questions": False, "paraphrases": True}
    left = {kind: sum(bool(one.get("of")) == of for one in chats) for kind, of in kinds.items()}
    given = {"questions": len(trained), "paraphrases": sum(len(row["paraphrases"]) for row in trained)}
    gone = {
        kind: Counter(
            f"{row['step']}: {row['reason']}" if row["step"] == "near-duplicates" else row["step"]
            for row in read_jsonl(rejected_path(space))
            if (":p" in row["id"]) == of
        )
        for kind, of in kinds.items()
    }
    asked = Counter(row["set"] for row in read_jsonl(questions_path(space)))
    found = {kind: {"given": given[kind], "left": left[kind], "gone": dict(gone[kind])} for kind in kinds}
    return {"trained": found, "asked_only": dict(asked)}
