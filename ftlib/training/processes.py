"""One run in several processes (torchrun, accelerate launch): a card each, one batch between them, one voice.

What a step sees must not depend on their number. `accelerate` deals the batches of one order to the processes in turn;
here the order is that of one process, and what is missing at an epoch's end is filled with rows of nothing.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from typing import Any

from ftlib import runtime
from ftlib.chunking import IGNORE
from ftlib.errors import SetupError

# Parts of a model that not every batch goes through.
SOMETIMES = ("expert", "vision", "visual", "audio")


def take_card() -> None:
    """Make the card of this process's rank the current one, before anything is put on the first.

    Raises:
        SetupError: there are fewer cards than processes.
    """
    import torch

    if not torch.cuda.is_available() or runtime.processes() == 1:
        return
    rank, cards = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= cards:
        raise SetupError(f"There are more processes than cards: set --nproc-per-node to {cards} at most.")
    torch.cuda.set_device(rank)


def take_cpu(arguments: Any) -> None:
    """Have a trainer without a GPU call its device "cpu": that of several processes is "cpu:0", a checkpoint of which
    torch can't load."""
    import torch

    vars(arguments)["_setup_devices"] = torch.device("cpu")


def may_lack_gradients(model: Any) -> bool:
    """Whether a step may leave trained weights without a gradient, for which DDP must look, at a cost.

    Of a dense model's adapter all have one in each step.
    """
    return any(
        weight.requires_grad and any(part in name for part in SOMETIMES) for name, weight in model.named_parameters()
    )


def share_rows(trainer: Any) -> None:
    """Have each step take the rows that it would take in one process.

    `accelerate` would fill the last batches of an epoch with rows that had their turn, which would be trained on twice;
    transformers would group rows of like length by the batches of one process. It must come after all that looks at
    the rows, which get an empty one at their end, and before what collates batches, which gets a batch of it.
    """
    processes = trainer.args.world_size
    if processes == 1:
        return
    from accelerate.data_loader import SeedableRandomSampler
    from accelerate.utils import broadcast_object_list
    from datasets import Dataset, concatenate_datasets
    from torch.utils.data import RandomSampler

    rows, every = trainer.train_dataset, trainer.args.train_batch_size * processes
    empty = Dataset.from_dict({name: [[]] for name in rows.column_names}, features=rows.features)
    trainer.train_dataset = concatenate_datasets([rows, empty])
    one = trainer._get_train_sampler(rows)
    if isinstance(one, RandomSampler):
        # As accelerate does it for one process.
        one = SeedableRandomSampler(rows, data_seed=trainer.args.data_seed)
    elif hasattr(one, "batch_size"):
        one.batch_size *= processes

    class Shared:
        def __len__(self) -> int:
            return -(-len(rows) // every) * every

        def __iter__(self) -> Iterator[int]:
            if isinstance(one, SeedableRandomSampler):
                # Not by `set_epoch`, which does not get here when an interrupted run goes on.
                one.set_epoch(int(trainer.state.epoch or 0))
            # Rows are grouped by length with the generator of the process: they must not differ.
            (order,) = broadcast_object_list([list(one)])
            yield from order
            yield from [len(rows)] * (len(self) - len(order))

    trainer._get_train_sampler = lambda dataset=None: Shared()
    collate = trainer.data_collator
    blank = {"input_ids": [trainer.processing_class.pad_token_id], "labels": [IGNORE]}
    if "seq_lengths" in rows.column_names:
        blank["seq_lengths"] = [1]
    trainer.data_collator = lambda features: collate([row if len(row["input_ids"]) else blank for row in features])


# --- one voice --------------------------------------------------------------------------------------------------------


@contextmanager
def first_speaks() -> Iterator[None]:
    """Let all processes but the first print nothing; what they raise is raised as ever."""
    if int(os.environ.get("RANK", "0")) == 0:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


_ended: list[int] = []  # this process's exit code, once its end is known


def start() -> None:
    """Let Ctrl-C and a failure end a process at once, even where it waits for another in a collective operation.

    To be called before anything registers an exit function: those run first then.
    """
    if runtime.processes() == 1:
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def leave() -> None:
        if _ended:
            sys.stdout.flush()
            sys.stderr.flush()
            # Without NCCL's destructors, which may wait for a process that is gone.
            os._exit(_ended[0])

    atexit.register(leave)


def finish() -> None:
    """Leave the group of a run that went well."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def last_word(code: int, message: str) -> int:
    """Print why a run fails, once for all of its processes.

    The launcher's store knows which of them was first; where there is none, all print.

    Returns:
        the exit code: of the first that failed.
    """
    if runtime.processes() > 1:
        found = _first_code(code)
        _ended.append(code if found is None else found)
        if found is not None:
            return found
    print(message, file=sys.stderr, flush=True)
    return code


def _first_code(code: int) -> int | None:
    """The exit code that another process has left in the launcher's store; None where `code` is the first."""
    import torch.distributed as dist

    key = f"ftlib/ended/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=5))
        if store.add(key, 1) > 1:
            return int(store.get(f"{key}/code"))
        store.set(f"{key}/code", str(code))
    except (KeyError, RuntimeError):
        pass
    return None
