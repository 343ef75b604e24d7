"""Files and endpoints that could be there and are not: does a tuned model admit that it does not know them?"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ftlib.names import NAME, ROUTE, joined, plain, stem_words
from ftlib.synth.recited import SNAPSHOTS

Row = dict[str, Any]

ENDPOINT = "What does the endpoint `{path}` of {project} return?"
_TRIES = 50  # for each that is wanted


def invented(
    documents: Iterable[Mapping[str, Any]], project: str, count: int = 20, seed: int = 0, others: Sequence[str] = ()
) -> list[Row]:
    """Questions on files and, where the code names any, endpoints, put together from the repository's own words.

    No document holds the name of one, in whatever way it is written: as camelCase, snake_case or with dashes.

    Args:
        count: of files and of endpoints each; fewer where the names don't give so many.
        others: further names that exist, such as the paths that 01_scrape skipped, or that were trained on.

    Returns:
        rows of set ("unknown"), id, document_id (""), question, reference (""), keywords ([]) and invented (file or
        endpoint), the same for the same seed.
    """
    names: set[str] = set()
    files: list[str] = []
    routes: set[str] = set()
    for document in documents:
        names.update(NAME.findall(document["text"]), NAME.findall(document["title"]), document["path"].split("/"))
        if document["source"] == "code":
            files.append(document["path"])
            routes.update(ROUTE.findall(document["text"]))
    names.update(name for path in others for name in path.split("/"))
    there = " ".join({plain(name) for name in names})
    files = [path for path in sorted(files) if re.fullmatch(r"[^.]+\.\w+", path.rsplit("/", 1)[-1])]
    draw, rows = random.Random(seed), []
    for kind, candidates in (("file", _files(files, draw)), ("endpoint", _endpoints(sorted(routes), files, draw))):
        taken: set[str] = set()
        for tried, (path, new) in enumerate(candidates):
            if len(taken) == count or tried == count * _TRIES:
                break
            if plain(new) in there or path in taken:
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


def _files(files: Sequence[str], draw: random.Random) -> Iterator[tuple[str, str]]:
    """A file's folder and ending, and a name of the first word of one name and the last of another."""
    words = {path: stem_words(path) for path in files}
    usable = [path for path in files if words[path]]
    while len(usable) > 1:
        home, one, other = draw.choice(usable), *draw.sample(usable, 2)
        stem, ending = home.rsplit("/", 1)[-1].split(".")
        new = joined([words[one][0], words[other][-1]], stem, ending)
        folder = home[: len(home) - len(home.rsplit("/", 1)[-1])]
        yield f"{folder}{new}.{ending}", new


def _endpoints(routes: Sequence[str], files: Sequence[str], draw: random.Random) -> Iterator[tuple[str, str]]:
    """A route with another last part: two words of other routes and files."""
    words = sorted({word for name in (*routes, *files) for word in stem_words(name) if len(word) > 2})
    while routes and len(words) > 1:
        route, (one, other) = draw.choice(routes), draw.sample(words, 2)
        new = f"{one}-{other}"
        yield f"{route.rsplit('/', 1)[0] or route}/{new}", new
