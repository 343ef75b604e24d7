"""Attributes, what git prints of changes, and the names of files that nobody writes by hand."""

import subprocess
import zlib
from contextlib import closing

import pytest
from repositories import files_of, reasons, run
from test_scrape_hostile import nothing_else_is_touched, read  # noqa: F401  # a fixture of all tests here

from ftlib.scrape import git as git_module
from ftlib.scrape import patches
from ftlib.scrape.filters import UNREADABLE, path_reason, text_reason

# --- .gitattributes ---------------------------------------------------------------------------------------------------


def test_attributes_of_megabytes_are_left_out(repo, workspace):
    rules = "".join(f"/f{n}/**/*.generated.txt x{n}\n" for n in range(200_000)) + "a.py linguist-generated\n"
    repo.commit({".gitattributes": rules, "a.py": "1\n", "sub/.gitattributes": "b.py linguist-generated\n"}, "All (#1)")
    repo.commit({"sub/b.py": "1\n"})
    documents, skipped, notes = read(repo, limit=10**8)
    assert notes == ["1 .gitattributes of more than 500,000 bytes: its rules were not used."]
    assert "code:a.py" in documents and skipped == {"sub/b.py": "generated"}
    assert notes[0] in run(repo, workspace)[1]["notes"]


def test_attributes_that_name_each_other(repo):
    macros = ["[attr]m0 linguist-generated"] + [f"[attr]m{n} {f'm{n - 1} ' * 9}-m{n + 1}" for n in range(1, 60)]
    repo.commit({".gitattributes": "\n".join([*macros, "a.py m59\nb.py -m59\n"]), "a.py": "1\n", "b.py": "2\n"})
    documents, skipped, notes = read(repo)
    assert skipped == {"a.py": "generated"} and "code:b.py" in documents and notes == []


def test_attributes_that_take_for_ever_are_given_up(repo, monkeypatch):
    monkeypatch.setattr(git_module, "ATTRIBUTES_SECONDS", 0.3)
    path = "a" * 60 + "/c.py"
    rules = f"/{'*a' * 20}/b linguist-generated\ng.py linguist-generated\n"
    early = {f"0/{n}/{'folder' * 4}/g.py": "1\n" for n in range(1000)}  # asked for, and answered, before
    repo.commit(early)
    repo.commit({".gitattributes": rules, path: "1\n", "g.py": "1\n"}, "Start (#1)")
    documents, skipped, notes = read(repo)
    assert notes == ["The rules of the .gitattributes files were not used: they took git more than 0.3 seconds."]
    assert {f"code:{path}", "code:g.py", *(f"code:{path}" for path in early)} <= set(documents) and skipped == {}
    assert files_of(documents["pull_request:1"]["text"])[path][1] == "@@ -0,0 +1 @@\n+1"


def test_attributes_in_folders_that_windows_could_not_hold(repo):
    names = ["git~1", "a\\b", ".g\u200cit", "x:y", "CON"]
    rule = "g.py linguist-generated\n"
    repo.commit(
        {f"{name}/{file}": text for name in names for file, text in ((".gitattributes", rule), ("g.py", "1\n"))}
    )
    blob = repo.git("hash-object", "-w", "--stdin", stdin=rule.encode())
    inner = repo.git("mktree", stdin=f"100644 blob {blob}\t.gitattributes\n100644 blob {blob}\tg.py\n".encode())
    rows = repo.git("ls-tree", "-z", "main") + f"040000 tree {inner}\t..\0"
    commit = repo.git("commit-tree", "-m", "Up (#1)", repo.git("mktree", "-z", stdin=rows.encode()))
    repo.git("update-ref", "refs/heads/main", commit)
    documents, skipped, notes = read(repo)
    unsafe = {"../.gitattributes": "unsafe path", "../g.py": "unsafe path"}
    assert skipped == {f"{name}/g.py".replace("\u200c", "\\u200c"): "generated" for name in names} | unsafe
    assert notes == [] and files_of(documents["pull_request:1"]["text"])["../g.py"][1] == "[not shown: unsafe path]"


# --- git's answers ----------------------------------------------------------------------------------------------------


def test_what_looks_like_git_own_output_is_data(repo, workspace):
    trees = repo.git("rev-parse", "main^{tree}") if repo.commit({"a.py": "1\n"}) else ""
    text = f"=1\n{trees} {trees}\ndiff --git a/x b/x\n:100644 100644 1 2 M\n"
    names = [f"=1\n{trees} {trees}", "\n=1\n", "=1", ":100644 100644 1 2 M", "diff --git a", "\n\ndiff --git ", "a\tb"]
    repo.commit({name: text for name in names}, "One (#1)")
    repo.commit({}, "Nothing (#2)")
    repo.commit({names[1]: text + "=2\n", "z.py": "=3\n"}, "Two (#3)")
    documents, _ = run(repo, workspace)
    found = files_of(documents["pull_request:1"]["text"])
    lines = text.replace("\n", "\n+").removesuffix("\n+")
    assert {path.encode().decode("unicode_escape") for path in found} == set(names)
    assert set(found.values()) == {("added", f"@@ -0,0 +1,4 @@\n+{lines}")}
    assert documents["pull_request:2"]["text"].endswith("[none: it changed no file]")
    assert [body for _, body in files_of(documents["pull_request:3"]["text"]).values()] == [
        f"@@ -2,3 +2,4 @@\n {trees} {trees}\n diff --git a/x b/x\n :100644 100644 1 2 M\n+=2",
        "@@ -0,0 +1 @@\n+=3",
    ]


def test_a_missing_object_costs_its_own_pull_request_only(repo, workspace):
    for number in range(1, 8):
        repo.commit({"a.py": f"{number}\n", f"n{number}.py": f"{number} {number}\n"}, f"Pull (#{number})")
    repo.lose("main~2:n5.py")
    repo.lose("main~5:a.py")
    documents, manifest = run(repo, workspace)
    bodies = {n: files_of(documents[f"pull_request:{n}"]["text"]) for n in range(1, 8)}
    absent = "[not available: this clone lacks the file's content]"
    for number, found in bodies.items():
        assert found["a.py"][1] == absent if number in (2, 3) else found["a.py"][1].endswith(f"+{number}")
        assert found[f"n{number}.py"][1] == (absent if number == 5 else f"@@ -0,0 +1 @@\n+{number} {number}")
    assert reasons(manifest) == {"n5.py": UNREADABLE}


def test_patches_between_trees_and_from_nothing(repo):
    first = repo.commit({"a.py": "1\n", "b.py": "1\n"})
    second = repo.commit({"a.py": "2\n"})
    tree = repo.git("rev-parse", f"{first}^{{tree}}")
    with git_module.reading(repo.path) as env:
        pairs = [(tree, second), ("", first), (second, second), ("1" * 40, second), (first, second)]
        rows = list(patches.patches(env, pairs))
    changed = [(["File: a.py, Status: modified"], "@@ -1 +1 @@\n-1\n+2")]
    added = [([f"File: {name}.py, Status: added"], "@@ -0,0 +1 @@\n+1") for name in "ab"]
    marks = ("[none: it changed no file]", "[not available: this clone lacks its list of files]")
    assert rows == [changed, added, *([([], mark)] for mark in marks), changed]


def test_patches_that_arrive_in_any_pieces(repo, monkeypatch):
    repo.commit({"a.py": "1\n", "b.py": "1\n", "kind": "x\n"})
    first = repo.commit({"a.py": "2\n", "c.py": "1\n", "b.py": None}, "One (#1)")
    second = repo.commit({"a.py": "3\n", "d d.py": "1\n2\n"}, "Two (#2)")
    pairs = [("", first), (first, second), (second, second), (first, second)]
    with git_module.reading(repo.path) as env:
        expected = list(patches.patches(env, pairs))
        for size in (1, 2, 7):
            monkeypatch.setattr(patches._Output, "more", lambda self, n=size: self.data.extend(self.stream.read1(n)))
            assert list(patches.patches(env, pairs)) == expected


def test_damaged_tree_costs_its_own_pull_request_only(repo, workspace):
    repo.commit({"a.py": "1\n", "sub/b.py": "1\n"})
    for number in range(1, 5):
        repo.commit({"a.py": f"{number} {number}\n"}, f"Pull (#{number})")
    oid = repo.git("rev-parse", "main~2^{tree}")
    repo.lose("main~2^{tree}")
    (repo.path / "objects" / oid[:2] / oid[2:]).write_bytes(zlib.compress(b"tree 1000\0cut off"))
    documents, _ = run(repo, workspace)
    texts = [documents[f"pull_request:{number}"]["text"] for number in range(1, 5)]
    assert [text.endswith("[not available: this clone lacks its list of files]") for text in texts] == [
        False,
        True,
        True,
        False,
    ]
    assert texts[3].endswith("@@ -1 +1 @@\n-3 3\n+4 4")


def test_patches_are_read_as_they_are_asked_for(repo, monkeypatch):
    for number in range(5):
        repo.commit({"a.py": f"{number}\n" * 100_000}, f"Pull (#{number})")  # more than pipes hold
    log = repo.git("log", "--format=%H", "main").split()
    pairs = list(zip(log[1:], log, strict=False))
    with git_module.reading(repo.path) as env:
        with closing(patches.patches(env, pairs)) as rows:
            next(rows)
        with pytest.raises(KeyboardInterrupt), closing(patches.patches(env, pairs)) as rows:
            next(rows)
            monkeypatch.setattr(patches, "_patch", lambda change: (_ for _ in ()).throw(KeyboardInterrupt))
            next(rows)
    # That no process is left is seen by the fixture.


def test_sha256(tmp_path, repo, workspace):
    subprocess.run(["git", "init", "-q", "--bare", "--object-format=sha256", repo.path, "-b", "main"], check=False)
    repo.path.rename(tmp_path / "odd")
    subprocess.run(["git", "init", "-q", "--bare", "--object-format=sha256", "-b", "main", repo.path], check=True)
    repo.commit({"a.py": "1\n", "g.py": "1\n", ".gitattributes": "g.py linguist-generated\n"}, "One (#1)")
    repo.commit({"a.py": "2\n"}, "Two (#2)")
    documents, manifest = run(repo, workspace)
    assert len(manifest["commit"]) == 64 and reasons(manifest) == {"g.py": "generated"}
    assert documents["pull_request:2"]["text"].endswith("@@ -1 +1 @@\n-1\n+2")
    assert len(files_of(documents["pull_request:1"]["text"])) == 3


# --- generated, vendored, data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "paths"),
    [
        (
            "generated",
            """api/x_pb2.py x_pb2_grpc.py x_pb2.pyi x.pb.go x.pb.gw.go a.pb.cc x.pb.swift m.g.dart m.freezed.dart
            m.pbenum.dart Form.Designer.cs form.designer.vb Page.g.cs Page.g.i.cs src/__generated__/q.ts q.generated.ts
            zz_generated.deepcopy.go monster_generated.h .pnp.cjs .pnp.loader.mjs a.test.js.snap""",
        ),
        (
            "vendored",
            """node_modules/a.js x/vendor/a.go third-party/a.c third_party/a.c Pods/A/a.m gradlew x/gradlew.bat mvnw
            .yarn/releases/yarn-4.cjs .yarn/plugins/p.cjs web/jquery.js web/jquery-3.6.0.slim.js bootstrap.css
            bootstrap-5.1.bundle.js Carthage/Checkouts/a.swift lib/site-packages/a.py""",
        ),
        (
            "lock file",
            "Cargo.lock a/Gopkg.lock go.sum Cartfile.resolved MODULE.bazel.lock packages.lock.json bun.lockb",
        ),
        ("minified or data", "a.min.js a-min.css b.css.map b.d.ts.map c.CSV d.tsv e.jsonl f.geojson logo.svg"),
        ("binary", "a.PNG b.woff2 c.tar.gz"),
        (
            None,
            """dist/a.js a_pb2_test.py pb.go generated.py regenerated.ts code_generated.py mock_a.go pods/a.go
            designer.cs my.dart vendors.py src/vendored.go jquery.plugin.js bootstrap.ts gradlew.md min.js admin.js
            map.js csv.py data.json a.lock yarn.lock.md Pods.md my-site-packages/a.py""",
        ),
    ],
)
def test_names_of_what_nobody_writes_by_hand(reason, paths):
    assert {path: path_reason(path, "100644", {}) for path in paths.split()} == dict.fromkeys(paths.split(), reason)


def test_a_repository_may_call_such_files_its_own():
    own = {"linguist-generated": "unset", "linguist-vendored": "false"}
    paths = ["a_pb2.py", "vendor/a.go", "src/__generated__/q.ts"]
    assert [path_reason(path, "100644", own) for path in paths] == [None] * 3
    # Not compared by git at all, so never to be shown.
    assert [path_reason(path, "100644", own) for path in ("yarn.lock", "a.snap", "a.min.js")] == [
        "lock file",
        "generated",
        "minified or data",
    ]


def test_notebooks_with_pictures_are_data():
    cells = '   "source": ["x = 1\\n"],\n' * 200
    assert text_reason("a.ipynb", cells) is None
    picture = f'   "image/png": "{"iVBORw0KGgo" * 600}",\n'
    assert text_reason("a.ipynb", cells + picture) == "minified or data"
    assert text_reason("a.py", cells + picture) is None
    assert text_reason("a.cs", "// <auto-generated>\n// by a tool\n") == "generated"


def test_what_git_need_not_compare_is_marked_all_the_same(repo, workspace):
    body = "".join(f"line {n}\n" for n in range(30))
    names = ["yarn.lock", "Cargo.lock", "a.snap", "a.svg", "b.min.js", "c.png"]
    repo.commit({name: "1\n" for name in names} | {"old.py": body})
    repo.commit({name: "2\n" for name in names} | {"old.py": None, "new.py": body + "more\n"}, "Change (#1)")
    repo.lose("main~1:c.png")  # the same content in all: read, it would stop git, and there would be no rename
    found = files_of(run(repo, workspace)[0]["pull_request:1"]["text"])
    assert {name: found[name][1] for name in names} == {
        "yarn.lock": "[not shown: lock file]",
        "Cargo.lock": "[not shown: lock file]",
        "a.snap": "[not shown: generated]",
        "a.svg": "[not shown: minified or data]",
        "b.min.js": "[not shown: minified or data]",
        "c.png": "[not shown: binary]",
    }
    assert found["new.py"][0] == "renamed from old.py"
