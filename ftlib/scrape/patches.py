"""What changed between two commits, file by file: the hunks, or a mark in brackets that says why there are none."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple

from ftlib.scrape.filters import GENERATED, UNDIFFED, VENDORED, decode, path_reason, shown, text_reason, unsafe_reason
from ftlib.scrape.git import BIG, Attributes, Env, GitError, attribute_reader, running, shallow_commits, sizes

FILE_LIMIT = 200_000
"""Characters of one file's patch; a longer one is named and not shown."""
PULL_LIMIT = 2_000_000
"""Characters of all patches of one pull request."""
MEMORY = "256m"
"""For a new file and to find renames git reads more than it compares; where one is larger than this, it stops."""

_STATUS = {"A": "added", "D": "removed", "R": "renamed from "}
_DIFF = ("diff-tree", "--stdin", "-r", "--raw", "-z", "--no-ext-diff", "--no-textconv", "--no-color")
_NO_LIST = "[not available: this clone lacks its list of files]"
_SHALLOW = "[not available: the clone is shallow and starts with this commit]"
_ABSENT = "[not available: this clone lacks the file's content]"
_NEXT = re.compile(rb"\n(?=diff --git |=\d+\n)")
_PORTION = 500  # paths of one command line


class Change(NamedTuple):
    """One file of a diff: git's status letter, its mode, the path before (of a rename) and after.

    The patch may begin anywhere before the line end in front of the first `@@`; `blobs` are the ids of the contents.
    """

    status: str
    mode: str
    old: bytes
    path: bytes
    patch: bytes = b""
    blobs: tuple[str, ...] = ()


Section = tuple[list[str], str]
"""The line that names a file (none for a mark on the whole), and its hunks or a mark."""
Rows = Generator[list[Section], None, None]
_Values = Callable[[Iterable[bytes]], Attributes]
_Text = Callable[[Change, bool], str]
"""The text for a change; it is asked for each in order, and whether it will be shown."""


def patches(env: Env, pairs: Sequence[tuple[str, str]], notes: list[str] | None = None) -> Rows:
    """The files of each pair of commits or trees, in order; "" before is nothing, as for a first commit.

    One git process writes all diffs while they are read, and one pair is in memory at a time. Where git can't go on,
    as an object is missing, that pair is read in portions, and another process takes over after it.

    Args:
        notes: gets a line where the rules of `.gitattributes` files can't be used.
    """
    ends, lines = shallow_commits(env), _tree_pairs(env, pairs)
    marks = [
        # Where a clone ends, a commit shows no parents, and would be taken for the first one.
        _SHALLOW if not before and after in ends else "" if line else _NO_LIST
        for (before, after), line in zip(pairs, lines, strict=True)
    ]
    with attribute_reader(env, (GENERATED, VENDORED), [] if notes is None else notes) as values:
        asked = [line for line, mark in zip(lines, marks, strict=True) if not mark]
        with closing(_sections(env, asked, values)) as rest:
            for mark in marks:
                yield [([], mark)] if mark else next(rest)


def sections(env: Env, changes: Sequence[Change]) -> list[Section]:
    """One section for each change, whose patch came from elsewhere."""
    with attribute_reader(env, (GENERATED, VENDORED), []) as values:
        return _judged(changes, values, lambda change, _: _patch(change))


def _judged(changes: Sequence[Change], values: _Values, text: _Text) -> list[Section]:
    found: list[Section] = []
    attributes = values(change.path for change in changes if not unsafe_reason(change.path))
    left = PULL_LIMIT
    for change in changes:
        path = change.path
        status = _STATUS.get(change.status[0], "modified") + (shown(change.old) if change.status[0] == "R" else "")
        reason = unsafe_reason(path) or path_reason(path.decode(), change.mode, attributes.get(path, {}))
        patch = text(change, not reason)
        patch = f"[not shown: {reason}]" if reason else patch
        if len(patch) > left:
            patch = f"[not shown: the pull request's changes exceed {PULL_LIMIT:,} characters]"
        else:
            left -= len(patch)
        found.append(([f"File: {shown(path)}, Status: {status}"], patch))
    return found or [([], "[none: it changed no file]")]


def _patch(change: Change) -> str:
    """The hunks as text, or a mark."""
    header, _, hunks = change.patch.partition(b"\n@@ ")
    if change.status == "T":
        return "[not shown: the file's type changed]"
    if not hunks:
        if re.search(rb"^Binary files ", header, re.M):
            return "[not shown: binary]"
        return "[none: the file is empty]" if change.status in {"A", "D"} else "[none: only its name or mode changed]"
    hunks = b"@@ " + hunks.removesuffix(b"\n")
    if _is_plain(change.path, hunks):
        return hunks.decode()
    body = b"\n".join(row[1:] for row in hunks.split(b"\n") if row[:1] in {b"+", b"-", b" "})
    text, reason = decode(body)
    if reason and reason != "empty":
        return f"[not shown: {reason}]"
    patch = hunks.decode("utf-8", "ignore")  # the body is valid; a header's context may be cut inside a letter
    if len(patch) > FILE_LIMIT:
        return f"[not shown: {len(patch):,} characters]"
    # A marker further down in a file is none, and two long lines make no minified file.
    reason = text_reason(change.path.decode(), text)
    counts = re.match(r"@@ -[01][, ]|@@ -\d+(,\d+)? \+[01][, ]", patch) if reason == "generated" else len(text) > 2000
    return f"[not shown: {reason}]" if reason and counts else patch


def _is_plain(path: bytes, hunks: bytes) -> bool:
    """Whether what is left of the rules can't apply, which is so for most patches and soon seen."""
    # The rules look at the first lines, at NULs, and at the mean length of lines less those between the hunks.
    lines = hunks.count(b"\n") - hunks.count(b"\n@@ ") - hunks.count(b"\n\\ ")
    special = re.compile(rb"generated|git-lfs", re.I).search(hunks, 0, 10_000) or b"\0" in hunks
    if special or len(hunks) > min(100 * lines, FILE_LIMIT) or path.endswith(b".ipynb"):
        return False
    try:
        hunks.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- git's side -------------------------------------------------------------------------------------------------------


def _tree_pairs(env: Env, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """What `diff-tree` is asked, "" where the clone lacks one of the two."""
    if not pairs:
        return []
    nothing = hashlib.new("sha1" if len(pairs[0][1]) == 40 else "sha256", b"tree 0\0").hexdigest()
    trees = (oid for oid, _ in sizes(env, (f"{name or nothing}^{{tree}}" for pair in pairs for name in pair)))
    return [f"{before} {after}" if before and after else "" for before, after in zip(trees, trees, strict=True)]


def _sections(env: Env, lines: Sequence[str], values: _Values) -> Rows:
    done = 0
    while done < len(lines):
        try:
            with closing(_diffs(env, lines[done:], "-p", "-M")) as diffs:
                for changes, text in diffs:
                    found = _judged(changes, values, text)
                    done += 1
                    yield found
        except GitError:
            yield _in_portions(env, lines[done], values)
            done += 1


def _in_portions(env: Env, line: str, values: _Values) -> list[Section]:
    """The files of one pair but those that are missing or big; without renames, for which git reads more files."""
    try:
        with closing(_diffs(env, [line], "--no-renames")) as diffs:
            changes, _ = next(diffs)
    except GitError:
        return [([], _NO_LIST)]
    ids = sorted({oid for change in changes for oid in change.blobs})
    found = dict(zip(ids, sizes(env, ids), strict=True))
    texts: dict[bytes, str] = {}
    readable = []
    for change in changes:
        blobs = [found[oid] for oid in change.blobs]
        if not all(oid for oid, _ in blobs) or unsafe_reason(change.path):
            texts[change.path] = _ABSENT
        elif any(size > BIG for _, size in blobs):
            texts[change.path] = "[not shown: binary]"
        else:
            readable.append(change.path)
    portions = (readable[start : start + _PORTION] for start in range(0, len(readable), _PORTION))

    def read(paths: Sequence[bytes]) -> None:
        try:
            with closing(_diffs(env, [line], "-p", "--no-renames", "--", *(path.decode() for path in paths))) as diffs:
                some, text = next(diffs)
                texts.update({change.path: text(change, True) for change in some})
        except (GitError, OSError):  # one is damaged; or the names are too long for a command line
            for path in paths if len(paths) > 1 else ():
                read([path])
            texts.update({path: texts.get(path, _ABSENT) for path in paths})

    def text(change: Change, _: bool) -> str:
        while change.path not in texts and (portion := next(portions, None)):
            read(portion)
        return texts.pop(change.path, _ABSENT)

    return _judged(changes, values, text)


def _diffs(env: Env, lines: Sequence[str], *args: str) -> Generator[tuple[list[Change], _Text], None, None]:
    """For each pair its files, and what reads the text of one after the other.

    Raises:
        GitError: git ended before the pair did.
    """
    rules = Path(env["GIT_DIR"], "info", "attributes")
    rules.parent.mkdir(exist_ok=True)
    # Lock files alone can be half of what git would have to compare.
    rules.write_text("".join(f"{pattern} -diff\n" for pattern in UNDIFFED))
    # A line that is no object's id comes back as it is, between the output for those around it.
    asked = "".join(f"={number}\n{line}\n" for number, line in enumerate(lines)) + f"={len(lines)}\n"
    limited = {**env, "GIT_ALLOC_LIMIT": MEMORY}
    with tempfile.TemporaryFile() as questions:
        questions.write(asked.encode())
        questions.seek(0)
        with running([*_DIFF, *args], limited, stdin=questions) as process:
            assert process.stdout
            out = _Output(process.stdout)
            for number, line in enumerate(lines):
                out.expect(b"=%d\n%s\n" % (number, line.encode()))
                changes = _raw(out)

                def text(change: Change, wanted: bool) -> str:
                    # A change of type (a file becomes a link) has two sections, one that removes and one that adds.
                    parts = [out.section() for _ in range(1 + (change.status == "T"))]
                    return _patch(change._replace(patch=b"".join(parts))) if wanted else ""

                yield changes, text


def _raw(out: _Output) -> list[Change]:
    found = []
    while out.peek() == b":":
        old_mode, mode, before, after, status = out.field()[1:].decode().split()
        old = out.field()
        path = out.field() if status[0] == "R" else old
        ids = tuple(
            oid for oid, its in ((before, old_mode), (after, mode)) if oid.strip("0") and not its.startswith("16")
        )
        found.append(Change(status, old_mode if status == "D" else mode, old, path, b"", ids))
    if out.peek() == b"\0":
        out.field()
    return found


class _Output:
    """What git writes, part by part. GitError where it ends before the part does."""

    def __init__(self, stream: IO[bytes]):
        self.stream, self.data = stream, bytearray()

    def more(self) -> None:
        data = self.stream.read1(1 << 16)  # type: ignore[attr-defined]  # a buffered reader
        if not data:
            raise GitError("diff-tree", "it ended early")
        self.data += data

    def take(self, end: int, then: int) -> bytes:
        found = bytes(self.data[:end])
        del self.data[: end + then]
        return found

    def peek(self) -> bytes:
        if not self.data:
            self.more()
        return bytes(self.data[:1])

    def expect(self, mark: bytes) -> None:
        while len(self.data) < len(mark):
            self.more()
        if self.take(len(mark), 0) != mark:  # nothing is printed for a tree that is damaged
            raise GitError("diff-tree", "it printed something else")

    def field(self) -> bytes:
        start = 0
        while (end := self.data.find(b"\0", start)) < 0:
            start = len(self.data)
            self.more()
        return self.take(end, 1)

    def section(self) -> bytes:
        """The patch of the next file; b"" where the pair's last one has been read."""
        start = 0
        if self.peek() != b"d":
            return b""
        while not (match := _NEXT.search(self.data, start)):
            start = max(0, len(self.data) - 100)
            self.more()
        return self.take(match.start(), 1)
