"""The search for the recipe: one trial is one training run on a workspace, measured on questions made for the search.

    python benchmarks/recipe.py --workspace work --trial wide --out records.jsonl [--seed 0] [--set '{"train": ...}']

The workspace is one of `reference.py prepare`. Several trials may run at a time on a card. What is asked here is no
test question of 04_eval: each trained question in two wordings that no trial trains on, unknown things of a file of
their own, all trained files of up to 500 tokens, and the general items, of which only the change counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftlib import (
    general_items,
    generation,
    inference,
    metrics,
    mixture,
    models,
    replay,
    runtime,
    settings,
    tokens,
    train,
)
from ftlib.evaluation.leaks import leaks, style_of
from ftlib.training import faults
from ftlib.training.whole import scaled
from ftlib.workspace import Workspace, plain, read_jsonl, write_json, write_jsonl, write_manifest

PROJECT = "manage-frontend"
SEARCH_UNKNOWN = Path(__file__).parent / "case_study" / "search_unknown.txt"
SEARCH_QUESTIONS = Path(__file__).parent / "case_study" / "search_questions.jsonl"
OTHER_SNAPSHOT = "Type out {path} of {project}, all of it."
"""A file asked for as neither training nor 04_eval asks."""
# `train` and `repeats`: beside the library's defaults for the demo model; the others: how many of the chats there are.
START: dict[str, Any] = {
    "train": {"eval_steps": 0, "save_steps": 0},
    "repeats": {},
    "wordings": 12,
    "paraphrases": 30,
    "unknown": 10**9,
    "scales": [],
}
TRIALS: dict[str, dict[str, Any]] = {
    "wide": {},
    "wide_hold_2": {"train": {"hold_strength": 2.0}},
    "wide_7e-4": {"train": {"learning_rate": 7e-4}},
    "wide_longer": {"repeats": {"page_qa": 9, "file_snapshot": 4, "unknown": 5, "replay": 4}},
    "wide_r64": {"train": {"lora_r": 64, "lora_alpha": 64}},
    "wide_full": {"train": {"method": "full", "learning_rate": 2e-4}},
    "unknown_600": {"unknown": 600, "repeats": {"unknown": 12}},
    "snapshots_4": {"wordings": 4, "repeats": {"file_snapshot": 9, "page_instruction": 4}},
    "eight_wordings": {"paraphrases": 8, "repeats": {"page_qa": 21}},
}
KEPT_BACK = 400
"""Of the base's own chats, the first ones: no trial trains on them, and the base is compared with itself on them."""


def trial_settings(name: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """START with a trial's changes; train and repeats field by field."""
    chosen = {**START}
    for changes in (TRIALS.get(name, {}), more):
        for key, value in changes.items():
            chosen[key] = {**chosen[key], **value} if isinstance(value, Mapping) else value
    return chosen


def rows_of(folder: Path, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The chats of a trial: of each group of wordings as many as it wants."""
    kept, unknown = [], 0
    for one in read_jsonl(folder / "chats.jsonl"):
        if one["method"] == "unknown":
            unknown += 1
            if unknown > wanted["unknown"]:
                continue
        if one.get("of"):
            number = int(one["id"].rsplit(":", 1)[1][1:])
            if number > (wanted["paraphrases"] if one["method"] == "page_qa" else wanted["wordings"]):
                continue
        kept.append(one)
    return kept


def asked(folder: Path, tokenizer: Any, own: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Everything that a trial is asked, as rows of set, question, reference, keywords and limit.

    Args:
        own: the base's own chats that no trial trains on.
    """
    rows = []
    again = {f"page_qa:{one['id']}": one["questions"] for one in read_jsonl(SEARCH_QUESTIONS)}
    for one in read_jsonl(folder / "chats.jsonl"):
        question, answer = (message["content"] for message in one["messages"])
        about = {"id": one["id"], "question": question, "reference": answer, "keywords": one.get("keywords") or []}
        if one["split"] != "train" or one.get("of"):
            continue
        if one["method"] == "page_qa":
            rows.append({**about, "set": "trained", "limit": 64})
            for number, wording in enumerate(again[one["id"]]):
                words = {"id": f"{one['id']}:search{number}", "question": wording, "set": "paraphrase", "limit": 64}
                rows.append({**about, **words})
        elif one["method"] == "file_snapshot":
            length = len(tokens.encode(tokenizer, answer).ids)
            if length <= 500:
                rows.append({**about, "set": "recall", "limit": length + 8})
                other = OTHER_SNAPSHOT.format(path=one["document_id"].partition(":")[2], project=PROJECT)
                about |= {"id": f"{one['id']}:other", "question": other}
                rows.append({**about, "set": "recall_other", "limit": length + 8})
    for number, question in enumerate(SEARCH_UNKNOWN.read_text(encoding="utf-8").splitlines()):
        rows.append({"id": f"dev:{number}", "question": question, "reference": "", "set": "unknown", "limit": 64})
    for item in general_items.general_items():
        about = {"id": item["id"], "question": item["prompt"], "reference": item["reference"], "item": item}
        rows.append({**about, "set": "general", "limit": 256})
    for one in own:
        about = {"id": one["id"], "question": one["messages"][0]["content"], "reference": ""}
        rows.append({**about, "set": "own", "limit": 32})
    return rows


def score(
    rows: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Any]],
    base: Mapping[str, Mapping[str, Any]],
    style: Any,
) -> dict[str, float]:
    """Shares in percent; of the base's own questions how like the base's greedy answer this one is."""
    right: dict[str, list[float]] = {}
    for row, answer in zip(rows, found, strict=True):
        text = answer["text"]
        if row["set"] == "own":
            right.setdefault("own", []).append(metrics.edit_similarity(text, base[row["id"]]["text"]))
        elif row["set"] == "general":
            right.setdefault("leak", []).append(bool(leaks(text, style, row["question"])))
            kind = row["item"]["kind"]
            right.setdefault(f"general_{kind}", []).append(general_items.check(row["item"], text)["correct"])
            right.setdefault("general", []).append(right[f"general_{kind}"][-1])
        elif row["set"] in ("recall", "recall_other"):
            right.setdefault(row["set"], []).append(metrics.is_verbatim(text, row["reference"]))
        elif row["set"] == "unknown":
            right.setdefault("unknown", []).append(metrics.admits(text))
        else:
            right.setdefault(row["set"], []).append(metrics.is_correct(text, row))
            right.setdefault(f"{row['set']}_admits", []).append(metrics.admits(text))
    return {name: round(100 * sum(values) / len(values), 1) for name, values in right.items()}


def run(name: str, wanted: Mapping[str, Any], folder: Path, seed: int, every: int) -> dict[str, Any]:
    """One trial: chats, mixture, training, answers; returns its record."""
    machine = runtime.accelerator()
    clock = [time.perf_counter()]
    config = settings.changed(settings.default_config("demo", machine), {**wanted["train"], "seed": seed})
    mixing = settings.default_mixture(config)
    repeats, own_tokens = {**mixing.repeats, **wanted["repeats"]}, wanted.get("replay_tokens", mixing.replay_tokens)
    mixing = settings.changed(mixing, {"repeats": repeats, "replay_tokens": own_tokens, "seed": seed})
    own = replay.records(Workspace(folder), config, own_tokens)
    chats, kept_back = rows_of(folder, wanted) + own[KEPT_BACK:], own[:KEPT_BACK]
    mix = mixture.build_mixture(read_jsonl(folder / "documents.jsonl"), chats, models.load_tokenizer("demo"), mixing)
    clock.append(time.perf_counter())
    model, tokenizer = train.load_model(config)
    home = folder / "runs" / f"{name}-{seed}"
    trainer = train.build_trainer(model, tokenizer, mix.train, config, home)
    result = train.train(trainer, config, home, mixture=mix)
    train.save_run(home, trainer, config, mix, result)
    write_manifest(home, stage="03_train", settings={}, inputs={}, counts={}, packages=())
    clock.append(time.perf_counter())
    del model, trainer
    faults.free_memory()
    tuned, tokenizer, _ = inference.load_arms(home)
    rows = asked(folder, tokenizer, kept_back)[::every]
    style = style_of(read_jsonl(folder / "documents.jsonl"), [PROJECT])

    def answers(wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        questions, limits = [row["question"] for row in wanted], [row["limit"] for row in wanted]
        return generation.generate(tuned, tokenizer, questions, max_new_tokens=limits, batch_size=2048)

    base_file = folder / "base.json"
    mine = [row for row in rows if row["set"] in ("general", "unknown", "own")]
    if not base_file.is_file():
        with inference.arm(tuned, "base"):
            write_json(base_file, {row["id"]: one for row, one in zip(mine, answers(mine), strict=True)})
    base = json.loads(base_file.read_text())
    found = answers(rows)
    at_scales = {}
    for scale in wanted["scales"]:
        with scaled(tuned, scale):
            at_scales[str(scale)] = score(rows, answers(rows), base, style)
    clock.append(time.perf_counter())
    kept = [
        {name: row[name] for name in ("id", "set", "question", "reference")}
        | {"base": base.get(row["id"], {}).get("text"), **answer}
        for row, answer in zip(rows, found, strict=True)
    ]
    write_jsonl(home / "answers.jsonl", kept)
    measured = ("seconds", "steps", "tokens", "tokens_per_second", "before", "after")
    parts = zip(("data", "train", "answers"), clock, clock[1:], strict=False)
    return {
        "trial": name,
        "seed": seed,
        "settings": {**wanted, "train": asdict(config), "repeats": repeats, "replay_tokens": own_tokens},
        "tuned": score(rows, found, base, style),
        "base": score(mine, [base[row["id"]] for row in mine], base, style),
        "scaled": at_scales,
        "audit": {row["source"]: row.get("tokens") for row in mix.audit},
        "train": {key: result.get(key) for key in measured},
        "seconds": {part: round(end - begin, 1) for part, begin, end in parts},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--trial", choices=list(TRIALS), default="wide")
    parser.add_argument("--name", help="of a trial with further changes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", default="{}", help="JSON of further changes")
    parser.add_argument("--every", type=int, default=1, help="question, for a try")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    wanted = trial_settings(given.trial, json.loads(given.set))
    record = plain(run(given.name or given.trial, wanted, given.workspace, given.seed, given.every))
    with given.out.open("a") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps({key: record[key] for key in ("trial", "seed", "tuned", "train", "seconds")}))


if __name__ == "__main__":
    sys.exit(main())
