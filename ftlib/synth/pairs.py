"""Documents -> question/answer pairs by an API, with what became of every request; and a judge of the pairs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftlib.errors import SetupError
from ftlib.synth import money
from ftlib.synth.asking import Outcome, ask_all
from ftlib.synth.batches import through_batches
from ftlib.synth.config import SynthConfig
from ftlib.synth.curation import Removed, Row, judged
from ftlib.synth.journal import Journal
from ftlib.synth.prompts import Request, halves, judge_request, pair_requests, pairs_wanted
from ftlib.synth.server import Server


@dataclass
class Answers:
    """What the API gave."""

    rows: list[Row] = field(default_factory=list)
    wrong: Removed = field(default_factory=list)
    """Items that were not of the asked form, as rows, and why."""
    problems: dict[str, str] = field(default_factory=dict)
    """Document -> why it has no pairs, or fewer than there could be."""
    unanswered: int = 0
    """Requests that a later run should ask again."""
    keys: list[str] = field(default_factory=list)
    """Of the responses that were used."""


class Api:
    """Where requests go: the server and its journal. Use as an async context."""

    def __init__(self, config: SynthConfig, root: Path, api_key: str | None):
        self.config, self.batches = config, root / "batches"
        self.journal = Journal(responses_path(root))
        self.server = Server(config, api_key)

    async def __aenter__(self) -> Api:
        self.journal.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.journal.__exit__()
        await self.server.client.close()

    async def outcomes(self, requests: Sequence[Request], what: str, **more: Any) -> list[Outcome]:
        if self.config.batch:
            await through_batches(requests, self.server, self.journal, self.batches)
        return await ask_all(
            requests, self.server, self.journal, concurrency=self.config.concurrency, what=what, **more
        )


def responses_path(root: Path) -> Path:
    """The journal of a workspace."""
    return root / "responses.jsonl"


def asked_about(documents: Sequence[Mapping[str, Any]], config: SynthConfig) -> list[Mapping[str, Any]]:
    """The documents that requests are made on: pages first, then pull requests, then code; the first `limit`."""
    sources = [source for source, number in pairs_wanted(config).items() if number]
    chosen = [document for source in sources for document in documents if document["source"] == source]
    return chosen[: config.limit or None]


async def page_qa(documents: Sequence[Mapping[str, Any]], project: str, config: SynthConfig, api: Api) -> Answers:
    """Say what it takes, and ask for pairs on documents; responses are on disk before they are looked at.

    Raises:
        SetupError: the server answers nothing, or nothing any more.
    """
    by_id = {document["id"]: document for document in documents}
    requests = list(pair_requests(documents, project, config))
    print("page_qa:", money.in_words(money.estimate(requests, api.journal, config), config))
    outcomes = await api.outcomes(
        requests,
        "page_qa",
        halves=lambda request: halves(request, by_id[request.document_id], project, config),
    )
    answers = Answers()
    counts: dict[str, int] = defaultdict(int)
    for outcome in outcomes:
        _note(outcome, answers)
        for item in outcome.items:
            document_id = outcome.request.document_id
            answers.rows += _rows(item, document_id, counts[document_id], outcome.request)
            counts[document_id] += 1
    if unread := sum(outcome.unread for outcome in outcomes):
        print(
            f"page_qa: for {unread} requests the server counted too few tokens to have read all of the page. Raise its "
            "context window (Ollama: OLLAMA_CONTEXT_LENGTH), or lower `part_tokens`."
        )
    if outcomes and not answers.keys:
        reason = next(iter(answers.problems.values()), "no pairs")
        raise SetupError(
            f"{config.model} at {api.server.address} answered nothing: {reason}. Check `base_url`, `model` and the key."
        )
    return answers


def _note(outcome: Outcome, answers: Answers) -> None:
    id = outcome.request.document_id
    answers.wrong += [({"question": json.dumps(raw)[:500], "document_id": id}, why) for raw, why in outcome.wrong]
    answers.unanswered += outcome.unanswered
    answers.keys += outcome.asked
    if outcome.problem:
        answers.problems.setdefault(id, outcome.problem)


def _rows(item: Any, document_id: str, number: int, request: Request) -> list[Row]:
    """A pair and its paraphrases as rows; `of` names the pair of a paraphrase."""
    pair = {
        "answer": item.answer,
        "evidence": item.evidence,
        "kind": item.kind,
        "document_id": document_id,
        "by": "api",
    }
    id = f"page_qa:{document_id}:{number}"
    rows: list[Row] = [{"id": id, "question": item.question, **pair, "text": request.text}]
    for again, wording in enumerate(getattr(item, "paraphrases", []), 1):
        rows.append({"id": f"{id}:{again}", "question": wording, **pair, "of": id, "text": request.text})
    return rows


async def judge(rows: Sequence[Row], project: str, config: SynthConfig, api: Api) -> tuple[list[Row], Removed, Answers]:
    """Let the model check pairs against the texts they were made from, all pairs of a text in one request.

    A paraphrase stands and falls with its pair, or is judged itself where the pair is gone.
    """
    there = {row["id"] for row in rows}
    texts: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("of") not in there:
            texts[row["document_id"], row["text"]].append(row)
    requests = [judge_request(text, group, project, config) for (_, text), group in texts.items()]
    if config.judge_model not in ("", config.model):
        api.server.forget()  # another model may take other forms
    answers = Answers()
    verdicts: dict[str, Any] = {}
    for outcome, group in zip(await api.outcomes(requests, "judge"), texts.values(), strict=True):
        _note(outcome, answers)
        for item in outcome.items:
            number: int = item.number  # type: ignore[attr-defined]
            if 1 <= number <= len(group):
                verdicts.setdefault(group[number - 1]["id"], item)
    left, removed = judged(rows, verdicts)
    return left, removed, answers
