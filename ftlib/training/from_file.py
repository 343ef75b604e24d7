"""One run from a file of settings: for sweeps, servers and several cards. `python -m ftlib.train config.json`."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ftlib import replay, runtime
from ftlib.errors import OutOfMemory, SetupError
from ftlib.mixture import Mixture, MixtureConfig, build_mixture
from ftlib.settings import TrainConfig, changed, default_mixture
from ftlib.train import build_trainer, load_model, train
from ftlib.training import faults, processes
from ftlib.training.record import PACKAGES, save_curves, save_run
from ftlib.workspace import Workspace, open_workspace, read_json, read_jsonl, require, write_json, write_manifest


def run_file(path: Path) -> dict[str, Any]:
    """One run from a file of "workspace", "folder", "train", "mixture", "keep" and "retry", all but the first optional.

    `folder` lies in the workspace ("runs/NAME", or a sweep's trial), `train` and `mixture` are fields of TrainConfig
    and MixtureConfig, `keep` is "adapter" or "metrics", `retry` tells how often to take the next smaller settings
    where the card is full. Several processes (torchrun, accelerate launch) share the batch that the settings name; they
    do not retry, since those whose card is not full wait for the others.

    Returns:
        what `train` returns; the first process writes it to result.json too, last.
    """
    asked = read_json(path)
    unknown = sorted(asked.keys() - {"workspace", "folder", "train", "mixture", "keep", "retry"})
    if unknown or "workspace" not in asked:
        raise SetupError(f"{path}: {', '.join(unknown) or 'workspace'} is {'unknown' if unknown else 'missing'}.")
    space = open_workspace(asked["workspace"])
    require(space, "documents", "chats")
    folder = space.root / asked.get("folder", "runs/run")
    if not folder.resolve().is_relative_to(space.root.resolve()):
        raise SetupError(f"{path}: the folder {asked['folder']} is not in the workspace {space.root}.")
    config = changed(TrainConfig(), asked.get("train", {}))
    mixing = changed(default_mixture(config), asked.get("mixture", {}))
    inputs = {"documents": space.documents, "chats": space.chats}
    trainer, mixture, config, result = _trained(space, folder, config, mixing, inputs, asked.get("retry", 0))
    if trainer.is_world_process_zero():
        if asked.get("keep", "adapter") == "adapter":
            save_run(folder, trainer, config, mixture, result)
            plan = {"train": asdict(config), "mixture": asdict(mixing)}
            write_manifest(folder, stage="03_train", settings=plan, inputs=inputs, counts=result, packages=PACKAGES)
        else:
            save_curves(folder, trainer)
        write_json(folder / "result.json", result)
    trainer.accelerator.wait_for_everyone()
    return result


def _trained(
    space: Workspace, folder: Path, config: TrainConfig, mixing: MixtureConfig, inputs: dict[str, Path], retry: int
) -> tuple[Any, Mixture, TrainConfig, dict[str, Any]]:
    """Trainer, mixture, result, and the settings that fitted: those asked for, or the first smaller ones of `retry`."""
    data = {"mixture": mixing, "inputs": space.hashes(inputs)}
    own = replay.records(space, config, mixing.replay_tokens)
    mixture: Mixture | None = None
    while True:
        shared = _shared(config)
        model, tokenizer = load_model(config)
        chats = chain(read_jsonl(space.chats), own)
        mixture = mixture or build_mixture(read_jsonl(space.documents), chats, tokenizer, mixing)
        trainer = build_trainer(model, tokenizer, mixture.train, shared, folder, mixing.order)
        try:
            return trainer, mixture, config, train(trainer, config, folder, data=data, mixture=mixture)
        except OutOfMemory as error:
            if retry < 1 or error.smaller is None or runtime.processes() > 1:
                raise
            print(f"{error}\nTrying that.", file=sys.stderr)
            config, retry = error.smaller, retry - 1
        # Here, where no traceback holds them any more.
        del model, trainer
        faults.free_memory()


def _shared(config: TrainConfig) -> TrainConfig:
    """The settings of one of several processes that share a batch: fewer accumulated batches, or smaller ones."""
    number = runtime.processes()
    batch, accumulated = config.per_device_train_batch_size, config.gradient_accumulation_steps
    if accumulated % number == 0:
        return replace(config, gradient_accumulation_steps=accumulated // number)
    if batch % number == 0:
        return replace(config, per_device_train_batch_size=batch // number)
    raise SetupError(
        f"{number} processes can't share a batch of {batch} x {accumulated} rows: set gradient_accumulation_steps "
        f"to a multiple of {number}."
    )


def main(arguments: Sequence[str]) -> int:
    """0; 2 after a wrong setting, 3 where memory was too small, 4 where the loss was no number.

    Of several processes all end with the code of the one that failed first, which alone says why; torchrun ends with 1
    then, and names the code.
    """
    if len(arguments) != 1:
        return processes.last_word(2, "python -m ftlib.train config.json")
    processes.start()
    try:
        with processes.first_speaks():
            run_file(Path(arguments[0]))
    except SetupError as error:
        return processes.last_word(error.exit_code, str(error))
    except Exception:
        if runtime.processes() == 1:
            raise
        return processes.last_word(1, traceback.format_exc())
    processes.finish()
    return 0
