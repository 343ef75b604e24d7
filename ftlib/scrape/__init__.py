"""01_scrape: a repository -> `documents.jsonl`.

    from ftlib.scrape import ScrapeConfig, scrape
    from ftlib.workspace import open_workspace

    manifest = scrape(ScrapeConfig("guardian/manage-frontend", date="2023-12-21"), open_workspace("workspace"))

source.py finds the repository and the commit, git.py reads objects, filters.py and pages.py judge files, history.py
finds pull requests, documents.py puts it together, redaction.py takes secrets out before anything is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from ftlib.errors import SetupError
from ftlib.scrape.documents import Document, Snapshot, files, pages, pulls
from ftlib.scrape.git import reading
from ftlib.scrape.redaction import redact
from ftlib.scrape.source import Source, locate, parse_day, resolve_branch, snapshot
from ftlib.workspace import Workspace, is_done, read_manifest, write_jsonl, write_manifest


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
    """URL or path of the wiki's git repository. None: REPO.wiki.git beside it, if it is there. "none": no wiki."""
    pull_requests: int = 100
    """The last N merged ones, by merge date."""
    max_file_bytes: int = 500_000
    """Larger files are skipped unread."""


def scrape(config: ScrapeConfig, workspace: Workspace, *, token: str | None = None) -> dict[str, Any]:
    """Read a repository's code, pages, wiki and merged pull requests; write `documents.jsonl` and its manifest.

    A document has `id, source (code | wiki | docs | pull_request), title, path, url, text, date, commit, licence`.
    Dates are UTC, `2023-12-21T10:53:07Z`: the snapshot's for code and pages, the last change's for a wiki page, the
    merge's for a pull request. `url` and `licence` are "" where they are not known.
    Nothing is done when the settings and commits are those of the manifest that lies there.

    Args:
        token: opens a private repository on GitHub; never written or shown.

    Returns:
        the manifest: `counts` (documents by source, skipped files by reason), `skipped` (path and reason of each),
        `redactions` by kind, `redacted_documents` by id, `notes`, `name`, `full_name`, `branch`, `commit`, `date`.

    Raises:
        SetupError: the repository, branch or date can't be used, or no document is left; the message says what to do.
    """
    if config.pull_requests < 0 or config.max_file_bytes < 1:
        raise SetupError("`pull_requests` must be 0 or more and `max_file_bytes` 1 or more.")
    if config.date is not None:
        parse_day(config.date)
    source = locate(config.repository, workspace.clones, token=token)
    tip, branch = resolve_branch(source, config.branch)
    notes = list(source.notes)
    skipped: list[dict[str, str]] = []
    counts: Counter[str] = Counter()
    redacted: dict[str, Counter[str]] = {}
    with ExitStack() as stack:
        env = stack.enter_context(reading(source.git_dir))
        code = Snapshot(env, *snapshot(env, tip, config.date), web=source.web)
        wiki = _wiki(config, source, workspace, token, notes, stack)
        settings = {**asdict(config), "commit": code.commit, "wiki_commit": wiki.commit if wiki else ""}
        if is_done(workspace.documents, settings=settings):
            return read_manifest(workspace.documents) or {}

        def documents() -> Iterator[Document]:
            yield from files(code, config.max_file_bytes, skipped)
            if wiki:
                yield from pages(wiki, config.max_file_bytes, skipped)
            yield from pulls(code, config.pull_requests)

        write_jsonl(workspace.documents, _redacted(documents(), counts, redacted, skipped))
    return write_manifest(
        workspace.documents,
        stage="01_scrape",
        settings=settings,
        counts={
            "documents": dict(counts),
            "skipped": dict(Counter(row["reason"] for row in skipped).most_common()),
        },
        name=source.name,
        full_name=source.full_name,
        branch=branch,
        commit=code.commit,
        date=code.date,
        notes=notes,
        redactions=dict(sum(redacted.values(), Counter()).most_common()),
        redacted_documents=redacted,
        skipped=skipped,
    )


def _wiki(
    config: ScrapeConfig, source: Source, workspace: Workspace, token: str | None, notes: list[str], stack: ExitStack
) -> Snapshot | None:
    if config.wiki == "none":
        return None
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
        return Snapshot(env, *snapshot(env, resolve_branch(wiki, None)[0], config.date), web=source.web)
    except SetupError as error:  # an empty wiki, or one that began later
        notes.append(f"The wiki was left out. {error}")
        return None


def _redacted(
    rows: Iterable[Document], counts: Counter[str], redacted: dict[str, Counter[str]], skipped: list[dict[str, str]]
) -> Iterator[Document]:
    for row in rows:
        row["title"], in_title = redact(row["title"])
        row["text"], in_text = redact(row["text"])
        if in_title or in_text:
            redacted[row["id"]] = in_title + in_text
        counts[row["source"]] += 1
        yield row
    if not counts:  # raised from here, so that no file is written
        reasons = ", ".join(f"{n} {reason}" for reason, n in Counter(row["reason"] for row in skipped).most_common())
        raise SetupError(
            f"No document is left after the filters ({reasons or 'no files'}). Check `repository`, `branch` and "
            "`date`, or raise `max_file_bytes`."
        )
