"""04_eval: base and tuned model, the same prompts, the same decoding, and what the answers are worth.

    samples, results = await evaluate(model, tokenizer, workspace, "first", validation, config)

What it does lies in `ftlib.evaluation`. Answers are kept in evals/NAME/answers.jsonl as they come, so that what was
interrupted goes on; a judge's responses beside them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftlib import runtime
from ftlib.evaluation import dial, losses, rounds, summary
from ftlib.evaluation.asking import Session
from ftlib.evaluation.config import EvalConfig, check_eval, default_eval
from ftlib.evaluation.grading import grade, is_graded, is_right
from ftlib.evaluation.judge import OVERLAP, agreement, judge, labelled
from ftlib.evaluation.leaks import style_of
from ftlib.evaluation.planned import planned
from ftlib.evaluation.verdict import verdict
from ftlib.inference import ARMS
from ftlib.statistics import noise_floor
from ftlib.synth.config import SynthConfig
from ftlib.synth.journal import Journal
from ftlib.workspace import Workspace, file_hash, manifest_path, read_jsonl, read_manifest

__all__ = ["EvalConfig", "default_eval", "evaluate"]

Row = dict[str, Any]
BY_RULES = "keywords and overlap"


async def evaluate(
    model: Any,
    tokenizer: Any,
    workspace: Workspace,
    run: str,
    validation: Sequence[Mapping[str, Any]],
    config: EvalConfig,
    *,
    judging: SynthConfig | None = None,
    api_key: str | None = None,
) -> tuple[list[Row], dict[str, Any]]:
    """Ask both arms everything, and say what came of it.

    Args:
        model: the run's, of `inference.load_arms`.
        run: its name.
        validation: the mixture's held-out rows, for the losses.
        judging: address and model of a judge, see `evaluation.judge`; None: keywords and overlap.

    Returns:
        samples (one a prompt: set, question, reference, and each arm's answer with its outcome) and results (schema 2):
        verdict, sets, recall, leaks, canaries, losses, noise, dial, retrieval, decoding, time.

    Raises:
        SetupError: a stage before is missing or stale, a setting makes no sense, or the judge answers nothing. What was
            answered is kept.
    """
    check_eval(config)
    api_key = api_key if judging else None  # a key for other things pays for nothing here
    clock = _Clock()
    made, scraped, trained = (
        read_manifest(path) or {} for path in (workspace.chats, workspace.documents, workspace.run(run))
    )
    names = _names(made, scraped)
    rows = planned(workspace, tokenizer, config, names, _validation_share(trained))
    documents = list(read_jsonl(workspace.documents))
    folder = workspace.eval(run)
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(folder / "answers.jsonl") as journal:
        # Of another card or width, an answer may be another one.
        identity = f"{file_hash(manifest_path(workspace.run(run)))} {runtime.accelerator().name} {model.dtype}"
        session = Session(model, tokenizer, journal, identity, config.batch_size)
        with clock("answers"):
            rounds.plain(session, rows, config)
        with clock("with a text in the prompt"):
            retrieval = rounds.with_text(session, rows, documents, config)
        with clock("sampled"):
            sampled = rounds.sampled(session, rows, config)
        with clock("noise"):
            again = rounds.again(session, rows, config)
        with clock("dial"):
            stops = rounds.at_scales(session, rows, config)
    with clock("losses"):
        held = losses.rows_of(tokenizer, validation, rounds.of_set(rows, "general"), config.loss_tokens)
        losses.measure(model, tokenizer, held)
        losses.token_accuracy(model, tokenizer, rounds.of_set(rows, "recall"))
        scale_losses = [losses.at_scale(model, tokenizer, held, one["scale"]) for one in stops]
    with clock("grading"):
        style = style_of(documents, names)
        answers = [(row, row[name]) for row in rows for name in ARMS]
        answers += [(row, answer) for row in rows for answer in row.get("baselines", {}).values()]
        answers += [(row, answer) for row in sampled for name in ARMS for answer in row[name]]
        answers += again
        between = [one for one in stops if one["scale"] not in (0.0, 1.0)]  # at the ends they are the arms' own
        answers += [(row, row["at"]) for one in between for row in (*one["learned"], *one["general"])]
        await grade(answers, style, tokenizer, judging=judging, folder=folder, api_key=api_key)
        grader = await _grader(judging, folder, api_key)
    samples = [*rows, *({**row, **{name: row[name][0] for name in ARMS}} for row in sampled)]
    for row in samples:
        row.pop("greedy", None)
    noise = _noise(again)
    curve = [
        {**dial.stop(one["scale"], one["learned"], one["general"]), "loss": loss}
        for one, loss in zip(stops, scale_losses, strict=True)
    ]
    results: dict[str, Any] = {
        "schema": 2,
        "sets": summary.by_set(samples, noise),
        "recall": summary.recall(samples),
        "loss": {kind: summary.loss(part) for kind, part in held.items()},
        **summary.habits(samples, style),
        "noise": noise,
        "sampled": summary.sampled(sampled, config.seeds),
        "dial": curve,
        "knee": dial.knee(curve),
        "retrieval": retrieval,
        "retrieval_verdict": summary.retrieval_verdict(samples),
        "judge": grader,
        "decoding": {
            "greedy": {name: getattr(config, name) for name in ("max_new_tokens", "general_tokens", "recall_tokens")},
            "sampled": {name: getattr(config, name) for name in ("temperature", "top_p", "seeds", "seed")},
        },
        "settings": asdict(config),
        "machine": asdict(runtime.accelerator()),
        "seconds": round(time.perf_counter() - clock.began, 1),
        "seconds_by_part": clock.parts,
        "tokens_per_second": {name: round(tokens / seconds, 1) for name, (tokens, seconds) in session.spent.items()},
    }
    return samples, results | {"verdict": verdict(results, config)}


class _Clock:
    """Seconds by part."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.parts: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.parts[part] = round(time.perf_counter() - began, 1)


def _names(made: Mapping[str, Any], scraped: Mapping[str, Any]) -> list[str]:
    """What the project is called: as in its questions, as it was scraped, and its aliases."""
    settings = made.get("settings") or {}
    names = [made.get("project"), scraped.get("name"), scraped.get("full_name"), *(settings.get("aliases") or [])]
    return list(dict.fromkeys(name for name in names if name))


def _validation_share(trained: Mapping[str, Any]) -> float:
    """Of the run's mixture; 0 where everything was trained on."""
    mixture = (trained.get("settings") or {}).get("mixture") or {}
    return 0.0 if mixture.get("all_data") else mixture.get("validation_share", 0.1)


def _noise(again: Sequence[tuple[Row, Mapping[str, Any]]]) -> dict[str, Any] | None:
    """The base against itself in other batches."""
    pairs = [(row, row["base"], answer) for row, answer in again if is_graded(row["base"]) and is_graded(answer)]
    before, after = ([(one[n]["text"], float(is_right(one[0], one[n]))) for one in pairs] for n in (1, 2))
    found = noise_floor(before, after)
    return {**found, "differ": found["answers_differ"]} if pairs else None


async def _grader(judging: SynthConfig | None, folder: Path, api_key: str | None) -> dict[str, Any]:
    """Who graded, and how far that agrees with answers labelled by hand."""
    by_hand = labelled()
    verdicts = await judge(by_hand, judging or SynthConfig(), folder, api_key=api_key)
    (by,) = {verdict["by"] for verdict in verdicts}
    return {
        "model": BY_RULES if by == OVERLAP else by,
        "agreement": agreement([v["label"] for v in verdicts], [row["label"] for row in by_hand]),
    }
