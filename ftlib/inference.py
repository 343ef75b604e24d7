"""Base and tuned model in one: loading and token-weighted losses; `generation` has the answers.

The base is loaded once, with plain transformers + PEFT, and the adapter is switched off for the base's answers. (Not by
Unsloth: its inference mode with left-padded batches gave a wrong first answer.)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ftlib import chat, runtime
from ftlib.adapters import check_base
from ftlib.audit import RAW_SOURCES
from ftlib.errors import SetupError
from ftlib.models import load_tokenizer, model_not_found, model_path
from ftlib.workspace import read_manifest

ARMS = ("base", "tuned")


def load_arms(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """The base with the run's adapter on it, ftlib's tokenizer, and the run's settings.

    Raises:
        SetupError: the run is missing or unfinished, its base can't be loaded, or the adapter is of another one.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise SetupError(
            f"The run {folder.name} is missing or unfinished in {folder.parent}. Run notebook 03_train first."
        )
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    on_gpu = torch.cuda.is_available()
    # As wide as it was trained: cards without bf16 take fp16.
    dtype = (torch.bfloat16 if runtime.accelerator().bf16 else torch.float16) if on_gpu else torch.float32
    try:
        base = AutoModelForCausalLM.from_pretrained(
            model_path(settings["model"]), dtype=dtype, device_map={"": torch.cuda.current_device()} if on_gpu else None
        )
    except OSError as error:
        raise model_not_found(settings["model"], error) from error
    # PEFT says of an adapter of another base many lines, a warning, or nothing at all.
    check_base(folder, settings["model"])
    model = PeftModel.from_pretrained(base, folder / "adapter")
    return model.eval(), load_tokenizer(settings["model"], settings.get("chat_template", "own")), settings


def arm(model: Any, name: str) -> Any:
    """A context in which the model is the base or the tuned one."""
    return model.disable_adapter() if name == "base" else nullcontext()


def token_loss(model: Any, rows: Sequence[Mapping[str, Any]], pad_token_id: int, tokens: int = 4096) -> dict[str, Any]:
    """Sum of the negative log-likelihood over the tokens that carry loss; no mean of batch means anywhere.

    Args:
        rows: dicts of input_ids and labels.
        tokens: padded tokens of a batch, at most.

    Returns:
        nll (in nats), tokens (labels counted), loss (nll / tokens).
    """
    found = row_losses(model, rows, pad_token_id, tokens)
    total, counted = sum(row["nll"] for row in found), sum(row["tokens"] for row in found)
    return {"nll": total, "tokens": counted, "loss": total / counted if counted else None}


def row_losses(
    model: Any, rows: Sequence[Mapping[str, Any]], pad_token_id: int, tokens: int = 4096
) -> list[dict[str, Any]]:
    """Of each row: nll (nats), tokens (labels counted) and hits (labels that were the likeliest token)."""
    import torch

    found: list[dict[str, Any]] = [{} for _ in rows]
    for batch in _batches(rows, tokens):
        width = max(len(rows[n]["input_ids"]) for n in batch)
        ids, labels, mask = (
            torch.tensor([values + [filler] * (width - len(values)) for values in columns], device=model.device)
            for columns, filler in (
                ([list(rows[n]["input_ids"]) for n in batch], pad_token_id),
                ([list(rows[n]["labels"]) for n in batch], chat.IGNORE),
                ([[1] * len(rows[n]["input_ids"]) for n in batch], 0),
            )
        )
        # Not inference_mode: what a model caches under it (rotary tables) could not be trained through afterwards.
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
            target = labels[:, 1:]
            nll = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), target.flatten(), ignore_index=chat.IGNORE, reduction="none"
            ).view_as(target)
            hits = (logits.argmax(-1) == target).sum(1)  # never where there is no label
            sums = zip(
                nll.double().sum(1).tolist(), (target != chat.IGNORE).sum(1).tolist(), hits.tolist(), strict=True
            )
        for number, (loss, count, hit) in zip(batch, sums, strict=True):
            found[number] = {"nll": loss, "tokens": count, "hits": hit}
    return found


def _batches(rows: Sequence[Mapping[str, Any]], tokens: int) -> Iterator[list[int]]:
    """Numbers of rows of like length."""
    batch: list[int] = []
    for number in sorted(range(len(rows)), key=lambda n: len(rows[n]["input_ids"])):
        if batch and (len(batch) + 1) * len(rows[number]["input_ids"]) > tokens:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def held_out(validation: Iterable[Mapping[str, Any]], tokens: int) -> dict[str, list[Mapping[str, Any]]]:
    """The chats and the raw rows of a mixture's validation set, each up to a number of tokens, as `capped`.

    Args:
        validation: is read twice, each time as far as need be.
    """
    return {
        "chat": capped((row for row in validation if row["source"] not in (*RAW_SOURCES, "general", "replay")), tokens),
        "raw": capped((row for row in validation if row["source"] in RAW_SOURCES), tokens),
    }


def capped(rows: Iterable[Mapping[str, Any]], tokens: int) -> list[Mapping[str, Any]]:
    """The first rows that fit into a number of tokens; all of them where it is 0. At least one."""
    kept: list[Mapping[str, Any]] = []
    total = 0
    for row in rows:
        total += len(row["input_ids"])
        if tokens and kept and total > tokens:
            break
        kept.append(row)
    return kept
