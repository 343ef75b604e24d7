"""04_eval: base and tuned model, the same prompts, the same decoding, and what the answers are worth."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ftlib import metrics, runtime, sample
from ftlib.generation import generate
from ftlib.inference import ARMS, arm, held_out, token_loss
from ftlib.statistics import paired_bootstrap, wilson
from ftlib.synth import questions_path
from ftlib.workspace import Workspace, read_jsonl, require

# What each set is for, in the order of the report.
SETS = {
    "trained": "Trained questions",
    "paraphrases": "The same in other words, untrained",
    "validation": "Questions on held-out documents",
    "changed": "Facts that changed, asked now",
    "unknown": "Invented things: does it admit it?",
    "general": "General knowledge, Python",
}


@dataclass(frozen=True)
class EvalConfig:
    max_new_tokens: int = 48
    """Of an answer to a question."""
    recall_items: int = 6
    """Pages and files to recite, half each; the shortest trained ones come first."""
    recall_tokens: int = 128
    """Tokens of a recited text; the reference is cut to as many."""
    questions_limit: int = 0
    """Questions of each set, the first ones; 0: all."""
    sampled_items: int = 6
    """Trained questions that are also answered by sampling, to be read beside the greedy answers."""
    temperature: float = 0.7
    """Of the sampled answers."""
    top_p: float = 0.95
    """Of the sampled answers."""
    loss_tokens: int = 6000
    """Validation tokens, at most, of each kind (chat, raw) for the loss; 0: all."""
    batch_size: int = 0
    """Prompts answered at once, at most; 0: as many as the memory holds, up to 256."""
    seed: int = 0
    """Of the sampling."""


# --- what is asked ----------------------------------------------------------------------------------------------------


def question_sets(workspace: Workspace, config: EvalConfig) -> list[dict[str, Any]]:
    """All questions, as rows of set, id, document_id, question, reference and keywords (may be empty).

    Raises:
        SetupError: chats.jsonl is missing or stale.
    """
    require(workspace, "documents", "chats")
    rows = []
    for record in read_jsonl(workspace.chats):
        # A trained paraphrase is its question once more, and would make the set look larger than it is.
        # A dialogue of several turns can't be asked by its last question alone.
        single = len(record["messages"]) == 2 and not record.get("of")
        if record["method"] in ("page_qa", "yours") and single:
            kind = "trained" if record["split"] == "train" else "validation"
            question, answer = (record["messages"][-2]["content"], record["messages"][-1]["content"])
            rows.append(_question(kind, record["id"], record["document_id"], question, answer, record.get("keywords")))
    asked = list(read_jsonl(questions_path(workspace))) + [{**r, "set": "general"} for r in sample.questions("general")]
    for row in asked:
        reference = row.get("answer") or row.get("current") or ""
        # A changed fact is right when the current value is named.
        keywords = row.get("keywords") or ([row["current"]] if row.get("current") else None)
        rows.append(_question(row["set"], row["id"], row.get("document_id", ""), row["question"], reference, keywords))
    order = {kind: number for number, kind in enumerate(SETS)}
    rows.sort(key=lambda row: order[row["set"]])
    taken: dict[str, int] = defaultdict(int)
    kept = []
    for row in rows:
        taken[row["set"]] += 1
        if not config.questions_limit or taken[row["set"]] <= config.questions_limit:
            kept.append(row)
    return kept


def _question(
    kind: str, id: str, document_id: str, question: str, reference: str, keywords: list[str] | None
) -> dict[str, Any]:
    return {
        "set": kind,
        "id": id,
        "document_id": document_id,
        "question": question,
        "reference": reference,
        "keywords": keywords or [],
    }


def recall_rows(workspace: Workspace, tokenizer: Any, config: EvalConfig) -> list[dict[str, Any]]:
    """Trained pages and files to recite; the reference is the answer's first `recall_tokens` tokens."""
    rows = []
    chats = [chat for chat in read_jsonl(workspace.chats) if chat["split"] == "train"]
    for method in ("page_instruction", "file_snapshot"):
        trained = [chat for chat in chats if chat["method"] == method]
        trained.sort(key=lambda c: (len(c["messages"][-1]["content"]), c["id"]))
        for record in trained[: (config.recall_items + 1) // 2]:
            ids = tokenizer(record["messages"][-1]["content"], add_special_tokens=False)["input_ids"]
            rows.append(
                {
                    "set": method,
                    "id": record["id"],
                    "document_id": record["document_id"],
                    "question": record["messages"][-2]["content"],
                    "reference": tokenizer.decode(ids[: config.recall_tokens]),
                }
            )
    return rows[: config.recall_items] if config.recall_items else []


# --- the whole evaluation ---------------------------------------------------------------------------------------------


def evaluate(
    model: Any,
    tokenizer: Any,
    workspace: Workspace,
    validation: Sequence[Mapping[str, Any]],
    config: EvalConfig,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Ask both arms everything.

    Args:
        validation: the mixture's held-out rows, for the loss.

    Returns:
        samples (one a prompt: set, question, reference, and for each arm its answer and score) and results (by set:
        n, rate and interval of each arm, difference and its interval; losses; recall; decoding; seconds).
    """
    began = time.perf_counter()
    questions, recall = question_sets(workspace, config), recall_rows(workspace, tokenizer, config)
    sampled = [{**row, "set": "sampled"} for row in questions if row["set"] == "trained"][: config.sampled_items]
    sampling = {"temperature": config.temperature, "top_p": config.top_p, "seed": config.seed}
    losses: dict[str, dict[str, Any]] = {"chat": {}, "raw": {}}
    rows_of_loss = held_out(validation, config.loss_tokens)
    for name in ARMS:
        print(f"{name}: {len(questions)} questions, {len(recall)} texts to recite, {len(sampled)} sampled answers")
        with arm(model, name):
            for rows, tokens, decoding in (
                (questions, config.max_new_tokens, None),
                (recall, config.recall_tokens, None),
                (sampled, config.max_new_tokens, sampling),
            ):
                prompts = [row["question"] for row in rows]
                answers = generate(
                    model, tokenizer, prompts, max_new_tokens=tokens, batch_size=config.batch_size, sampling=decoding
                )
                for row, answer in zip(rows, answers, strict=True):
                    row[name] = answer
            for kind, held in rows_of_loss.items():
                losses[kind][name] = token_loss(model, held, tokenizer.pad_token_id)
    samples = questions + recall + sampled
    for row in samples:
        for name in ARMS:
            row[name] |= score(row, row[name]["text"])
    results = summarise(samples)
    results |= {
        "loss": losses,
        "decoding": {"greedy": {"max_new_tokens": config.max_new_tokens}, "sampled": sampling},
        "settings": asdict(config),
        "machine": asdict(runtime.accelerator()),
        "seconds": round(time.perf_counter() - began, 1),
    }
    return samples, results | {"verdict": verdict(results)}


def score(row: Mapping[str, Any], answer: str) -> dict[str, Any]:
    """Scores of one answer: `similarity` and `prefix` of a recited text, else `correct`."""
    if row["set"] in ("page_instruction", "file_snapshot"):
        return {
            "similarity": metrics.edit_similarity(answer, row["reference"]),
            "prefix": metrics.matched_prefix(answer, row["reference"]),
        }
    return {"correct": metrics.admits(answer) if row["set"] == "unknown" else metrics.is_correct(answer, row)}


def summarise(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rates by set and arm with 95 % intervals (Wilson), and tuned minus base (paired bootstrap by document)."""
    sets: dict[str, Any] = {}
    for kind in SETS:
        rows = [row for row in samples if row["set"] == kind]
        if not rows:
            continue
        sets[kind] = {"n": len(rows), "documents": len({_group(row) for row in rows})}
        for name in ARMS:
            hits = sum(row[name]["correct"] for row in rows)
            sets[kind][name] = {"correct": hits, "rate": hits / len(rows), "interval": wilson(hits, len(rows))}
        sets[kind]["difference"] = {
            "rate": sets[kind]["tuned"]["rate"] - sets[kind]["base"]["rate"],
            "interval": paired_bootstrap(rows, lambda r: r["tuned"]["correct"] - r["base"]["correct"], _group),
        }
    recall = [row for row in samples if "similarity" in row["tuned"]]
    means = {
        name: {
            "similarity": sum(r[name]["similarity"] for r in recall) / len(recall),
            "verbatim": sum(r[name]["similarity"] == 1 for r in recall),
        }
        for name in ARMS
        if recall
    }
    return {"sets": sets, "recall": {"n": len(recall), **means}}


def _group(row: Mapping[str, Any]) -> str:
    return row["document_id"] or row["id"]


def verdict(results: Mapping[str, Any]) -> str:
    """Base against tuned in one line."""
    parts = []
    for kind, label in (("trained", "trained"), ("paraphrases", "in other words"), ("general", "general")):
        if kind in results["sets"]:
            found = results["sets"][kind]
            parts.append(f"{label} {found['base']['correct']} -> {found['tuned']['correct']} of {found['n']}")
    for kind in ("chat", "raw"):
        losses = results["loss"][kind]
        if losses["base"]["loss"] is not None:
            parts.append(f"held-out {kind} loss {losses['base']['loss']:.2f} -> {losses['tuned']['loss']:.2f}")
    return "base -> tuned: " + "; ".join(parts)
