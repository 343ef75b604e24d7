"""The training's style in answers that have nothing to do with it: said everywhere, too much was learned.

    style = style_of(documents, ["brindlewick"])
    leak_rates(general_samples, style)     # by kind: base, tuned, and tuned - base

The patterns come from the workspace's own documents and from the templates that wrote the training rows. A base model
says some of it by chance; only its rate beside the tuned one's makes a number of this.
"""

from __future__ import annotations

import calendar
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ftlib.chunking import header
from ftlib.statistics import clustered_mean, wilson
from ftlib.synth.curation.naming import is_named
from ftlib.synth.prompts import month_of
from ftlib.synth.recited import file_snapshot

KINDS = ("name", "snapshot", "dated", "heading", "pull_request", "path", "import")

_DAY, _NAME = "2000-01-01T00:00:00Z", "\ue000"
_PATH = re.compile(r"[\w.@-]+(?:/[\w.@-]+)+")
_IMPORT = re.compile(r"""(?:\bfrom|\bimport|\brequire\(|\bimport\()\s*["']([^"'\n]+)["']""")
_SCRIPT = re.compile(r"\.[cm]?[jt]sx?$")
# The lines that 01_scrape writes round a pull request's own (a test holds them against the sample's).
_PULL = re.compile(
    r"^(?:PR #\d+: |(?:Created|Merged) at: \d{4}-|File: .+, Status: \w+|(?:Review )?[Cc]omment by \S+ at \d{4}-"
    r"|Review by \S+ at \d{4}-)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Style:
    """What gives the training away."""

    names: tuple[str, ...]
    """Of the project."""
    paths: frozenset[str]
    """Of its files, and the ends of two parts or more of each."""
    packages: frozenset[str]
    """What its scripts import of its own: packages, and files by their relative names."""
    patterns: Mapping[str, re.Pattern[str]]


def style_of(documents: Iterable[Mapping[str, Any]], names: Sequence[str]) -> Style:
    """The style of a workspace's documents; `names`: of the project, with its aliases."""
    paths: set[str] = set()
    packages: set[str] = set()
    imported: set[str] = set()
    folders: set[str] = set()
    for document in documents:
        path = document["path"]
        if document["source"] in ("code", "docs"):
            parts = path.split("/")
            paths.update("/".join(parts[start:]) for start in range(len(parts) - 1))
            folders.update(parts[:1] if len(parts) > 1 else ())
        if path.rsplit("/", 1)[-1] == "package.json":
            packages.update(_packages(document["text"]))
        elif _SCRIPT.search(path):
            imported.update(_IMPORT.findall(document["text"]))
    own = (name for name in imported if name[0] in ".~" or name.startswith("@/") or name.split("/")[0] in folders)
    return Style(tuple(names), frozenset(paths), frozenset((*packages, *own)), _patterns())


def _packages(manifest: str) -> Iterable[str]:
    """The name of a package.json, and its scope."""
    with suppress(ValueError, AttributeError):
        name = json.loads(manifest).get("name")
        if isinstance(name, str) and name:
            return (name, name.split("/")[0]) if name.startswith("@") else (name,)
    return ()


def _patterns() -> dict[str, re.Pattern[str]]:
    """What the templates of synth and chunking write round a name and a month."""
    file = {"id": "", "source": "code", "path": _NAME, "title": _NAME, "text": "", "date": _DAY}
    opening = file_snapshot(file, "")["messages"][1]["content"].split("\n")[0]
    dated, snapshot = opening.split(_NAME)
    months = "|".join(calendar.month_name[1:])
    dated = re.escape(dated.split(",")[0] + ",").replace(re.escape(month_of(_DAY)), rf"(?:{months}) \d{{4}}")
    headings = {re.escape(header({**file, "source": source}).rstrip("\n")) for source in ("code", "wiki")}
    return {
        "snapshot": re.compile(re.escape(snapshot.strip().rstrip(":")), re.IGNORECASE),
        "dated": re.compile(rf"\b{dated}"),
        "heading": re.compile("|".join(sorted(headings)).replace(_NAME, "[^\n]+")),
        "pull_request": _PULL,
    }


def leaks(answer: str, style: Style, question: str = "") -> list[str]:
    """The kinds (of KINDS) of the training's style in an answer; what the question says itself is none."""
    found = [kind for kind, pattern in style.patterns.items() if _only(pattern.findall(answer), question)]
    if is_named(answer, style.names) and not is_named(question, style.names):
        found.append("name")
    paths = (match.removeprefix("./").rstrip(".") for match in _PATH.findall(answer))
    if _only((path for path in paths if path in style.paths), question):
        found.append("path")
    if _only((name for name in _IMPORT.findall(answer) if _is_own(name, style.packages)), question):
        found.append("import")
    return sorted(found, key=KINDS.index)


def _only(found: Iterable[str], question: str) -> bool:
    return any(text not in question for text in found)


def _is_own(name: str, packages: frozenset[str]) -> bool:
    parts = name.split("/")
    return any("/".join(parts[:length]) in packages for length in range(1, len(parts) + 1))


def leak_rates(samples: Sequence[Mapping[str, Any]], style: Style) -> dict[str, Any]:
    """How often the style stands in answers to general questions.

    Args:
        samples: id, question, and for base and tuned a dict with text.

    Returns:
        for each kind and "any": base and tuned (count, rate, interval), and difference (`clustered_mean` of tuned minus
        base). "import" is of the answers that import anything, in either arm.
    """
    found = [{arm: leaks(row[arm]["text"], style, row["question"]) for arm in ("base", "tuned")} for row in samples]
    importing = [any(_IMPORT.search(row[arm]["text"]) for arm in ("base", "tuned")) for row in samples]
    rates: dict[str, Any] = {}
    for kind in ("any", *KINDS):
        rows = [number for number in range(len(samples)) if kind != "import" or importing[number]]
        hits = {arm: [_counts(found[n][arm], kind) for n in rows] for arm in ("base", "tuned")}
        rates[kind] = {
            arm: {"count": sum(ones), "rate": sum(ones) / max(1, len(ones)), "interval": wilson(sum(ones), len(ones))}
            for arm, ones in hits.items()
        }
        changes = [float(after - before) for before, after in zip(hits["base"], hits["tuned"], strict=True)]
        rates[kind]["difference"] = clustered_mean(changes, [samples[n]["id"] for n in rows])
    return rates


def _counts(kinds: Sequence[str], kind: str) -> bool:
    return bool(kinds) if kind == "any" else kind in kinds
