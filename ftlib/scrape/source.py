"""Where a repository is: a name, a URL or a path -> a git directory to read, a branch and the commit of a date."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from urllib.parse import urlsplit

from ftlib.errors import SetupError
from ftlib.scrape.git import Env, GitError, environment, git, iso, line, shallow_commits, start

# A stalled download ends in an error after a minute instead of never.
_PATIENCE = ("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60")
_NO_NETWORK = r"Could not resolve|Failed to connect|timed out|Connection refused|unreachable|Could not connect"
_NO_ACCESS = (
    r"not found|does not exist|does not appear|Authentication failed|prompts disabled|Permission denied|error: 403"
)


@dataclass(frozen=True)
class Source:
    """A repository on this machine."""

    git_dir: Path
    name: str
    """`manage-frontend`"""
    full_name: str
    """`guardian/manage-frontend` where the owner is known, else the name."""
    web: str
    """`https://github.com/owner/name`, or "" where that is not known."""
    wiki: str
    """Where its wiki would be: a URL or a path."""
    remote: str = ""
    """The address that it was cloned from, "" for one that was here already."""
    notes: tuple[str, ...] = ()


def locate(repository: str, clones: Path, *, token: str | None = None) -> Source:
    """Find a repository, and bring it here if it is remote.

    Args:
        repository: "sample", a local path, "owner/name" (on GitHub) or a URL.
        clones: the folder of bare clones; one that lies there is brought up to date.
        token: sent over HTTPS to github.com and the host in GH_HOST only, never put in a URL or on a command line.

    Raises:
        SetupError: there is no such repository, or it can't be reached; the message says what to do.
    """
    if repository == "sample":
        from ftlib import sample

        git("version")  # says what to do where git is missing
        built = sample.build(clones)
        full_name = f"{sample.OWNER}/{sample.NAME}"
        return replace(_local(Path(built["repository"])), full_name=full_name, wiki=str(built["wiki"]))
    path = Path(repository).expanduser()
    if repository and path.exists():
        return _local(path)
    url = _url(repository)
    slug = re.sub(r"[^A-Za-z0-9.-]+", "_", url.split("://")[-1].removesuffix(".git"))
    git_dir = clones / f"{slug}-{hashlib.sha256(url.encode()).hexdigest()[:8]}.git"
    notes = _update(url, git_dir, token) if (git_dir / "HEAD").is_file() else _clone(url, git_dir, token)
    wiki = re.sub(r"(\.git)?/*$", "", url) + ".wiki.git"
    return Source(git_dir, *_names(url), wiki=wiki, remote=url, notes=notes)


def fetch_heads(source: Source, numbers: Sequence[int], token: str | None) -> None:
    """Bring the last commits of pull requests (`refs/pull/N/head`), where the remote still has them.

    Raises:
        GitError: the remote does not answer.
    """
    here = f"--git-dir={source.git_dir}"
    for start_at in range(0, len(numbers), 500):  # a command line has its limits
        names = [f"refs/pull/{number}/head" for number in numbers[start_at : start_at + 500]]
        # One name that is missing would end the whole fetch.
        listed = _remote(source.remote, token, here, "ls-remote", "--", source.remote, *names).decode()
        there = [row.split("\t")[1] for row in listed.splitlines()]
        refs = [f"+{name}:refs/ftlib/{name.removeprefix('refs/')}" for name in there]
        if refs:
            _remote(source.remote, token, here, "fetch", "--no-tags", "--progress", "--", source.remote, *refs)


def _local(path: Path) -> Source:
    path = path.resolve()
    inner = path / ".git"  # a folder, or in a linked work tree a file that names one
    try:
        git_dir = Path(line(f"--git-dir={inner if inner.exists() else path}", "rev-parse", "--absolute-git-dir"))
    except GitError as error:
        raise SetupError(
            f"{path} is not a git repository. Give the folder that holds `.git`, or a bare repository."
        ) from error
    try:
        name, full_name, web = _names(line(f"--git-dir={git_dir}", "config", "--get", "remote.origin.url"))
    except GitError:
        web = ""
    home = path.parent if path.name == ".git" else path
    folder = home.name.removesuffix(".git")
    beside = [home.with_name(f"{folder}.wiki{suffix}") for suffix in (".git", "")]
    wiki = str(next((place for place in beside if place.is_dir()), beside[0]))
    return Source(git_dir, name, full_name, web, wiki) if web else Source(git_dir, folder, folder, "", wiki)


def _url(repository: str) -> str:
    """What to clone: `owner/name` and pages of github.com become the address of their repository."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+", repository):
        return f"https://github.com/{repository.removesuffix('.git')}.git"
    if page := re.match(r"https?://(?:www\.)?github\.com/([^/?#@]+)/([^/?#]+)(/wiki)?", repository):
        return f"https://github.com/{page[1]}/{page[2].removesuffix('.git')}{'.wiki' if page[3] else ''}.git"
    parts = urlsplit(repository)
    if parts.password or (parts.scheme in {"http", "https"} and parts.username):
        raise SetupError(
            f"The address of the repository on {parts.hostname} holds a user name or password, which would end up in "
            "the manifest. Give the address without it, and the token through `token=`."
        )
    if parts.scheme in {"https", "http", "ssh", "git", "file"} or re.match(r"[\w.-]+@[\w.-]+:", repository):
        return repository
    raise SetupError(
        f"There is no repository at {repository!r}: no such folder here. Give 'owner/name' (on GitHub), a URL "
        "(https://...), the path of a local repository, or 'sample'."
    )


def _names(url: str) -> tuple[str, str, str]:
    """A remote's URL -> name, full name and web address (known for GitHub's layout only)."""
    match = re.match(r"(?:[a-z+]+://)?(?:[^@/]+@)?([^/:]*)(?::\d+)?[:/]/*(.*?)/?(?:\.git)?/*$", url)
    host, path = match.groups() if match else ("", url)
    owner, _, name = path.rpartition("/")
    hub = host in {"github.com", os.environ.get("GH_HOST")} and owner and "/" not in owner
    return (name, path, f"https://{host}/{path}") if hub else (name, name, "")


# --- remote repositories ----------------------------------------------------------------------------------------------


def _clone(url: str, git_dir: Path, token: str | None) -> tuple[str, ...]:
    git_dir.parent.mkdir(parents=True, exist_ok=True)
    for left in git_dir.parent.glob(".clone-*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    print(f"Cloning {url}")
    # Under another name until it is complete: what is interrupted is never taken for a clone.
    with tempfile.TemporaryDirectory(dir=git_dir.parent, prefix=".clone-") as folder:
        part = Path(folder, "part.git")
        try:
            _remote(url, token, "clone", "--bare", "--no-tags", "--template=", "--progress", "--", url, str(part))
        except GitError as error:
            raise SetupError(_explain(url, error, token)) from error
        part.rename(git_dir)
    return ()


def _update(url: str, git_dir: Path, token: str | None) -> tuple[str, ...]:
    here = f"--git-dir={git_dir}"
    print(f"Updating the clone of {url}")
    try:
        _remote(
            url, token, here, "fetch", "--prune", "--no-tags", "--progress", "--", url, "+refs/heads/*:refs/heads/*"
        )
        head = _remote(url, token, here, "ls-remote", "--symref", "--", url, "HEAD")
    except GitError as error:
        note = f"The clone was not brought up to date and is read as it is. {_explain(url, error, token)}"
        print(note)
        return (note,)
    if match := re.match(rb"ref: (\S+)\tHEAD", head):  # the default branch may have got another name
        git(here, "symbolic-ref", "HEAD", match[1].decode())
    return ()


def _remote(url: str, token: str | None, *args: str) -> bytes:
    """Run a git command that reaches the network, its progress shown as it comes."""
    with start([*_PATIENCE, *args], environment(**_credentials(url, token)), stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdin.close()
        said = b""
        try:
            while chunk := process.stderr.read1(8192):  # type: ignore[attr-defined]  # a buffered reader
                said = (said + chunk)[-8192:]
                # Through Python: what a child process writes by itself does not reach a notebook.
                print(chunk.decode("utf-8", "replace"), end="", file=sys.stderr, flush=True)
            out = process.stdout.read()
        except BaseException:  # a notebook's stop button reaches this process alone
            process.kill()
            raise
    if process.returncode:
        raise GitError(args[0], said.decode("utf-8", "replace"))
    return out


def _credentials(url: str, token: str | None) -> Env:
    """Configuration by environment, which other users of the machine can't list as they can a command line."""
    parts = urlsplit(url)
    if not token or parts.scheme != "https" or parts.netloc not in {"github.com", os.environ.get("GH_HOST")}:
        return {}
    basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.https://{parts.netloc}/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
    }


def _explain(url: str, error: GitError, token: str | None) -> str:
    if re.search(_NO_NETWORK, error.stderr):
        return (
            f"{url} can't be reached: no network, or the host does not answer. Try again later, or clone it elsewhere "
            "(`git clone --bare`) and give the folder's path."
        )
    if not re.search(_NO_ACCESS, error.stderr):
        return f"{url} could not be read: {error}"
    if token:
        return (
            f"{url} was not found, or the token may not read it. Check the name, and the token's right to its contents."
        )
    return (
        f"{url} was not found, or is private. Check the name; for a private one give a token: scrape(..., token=...)."
    )


# --- branch and date --------------------------------------------------------------------------------------------------


def resolve_branch(source: Source, branch: str | None) -> tuple[str, str]:
    """The tip's commit id and the branch's name; None is the branch that HEAD names.

    Raises:
        SetupError: the repository is empty, or has no such branch (the message names some that it has).
    """
    here = f"--git-dir={source.git_dir}"
    places = [f"refs/heads/{branch}", f"refs/remotes/origin/{branch}", f"refs/tags/{branch}"] if branch else ["HEAD"]
    for place in places:
        try:
            tip = line(here, "rev-parse", "--verify", f"{place}^{{commit}}")
            return tip, branch or line(here, "rev-parse", "--abbrev-ref", "HEAD")
        except GitError:
            continue
    refs = git(
        here, "for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/heads", "refs/remotes/origin"
    )
    names = re.findall(r"^refs/(?:heads|remotes/origin)/(?!HEAD$)(.+)$", refs.decode("utf-8", "replace"), re.MULTILINE)
    if not names:
        raise SetupError(f"The repository {source.name} is empty: it has no commits. Push one, or give another one.")
    what = f"has no branch {branch!r}" if branch else "has a HEAD that names no commit"
    some = ", ".join(list(dict.fromkeys(names))[:8])
    raise SetupError(f"The repository {source.name} {what}. Set `branch` to one that it has, for example: {some}.")


def parse_day(day: str) -> date:
    """Raises SetupError for anything but a date as 2023-12-21."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", day):
            return date.fromisoformat(day)
    except ValueError:
        pass
    raise SetupError(f"{day!r} is not a date. Write year, month and day, as in date='2023-12-21'.")


def snapshot(env: Env, tip: str, day: str | None, commit: str | None = None) -> tuple[str, str]:
    """The last commit of the first-parent line on or before the end of a day (UTC), or the one given; and its date.

    Raises:
        SetupError: `day` is no date, or lies before the first commit; `commit` is not in the repository.
    """
    log = ("log", "-1", "--first-parent", "--format=%H %ct")
    if commit is not None:
        try:
            if re.fullmatch(r"[0-9a-f]{4,64}", commit):
                return _dated(git(*log, "--end-of-options", f"{commit}^{{commit}}", env=env))
        except GitError:
            pass
        raise SetupError(f"The repository has no commit {commit!r}. Give the id of one, in full or its first digits.")
    if day is None:
        return _dated(git(*log, tip, env=env))
    # git takes seconds under 100,000,000 (1973) for something else; nothing was committed then.
    end = int(datetime.combine(parse_day(day), time.max, UTC).timestamp())
    if found := git(*log, f"--before={end}", tip, env=env) if end > 100_000_000 else b"":
        return _dated(found)
    dates = [int(seconds) for seconds in git("log", "--first-parent", "--format=%ct", tip, env=env).split()]
    starts = f"the history starts on {iso(min(dates))[:10]}" if dates else "its commits have no dates"
    why = " The clone is shallow, so its history starts there; a full clone goes back further."
    raise SetupError(
        f"There is no commit on or before {day}: {starts}.{why if shallow_commits(env) else ''} "
        "Set `date` to that day or a later one."
    )


def _dated(line_of_log: bytes) -> tuple[str, str]:
    """`%H %ct` as id and date; a commit may have none."""
    commit, _, seconds = line_of_log.decode().strip().partition(" ")
    return commit, iso(seconds)
