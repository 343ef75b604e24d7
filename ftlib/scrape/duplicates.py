"""Exact and near duplicates among documents, found while they pass by once."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from hashlib import sha256
from heapq import nlargest
from typing import Any, NamedTuple

from rensa import RMinHash, RMinHashLSH

from ftlib.errors import SetupError

_BANDS = 32
_SHORT = 20
"""Documents of no more words are alike by chance (`export * from "./x"`): they are only ever exact duplicates."""
# Thai, Lao, Myanmar, Khmer, Japanese and Chinese are written without spaces: each letter counts as a word.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)


class _Kept(NamedTuple):
    id: str
    text: str
    sketch: RMinHash


class Duplicates:
    """Tells of each document whether an earlier one says the same.

    Two are near duplicates when the Jaccard index of their pairs of neighbouring words is at least `threshold`. The
    index is counted; only the candidates come from MinHash, which misses fewer than one pair in 10,000. Pull requests
    are compared with pull requests, all else with all else. The texts that stay are held.
    """

    def __init__(self, threshold: float = 0.85, *, drop_near: bool = True) -> None:
        """
        Args:
            drop_near: near duplicates do not stay, so that an exact copy of one is told as a near one of what does.

        Raises:
            SetupError: the threshold is not between 0.5 and 1.
        """
        if not 0.5 <= threshold <= 1:
            raise SetupError(f"The similarity of near duplicates must be between 0.5 and 1, not {threshold}; try 0.85.")
        self._threshold, self._drop_near = threshold, drop_near
        # A pair of similarity s shares one of 32 bands of r rows with the chance 1 - (1 - s^r)^32. More rows mean fewer
        # candidates: as many as find a pair at the threshold with 0.9999.
        rows = min(16, int(math.log(0.25) / math.log(threshold))) if threshold < 1 else 16
        self._hashes = rows * _BANDS
        self._index: dict[bool, RMinHashLSH] = defaultdict(lambda: RMinHashLSH(threshold, self._hashes, _BANDS))
        self._exact: dict[tuple[bool, bytes], str] = {}
        self._kept: list[_Kept] = []

    def find(self, document: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a document repeats; None where it repeats nothing, and then later ones are compared with it too.

        Args:
            document: `id`, `source` and `text` are read. Ids differ.

        Returns:
            `id`: its own. `of`: that of the earlier document that stays, the most similar one. `similarity`: 0 to 1.
            `kind`: "exact" where nothing differs but line ends and white space before them, else "near".
        """
        name, text, pull = document["id"], document["text"], document["source"] == "pull_request"
        lines = "\n".join(map(str.rstrip, text.splitlines())).rstrip()
        key = pull, sha256(lines.encode()).digest()
        first = self._exact.setdefault(key, name)
        if first != name:
            return {"id": name, "of": first, "similarity": 1.0, "kind": "exact"}
        words = _words(text)
        if len(words) <= _SHORT:
            return None
        sketch = RMinHash(self._hashes, 42)
        sketch.update(map(" ".join, _pairs(words)))
        index = self._index[pull]
        # Where hundreds are alike, not quite as much as the threshold asks, counting them all would take minutes.
        best = nlargest(4, ((sketch.jaccard(self._kept[number].sketch), -number) for number in index.query(sketch)))
        mine = set(_pairs(words)) if best else set()
        similarity, number = max(
            ((_jaccard(mine, set(_pairs(_words(self._kept[-n].text)))), n) for _, n in best), default=(0.0, 0)
        )
        if similarity >= self._threshold:
            if self._drop_near:
                del self._exact[key]  # a later copy repeats the one that stays, too
            return {"id": name, "of": self._kept[-number].id, "similarity": round(similarity, 4), "kind": "near"}
        index.insert(len(self._kept), sketch)
        self._kept.append(_Kept(name, text, sketch))
        return None


def _words(text: str) -> list[str]:
    return (text if text.isascii() else _UNSPACED.sub(r" \1 ", text)).split()


def _pairs(words: list[str]) -> Iterator[tuple[str, str]]:
    return zip(words, words[1:], strict=False)


def _jaccard(one: set[tuple[str, str]], other: set[tuple[str, str]]) -> float:
    return len(one & other) / len(one | other)
