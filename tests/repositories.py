"""Real git repositories for tests, written commit by commit, and a scrape of one in a line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ftlib.scrape import ScrapeConfig, scrape
from ftlib.workspace import read_jsonl

LINK, SUBMODULE = "120000", "160000"


class Repo:
    """A bare repository to be written commit by commit; `files` changes the branch's tree, None deletes."""

    def __init__(self, path: Path, branch: str = "main"):
        self.path, self.branch = path, branch
        subprocess.run(["git", "init", "-q", "--bare", f"--initial-branch={branch}", path], check=True)

    def git(self, *args: str, stdin: bytes = b"") -> str:
        env = {**os.environ, "GIT_AUTHOR_DATE": "2023-01-01T12:00:00Z", "GIT_COMMITTER_DATE": "2023-01-01T12:00:00Z"}
        who = ("-c", "user.name=A", "-c", "user.email=a@example.com")
        command = ["git", f"--git-dir={self.path}", *who, *args]
        done = subprocess.run(command, input=stdin, capture_output=True, env=env, check=True)
        return done.stdout.decode().strip()

    def commit(self, files=None, message="change", date="2023-01-01T12:00:00Z", branch=None, start=None, merge=None):
        """Commit on `branch` (made at `start` if new), with the branch `merge` as second parent; returns the id."""
        branch = branch or self.branch
        seconds = int(subprocess.check_output(["date", "-d", date, "+%s"]))
        head = self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        text = message.encode()
        out = [f"commit refs/heads/{branch}\nauthor A <a@example.com> {seconds} +0000\n".encode()]
        out += [f"committer A <a@example.com> {seconds} +0000\ndata {len(text)}\n".encode() + text + b"\n"]
        if head or start:
            out += [f"from {head or self.git('rev-parse', start)}\n".encode()]
        if merge:
            out += [f"merge refs/heads/{merge}^0\n".encode()]
        for path, data in (files or {}).items():
            name = b'"' + path.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
            if data is None:
                out += [b"D " + name + b"\n"]
                continue
            mode, data = data if isinstance(data, tuple) else ("100644", data)
            data = data.encode() if isinstance(data, str) else data
            if mode == SUBMODULE:
                out += [f"M {mode} {data.decode()} ".encode() + name + b"\n"]
            else:
                out += [f"M {mode} inline ".encode() + name + f"\ndata {len(data)}\n".encode() + data + b"\n"]
        self.git("fast-import", "--quiet", stdin=b"".join(out))
        return self.git("rev-parse", branch)

    def lose(self, spec: str) -> None:
        """Remove a blob, as a partial clone lacks it."""
        oid = self.git("rev-parse", spec)
        packs = [p for p in (self.path / "objects/pack").glob("*.pack")]
        for pack in packs:
            data = pack.read_bytes()
            for file in self.path.glob(f"objects/pack/{pack.stem}.*"):
                file.unlink()
            self.git("unpack-objects", "-q", stdin=data)
        (self.path / "objects" / oid[:2] / oid[2:]).unlink()


def run(repository, workspace, **settings):
    """Scrape; returns the documents by id and the manifest."""
    settings = {"drop_duplicates": "none", **settings}  # the files of these tests are all alike
    manifest = scrape(ScrapeConfig(str(getattr(repository, "path", repository)), **settings), workspace)
    return {row["id"]: row for row in read_jsonl(workspace.documents)}, manifest


def reasons(manifest):
    return {row["path"]: row["reason"] for row in manifest["skipped"]}


def files_of(text):
    """Path -> (status, rest) from a pull request's text."""
    parts = text.split("\n\nFile: ")[1:]
    heads = [part.split("\nChanges:", 1) for part in parts]
    return {head.rsplit(", Status: ", 1)[0]: (head.rsplit(", Status: ", 1)[1], body.strip()) for head, body in heads}
