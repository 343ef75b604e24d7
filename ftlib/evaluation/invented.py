"""Files and endpoints that could be there and are not: does a tuned model admit that it does not know them?"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ftlib.evaluation.baselines import name_parts
from ftlib.synth.recited import SNAPSHOTS

Row = dict[str, Any]

ENDPOINT = "What does the endpoint `{path}` of {project} return?"
_NAME = re.compile(r"\w[\w-]*")
_ROUTE = re.compile(r"""["'`](/[A-Za-z][\w-]*(?:/[\w{}:<>-]+)*)/?["'`?]""")
_TRIES = 50  # for each that is wanted


def invented(
    documents: Iterable[Mapping[str, Any]], project: str, count: int = 20, seed: int = 0, others: Sequence[str] = ()
) -> list[Row]:
    """Questions on files and, where the code names any, endpoints, put together from the repository's own words.

    No document holds the name of one, in whatever way it is written: as camelCase, snake_case or with dashes.

    Args:
        count: of files and of endpoints each; fewer where the names don't give so many.
        others: further names that exist: the paths that 01_scrape skipped.

    Returns:
        rows of set ("unknown"), id, document_id (""), question, reference (""), keywords ([]) and invented (file or
        endpoint), the same for the same seed.
    """
    names: set[str] = set()
    files: list[str] = []
    routes: set[str] = set()
    for document in documents:
        names.update(_NAME.findall(document["text"]), _NAME.findall(document["title"]), document["path"].split("/"))
        if document["source"] == "code":
            files.append(document["path"])
            routes.update(_ROUTE.findall(document["text"]))
    names.update(name for path in others for name in path.split("/"))
    there = " ".join({_plain(name) for name in names})
    files = [path for path in sorted(files) if re.fullmatch(r"[^.]+\.\w+", path.rsplit("/", 1)[-1])]
    draw, rows = random.Random(seed), []
    for kind, candidates in (("file", _files(files, draw)), ("endpoint", _endpoints(sorted(routes), files, draw))):
        taken: set[str] = set()
        for tried, (path, new) in enumerate(candidates):
            if len(taken) == count or tried == count * _TRIES:
                break
            if _plain(new) in there or path in taken:
                continue
            taken.add(path)
            question = draw.choice(SNAPSHOTS) if kind == "file" else ENDPOINT
            rows.append(
                {
                    "set": "unknown",
                    "id": f"invented:{path}",
                    "document_id": "",
                    "question": question.format(path=path, project=project),
                    "reference": "",
                    "keywords": [],
                    "invented": kind,
                }
            )
    return rows


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _files(files: Sequence[str], draw: random.Random) -> Iterator[tuple[str, str]]:
    """A file's folder and ending, and a name of the first word of one name and the last of another."""
    words = {path: _words(path) for path in files}
    usable = [path for path in files if words[path]]
    while len(usable) > 1:
        home, one, other = draw.choice(usable), *draw.sample(usable, 2)
        stem, ending = home.rsplit("/", 1)[-1].split(".")
        new = _joined([words[one][0], words[other][-1]], stem, ending)
        folder = home[: len(home) - len(home.rsplit("/", 1)[-1])]
        yield f"{folder}{new}.{ending}", new


def _endpoints(routes: Sequence[str], files: Sequence[str], draw: random.Random) -> Iterator[tuple[str, str]]:
    """A route with another last part: two words of other routes and files."""
    words = sorted({word for name in (*routes, *files) for word in _words(name) if len(word) > 2})
    while routes and len(words) > 1:
        route, (one, other) = draw.choice(routes), draw.sample(words, 2)
        new = f"{one}-{other}"
        yield f"{route.rsplit('/', 1)[0] or route}/{new}", new


def _words(path: str) -> list[str]:
    last = path.rsplit("/", 1)[-1].split(".")[0]
    return [word for word in name_parts(last) if word.isalpha()]


def _joined(words: Sequence[str], like: str, ending: str) -> str:
    """Words written as the name beside which the new one will stand; a name of one word says it by its ending."""
    camel = re.search(r"[a-z][A-Z]", like) or like[0].isupper() or re.fullmatch(r"[cm]?[jt]sx?|java|kt|swift", ending)
    if camel and "_" not in like and "-" not in like:
        rest = "".join(word.capitalize() for word in words[1:])
        return (words[0].capitalize() if like[0].isupper() else words[0]) + rest
    return ("-" if "-" in like else "_").join(words)
