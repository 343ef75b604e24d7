"""Near-duplicate questions: the same one in slightly other words, and not another one in nearly the same words.

Character similarity calls "the default port of X" and "the default host of X" alike, and all questions that one
template made. Here two questions are near-duplicates when they name the same things (files, numbers, identifiers) and
nine in ten of their words are the same.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

SAME = 0.9  # Jaccard index of the words
_WORD = re.compile(r"[^\s\"'`´‘’“”«»()\[\]{}<>,;:!?。、，：；！？「」（）]+")
_NAME = re.compile(r"[\d/._\\@#$%&=+*~^|-]|[a-z][A-Z]")
_STOP = frozenset("a an the is are was were do does did of in on to for it its this that please".split())


def signature(question: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a question holds, and its other words in lower case without articles and the like."""
    words = [word.strip(".-") for word in _WORD.findall(question)]
    names = {word for word in words if _NAME.search(word)}
    plain = {word.casefold() for word in words if word and word not in names}
    return frozenset(names), frozenset(plain - _STOP) or frozenset(plain)


def alike(one: tuple[frozenset[str], frozenset[str]], other: tuple[frozenset[str], frozenset[str]]) -> bool:
    """Whether two signatures are of near-duplicates."""
    if one[0] != other[0]:
        return False
    union = len(one[1] | other[1])
    return not union or len(one[1] & other[1]) >= SAME * union


def near_duplicates(questions: Sequence[str], among: Iterable[str]) -> list[int]:
    """Indices of the questions that have a near-duplicate among others.

    Two sets whose Jaccard index is at least t share one of the first n - ceil(t * n) + 1 of their n words in any fixed
    order (prefix filtering, Chaudhuri et al. 2006); with the rarest words first, few pairs are compared.
    """
    mine = [signature(question) for question in questions]
    theirs = {signature(question) for question in among}
    frequency = Counter(word for _, words in [*mine, *theirs] for word in words)

    def prefix(words: frozenset[str]) -> list[str]:
        ordered = sorted(words, key=lambda word: (frequency[word], word))
        return ordered[: max(1, len(ordered) - int(SAME * len(ordered) + 0.999999) + 1)]

    index: dict[tuple[frozenset[str], str], list[tuple[frozenset[str], frozenset[str]]]] = defaultdict(list)
    for names, words in theirs:
        for word in prefix(words) or [""]:
            index[names, word].append((names, words))
    return [
        number
        for number, (names, words) in enumerate(mine)
        if any(alike((names, words), other) for word in prefix(words) or [""] for other in index.get((names, word), ()))
    ]
