"""The rounds of questions: plain, with a text in the prompt, sampled, in other batches, and at other scales.

Each puts answers beside rows; what they are worth `grading` says of all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from ftlib.evaluation import baselines
from ftlib.evaluation.asking import Session, ask
from ftlib.evaluation.config import EvalConfig
from ftlib.evaluation.planned import draw, spread
from ftlib.inference import ARMS

Row = dict[str, Any]
Rows = Sequence[Row]

WITH_TEXT: dict[str, tuple[baselines.Kind, ...]] = {"base": ("prompt", "page", "bm25"), "tuned": ("bm25",)}
"""What each arm is asked besides the plain question."""
TEXT_SETS = ("trained", "paraphrases", "validation")
NOISE_BATCH = 7
_SLACK = 16  # tokens that an answer may have beyond the text that it is to recite


def limit(row: Mapping[str, Any], config: EvalConfig) -> int:
    """Tokens of an answer, at most."""
    if row["set"] == "recall":
        return row["length"] + _SLACK if row["whole"] else row["length"]
    return config.general_tokens if row["set"] == "general" else config.max_new_tokens


def plain(session: Session, rows: Rows, config: EvalConfig) -> None:
    """Put both arms' greedy answers into the rows, as base and tuned."""
    for name in ARMS:
        print(f"{name}: {len(rows):,} prompts")
        found = ask(session, name, [row["question"] for row in rows], [limit(row, config) for row in rows])
        for row, answer in zip(rows, found, strict=True):
            row[name] = answer


def with_text(session: Session, rows: Rows, documents: Rows, config: EvalConfig) -> dict[str, Any] | None:
    """Put `baselines` into some rows of each of TEXT_SETS; returns how often retrieval found the right document."""
    chosen = [row for name in TEXT_SETS for row in of_set(rows, name)]
    chosen = draw(chosen, config.baseline_items, lambda row: row["set"], config.seed) if config.baseline_items else []
    if not chosen:
        return None
    kinds = [kind for kind in baselines.KINDS if kind != "bm25" or find_spec("bm25s")]
    if "bm25" not in kinds:
        print("retrieval is left out: pip install 'ftlib[eval]'")
    asked = {
        kind: baselines.prompts(chosen, documents, session.tokenizer, kind, config.context, k=config.retrieved)
        for kind in kinds
    }
    for row in chosen:
        row["baselines"] = {}
    for name, wanted in WITH_TEXT.items():
        # One call for all: a step takes as long for a few rows as for many.
        of_arm = [
            (row, kind, one) for kind in wanted if kind in asked for row, one in zip(chosen, asked[kind], strict=True)
        ]
        prompts = [one["messages"][0]["content"] for *_, one in of_arm]
        found = ask(session, name, prompts, [config.max_new_tokens] * len(prompts))
        for (row, kind, _), answer in zip(of_arm, found, strict=True):
            row["baselines"][f"{name}+{kind}"] = answer
    if "bm25" not in asked:
        return None
    places = [k for k in (1, 3, 5) if k <= config.retrieved]
    found_at = baselines.retrieval(chosen, asked["bm25"], places)
    return {"n": found_at["n"], "recall_at": {str(k): found_at[f"recall@{k}"]["rate"] for k in places}}


def sampled(session: Session, rows: Rows, config: EvalConfig) -> list[Row]:
    """Rows of set "sampled": base and tuned as lists of answers, one a seed, and the greedy ones beside them."""
    if not config.sampled_items:
        return []
    chosen = draw(of_set(rows, "trained"), config.sampled_items, lambda row: row["set"], config.seed)
    made = [{**row, "set": "sampled", "greedy": {name: row[name] for name in ARMS}} for row in chosen]
    for row in made:
        row.pop("baselines", None)  # they are counted with the question itself
    seeds = range(config.seed, config.seed + config.seeds)
    asked = [(row, seed) for row in made for seed in seeds]
    sampling = {"temperature": config.temperature, "top_p": config.top_p, "seed": [seed for _, seed in asked]}
    for name in ARMS:
        prompts = [row["question"] for row, _ in asked]
        found = iter(ask(session, name, prompts, [config.max_new_tokens] * len(asked), sampling=sampling))
        for row in made:
            row[name] = [next(found) for _ in seeds]
    return made


def again(session: Session, rows: Rows, config: EvalConfig) -> list[tuple[Row, dict[str, Any]]]:
    """The base's answers to some rows once more, in small batches: what differs is noise."""
    chosen = [row for row in rows if row["set"] in (*TEXT_SETS, "general")]
    chosen = spread(chosen, config.noise_items, lambda row: row["set"], config.seed) if config.noise_items else []
    prompts, limits = [row["question"] for row in chosen], [limit(row, config) for row in chosen]
    return list(zip(chosen, ask(session, "base", prompts, limits, batch_size=NOISE_BATCH), strict=True))


def at_scales(session: Session, rows: Rows, config: EvalConfig) -> list[dict[str, Any]]:
    """Of each scale of the dial, 0 and 1 among them: scale, and its rows of learned and general with `at`."""
    if not config.dial or not config.dial_items:
        return []
    learned = draw(of_set(rows, "trained"), config.dial_items, lambda row: row["set"], config.seed)
    general = spread(of_set(rows, "general"), config.dial_items, lambda row: row["kind"], config.seed)
    chosen = [*learned, *general]
    prompts, limits = [row["question"] for row in chosen], [limit(row, config) for row in chosen]
    stops = []
    for scale in sorted({0.0, 1.0, *config.dial}):
        if scale in (0.0, 1.0):
            answers = [row[ARMS[int(scale)]] for row in chosen]
        else:
            print(f"adapter at scale {scale:g}: {len(chosen):,} prompts")
            answers = ask(session, "tuned", prompts, limits, scale=scale)
        there = [{**row, "at": answer} for row, answer in zip(chosen, answers, strict=True)]
        stops.append({"scale": scale, "learned": there[: len(learned)], "general": there[len(learned) :]})
    return stops


def of_set(rows: Rows, name: str) -> list[Row]:
    return [row for row in rows if row["set"] == name]
