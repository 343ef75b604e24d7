"""Code in answers: where it is, and Python that is run."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

LANGUAGES = {
    "python": ("python", "py", "python3"),
    "typescript": ("typescript", "ts", "tsx", "javascript", "js"),
}
# Of the process that runs an answer, by their names in `resource`; RLIMIT_NPROC does not bind root.
LIMITS = {"RLIMIT_CPU": 5, "RLIMIT_AS": 1 << 30, "RLIMIT_FSIZE": 1 << 20, "RLIMIT_NPROC": 0, "RLIMIT_CORE": 0}
SECONDS = 10.0  # on the wall clock
LONGEST_CODE = 50_000  # characters
LONGEST_REPLY = 1 << 20  # bytes

_SANDBOX = Path(__file__).parent / "sandbox.py"
# Where the loader of a Python that is not the system's finds its libraries; nothing else of the environment is passed.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.M | re.S)


def extract(answer: str, language: str, name: str) -> str:
    """The code of an answer: its fenced blocks up to the first that has the name, else the bare answer.

    Blocks of the language come before those without a tag, and these before others; a fence may be unfinished. What
    follows the block with the name (a usage, a second way) is left out.
    """
    blocks = [(found[2].lower(), textwrap.dedent(found[3])) for found in _FENCE.finditer(answer)]
    if not blocks:
        return answer.strip().strip("`").strip()
    tags = {tag for tag, _ in blocks}
    wanted = next((group for group in (set(LANGUAGES[language]), {""}) if group & tags), tags)
    chosen = []
    for tag, body in blocks:
        if tag in wanted:
            chosen.append(body)
            if re.search(rf"\b{re.escape(name)}\b", body):
                break
    return "\n".join(chosen)


def python_fault(answer: str, name: str, asserts: Sequence[str]) -> str:
    """What is wrong with an answer's code, run against asserts; empty where all of them hold.

    Args:
        asserts: `call == literal` or `call raises ExceptionName`. Only the calls go to the process.
    """
    expected = [_expectation(line) for line in asserts]
    status, found = run_python(extract(answer, "python", name), [call for call, _, _ in expected])
    if status != "values":
        return f"{status}: {found}"
    for (call, how, wanted), (outcome, text) in zip(expected, found, strict=True):
        if how == "raised" and not (outcome == "raised" and wanted in text.split()):
            return f"{call} did not raise {wanted}"
        if how == "value" and not (outcome == "value" and _is_literal(text, wanted)):
            return f"{call} is not {wanted!r}, but " + (
                f"raises {text.split()[0]}" if outcome == "raised" else text[:100]
            )
    return ""


def _expectation(line: str) -> tuple[str, str, Any]:
    call, raises, name = line.rpartition(" raises ")
    if raises:
        return call, "raised", name
    body = ast.parse(line, mode="eval").body
    assert isinstance(body, ast.Compare) and isinstance(body.ops[0], ast.Eq) and len(body.ops) == 1, line
    return ast.unparse(body.left), "value", ast.literal_eval(body.comparators[0])


def _is_literal(text: str, wanted: Any) -> bool:
    try:
        return bool(ast.literal_eval(text) == wanted)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False


def run_python(code: str, calls: Sequence[str]) -> tuple[str, Any]:
    """Run code in a process of its own, then evaluate calls in its names.

    The process starts in an empty folder, without environment, input or output, under LIMITS where the system has them,
    and is killed with its group after SECONDS; see `sandbox` for what it refuses, and that this is no jail. It is told
    the calls and not what they should give: code can't pass by leaving early, by objects that are equal to everything
    or by writing to the channel, only by the right values.

    Returns:
        ("values", [(kind, text), ...] of the calls), or "error", "refused" or "ended" and what is known of it.
    """
    if len(code) > LONGEST_CODE:
        return "error", f"more than {LONGEST_CODE:,} characters"
    job = json.dumps({"code": code, "calls": list(calls), "limits": LIMITS}).encode()
    with tempfile.TemporaryDirectory(prefix="ftlib-answer-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_SANDBOX)],
            cwd=folder,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        timer = threading.Timer(SECONDS, _kill, [process])
        timer.start()
        reply = b""
        try:
            assert process.stdin and process.stdout
            with suppress(OSError), process.stdin:  # it may die before it has read the job
                process.stdin.write(job)
            reply = process.stdout.read(LONGEST_REPLY)
        finally:
            timer.cancel()
            _kill(process)
            process.wait()
            if process.stdout:
                process.stdout.close()
    try:
        status, found = ast.literal_eval(reply.decode("utf-8"))
        if status == "values":
            # Whatever wrote it: as many pairs of texts as there are calls.
            found = [(str(kind), str(text)) for kind, text in found]
            return (status, found) if len(found) == len(calls) else ("ended", "with other values than asked for")
        return str(status)[:20], str(found)[:200]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return "ended", "without the values of the calls (left early, or over a limit of time or memory)"


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is not None:
        return
    if os.name == "posix":
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
