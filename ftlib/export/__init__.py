"""A run as plain 16-bit weights: base and adapter merged, and both asked the same to see that they agree.

    python -m ftlib.export workspace/runs/NAME [--gguf q8_0] [--push owner/name]

writes `<run>/merged`, a folder that `from_pretrained`, vLLM and llama.cpp's converter load. Each weight is W + scale *
B @ A in fp32, rounded once, tensor by tensor from the base's files: beside the check, memory is a few GiB.

    ftlib.adapters     an adapter's files, whether they fit a base, and the weights of both in one
    publish            a GGUF by llama.cpp, and the hub
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftlib import chat
from ftlib.adapters import DTYPES, Adapter, base_files, base_skeleton, check_base, read_adapter, write_merged
from ftlib.errors import SetupError
from ftlib.export.publish import gguf, push
from ftlib.generation import decode, stop_tokens
from ftlib.models import DEMO, load_tokenizer, model_path
from ftlib.runtime import free_memory
from ftlib.workspace import file_hash, read_json, read_jsonl, read_manifest, write_json

__all__ = ["check_base", "gguf", "merge", "push"]
PROMPTS = (
    "Hello! What can you help me with?",
    "What is the capital of France?",
    "Explain in two sentences what a unit test is.",
    "Write a Python function that reverses a string.",
    "List three prime numbers and say why they are prime.",
    "Translate 'good morning' into Spanish and German.",
    "What does the HTTP status 404 mean?",
    "Summarise in one line: rain fell all night and the river rose.",
    "What is 17 times 23?",
    "Name a difference between a list and a tuple in Python.",
)
ANSWER_TOKENS = 48


def merge(
    folder: Path, out: Path | None = None, dtype: str = "bf16", prompts: Sequence[str] | None = None
) -> dict[str, Any]:
    """Merge a run's adapter into its base, ask both the same, and write the merged model.

    Args:
        folder: of a finished run.
        out: the folder to write, `<run>/merged` by default; a former export there is replaced.
        dtype: "bf16", "fp16" or "fp32".
        prompts: what both are asked. None: ten, half of them from the run's own training chats where they lie in its
            workspace. Empty: no check, which the record and the model card say.

    Returns:
        what export.json holds: agree, of; max_logprob_difference and mean_logprob_difference (nats, teacher-forced,
        over the tokens of the adapter's own greedy answers); prompts, with same, first_difference (token index) and
        both answers; dtype, computed_in, base, note, tied.

    Raises:
        SetupError: an unfinished run, an adapter of another base, no 16-bit weights, too little memory or disk.
    """
    if dtype not in DTYPES:
        raise SetupError(f"dtype={dtype!r} is unknown: use {', '.join(DTYPES)}.")
    if read_manifest(folder) is None:
        raise SetupError(f"The run {folder.name} is missing or unfinished in {folder.parent}. Run 03_train first.")
    out = out or folder / "merged"
    if out.exists() and not (out / "export.json").is_file():
        raise SetupError(f"{out} exists and is no export: move it away, or give another `out`.")
    settings = read_json(folder / "settings.json")
    name, template = settings["model"], settings.get("chat_template", "own")
    check_base(folder, name)
    adapter, skeleton = read_adapter(folder), base_skeleton(name)
    files = base_files(name, skeleton)
    size = 4 if dtype == "fp32" else 2
    weights = sum(p.numel() for p in skeleton.parameters())
    out.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(out.parent).free < 1.2 * weights * size:
        raise SetupError(f"{out.parent} has no {1.2 * weights * size / 2**30:.1f} GiB free: set `out` to another disk.")
    tokenizer = load_tokenizer(name, template)
    asked = list(_prompts(folder) if prompts is None else prompts)
    encoded = [chat.encode_prompt(tokenizer, [{"role": "user", "content": prompt}]) for prompt in asked]
    device, computed_in = _placement(weights, adapter.parameters, dtype) if asked else ("cpu", dtype)
    fresh = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        # One model at a time, and this one first: too little memory shows before the work.
        told = _ask(model_path(name), adapter, device, computed_in, tokenizer, encoded)
        tied = write_merged(adapter, files, skeleton, fresh, dtype)
        _write_configs(model_path(name), tokenizer, fresh, dtype, tied)
        found = _ask(str(fresh), None, device, computed_in, tokenizer, encoded, told)
        record = {
            **_compare(tokenizer, asked, told, found),
            "dtype": dtype,
            "computed_in": f"{computed_in} on {device}" if asked else None,
            "base": name if name == DEMO or not Path(name).expanduser().is_dir() else Path(name).name,
            "note": _note(settings),
            "tied": tied,
            "adapter_sha256": file_hash(adapter.file),
        }
        (fresh / "README.md").write_text(_card(folder.name, record), encoding="utf-8")
        write_json(fresh / "export.json", record)
        fresh.chmod(0o755)
        _take_place(fresh, out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    print(f"{out}: {agreement(record)}")
    return record


def _take_place(fresh: Path, out: Path) -> None:
    """Rename; a former export steps aside first, since a full folder can't be renamed over."""
    former = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.former."))
    try:
        if out.exists():
            out.rename(former / "export")
        fresh.rename(out)
    finally:
        if not out.exists() and (former / "export").exists():
            (former / "export").rename(out)
        shutil.rmtree(former, ignore_errors=True)


def _prompts(folder: Path) -> list[str]:
    """Five general ones and five of the run's training questions; general ones where there are none."""
    chats = folder.resolve().parent.parent / "chats.jsonl"
    rows = read_jsonl(chats) if chats.is_file() else iter(())
    turns = (row["messages"] for row in rows if row.get("split") == "train")
    own = [messages[0]["content"] for messages in turns if messages[0]["role"] == "user"]
    # Evenly over the file, which lies in order of kind; long ones would only take time.
    short = [question for question in dict.fromkeys(own) if len(question) <= 500]
    chosen = short[:: max(1, len(short) // 5)][:5]
    return [*PROMPTS[: 10 - len(chosen)], *chosen]


def _note(settings: Mapping[str, Any]) -> str:
    if settings.get("load_in_4bit"):
        return "The adapter was trained over the base in 4 bits and is merged into the base's 16-bit weights."
    return ""


def _write_configs(base: str, tokenizer: Any, folder: Path, dtype: str, tied: bool) -> None:
    """config.json as the base has it, since older readers (llama.cpp) know its names; generation config; tokenizer."""
    from transformers import GenerationConfig
    from transformers.utils.hub import cached_file

    config = read_json(Path(str(cached_file(base, "config.json"))))
    for known in ("_name_or_path", "torch_dtype", "dtype"):
        config.pop(known, None)
    # Both are read: the first by transformers 4 and vLLM, the second by transformers 5.
    config |= {"torch_dtype": DTYPES[dtype], "dtype": DTYPES[dtype], "tie_word_embeddings": tied}
    write_json(folder / "config.json", config)
    generation = cached_file(base, "generation_config.json", _raise_exceptions_for_missing_entries=False)
    values = read_json(Path(generation)) if generation else GenerationConfig().to_diff_dict()
    # What ends a turn in the training data must end an answer.
    stops = stop_tokens(tokenizer, values.get("eos_token_id", config.get("eos_token_id")))
    values |= {"eos_token_id": stops if len(stops) > 1 else stops[0]}
    write_json(folder / "generation_config.json", values)
    tokenizer.save_pretrained(folder)


# --- agreement --------------------------------------------------------------------------------------------------------


def _placement(weights: int, adapter: int, dtype: str) -> tuple[str, str]:
    """Device and precision in which one model with its adapter fits: the card, else the CPU, in fp32 if it can."""
    import torch

    short = "bf16" if dtype == "fp32" else dtype
    choices = [("cpu", "fp32", free_memory()), ("cpu", "bf16", free_memory())]
    if torch.cuda.is_available():
        choices.insert(0, ("cuda", dtype if dtype == "fp32" else short, torch.cuda.mem_get_info()[0]))
    for device, precision, free in choices:
        # PEFT holds the adapter in fp32; a quarter GiB is for the answer's activations.
        if weights * (4 if precision == "fp32" else 2) + adapter * 4 + 2**28 < free:
            return device, precision
    needed = (weights * 2 + adapter * 4) / 2**30 + 0.25
    raise SetupError(
        f"The check needs {needed:.1f} GiB for one model in 16 bits, and neither card nor machine has them free. "
        "Free some, or merge without the check: prompts=[] (--no-check)."
    )


def _ask(
    path: str,
    adapter: Adapter | None,
    device: str,
    precision: str,
    tokenizer: Any,
    encoded: Sequence[list[int]],
    told: Sequence[Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Load one model, let it answer each prompt greedily, alone, and free it.

    Args:
        told: answers whose tokens are scored; None: the model's own.

    Returns:
        for each prompt tokens (the end token included) and logprobs (of each scored token, in nats).
    """
    if not encoded:
        return []
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    where = {"": 0} if device == "cuda" else None
    model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, DTYPES[precision]), device_map=where)
    stops = stop_tokens(tokenizer, model.generation_config.eos_token_id)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter.file.parent))
    model.eval()
    # One at a time: in 16 bits an answer depends on the shape of the batch.
    answers = dict(decode(model, encoded, stops, max_new_tokens=ANSWER_TOKENS, batch_size=1))
    rows = []
    for number, prompt in enumerate(encoded):
        tokens = answers[number]["ids"]
        scored = told[number]["tokens"] if told else tokens
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([prompt + scored], device=model.device)).logits[0]
            logprobs = logits[len(prompt) - 1 : -1].float().log_softmax(-1)
        picked = logprobs[torch.arange(len(scored)), torch.tensor(scored)]
        rows.append({"tokens": tokens, "logprobs": picked.tolist()})
    del model
    gc.collect()
    torch.cuda.empty_cache()
    return rows


def _compare(tokenizer: Any, prompts: Sequence[str], told: Sequence[Any], found: Sequence[Any]) -> dict[str, Any]:
    rows, every = [], []
    for prompt, one, other in zip(prompts, told, found, strict=True):
        apart = [abs(x - y) for x, y in zip(one["logprobs"], other["logprobs"], strict=True)]
        every += apart
        a, b = one["tokens"], other["tokens"]
        first = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        rows.append(
            {
                "prompt": prompt,
                "same": a == b,
                "first_difference": None if a == b else first,
                "max_logprob_difference": max(apart),
                "mean_logprob_difference": sum(apart) / len(apart),
                "adapter": tokenizer.decode(a, skip_special_tokens=True),
                "merged": tokenizer.decode(b, skip_special_tokens=True),
            }
        )
    return {
        "agree": sum(row["same"] for row in rows),
        "of": len(rows),
        "max_logprob_difference": max(every, default=None),
        "mean_logprob_difference": sum(every) / len(every) if every else None,
        "prompts": rows,
    }


def agreement(record: Mapping[str, Any]) -> str:
    """One line on whether merged model and adapter answer alike."""
    if not record["of"]:
        return "NOT CHECKED against the adapter."
    numbers = f"log-probabilities differ by {record['max_logprob_difference']:.2g} nats at most"
    if record["agree"] == record["of"]:
        return f"merged model and adapter give the same {record['of']} answers; {numbers}."
    return (
        f"merged model and adapter DIFFER in {record['of'] - record['agree']} of {record['of']} answers; {numbers}; "
        f"weights in {record['dtype']}; see export.json."
    )


def _card(run: str, record: Mapping[str, Any]) -> str:
    """The model card. The base is named only where it is a hub id: a folder's name means nothing elsewhere."""
    hub = "/" in record["base"]
    front = ["---", "library_name: transformers", *([f"base_model: {record['base']}"] if hub else []), "---"]
    body = [
        f"# {run}",
        f"{record['base']} with an adapter trained by ftlib, merged in fp32 and rounded once to {record['dtype']}.",
        *([record["note"]] if record["note"] else []),
        f"Check against the adapter: {agreement(record)}",
    ]
    return "\n".join(front) + "\n\n" + "\n\n".join(body) + "\n"


def _up_to_date(folder: Path, dtype: str, *, checked: bool) -> bool:
    """Whether `<run>/merged` is this adapter's export; prints a line when it is."""
    path = folder / "merged" / "export.json"
    record = read_json(path) if path.is_file() else {}
    digest = file_hash(read_adapter(folder).file) if record else None
    if not record or (record["adapter_sha256"], record["dtype"]) != (digest, dtype) or (checked and not record["of"]):
        return False
    print(f"{path.parent} is up to date (delete it to make it anew): {agreement(record)}")
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0, or 1 after a SetupError's message."""
    parser = argparse.ArgumentParser(prog="python -m ftlib.export", description="Merge a run, and check the merge.")
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--dtype", default="bf16", choices=list(DTYPES))
    parser.add_argument("--no-check", action="store_true", help="don't ask adapter and merged model the same prompts")
    parser.add_argument("--gguf", metavar="TYPE", help="also write a GGUF of this quantisation, q8_0 for example")
    parser.add_argument("--push", metavar="OWNER/NAME", help="also upload the adapter to this repository of the hub")
    parser.add_argument("--push-merged", action="store_true", help="with --push: the merged model instead")
    parser.add_argument("--public", action="store_true", help="with --push: a public repository")
    asked = parser.parse_args(arguments)
    try:
        if not _up_to_date(asked.run, asked.dtype, checked=not asked.no_check):
            merge(asked.run, dtype=asked.dtype, prompts=[] if asked.no_check else None)
        if asked.gguf:
            print(gguf(asked.run / "merged", asked.gguf))
        if asked.push:
            print(push(asked.run / "merged" if asked.push_merged else asked.run, asked.push, private=not asked.public))
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
