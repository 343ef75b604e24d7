"""The hunks of patches, one at a time: out of the text of a pull request, or out of a repository's history."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence, Set
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

from ftlib.errors import SetupError
from ftlib.scrape.git import Env, git, iso, reading, running

HUNK_LINES = 400
"""Lines of one hunk; the lines of a longer one are not compared: it rewrites a file."""
COMMITS = 5000
"""Commits of a history that are looked at, the last ones of the first-parent line."""
_RESTARTS = 20  # after an object that the clone lacks
_NAMES, _PATTERNS = 200, 50  # that git is asked for by name, and by suffix

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_FILE = re.compile(r"File: (.+), Status: (.+)")
_LOG = "log --first-parent -m -p --no-renames --no-color --no-ext-diff --no-textconv --format=%x01%H%x20%ct --stdin"


class Hunk(NamedTuple):
    """A hunk's lines before and after without their signs, context included; those of the other side are missing."""

    path: str
    old: list[str]
    new: list[str]
    removed: list[str]
    added: list[str]


class Renamed(NamedTuple):
    """A file that has a new name."""

    path: str
    old: str


def pull_hunks(text: str) -> Iterator[Hunk | Renamed]:
    """The hunks of a pull request's document that remove and add lines, and its renamed files, in order.

    `text` is as `ftlib.scrape.history.file_sections` writes it. The hunks' own counts say where they end, so that
    comments behind them are no part of them.
    """
    lines = iter(text.split("\n"))
    path = ""
    for line in lines:
        if match := _FILE.fullmatch(line):
            path = match[1]
            if match[2].startswith("renamed from "):
                yield Renamed(path, match[2].removeprefix("renamed from "))
        elif path and (match := _HUNK.match(line)):
            hunk = _hunk(path, match, lines)
            if hunk.removed and hunk.added:
                yield hunk


def history_hunks(git_dir: Path, commit: str, paths: Sequence[str]) -> Iterator[tuple[str, str, Hunk]]:
    """Commit, its date (UTC) and each hunk of it in one of the files, newest first.

    One git process writes them while they are read. An object that a partial clone lacks ends it, and another one goes
    on with the parent of that commit. What can't be read at all, such as a folder that is not there, gives nothing.
    """
    if not paths:
        return
    wanted = set(paths)
    # Git takes a time that grows with names times files, so of many it gets the suffixes; the rest is done here.
    ends = {re.sub(r"([*?\[\\])", r"\\\1", re.search(r"(\.[^./]*|[^/]*)$", path)[0]) for path in paths}  # type: ignore[index]
    patterns = [f"*{end}" for end in sorted(ends)] if len(ends) <= _PATTERNS else ["*"]
    try:
        with reading(git_dir) as borrowed:
            few = len(wanted) <= _NAMES
            env = {**borrowed, "GIT_LITERAL_PATHSPECS": "1" if few else "0"}
            asked = ("rev-list", "--first-parent", "--max-count=1", f"--skip={COMMITS}", commit)
            end = git(*asked, env=env).decode().strip()
            start = commit
            for _ in range(_RESTARTS):
                last, whole = yield from _log(env, start, end, sorted(wanted) if few else patterns, wanted)
                if whole or not last or start == f"{last}^":
                    return
                start = f"{last}^"
    except SetupError:
        return


def _log(
    env: Env, start: str, end: str, patterns: Sequence[str], wanted: Set[str]
) -> Generator[tuple[str, str, Hunk], None, tuple[str, bool]]:
    """Returns the last commit, and whether git came to its end."""
    revisions = [start, *([f"^{end}"] if end else [])]
    commit = date = path = ""
    with TemporaryFile() as asked:
        asked.write("".join(f"{line}\n" for line in (*revisions, "--", *patterns)).encode())
        asked.seek(0)
        with running(_LOG.split(), env, stdin=asked) as process:
            assert process.stdout
            lines = (line.decode("utf-8", "replace").rstrip("\r\n") for line in process.stdout)
            for line in lines:
                if line.startswith("\x01"):
                    commit, _, seconds = line[1:].partition(" ")
                    date, path = iso(seconds), ""
                elif line.startswith("+++ "):
                    path = line.removeprefix("+++ b/") if line.startswith("+++ b/") else ""
                elif match := _HUNK.match(line):
                    hunk = _hunk(path, match, lines, path in wanted)
                    if hunk.removed and hunk.added:
                        yield commit, date, hunk
        return commit, process.returncode == 0


def _hunk(path: str, header: re.Match[str], lines: Iterator[str], wanted: bool = True) -> Hunk:
    """Take a hunk's lines; one that is long or not wanted is read to its end and comes back empty."""
    before, after = (int(count) if count is not None else 1 for count in header.groups())
    found = Hunk(path, [], [], [], [])
    keep = wanted and before + after <= 2 * HUNK_LINES
    while before > 0 or after > 0:
        line = next(lines, None)
        if line is None:
            break
        sign, rest = line[:1], line[1:].rstrip("\r")
        if sign == "\\":
            continue
        before -= sign != "+"
        after -= sign != "-"
        if not keep:
            continue
        if sign != "+":
            found.old.append(rest)
        if sign != "-":
            found.new.append(rest)
        if sign in "+-" and sign:
            (found.added if sign == "+" else found.removed).append(rest)
    return found
