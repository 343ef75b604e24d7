"""01_scrape: a repository -> `documents.jsonl`.

    from ftlib.scrape import ScrapeConfig, scrape
    from ftlib.workspace import open_workspace

    manifest = scrape(ScrapeConfig("guardian/manage-frontend", date="2023-12-21"), open_workspace("workspace"))

What is in which module:

    source          where a repository is: a clone, a branch, the commit of a date
    git             objects, attributes and diffs by the git command
    filters, pages, licences      which files are left out, what a page is called, whose terms hold
    documents       files, wiki pages and pull requests of a commit; exported: a folder of exported pages
    history         pull requests from a branch's history; patches: what one changed
    github          requests to GitHub's API, with patience; answers: what it answered, kept on disk
    threads         pull requests, issues and discussions by GraphQL; anonymous: without a token
    pull_requests, conversation, online      these as documents
    redaction       secrets -> placeholders: secret_rules (formats), secret_names and secret_values (`password: ...`),
                    secret_blocks (keys of several lines), and the rules of detect-secrets
    duplicates      texts that are there twice
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ftlib.errors import SetupError
from ftlib.scrape import online
from ftlib.scrape.answers import Answers
from ftlib.scrape.config import ScrapeConfig, check
from ftlib.scrape.documents import Document, Snapshot, files, pages, pulls
from ftlib.scrape.duplicates import Duplicates
from ftlib.scrape.exported import export_state, exported_pages, is_export
from ftlib.scrape.git import GitError, reading
from ftlib.scrape.github import API, GitHub
from ftlib.scrape.redaction import places, redact
from ftlib.scrape.source import Source, fetch_heads, locate, resolve_branch, snapshot
from ftlib.workspace import Workspace, is_done, read_manifest, write_jsonl, write_manifest

__all__ = ["ScrapeConfig", "scrape"]


def scrape(config: ScrapeConfig, workspace: Workspace, *, token: str | None = None) -> dict[str, Any]:
    """Read a repository's code, pages, wiki and merged pull requests; write `documents.jsonl` and its manifest.

    A document has `id, source (code | wiki | docs | pull_request | issue | discussion), title, path, url, text, date,
    commit, licence`. Dates are UTC, `2023-12-21T10:53:07Z`: the snapshot's for code and pages, the last change's for a
    wiki page, the merge's for a pull request, that of creation for an issue. `url` and `licence` (SPDX) are "" where
    they are not known. Secrets are taken out before anything is written.
    Nothing is done when settings, commits and threads are those of the manifest that lies there. What GitHub answered
    is kept in `workspace.answers`: after an interruption nothing is asked for twice, and later only what changed.

    Args:
        token: for GitHub; opens private repositories and GraphQL. Never written or shown.

    Returns:
        the manifest: `counts` (documents by source, skipped files by reason), `skipped` (path and reason of each),
        `redactions` by kind, `redacted` (document -> kind -> line numbers, 0 is the title), `duplicates` (`id, of,
        similarity, kind`), `licence`, `licences` (documents by licence), `requests` to GitHub by kind, `notes`, `name`,
        `full_name`, `branch`, `commit`, `date`.

    Raises:
        SetupError: the repository, branch or date can't be used, GitHub refuses or its limit is used up, or no
            document is left; the message says what to do.
    """
    check(config)
    source = locate(config.repository, workspace.clones, token=token)
    tip, branch = resolve_branch(source, config.branch)
    told = _Told(list(source.notes))
    with ExitStack() as stack:
        env = stack.enter_context(reading(source.git_dir))
        code = Snapshot(env, *snapshot(env, tip, config.date, config.commit), web=source.web, notes=told.notes)
        wiki = _wiki(config, source, workspace, token, told.notes, stack)
        until = f"{config.date}T23:59:59Z" if config.date else code.date if config.commit else "9999"
        by_history = 0 if _from_github(config, source) else config.pull_requests
        limits = {
            "pullRequests": config.pull_requests - by_history,
            "issues": config.issues,
            "discussions": config.discussions,
        }
        hub = _github(config, source, workspace, token) if any(limits.values()) else None
        lists = online.list_all(hub, limits, until, told.notes) if hub else {}
        kept = {key: value for key, value in asdict(config).items() if key != "max_wait"}
        # A thread that changed makes other documents, as a commit does.
        changes = {kind: [(row["number"], row["updated"]) for row in rows] for kind, rows in lists.items()}
        threads_read = hashlib.sha256(json.dumps(changes).encode()).hexdigest() if hub else ""
        wiki_state = export_state(wiki) if isinstance(wiki, Path) else wiki.commit if wiki else ""
        settings = {**kept, "commit_read": code.commit, "wiki_read": wiki_state, "threads_read": threads_read}
        if is_done(workspace.documents, settings=settings):
            if hub:
                hub.answers.finish()
            return read_manifest(workspace.documents) or {}

        def heads(numbers: list[int]) -> None:
            if source.remote:
                try:
                    fetch_heads(source, numbers, token)
                except GitError as error:
                    told.notes.append(f"The commits of pull requests could not be fetched: {error}")

        def documents() -> Iterator[Document]:
            yield from files(code, config.max_file_bytes, told.skipped)
            if isinstance(wiki, Path):
                yield from exported_pages(wiki, config.max_file_bytes, told.skipped)
            elif wiki:
                yield from pages(wiki, config.max_file_bytes, told.skipped)
            yield from pulls(code, by_history)
            if hub:
                yield from online.documents(hub, code, lists, until, branch, heads)

        write_jsonl(workspace.documents, _cleaned(documents(), config.drop_duplicates, told))
        requests = {**hub.sent, "kept": hub.answers.reused, "waited_seconds": round(hub.waited)} if hub else {}
        manifest = write_manifest(
            workspace.documents,
            stage="01_scrape",
            settings=settings,
            counts={
                "documents": dict(told.counts),
                "skipped": dict(Counter(row["reason"] for row in told.skipped).most_common()),
            },
            name=source.name,
            full_name=source.full_name,
            branch=branch,
            commit=code.commit,
            date=code.date,
            licence=code.licence,
            licences=dict(told.licences.most_common()),
            requests=requests,
            notes=list(dict.fromkeys(told.notes)),
            redactions=dict(told.redactions().most_common()),
            redacted=told.redacted,
            duplicates=told.duplicates,
            skipped=told.skipped,
        )
        if hub:
            hub.answers.finish()
    return manifest


@dataclass
class _Told:
    """What the manifest tells beside the documents."""

    notes: list[str]
    skipped: list[dict[str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    redacted: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    duplicates: list[dict[str, Any]] = field(default_factory=list)

    def redactions(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for found in self.redacted.values():
            total.update({kind: len(lines) for kind, lines in found.items()})
        return total


def _from_github(config: ScrapeConfig, source: Source) -> bool:
    """Whether pull requests come from GitHub's API."""
    return config.pull_requests_from == "github" if config.pull_requests_from else bool(source.remote and source.web)


def _github(config: ScrapeConfig, source: Source, workspace: Workspace, token: str | None) -> GitHub:
    if "/" not in source.full_name:
        raise SetupError(
            f"{source.name} is not a repository on GitHub (its remote `origin` names none), so there is no API to ask. "
            "Set pull_requests_from='history', issues=0 and discussions=0, or give the repository as 'owner/name'."
        )
    host = urlsplit(source.web).hostname
    api = config.api or (API if host in {None, "github.com"} else f"https://{host}/api/v3")
    answers = Answers(workspace.answers / f"{source.full_name.replace('/', '_')}.jsonl")
    return GitHub(source.full_name, answers, token=token, api=api, max_wait=config.max_wait)


def _wiki(
    config: ScrapeConfig, source: Source, workspace: Workspace, token: str | None, notes: list[str], stack: ExitStack
) -> Snapshot | Path | None:
    """The wiki's repository, the folder that it was exported to, or None."""
    if config.wiki == "none":
        return None
    if config.wiki and is_export(folder := Path(config.wiki).expanduser()):
        return folder
    try:
        wiki = locate(config.wiki or source.wiki, workspace.clones, token=token)
    except SetupError as error:
        if config.wiki:
            raise SetupError(f"The wiki: {error} Or set wiki='none' to go on without it.") from error
        notes.append("No wiki was found beside the repository.")
        return None
    notes.extend(wiki.notes)
    env = stack.enter_context(reading(wiki.git_dir))
    try:
        # A commit of the code says nothing on the wiki's.
        return Snapshot(env, *snapshot(env, resolve_branch(wiki, None)[0], config.date), web=source.web, notes=notes)
    except SetupError as error:  # an empty wiki, or one that began later
        notes.append(f"The wiki was left out. {error}")
        return None


def _cleaned(rows: Iterable[Document], drop: str, told: _Told) -> Iterator[Document]:
    """The documents without secrets, and without those that are there twice."""
    seen = Duplicates(drop_near=drop == "near")
    for row in rows:
        both = redact(f"{row['title']}\n{row['text']}")[0]  # a title is one line
        row["title"], _, row["text"] = both.partition("\n")
        if twice := seen.find(row):
            told.duplicates.append(twice)
            if drop == "near" or twice["kind"] == drop:
                told.skipped.append({"path": row["id"], "reason": f"{twice['kind']} duplicate"})
                continue
        if found := places(both):
            told.redacted[row["id"]] = found
        told.counts[row["source"]] += 1
        told.licences[row["licence"]] += 1
        yield row
    if not told.counts:  # raised from here, so that no file is written
        reasons = Counter(row["reason"] for row in told.skipped).most_common()
        listed = ", ".join(f"{n} {reason}" for reason, n in reasons)
        raise SetupError(
            f"No document is left after the filters ({listed or 'no files'}). Check `repository`, `branch` and "
            "`date`, or raise `max_file_bytes`."
        )
