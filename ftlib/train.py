"""LoRA on all seven projections, or all weights, on rows that ftlib has tokenised: compiled blocks, Unsloth, plain TRL.

In a notebook:

    model, tokenizer = load_model(config)
    trainer = build_trainer(model, tokenizer, mixture.train, config, folder)
    result = train(trainer, config, folder, mixture=mixture)
    save_run(folder, trainer, config, mixture, result)

On a server, in a sweep, or on several cards:

    python -m ftlib.train config.json
    torchrun --nproc-per-node 2 -m ftlib.train config.json
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from ftlib import runtime
from ftlib.errors import SetupError
from ftlib.mixture import Mixture, Order
from ftlib.models import load_tokenizer
from ftlib.progress import count_tokens_by_step, live_plot, note_totals, show_training
from ftlib.rows import longest
from ftlib.settings import TrainConfig, check_config, default_config, default_mixture
from ftlib.training import backends, batches, compiled, faults, holding, processes, record, validation, whole
from ftlib.training.record import PACKAGES, resolved_settings, save_run
from ftlib.workspace import plain, write_json

__all__ = [
    "PACKAGES",
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


def load_model(config: TrainConfig) -> tuple[Any, Any]:
    """Load the base, put a fresh adapter on it, and return it with ftlib's tokenizer.

    Raises:
        SetupError: an impossible setting, a missing package, or a model that can't be loaded.
    """
    processes.take_card()
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
    dataset = Dataset.from_list(rows) if isinstance(rows, list) else rows
    held = holding.is_held(dataset, config, path["backend"], on_gpu)
    if held:
        dataset = holding.mark(dataset)
    if config.packing and in_order and path["backend"] == "compiled":
        dataset = batches.pack_in_order(dataset, config.max_length)
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
        "fp16": config.precision == "fp16",
        "max_length": config.max_length,
        "packing": packing,
        "packing_strategy": "bfd",
        # On the compiled path the layers see to it themselves.
        "gradient_checkpointing": config.checkpoint_layers != 0 and path["backend"] != "compiled",
        "seed": config.seed,
        "data_seed": config.seed,
        # With several processes, a label counts the same in whichever's batch it is.
        "average_tokens_across_devices": True,
        "ddp_find_unused_parameters": processes.may_lack_gradients(model),
        "ddp_broadcast_buffers": False,
        # Without packing, rows of like length share a batch, so that little of it is padding.
        "train_sampling_strategy": "sequential" if in_order else sampling,
    }
    arguments = SFTConfig(
        output_dir=str(folder / "checkpoints"),
        use_cpu=not on_gpu,
        # Reading the loss makes the host wait for the card, and the card for the next step's first kernel; a step of a
        # small model is too short for that.
        logging_steps=10 if path.get("cuda_graph") else 4 if path.get("compiled") else 1,
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
    if not on_gpu:
        processes.take_cpu(arguments)
    names = ("input_ids", "labels", "seq_lengths")
    dataset = dataset.select_columns([name for name in names if name in dataset.column_names])
    trainer = SFTTrainer(model=model, processing_class=tokenizer, args=arguments, train_dataset=dataset)
    processes.share_rows(trainer)
    if path["backend"] != "unsloth":
        whole.widen(model)  # TRL makes what is trained over a 4-bit base bf16
    if config.train_embeddings:
        whole.second_rate(trainer, config)
    if path["backend"] == "compiled":
        compiled.attach(trainer, config.max_length, config.hold_strength if held else 0.0)
    elif held:
        holding.attach(trainer, config.hold_strength)
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


def train(
    trainer: Any, config: TrainConfig, folder: Path, data: Any = None, mixture: Mixture | None = None
) -> dict[str, Any]:
    """Train to the end, going on from the last checkpoint of the same settings and data where there is one.

    Args:
        data: what identifies the rows (mixture settings, hashes of the inputs); a checkpoint of other data is dropped.
        mixture: for the held-out losses, and for the names of documents in a message.

    Returns:
        seconds, steps, tokens (with padding left out), tokens_per_second, of the whole run in all of its processes,
        whatever was interrupted; peak_memory_gib (0 on a CPU) and resumed_from (step) of this process; with a mixture,
        in the first process, also before and after: loss and tokens of held-out chat, held-out raw and general rows
        (`training.validation`).

    Raises:
        LossIsNaN: the loss became no number; the last good checkpoint is kept.
        OutOfMemory: training does not fit the card; the message has the next smaller settings.
        SetupError: the compiler failed.
    """
    import torch

    first = trainer.is_world_process_zero()
    with trainer.accelerator.main_process_first():
        last = _last_checkpoint(folder / "checkpoints", {"train": plain(config), "data": plain(data)}, change=first)
    if last:
        print(f"Going on from {Path(last).name}")
    elif whole.is_trained(trainer.model):
        # An interrupted run leaves its trained adapter in a notebook's memory.
        raise SetupError("The adapter has been trained before and there is no checkpoint: call load_model again first.")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    count = count_tokens_by_step(trainer)
    held_out = validation.groups(mixture, trainer.processing_class, config) if mixture else {}
    if held_out:
        validation.follow(trainer, held_out, config, count, live_plot())
    note_totals(trainer, count)
    show_training(trainer, count)
    faults.stop_at_nan(trainer, count.recent, mixture.train if mixture else None, folder)
    try:
        trainer.train(resume_from_checkpoint=last)
    except torch.OutOfMemoryError as error:
        raise faults.out_of_memory(config, runtime.accelerator()) from error
    except Exception as error:
        if told := faults.compiler_error(error):
            raise told from error
        raise
    if config.adapter_scale != 1:
        # Here and not at saving, which may be repeated; the weights, so that whatever loads the adapter agrees.
        whole.scale(trainer.model, config.adapter_scale)
    history = trainer.state.log_history
    total = next((entry for entry in reversed(history) if "tokens" in entry), {"tokens": 0, "seconds": 0.0})
    rate = total["tokens"] / max(total["seconds"], 1e-9)
    result = {
        "seconds": round(total["seconds"], 1),
        "steps": trainer.state.global_step,
        "tokens": total["tokens"],
        "tokens_per_second": round(rate, 1),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if torch.cuda.is_available() else 0.0,
        "resumed_from": int(last.rsplit("-", 1)[1]) if last else 0,
    }
    if mixture:
        result |= record.card_share(trainer.model, config, mixture.train, rate / trainer.args.world_size)
    if held_out and first:
        before = next(entry for entry in history if "validation" in entry)
        pad = trainer.processing_class.pad_token_id
        result["before"] = before["validation"]
        result["after"] = validation.measure(trainer.model, held_out, config, pad)
        history.append({"step": trainer.state.global_step, "validation": result["after"]})
    return result


def _last_checkpoint(checkpoints: Path, settings: Any, *, change: bool) -> str | None:
    """The last whole checkpoint of these settings; with `change`, others are dropped and the settings noted."""
    from transformers.trainer_utils import get_last_checkpoint

    if change:
        settings = json.loads(json.dumps(settings))
        marker = checkpoints / "settings.json"
        if checkpoints.is_dir() and (not marker.is_file() or json.loads(marker.read_text()) != settings):
            shutil.rmtree(checkpoints)
        write_json(marker, settings)
        for partial in checkpoints.glob("checkpoint-*"):
            if not (partial / "trainer_state.json").is_file():  # written last: the run was stopped while saving
                shutil.rmtree(partial)
    return get_last_checkpoint(str(checkpoints))


if __name__ == "__main__":
    from ftlib.training.from_file import main

    sys.exit(main(sys.argv[1:]))
