"""Reading git objects by the git command: no checkout, no filters, no hooks, none of the repository's configuration.

A repository that is being read is an environment (`reading`), handed to the functions here as `env`. Git 2.31 or later.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

from ftlib.errors import SetupError

Env = dict[str, str]
Attributes = dict[bytes, dict[str, str]]

ATTRIBUTES_LIMIT = 500_000
"""Bytes of one .gitattributes file; the rules of a larger one are not used."""
ATTRIBUTES_SECONDS = 30.0
"""What git may take to match a tree's paths with such rules."""

BIG = 10_000_000
"""Bytes of a file from which on git does not compare its lines: bounds what one file of a pull request takes."""
_SETTINGS = ("core.quotePath=false", "safe.directory=*", "core.hooksPath=/dev/null", f"core.bigFileThreshold={BIG}")
_COMMAND = ["git", *(part for setting in _SETTINGS for part in ("-c", setting))]
_FIXED = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
    # A question that nobody can answer would hang a notebook: no prompt, no password window, no ssh dialogue.
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "LC_ALL": "C",
}


class GitError(SetupError):
    """A git command failed; `stderr` is what it said."""

    def __init__(self, command: str, stderr: str):
        self.stderr = stderr.strip()
        last = self.stderr.splitlines()[-1] if self.stderr else "it gave no reason"
        super().__init__(f"git {command} failed: {last}. If the repository is damaged, `git fsck` in it says where.")


class Entry(NamedTuple):
    """One row of a tree: `size` in bytes, None for a submodule or an object that the repository lacks."""

    path: bytes
    mode: str
    oid: str
    size: int | None


def environment(**more: str) -> Env:
    """The environment of every git process: the user's, less what would point git elsewhere."""
    # Inside a hook or an alias GIT_DIR and its like name another repository. Ways to the network stay as they are.
    ways = ("GIT_SSH", "GIT_SSL_", "GIT_PROXY_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_") or key.startswith(ways)}
    kept.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
    return {**kept, **_FIXED, **more}


def start(
    args: Iterable[str],
    env: Env,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    stdin: int | IO[bytes] = subprocess.PIPE,
) -> subprocess.Popen[bytes]:
    """Start git with pipes on stdin and stdout.

    Raises:
        SetupError: git is not installed.
    """
    try:
        return subprocess.Popen([*_COMMAND, *args], stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=env)
    except FileNotFoundError as error:
        raise SetupError(
            "git is not installed, and repositories are read through it. Install it (`apt-get install git`, "
            "`brew install git` or https://git-scm.com) and run again."
        ) from error


@contextmanager
def running(args: Iterable[str], env: Env, **pipes: int | IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """As `start`; what ends the block early, a stop button or a reader that has enough, kills the process."""
    with start(args, env, **pipes) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            if process.stdin:
                with suppress(OSError):  # what it was not sent
                    process.stdin.close()
            raise


def git(*args: str, env: Env | None = None, stdin: bytes = b"") -> bytes:
    """Run git to its end and return its stdout.

    Raises:
        GitError: it failed.
        SetupError: git is not installed.
    """
    with start(args, env or environment(), stderr=subprocess.PIPE) as process:
        out, err = process.communicate(stdin)
    if process.returncode:
        raise GitError(_verb(args), err.decode("utf-8", "replace"))
    return out


def _verb(args: Iterable[str]) -> str:
    return next((arg for arg in args if not arg.startswith("-")), "")


def records(*args: str, env: Env) -> Iterator[bytes]:
    """Run git and yield what it prints piece by piece; each ends with a NUL.

    Raises:
        GitError: it failed; what it printed until then has been yielded.
    """
    with tempfile.TemporaryFile() as errors, running(args, env, stderr=errors, stdin=subprocess.DEVNULL) as process:
        assert process.stdout
        rest = b""
        while data := process.stdout.read(1 << 16):
            *whole, rest = (rest + data).split(b"\0")
            yield from whole
        if process.wait():
            errors.seek(0)
            raise GitError(_verb(args), errors.read().decode("utf-8", "replace"))


def line(*args: str, env: Env | None = None) -> str:
    """The one line that a git command prints: a path, a name, an id."""
    return os.fsdecode(git(*args, env=env)).removesuffix("\n")


@contextmanager
def reading(git_dir: Path) -> Iterator[Env]:
    """Yield the environment in which git reads the objects of `git_dir`, and nothing else of it.

    An empty stand-in repository borrows the object folder. The real one's configuration, hooks, attributes and
    promisor remote are never looked at: an object that a partial clone lacks is missing, and nobody dials out for it.
    """
    ask = ("rev-parse", "--show-object-format", "--path-format=absolute", "--git-common-dir")
    kind, _, place = line(f"--git-dir={git_dir}", *ask).partition("\n")
    with tempfile.TemporaryDirectory(prefix="ftlib-git-") as folder:
        stand_in = Path(folder, "git")
        (stand_in / "refs").mkdir(parents=True)  # by hand: `git init` would read templates
        (stand_in / "HEAD").write_text("ref: refs/heads/main\n")
        version = f"repositoryFormatVersion = 1\n[extensions]\nobjectFormat = {kind}\n"
        plain = "repositoryFormatVersion = 0\n"
        (stand_in / "config").write_text(f"[core]\nbare = true\n{plain if kind == 'sha1' else version}")
        shallow = Path(place, "shallow")
        if shallow.is_file():  # without it git looks for the parents that a shallow clone lacks, and fails
            (stand_in / "shallow").write_bytes(shallow.read_bytes())
        yield environment(
            GIT_DIR=str(stand_in),
            GIT_OBJECT_DIRECTORY=str(Path(place, "objects")),
            GIT_INDEX_FILE=str(stand_in / "index"),
            GIT_CONFIG_GLOBAL=os.devnull,
        )


def shallow_commits(env: Env) -> set[str]:
    """The commits at which a shallow clone ends: git shows them without their parents."""
    path = Path(env["GIT_DIR"], "shallow")
    return set(path.read_text().split()) if path.is_file() else set()


def tree(env: Env, commit: str) -> list[Entry]:
    """Every file of a commit, in path order."""
    entries: dict[bytes, Entry] = {}
    for row in records("ls-tree", "-r", "-z", "-l", commit, env=env):
        facts, path = row.split(b"\t", 1)
        mode, _, oid, size = facts.decode().split()
        # A damaged tree may hold a name twice.
        entries.setdefault(path, Entry(path, sys.intern(mode), oid, int(size) if size.isdigit() else None))
    return list(entries.values())


def blobs(env: Env, oids: Iterable[str]) -> Generator[bytes | None, None, None]:
    """The bytes of objects, in order; None for one that is missing. One is in memory at a time.

    Raises:
        GitError: an object is damaged.
    """
    with running(["cat-file", "--batch"], env) as process:
        into, out = process.stdin, process.stdout
        assert into and out
        asked: deque[str] = deque()

        def answer() -> bytes | None:
            oid, header = asked.popleft(), out.readline().split()
            if header[1:] == [b"missing"]:
                return None
            data = out.read(int(header[2]) + 1) if len(header) == 3 else b""
            if not data.endswith(b"\n"):
                raise GitError("cat-file", f"object {oid} can't be read")
            return data[:-1]

        for oid in oids:
            into.write(oid.encode() + b"\n")
            asked.append(oid)
            # Some ahead, so that git need not wait; few enough that the questions never fill their pipe.
            if len(asked) == 64:
                into.flush()
                for _ in range(32):
                    yield answer()
        into.flush()
        while asked:
            yield answer()


def sizes(env: Env, names: Iterable[str]) -> list[tuple[str, int]]:
    """The id of each object and its bytes, found without reading it; ("", 0) for one that is missing.

    Args:
        names: ids, or an id's tree: `ID^{tree}`.
    """
    asked = "".join(f"{name}\n" for name in names).encode()
    rows = git("cat-file", "--batch-check=%(objectname) %(objectsize)", env=env, stdin=asked).decode().splitlines()
    facts = (row.split() for row in rows)
    return [("", 0) if size == "missing" else (oid, int(size)) for oid, size in facts]


# --- attributes -------------------------------------------------------------------------------------------------------


def load_attributes(env: Env, entries: Iterable[Entry], wanted: Sequence[str]) -> list[str]:
    """Make `attribute_reader` answer by the `.gitattributes` files of a tree; returns notes on those left out.

    `check-attr --source` needs git 2.40; an index that holds the attribute files alone does the same everywhere.

    Args:
        wanted: attributes; where no file names one of them, git need not be asked at all.
    """
    rules = [e for e in entries if e.path.rpartition(b"/")[2] == b".gitattributes" and e.mode.startswith("100")]
    small = [e for e in rules if e.size is not None and e.size <= ATTRIBUTES_LIMIT]
    notes = []
    if large := sum((e.size or 0) > ATTRIBUTES_LIMIT for e in rules):
        notes.append(f"{large} .gitattributes of more than {ATTRIBUTES_LIMIT:,} bytes: its rules were not used.")
    names = [name.encode() for name in wanted]
    if any(name in data for data in blobs(env, [e.oid for e in small]) if data for name in names):
        rows = (f"{e.mode} {e.oid} 0\t".encode() + e.path + b"\0" for e in small)
        # Names that Windows or a Mac could not hold are data here. What git never holds, such as `..`, it passes over.
        any_name = ("-c", "core.protectNTFS=false", "-c", "core.protectHFS=false")
        git(*any_name, "update-index", "-z", "--index-info", env=env, stdin=b"".join(rows))
    return notes


@contextmanager
def attribute_reader(env: Env, wanted: Sequence[str], notes: list[str]) -> Iterator[Callable[..., Attributes]]:
    """Yield a function from paths to what is specified of them: path -> attribute -> "set", "unset" or a text.

    Patterns can be made that take git for ever: what it was not told within ATTRIBUTES_SECONDS, all questions together,
    it is not asked again, `notes` gets a line, and nothing is specified of any path.
    """
    if not Path(env["GIT_INDEX_FILE"]).is_file():
        yield lambda paths: {}
        return
    with running(["check-attr", "--cached", "-z", "--stdin", *wanted], env) as process:
        into, out = process.stdin, process.stdout
        assert into and out
        left = ATTRIBUTES_SECONDS

        def ask(paths: list[bytes]) -> Attributes:
            into.write(b"".join(path + b"\0" for path in paths))
            into.flush()
            said, missing = [b""], 3 * len(wanted) * len(paths)
            while missing > 0:
                said.append(out.read1(1 << 16))  # type: ignore[attr-defined]  # a buffered reader
                missing -= said[-1].count(b"\0")
                if not said[-1]:
                    raise BrokenPipeError
            fields = b"".join(said).split(b"\0")
            found: Attributes = {}
            for path, name, value in zip(fields[:-1:3], fields[1::3], fields[2::3], strict=True):
                if value != b"unspecified":
                    found.setdefault(path, {})[name.decode()] = value.decode("utf-8", "replace")
            return found

        def answer(paths: Iterable[bytes]) -> Attributes:
            nonlocal left
            found: Attributes = {}
            for some in _portions(paths):
                if left <= 0:
                    return {}
                began = time.monotonic()
                watch = threading.Timer(left, process.kill)
                watch.start()
                try:
                    found |= ask(some)
                    left -= time.monotonic() - began
                except BrokenPipeError:
                    late = time.monotonic() - began >= left
                    why = f"took git more than {ATTRIBUTES_SECONDS} seconds" if late else "stopped git"
                    notes.append(f"The rules of the .gitattributes files were not used: they {why}.")
                    left = 0
                    with suppress(OSError):
                        into.close()
                    Path(env["GIT_INDEX_FILE"]).unlink(missing_ok=True)
                finally:
                    watch.cancel()
            return found if left > 0 else {}

        yield answer


def _portions(paths: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Few enough at a time that the questions fit into their pipe while git waits for its answers to be read."""
    some: list[bytes] = []
    size = 0
    for path in paths:
        if some and size + len(path) > 16_000:
            yield some
            some, size = [], 0
        some.append(path)
        size += len(path) + 1
    if some:
        yield some


def iso(seconds: bytes | str | int) -> str:
    """Seconds since 1970 as `2023-12-21T10:53:07Z`; "" where a commit's date is nonsense."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""
