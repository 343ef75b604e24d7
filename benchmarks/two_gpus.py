"""One run in two processes beside the same run in one: losses step by step, and speed. For a machine with two GPUs.

    python benchmarks/two_gpus.py [--cases demo,1.5b] [--out results/two_gpus.json] [--toy compiled]

1.5b is a Llama shape of random weights, r = 256, 1 x 8 sequences of 8,192 tokens a step; demo is SmolLM2-135M, r = 64,
4 x 8. Both processes share the batch of the settings (`torchrun -m ftlib.train`). Speed is that of the last half of the
steps. `--toy BACKEND` runs it small on a CPU. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from train import circumstances, environment

from ftlib.mixture import split_of
from ftlib.workspace import open_workspace, read_json, read_jsonl, write_json, write_jsonl, write_manifest

LENGTH = 8192
REPEATS = 6  # of each row, so that no more text is tokenised than need be
COMMON = {"backend": "compiled", "max_length": LENGTH, "learning_rate": 2e-4, "optim": "adamw_torch_fused",
          "checkpoint_layers": 0, "eval_steps": 0, "eval_tokens": 20_000, "save_steps": 0}  # fmt: skip
# Settings, and of a shape: hidden size, MLP, layers, heads, key/value heads.
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...] | None]] = {
    "1.5b": ({"lora_r": 256, "lora_alpha": 256, "max_steps": 20, "gradient_accumulation_steps": 8},
             (2048, 6912, 24, 16, 8)),
    "demo": ({"model": "demo", "lora_r": 64, "lora_alpha": 64, "max_steps": 30, "per_device_train_batch_size": 4,
              "gradient_accumulation_steps": 8}, None),
}  # fmt: skip
TOY = {"max_length": 128, "precision": "fp32", "lora_r": 4, "lora_alpha": 4, "eval_tokens": 200, "max_steps": 6}


def make_model(folder: Path, sizes: tuple[int, ...], dtype: str) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from ftlib.models import load_tokenizer

    hidden, inner, layers, heads, groups = sizes
    config = LlamaConfig(
        vocab_size=49152, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=groups, max_position_embeddings=LENGTH, dtype=dtype,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, dtype))
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        LlamaForCausalLM(config).save_pretrained(folder)
    load_tokenizer("demo").save_pretrained(folder)


def make_workspace(root: Path, tokens: int) -> None:
    """Documents of random words, of unlike length, and a chat for one in twenty."""
    space = open_workspace(root)
    chance = random.Random(0)
    words = "the file option server value path returns reads when build error cache config is of a key line".split()
    documents, chats, made = [], [], 0
    while made < tokens:
        number, size = len(documents), chance.choice((300, 800, 2000, 5000, 12000))
        text = " ".join(chance.choice(words) + chance.choice(("", ".", ",", "\n")) for _ in range(size))
        id = f"docs:{number}"
        documents.append({"id": id, "source": "docs", "title": f"Page {number}", "path": f"{number}.md", "text": text})
        made += round(1.3 * size)
        if number % 20 == 0:
            messages = [{"role": "user", "content": f"What is on page {number}?"},
                        {"role": "assistant", "content": text[:200]}]  # fmt: skip
            chat = {"id": f"chat:{number}", "messages": messages, "method": "page_qa", "document_id": id}
            chats.append({**chat, "split": split_of(id)})
    for path, rows, stage in ((space.documents, documents, "01_scrape"), (space.chats, chats, "02_synth")):
        write_jsonl(path, rows)
        write_manifest(path, stage=stage, settings={}, counts={})


def run(config: Path, processes: int) -> None:
    command, env = [sys.executable], environment()
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    else:
        env["CUDA_VISIBLE_DEVICES"] = env.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    done = subprocess.run([*command, "-m", "ftlib.train", str(config)], env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-4000:])


def speed(log: list[dict[str, Any]]) -> float:
    """Tokens with loss a second in the last half of the steps."""
    first, last = log[len(log) // 2 - 1], log[-1]
    return (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])


def differences(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> list[float]:
    """Relative ones of the losses; a CUDA graph's are means over ten steps, which are compared with such means."""
    losses = {entry["step"]: entry["loss"] for entry in two}
    found = []
    for begin, entry in zip([0, *(e["step"] for e in one)], one, strict=False):
        steps = range(begin + 1, entry["step"] + 1)
        found.append(abs(sum(losses[step] for step in steps) / len(steps) - entry["loss"]) / entry["loss"])
    return found


def case(name: str, work: Path, toy: str) -> dict[str, Any]:
    changes, sizes = CASES[name]
    settings = COMMON | changes | ({**TOY, "backend": toy} if toy else {})
    rows = settings.get("per_device_train_batch_size", 1) * settings["gradient_accumulation_steps"]
    root = work / name
    make_workspace(root, int(1.5 * settings["max_steps"] * rows * settings["max_length"] / REPEATS))
    if sizes:
        settings["model"] = str(root / "model")
        make_model(root / "model", (32, 64, 2, 4, 2) if toy else sizes, "float32" if toy else "bfloat16")
    logs, results = [], []
    for processes in (1, 2):
        folder = root / "runs" / str(processes)
        mixture = {"max_length": settings["max_length"], "repeats": {"docs": REPEATS}}
        config = root / f"{processes}.json"
        write_json(config, {"workspace": str(root), "folder": f"runs/{processes}", "train": settings,
                            "mixture": mixture, "keep": "metrics"})  # fmt: skip
        run(config, processes)
        logs.append(list(read_jsonl(folder / "log.jsonl")))
        results.append(read_json(folder / "result.json"))
    assert all(b["tokens"] > a["tokens"] for log in logs for a, b in pairwise(log))
    rates = [speed(log) for log in logs]
    return {
        "case": name,
        "steps": results[0]["steps"],
        "losses": [[entry["loss"] for entry in log] for log in logs],
        "largest_relative_difference": max(differences(*logs)),
        "same_tokens": results[0]["tokens"] == results[1]["tokens"],
        "tokens_per_second": [round(rate) for rate in rates],
        "speed_up": round(rates[1] / rates[0], 3),
        "peak_memory_gib": [result["peak_memory_gib"] for result in results],
        "held_out_after": [result["after"] for result in results],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--toy", default="", help="a backend: small, on a CPU")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() and os.access(memory, os.W_OK) else None) as work:
        cases = [case(name, Path(work), options.toy) for name in options.cases.split(",")]
    result = {**circumstances(), "cases": cases}
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
