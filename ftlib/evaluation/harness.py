"""Public benchmarks (hellaswag, gsm8k, ...) on base and tuned model, by EleutherAI's lm-eval: what was forgotten.

    lm_eval_rows(model, tokenizer, ["arc_easy", "gsm8k"], limit=100)
    lm_eval_rows(model, tokenizer, ["mine.yaml"])           # a task of your own, in lm-eval's format

lm-eval (github.com/EleutherAI/lm-evaluation-harness, tried with 0.4.13) is no dependency of ftlib: pip install lm-eval.
Prompts, few-shot examples and scores are its own; its data comes from the Hugging Face hub. As is its default, tasks
are plain text, with one BOS where the tokenizer writes it; `apply_chat_template=True` asks as in a chat.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftlib.errors import SetupError
from ftlib.inference import ARMS, arm


def lm_eval_rows(
    model: Any, tokenizer: Any, tasks: Sequence[str], *, limit: float | None = None, batch_size: int = 8, **options: Any
) -> list[dict[str, Any]]:
    """Both arms' scores in lm-eval's tasks.

    Args:
        model, tokenizer: as of `ftlib.inference.load_arms`. Neither is changed.
        tasks: names of tasks, groups or tags (`lm-eval ls tasks` has them), or paths of YAML files.
        limit: examples of each task, the first ones; below 1 a share of them; None: all.
        options: go to `lm_eval.simple_evaluate`: num_fewshot, apply_chat_template, ...

    Returns:
        a row for each task (a group's own and those in it) and metric: task; metric, with the filter's name where
        lm-eval reads an answer in several ways; base, base_stderr, tuned, tuned_stderr (None where lm-eval gives none);
        difference, tuned minus base. They are in the metric's own unit, where more may be better or worse.

    Raises:
        SetupError: lm-eval is missing, or does not know a task.
    """
    try:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise SetupError(f"Public benchmarks take the package lm-eval ({error}): pip install lm-eval.") from error
    named = [task for task in tasks if not Path(task).is_file()]
    # Its index of 15,000 tasks takes ten seconds, and is for names only.
    manager = TaskManager(include_defaults=bool(named))
    for task in named:
        if task not in manager.task_index:
            like = ", ".join(difflib.get_close_matches(task, manager.all_tasks)) or "`lm-eval ls tasks` lists them"
            raise SetupError(f"lm-eval has no task {task!r}, and there is no such file. Did you mean: {like}?")
    # It ties embedding and head anew, which fails where an adapter has trained both (they are tied already).
    model.tie_weights = lambda *_, **__: None
    try:
        # A copy: it sets a padding token where there is none, and can leave padding on in the tokenizer's Rust half.
        wrapped = HFLM(pretrained=model, tokenizer=copy.deepcopy(tokenizer), batch_size=batch_size)
    finally:
        del model.tie_weights
    scores: dict[str, dict[tuple[str, str], Any]] = {}
    for name in ARMS:
        with arm(model, name):
            found = lm_eval.simple_evaluate(
                model=wrapped, tasks=list(tasks), task_manager=manager, limit=limit, log_samples=False, **options
            )
        scores[name] = {(task, key): value for task, of in found["results"].items() for key, value in of.items()}
    return [_row(scores, task, key) for task, key in scores["base"] if "," in key and "_stderr," not in key]


def _row(scores: dict[str, dict[tuple[str, str], Any]], task: str, key: str) -> dict[str, Any]:
    """A key is "acc,none": metric and filter."""
    metric, _, chosen = key.partition(",")
    row: dict[str, Any] = {"task": task, "metric": metric if chosen == "none" else key}
    for name in ARMS:
        stderr = scores[name].get((task, f"{metric}_stderr,{chosen}"))
        row |= {name: float(scores[name][task, key])}
        row |= {f"{name}_stderr": None if stderr in (None, "N/A") else float(stderr)}
    return row | {"difference": row["tuned"] - row["base"]}
