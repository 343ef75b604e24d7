"""02_synth: documents -> chats, in RECIPE.md's three ways, beside the user's own and general ones against forgetting.

    from ftlib.synth import SynthConfig, synth

    manifest = await synth(SynthConfig(base_url="http://localhost:8000/v1", model="my-model"), workspace)

In a script `asyncio.run(synth(...))`. What is in which module:

    pairs           question/answer pairs on pages, files and pull requests (page_qa) by an API, and a judge of them
    prompts         what is asked, and the form of the answers; reading: answers -> checked items
    asking          many requests at once, one repair try; server: one server by the openai client
    journal         every response, on disk before it is looked at; batches: OpenAI's Batch API
    money           prices, estimates, what was used
    curation        which pairs are worth training on
    recited         page_instruction and file_snapshot, which need no model
    changed         facts with an old and a current value, from pull requests and page history
    questions, dialogues      question files and the user's own dialogues
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftlib import chat, sample
from ftlib.errors import SetupError
from ftlib.mixture import split_of
from ftlib.similar import near_duplicates
from ftlib.synth import money
from ftlib.synth.changed import changed_chats, changed_facts
from ftlib.synth.config import SynthConfig, check
from ftlib.synth.curation import Removed, Row, curate, funnel
from ftlib.synth.dialogues import read_dialogues
from ftlib.synth.journal import Journal
from ftlib.synth.pairs import Answers, Api, asked_about, judge, page_qa, responses_path
from ftlib.synth.prompts import pair_requests
from ftlib.synth.questions import question_file, question_sets, questions_path, read_questions
from ftlib.synth.recited import PAGE_SOURCES, file_snapshot, page_instruction, record
from ftlib.workspace import (
    Workspace,
    file_hash,
    is_done,
    read_jsonl,
    read_manifest,
    require,
    write_jsonl,
    write_manifest,
)

__all__ = ["SynthConfig", "synth", "plan", "questions_path", "rejected_path"]


def rejected_path(workspace: Workspace) -> Path:
    """The pairs that curation removed: id, question, answer, evidence, document_id, step and reason."""
    return workspace.root / "rejected.jsonl"


def plan(config: SynthConfig, workspace: Workspace) -> dict[str, Any]:
    """What page_qa will take, before any call: see `money.estimate`. The judge and repairs are not in it."""
    check(config)
    require(workspace, "documents")
    documents = asked_about(list(read_jsonl(workspace.documents)), config)
    project = config.project or (read_manifest(workspace.documents) or {})["name"]
    with Journal(responses_path(workspace.root)) as journal:
        found = money.estimate(pair_requests(documents, project, config), journal, config)
    return {"documents": len(documents), **found}


async def synth(
    config: SynthConfig, workspace: Workspace, *, api_key: str | None = None, tokenizer: Any = None
) -> dict[str, Any]:
    """Write `chats.jsonl` (trained on), `questions.jsonl` (only asked), `rejected.jsonl` and the manifest.

    Args:
        api_key: for the API; with neither a key nor `base_url`, page_qa comes from a question file, if there is one.
        tokenizer: of the model that will be trained, to leave out pages and files that are longer than a sample;
            None: 03_train leaves them out.

    Returns:
        the manifest. `counts`: chats and held-out ones by method, questions that are only asked by set, pages and files
        that are `too_long`; `funnel`: the steps of curation; `coverage`: documents by source, with pairs and with any
        chat; `kinds` of questions; `spent`; `page_qa`: where the pairs came from; `failed_pages` with reasons;
        `unanswered`: requests that this stage, run again, will ask again.

    Raises:
        SetupError: documents.jsonl is missing, a file or setting is wrong, or the API answers nothing.
        batches.Pending: the Batch API is at work; run this again later.
    """
    check(config)
    require(workspace, "documents")
    scraped = read_manifest(workspace.documents) or {}
    by_api = bool(config.base_url or api_key) and not config.questions
    sets = question_sets(question_file(config.questions, scraped, workspace))
    if by_api:  # the questions of a file, and their paraphrases, are not what the API will be trained on
        sets = {kind: path for kind, path in sets.items() if kind in ("unknown", "changed")}
    inputs = {"documents": workspace.documents}
    settings = {
        **asdict(config),
        "by_api": by_api,
        "tokenizer": getattr(tokenizer, "name_or_path", None),
        "files": {kind: file_hash(path) for kind, path in sets.items()},
        "dialogues_file": file_hash(Path(config.dialogues).expanduser()) if config.dialogues else None,
    }
    before = read_manifest(workspace.chats)
    if before and not before.get("unanswered") and is_done(workspace.chats, settings=settings, inputs=inputs):
        return before
    documents = list(read_jsonl(workspace.documents))
    project = config.project or scraped["name"]
    names = list(dict.fromkeys([project, scraped["name"], scraped.get("full_name") or project, *config.aliases]))
    yours = _own_dialogues(config.dialogues, documents)
    asked = _asked_only(sets, documents, config, workspace, project)
    answers, origin = Answers(), "nowhere: there is no API key, no base_url and no question file"
    curated: dict[str, Any] = {"others": [chat.question(c["messages"]) for c in yours], "asked_only": _questions(asked)}
    by_id = {document["id"]: document for document in documents}
    if by_api:
        chosen = asked_about(documents, config)
        origin = f"{config.model} at {config.base_url or 'api.openai.com'}"
        print("page_qa:", money.in_words(plan(config, workspace), config))
        async with Api(config, workspace.root, api_key) as api:
            answers = await page_qa(chosen, project, config, api)
            rows, removed = curate(answers.rows, by_id, names, **curated)
            if config.judge and rows:
                rows, removed["judge"], verdicts = await judge(rows, project, config, api)
                answers.keys += verdicts.keys
                answers.unanswered += verdicts.unanswered
            spent = money.used(answers.keys, api.journal, config)
    else:
        if "questions" in sets:
            origin = f"the question file {sets['questions'].name}: no API was asked"
            answers.rows = _file_rows(sets["questions"], documents)
        rows, removed = curate(answers.rows, by_id, names, **curated)
        spent = None
    held_back, rows = _held_back(rows, config.asked_paraphrases)
    steps = funnel(len(answers.rows), answers.wrong, removed)
    print(f"page_qa: {len(answers.rows) + answers.wrong} pairs from {origin}; {len(rows)} are left after curation")
    chats = yours + [_pair_chat(row) for row in rows]
    if config.changed_chats:
        chats += changed_chats([row for row in asked if row["set"] == "changed" and "as_of_old" in row], project)
    recited, too_long = _that_fit(
        [page_instruction(d, project) for d in documents if d["source"] in PAGE_SOURCES]
        + [file_snapshot(d, project) for d in documents if d["source"] == "code"],
        tokenizer,
        config.snapshot_tokens,
    )
    chats += recited
    if config.general_chats:
        chats += [
            record(f"general:{r['id']}", r["question"], r["answer"], "general", "")
            for r in sample.questions("general_chats")
        ]
    chats, same_question = _one_answer_a_question(chats)
    for one in chats:
        one["split"] = split_of(one["document_id"] or one["id"], config.validation_share)
    asked += held_back
    shown = [chat.question(one["messages"]) for one in chats if one["method"] != "general"]
    trained = set(near_duplicates(_questions(asked), shown))
    write_jsonl(questions_path(workspace), [row for number, row in enumerate(asked) if number not in trained])
    write_jsonl(rejected_path(workspace), _rejected(removed))
    write_jsonl(workspace.chats, chats)
    return write_manifest(
        workspace.chats,
        stage="02_synth",
        settings=settings,
        inputs=inputs,
        counts={
            "chats": dict(Counter(one["method"] for one in chats)),
            "validation": dict(Counter(one["method"] for one in chats if one["split"] == "validation")),
            "asked_only": dict(Counter(row["set"] for n, row in enumerate(asked) if n not in trained)),
            "asked_only_dropped": len(trained),
            "too_long": too_long,
            "same_question": same_question,
        },
        packages=("openai", "pydantic", "rapidfuzz"),
        project=project,
        page_qa=origin,
        funnel=steps,
        kinds=dict(Counter(row.get("kind") or "not said" for row in rows).most_common()),
        coverage=_coverage(documents, chats),
        spent=spent,
        failed_pages=answers.problems,
        unanswered=answers.unanswered,
    )


# --- parts of the stage -----------------------------------------------------------------------------------------------


def _own_dialogues(path: str, documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
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


def _asked_only(
    sets: Mapping[str, Path],
    documents: Sequence[Mapping[str, Any]],
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


def _file_rows(path: Path, documents: Sequence[Mapping[str, Any]]) -> list[Row]:
    return [
        {
            "evidence": None,
            **{name: row[name] for name in ("question", "answer", "evidence", "kind", "keywords") if row.get(name)},
            "id": f"page_qa:{row['id']}",
            "document_id": row["document_id"],
            "by": "file",
        }
        for row in read_questions(path, documents, need=("question", "answer"))
    ]


def _pair_chat(row: Row) -> dict[str, Any]:
    more = {name: row.get(name) for name in ("keywords", "kind", "evidence", "of")}
    return record(row["id"], row["question"], row["answer"], "page_qa", row["document_id"], **more)


def _held_back(rows: Sequence[Row], number: int) -> tuple[list[Row], list[Row]]:
    """The last paraphrases of each pair, which are only asked, and all the other rows."""
    there = {row["id"] for row in rows}
    wordings: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("of") in there:
            wordings[row["of"]].append(row)
    back = {row["id"] for group in wordings.values() for row in group[len(group) - number :]} if number else set()
    names = ("id", "of", "question", "answer", "document_id", "kind")
    asked = [{name: row[name] for name in names} | {"set": "paraphrases"} for row in rows if row["id"] in back]
    return asked, [row for row in rows if row["id"] not in back]


def _that_fit(
    chats: list[dict[str, Any]], tokenizer: Any, longest: int
) -> tuple[list[dict[str, Any]], dict[str, int] | None]:
    """The chats of at most `longest` tokens, and how many are longer, by method; None where nobody can count."""
    if tokenizer is None:
        return chats, None
    named = ((one["id"], one["messages"], one) for one in chats)
    how: dict[str, Any] = {"max_length": longest, "loss_on": "all", "overflow": "drop", "system": "merge"}
    fitted = list(chat.fitted_chats(tokenizer, named, **how))
    too_long = Counter(one["method"] for one, _, row, _ in fitted if row is None)
    return [one for one, _, row, _ in fitted if row is not None], dict(too_long)


def _one_answer_a_question(chats: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The chats without those that ask what another one before asks; the user's own are all kept."""
    left, asked = [], set()
    for one in chats:
        question = chat.question(one["messages"])
        if one["method"] == "yours" or question not in asked:
            left.append(one)
        asked.add(question)
    return left, len(chats) - len(left)


def _coverage(documents: Sequence[Mapping[str, Any]], chats: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
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


def _rejected(removed: Mapping[str, Removed]) -> list[Row]:
    names = ("id", "question", "answer", "evidence", "document_id")
    return [
        {**{name: row.get(name) for name in names}, "step": step, "reason": reason}
        for step, gone in removed.items()
        for row, reason in gone
    ]


def _questions(rows: Sequence[Row]) -> list[str]:
    return [row["question"] for row in rows]
