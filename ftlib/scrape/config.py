"""The settings of a scrape."""

from __future__ import annotations

from dataclasses import dataclass

from ftlib.errors import SetupError
from ftlib.scrape.source import parse_day

PULLS_FROM = ("github", "history")
DROP = ("exact", "near", "none")


@dataclass(frozen=True)
class ScrapeConfig:
    """What to read. The manifest keeps it as it is given."""

    repository: str
    """"sample", "owner/name" (on GitHub), a URL, or the path of a local repository, with a work tree or bare."""
    branch: str | None = None
    """None: the one that the repository's HEAD names."""
    date: str | None = None
    """"2023-12-21": the branch's last commit on or before the end of that day, UTC. None: its tip."""
    wiki: str | None = None
    """URL or path of the wiki's git repository, or a folder of exported pages. None: REPO.wiki.git beside the
    repository, if it is there. "none": no wiki."""
    pull_requests: int = 100
    """The last N merged ones, by merge date."""
    max_file_bytes: int = 500_000
    """Larger files are skipped unread."""
    commit: str | None = None
    """In place of `date`: the state at this commit."""
    pull_requests_from: str | None = None
    """"github": its API, with comments and reviews. "history": the branch's merge and squash commits. None: the API for
    a repository that is cloned from GitHub, the history for any other."""
    issues: int = 0
    """The last N issues, from GitHub's API."""
    discussions: int = 0
    """The last N discussions, from GitHub's API; they need a token."""
    drop_duplicates: str = "exact"
    """"exact": a text that is there twice is left out, near duplicates are reported. "near": both are left out.
    "none": both are reported."""
    api: str | None = None
    """Address of the API. None: GitHub's own, or `https://HOST/api/v3` for a repository on the host in GH_HOST."""
    max_wait: float = 3900.0
    """Seconds that one request may wait for GitHub's limits, which are renewed every hour."""


def check(config: ScrapeConfig) -> None:
    """Raise a SetupError for settings that can't be used, before anything is fetched."""
    if min(config.pull_requests, config.issues, config.discussions) < 0 or config.max_file_bytes < 1:
        raise SetupError("`pull_requests`, `issues` and `discussions` must be 0 or more, `max_file_bytes` 1 or more.")
    if config.max_wait < 0:
        raise SetupError("`max_wait` must be 0 seconds or more.")
    if config.pull_requests_from not in {None, *PULLS_FROM}:
        raise SetupError(f"`pull_requests_from` is {config.pull_requests_from!r}: give one of {PULLS_FROM} or None.")
    if config.drop_duplicates not in DROP:
        raise SetupError(f"`drop_duplicates` is {config.drop_duplicates!r}: give one of {DROP}.")
    if config.date is not None:
        parse_day(config.date)
    if config.date is not None and config.commit is not None:
        raise SetupError("Give `date` or `commit`, not both: each says at which state to read the repository.")
