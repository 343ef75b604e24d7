"""Repositories made to break a reader: they are read, or refused in a sentence, and nothing else is touched."""

import subprocess
import zlib

import pytest
from repositories import Repo, files_of, reasons, run

from ftlib.errors import SetupError
from ftlib.scrape import git as git_module
from ftlib.scrape import patches
from ftlib.scrape.documents import Snapshot, files, pulls


@pytest.fixture(autouse=True)
def nothing_else_is_touched(tmp_path, monkeypatch):
    """Folders that stay as they were: the home folder, the current one, the one for temporary files; and no process
    outlives its reader."""
    started: list[subprocess.Popen[bytes]] = []
    real = git_module.start

    def keep(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        started.append(process)
        return process

    folders = [tmp_path / name for name in ("home", "here", "temporary")]
    for folder, name in zip(folders, ("HOME", "", "TMPDIR"), strict=True):
        folder.mkdir()
        if name:
            monkeypatch.setenv(name, str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(folders[1])
    monkeypatch.setattr(git_module, "start", lambda *args, **more: keep(real(*args, **more)))
    before = {path.name for path in tmp_path.parent.iterdir()}
    yield
    assert [path for folder in folders for path in folder.iterdir()] == []
    assert {path.name for path in tmp_path.parent.iterdir()} == before
    expected = {"home", "here", "temporary", "workspace", "project.git", "project.wiki.git", "odd"}
    assert {path.name for path in tmp_path.iterdir()} <= expected
    workspace = tmp_path / "workspace"
    if workspace.is_dir():
        assert {p.name for p in workspace.iterdir()} <= {"documents.jsonl", "documents.manifest.json"}
    assert [process.args for process in started if process.returncode is None] == []


def read(repo, limit=500_000, pull_requests=10):
    """Documents by id, skipped paths with their reasons, and the notes."""
    skipped: list[dict[str, str]] = []
    with git_module.reading(repo.path) as env:
        at = Snapshot(env, repo.git("rev-parse", "HEAD"), "", "")
        rows = [*files(at, limit, skipped), *pulls(at, pull_requests)]
    return {row["id"]: row for row in rows}, reasons({"skipped": skipped}), at.notes


def literal(repo, kind, data):
    """Write an object as it is; git would refuse it."""
    return repo.git("hash-object", "-w", "-t", kind, "--literally", "--stdin", stdin=data)


# --- names ------------------------------------------------------------------------------------------------------------


def test_names_of_4000_characters(repo, workspace):
    flat, deep, umlauts = "f" * 4000, "d/" * 2000 + "x.py", "ü" * 2000
    body = "".join(f"line {n}\n" for n in range(30))
    repo.commit({"a.py": body, "b.py": body.upper(), flat: "one\n"})
    after = {"a.py": None, flat: body, "b.py": None, deep: body.upper(), umlauts: "x\n", "c.py": "c\n"}
    repo.commit(after, "Long names (#1)")
    repo.commit({flat: None, "short.py": body + "more\n"}, "Short names (#2)")
    documents, manifest = run(repo, workspace)
    assert reasons(manifest) == {deep: "path too long", umlauts: "path too long"}
    assert {row["path"] for row in documents.values() if row["source"] == "code"} == {"c.py", "short.py"}
    first = files_of(documents["pull_request:1"]["text"])
    assert first[deep] == ("renamed from b.py", "[not shown: path too long]")
    assert first[umlauts] == ("added", "[not shown: path too long]")
    assert first[flat][1] == "[not shown: path too long]" and first["c.py"] == ("added", "@@ -0,0 +1 @@\n+c")
    status, patch = files_of(documents["pull_request:2"]["text"])["short.py"]
    assert status == f"renamed from {flat}" and patch.endswith("+more")


def test_names_that_differ_in_case_only(repo, workspace):
    repo.commit({"README.md": "# One\n", "readme.md": "# Two\n", "SRC/a.py": "1\n", "src/A.py": "2\n"})
    documents, _ = run(repo, workspace)
    assert set(documents) == {"docs:README.md", "docs:readme.md", "code:SRC/a.py", "code:src/A.py"}


def test_wiki_pages_that_other_systems_could_not_hold(repo, workspace):
    repo.commit({"a.py": "1\n"})
    wiki = Repo(repo.path.with_name("project.wiki.git"))
    names = "CON.md aux.md a:b.md dots...md LPT1.txt.md back\\slash.md git~1.md ?*.md NUL..md".split() + ["space .md"]
    wiki.commit({name: f"# {name}\n" for name in names} | {"trailing.md.": "x\n", "n" * 4000 + ".md": "x\n"})
    documents, manifest = run(repo, workspace)
    assert {key for key in documents if key.startswith("wiki:")} == {f"wiki:{name}" for name in names}
    assert documents["wiki:CON.md"]["title"] == "CON" and documents["wiki:a:b.md"]["text"] == "# a:b.md\n"
    assert reasons(manifest) == {"wiki:trailing.md.": "not a page", f"wiki:{'n' * 4000}.md": "path too long"}


def test_modes_that_git_does_not_write(repo, workspace):
    blob = bytes.fromhex(repo.git("hash-object", "-w", "--stdin", stdin=b"x = 1\n"))
    modes = [(b"0", b"a"), (b"100664", b"b"), (b"100000", b"c"), (b"107777", b"d"), (b"777", b"e"), (b"120777", b"f")]
    rows = [mode + b" " + name + b"\0" + blob for mode, name in [*modes, (b"100644", b"b")]]
    commit = repo.git("commit-tree", "-m", "Modes (#1)", literal(repo, "tree", b"".join(rows)))
    repo.git("update-ref", "refs/heads/main", commit)
    documents, manifest = run(repo, workspace)
    assert manifest["counts"]["documents"] == {"code": 3, "pull_request": 1}
    assert set(documents) == {"code:b", "code:c", "code:d", "pull_request:1"}
    assert reasons(manifest) == {"a": "submodule", "e": "submodule", "f": "symlink"}
    repo.lose("main:c")  # the one content of all
    assert documents["pull_request:1"]["text"].count("+x = 1") == 4
    with git_module.reading(repo.path) as env:
        [found] = patches.patches(env, [("", commit)])
    assert sum(text.startswith("[not available") for _, text in found) == 4
    broken = literal(repo, "tree", b"x a\0" + blob)
    repo.git("update-ref", "refs/heads/main", repo.git("commit-tree", "-m", "Broken", broken))
    with pytest.raises(SetupError, match="git ls-tree failed: .*malformed mode.*git fsck"):
        run(repo, workspace)


def test_path_of_the_repository_itself(repo, tmp_path, workspace, monkeypatch):
    repo.commit({"a.py": "1\n"}, "Start (#1)")
    (tmp_path / "odd").mkdir()
    for name in ("two words", "new\nline", "-rf", "--git-dir=x", "'quoted\"", "ends in\n", "é.git"):
        repo.path = repo.path.rename(tmp_path / "odd" / name)
        workspace.documents.unlink(missing_ok=True)
        assert set(run(repo, workspace)[0]) == {"code:a.py", "pull_request:1"}
        monkeypatch.chdir(tmp_path / "odd")
        workspace.documents.unlink()
        assert set(run(name, workspace)[0]) == {"code:a.py", "pull_request:1"}


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_gigabyte_is_never_read(repo, workspace):
    """Objects whose first bytes say 1 GiB, with nothing behind: whoever read one would fail."""
    ids = [digit * 40 for digit in "ab"]
    for oid in ids:
        place = repo.path / "objects" / oid[:2] / oid[2:]
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(zlib.compress(b"blob 1073741824\0" + b"some text\n" * 100))
    body = "".join(f"line {n}\n" for n in range(30))
    repo.commit({"a.py": body})
    kept = literal(repo, "tree", b"")

    def put(message, **names):
        rows = [f"{mode} {kind} {oid}\t{name}\n" for name, (mode, kind, oid) in names.items()]
        tree = repo.git("mktree", "--missing", stdin="".join(rows).encode())
        commit = repo.git("commit-tree", "-p", "main", "-m", message, tree)
        repo.git("update-ref", "refs/heads/main", commit)

    one, two = (
        ("100644", "blob", repo.git("hash-object", "-w", "--stdin", stdin=text.encode()))
        for text in (body, body + "2\n")
    )
    big, changed = (("100644", "blob", oid) for oid in ids)
    put("Add (#1)", a=one, large=big)
    put("Move and edit (#2)", a=two, moved=changed, sub=("040000", "tree", kept))
    put("Edit (#3)", a=two, moved=big)
    documents, manifest = run(repo, workspace)
    assert reasons(manifest) == {"moved": "too large"}
    assert files_of(documents["pull_request:1"]["text"])["large"] == ("added", "[not shown: binary]")
    found = files_of(documents["pull_request:2"]["text"])
    assert found["a"][1].endswith("+2") and found["large"] == ("removed", "[not shown: binary]")
    assert found["moved"] == ("added", "[not shown: binary]")
    assert files_of(documents["pull_request:3"]["text"]) == {"moved": ("modified", "[not shown: binary]")}


def test_git_holds_no_more_than_it_may(repo, monkeypatch):
    repo.commit({"a.py": "1\n", "b.txt": "some text\n" * 200_000}, "Start (#1)")
    monkeypatch.setattr(patches, "MEMORY", "1m")
    found = files_of(read(repo)[0]["pull_request:1"]["text"])
    assert found["a.py"][1] == "@@ -0,0 +1 @@\n+1" and found["b.txt"][1].startswith("[not available")


def test_thousands_of_files(repo):
    long = "name_that_fills_pipes_" * 4
    repo.commit({f"src/m{n // 100}/s{n // 10}/{long}{n}.py": f"x = {n % 7}\n" for n in range(3000)}, "Start (#1)")
    repo.commit({".gitattributes": "src/m1/** linguist-generated\n"})
    changed = {f"src/m{n // 100}/s{n // 10}/{long}{n}.py": f"x = {n % 7 + 1}\n" for n in range(2000)}
    repo.commit(changed | {f"src/m0/s0/{long}3.py": "lost\n"}, "Change (#2)")
    repo.commit({f"src/m0/s0/{long}3.py": "x\n"})
    repo.lose(f"main~1:src/m0/s0/{long}3.py")
    documents, skipped, notes = read(repo)
    assert len(documents) == 2900 + 1 + 2 and set(skipped.values()) == {"generated"} and notes == []
    found = files_of(documents["pull_request:2"]["text"])
    assert len(found) == 2000 and found[f"src/m0/s0/{long}7.py"] == ("modified", "@@ -1 +1 @@\n-x = 0\n+x = 1")
    assert found[f"src/m0/s0/{long}3.py"][1] == "[not available: this clone lacks the file's content]"
    assert sum(text == "[not shown: generated]" for _, text in found.values()) == 100
    assert len(files_of(documents["pull_request:1"]["text"])) == 3000


def test_more_files_than_a_text_takes(repo, workspace, monkeypatch):
    repo.commit({"a": "1\n", "b": "1\n", "c": "1\n"}, "Start (#1)")
    monkeypatch.setattr("ftlib.scrape.history.FILES_LIMIT", 100)
    text = run(repo, workspace)[0]["pull_request:1"]["text"]
    assert "File: b, Status: added" in text and text.endswith("+1\n\n[cut: 1 more files]")


def test_messages_of_megabytes(repo, workspace):
    repo.commit({"a.py": "1\n"}, "Long (#1)\n\n" + "All the words.\n" * 350_000)
    repo.commit({"a.py": "2\n"}, "y" * 5_000_000 + " (#2)")
    repo.commit({"a.py": "3\n"}, "a " * 2_000_000 + "(" * 1_000_000)
    repo.commit({"a.py": "4\n"}, f"Many digits (#{'9' * 5000})\n")
    repo.commit({"a.py": "5\n"}, f"Merge pull request #{'9' * 5000} from o/x\n\nTitle\n")
    documents, _ = run(repo, workspace)
    assert {key for key in documents if key.startswith("pull")} == {"pull_request:1", "pull_request:2"}
    text = documents["pull_request:1"]["text"]
    assert len(text) < 101_000 and "\n[cut: 5,149,999 more characters]\nMerged at: 2023" in text
    assert documents["pull_request:2"]["title"] == f"PR #2: {'y' * 300}…"


# --- commits ----------------------------------------------------------------------------------------------------------


def test_dates_at_the_ends_of_time(repo, workspace):
    old = repo.commit({"a.py": "1\n"}, "Old (#1)", date="@0")
    repo.commit({"a.py": "2\n"}, "New (#2)", date="2023-01-01T00:00:00Z")
    repo.commit({"a.py": "3\n"}, "Far (#3)", date=f"@{2**40}")
    documents, manifest = run(repo, workspace)
    assert (manifest["date"], documents["code:a.py"]["date"]) == ("", "")
    assert documents["pull_request:1"]["text"].startswith("Merged at: 1970-01-01T00:00:00Z\n")
    assert documents["pull_request:3"]["date"] == ""
    assert documents["pull_request:3"]["text"].startswith("File: a.py, Status: modified\n")
    documents, manifest = run(repo, workspace, date="2023-06-01")
    assert documents["code:a.py"]["text"] == "2\n" and manifest["date"] == "2023-01-01T00:00:00Z"
    documents, manifest = run(repo, workspace, date="1990-01-01")
    assert (manifest["commit"], manifest["date"]) == (old, "1970-01-01T00:00:00Z")


@pytest.mark.parametrize("stamp", ["", " -86400 +0000", " 99999999999999999999999999 +0000", " soon", "\0"])
def test_dates_that_are_none(repo, workspace, stamp):
    parent = repo.commit({"a.py": "1\n"})
    repo.commit({"b.py": "1\n"}, branch="side", start="main")
    tree = repo.git("rev-parse", "side^{tree}")
    who = f"author A <a@b>{stamp}\ncommitter A <a@b>{stamp}\n\nMerge pull request #1 from o/side\n\nTitle\n\nWhy\n"
    data = f"tree {tree}\nparent {parent}\nparent {repo.git('rev-parse', 'side')}\n{who}".encode()
    repo.git("update-ref", "refs/heads/main", literal(repo, "commit", data))
    repo.commit({"c.py": "1\n"}, "Good again (#2)")
    documents, _ = run(repo, workspace)
    assert "File: c.py, Status: added" in documents["pull_request:2"]["text"]
    if stamp != "\0":  # there the message ends for git
        if "999" not in stamp:  # which makes it the newest
            assert "Created at: 2023-01-01T12:00:00Z\n" in documents["pull_request:1"]["text"]
        assert files_of(documents["pull_request:1"]["text"]) == {"b.py": ("added", "@@ -0,0 +1 @@\n+1")}


def test_merge_of_many_branches(repo, workspace):
    start = repo.commit({"a.py": "1\n"})
    sides = []
    for day, name in ((2, "one"), (3, "two"), (4, "three")):
        date = f"2023-01-0{day}T00:00:00Z"
        sides.append(repo.commit({f"{name}.py": "1\n"}, date=date, branch=name, start="main"))
    blobs = "".join(
        f"100644 blob {repo.git('rev-parse', 'one:one.py')}\t{n}.py\n" for n in ("a", "one", "three", "two")
    )
    tree = repo.git("mktree", stdin=blobs.encode())
    parents = [part for parent in (start, *sides) for part in ("-p", parent)]
    message = "Merge pull request #1 from o/one\n\nThree at once"
    repo.git("update-ref", "refs/heads/main", repo.git("commit-tree", *parents, "-m", message, tree))
    text = run(repo, workspace)[0]["pull_request:1"]["text"]
    assert text.startswith("Created at: 2023-01-02") and set(files_of(text)) == {"one.py", "three.py", "two.py"}


def test_titles_with_hidden_characters(repo, workspace):
    title = "\x1b[31mred\x07 \u202eexe.txt\u2066 a\tb\x9b\u2028c\u200dd"
    repo.commit({"a.py": "1\n", "b.md": f"# {title}\n"}, f"{title} (#1)")
    documents, _ = run(repo, workspace)
    plain = "\\x1b[31mred\\x07 \\u202eexe.txt\\u2066 a\\tb\\x9b\\u2028c\u200dd"
    assert documents["pull_request:1"]["title"] == f"PR #1: {plain}" and documents["docs:b.md"]["title"] == plain


def test_names_of_branches_that_look_like_options(repo, tmp_path, workspace):
    commit = repo.commit({"a.py": "1\n"}, "Start (#1)")
    for ref in ("refs/heads/--output=x", "refs/tags/--upload-pack=y", "refs/heads/-", "refs/tags/main"):
        repo.git("update-ref", ref, commit)
    for branch in ("--output=x", "--upload-pack=y", "-"):
        workspace.documents.unlink(missing_ok=True)
        documents, manifest = run(repo, workspace, branch=branch)
        assert set(documents) == {"code:a.py", "pull_request:1"} and manifest["branch"] == branch
    (repo.path / "HEAD").write_text("ref: refs/heads/--output=x\n")
    assert run(repo, workspace)[1]["commit"] == commit
    with pytest.raises(SetupError, match="has no branch '--all'"):
        run(repo, workspace, branch="--all")


def test_replacements_and_grafts_are_not_followed(repo, workspace):
    first = repo.commit({"a.py": "real\n"})
    second = repo.commit({"a.py": "real\nmore\n"}, "Add (#1)")
    other = repo.commit({"a.py": "forged\n"}, "Forged", branch="other")
    repo.git("replace", second, other)
    repo.git("replace", f"{first}:a.py", f"{other}:a.py")
    (repo.path / "info").mkdir(exist_ok=True)
    (repo.path / "info/grafts").write_text(f"{second} {other}\n")
    documents, manifest = run(repo, workspace)
    assert documents["code:a.py"]["text"] == "real\nmore\n" and manifest["commit"] == second
    assert documents["pull_request:1"]["text"].endswith("@@ -1 +1,2 @@\n real\n+more")
