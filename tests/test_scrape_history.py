"""Pull requests out of a history: which, with which dates, and what stands in for a patch that is not shown."""

import subprocess

from repositories import LINK, SUBMODULE, files_of, run

from ftlib.scrape import patches


def pull(repo, workspace, number=1, **settings):
    return run(repo, workspace, **settings)[0][f"pull_request:{number}"]


def test_merge_commit(repo, workspace):
    repo.git("config", "remote.origin.url", "https://github.com/o/n.git")
    repo.commit({"a.py": "one\ntwo\n"}, date="2023-01-01T00:00:00Z")
    repo.commit({"new.py": "x = 1\n"}, "start", date="2023-01-02T00:00:00Z", branch="side", start="main")
    repo.commit({"other.py": "not mine\n"}, "meanwhile", date="2023-01-03T00:00:00Z")
    repo.commit({"a.py": "one\n2\n"}, "go on", date="2023-01-04T00:00:00Z", branch="side")
    message = "Merge pull request #12 from someone/side\n\nTidy up  \n\nBecause.\n\n- it helps\n"
    merged = {"new.py": "x = 1\n", "a.py": "one\n2\n"}
    commit = repo.commit(merged, message, date="2023-01-05T00:00:00Z", merge="side")
    row = pull(repo, workspace, 12)
    assert row.pop("text") == (
        "URL: https://github.com/o/n/pull/12\n"
        "Description: Because.\n\n- it helps\n"
        "Created at: 2023-01-02T00:00:00Z\n"
        "Merged at: 2023-01-05T00:00:00Z\n\n"
        "File: a.py, Status: modified\nChanges:\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n\n"
        "File: new.py, Status: added\nChanges:\n@@ -0,0 +1 @@\n+x = 1"
    )
    assert row == {
        "id": "pull_request:12",
        "source": "pull_request",
        "title": "PR #12: Tidy up",
        "path": "pull/12",
        "url": "https://github.com/o/n/pull/12",
        "date": "2023-01-05T00:00:00Z",
        "commit": commit,
        "licence": "",
    }


def test_squash_commit_and_what_is_none(repo, workspace):
    repo.commit({"a.py": "1\n"}, "The first commit (#1)")
    repo.commit({"a.py": "2\n"}, "See #77 and (#78) for more")
    repo.commit({"a.py": "3\n"}, "Merge branch 'x' into y (#5) again")
    repo.commit({"a.py": "4\n"}, "Squash it (#2)\n\n* step\n")
    repo.commit({}, "Nothing (#3)")
    repo.commit({"a.py": "5\n"}, "Merge pull request #4 from o/topic-name")
    documents, _ = run(repo, workspace)
    pulls = {row["id"]: row for row in documents.values() if row["source"] == "pull_request"}
    assert {key: row["title"] for key, row in pulls.items()} == {
        "pull_request:1": "PR #1: The first commit",
        "pull_request:2": "PR #2: Squash it",
        "pull_request:3": "PR #3: Nothing",
        "pull_request:4": "PR #4: topic-name",
    }
    assert pulls["pull_request:2"]["text"] == (
        "Description: * step\nMerged at: 2023-01-01T12:00:00Z\n\n"
        "File: a.py, Status: modified\nChanges:\n@@ -1 +1 @@\n-3\n+4"
    )
    assert files_of(pulls["pull_request:1"]["text"]) == {"a.py": ("added", "@@ -0,0 +1 @@\n+1")}
    assert pulls["pull_request:3"]["text"].endswith("Changes: [none: it changed no file]")


def test_the_last_n_by_merge_date_up_to_the_snapshot(repo, workspace):
    for number, day in ((5, 4), (9, 1), (7, 3), (8, 2)):  # the line is not in order of date
        repo.commit({"a.py": f"{number}\n"}, f"Pull (#{number})", date=f"2023-02-0{day}T00:00:00Z")
    repo.commit({"a.py": "x\n"}, "Again (#9)", date="2023-03-01T00:00:00Z")

    def numbers(**settings):
        return [int(key.split(":")[1]) for key in run(repo, workspace, **settings)[0] if key.startswith("pull")]

    assert numbers() == [5, 7, 8, 9]  # 9 counts by its first commit
    assert numbers(pull_requests=2) == [5, 7]
    assert numbers(pull_requests=0) == []
    repo.commit({"a.py": "y\n"}, "Later (#10)", date="2023-04-01T00:00:00Z")
    assert numbers(date="2023-03-15", pull_requests=1) == [5]
    assert numbers(pull_requests=1) == [10]


def test_rename_deletion_and_what_is_not_shown(repo, workspace):
    body = "".join(f"line {n}\n" for n in range(30))
    lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 1\n"
    before = {
        "old name.py": body,
        "moved.py": body.upper(),
        "dead.py": "gone\n",
        "image.dat": b"\0\1",
        "yarn.lock": "1\n",
        "data.js": "x" * 3000,
        "vendor/v.js": "1\n",
        "model.txt": lfs.format(1),
        "latin.py": "é\n".encode("latin-1"),
        "kind": "a file\n",
        "gen.ts": "x\n",
        "long.ts": "y" * 400 + "\n",
        "page.md": "z" * 3000,
        "x.test.tsx.snap": "1\n",
        "dead link": (LINK, "far/far/away"),
        "late.py": body,
    }
    repo.commit(before | {".gitattributes": "gen.ts linguist-generated\n"})
    after = {
        "old name.py": None,
        "new\nname.py": body.replace("line 7\n", "line seven\n"),
        "moved.py": None,
        "sub/moved.py": body.upper(),
        "dead.py": None,
        "image.dat": b"\0\2",
        "yarn.lock": "2\n",
        "data.js": "y" * 3000,
        "vendor/v.js": "2\n",
        "model.txt": lfs.format(2),
        "latin.py": "è\n".encode("latin-1"),
        "kind": (LINK, "dead.py"),
        "gen.ts": "y\n",
        "long.ts": "y" * 400 + "\nshort\n",
        "page.md": "w" * 3000,
        "x.test.tsx.snap": "2\n",
        "dead link": None,
        "late.py": body + "# @generated\n",
        "marked.py": "# @generated\n",
        "nothing.py": "",
        "link": (LINK, "x"),
        "module": (SUBMODULE, "1" * 40),
        "tricky.py": "diff --git a/x b/x\n@@ -1 +1 @@\nBinary files a and b differ\n",
    }
    repo.commit(after, "Much (#1)")
    found = files_of(pull(repo, workspace)["text"])
    marks = {path: body for path, (_, body) in found.items() if body.startswith("[")}
    assert marks == {
        "sub/moved.py": "[none: only its name or mode changed]",
        "image.dat": "[not shown: binary]",
        "yarn.lock": "[not shown: lock file]",
        "data.js": "[not shown: minified or data]",
        "vendor/v.js": "[not shown: vendored]",
        "model.txt": "[not shown: LFS pointer]",
        "latin.py": "[not shown: not UTF-8]",
        "kind": "[not shown: symlink]",
        "gen.ts": "[not shown: generated]",
        "x.test.tsx.snap": "[not shown: generated]",
        "marked.py": "[not shown: generated]",
        "nothing.py": "[none: the file is empty]",
        "link": "[not shown: symlink]",
        "dead link": "[not shown: symlink]",
        "module": "[not shown: submodule]",
    }
    assert set(found) == set(marks) | {"new\\nname.py", "dead.py", "long.ts", "page.md", "tricky.py", "late.py"}
    assert found["new\\nname.py"][0] == "renamed from old name.py"
    assert "-line 7\n+line seven\n" in found["new\\nname.py"][1]
    assert found["dead.py"] == ("removed", "@@ -1 +0,0 @@\n-gone")
    assert found["sub/moved.py"][0] == "renamed from moved.py" and found["nothing.py"][0] == "added"
    assert found["tricky.py"][1].endswith("+diff --git a/x b/x\n+@@ -1 +1 @@\n+Binary files a and b differ")


def test_a_link_that_becomes_a_file_keeps_the_others_in_step(repo, workspace):
    repo.commit({"a": (LINK, "x"), "b.py": "1\n"})
    repo.commit({"a": "text\n", "b.py": "2\n"}, "Type (#1)")
    assert files_of(pull(repo, workspace)["text"]) == {
        "a": ("modified", "[not shown: the file's type changed]"),
        "b.py": ("modified", "@@ -1 +1 @@\n-1\n+2"),
    }


def test_patches_over_the_limits_are_named(repo, workspace, monkeypatch):
    repo.commit({"a.py": "1\n"})
    repo.commit({f"{name}.py": "some line\n" * 3000 for name in "abcd"}, "Big (#1)")
    monkeypatch.setattr(patches, "PULL_LIMIT", 70_000)
    bodies = [body for _, body in files_of(pull(repo, workspace)["text"]).values()]
    assert [body.startswith("@@") for body in bodies] == [True, True, False, False]
    assert bodies[3] == "[not shown: the pull request's changes exceed 70,000 characters]"
    monkeypatch.setattr(patches, "FILE_LIMIT", 10_000)
    workspace.documents.unlink()
    bodies = [body for _, body in files_of(pull(repo, workspace)["text"]).values()]
    assert bodies[1] == "[not shown: 33,018 characters]"


def test_branch_that_took_main_in_starts_at_its_own_first_commit(repo, workspace):
    repo.commit({"a.py": "1\n"}, date="2023-01-01T00:00:00Z")
    for branch, day in (("early", 2), ("late", 5)):
        repo.commit({f"{branch}.py": "1\n"}, date=f"2023-01-0{day}T00:00:00Z", branch=branch, start="main")
    message = "Merge pull request #{0} from o/x\n\nPull {0}"
    repo.commit({"early.py": "1\n"}, message.format(1), date="2023-01-06T00:00:00Z", merge="early")
    repo.commit({"early.py": "1\n"}, "Take main in", date="2023-01-07T00:00:00Z", branch="late", merge="main")
    repo.commit({"late.py": "1\n"}, message.format(2), date="2023-01-08T00:00:00Z", merge="late")
    text = pull(repo, workspace, 2)["text"]
    assert "Created at: 2023-01-05" in text and "early.py" not in text
    assert "Created at: 2023-01-02" in pull(repo, workspace, 1)["text"]
    assert "Created at: 2023-01-05" in pull(repo, workspace, 2, pull_requests=1)["text"]
    repo.commit({"on.py": "1\n"}, date="2023-01-07T12:00:00Z", branch="stacked", start="early")
    repo.commit({"on.py": "1\n"}, message.format(3), date="2023-01-09T00:00:00Z", merge="stacked")
    assert "Created at: 2023-01-07" in pull(repo, workspace, 3)["text"]


def test_missing_blob_marks_its_file_and_no_other(repo, workspace):
    repo.commit({"a.py": "1\n", "b.py": "1\n"})
    repo.commit({"a.py": "2\n", "b.py": "lost\n", "[a].py": "1\n"}, "Change (#1)")
    repo.commit({"a.py": "3\n", "b.py": "3\n"})
    repo.lose("main~1:b.py")
    text = pull(repo, workspace)["text"]
    assert text.count("File: a.py") == 1  # a name is no pattern
    assert files_of(text) == {
        "a.py": ("modified", "@@ -1 +1 @@\n-1\n+2"),
        "b.py": ("modified", "[not available: this clone lacks the file's content]"),
        "[a].py": ("added", "@@ -0,0 +1 @@\n+1"),
    }


def test_missing_tree_is_said(repo, workspace):
    repo.commit({"sub/a.py": "1\n"})
    repo.commit({"sub/a.py": "2\n"}, "Change (#1)")
    repo.commit({"sub/a.py": "3\n"})
    repo.lose("main~1:sub")
    assert pull(repo, workspace)["text"].endswith("\n\nChanges: [not available: this clone lacks its list of files]")


def test_shallow_boundary_is_said_and_not_taken_for_the_first_commit(repo, tmp_path, workspace):
    repo.commit({"a.py": "1\n"})
    repo.commit({"b.py": "1\n"}, date="2023-01-02T00:00:00Z", branch="side", start="main")
    message = "Merge pull request #1 from o/side\n\nOne"
    repo.commit({"b.py": "1\n"}, message, date="2023-01-03T00:00:00Z", merge="side")
    repo.commit({"c.py": "1\n"}, "Two (#2)", date="2023-01-04T00:00:00Z")
    shallow = tmp_path / "shallow.git"
    subprocess.run(["git", "clone", "-q", "--bare", "--depth=2", repo.path.as_uri(), shallow], check=True)
    text = pull(shallow, workspace)["text"]
    assert text == (
        "Merged at: 2023-01-03T00:00:00Z\n\nChanges: [not available: the clone is shallow and starts with this commit]"
    )
    assert "+1" in pull(shallow, workspace, 2)["text"]


def test_branch_beyond_a_shallow_clone_has_no_created_line(repo, tmp_path, workspace):
    repo.commit({"a.py": "1\n"})
    for day in (2, 3, 4):
        repo.commit({"b.py": f"{day}\n"}, date=f"2023-01-0{day}T00:00:00Z", branch="side", start="main")
    repo.commit({"a.py": "2\n"}, date="2023-01-05T00:00:00Z")
    repo.commit({"b.py": "4\n"}, "Merge pull request #1 from o/side", date="2023-01-06T00:00:00Z", merge="side")
    shallow = tmp_path / "shallow.git"
    subprocess.run(["git", "clone", "-q", "--bare", "--depth=2", repo.path.as_uri(), shallow], check=True)
    text = pull(shallow, workspace)["text"]
    assert "Created at" not in text and files_of(text) == {"b.py": ("added", "@@ -0,0 +1 @@\n+4")}
