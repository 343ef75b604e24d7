"""ftlib.scrape on real git repositories: files, pages, the wiki and the sample."""

import os
import subprocess
from pathlib import Path

import pytest

from ftlib import sample
from ftlib.errors import SetupError
from ftlib.scrape import ScrapeConfig, scrape
from ftlib.scrape.licences import licence_of
from ftlib.scrape.pages import page_title
from ftlib.workspace import open_workspace, read_jsonl

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


@pytest.fixture
def repo(tmp_path):
    return Repo(tmp_path / "project.git")


@pytest.fixture
def workspace(tmp_path):
    return open_workspace(tmp_path / "workspace")


def run(repository, workspace, **settings):
    """Scrape; returns the documents by id and the manifest."""
    settings = {"drop_duplicates": "none", **settings}  # the files of these tests are all alike
    manifest = scrape(ScrapeConfig(str(getattr(repository, "path", repository)), **settings), workspace)
    return {row["id"]: row for row in read_jsonl(workspace.documents)}, manifest


def reasons(manifest):
    return {row["path"]: row["reason"] for row in manifest["skipped"]}


# --- files ------------------------------------------------------------------------------------------------------------


def test_documents_of_a_snapshot(repo, workspace):
    licence = "Permission is hereby granted, free of charge, to any person obtaining a copy\nof this software"
    code = "const x = 1;\r\nconst ü = '😀';\r\n"
    files = {"src/app é.ts": code, "README.md": "# The `project`\n\ntext\n", "LICENSE": licence, "CMakeLists.txt": "x"}
    commit = repo.commit(files | {"docs/plain.txt": "words", "docs/conf.py": "x", "bom.py": b"\xef\xbb\xbfx = 1\n"})
    repo.git("config", "remote.origin.url", "git@github.com:owner/thing.git")
    documents, manifest = run(repo, workspace)
    assert documents["code:src/app é.ts"] == {
        "id": "code:src/app é.ts",
        "source": "code",
        "title": "src/app é.ts",
        "path": "src/app é.ts",
        "url": f"https://github.com/owner/thing/blob/{commit}/src/app%20%C3%A9.ts",
        "text": code,
        "date": "2023-01-01T12:00:00Z",
        "commit": commit,
        "licence": "MIT",
    }
    assert documents["code:bom.py"]["text"] == "x = 1\n"
    assert set(documents) == {
        f"code:{name}" for name in ("src/app é.ts", "bom.py", "CMakeLists.txt", "docs/conf.py")
    } | {f"docs:{name}" for name in ("README.md", "LICENSE", "docs/plain.txt")}
    assert documents["docs:README.md"]["title"] == "The `project`"
    assert manifest["counts"] == {"documents": {"docs": 3, "code": 4}, "skipped": {}}
    assert (manifest["name"], manifest["full_name"], manifest["branch"]) == ("thing", "owner/thing", "main")
    assert (manifest["commit"], manifest["date"]) == (commit, "2023-01-01T12:00:00Z")


def test_every_skip_has_its_reason(repo, workspace):
    long_line = "x" * 300 + "\n"
    expected = {
        "link.py": ((LINK, "kept.py"), "symlink"),
        "module": ((SUBMODULE, "1" * 40), "submodule"),
        "big.dat": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "LFS pointer"),
        "nul.py": (b"a\0b", "binary"),
        "logo.PNG": ("text in disguise", "binary"),
        "latin.py": ("é = 1".encode("latin-1"), "not UTF-8"),
        "utf16.py": ("x = 1".encode("utf-16"), "not UTF-8"),
        "marked.py": ("# @generated by a tool\nx = 1\n", "generated"),
        "marked.go": ("// Code generated by x. DO NOT EDIT.\n", "generated"),
        "api/out.py": ("x = 1\n", "generated"),
        "lib/theirs.py": ("x = 1\n", "vendored"),
        "web/node_modules/a/index.js": ("x\n", "vendored"),
        "yarn.lock": ("x\n", "lock file"),
        "sub/Cargo.lock": ("x\n", "lock file"),
        "app.min.js": ("x\n", "minified or data"),
        "one-line.js": (long_line, "minified or data"),
        "large.py": ("x = 1\n" * 200, "too large"),
        "empty.py": ("", "empty"),
        "blank.py": ("\n \n", "empty"),
        "LICENSE": ("gone too\n", "unreadable (this clone lacks it)"),
        "lost.py": ("gone = 1\n", "unreadable (this clone lacks it)"),
    }
    attributes = "api/** linguist-generated\nlib/theirs.py linguist-vendored=true\nvendor/** -linguist-vendored\n"
    kept = {
        "kept.py": "x = 1\n",
        "vendor/ours.py": "x = 1\n",
        "page.md": long_line,
        "late.py": "\n" * 9 + "@generated\n",
    }
    nested = {"api/.gitattributes": "hand.py -linguist-generated\n", "api/hand.py": "x = 2\n"}
    repo.commit({".gitattributes": attributes} | kept | nested | {path: data for path, (data, _) in expected.items()})
    repo.lose("main:lost.py")
    repo.lose("main:LICENSE")
    documents, manifest = run(repo, workspace, max_file_bytes=1000)
    assert reasons(manifest) == {path: reason for path, (_, reason) in expected.items()} | {
        "api/.gitattributes": "generated"
    }
    assert {row["path"] for row in documents.values()} == {".gitattributes", "api/hand.py", *kept}
    assert manifest["counts"]["skipped"]["vendored"] == 2
    assert "gone = 1" not in workspace.documents.read_text()


def test_too_large_is_decided_unread(repo, workspace, monkeypatch):
    repo.commit({"a.py": "x = 1\n", "b.py": "y = 22222\n"})
    lost = repo.git("rev-parse", "main:b.py")
    monkeypatch.setattr("ftlib.scrape.documents.decode", lambda data: (data.decode(), None))
    documents, manifest = run(repo, workspace, max_file_bytes=6)
    assert set(documents) == {"code:a.py"} and reasons(manifest) == {"b.py": "too large"}
    assert lost not in workspace.documents.read_text()


def test_hostile_paths_are_data_only(repo, workspace):
    blob = repo.git("hash-object", "-w", "--stdin", stdin=b"x = 1\n")
    names = [b"..", b".GIT", b"a\nb.py", b'q"q.py', b"-rf", b"bad\xff.py", b"x\t\xe2\x80\xae.py", b":(glob)*"]
    rows = b"".join(f"100644 blob {blob}\t".encode() + name + b"\0" for name in names)
    tree = repo.git("mktree", "-z", stdin=rows)
    repo.git("update-ref", "refs/heads/main", repo.git("commit-tree", "-m", "Hostile (#7)", tree))
    documents, manifest = run(repo, workspace)
    assert reasons(manifest) == {"..": "unsafe path", ".GIT": "unsafe path", "bad\\xff.py": "path not UTF-8"}
    assert documents["code:a\nb.py"]["title"] == "a\\nb.py"
    assert documents["code:x\t\u202e.py"]["title"] == "x\\t\\u202e.py"
    assert {"code::(glob)*", "code:-rf", 'code:q"q.py'} <= set(documents)
    text = documents["pull_request:7"]["text"]
    assert "File: .., Status: added\nChanges: [not shown: unsafe path]" in text
    assert "File: a\\nb.py, Status: added\nChanges:\n@@ -0,0 +1 @@\n+x = 1" in text
    assert not [p for p in workspace.root.iterdir() if not p.name.startswith("documents.")]


def test_partial_clone_is_read_without_dialling_out(repo, tmp_path, workspace):
    repo.commit({"a.py": "a = 1\n"})
    repo.commit({"a.py": "a = 1\n", "b.py": "b = 1\n"}, "Add b (#2)")
    repo.git("config", "uploadpack.allowFilter", "true")
    clone, trap = tmp_path / "partial.git", tmp_path / "called"
    subprocess.run(["git", "clone", "-q", "--bare", "--filter=blob:none", repo.path.as_uri(), clone], check=True)
    (helper := tmp_path / "helper.sh").write_text(f"#!/bin/sh\ntouch {trap}\nexec git-upload-pack {repo.path}\n")
    helper.chmod(0o755)
    subprocess.run(["git", f"--git-dir={clone}", "config", "remote.origin.uploadpack", str(helper)], check=True)
    documents, manifest = run(clone, workspace)
    assert set(documents) == {"pull_request:2"}
    assert set(reasons(manifest)) == {"a.py", "b.py"}
    assert (
        "File: b.py, Status: added\nChanges: [not available: this clone lacks the file's content]"
        in (documents["pull_request:2"]["text"])
    )
    assert not trap.exists()


def test_configuration_of_the_repository_is_not_used(repo, tmp_path, workspace):
    repo.commit({"a.py": "a = 1\n"})
    repo.commit({"a.py": "a = 2\n"}, "Two (#2)")
    for key, value in (
        ("diff.noprefix", "true"),
        ("diff.external", f"touch {tmp_path}/called"),
        ("color.ui", "always"),
    ):
        repo.git("config", key, value)
    (repo.path / "info").mkdir(exist_ok=True)
    (repo.path / "info/attributes").write_text("* linguist-generated diff=x\n")
    before = {p: p.stat().st_mtime_ns for p in repo.path.rglob("*")}
    documents, _ = run(repo, workspace)
    assert documents["pull_request:2"]["text"].endswith("Changes:\n@@ -1 +1 @@\n-a = 1\n+a = 2")
    assert "code:a.py" in documents and not (tmp_path / "called").exists()
    assert {p: p.stat().st_mtime_ns for p in repo.path.rglob("*")} == before


def test_a_work_tree_is_read_at_its_commit(repo, tmp_path, workspace, monkeypatch):
    repo.commit({"a.py": "committed\n"})
    subprocess.run(["git", "clone", "-q", repo.path, tmp_path / "work"], check=True)
    (tmp_path / "work/a.py").write_text("edited\n")
    (tmp_path / "work/new.py").write_text("new\n")
    subprocess.run(["git", "-C", tmp_path / "work", "worktree", "add", "-q", tmp_path / "linked"], check=True)
    for name in ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))  # as in a hook
    for folder in ("work", "linked", "work/.git"):
        workspace.documents.unlink(missing_ok=True)
        documents, manifest = run(tmp_path / folder, workspace)
        assert {k: d["text"] for k, d in documents.items()} == {"code:a.py": "committed\n"}
        assert manifest["name"] == folder.split("/")[0]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n## Second ##\n", "Second"),
        ("```\n# no\n```\n# Yes\n", "Yes"),
        ("---\nid: x\n# no\n---\nYes\n===\n", "Yes"),
        ("=====\nTitle\n=====\n", "Title"),
        ("= Adoc\n", "Adoc"),
        ("#hashtag\n- item\n---\nplain\n", "p.md"),
    ],
)
def test_page_title(text, title):
    assert page_title("a/p.md", text) == title


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        ("GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007 ... GNU Affero General Public License", "GPL-3.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE Version 2.1, February 1999", "LGPL-2.1"),
        ("Redistribution and use in source and binary forms ... Neither the name of", "BSD-3-Clause"),
        ("Redistribution and use in source and binary forms ...", "BSD-2-Clause"),
        ("All rights reserved.", ""),
    ],
)
def test_licence(text, name):
    assert licence_of(text) == name


# --- wiki -------------------------------------------------------------------------------------------------------------


def test_wiki_pages_have_their_own_dates(repo, workspace):
    repo.git("config", "remote.origin.url", "https://github.com/o/project")
    repo.commit({"a.py": "1\n"}, date="2024-01-01T00:00:00Z")
    wiki = Repo(repo.path.with_name("project.wiki.git"), "master")
    old = wiki.commit({"Deploy-it-now.md": "old\n", "Home.md": "x\n", "img.png": "x", "data.json": "{}"})
    wiki.commit({"sub/_Sidebar.md": "x\n", "_Footer.md": "x\n"}, date="2023-03-01T00:00:00Z")
    new = wiki.commit({"Home.md": "y\n"}, date="2023-04-01T00:00:00Z")
    wiki.commit({"Home.md": "z\n"}, date="2024-04-01T00:00:00Z")
    documents, manifest = run(repo, workspace, date="2024-01-02")
    page = documents["wiki:Deploy-it-now.md"]
    assert (page["title"], page["commit"], page["date"]) == ("Deploy it now", old, "2023-01-01T12:00:00Z")
    assert page["url"] == "https://github.com/o/project/wiki/Deploy-it-now"
    home = documents["wiki:Home.md"]
    assert (home["text"], home["commit"], home["date"]) == ("y\n", new, "2023-04-01T00:00:00Z")
    assert reasons(manifest) == {
        "wiki:_Footer.md": "sidebar",
        "wiki:sub/_Sidebar.md": "sidebar",
        "wiki:img.png": "binary",
        "wiki:data.json": "not a page",
    }
    assert "wiki:Home.md" not in run(repo, workspace, wiki="none")[0]


def test_wiki_that_is_not_there_is_a_note(repo, tmp_path, workspace):
    repo.commit({"a.py": "1\n"})
    assert run(repo, workspace)[1]["notes"] == ["No wiki was found beside the repository."]
    wiki = Repo(tmp_path / "project.wiki.git")
    assert "empty" in run(repo, workspace, pull_requests=1)[1]["notes"][0]
    wiki.commit({"Home.md": "x\n"}, date="2023-06-01T00:00:00Z")
    assert "2023-06-01" in run(repo, workspace, date="2023-02-01")[1]["notes"][0]
    with pytest.raises(SetupError, match="The wiki: .*wiki='none'"):
        run(repo, workspace, wiki=str(tmp_path / "typo.git"))


# --- the sample -------------------------------------------------------------------------------------------------------


def test_sample(workspace):
    documents, manifest = run("sample", workspace)
    assert set(manifest["counts"]["documents"]) == {"code", "docs", "wiki", "pull_request"}
    assert {"binary", "symlink", "generated", "lock file", "sidebar"} <= set(manifest["counts"]["skipped"])
    assert manifest["full_name"] == f"{sample.OWNER}/{sample.NAME}" and manifest["notes"] == []
    assert {f"pull_request:{pull['number']}" for pull in sample.pulls()} <= set(documents)
    written = workspace.documents.read_text() + (workspace.root / "documents.manifest.json").read_text()
    assert [name for name, value in sample.planted_secrets().items() if value in written] == []
    assert len(manifest["redactions"]) >= 6
