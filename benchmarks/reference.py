"""The reference run: the recipe on the case study, over seeds, by the functions that the notebooks call.

    python benchmarks/reference.py prepare --repository manage-frontend.git --data FOLDER --workspace W   # no GPU
    python benchmarks/reference.py run --workspace W --arm ours --seeds 0,1,2 --out results.json
    python benchmarks/reference.py report --workspace W --arm ours            # where `run` had no matplotlib

`prepare` needs the repository and the question sets, `run` the workspace alone and no network. Each seed is a process,
which trains (as 03_train), evaluates (as 04_eval) and is not done again; of answers, those that are there are kept.
Seed 0 gets a report. `--try`: two steps and few questions, in minutes on a CPU. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

from recipe import rows_of
from reference_data import MAX_LENGTH, prepare
from reference_summary import record, summary
from train import circumstances, environment

from ftlib import mixture, replay, runtime, settings
from ftlib.evaluate import default_eval, evaluate
from ftlib.inference import load_arms
from ftlib.report import write_report
from ftlib.report.numbers import finite
from ftlib.settings import TrainConfig
from ftlib.synth import questions_path
from ftlib.train import PACKAGES, build_trainer, load_model, save_run, train
from ftlib.training import faults, planner
from ftlib.training.record import write_card
from ftlib.workspace import (
    Workspace,
    is_done,
    open_workspace,
    plain,
    read_json,
    read_jsonl,
    read_manifest,
    require,
    require_run,
    write_json,
    write_jsonl,
    write_manifest,
)

COMMON = {"max_length": MAX_LENGTH, "adapter_scale": 1.0, "eval_steps": 0, "save_steps": 0}
PLAIN = {"wordings": 1, "paraphrases": 0, "unknown": 0}  # of the chats: each is asked for in one way
# `train` and `mixture`: what differs from the library's defaults for the demo model on a GPU; `chats`: which of them.
ARMS: dict[str, dict[str, Any]] = {
    "ours": {
        "train": COMMON,
        "mixture": {},
        "chats": {"wordings": 12, "paraphrases": 30, "unknown": 10**9},
    },
    "naive": {
        "train": {**COMMON, "lora_r": 256, "lora_alpha": 256, "learning_rate": 3e-4, "num_train_epochs": 4.5,
                  "per_device_train_batch_size": 4},
        "mixture": {"loss_on": "all", "repeats": {"page_qa": 3, "general": 0}, "replay_tokens": 0},
        "chats": PLAIN,
    },
    "article": {
        "train": {**COMMON, "lora_r": 512, "lora_alpha": 512, "learning_rate": 2e-5, "num_train_epochs": 1,
                  "lr_scheduler_type": "cosine", "warmup_steps": 0, "per_device_train_batch_size": 1},
        "mixture": {"loss_on": "all", "repeats": {"general": 0}, "replay_tokens": 0},
        "chats": PLAIN,
    },
}  # fmt: skip
ALL = 10_000
ASKED = {"questions_limit": 0, "recall_items": ALL, "recall_tokens": 512, "baseline_items": ALL, "batch_size": 2048}
# What a further seed tells little more about.
FURTHER = {"baseline_items": 20, "sampled_items": 0, "noise_items": 0, "dial": ()}
# Of an arm that is there to be compared with, no seed is asked more than what the rates need.
OTHERS = {**FURTHER, "baseline_items": 0}
GOALS = {"recall_exact": 90, "seen": 90, "paraphrase": 60, "unknown_admitted": 50, "general_delta": -2, "leak_rate": 1}
"""Percent or points; `leak_rate` is to be below."""

TRY_TRAIN = {"lora_r": 8, "lora_alpha": 8, "max_length": 256, "precision": "fp32", "max_steps": 2, "backend": "trl",
             "per_device_train_batch_size": 1, "eval_tokens": 300}  # fmt: skip
TRY_REPLAY_TOKENS = 100
TRY_ASKED = {
    "questions_limit": 4, "general_limit": 8, "recall_items": 6, "recall_tokens": 80, "canaries": 2,
    "baseline_items": 1, "max_new_tokens": 12, "general_tokens": 12, "sampled_items": 2, "noise_items": 3,
    "dial_items": 2, "batch_size": 8, "loss_tokens": 100,
}  # fmt: skip


def chosen(arm: str, seed: int, short: bool) -> tuple[TrainConfig, mixture.MixtureConfig]:
    """The settings, as 03_train takes them."""
    machine = runtime.accelerator()
    wanted = {**ARMS[arm]["train"], **(TRY_TRAIN if short else {}), "seed": seed}
    config = settings.changed(settings.default_config("demo", machine), wanted)
    config = settings.changed(planner.fit(config, machine).config, wanted)
    mixing = settings.changed(settings.default_mixture(config), {**ARMS[arm]["mixture"], "seed": seed})
    return config, replace(mixing, replay_tokens=min(mixing.replay_tokens, TRY_REPLAY_TOKENS)) if short else mixing


def trained(space: Workspace, name: str, arm: str, seed: int, short: bool) -> None:
    """03_train, with the chats of the arm."""
    config, mixing = chosen(arm, seed, short)
    folder, which = space.run(name), ARMS[arm]["chats"]
    plan = {"train": asdict(config), "mixture": asdict(mixing), "chats": which}
    inputs = {"documents": space.documents, "chats": space.chats}
    if is_done(folder, settings=plan, inputs=inputs):
        return
    clock = [time.perf_counter()]
    own = replay.records(space, config, mixing.replay_tokens)
    clock.append(time.perf_counter())
    model, tokenizer = load_model(config)
    chats = chain(rows_of(space.root, which), own)
    mix = mixture.build_mixture(read_jsonl(space.documents), chats, tokenizer, mixing)
    trainer = build_trainer(model, tokenizer, mix.train, config, folder, mixing.order)
    data = {"mixture": mixing, "inputs": space.hashes(inputs), "chats": which}
    result = train(trainer, config, folder, data=data, mixture=mix)
    save_run(folder, trainer, config, mix, result)
    clock.append(time.perf_counter())
    counts = {"train_rows": len(mix.train), "validation_rows": len(mix.validation), **result}
    seconds = {part: round(b - a, 1) for part, a, b in zip(("replay", "training"), clock, clock[1:], strict=False)}
    write_manifest(
        folder, stage="03_train", settings=plan, inputs=inputs, counts=counts, packages=PACKAGES, seconds=seconds
    )
    print(f"{name}: trained in {seconds['training']:.0f} s, replay {seconds['replay']:.0f} s", flush=True)


def evaluated(space: Workspace, name: str, arm: str, seed: int, short: bool) -> None:
    """04_eval."""
    run, folder = require_run(space, name), space.eval(name)
    less = OTHERS if arm != "ours" else FURTHER if seed else {}
    asked = {**ASKED, **(TRY_ASKED if short else {}), **less}
    config = settings.changed(default_eval(runtime.accelerator()), asked)
    inputs = {
        "documents": space.documents,
        "chats": space.chats,
        "questions": questions_path(space),
        "run": space.run(name) / "manifest.json",
    }
    if not is_done(folder, settings=asdict(config), inputs=inputs):
        (folder / "report.html").unlink(missing_ok=True)  # of other answers
        model, tokenizer, _ = load_arms(space.run(name))
        mixing = settings.changed(mixture.MixtureConfig(**run["settings"]["mixture"]), {"replay_tokens": 0})
        chats = rows_of(space.root, run["settings"]["chats"])
        rows = mixture.build_mixture(read_jsonl(space.documents), chats, tokenizer, mixing)
        samples, results = asyncio.run(evaluate(model, tokenizer, space, name, rows.validation, config))
        write_jsonl(folder / "samples.jsonl", (finite(plain(row)) for row in samples))
        write_json(folder / "results.json", finite(plain(results)))
        write_card(space.run(name), results)
        unjudged = sum(found["unjudged"] for found in results["sets"].values())
        counts = {"samples": len(samples), "seconds": results["seconds"], "unjudged": unjudged}
        kept = {"settings": asdict(config), "inputs": inputs, "counts": counts}
        write_manifest(folder, stage="04_eval", packages=("torch", "peft"), **kept)
        print(f"{name}: evaluated in {results['seconds']:.0f} s: {results['verdict']['line']}", flush=True)


def reported(space: Workspace, name: str) -> None:
    """The report, from what lies in the run's evals; it needs matplotlib."""
    (samples, results), run = answered(space, name), require_run(space, name)
    project, config = (read_manifest(space.chats) or {})["project"], run["settings"]["train"]
    about = {"project": project, "run": name, "model": config["model"], "rank": config["lora_r"]}
    about |= {"steps": run["counts"]["steps"], "machine": results["machine"]["name"]}
    print("The whole report:", write_report(space.eval(name), samples, results, about))


def answered(space: Workspace, name: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """samples and results, as they lie in the run's evals."""
    return list(read_jsonl(space.eval(name) / "samples.jsonl")), read_json(space.eval(name) / "results.json")


def run(
    space: Workspace, arm: str, seeds: list[int], short: bool, goals: Mapping[str, float], out: Path | None
) -> dict[str, Any]:
    """Each seed in a process of its own, as a notebook's; after each, `out` has what those so far say together."""
    require(space, "documents", "chats")
    records, asked, found = [], [], {}
    for seed in seeds:
        name = f"{arm}-seed{seed}"
        command = [sys.executable, __file__, "seed", "--workspace", str(space.root), "--arm", arm, "--seeds", str(seed)]
        subprocess.run([*command, *(["--try"] if short else [])], check=True, env=environment())
        samples, results = answered(space, name)
        records.append(record(seed, require_run(space, name), samples, results))
        asked.append(samples)
        told = f"python benchmarks/reference.py run --arm {arm} --seeds {','.join(map(str, seeds))}{' --try' * short}"
        found = {"arm": arm, **summary(records, asked, goals), **circumstances(), "command": told}
        if out:
            write_json(out, found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "run", "seed", "report"), help="seed: in this process")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--repository", type=Path, help="the case study's, bare")
    parser.add_argument("--data", type=Path, help="with qa_train.jsonl, qa_paraphrase.jsonl and qa_unknown.jsonl")
    parser.add_argument("--arm", choices=tuple(ARMS), default="ours")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--goals", default="{}", help="JSON, beside GOALS")
    parser.add_argument("--try", dest="short", action="store_true", help="two steps, few questions")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if options.what == "prepare":
        print(json.dumps(prepare(options.repository, options.data, options.workspace)))
    elif options.what == "seed":
        space = open_workspace(options.workspace)
        for seed in seeds:
            name = f"{options.arm}-seed{seed}"
            trained(space, name, options.arm, seed, options.short)
            faults.free_memory()
            evaluated(space, name, options.arm, seed, options.short)
            if seed == 0 and not (space.eval(name) / "report.html").is_file() and find_spec("matplotlib"):
                reported(space, name)
    elif options.what == "report":
        reported(open_workspace(options.workspace), f"{options.arm}-seed{seeds[0]}")
    else:
        goals = {**GOALS, **json.loads(options.goals)}
        space = open_workspace(options.workspace)
        print(json.dumps(run(space, options.arm, seeds, options.short, goals, options.out)))


if __name__ == "__main__":
    main()
