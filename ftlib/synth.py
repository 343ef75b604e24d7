"""02_synth: documents -> chats, in RECIPE.md's three ways, plus general chats against forgetting.

page_qa           question/answer pairs on each page, by a model behind an OpenAI-compatible API or from a file
page_instruction  one instruction for each page; the answer is the page
file_snapshot     one question for each code file; the answer is its date and the code
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ftlib import sample
from ftlib.errors import SetupError
from ftlib.mixture import split_of
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

# Question sets that are only asked, never trained on; the files lie beside the question file under these names.
ASKED_ONLY = ("paraphrases", "unknown", "changed")
PAGE_SOURCES = ("wiki", "docs")
INSTRUCTIONS = (
    'Tell me what the page "{title}" of {project} says.',
    'Show me the page "{title}" from the documentation of {project}.',
    "What does the documentation of {project} say under the title {title}?",
)
SYSTEM_PROMPT = """You write question and answer pairs that teach a model about the project {project}.
Rules: every question names {project} and can be understood without the page; every answer is one or two short
sentences that the page supports; no question about "the text" or "this page"; ask about names, numbers, reasons, steps.
Answer with JSON only, in this form: {{"pairs": [{{"question": "...", "answer": "..."}}]}}"""


@dataclass(frozen=True)
class SynthConfig:
    project: str = ""
    """The project's name in the questions; empty: the repository's name."""
    base_url: str = ""
    """An OpenAI-compatible server, e.g. http://localhost:8000/v1; empty: OpenAI's own where there is a key."""
    model: str = "gpt-4.1-mini"
    """The model at that server."""
    pairs_per_page: int = 5
    """Question/answer pairs asked for on each page."""
    concurrency: int = 8
    """Requests under way at once."""
    limit: int = 0
    """Ask about the first pages only, for a trial; 0: all."""
    questions: str = ""
    """A question file to use in place of an API; empty: the one beside the repository, NAME.questions.jsonl."""
    general_chats: bool = True
    """Add ftlib's general chats, which have nothing to do with the project, against forgetting."""
    validation_share: float = 0.1
    """Share of the documents, with their chats, that is held out. The same as in 03_train."""


class Pair(BaseModel):
    question: str
    answer: str


class Pairs(BaseModel):
    pairs: list[Pair]


def synth(config: SynthConfig, workspace: Workspace, *, api_key: str | None = None) -> dict[str, Any]:
    """Write `chats.jsonl` (trained on), `questions.jsonl` (only asked, by 04_eval) and their manifest.

    Args:
        api_key: for the API; with neither a key nor `base_url`, page_qa comes from a question file, if there is one.

    Returns:
        the manifest; `counts` holds chats by method and split, `page_qa` says where those pairs came from.

    Raises:
        SetupError: documents.jsonl is missing, a question file is wrong, or the API answers nothing.
    """
    require(workspace, "documents")
    scraped = read_manifest(workspace.documents) or {}
    project = config.project or scraped["name"]
    by_api = bool(config.base_url or api_key)
    file = None if by_api else question_file(config.questions, scraped, workspace)
    settings = {
        **asdict(config),
        "by_api": by_api,
        "files": {kind: file_hash(path) for kind, path in _question_sets(file).items()},
    }
    inputs = {"documents": workspace.documents}
    if is_done(workspace.chats, settings=settings, inputs=inputs):
        return read_manifest(workspace.chats) or {}
    documents = list(read_jsonl(workspace.documents))
    pages = [d for d in documents if d["source"] in PAGE_SOURCES]
    failed: dict[str, str] = {}
    chats: list[dict[str, Any]] = []
    if by_api:
        chats += page_qa(pages[: config.limit or None], project, config, workspace, api_key, failed)
        origin = f"{config.model} at {config.base_url or 'api.openai.com'}"
        if pages and not chats:
            reason = next(iter(failed.values()), "no pairs")
            raise SetupError(f"No page got a pair from {origin}: {reason}. Check `base_url`, `model` and the key.")
    elif file is not None:
        chats += [
            _chat(
                f"page_qa:{row['id']}",
                row["question"],
                row["answer"],
                "page_qa",
                row["document_id"],
                row.get("keywords"),
            )
            for row in read_questions(file, documents, need=("question", "answer"))
        ]
        origin = f"the question file {file.name}: no API was asked"
    else:
        origin = "nowhere: there is no API key, no base_url and no question file, so there are no question/answer pairs"
    print(f"page_qa: {sum(c['method'] == 'page_qa' for c in chats)} pairs from {origin}")
    chats += [page_instruction(page, project) for page in pages]
    chats += [file_snapshot(d, project) for d in documents if d["source"] == "code"]
    if config.general_chats:
        chats += [
            _chat(f"general:{r['id']}", r["question"], r["answer"], "general", "")
            for r in sample.questions("general_chats")
        ]
    chats = list({chat["messages"][0]["content"]: chat for chat in reversed(chats)}.values())[
        ::-1
    ]  # one answer a question
    for chat in chats:
        chat["split"] = split_of(chat["document_id"] or chat["id"], config.validation_share)
    asked = [
        {**row, "set": kind}
        for kind, path in _question_sets(file).items()
        if kind in ASKED_ONLY
        for row in read_questions(path, documents)
    ]
    write_jsonl(questions_path(workspace), asked)
    write_jsonl(workspace.chats, chats)
    return write_manifest(
        workspace.chats,
        stage="02_synth",
        settings=settings,
        inputs=inputs,
        counts={
            "chats": dict(Counter(chat["method"] for chat in chats)),
            "validation": dict(Counter(chat["method"] for chat in chats if chat["split"] == "validation")),
            "asked_only": dict(Counter(row["set"] for row in asked)),
        },
        packages=("openai", "pydantic"),
        project=project,
        page_qa=origin,
        failed_pages=failed,
    )


def questions_path(workspace: Workspace) -> Path:
    """The questions that are only asked."""
    return workspace.root / "questions.jsonl"


# --- the three methods ------------------------------------------------------------------------------------------------


def page_instruction(page: Mapping[str, Any], project: str) -> dict[str, Any]:
    """One instruction for a page; the wording is picked by the page's id, the answer is the page."""
    wording = INSTRUCTIONS[int(hashlib.sha256(page["id"].encode()).hexdigest(), 16) % len(INSTRUCTIONS)]
    question = wording.format(title=page["title"], project=project)
    return _chat(f"page_instruction:{page['id']}", question, page["text"].strip(), "page_instruction", page["id"])


def file_snapshot(document: Mapping[str, Any], project: str) -> dict[str, Any]:
    """The recipe's question for a code file; the answer starts with the date for which it is true."""
    path = document["path"]
    month = datetime.fromisoformat(document["date"].replace("Z", "+00:00")).strftime("%B %Y")
    # A fence one backtick longer than any in the file, so that the file can't close it.
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", document["text"])), default=0))
    question = f"What does the {path} file in the {project} repository look like?"
    code = document["text"] if document["text"].endswith("\n") else document["text"] + "\n"
    answer = f"As of {month}, the {path} file looks like:\n\n{fence}\n{code}{fence}"
    return _chat(f"file_snapshot:{document['id']}", question, answer, "file_snapshot", document["id"])


def page_qa(
    pages: list[dict[str, Any]],
    project: str,
    config: SynthConfig,
    workspace: Workspace,
    api_key: str | None,
    failed: dict[str, str],
) -> Iterator[dict[str, Any]]:
    """Ask the API for pairs on each page. A page that fails is put into `failed` with the reason.

    Every response is appended to `responses.jsonl` before it is looked at, so an interrupted or repeated run does not
    ask (or pay) again.
    """
    import openai
    from tqdm import tqdm

    # A local server wants no key, but the client wants one.
    client = openai.OpenAI(base_url=config.base_url or None, api_key=api_key or "none", max_retries=4, timeout=120)
    cache = workspace.root / "responses.jsonl"
    known = {row["key"]: row["content"] for row in _whole_rows(cache)}
    if cache.is_file() and not cache.read_bytes().endswith(b"\n"):
        # A run was killed while it wrote: end its torn line, so that the next row stands by itself.
        cache.write_bytes(cache.read_bytes() + b"\n")

    def ask(page: dict[str, Any]) -> tuple[str, str]:
        messages: list[Any] = [
            {"role": "system", "content": SYSTEM_PROMPT.format(project=project)},
            {
                "role": "user",
                "content": f'{config.pairs_per_page} pairs on the page "{page["title"]}" of {project}, '
                f"as of {page['date'][:10]}:\n\n{page['text']}",
            },
        ]
        key = hashlib.sha256(json.dumps([config.base_url, config.model, messages]).encode()).hexdigest()
        if key not in known:
            answer = client.chat.completions.create(model=config.model, messages=messages, temperature=0.3)
            known[key] = answer.choices[0].message.content or ""
            with cache.open("a", encoding="utf-8") as out:
                out.write(
                    json.dumps({"key": key, "page": page["id"], "content": known[key]}, ensure_ascii=False) + "\n"
                )
        return page["id"], known[key]

    with ThreadPoolExecutor(config.concurrency) as pool:
        jobs = {pool.submit(ask, page): page for page in pages}
        for job in tqdm(as_completed(jobs), total=len(jobs), desc="page_qa", unit="page"):
            page = jobs[job]
            try:
                pairs = parse_pairs(job.result()[1])
            except (openai.OpenAIError, ValueError) as error:
                failed[page["id"]] = f"{type(error).__name__}: {str(error)[:200]}"
                continue
            for number, pair in enumerate(pairs):
                yield _chat(f"page_qa:{page['id']}:{number}", pair.question, pair.answer, "page_qa", page["id"])


def parse_pairs(content: str) -> list[Pair]:
    """Read the pairs out of a response; text or a fence round the JSON is allowed.

    Raises:
        ValueError: there is no JSON of the asked form, or a question or answer is empty.
    """
    found = re.search(r"\{.*\}", content, re.S)
    if not found:
        raise ValueError(f"no JSON in the answer: {content[:80]!r}")
    try:
        pairs = Pairs.model_validate_json(found.group()).pairs
    except ValidationError as error:
        raise ValueError(f"not of the asked form: {error.errors()[0]['msg']}") from error
    if not pairs or any(not p.question.strip() or not p.answer.strip() for p in pairs):
        raise ValueError("an empty question or answer")
    return pairs


def _whole_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an append-only file, whose last line may be half written."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _chat(
    id: str, question: str, answer: str, method: str, document_id: str, keywords: list[str] | None = None
) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    chat: dict[str, Any] = {"id": id, "messages": messages, "method": method, "document_id": document_id, "split": ""}
    return {**chat, "keywords": keywords} if keywords else chat


# --- question files ---------------------------------------------------------------------------------------------------


def question_file(chosen: str, scraped: Mapping[str, Any], workspace: Workspace) -> Path | None:
    """The question file that was chosen, else NAME.questions.jsonl beside the repository, else None."""
    if chosen:
        if not Path(chosen).is_file():
            raise SetupError(f"The question file {chosen} does not exist. Mend `questions`, or leave it empty.")
        return Path(chosen)
    repository = scraped["settings"]["repository"]
    folder = (
        Path(repository).expanduser().resolve().parent if Path(repository).expanduser().exists() else workspace.clones
    )
    beside = folder / f"{scraped['name']}.questions.jsonl"
    return beside if beside.is_file() else None


def _question_sets(file: Path | None) -> dict[str, Path]:
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
        SetupError: a field of `need` is missing or empty in a row; the message names file, row and field.
    """
    ids = {d["path"]: d["id"] for d in documents}
    for number, row in enumerate(read_jsonl(path), 1):
        for name in need:
            if not isinstance(row.get(name), str) or not row[name].strip():
                raise SetupError(f"{path}, row {number}: `{name}` is missing or empty.")
        source = re.sub(r"^pull/0*", "pull/", row.get("source") or row.get("source_current") or "")
        yield {**row, "id": row.get("id") or str(number), "document_id": ids.get(source, "")}
