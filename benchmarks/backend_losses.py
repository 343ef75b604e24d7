"""The same data and seed through each backend: do the losses of the first steps agree with plain TRL's?

    python benchmarks/backend_losses.py WORKSPACE [--model demo] [--steps 50] [--set '{"lora_r": 64}'] [--out FILE]
    python benchmarks/backend_losses.py WORKSPACE --backends trl,compiled --set '{"method": "full"}'

WORKSPACE holds documents.jsonl and chats.jsonl, as `make run` leaves them. Each backend is a process of its own; plain
TRL + PEFT is the reference. The last line is JSON: for each backend the largest relative difference of a step's loss.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from train import circumstances, environment

BACKENDS = "trl,unsloth,compiled"


def losses(backend: str, workspace: str, model: str, steps: int, changes: dict[str, Any]) -> dict[str, Any]:
    """One backend, in this process: loss by step, speed, and the path that it took."""
    from ftlib.mixture import build_mixture
    from ftlib.settings import TrainConfig, changed, default_mixture
    from ftlib.train import build_trainer, load_model, train
    from ftlib.workspace import open_workspace, read_jsonl

    config = TrainConfig(
        model=model, backend=backend, max_length=2048, max_steps=steps, save_steps=0, lora_r=64, lora_alpha=64,
        learning_rate=2e-4, optim="adamw_torch_fused", checkpoint_layers=0,
    )  # fmt: skip
    config = changed(config, changes)
    space = open_workspace(workspace)
    loaded, tokenizer = load_model(config)
    mixing = replace(default_mixture(config), replay_tokens=0)
    mixture = build_mixture(read_jsonl(space.documents), read_jsonl(space.chats), tokenizer, mixing)
    folder = Path(tempfile.mkdtemp())
    trainer = build_trainer(loaded, tokenizer, mixture.train, config, folder)
    # Of every step: where a step is one CUDA graph, the usual is every tenth.
    trainer.args.logging_steps = 1
    result = train(trainer, config, folder)
    found = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"backend": backend, "losses": found, "path": loaded.ftlib_path, **result}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--set", default="{}", help="other settings, as JSON")
    parser.add_argument("--backends", default=BACKENDS, help="the first is the reference")
    parser.add_argument("--backend", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.backend:
        found = losses(options.backend, options.workspace, options.model, options.steps, json.loads(options.set))
        print("RUN " + json.dumps(found))
        return
    runs = {}
    for backend in options.backends.split(","):
        command = [sys.executable, __file__, options.workspace, "--model", options.model, "--set", options.set]
        command += ["--steps", str(options.steps), "--backend", backend]
        run = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        lines = [line for line in run.stdout.splitlines() if line.startswith("RUN ")]
        if not lines:
            sys.exit(f"{backend}: {(run.stderr or run.stdout)[-2000:]}")
        runs[backend] = json.loads(lines[-1][4:])
        print(json.dumps(runs[backend]), flush=True)
    reference = next(iter(runs.values()))["losses"]
    differences = {name: difference(run["losses"], reference) for name, run in runs.items()}
    result = {"steps": len(reference), "largest_difference": differences, **circumstances()}
    if options.out:
        options.out.write_text(json.dumps({**result, "runs": runs}, indent=2) + "\n")
    print(json.dumps(result))


def difference(found: list[float], reference: list[float]) -> float:
    """The largest relative difference of a step's loss."""
    return round(max(abs(a - b) / b for a, b in zip(found, reference, strict=True)), 5)


if __name__ == "__main__":
    main()
