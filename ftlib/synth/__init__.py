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
    assembling      what comes beside them, and the counts
    recited         page_instruction and file_snapshot, which need no model
    unknowns        questions for things that do not exist; unknown_things makes their names
    changed         facts with an old and a current value, from pull requests and page history
    questions       question files; the user's own dialogues are read by ftlib.dialogues
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftlib import sample
from ftlib.mixture import split_of_chat
from ftlib.similar import near_duplicates
from ftlib.synth import money
from ftlib.synth.assembling import (
    asked_only,
    coverage,
    file_rows,
    further_wordings,
    last_paraphrases,
    one_answer_a_question,
    own_dialogues,
    pair_chat,
    questions_of,
    recitations,
    rejected,
    user_turns,
)
from ftlib.synth.changed import changed_chats
from ftlib.synth.config import SynthConfig, check
from ftlib.synth.curation import Removed, Row, curate, funnel
from ftlib.synth.journal import Journal
from ftlib.synth.pairs import Answers, Api, asked_about, judge, page_qa, responses_path
from ftlib.synth.prompts import pair_requests
from ftlib.synth.questions import question_file, question_sets, questions_path
from ftlib.synth.recited import record
from ftlib.synth.unknowns import unknown_chats
from ftlib.workspace import (
    Workspace,
    file_hash,
    is_done,
    read_jsonl,
    read_manifest,
    require,
    skipped_paths,
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
        return money.estimate(pair_requests(documents, project, config), journal, config)


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
    yours = own_dialogues(config.dialogues, documents)
    asked = asked_only(sets, documents, config, workspace, project)
    names = list(dict.fromkeys([project, scraped["name"], scraped.get("full_name") or project, *config.aliases]))

    def curated(rows: Sequence[Row]) -> tuple[list[Row], dict[str, Removed]]:
        others = user_turns(yours)
        by_id = {document["id"]: document for document in documents}
        return curate(rows, by_id, names, others=others, asked_only=questions_of(asked))

    spent = None
    if by_api:
        origin = f"{config.model} at {config.base_url or 'api.openai.com'}"
        async with Api(config, workspace.root, api_key) as api:
            answers, rows, removed = await _by_api(documents, project, config, api, curated)
            spent = money.used(answers.keys, api.journal, config)
    else:
        origin = "nowhere: there is no API key, no base_url and no question file"
        answers = Answers()
        if "questions" in sets:
            origin = f"the question file {sets['questions'].name}: no API was asked"
            answers.rows = file_rows(sets["questions"], documents)
        rows, removed = curated(answers.rows)
    removed = {"schema": answers.wrong, **removed}
    found = len(answers.rows) + len(answers.wrong)
    held_back, rows = last_paraphrases(rows, config.asked_paraphrases)
    asked += held_back
    print(f"page_qa: {found} pairs from {origin}; {len(rows)} are left after curation")
    chats = yours + [pair_chat(row) for row in rows]
    if config.changed_chats:
        chats += changed_chats([row for row in asked if row["set"] == "changed" and "as_of_old" in row], project)
    recited, too_long = recitations(documents, project, tokenizer, config.snapshot_tokens, config.snapshot_wordings)
    chats += [one for one in recited if "of" not in one]
    # What a test question names is not trained, so that none of the user's own is dropped from the tests below.
    others = [*skipped_paths(scraped), *questions_of(asked)]
    chats += unknown_chats(documents, project, config.unknown_chats, others=others)
    if config.general_chats:
        general = sample.questions("general_chats")
        chats += [record(f"general:{r['id']}", r["question"], r["answer"], "general", "") for r in general]
    chats, same_question = one_answer_a_question(chats)
    more, repeating = further_wordings(recited, chats, asked)
    chats += more
    for one in chats:
        one["split"] = split_of_chat(one, config.validation_share)
    shown = user_turns([one for one in chats if one["method"] != "general"])
    trained = set(near_duplicates(questions_of(asked), shown))
    asked = [row for number, row in enumerate(asked) if number not in trained]
    write_jsonl(questions_path(workspace), asked)
    write_jsonl(rejected_path(workspace), rejected(removed))
    write_jsonl(workspace.chats, chats)
    return write_manifest(
        workspace.chats,
        stage="02_synth",
        settings=settings,
        inputs=inputs,
        counts={
            "chats": dict(Counter(one["method"] for one in chats)),
            "validation": dict(Counter(one["method"] for one in chats if one["split"] == "validation")),
            "asked_only": dict(Counter(row["set"] for row in asked)),
            "asked_only_dropped": len(trained),
            "too_long": too_long,
            "same_question": same_question + repeating,
        },
        packages=("openai", "pydantic", "rapidfuzz"),
        project=project,
        page_qa=origin,
        funnel=funnel(found, removed),
        kinds=dict(Counter(row.get("kind") or "not said" for row in rows).most_common()),
        coverage=coverage(documents, chats),
        spent=spent,
        failed_pages=answers.problems,
        unanswered=answers.unanswered,
    )


async def _by_api(
    documents: Sequence[Mapping[str, Any]],
    project: str,
    config: SynthConfig,
    api: Api,
    curated: Callable[[Sequence[Row]], tuple[list[Row], dict[str, Removed]]],
) -> tuple[Answers, list[Row], dict[str, Removed]]:
    """What the API gave, the rows that are left of it, and what each step removed; the judge comes last: it costs."""
    answers = await page_qa(asked_about(documents, config), project, config, api)
    rows, removed = curated(answers.rows)
    if config.judge:
        rows, removed["judge"], verdicts = await judge(rows, project, config, api)
        answers.keys += verdicts.keys
        answers.unanswered += verdicts.unanswered
    return answers, rows, removed
