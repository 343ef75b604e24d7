"""What a scrape from git alone costs, beside git reading the same: the blobs of the snapshot and the patches once.

    .venv/bin/python benchmarks/scrape.py [--repository PATH] [--pull-requests 184] [--rounds 7]

A round is one scrape into a fresh workspace (code, pages and the last N merged pull requests; secrets out, manifest
written) and git's own passes, by turns in one run, each with its output thrown away:

    git cat-file --batch                       of the blobs of the snapshot
    git log -p OLDEST^..TIP                    from the first of the pull requests to the snapshot
    git log -p --first-parent -m OLDEST^..TIP  the same, merges against the branch and not their commits one by one

The minimum of each counts; `seconds_ratio_to_cat_file` is over the first two together, `seconds_ratio_first_parent`
over the first and the third. A scrape remembers no line of the one before. Paths that the clone lacks are left out of
git's passes, as it stops at them; the commands are in the last line, which is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import scrape_requests

from ftlib import __version__
from ftlib.scrape import ScrapeConfig, redaction, scrape
from ftlib.scrape.git import reading
from ftlib.scrape.history import find_pulls
from ftlib.scrape.source import locate, resolve_branch
from ftlib.workspace import open_workspace

ENVIRONMENT = {**os.environ, "GIT_NO_LAZY_FETCH": "1"}


def git(git_dir: Path, *args: str, stdin: str = "") -> str:
    command = ["git", f"--git-dir={git_dir}", *args]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout


def missing(git_dir: Path, ids: set[str]) -> set[str]:
    rows = git(git_dir, "cat-file", "--batch-check", stdin="".join(f"{oid}\n" for oid in ids)).splitlines()
    return {row.split()[0] for row in rows if row.endswith(" missing")}


def passes(git_dir: Path, tip: str, pull_requests: int) -> dict[str, tuple[list[str], str]]:
    """Git's passes: a name -> the command and what it reads from stdin."""
    blobs = [row.split()[2] for row in git(git_dir, "ls-tree", "-r", tip).splitlines() if row.split()[1] == "blob"]
    with reading(git_dir) as env:
        pulls = {pull.commit: pull for pull in find_pulls(env, tip, pull_requests)}
    line = git(git_dir, "rev-list", "--first-parent", tip).split()
    oldest = pulls[next(commit for commit in reversed(line) if commit in pulls)]
    revisions = [tip, *(f"^{parent}" for parent in oldest.parents[:1])]
    changes = git(git_dir, "log", "-m", "--raw", "--no-abbrev", "--no-renames", "--format=", *revisions).splitlines()
    rows = [(facts.split()[2:4], path) for facts, path in (row.split("\t", 1) for row in changes if row)]
    gone = missing(git_dir, {oid for ids, _ in rows for oid in ids if oid.strip("0")})
    lost = sorted({path for ids, path in rows if gone.intersection(ids)})
    paths = ["--", ".", *(f":(exclude,literal){path}" for path in lost)] if lost else []
    log = ["log", "-p"]
    return {
        "cat_file": (["cat-file", "--batch"], "".join(f"{oid}\n" for oid in blobs)),
        "log_first_parent": ([*log, "--first-parent", "-m", *revisions, *paths], ""),
        "log": ([*log, *revisions, *paths], ""),
    }


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def from_git(repository: str, pull_requests: int, rounds: int, folder: Path) -> dict[str, Any]:
    """A scrape from git alone, and git's own passes."""
    source = locate(repository, folder / "clones")
    tip, _ = resolve_branch(source, None)
    # The path of the sample, built above, so that building it is in nobody's time.
    config = ScrapeConfig(str(source.git_dir), pull_requests=pull_requests, wiki="none")
    asked = passes(source.git_dir, tip, pull_requests)
    seconds: dict[str, list[float]] = {name: [] for name in ("scrape", *asked)}
    manifest: dict[str, Any] = {}
    for number in range(rounds):
        redaction.forget()  # a user's first scrape has seen no line before
        with tempfile.TemporaryDirectory(dir=folder) as name:
            took, manifest = timed(partial(scrape, config, open_workspace(name)))
            seconds["scrape"].append(took)
        for name, (args, stdin) in asked.items():
            command = ["git", f"--git-dir={source.git_dir}", *args]
            call = partial(subprocess.run, command, input=stdin.encode(), stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(timed(partial(call, env=ENVIRONMENT))[0])
        print(f"round {number + 1}: " + ", ".join(f"{name} {took[-1]:.3f} s" for name, took in seconds.items()))
    best = {name: min(took) for name, took in seconds.items()}
    by_git = best["cat_file"] + best["log"]
    counts = manifest["counts"]["documents"]
    return {
        "seconds_ratio_to_cat_file": round(best["scrape"] / by_git, 3),
        "seconds_ratio_first_parent": round(best["scrape"] / (best["cat_file"] + best["log_first_parent"]), 3),
        "seconds": round(best["scrape"], 3),
        "seconds_git": round(by_git, 3),
        "seconds_of": {name: round(took, 3) for name, took in best.items()},
        "commands": {name: " ".join(["git", *args]) for name, (args, _) in asked.items()},
        "documents": sum(counts.values()),
        "pull_requests": counts.get("pull_request", 0),
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repository", default="sample", help="a path or URL; left out: the built-in sample")
    parser.add_argument("--pull-requests", type=int, default=184)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if options.repository == "sample":
        print("This measures the built-in sample, which is too small to say much.", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="ftlib-bench-") as name:
        found = from_git(options.repository, options.pull_requests, options.rounds, Path(name))
    versions = {
        "ftlib": __version__,
        "python": platform.python_version(),
        "git": subprocess.run(["git", "version"], capture_output=True, text=True).stdout.split()[2],
    }
    print("\n" + json.dumps({**found, **scrape_requests.measure(), "cores": os.cpu_count(), "versions": versions}))


if __name__ == "__main__":
    main()
