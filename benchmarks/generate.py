"""Answers a second: ours beside a loop of single prompts, batches of 16 and transformers' continuous batching.

    python benchmarks/generate.py [--model demo] [--limit 200] [--tokens 96] [--out results/generate.json]

One base with an adapter of random weights on it, which is switched off and on; the prompts of the general items and the
sample's general chats, in one shuffled order; greedy. On a GPU in bf16, and ours and single prompts in fp32 too,
for `equal_fp32`: the share of our answers that are those of the single prompt. What is slow runs on as many prompts as
fit into its seconds; rates are of the tokens that were answered, the ones that end an answer included. The last line
is JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from train import circumstances

from ftlib import chat, sample
from ftlib.general_items import general_items
from ftlib.generation import decode, stop_tokens
from ftlib.inference import ARMS, arm
from ftlib.models import load_tokenizer, model_path

BATCH = 16
Found = Iterator[tuple[int, list[int]]]


def questions(limit: int) -> list[str]:
    rows = [item["prompt"] for item in general_items(("knowledge", "format", "python"))]
    rows += [row["question"] for row in sample.questions("general_chats")]
    random.Random(0).shuffle(rows)
    return rows[:limit]


def load(name: str, dtype: str, rank: int) -> Any:
    """The base with an adapter that changes what it says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    where = {"": 0} if torch.cuda.is_available() else None
    base = AutoModelForCausalLM.from_pretrained(model_path(name), dtype=getattr(torch, dtype), device_map=where)
    model = get_peft_model(base, LoraConfig(r=rank, lora_alpha=rank, target_modules="all-linear"))
    torch.manual_seed(0)
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.02 / rank**0.5)
    return model.eval()


def padded(model: Any, prompts: Sequence[list[int]], stops: list[int], tokens: int, pad: int, size: int) -> Found:
    """transformers' generate, padded on the left, `size` prompts of like length at a time."""
    import torch

    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number])) if size > 1 else range(len(prompts))
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    # So that the seconds are spent on all lengths.
    random.Random(0).shuffle(batches)
    for batch in batches:
        width = max(len(prompts[number]) for number in batch)
        ids = torch.tensor([[pad] * (width - len(prompts[number])) + prompts[number] for number in batch])
        mask = torch.tensor([[0] * (width - len(prompts[number])) + [1] * len(prompts[number]) for number in batch])
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=tokens,
            do_sample=False,
            repetition_penalty=1.0,
            eos_token_id=stops,
            pad_token_id=pad,
        )[:, width:].tolist()
        for number, row in zip(batch, out, strict=True):
            end = next((at for at, token in enumerate(row) if token in stops), len(row) - 1)
            yield number, row[: end + 1]


def continuous(model: Any, prompts: Sequence[list[int]], stops: list[int], tokens: int, pad: int) -> Found:
    """transformers' continuous batching as it comes, warm-up included."""
    from transformers import GenerationConfig

    config = GenerationConfig(max_new_tokens=tokens, do_sample=False, eos_token_id=stops, pad_token_id=pad)
    found = model.generate_batch(prompts, generation_config=config)
    if len(found) < len(prompts):
        raise RuntimeError(f"{len(found)} of {len(prompts)} answers")
    for number, answer in enumerate(found.values()):
        if answer.error is not None:
            raise RuntimeError(str(answer.error))
        yield number, list(answer.generated_tokens)


def measured(answers: Callable[[Sequence[list[int]]], Found], prompts: Sequence[list[int]], seconds: float) -> Any:
    """Rate and answers of one arm, after a first short call that is not timed."""
    import torch

    on_gpu = torch.cuda.is_available()
    try:
        with torch.no_grad():
            for _ in answers(prompts[:2]):
                pass
            if on_gpu:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            began, found = time.perf_counter(), {}
            for number, ids in answers(prompts):
                found[number] = ids
                if time.perf_counter() - began > seconds:
                    break
        took = time.perf_counter() - began
    except Exception as error:  # of a peer: the others go on
        return {"error": f"{type(error).__name__}: {error}"[:500]}, {}
    number = sum(map(len, found.values()))
    rate = {"prompts": len(found), "tokens": number, "seconds": round(took, 2)}
    rate["tokens_per_second"] = round(number / took, 1)
    if on_gpu:
        rate["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return rate, found


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo", help="demo, or a folder or name of the hub")
    parser.add_argument("--limit", type=int, default=200, help="prompts")
    parser.add_argument("--tokens", type=int, default=96, help="of an answer, at most")
    parser.add_argument("--rank", type=int, default=64, help="of the adapter")
    parser.add_argument("--seconds", type=float, default=15, help="of single prompts and of batches of 16, each")
    parser.add_argument("--arms", default="single,padded16,ours,continuous")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    tokenizer = load_tokenizer(options.model)
    prompts = [chat.encode_prompt(tokenizer, [{"role": "user", "content": one}]) for one in questions(options.limit)]
    on_gpu, arms = torch.cuda.is_available(), options.arms.split(",")
    runs = {"bfloat16": arms, "float32": ["single", "ours"]} if on_gpu else {"float32": arms}
    results: dict[str, Any] = {}
    equal: list[bool] = []
    ratios: list[float] = []
    for dtype, kinds in runs.items():
        model = load(options.model, dtype, options.rank)
        common = (stop_tokens(tokenizer, model.generation_config.eos_token_id), options.tokens)
        pad = tokenizer.pad_token_id

        def ours(asked: Sequence[list[int]], model: Any = model, common: Any = common, pad: int = pad) -> Found:
            for number, answer in decode(model, asked, common[0], max_new_tokens=common[1], pad_token_id=pad):
                yield number, answer["ids"]

        for name in ARMS:
            single: dict[int, list[int]] = {}
            for kind in kinds:
                ways: dict[str, Any] = {
                    "single": lambda asked, m=model, c=common, p=pad: padded(m, asked, *c, p, 1),
                    "padded16": lambda asked, m=model, c=common, p=pad: padded(m, asked, *c, p, BATCH),
                    "continuous": lambda asked, m=model, c=common, p=pad: continuous(m, asked, *c, p),
                    "ours": ours,
                }
                timed = options.seconds if kind in ("single", "padded16") else float("inf")
                with arm(model, name):
                    rate, found = measured(ways[kind], prompts, timed)
                single = found if kind == "single" else single
                same = [found[number] == ids for number, ids in single.items() if number in found]
                if kind != "single" and same:
                    rate["equal_to_single"] = f"{sum(same)} of {len(same)}"
                if kind == "ours" and dtype == "float32":
                    equal += same
                results[f"{dtype} {name} {kind}"] = rate
                print(f"{dtype} {name} {kind}: {json.dumps(rate)}", flush=True)
            pair = [results.get(f"{dtype} {name} {kind}", {}) for kind in ("ours", "single")]
            if dtype == next(iter(runs)) and all("tokens_per_second" in one for one in pair):
                ratios.append(pair[0]["tokens_per_second"] / pair[1]["tokens_per_second"])
        del model, ours, ways
        gc.collect()
    summary = {
        # The lower one of adapter off and on.
        "speedup_over_single": round(min(ratios), 1) if ratios else None,
        "equal_fp32": sum(equal) / len(equal) if equal else None,
        "compared_fp32": len(equal),
        "tokens_per_second": {name: rate.get("tokens_per_second") for name, rate in results.items()},
        "model": options.model if options.model == "demo" else Path(options.model).name,
        "prompts": len(prompts),
        "tokens": options.tokens,
        **circumstances(),
    }
    if options.out:
        options.out.write_text(json.dumps({**summary, "arms": results}, indent=2) + "\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
