"""Training speed on a GPU: ours beside Unsloth as its notebooks set it and plain TRL + PEFT, in one run.

    python benchmarks/train.py [--out results/train.json] [--arms ours_full,ours_mix]

Mistral 7B's shape with random weights, r = 512, 8,192 tokens, bf16: on full rows, and on rows of the lengths that the
case study's mixture has (`case_study_lengths.json`), packed. Then SmolLM2-135M on its own lengths. Each arm is a
process. What is timed are whole steps, loading and optimizer included, after those that compile; tokens are those with
loss. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ftlib.workspace import installed

HERE = Path(__file__).resolve().parent
LENGTH = 8192
PACKAGES = ("torch", "transformers", "trl", "peft", "unsloth", "bitsandbytes", "triton")
# As Unsloth's notebooks: its own checkpointing, 8-bit AdamW, one sequence a batch. TRL: gradient checkpointing, SDPA.
NOTEBOOK = {"checkpoint_layers": -1, "optim": "adamw_8bit"}
OURS = {"backend": "compiled", "checkpoint_layers": 0, "optim": "adamw_torch_fused"}
SMALL = {"lora_r": 64, "lora_alpha": 64}
FIT40_GIB = 38.0
FIT40_LAYERS = (20, 22)  # recomputed ones; the fewest that stay within
WARM = 6  # steps that compile and are not timed
ARMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "trl_full": ("7b", "full", {"backend": "trl", **NOTEBOOK}),
    "unsloth_full": ("7b", "full", {"backend": "unsloth", **NOTEBOOK}),
    "ours_full": ("7b", "full", OURS),
    "trl_mix": ("7b", "mix", {"backend": "trl", **NOTEBOOK}),
    "unsloth_mix": ("7b", "mix", {"backend": "unsloth", **NOTEBOOK}),
    "ours_mix": ("7b", "mix", OURS),
    "unsloth_mended_mix": ("7b", "mix", {"backend": "unsloth", **NOTEBOOK}),
    "ours_fit40": ("7b", "full", {**OURS, "optim": "adamw_8bit"}),
    "ours_r768": ("7b", "full", {**OURS, "optim": "adamw_8bit", "checkpoint_layers": -1, "lora_r": 768}),
    "unsloth_smollm2_mix": ("135m", "mix", {"backend": "unsloth", **NOTEBOOK, **SMALL}),
    "smollm2_mix": ("135m", "mix", {**OURS, **SMALL, "per_device_train_batch_size": 4}),
}


def make_shape(folder: Path) -> None:
    """Mistral 7B Instruct v0.2's shape with random weights, and a tokenizer that is not used."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    from ftlib.models import load_tokenizer

    config = MistralConfig(max_position_embeddings=32768, rope_theta=1e6, sliding_window=None, pad_token_id=0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = MistralForCausalLM(config)
    model.save_pretrained(folder)
    load_tokenizer("demo").save_pretrained(folder)


def rows(kind: str, model: str, number: int) -> list[dict[str, Any]]:
    chance = random.Random(0)
    lengths = json.loads((HERE / "case_study_lengths.json").read_text())["mistral" if model == "7b" else "smollm2"]
    lengths = [LENGTH] * number if kind == "full" else [min(length, LENGTH) for length in lengths]
    made = []
    for length in lengths:
        ids = [chance.randrange(100, 30_000) for _ in range(length)]
        made.append({"input_ids": ids, "labels": list(ids)})
    return made


def arm(name: str, shape: str, steps: int, changes: dict[str, Any]) -> dict[str, Any]:
    """One arm, in this process."""
    from ftlib.settings import TrainConfig
    from ftlib.train import build_trainer, load_model
    from ftlib.training import backends, flops
    from ftlib.training.estimates import recomputed

    model_name, kind, settings = ARMS[name]
    settings = {"lora_r": 512, "lora_alpha": 512, **settings, **changes}
    config = TrainConfig(
        model=shape if model_name == "7b" else "demo",
        max_length=LENGTH,
        save_steps=0,
        max_steps=WARM + steps,
        **settings,
    )
    if name in ("unsloth_full", "unsloth_mix", "unsloth_smollm2_mix"):
        backends._mend_packed_attention = lambda: "as it comes"
    began = time.perf_counter()
    model, tokenizer = load_model(config)
    import torch
    from transformers import TrainerCallback

    batch = config.per_device_train_batch_size
    data = rows(kind, model_name, (WARM + steps + 2) * batch)
    trainer = build_trainer(model, tokenizer, data, config, Path(tempfile.mkdtemp()))
    ready = time.perf_counter() - began
    marks: list[float] = []
    tokens: list[int] = []
    documents: list[list[int]] = []

    class Marks(TrainerCallback):
        def on_step_end(self, *args: Any, **_: Any) -> None:
            # Not after every step: a host that waits would hide what it can do meanwhile.
            if len(tokens) == WARM:
                torch.cuda.synchronize()
                marks.append(time.perf_counter())

    step = trainer.training_step

    def stepping(model: Any, inputs: dict[str, Any], *more: Any) -> Any:
        positions = inputs.get("position_ids")
        labels = inputs["labels"]
        tokens.append((labels[..., 1:] != -100).sum())
        if positions is not None and len(tokens) > WARM:
            documents.append(positions)
        return step(model, inputs, *more)

    trainer.training_step = stepping
    trainer.add_callback(Marks())
    trainer.train()
    torch.cuda.synchronize()
    seconds = time.perf_counter() - marks[0]
    counted = [int(number) for number in tokens[WARM:]]
    lengths = [LENGTH]
    if documents:
        lengths = []
        for positions in documents:
            flat = positions.flatten()
            begins = (flat == 0).nonzero().flatten().tolist()
            lengths += [end - at for at, end in zip(begins, [*begins[1:], len(flat)], strict=True)]
    shape_ = flops.shape_of(model.config)
    layers = recomputed(config, shape_.layers)
    model_work, hardware_work = flops.work(shape_, config.lora_r, flops.mean_context(lengths), layers)
    peak = flops.peak_flops(torch.cuda.get_device_name()) or float("nan")
    rate = sum(counted) / seconds
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "arm": name,
        "tokens_per_second": round(rate),
        "step_ms": round(1e3 * seconds / len(counted), 1),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
        "reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 1),
        "model_flops_share": round(rate * model_work / peak, 3),
        "hardware_flops_share": round(rate * hardware_work / peak, 3),
        "mean_document": round(sum(lengths) / len(lengths)),
        "ready_s": round(ready, 1),
        "to_first_timed_step_s": round(marks[0] - began - ready, 1),
        "losses": [round(loss, 4) for loss in losses],
        "path": model.ftlib_path,
        "settings": settings,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--shape", default="")
    parser.add_argument("--set", default="{}", help="settings of every arm, as JSON")
    parser.add_argument("--steps", type=int, default=16)
    options = parser.parse_args()
    if options.arm:
        found = arm(options.arm, options.shape, options.steps, json.loads(options.set))
        print("ARM " + json.dumps(found))
        return
    names = options.arms.split(",")
    shape = Path(options.shape) if options.shape else None
    if shape is None and any(ARMS[name][0] == "7b" for name in names):
        # In memory where there is room: 14.5 GB are read once an arm.
        memory = Path("/dev/shm")
        roomy = memory.is_dir() and shutil.disk_usage(memory).free > 20e9
        shape = Path(tempfile.mkdtemp(dir=memory if roomy else None)) / "shape"
        code = "import sys; from pathlib import Path; import train; train.make_shape(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", code, str(shape)], check=True, cwd=HERE, env=environment())
    arms: dict[str, Any] = {}
    for name in names:
        # Of the small model nearly an epoch, so that packs which are not full count as often as they come.
        steps = options.steps * (3 if ARMS[name][0] == "135m" else 1)
        command = [sys.executable, str(Path(__file__).resolve()), "--shape", str(shape), "--steps", str(steps)]
        for layers in FIT40_LAYERS if name == "ours_fit40" else (None,):
            changes = json.loads(options.set) | ({} if layers is None else {"checkpoint_layers": layers})
            run = subprocess.run(
                [*command, "--arm", name, "--set", json.dumps(changes)],
                capture_output=True,
                text=True,
                env=environment(),
                check=False,
            )
            lines = [line for line in run.stdout.splitlines() if line.startswith("ARM ")]
            failed = {"arm": name, "error": (run.stderr or run.stdout)[-1500:]}
            arms[name] = json.loads(lines[-1][4:]) if lines else failed
            print(json.dumps(arms[name]), flush=True)
            if options.out:
                options.out.write_text(json.dumps(summary(arms), indent=2) + "\n")
            if arms[name].get("peak_gib", 0) <= FIT40_GIB:
                break
    if shape is not None and not options.shape:
        shutil.rmtree(shape.parent)
    result = summary(arms)
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "arms"}))


def environment() -> dict[str, str]:
    paths = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}


def summary(arms: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {name: found.get("tokens_per_second") for name, found in arms.items()}
    if "ours_fit40" in arms:
        result["ours_fit40_peak_gib"] = arms["ours_fit40"].get("peak_gib")
    return {**result, **circumstances(), "arms": arms}


def circumstances() -> dict[str, Any]:
    """Date, card and versions of what was measured."""
    import torch

    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    versions = {package: installed(package) for package in PACKAGES}
    return {"date": datetime.now(UTC).date().isoformat(), "card": card, "versions": versions}


if __name__ == "__main__":
    main()
