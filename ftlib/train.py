"""LoRA on all seven projections, by Unsloth (default) or plain TRL + PEFT, on rows that ftlib has tokenised.

In a notebook:

    model, tokenizer = load_model(config)
    trainer = build_trainer(model, tokenizer, mixture.train, config, folder)
    result = train(trainer, config, folder)
    save_run(folder, trainer, config, mixture, result)
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftlib import runtime
from ftlib.errors import SetupError
from ftlib.mixture import Mixture, Order
from ftlib.models import load_tokenizer
from ftlib.progress import count_tokens_by_step, show_training
from ftlib.rows import longest
from ftlib.settings import TrainConfig, check_config, default_config, default_mixture
from ftlib.training import backends, batches, compiled
from ftlib.workspace import plain, write_json, write_jsonl

__all__ = [
    "TrainConfig",
    "build_trainer",
    "check_config",
    "default_config",
    "default_mixture",
    "load_model",
    "resolved_settings",
    "save_run",
    "train",
]
PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "unsloth", "unsloth_zoo", "bitsandbytes")


def load_model(config: TrainConfig) -> tuple[Any, Any]:
    """Load the base, put a fresh adapter on it, and return it with ftlib's tokenizer.

    Raises:
        SetupError: an impossible setting, a missing package, or a model that can't be loaded.
    """
    check_config(config)
    runtime.quiet_libraries()
    model, path = backends.load(config)
    model.ftlib_path = path
    print(f"{path['backend']} ({path['why']}), attention: {path['attention']}")
    return model, load_tokenizer(config.model, config.chat_template)


def build_trainer(
    model: Any,
    tokenizer: Any,
    rows: Any,
    config: TrainConfig,
    folder: Path,
    order: Order = "mixed",
) -> Any:
    """A TRL SFTTrainer over tokenised rows, its checkpoints under `folder`.

    Args:
        rows: a `datasets.Dataset` with input_ids and labels, as `Mixture.train`; or a list of such dicts.
        order: the mixture's; the rows of "raw_then_chat" are taken as they stand, all others are shuffled each epoch.

    Raises:
        SetupError: a row longer than max_length, or a setting that did not arrive in the trainer.
    """
    import torch
    from datasets import Dataset
    from transformers import Trainer
    from trl import SFTConfig, SFTTrainer

    if (length := longest(rows)) > config.max_length:
        raise SetupError(
            f"A row has {length} tokens, max_length is {config.max_length}: build the mixture with the same."
        )
    on_gpu = torch.cuda.is_available()
    path = model.ftlib_path
    in_order = order == "raw_then_chat"
    # Unsloth has no path for packed rows on a CPU. TRL's packing sorts rows by length, which would undo the order.
    packing = config.packing and (on_gpu or path["backend"] != "unsloth") and not in_order
    sampling = "random" if packing else "group_by_length"
    if config.packing and in_order and path["backend"] == "compiled":
        rows = batches.pack_in_order(rows, config.max_length)
    wanted = {
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler_type,
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "num_train_epochs": config.num_train_epochs,
        "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": config.per_device_train_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "optim": config.optim,
        "bf16": config.precision == "bf16",
        "max_length": config.max_length,
        "packing": packing,
        "packing_strategy": "bfd",
        # On the compiled path the layers see to it themselves.
        "gradient_checkpointing": config.checkpoint_layers != 0 and path["backend"] != "compiled",
        "seed": config.seed,
        "data_seed": config.seed,
        # Without packing, rows of like length share a batch, so that little of it is padding.
        "train_sampling_strategy": "sequential" if in_order else sampling,
    }
    arguments = SFTConfig(
        output_dir=str(folder / "checkpoints"),
        use_cpu=not on_gpu,
        fp16=False,
        # Reading the loss makes the host wait for the card, which a step of a small model is too short for.
        logging_steps=10 if path.get("cuda_graph") else 1,
        # It would put the mean of the steps before in place of a loss that is not a number.
        logging_nan_inf_filter=False,
        report_to="none",
        save_strategy="steps" if config.save_steps else "no",
        save_steps=config.save_steps or 500,
        save_total_limit=1,
        eval_strategy="no",
        shuffle_dataset=False,
        dataset_num_proc=None,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        **wanted,
    )
    dataset = Dataset.from_list(rows) if isinstance(rows, list) else rows
    names = ("input_ids", "labels", "seq_lengths")
    dataset = dataset.select_columns([name for name in names if name in dataset.column_names])
    trainer = SFTTrainer(model=model, processing_class=tokenizer, args=arguments, train_dataset=dataset)
    if path["backend"] == "compiled":
        compiled.attach(trainer, config.max_length)
    elif path["backend"] == "trl" and not on_gpu:
        # TRL 1.15's own loss is a Triton kernel, which has no CPU; transformers' gives the same number. As TRL's, it
        # must run without a KV cache: with one, transformers takes packed rows for a single text.
        def compute_loss(model: Any, inputs: dict[str, Any], *args: Any, **more: Any) -> Any:
            return Trainer.compute_loss(trainer, model, inputs | {"use_cache": False}, *args, **more)

        trainer.compute_loss = compute_loss
    # What the libraries resolved is what counts: a setting that they changed in silence stops the run here.
    for name, value in wanted.items():
        found = getattr(trainer.args, name)
        found = getattr(found, "value", found)
        if found != value:
            raise SetupError(f"{name}: {value!r} was asked for, the trainer has {found!r}. Set it to that to go on.")
    return trainer


def train(trainer: Any, config: TrainConfig, folder: Path, data: Any = None) -> dict[str, Any]:
    """Train to the end, going on from the last checkpoint of the same settings and data where there is one.

    Args:
        data: what identifies the rows (mixture settings, hashes of the inputs); a checkpoint of other data is dropped.

    Returns:
        seconds, steps, tokens (with padding left out), tokens_per_second, peak_memory_gib (0 on a CPU) and
        resumed_from (step); the numbers are of this process, not of the part before a resume.
    """
    import torch
    from transformers.trainer_utils import get_last_checkpoint

    checkpoints = folder / "checkpoints"
    settings = json.loads(json.dumps({"train": plain(config), "data": plain(data)}))
    marker = checkpoints / "settings.json"
    if checkpoints.is_dir() and (not marker.is_file() or json.loads(marker.read_text()) != settings):
        shutil.rmtree(checkpoints)
    write_json(marker, settings)
    for partial in checkpoints.glob("checkpoint-*"):
        if not (partial / "trainer_state.json").is_file():  # written last: the run was stopped while saving
            shutil.rmtree(partial)
    last = get_last_checkpoint(str(checkpoints))
    if last:
        print(f"Going on from {Path(last).name}")
    elif any(weight.any() for name, weight in trainer.model.named_parameters() if "lora_B" in name):
        # B is zero in a fresh adapter; an interrupted run leaves its trained one in a notebook's memory.
        raise SetupError("The adapter has been trained before and there is no checkpoint: call load_model again first.")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    count = count_tokens_by_step(trainer)
    show_training(trainer, count)
    began = time.perf_counter()
    trainer.train(resume_from_checkpoint=last)
    seconds = time.perf_counter() - began
    if config.adapter_scale != 1:
        # Here and not at saving, which may be repeated; the weights, so that whatever loads the adapter agrees.
        with torch.no_grad():
            for name, weight in trainer.model.named_parameters():
                if "lora_B" in name:
                    weight.mul_(config.adapter_scale)
    return {
        "seconds": round(seconds, 1),
        "steps": trainer.state.global_step,
        "tokens": count.tokens,
        "tokens_per_second": round(count.tokens / seconds, 1),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else 0.0,
        "resumed_from": int(last.rsplit("-", 1)[1]) if last else 0,
    }


def resolved_settings(trainer: Any) -> dict[str, Any]:
    """The settings as trainer and model hold them, not as they were asked for."""
    model, args = trainer.model, trainer.args
    lora = model.peft_config["default"]
    names = (
        "learning_rate lr_scheduler_type warmup_steps weight_decay max_grad_norm num_train_epochs max_steps "
        "per_device_train_batch_size gradient_accumulation_steps optim adam_beta1 adam_beta2 adam_epsilon bf16 fp16 "
        "max_length packing packing_strategy padding_free gradient_checkpointing seed data_seed train_sampling_strategy"
    ).split()
    values = {name: getattr(args, name) for name in names}
    return {
        **{name: getattr(value, "value", value) for name, value in values.items()},
        "lora": {
            k: plain(getattr(lora, k)) for k in ("r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules")
        },
        "trainable_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "dtypes": {
            "trainable": sorted({str(p.dtype) for p in model.parameters() if p.requires_grad}),
            "frozen": sorted({str(p.dtype) for p in model.parameters() if not p.requires_grad}),
        },
        "device": str(next(model.parameters()).device),
        "attention": model.config._attn_implementation,
    }


def save_run(folder: Path, trainer: Any, config: TrainConfig, mixture: Mixture, result: dict[str, Any]) -> None:
    """Write adapter, tokenizer, settings, resolved settings, audit and loss curve; drop the checkpoints.

    The manifest is the caller's to write, last.
    """
    adapter = folder / "adapter"
    # The name that the user knows, not this machine's path. PEFT would look it up on the hub to see whether the
    # embeddings were changed, which they never are here.
    trainer.model.peft_config["default"].base_model_name_or_path = config.model
    trainer.model.save_pretrained(adapter, save_embedding_layers=False)
    # PEFT's model card names a path of this machine and says nothing else.
    (adapter / "README.md").unlink(missing_ok=True)
    trainer.processing_class.save_pretrained(adapter)
    write_json(folder / "settings.json", {**asdict(config), "machine": asdict(runtime.accelerator())})
    write_json(folder / "resolved.json", {**resolved_settings(trainer), "result": result})
    write_json(folder / "audit.json", mixture.audit)
    curve = [entry for entry in trainer.state.log_history if "loss" in entry]
    write_jsonl(folder / "log.jsonl", curve)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
