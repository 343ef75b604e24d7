"""Runs an answer's Python code: the script of the process that `code.run_python` starts. Nothing of ftlib is in it.

It reads a job from stdin, runs the code, evaluates the calls in the code's names, and writes what they gave to what was
its stdout. It holds no expected value and no secret, so that code which reads its frames, leaves early, replaces
builtins or writes to the channel itself still has to give the right values.

The audit hook ends the process at the first event that is not on its list (sockets, processes, ctypes, files outside
of its folder). That stops what a model writes by accident; it is no jail for code made to break out (PEP 578), and
says nothing of the network for certain: who expects an attack checks in a container.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

LONGEST = 10_000  # characters of a value

_ALLOWED = frozenset(
    "compile exec marshal.load marshal.loads marshal.dumps object.__getattr__ object.__setattr__ code.__new__ "
    "function.__new__ sys._getframe sys._getframemodulename sys.excepthook sys.unraisablehook builtins.id "
    "builtins.input builtins.input/result time.sleep array.__new__ pickle.find_class".split()
)
# They can start a process, reach the network or write memory, some of them without an event of their own.
_NO_IMPORT = frozenset(
    "socket _socket subprocess _posixsubprocess multiprocessing _multiprocessing ctypes _ctypes cffi pty mmap "
    "_testcapi _testinternalcapi _xxsubinterpreters _interpreters".split()
)


def main() -> None:
    job = json.loads(sys.stdin.buffer.read())
    channel = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    write, leave = os.write, os._exit
    _limit(job["limits"])
    _guard(channel)
    try:
        outcome: tuple[str, Any] = ("values", _values(job["code"], job["calls"]))
    except BaseException as error:  # SystemExit, too: who leaves before the calls has not answered
        outcome = ("error", _said(error))
    left = memoryview(repr(outcome).encode("utf-8", "replace"))
    while left:
        left = left[write(channel, left) :]
    leave(0)


def _limit(limits: dict[str, int]) -> None:
    """Sets each limit, by its name in `resource`, as far as the system has it."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):
            continue


def _guard(channel: int) -> None:
    """Ends the process at what is not allowed. What the hook reads is bound here: no name of it can be replaced."""
    library = tuple(filter(None, sys.path))
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    allowed, no_import, outside = _ALLOWED, _NO_IMPORT, ("/", "\\", ":", "..")
    kind, text, find, write, leave = type, str, any, os.write, os._exit

    def hook(event: str, args: tuple[Any, ...]) -> None:
        # A subclass of str could run code of its own in here, and see this frame.
        if kind(event) is text and event in allowed:
            return
        name: Any = args[0] if args else None
        if kind(name) is text and kind(event) is text:
            if event == "import" and name.partition(".")[0] not in no_import:
                return
            # The standard library to read, without what is installed (ftlib's own items, too) ...
            reads = event == "os.listdir" or (event == "open" and not args[2] & writing)
            if reads and name.startswith(library) and ".." not in name and "-packages" not in name:
                return
            # ... and plain names, in the folder of its own that it can't leave.
            if event == "open" and not find(sign in name for sign in outside):
                return
        write(channel, f"('refused', {event!r})".encode())
        leave(1)

    sys.addaudithook(hook)


def _values(code: str, calls: list[str]) -> list[tuple[str, str]]:
    """("value", its repr) or ("raised", the names of the exception's classes) of each call."""
    module = type(sys)("answer")  # dataclasses and the like look their module up
    sys.modules["answer"] = module
    names = module.__dict__
    exec(compile(code, "<answer>", "exec", dont_inherit=True), names)
    found = []
    for call in calls:
        try:
            value = repr(_plain(eval(compile(call, "<call>", "eval", dont_inherit=True), names)))
            found.append(("value", value if len(value) <= LONGEST else "..."))
        except Exception as error:
            found.append(("raised", " ".join(kind.__name__ for kind in type(error).__mro__)))
    return found


def _plain(value: Any) -> Any:
    """The value as literals can write it: what compares equal to a dict, list, ... becomes one."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    for kind in (list, tuple, set):
        if isinstance(value, kind):
            return kind(map(_plain, value))
    if isinstance(value, frozenset):
        return set(map(_plain, value))
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)
    return value


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


if __name__ == "__main__":
    main()
