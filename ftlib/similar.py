"""Near-duplicate questions: the same one in slightly other words, and not another one in nearly the same words.

Character similarity calls "the default port of X" and "the default host of X" alike, and all questions that one
template made. Here two questions are near-duplicates when they name the same things (files, numbers, identifiers) and
nine in ten of their words are the same.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

Signature = tuple[frozenset[str], frozenset[str]]

SAME = 0.9  # Jaccard index of the words
_WORD = re.compile(r"[^\s\"'`´‘’“”«»()\[\]{}<>,;:!?。、，：；！？「」（）]+")
_NAME = re.compile(r"[\d/._\\@#$%&=+*~^|-]|[a-z][A-Z]")
# "s" is what is left of a possessive.
_STOP = frozenset("a an the is are was were do does did of in on to for it its this that please s".split())


def signature(question: str) -> Signature:
    """The names that a question holds, and its other words in lower case without articles and the like."""
    words = [word.strip(".-") for word in _WORD.findall(question)]
    names = {word for word in words if _NAME.search(word)}
    plain = {word.casefold() for word in words if word and word not in names}
    return frozenset(names), frozenset(plain - _STOP) or frozenset(plain)


def alike(one: Signature, other: Signature) -> bool:
    """Whether two signatures are of near-duplicates."""
    if one[0] != other[0]:
        return False
    union = len(one[1] | other[1])
    return not union or len(one[1] & other[1]) >= SAME * union


def near_duplicates(questions: Sequence[str], among: Iterable[str]) -> list[int]:
    """Indices of the questions that have a near-duplicate among others."""
    mine = [signature(question) for question in questions]
    theirs = {signature(question) for question in among}
    index = _Index(chain(mine, theirs))
    for other in theirs:
        index.add(other)
    return [number for number, one in enumerate(mine) if index.has(one)]


def repeated(questions: Sequence[str]) -> list[int]:
    """Indices of the questions that have a near-duplicate among those before them, repeated ones left out."""
    signatures = [signature(question) for question in questions]
    index = _Index(signatures)
    found = []
    for number, one in enumerate(signatures):
        if index.has(one):
            found.append(number)
        else:
            index.add(one)
    return found


class _Index:
    """Signatures, found again by near-duplicates without a look at all of them.

    Two sets whose Jaccard index is at least t share one of the first n - ceil(t * n) + 1 of their n words in any fixed
    order (prefix filtering, Chaudhuri et al. 2006); with the rarest words first, few pairs are compared.
    """

    def __init__(self, signatures: Iterable[Signature]):
        """`signatures`: all that will be added or looked for; their words are counted."""
        self._frequency = Counter(word for _, words in signatures for word in words)
        self._rows: dict[tuple[frozenset[str], str], list[Signature]] = defaultdict(list)

    def add(self, one: Signature) -> None:
        for word in self._prefix(one[1]):
            self._rows[one[0], word].append(one)

    def has(self, one: Signature) -> bool:
        return any(alike(one, other) for word in self._prefix(one[1]) for other in self._rows.get((one[0], word), ()))

    def _prefix(self, words: frozenset[str]) -> list[str]:
        ordered = sorted(words, key=lambda word: (self._frequency[word], word))
        return ordered[: max(1, len(ordered) - int(SAME * len(ordered) + 0.999999) + 1)] or [""]
