"""What machine this is: Colab or not, its accelerator, its secrets, where a workspace goes by default."""

from __future__ import annotations

import getpass
import importlib.util
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

COLAB_DRIVE = Path("/content/drive")


@dataclass(frozen=True)
class Accelerator:
    """kind is "cuda" or "cpu"; memory in GiB (the card's, or 0 on a CPU); bf16 says whether bf16 matmuls are fast."""

    kind: str
    name: str
    memory_gib: float
    count: int
    bf16: bool


def in_colab() -> bool:
    return "google.colab" in sys.modules or _has_colab()


def _has_colab() -> bool:
    try:
        return importlib.util.find_spec("google.colab") is not None
    except (ImportError, ValueError):
        return False


def default_workspace(*, use_drive: bool = False) -> Path:
    """The folder of a project that was given none: on Colab the runtime's disk or Drive, elsewhere ./workspace.

    Mounting Drive asks the user for consent, so it happens only with `use_drive=True`.
    """
    if not in_colab():
        return Path("workspace")
    if use_drive:
        from google.colab import drive  # type: ignore[import-not-found]

        drive.mount(str(COLAB_DRIVE))
        return COLAB_DRIVE / "MyDrive" / "ftlib"
    return Path("/content/ftlib")


def secret(name: str, *, ask: bool = False) -> str | None:
    """A secret from the environment, then Colab's secrets, then (with `ask`) a prompt; None where there is none.

    The value is returned only: never printed, never written to disk, never put into the environment.
    """
    if value := os.environ.get(name, "").strip():
        return value
    if in_colab():
        from google.colab import userdata  # type: ignore[import-not-found]

        # Three errors for one thing: not there, no access given to this notebook, and, outside the Colab page, a
        # time-out. All three mean that Colab has no answer.
        try:
            if value := (userdata.get(name) or "").strip():
                return value
        except (userdata.SecretNotFoundError, userdata.NotebookAccessError, userdata.TimeoutException) as error:
            print(f"{name}: not from Colab's secrets ({type(error).__name__})")
    if ask:
        return getpass.getpass(f"{name} (empty for none): ").strip() or None
    return None


def accelerator() -> Accelerator:
    """This process's card (the first one, but for torchrun's other processes), else the CPU."""
    import torch

    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(torch.cuda.current_device())
        return Accelerator(
            "cuda",
            facts.name,
            facts.total_memory / 2**30,
            torch.cuda.device_count(),
            torch.cuda.is_bf16_supported(including_emulation=False),
        )
    return Accelerator("cpu", f"CPU, {torch.get_num_threads()} threads", 0.0, 0, _cpu_has_bf16())


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware; elsewhere bf16 is emulated and slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def free_memory() -> int:
    """Bytes that the machine has to give; beyond all bounds where it can't be known (no Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return sys.maxsize
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), sys.maxsize)


def processes() -> int:
    """How many processes share a run: more than one with torchrun and accelerate launch."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def quiet_libraries() -> None:
    """Keep the training libraries off the network where they need not be, and their chatter out of the notebook."""
    os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
    # All cores for ftlib's batches; unset, a later fork (git) would warn and turn it off.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # tqdm's regret that it can't draw a widget; it draws text instead.
    warnings.filterwarnings("ignore", message="IProgress not found")
    # torch 2.13 on a name that accelerate passes on, and that older ones know alone.
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
