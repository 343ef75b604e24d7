"""Which repository, branch and commit is read, and every way to be told what is wrong."""

import http.server
import json
import subprocess
import threading
from pathlib import Path

import pytest
from repositories import Repo, run

from ftlib.errors import SetupError
from ftlib.scrape import ScrapeConfig, scrape
from ftlib.scrape import git as git_module
from ftlib.scrape.source import _credentials, _names, _url

# --- branch, date, running again --------------------------------------------------------------------------------------


def test_date_takes_the_last_commit_of_that_day(repo, workspace):
    repo.commit({"a.py": "1\n"}, date="2023-05-01T10:00:00Z")
    repo.commit({"side.py": "1\n"}, date="2023-05-03T12:00:00Z", branch="side", start="main")
    second = repo.commit({"a.py": "2\n"}, date="2023-05-02T23:59:59Z")
    repo.commit({"a.py": "3\n"}, date="2023-05-03T00:00:00Z")
    repo.commit({"side.py": "1\n"}, "Merge", date="2023-05-04T00:00:00Z", merge="side")
    for day, text in (("2023-05-01", "1\n"), ("2023-05-02", "2\n"), ("2023-05-03", "3\n"), ("2150-01-01", "3\n")):
        documents, manifest = run(repo, workspace, date=day)
        assert documents["code:a.py"]["text"] == text
        assert ("code:side.py" in documents) == (day > "2023-05-03")
        assert manifest["commit"] == second or day != "2023-05-02"
    assert run(repo, workspace, branch="side")[1]["branch"] == "side"


def test_second_scrape_is_skipped_until_something_changes(repo, workspace, capsys):
    repo.commit({"a.py": "1\n"})
    wiki = Repo(repo.path.with_name("project.wiki.git"), "master")
    wiki.commit({"Home.md": "hello\n"})
    _, first = run(repo, workspace)
    stamp = workspace.documents.stat().st_mtime_ns
    assert run(repo, workspace)[1] == first
    assert "up to date" in capsys.readouterr().out and workspace.documents.stat().st_mtime_ns == stamp
    wiki.commit({"Home.md": "hello again\n"})
    assert run(repo, workspace)[0]["wiki:Home.md"]["text"] == "hello again\n"
    repo.commit({"a.py": "2\n"})
    assert run(repo, workspace)[0]["code:a.py"]["text"] == "2\n"
    assert "code:a.py" in run(repo, workspace, pull_requests=0)[0]
    assert "up to date" not in capsys.readouterr().out


def test_manifest_names_no_path_of_this_machine(repo, tmp_path, workspace, monkeypatch):
    repo.commit({"a.py": "1\n"})
    monkeypatch.chdir(tmp_path)
    scrape(ScrapeConfig("project.git"), workspace)
    text = (workspace.root / "documents.manifest.json").read_text()
    assert str(tmp_path) not in text and json.loads(text)["settings"]["repository"] == "project.git"


# --- remote repositories ----------------------------------------------------------------------------------------------


def test_clone_then_fetch(repo, workspace):
    repo.commit({"a.py": "1\n"})
    url = repo.path.as_uri()
    documents, manifest = run(url, workspace)
    assert set(documents) == {"code:a.py"} and manifest["name"] == "project"
    assert manifest["notes"] == ["No wiki was found beside the repository."]
    assert [p.suffix for p in workspace.clones.iterdir()] == [".git"]
    repo.git("branch", "-m", "main", "trunk")
    repo.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    repo.branch = "trunk"
    repo.commit({"a.py": "2\n"})
    documents, manifest = run(url, workspace)
    assert documents["code:a.py"]["text"] == "2\n" and manifest["branch"] == "trunk"
    repo.path.rename(repo.path.with_name("moved.git"))
    documents, manifest = run(url, workspace, pull_requests=5)
    assert documents["code:a.py"]["text"] == "2\n" and "not brought up to date" in manifest["notes"][0]


def test_interrupted_clone_leaves_nothing(repo, workspace, monkeypatch):
    repo.commit({"a.py": "1\n"})

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(repo.path.as_uri(), workspace)
    assert list(workspace.clones.iterdir()) == []


def test_token_travels_by_environment_to_github_only(monkeypatch):
    monkeypatch.setenv("GH_HOST", "git.corp.example")
    for url in ("https://github.com/o/n.git", "https://git.corp.example/o/n.git"):
        env = git_module.environment(**_credentials(url, "s3cret"))
        assert "s3cret" not in str(env)
        header = git_module.git("config", "--get-urlmatch", "http.extraHeader", url, env=env)
        assert header.strip() == b"Authorization: Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0"
    for url in ("https://gitlab.com/o/n.git", "http://github.com/o/n", "https://github.com.evil.example/o/n", "/x/n"):
        assert _credentials(url, "s3cret") == {}
    assert _credentials("https://github.com/o/n.git", None) == {}


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("guardian/manage-frontend", "https://github.com/guardian/manage-frontend.git"),
        ("https://github.com/o/n/tree/main/src", "https://github.com/o/n.git"),
        ("https://github.com/o/n/wiki", "https://github.com/o/n.wiki.git"),
        ("https://gitlab.com/group/sub/n.git", "https://gitlab.com/group/sub/n.git"),
        ("git@github.com:o/n.git", "git@github.com:o/n.git"),
    ],
)
def test_what_is_cloned(given, url):
    assert _url(given) == url


@pytest.mark.parametrize(
    "url",
    ["https://github.com/o/n.git", "git@github.com:o/n.git", "ssh://git@github.com:22/o/n", "https://github.com/o/n/"],
)
def test_names(url):
    assert _names(url) == ("n", "o/n", "https://github.com/o/n")
    for other in ("https://gitlab.com/group/n.git", "https://github.com/a/b/n.git", "/srv/git/n.git"):
        assert _names(other) == ("n", "n", "")


# --- what is wrong, and the way out -----------------------------------------------------------------------------------


@pytest.fixture
def server():
    """A web server whose answer to everything is the status in its path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers)
            self.send_response(int(self.path.split("/")[1]))
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()

        def log_message(self, *args):
            pass

    seen: list = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}", seen
        web.shutdown()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_private_or_missing_says_how_to_give_a_token(server, workspace, status, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    url, seen = server
    config = ScrapeConfig(f"{url}/{status}/n.git")
    with pytest.raises(SetupError, match="not found, or is private.*token="):
        scrape(config, workspace)
    with pytest.raises(SetupError, match="the token may not read it") as error:
        scrape(config, workspace, token="s3cret")
    assert "s3cret" not in str(error.value) and not any("Authorization" in headers for headers in seen)
    assert list(workspace.clones.iterdir()) == []


def test_no_network(workspace, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(SetupError, match="can't be reached: no network"):
        run("http://127.0.0.1:9/o/n.git", workspace)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("/no/such/folder", "no such folder here.*owner/name"),
        ("", "There is no repository at ''"),
        ("ext::sh -c date", "There is no repository"),
        ("--upload-pack=date", "There is no repository"),
        ("https://user:s3cret@host.example/o/n.git", "holds a user name or password.*token="),
        ("https://ghp_s3cret@github.com/o/n.git", "holds a user name or password"),
        ("file:///no/such/repo.git", "was not found"),
    ],
)
def test_unusable_repository(given, message, workspace):
    with pytest.raises(SetupError, match=message) as error:
        run(given, workspace)
    assert "s3cret" not in str(error.value)


def test_folder_that_is_no_repository(repo, tmp_path, workspace):
    repo.commit({"sub/a.py": "1\n"})
    subprocess.run(["git", "clone", "-q", repo.path, tmp_path / "work"], check=True)
    for folder in (tmp_path, tmp_path / "work/sub"):  # the second lies inside of one
        with pytest.raises(SetupError, match="is not a git repository"):
            run(folder, workspace)


def test_empty_repository(repo, workspace):
    with pytest.raises(SetupError, match="is empty: it has no commits"):
        run(repo, workspace)


def test_missing_branch_names_some_that_exist(repo, workspace):
    repo.commit({"a.py": "1\n"}, branch="trunk")
    with pytest.raises(SetupError, match="no branch 'dev'.*for example: trunk"):
        run(repo, workspace, branch="dev")
    with pytest.raises(SetupError, match="HEAD that names no commit.*trunk"):
        run(repo, workspace)


def test_dates_that_cannot_be_used(repo, tmp_path, workspace):
    repo.commit({"a.py": "1\n"}, date="2023-05-01T10:00:00Z")
    for day in ("2023-04-30", "1960-01-01", "1971-01-01"):
        with pytest.raises(SetupError, match="on or before .*starts on 2023-05-01. Set `date`"):
            run(repo, workspace, date=day)
    for day in ("yesterday", "2023-13-01", "20230501", "2023-05-01T10:00", ""):
        with pytest.raises(SetupError, match="is not a date"):
            run(repo, workspace, date=day)
    repo.commit({"a.py": "2\n"}, date="2023-06-01T10:00:00Z")
    shallow = tmp_path / "shallow.git"
    subprocess.run(["git", "clone", "-q", "--bare", "--depth=1", repo.path.as_uri(), shallow], check=True)
    with pytest.raises(SetupError, match="starts on 2023-06-01. The clone is shallow"):
        run(shallow, workspace, date="2023-05-02")


def test_nothing_left_after_the_filters(repo, workspace):
    repo.commit({"yarn.lock": "x\n", "logo.png": "x"})
    with pytest.raises(SetupError, match="No document is left .*1 lock file"):
        run(repo, workspace)
    assert list(workspace.root.iterdir()) == []


def test_settings_out_of_range(repo, workspace):
    for settings in ({"pull_requests": -1}, {"max_file_bytes": 0}):
        with pytest.raises(SetupError, match="0 or more"):
            run(repo, workspace, **settings)


@pytest.mark.parametrize("name", ["sample", "project.git"])
def test_git_not_installed(repo, workspace, monkeypatch, name):
    repo.commit({"a.py": "1\n"})
    monkeypatch.chdir(repo.path.parent)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SetupError, match="git is not installed.*apt-get install git"):
        run(name, workspace)
