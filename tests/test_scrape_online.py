"""Pull requests from a GitHub-shaped server and a real repository together: their text, their changes, their marks."""

import subprocess

import pytest
from github_server import GitHubServer, pull, said, thread
from repositories import Repo

from ftlib import sample
from ftlib.scrape import ScrapeConfig, github, scrape, source
from ftlib.workspace import read_jsonl

NAME = "fennhollow/brindlewick"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(github, "sleep", lambda seconds: None)


def git(repository, *args):
    return subprocess.run(["git", f"--git-dir={repository}", *args], capture_output=True, text=True, check=True).stdout


def sample_records(repository):
    """The sample's pull requests as GitHub would have them."""
    merges = {
        line.split(" ", 1)[1].split("#")[1].split(" ")[0]: line.split(" ", 1)[0]
        for line in git(repository, "log", "--first-parent", "--format=%H %s", "main").splitlines()
        if "Merge pull request" in line
    }
    rows = []
    for one in sample.pulls():
        number = one["number"]
        head = git(repository, "rev-parse", f"refs/pull/{number}/head").strip()
        changed = git(repository, "diff", "--name-only", f"{merges[str(number)]}^1...{head}").splitlines()
        rows.append(
            pull(
                number,
                one["merged_at"],
                title=one["title"],
                body=one["body"].replace("\n", "\r\n"),
                author=one["author"],
                createdAt=one["created_at"],
                labels=one["labels"],
                headRefOid=head,
                mergeCommit=merges[str(number)],
                comments=[said(c["body"], c["created_at"], c["author"]) for c in one["comments"]],
                reviews=[said("", one["merged_at"], "osier", state="APPROVED")],
                reviewThreads=[
                    {"path": c["path"], "line": c["line"], "comments": [said(c["body"], c["created_at"], c["author"])]}
                    for c in one["review_comments"]
                ],
                files=[{"filename": name} for name in changed],
            )
        )
    return rows


def run(hub, workspace, repository="sample", token="a token", **settings):
    config = ScrapeConfig(str(repository), pull_requests_from="github", api=hub.api, **settings)
    manifest = scrape(config, workspace, token=token)
    return {row["id"]: row for row in read_jsonl(workspace.documents)}, manifest


def pulls_of(documents):
    return {key: row for key, row in documents.items() if row["source"] == "pull_request"}


def test_the_sample_with_what_was_said(workspace, tmp_path):
    by_history = scrape(ScrapeConfig("sample"), workspace)
    from_git = pulls_of({row["id"]: row for row in read_jsonl(workspace.documents)})
    repository = workspace.clones / "brindlewick.git"
    with GitHubServer(pulls=sample_records(repository)) as hub:
        documents, manifest = run(hub, workspace)
        asked = len(hub.requests)
        again = run(hub, workspace)[1]
        assert again == manifest and len(hub.requests) == asked + 1  # the list; nothing has changed
    found = pulls_of(documents)
    assert list(found) == list(from_git)
    for key, row in found.items():
        theirs = from_git[key]
        same = ("id", "source", "title", "path", "date", "commit", "licence")
        assert [row[name] for name in same] == [theirs[name] for name in same]
        assert row["url"] == f"https://github.com/{NAME}/{row['path']}"
        # The changes are those of the merge commit: nothing was changed while these were merged.
        files = theirs["text"].index("\n\nFile: ")
        assert theirs["text"][files:] in row["text"]
    text = found["pull_request:19"]["text"]
    one = next(row for row in sample.pulls() if row["number"] == 19)
    said_first = one["comments"][0]
    assert f"Author: {one['author']}\n" in text and f"Labels: {', '.join(one['labels'])}\n" in text
    assert f"\n\nComment by {said_first['author']} at {said_first['created_at']}:\n{said_first['body']}" in text
    line = one["review_comments"][0]
    assert f" on {line['path']}, line {line['line']}:\n{line['body']}" in text
    assert text.index("Merged at: ") < text.index("File: ") < text.index("Comment by ")
    assert f"Review by osier at {one['merged_at']}: approved" in text
    assert manifest["requests"] == {"graphql": 2, "kept": 0, "waited_seconds": 0}
    assert by_history["requests"] == {} and "\r" not in text


def test_without_a_token_everything_but_the_verdicts(workspace):
    scrape(ScrapeConfig("sample"), workspace)
    with GitHubServer(pulls=sample_records(workspace.clones / "brindlewick.git")) as hub:
        with_token = pulls_of(run(hub, workspace)[0])
        workspace.documents.unlink()
        without, manifest = run(hub, workspace, token=None)
    for key, row in pulls_of(without).items():
        lines = with_token[key]["text"].split("\n\n")
        assert row["text"].split("\n\n") == [part for part in lines if not part.startswith("Review by")]
    assert any("60 requests an hour" in note and "verdicts" in note for note in manifest["notes"])
    assert manifest["requests"]["rest"] == 3


def test_secrets_are_nowhere_on_disk(workspace):
    token, mail = "gh" + "p_" + "a1B2" * 9, "jo" + "@team.example"
    scrape(ScrapeConfig("sample"), workspace)
    rows = sample_records(workspace.clones / "brindlewick.git")
    rows[-1]["comments"].append(said(f"My token is {token}", "2025-01-01T00:00:00Z"))
    rows[-1]["title"] = f"Ask {mail}"
    with GitHubServer(pulls=rows) as hub:
        documents, manifest = run(hub, workspace)
    row = documents[f"pull_request:{rows[-1]['number']}"]
    assert "My token is <REDACTED:github_token>" in row["text"] and row["title"].endswith("Ask <REDACTED:email>")
    line = row["text"].split("<REDACTED:github_token>")[0].count("\n") + 1
    assert manifest["redacted"][row["id"]]["github_token"] == [line]
    assert 0 in manifest["redacted"][row["id"]]["email"]
    for path in [workspace.documents, *workspace.root.glob("*.json"), *workspace.answers.iterdir()]:
        assert token not in path.read_text() and mail not in path.read_text()


@pytest.fixture
def project(tmp_path):
    """A repository whose branch took four pull requests in four ways; with their heads."""
    repo = Repo(tmp_path / "project.git")
    repo.git("config", "remote.origin.url", f"https://github.com/{NAME}.git")
    repo.commit({"a.py": "one\n", "b.py": "b\n"}, date="2024-01-01T00:00:00Z")
    repo.commit({"a.py": "one\ntwo\n"}, "step", date="2024-01-02T00:00:00Z", branch="merged", start="main")
    repo.commit({"other.py": "meanwhile\n"}, date="2024-01-03T00:00:00Z")
    merged = repo.commit({"a.py": "one\ntwo\n"}, "Merge it", date="2024-01-04T00:00:00Z", merge="merged")
    repo.commit({"c.py": "1\n"}, "step 1", date="2024-01-05T00:00:00Z", branch="squashed", start="main")
    repo.commit({"c.py": "2\n"}, "step 2", date="2024-01-05T00:00:00Z", branch="squashed")
    squashed = repo.commit({"c.py": "2\n"}, "Squash it", date="2024-01-06T00:00:00Z")
    repo.commit({"d.py": "1\n"}, "step 1", date="2024-01-07T00:00:00Z", branch="rebased", start="main")
    repo.commit({"e.py": "2\n"}, "step 2", date="2024-01-07T00:00:00Z", branch="rebased")
    repo.commit({"d.py": "1\n"}, "step 1", date="2024-01-08T00:00:00Z")
    rebased = repo.commit({"e.py": "2\n"}, "step 2", date="2024-01-08T00:00:00Z")
    rows = []
    for number, (name, commit) in enumerate([("merged", merged), ("squashed", squashed), ("rebased", rebased)], 1):
        head = repo.git("rev-parse", name)
        repo.git("update-ref", f"refs/pull/{number}/head", head)
        rows.append(pull(number, f"2024-01-0{2 * number + 2}T00:00:00Z", headRefOid=head, mergeCommit=commit))
        repo.git("update-ref", "-d", f"refs/heads/{name}")
    return repo, rows


EXPECTED = {
    1: "File: a.py, Status: modified\nChanges:\n@@ -1 +1,2 @@\n one\n+two",
    2: "File: c.py, Status: added\nChanges:\n@@ -0,0 +1 @@\n+2",
    3: "\n\n".join(f"File: {f}.py, Status: added\nChanges:\n@@ -0,0 +1 @@\n+{n}" for n, f in enumerate("de", 1)),
}


def changes(documents):
    return {int(key.split(":")[1]): row["text"].split("\n\n", 1)[1] for key, row in pulls_of(documents).items()}


def test_changes_of_merged_squashed_and_rebased_pull_requests(project, workspace):
    repo, rows = project
    with GitHubServer(pulls=rows) as hub:
        documents, manifest = run(hub, workspace, repo.path)
    assert changes(documents) == EXPECTED
    assert manifest["requests"]["graphql"] == 2 and "rest" not in manifest["requests"]


def test_heads_are_fetched_from_the_remote(project, workspace, monkeypatch, tmp_path):
    repo, rows = project
    git(repo.path, "update-ref", "-d", "refs/pull/3/head")  # the remote may have lost one
    url = f"https://github.com/{NAME}.git"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    remote = source._remote

    def reached(address, token, *args):
        return remote(address, token, *(repo.path.as_uri() if arg == url else arg for arg in args))

    monkeypatch.setattr(source, "_remote", reached)
    rows[2]["files"] = [
        {"filename": "d.py", "status": "added", "additions": 1, "deletions": 0, "patch": "@@ -0,0 +1 @@\n+1"},
        {"filename": "e.py", "status": "added", "additions": 1, "deletions": 0, "patch": "@@ -0,0 +1 @@\n+2"},
    ]
    with GitHubServer(pulls=rows) as hub:
        config = ScrapeConfig(NAME, wiki="none", api=hub.api)
        manifest = scrape(config, workspace, token="t")
        documents = {row["id"]: row for row in read_jsonl(workspace.documents)}
        assert changes(documents) == EXPECTED  # the one that was lost comes from GitHub's list of its files
        assert (manifest["requests"]["graphql"], manifest["requests"]["rest"]) == (2, 1)
        hub.requests.clear()
        rows[0]["comments"] = [said("late", "2024-02-01T00:00:00Z")]
        rows[0]["updatedAt"] = "2024-02-01T00:00:00Z"
        manifest = scrape(config, workspace, token="t")
        assert manifest["requests"] == {"graphql": 2, "kept": 3, "waited_seconds": 0}  # its list of files holds on
        assert [text.count("...thread") for _, text in hub.requests] == [0, 1]


FILES = [
    {"filename": "a.py", "status": "modified", "additions": 1, "deletions": 0, "patch": "@@ -1 +1,2 @@\n one\n+two"},
    {"filename": "cut.py", "status": "added", "additions": 3, "deletions": 0, "patch": "@@ -0,0 +1,3 @@\n+1\n+2"},
    {"filename": "big.py", "status": "modified", "additions": 9000, "deletions": 1},
    {"filename": "new.py", "previous_filename": "old.py", "status": "renamed", "additions": 0, "deletions": 0},
    {"filename": "logo.png", "status": "added", "additions": 0, "deletions": 0},
    {
        "filename": "yarn.lock",
        "status": "modified",
        "additions": 1,
        "deletions": 0,
        "patch": "@@ -1 +1,2 @@\n one\n+two",
    },
    {"filename": "gone.py", "status": "removed", "additions": 0, "deletions": 1, "patch": "@@ -1 +0,0 @@\n-gone"},
]


@pytest.mark.parametrize("token", ["t", None])
def test_where_git_cannot_reach_them_the_files_come_from_github_with_marks(project, workspace, token):
    repo, rows = project
    rows = [pull(9, "2024-01-04T00:00:00Z", headRefOid="1" * 40, mergeCommit=None, files=FILES)]
    with GitHubServer(pulls=rows) as hub:
        text = changes(run(hub, workspace, repo.path, token=token)[0])[9]
    assert text.split("\n\n") == [
        "File: a.py, Status: modified\nChanges:\n@@ -1 +1,2 @@\n one\n+two",
        "File: cut.py, Status: added\nChanges:\n@@ -0,0 +1,3 @@\n+1\n+2\n[cut: GitHub shows 2 of 3 changed lines]",
        "File: big.py, Status: modified\nChanges: [not available: GitHub shows no patch for these 9,001 changed lines]",
        "File: new.py, Status: renamed from old.py\nChanges: [none: only its name or mode changed]",
        "File: logo.png, Status: added\nChanges: [not shown: binary]",
        "File: yarn.lock, Status: modified\nChanges: [not shown: lock file]",
        "File: gone.py, Status: removed\nChanges:\n@@ -1 +0,0 @@\n-gone",
    ]


def test_a_head_that_lies_in_its_base_says_nothing_on_what_changed(project, workspace):
    repo, rows = project
    rows[0] |= {"mergeCommit": None, "baseRefOid": repo.git("rev-parse", "main"), "files": FILES[:1]}
    with GitHubServer(pulls=rows[:1]) as hub:
        documents, manifest = run(hub, workspace, repo.path)
    assert changes(documents) == {1: EXPECTED[1]} and manifest["requests"]["rest"] == 1


def test_what_a_partial_clone_lacks_comes_from_github(project, workspace):
    repo, rows = project
    repo.lose(f"{rows[0]['headRefOid']}:a.py")
    rows[0]["files"] = FILES[:1]
    with GitHubServer(pulls=rows) as hub:
        documents, manifest = run(hub, workspace, repo.path)
    assert changes(documents) == EXPECTED and manifest["requests"]["rest"] == 1


def test_a_shallow_clone_does_not_make_a_whole_tree_of_one_change(project, workspace, tmp_path):
    repo, rows = project
    shallow = tmp_path / "shallow.git"
    subprocess.run(["git", "clone", "-q", "--bare", "--depth=1", repo.path.as_uri(), shallow], check=True)
    git(shallow, "config", "remote.origin.url", f"https://github.com/{NAME}.git")
    tip = git(shallow, "rev-parse", "main").strip()
    one = rows[2] | {"mergeCommit": tip, "headRefOid": "1" * 40, "files": FILES[:1]}
    with GitHubServer(pulls=[one]) as hub:
        documents, manifest = run(hub, workspace, shallow)
    assert changes(documents) == {3: EXPECTED[1]} and manifest["requests"]["rest"] == 1


@pytest.mark.parametrize(
    ("token", "listed_at_most", "changed_files", "mark"),
    [
        ("t", 120, 120, "120 of 120 files"),
        ("t", 3000, 200, "120 of 200 files"),
        ("t", 3000, 120, None),
        (None, 120, 120, "120 files"),
    ],
)
def test_a_list_of_files_that_github_cuts_is_marked(
    project, workspace, monkeypatch, token, listed_at_most, changed_files, mark
):
    one = {"status": "modified", "additions": 1, "deletions": 0, "patch": "@@ -1 +1,2 @@\n one\n+two"}
    files = [one | {"filename": f"f{n}.py"} for n in range(120)]
    monkeypatch.setattr("ftlib.scrape.pull_requests._LISTED", listed_at_most)
    rows = [pull(9, "2024-01-04T00:00:00Z", headRefOid="1" * 40, files=files, changedFiles=changed_files)]
    with GitHubServer(pulls=rows) as hub:
        text = changes(run(hub, workspace, project[0].path, token=token)[0])[9]
    assert text.count("\nChanges:\n") == 120
    assert text.partition("[cut: GitHub lists ")[2] == (f"{mark}]" if mark else "")


def test_up_to_a_date_and_at_a_commit(project, workspace):
    repo, rows = project
    rows[0]["comments"] = [said("in time", "2024-01-05T00:00:00Z"), said("too late", "2024-01-09T00:00:00Z")]
    rows[0]["baseRefName"] = "release"
    with GitHubServer(pulls=rows) as hub:
        documents, _ = run(hub, workspace, repo.path, date="2024-01-06")
        assert list(changes(documents)) == [2, 1]
        text = documents["pull_request:1"]["text"]
        assert "in time" in text and "too late" not in text and "\nMerged into: release\n" in text
        documents, manifest = run(hub, workspace, repo.path, commit=rows[0]["mergeCommit"])
    assert list(changes(documents)) == [1] and "in time" not in documents["pull_request:1"]["text"]
    assert manifest["commit"] == rows[0]["mergeCommit"] and "code:c.py" not in documents


def test_issues_and_discussions_are_documents(project, workspace):
    repo, _ = project
    closed = {"closedAt": "2024-02-01T00:00:00Z", "state": "CLOSED", "labels": ["bug", "ui"]}
    issues = [thread(4, "2024-01-02T00:00:00Z", comments=[said("Me too.", "2024-01-03T00:00:00Z")], **closed)]
    talks = [
        thread(5, "2024-01-02T00:00:00Z", category="Q&A", answer=0, comments=[said("So.", "2024-01-04T00:00:00Z")])
    ]
    with GitHubServer(issues=issues, discussions=talks) as hub:
        documents, manifest = run(hub, workspace, repo.path, pull_requests=0, issues=10, discussions=10)
    assert documents["issue:4"]["text"] == (
        f"URL: https://github.com/{NAME}/issues/4\nAuthor: bob\nLabels: bug, ui\n"
        "State: closed at 2024-02-01T00:00:00Z\nCreated at: 2024-01-02T00:00:00Z\nDescription: About 4."
        "\n\nComment by ann at 2024-01-03T00:00:00Z:\nMe too."
    )
    assert documents["issue:4"]["title"] == "Issue #4: Topic 4"
    text = documents["discussion:5"]["text"]
    assert "Category: Q&A\n" in text and "Answer by ann at 2024-01-04T00:00:00Z:\nSo." in text
    assert manifest["counts"]["documents"] == {"code": 5, "issue": 1, "discussion": 1}  # e.py is c.py


def test_issues_and_discussions_as_they_were_at_a_date(project, workspace):
    issues = [thread(4, "2024-01-02T00:00:00Z", closedAt="2024-02-01T00:00:00Z", state="CLOSED")]
    late = said("So.", "2024-02-01T00:00:00Z")
    talks = [thread(5, "2024-01-02T00:00:00Z", category="Q&A", answer=0, comments=[late])]
    with GitHubServer(issues=issues, discussions=talks) as hub:
        settings = {"pull_requests": 0, "issues": 10, "discussions": 10, "date": "2024-01-20"}
        documents, _ = run(hub, workspace, project[0].path, **settings)
    assert "\nState: open\n" in documents["issue:4"]["text"]
    assert documents["discussion:5"]["text"].endswith("Description: About 5.")


def test_discussions_need_a_token(project, workspace):
    with GitHubServer(issues=[thread(4, "2024-01-02T00:00:00Z")]) as hub:
        documents, manifest = run(
            hub, workspace, project[0].path, token=None, pull_requests=0, issues=10, discussions=10
        )
    assert manifest["counts"]["documents"] == {"code": 5, "issue": 1}
    assert "Discussions need a token" in " ".join(manifest["notes"])
