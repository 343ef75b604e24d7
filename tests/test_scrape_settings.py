"""What the settings of a scrape change, and those that can't be used."""

import pytest
from repositories import reasons

from ftlib import scrape as scrape_module
from ftlib.errors import SetupError
from ftlib.scrape import ScrapeConfig, scrape, source
from ftlib.workspace import read_jsonl


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pull_requests_from": "gitlab"}, "`pull_requests_from` is 'gitlab'"),
        ({"drop_duplicates": "all"}, "`drop_duplicates` is 'all'"),
        ({"date": "2024-01-01", "commit": "abcd"}, "not both"),
        ({"issues": -1}, "0 or more"),
        ({"max_wait": -1}, "`max_wait`"),
        ({"commit": "beef" * 10}, "no commit 'beef"),
        ({"commit": "--output=x"}, "no commit"),
    ],
)
def test_settings_that_cannot_be_used(repo, workspace, settings, message):
    repo.commit({"a.py": "1\n"})
    with pytest.raises(SetupError, match=message):
        scrape(ScrapeConfig(str(repo.path), **settings), workspace)


def test_duplicates_are_reported_and_dropped_as_set(repo, workspace):
    text = "".join(f"const value{n} = compute({n}, 'part {n}');\n" for n in range(40))
    near = text.replace("value7", "other")
    repo.commit({"a.js": text, "b.js": text, "c.js": near, "c2.js": near, "d.js": "const d = 1;\n"})
    found = {}
    for drop in ("exact", "near", "none"):
        manifest = scrape(ScrapeConfig(str(repo.path), drop_duplicates=drop), workspace)
        found[drop] = [row["path"] for row in read_jsonl(workspace.documents)]
        kinds = [(row["id"], row["of"], row["kind"]) for row in manifest["duplicates"]]
        copy = ("code:c2.js", "code:a.js", "near") if drop == "near" else ("code:c2.js", "code:c.js", "exact")
        assert kinds == [("code:b.js", "code:a.js", "exact"), ("code:c.js", "code:a.js", "near"), copy]
        skips = reasons(manifest)
        assert ("code:b.js" in skips, "code:c.js" in skips) == (drop != "none", drop == "near")
    assert found == {
        "exact": ["a.js", "c.js", "d.js"],
        "near": ["a.js", "d.js"],
        "none": ["a.js", "b.js", "c.js", "c2.js", "d.js"],
    }


def test_a_folder_of_exported_pages_in_place_of_the_wiki(repo, tmp_path, workspace):
    repo.commit({"a.py": "1\n"})
    (pages := tmp_path / "export").mkdir()
    (pages / "Home.md").write_text("# Home\n\ntext\n")
    manifest = scrape(ScrapeConfig(str(repo.path), wiki=str(pages)), workspace)
    assert [row["id"] for row in read_jsonl(workspace.documents)] == ["code:a.py", "wiki:Home.md"]
    assert scrape(ScrapeConfig(str(repo.path), wiki=str(pages)), workspace) == manifest
    (pages / "Home.md").write_text("# Home\n\nother text\n")
    scrape(ScrapeConfig(str(repo.path), wiki=str(pages)), workspace)
    assert "other text" in workspace.documents.read_text()


def test_a_killed_clone_leaves_nothing_behind(repo, workspace):
    repo.commit({"a.py": "1\n"})
    left = workspace.clones / ".clone-abc"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    scrape(ScrapeConfig(repo.path.as_uri(), wiki="none"), workspace)
    assert not left.exists() and len(list(workspace.clones.iterdir())) == 1


def test_a_repository_that_is_not_on_github(repo, workspace):
    repo.commit({"a.py": "1\n"})
    for settings in ({"pull_requests_from": "github"}, {"issues": 5}):
        with pytest.raises(SetupError, match="not a repository on GitHub.*pull_requests_from='history'"):
            scrape(ScrapeConfig(str(repo.path), **settings), workspace)


def test_where_the_api_is(repo, workspace, monkeypatch):
    monkeypatch.setenv("GH_HOST", "git.example.org")
    found = []
    for url in ("https://github.com/fennhollow/brindlewick", "https://git.example.org/fennhollow/brindlewick"):
        repo.git("config", "remote.origin.url", url)
        config = ScrapeConfig(str(repo.path), pull_requests_from="github")
        hub = scrape_module._github(config, source.locate(config.repository, workspace.clones), workspace, None)
        assert hub
        found.append(hub._requester.base_url)
    assert found == ["https://api.github.com", "https://git.example.org/api/v3"]
