"""What a run's folder holds: settings asked for and resolved, data, losses, speed, memory, adapter, model card."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlib import report, runtime
from ftlib.progress import curves
from ftlib.rows import lengths
from ftlib.training import flops, holding, whole
from ftlib.training.estimates import recomputed
from ftlib.workspace import installed, plain, read_json, write_json, write_jsonl

if TYPE_CHECKING:
    from ftlib.mixture import Mixture
    from ftlib.settings import TrainConfig

PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "unsloth", "unsloth_zoo", "bitsandbytes")


def resolved_settings(trainer: Any) -> dict[str, Any]:
    """The settings as trainer and model hold them, not as they were asked for; of a trainer that has trained."""
    model, args = trainer.model, trainer.args
    lora = model.peft_config["default"]
    full = not any("lora_" in name for name, _ in model.named_parameters())
    names = (
        "learning_rate lr_scheduler_type warmup_steps weight_decay max_grad_norm num_train_epochs max_steps "
        "per_device_train_batch_size gradient_accumulation_steps optim adam_beta1 adam_beta2 adam_epsilon bf16 fp16 "
        "max_length packing packing_strategy padding_free gradient_checkpointing seed data_seed train_sampling_strategy"
        " world_size ddp_find_unused_parameters"
    ).split()
    values = {name: getattr(args, name) for name in names}
    return {
        **{name: getattr(value, "value", value) for name, value in values.items()},
        "method": "full" if full else "lora",
        "lora": None
        if full
        else {k: plain(getattr(lora, k)) for k in ("r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules")},
        "trained_whole": sorted({name.rpartition(".")[2] for name in whole.wrappers(model)}),
        # Of each group; several where embedding and head have their own.
        "peak_learning_rates": [g["initial_lr"] for g in trainer.optimizer.param_groups if g["params"]],
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "dtypes": {
            "trainable": sorted({str(p.dtype) for p in model.parameters() if p.requires_grad}),
            "frozen": sorted({str(p.dtype) for p in model.parameters() if not p.requires_grad}),
        },
        "device": str(next(model.parameters()).device),
        "attention": model.config._attn_implementation,
        "path": plain(model.ftlib_path),
    }


def card_share(model: Any, config: TrainConfig, rows: Any, tokens_per_second: float) -> dict[str, float | None]:
    """The share of the card's peak that the model's work took, and that of all work done (`flops`); None on a CPU."""
    machine = runtime.accelerator()
    peak = flops.peak_flops(machine.name) if machine.kind == "cuda" else None
    if not peak:
        return {"model_flops_share": None, "hardware_flops_share": None}
    shape = flops.shape_of(model.config)
    context = flops.mean_context(lengths(rows))
    again = recomputed(config, shape.layers, model.ftlib_path["backend"])
    held = holding.is_held(rows, config, model.ftlib_path["backend"], machine.kind == "cuda")
    works = flops.work_of(shape, config, context, again, held)
    return {
        name: round(tokens_per_second * work / peak, 4)
        for name, work in zip(("model_flops_share", "hardware_flops_share"), works, strict=True)
    }


def loss_table(result: Mapping[str, Any]) -> list[dict[str, str]]:
    """The held-out losses of a run (nats a token) before and after, for `report.table`."""
    return [
        {
            "held-out": name,
            "loss before": f"{before['loss']:.3f}",
            "loss after": f"{result['after'][name]['loss']:.3f}",
            "change": f"{result['after'][name]['loss'] - before['loss']:+.3f}",
            "tokens": f"{before['tokens']:,}",
        }
        for name, before in result.get("before", {}).items()
    ]


def save_run(folder: Path, trainer: Any, config: TrainConfig, mixture: Mixture, result: Mapping[str, Any]) -> None:
    """Write adapter, tokenizer, settings, resolved settings, audit, curves and model card; drop the checkpoints.

    The manifest is the caller's to write, last.
    """
    adapter = folder / "adapter"
    # The name that the user knows, not this machine's path. PEFT would look it up on the hub to see whether the
    # embeddings got more rows, which they never do here; trained ones are saved in any case.
    trainer.model.peft_config["default"].base_model_name_or_path = config.model
    trainer.model.save_pretrained(adapter, save_embedding_layers=False)
    trainer.processing_class.save_pretrained(adapter)
    write_json(folder / "settings.json", {**asdict(config), "machine": asdict(runtime.accelerator())})
    versions = {name: version for name in PACKAGES if (version := installed(name))}
    write_json(folder / "resolved.json", {**resolved_settings(trainer), "versions": versions, "result": plain(result)})
    write_json(folder / "audit.json", mixture.audit)
    write_card(folder)
    save_curves(folder, trainer)


def save_curves(folder: Path, trainer: Any) -> None:
    """Write the losses by step and the measurements of held-out ones; drop the checkpoints, which nothing needs now."""
    steps, measured = curves(trainer.state.log_history)
    write_jsonl(folder / "log.jsonl", steps)
    write_jsonl(folder / "validation.jsonl", measured)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def write_card(folder: Path, evaluation: Mapping[str, Any] | None = None) -> None:
    """The adapter's README.md, in place of PEFT's, which names a path of this machine and says nothing else.

    Args:
        folder: a run's.
        evaluation: results of 04_eval (schema 2), where there are some.

    Raises:
        SetupError: the evaluation is of another schema.
    """
    evaluated = report.card(evaluation) if evaluation else []
    settings, resolved = read_json(folder / "settings.json"), read_json(folder / "resolved.json")
    result, lora = resolved["result"], resolved["lora"]
    method = "all weights, saved whole (modules_to_save)"
    if lora:
        method = f"LoRA on all seven projections, r = {lora['r']}, alpha = {lora['lora_alpha']}"
        if resolved["trained_whole"]:
            method += f"; {', '.join(resolved['trained_whole'])} whole"
    rates = sorted(set(resolved["peak_learning_rates"]), reverse=True)
    slower = f" (embedding and head {rates[-1]:g})" if len(rates) > 1 else ""
    shown = {
        "base": f"`{settings['model']}`",
        "method": method,
        "learning rate": f"{settings['learning_rate']:g}{slower}, {settings['lr_scheduler_type']}",
        "length": f"{settings['max_length']:,} tokens",
        "trained on": f"{result['tokens']:,} tokens in {result['steps']:,} steps, {result['seconds']:,.0f} s",
        "seed": settings["seed"],
        "backend": resolved["path"]["backend"],
    }
    tags = [*(["- lora"] if lora else []), "- ftlib"]
    lines = ["---", "library_name: peft", "tags:", *tags, "---", "", f"# {folder.name}", ""]
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in shown.items()), ""]
    if losses := loss_table(result):
        lines += ["Held-out losses, in nats a token:", ""]
        lines += [f"| {' | '.join(losses[0])} |", "| --- " * len(losses[0]) + "|"]
        lines += [*(f"| {' | '.join(row.values())} |" for row in losses), ""]
    if evaluated:
        lines += ["## Evaluation", *evaluated, ""]
    lines += ["Made with ftlib. Versions: " + ", ".join(f"{n} {v}" for n, v in resolved["versions"].items()) + "."]
    (folder / "adapter" / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
