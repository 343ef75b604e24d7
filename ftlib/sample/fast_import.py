"""Write a bare git repository from a list of commits with one `git fast-import`.

The ids of the commits depend on the commits alone: user and system configuration, the environment, the clock and the
version of git play no part. Format: https://git-scm.com/docs/git-fast-import
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

MARKER = "ftlib-sample"  # a file in the bare repository, "<hash of the stream> <head>"; git ignores it


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Commit:
    """One commit; it changes `files` against its first parent."""

    ref: str
    """Full name of the ref that ends up on this commit, unless a later commit takes it."""
    author: str
    """`Name <email>`."""
    date: str
    """ISO 8601 with an offset or `Z`; for author and committer."""
    message: str
    files: dict[str, bytes | Link | None]
    """Path to content; None deletes."""
    parents: tuple[int, ...] = ()
    """Positions of the parents in the list of commits."""
    committer: str = field(default="")
    """`Name <email>`; the author if empty."""


def stream(commits: list[Commit]) -> bytes:
    """The commits as input of `git fast-import`."""
    out = [b"feature done\n"]
    for number, commit in enumerate(commits):
        when = f"{int(datetime.fromisoformat(commit.date).timestamp())} +0000"
        lines = [
            f"commit {commit.ref}",
            f"mark :{number + 1}",
            f"author {commit.author} {when}",
            f"committer {commit.committer or commit.author} {when}",
        ]
        out.append(("\n".join(lines) + "\n").encode() + _data(commit.message.encode()))
        for position, parent in enumerate(commit.parents):
            out.append(f"{'merge' if position else 'from'} :{parent + 1}\n".encode())
        for path, content in sorted(commit.files.items()):
            if content is None:
                out.append(f"D {path}\n".encode())
            elif isinstance(content, Link):
                out.append(f"M 120000 inline {path}\n".encode() + _data(content.target.encode()))
            else:
                out.append(f"M 100644 inline {path}\n".encode() + _data(content))
        out.append(b"\n")
    out.append(b"done\n")
    return b"".join(out)


def write_repository(target: Path, commits: list[Commit], branch: str) -> None:
    """Make the bare repository `target` with `branch` as its HEAD.

    A repository that this function made from the same commits, and whose head was not moved, is left as it is; one it
    made from others is replaced. The work is done under another name and renamed, so `target` is whole or not there.

    Raises:
        FileExistsError: `target` exists and was not made here.
        RuntimeError: git is missing or fails.
    """
    data = stream(commits)
    digest = hashlib.sha256(data).hexdigest()
    if _is_current(target, digest):
        return
    if target.exists() and not (target / MARKER).is_file():
        raise FileExistsError(f"{target} exists and is not the sample repository: move it away or build elsewhere")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        new = work / "new"
        git(["init", "--quiet", "--bare", "--template=", str(new)])
        (new / "HEAD").write_text(f"ref: refs/heads/{branch}\n", encoding="utf-8", newline="\n")
        git(["-c", "fastimport.unpackLimit=1", "fast-import", "--quiet"], repository=new, data=data)
        head = git(["rev-parse", "--verify", "HEAD"], repository=new)
        (new / MARKER).write_text(f"{digest} {head}\n", encoding="utf-8")
        if target.exists():
            target.rename(work / "old")
        try:
            new.rename(target)
        except OSError:  # another build of the same sample came first
            if not _is_current(target, digest):
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def git(arguments: list[str], repository: Path | None = None, data: bytes | None = None) -> str:
    """What a git command prints, run with no configuration but ours.

    Raises:
        RuntimeError: git is not installed, or the command fails.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DEFAULT_HASH": "sha1",
        "TZ": "UTC",
        "LC_ALL": "C",
    }
    where = ["--git-dir", str(repository)] if repository else []
    command = ["git", "-c", "safe.directory=*", "-c", "core.autocrlf=false", "-c", "commit.gpgsign=false", *where]
    try:
        done = subprocess.run([*command, *arguments], input=data, capture_output=True, env=environment, check=False)
    except FileNotFoundError as error:
        raise RuntimeError("git was not found: install git (https://git-scm.com/downloads) and try again") from error
    if done.returncode:
        name = next(word for word in arguments if word in ("init", "fast-import", "rev-parse"))
        raise RuntimeError(f"git {name} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode().strip()


def _data(content: bytes) -> bytes:
    return b"data %d\n" % len(content) + content + b"\n"


def _is_current(target: Path, digest: str) -> bool:
    try:
        made_from, head = (target / MARKER).read_text(encoding="utf-8").split()
        return made_from == digest and git(["rev-parse", "--verify", "HEAD"], repository=target) == head
    except (OSError, ValueError):
        return False
    except RuntimeError:
        if shutil.which("git") is None:
            raise
        return False
