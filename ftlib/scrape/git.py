"""Reading git objects by the git command: no checkout, no filters, no hooks, none of the repository's configuration.

A repository that is being read is an environment (`reading`), handed to the functions here as `env`. Git 2.31 or later.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ftlib.errors import SetupError

Env = dict[str, str]

# Files over bigFileThreshold are never diffed: bounds what one file of a pull request takes.
_SETTINGS = ("core.quotePath=false", "safe.directory=*", "core.hooksPath=/dev/null", "core.bigFileThreshold=10m")
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


def start(args: Iterable[str], env: Env, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start git with pipes on stdin and stdout.

    Raises:
        SetupError: git is not installed.
    """
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen([*_COMMAND, *args], stdin=pipe, stdout=pipe, stderr=stderr, env=env)
    except FileNotFoundError as error:
        raise SetupError(
            "git is not installed, and repositories are read through it. Install it (`apt-get install git`, "
            "`brew install git` or https://git-scm.com) and run again."
        ) from error


def git(*args: str, env: Env | None = None, stdin: bytes = b"") -> bytes:
    """Run git to its end and return its stdout.

    Raises:
        GitError: it failed.
        SetupError: git is not installed.
    """
    with start(args, env or environment(), stderr=subprocess.PIPE) as process:
        out, err = process.communicate(stdin)
    if process.returncode:
        raise GitError(next((a for a in args if not a.startswith("-")), ""), err.decode("utf-8", "replace"))
    return out


def line(*args: str, env: Env | None = None) -> str:
    """The one line that a git command prints: a path, a name, an id."""
    return os.fsdecode(git(*args, env=env)).removesuffix("\n")


@contextmanager
def reading(git_dir: Path) -> Iterator[Env]:
    """Yield the environment in which git reads the objects of `git_dir`, and nothing else of it.

    An empty stand-in repository borrows the object folder. The real one's configuration, hooks, attributes and
    promisor remote are never looked at: an object that a partial clone lacks is missing, and nobody dials out for it.
    """
    here = (f"--git-dir={git_dir}", "rev-parse")
    where = ("--path-format=absolute", "--git-path")
    with tempfile.TemporaryDirectory(prefix="ftlib-git-") as folder:
        stand_in = Path(folder, "git")
        kind = line(*here, "--show-object-format")
        git("init", "--quiet", "--bare", "--template=", f"--object-format={kind}", str(stand_in))
        shallow = Path(line(*here, *where, "shallow"))
        if shallow.is_file():  # without it git looks for the parents that a shallow clone lacks, and fails
            (stand_in / "shallow").write_bytes(shallow.read_bytes())
        yield environment(
            GIT_DIR=str(stand_in),
            GIT_OBJECT_DIRECTORY=line(*here, *where, "objects"),
            GIT_INDEX_FILE=str(stand_in / "index"),
            GIT_CONFIG_GLOBAL=os.devnull,
        )


def shallow_commits(env: Env) -> set[str]:
    """The commits at which a shallow clone ends: git shows them without their parents."""
    path = Path(env["GIT_DIR"], "shallow")
    return set(path.read_text().split()) if path.is_file() else set()


def tree(env: Env, commit: str) -> list[Entry]:
    """Every file of a commit, in path order."""
    entries = []
    for row in git("ls-tree", "-r", "-z", "-l", commit, env=env).split(b"\0")[:-1]:
        facts, path = row.split(b"\t", 1)
        mode, _, oid, size = facts.decode().split()
        entries.append(Entry(path, mode, oid, int(size) if size.isdigit() else None))
    return entries


@contextmanager
def blob_reader(env: Env) -> Iterator[Callable[[str], bytes | None]]:
    """Yield a function from an object's id to its bytes, None if it is missing; one process, one blob in memory."""
    with start(["cat-file", "--batch"], env) as process:
        into, out = process.stdin, process.stdout
        assert into and out

        def read(oid: str) -> bytes | None:
            into.write(oid.encode() + b"\n")
            into.flush()
            header = out.readline().split()
            if header[1:] == [b"missing"]:
                return None
            data = out.read(int(header[2]) + 1) if len(header) == 3 else b""
            if not data.endswith(b"\n"):
                raise GitError("cat-file", f"object {oid} can't be read")
            return data[:-1]

        yield read


def load_attributes(env: Env, entries: list[Entry]) -> None:
    """Make `attributes` answer by the `.gitattributes` files of this tree.

    `check-attr --source` needs git 2.40; an index that holds the attribute files alone does the same everywhere.
    """
    rules = [e for e in entries if e.path.rpartition(b"/")[2] == b".gitattributes" and e.mode.startswith("100")]
    rows = (f"{e.mode} {e.oid} 0\t".encode() + e.path + b"\0" for e in rules)
    git("update-index", "-z", "--index-info", env=env, stdin=b"".join(rows))


def attributes(env: Env, paths: Iterable[bytes], names: Iterable[str]) -> dict[bytes, dict[str, str]]:
    """Path -> attribute -> value as git gives it: "set", "unset", "unspecified" or a text."""
    asked = b"".join(path + b"\0" for path in paths)
    fields = git("check-attr", "--cached", "-z", "--stdin", *names, env=env, stdin=asked).split(b"\0")[:-1]
    found: dict[bytes, dict[str, str]] = {}
    for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        found.setdefault(path, {})[name.decode()] = value.decode("utf-8", "replace")
    return found


def iso(seconds: bytes | str | int) -> str:
    """Seconds since 1970 as `2023-12-21T10:53:07Z`; "" where a commit's date is nonsense."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""
