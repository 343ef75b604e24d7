"""One trial of a sweep: its process, its heartbeat, and what it left behind.

A trial's folder holds config.json (what to run), result.json (the trainer's last act), heartbeat.json (who runs it) and
the process's stdout.txt and stderr.txt.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftlib.errors import LossIsNaN, OutOfMemory
from ftlib.workspace import read_json, write_json

GRACE = 10.0
"""Seconds between asking a process to end and killing it."""
EXIT_CODES = {OutOfMemory.exit_code: "out of memory", LossIsNaN.exit_code: "the loss became NaN"}
INTERRUPTED = "interrupted"
TAKEN_OVER = "taken over"


def this_host() -> str:
    """Names the set of processes that a pid of this process can mean: machine, boot and container."""
    facts = [platform.node()]
    with contextlib.suppress(OSError):  # Linux alone has these
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        facts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(facts)


def process_start(pid: int) -> str | None:
    """When a process of this host began, in the system's own unit, or None where it is dead.

    A pid is given out anew after a while: only with its start does it name one process. "" where there is no /proc.
    """
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return ""
    try:
        # The fields after the name, which is in brackets and may hold anything: state is the first, start the 20th.
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if facts[0] in "ZX" else facts[19]


# --- heartbeat --------------------------------------------------------------------------------------------------------


def beat(folder: Path, attempt: int, child: int | None) -> None:
    """Write who runs the trial, and that they are alive now."""
    began = process_start(child) if child is not None else None
    owner = {"host": this_host(), "pid": os.getpid(), "start": process_start(os.getpid())}
    more = {"child": child, "child_start": began, "attempt": attempt, "time": time.time()}
    write_json(folder / "heartbeat.json", {**owner, **more})


def last_beat(folder: Path) -> dict[str, Any]:
    """What `beat` wrote last; {} where there is nothing to read (a shared disk may show half a file)."""
    try:
        found = read_json(folder / "heartbeat.json")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_abandoned(folder: Path, attempt: int, claimed: float, stale_after: float) -> bool:
    """Whether nobody runs this attempt any more.

    Args:
        claimed: when it was taken, in seconds since the epoch; counts until its first heartbeat.
        stale_after: seconds without a heartbeat after which its runtime counts as gone.
    """
    found = last_beat(folder)
    if found.get("attempt") != attempt:
        return time.time() - claimed > stale_after
    if found["host"] == this_host() and process_start(found["pid"]) != found["start"]:
        return True
    return time.time() - found["time"] > stale_after


def end_orphan(folder: Path) -> None:
    """End the trainer of an earlier attempt that outlived its parent on this host: it holds the GPU and the folder."""
    found = last_beat(folder)
    child = found.get("child")
    if child is None or found["host"] != this_host():
        return
    for sent in (signal.SIGTERM, signal.SIGKILL):
        asked = time.monotonic()
        while process_start(child) == found["child_start"] and time.monotonic() - asked < GRACE:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, sent)
            time.sleep(0.05)


# --- process ----------------------------------------------------------------------------------------------------------


def run_trial(
    folder: Path,
    settings: Mapping[str, Any],
    command: Sequence[str],
    beating: Callable[[int | None], bool],
    heartbeat: float,
    timeout: float,
) -> dict[str, Any]:
    """Run one trial to its end, or take what it has finished already.

    Args:
        settings: what config.json holds.
        command: gets the path of config.json as its last argument.
        beating: called with the child's pid every `heartbeat` seconds; False means that the trial is not ours any more.
        timeout: seconds until the trial is given up; 0 for no limit.

    Returns:
        {"result": ...} as `measured` returns it, or {"reason": why there is none, "stderr": its last lines}.
    """
    end_orphan(folder)
    _keep_only(folder, settings)
    write_json(folder / "config.json", settings)
    if (folder / "result.json").is_file():
        return measured(folder)
    reason = _run([*command, str(folder / "config.json")], folder, beating, heartbeat, timeout)
    if reason is None:
        return measured(folder)
    return {"reason": reason, "stderr": last_lines(folder / "stderr.txt")}


def _keep_only(folder: Path, settings: Mapping[str, Any]) -> None:
    # A folder of other settings is left of a sweep whose journal was deleted; its result would be taken for this one's.
    # The workspace may have moved.
    try:
        found = read_json(folder / "config.json")
    except FileNotFoundError:
        return
    except ValueError:
        found = {}
    if {**found, "workspace": None} != {**settings, "workspace": None}:
        shutil.rmtree(folder)


def _run(
    command: Sequence[str], folder: Path, beating: Callable[[int | None], bool], heartbeat: float, timeout: float
) -> str | None:
    """None where the process ended well, else the reason."""
    began = time.monotonic()
    with (folder / "stdout.txt").open("ab") as out, (folder / "stderr.txt").open("wb") as err:
        # A session of its own: Ctrl-C is ours to handle, and the trainer's own children end with it.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True)
        try:
            while True:
                if not beating(process.pid):
                    return TAKEN_OVER
                left = timeout - (time.monotonic() - began) if timeout else math.inf
                try:
                    code = process.wait(max(0.0, min(heartbeat, left)))
                    break
                except subprocess.TimeoutExpired:
                    if left <= heartbeat:
                        return f"not finished after {timeout:g} s"
        finally:
            _end(process)
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    if code:
        said = last_lines(folder / "stderr.txt", 1)
        return EXIT_CODES.get(code) or ": ".join([f"exit code {code}", *(line[:200] for line in said)])
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(GRACE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def measured(folder: Path) -> dict[str, Any]:
    """The numbers of result.json, losses in nats a token; forgetting is how much the general loss rose.

    Returns:
        {"result": {chat_loss, raw_loss, forgetting, tokens, seconds, ...}}, or {"reason", "stderr"} where the chat loss
        is missing or no number.
    """
    stderr = last_lines(folder / "stderr.txt")
    try:
        found = read_json(folder / "result.json")
        before, after = found["before"], found["after"]
        general = after["general"]["loss"] - before["general"]["loss"] if "general" in after else None
        result = {
            "chat_loss": float(after["chat"]["loss"]),
            "raw_loss": after["raw"]["loss"] if "raw" in after else None,
            "forgetting": general,
            "tokens": found["tokens"],
            "seconds": found["seconds"],
            **{name: found.get(name) for name in ("steps", "tokens_per_second", "peak_memory_gib")},
        }
    except FileNotFoundError:
        return {"reason": "it ended well but wrote no result.json", "stderr": stderr}
    except (ValueError, KeyError, TypeError) as error:
        return {"reason": f"its result.json can't be read ({type(error).__name__}: {error})", "stderr": stderr}
    if not math.isfinite(result["chat_loss"]):
        return {"reason": EXIT_CODES[4], "stderr": stderr}
    return {"result": result}


def last_lines(path: Path, count: int = 20) -> list[str]:
    """The last lines of a process's output that are not empty; of a progress bar only what it showed last."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - 2**16))
            text = handle.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = [line.rstrip().rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [line for line in lines if line][-count:]
