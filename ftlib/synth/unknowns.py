"""Chats that ask for what does not exist in the project, and answers that say so: a model must learn not to invent."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from ftlib.names import name_parts, plain
from ftlib.synth import unknown_wordings as w
from ftlib.synth.prompts import month_of
from ftlib.synth.recited import INSTRUCTIONS, SNAPSHOTS, record
from ftlib.synth.unknown_things import MAKERS, Documents, Material, Thing, material_of

_TRIES = 50  # for each that is wanted
_BARE = 0.6  # how often the project's name is left out of a form that lets it be left out
_OPENED = 0.1  # how often a sentence stands before the question
_BACKTICKS = 0.6  # how often a name of code stands in backticks
_RECITED = {"file": SNAPSHOTS, "page": INSTRUCTIONS}
_AS_RECITED = ("file", "file", "file", "page")
"""More turns of each round, in the forms in which real texts are asked for: those are all recited, and a model that is
shown few that are not there learns that whatever has a path is."""


def unknown_chats(
    documents: Documents, project: str, count: int, seed: int = 0, others: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Chats that ask for files, functions, endpoints, settings, people, technologies, ... that no document names.

    A name is put together from the repository's words and ordinary ones in the repository's styles. No line of a
    document holds it in any spelling, with blanks or without. A question may leave the project's name out where it asks
    for a name of code, an endpoint or a page that only a repository can hold; at least 4 of 5 name it.

    Args:
        count: of chats, evenly over the kinds, but for files and pages, which have more turns (`_AS_RECITED`); fewer
            where the repository's names don't give so many.
        others: further names that exist, or that must not be asked for: skipped paths, questions of tests.

    Returns:
        chat records of method "unknown", without a split, with `kind` and `invented` (the name); the same for the same
        seed, whatever the documents' order.
    """
    if count < 1 or not documents:
        return []
    material = material_of(documents, others)
    if not material.words:
        return []
    code = [document["date"] for document in documents if document["source"] == "code"]
    month = month_of(max(code or [document["date"] for document in documents]))
    draw = random.Random(seed)
    kinds = list(w.FORMS)
    answers = {kind: _shuffled(_answers(kind), draw) for kind in kinds}
    turns = [(kind, _shuffled(w.FORMS[kind] + _as_recited(kind), draw)) for kind in kinds]
    turns += [(kind, _shuffled(_as_recited(kind), draw)) for kind in _AS_RECITED]
    tries = dict.fromkeys(kinds, _TRIES * (1 + count // len(kinds)))
    taken: set[str] = set()
    chats: list[dict[str, Any]] = []
    while turns and len(chats) < count:
        for kind, forms in list(turns):
            thing = None
            while thing is None and tries[kind] and len(chats) < count:
                tries[kind] -= 1
                thing = _new(MAKERS[kind](material, draw), material, taken)
            if thing is None:
                turns = [turn for turn in turns if turn[0] != kind]
                continue
            taken.add(plain(thing.new))
            question, answer = _worded(thing, next(forms), next(answers[kind]), project, month, draw)
            more = {"kind": kind, "invented": thing.name}
            chats.append(record(f"unknown:{len(chats) + 1}", question, answer, "unknown", "", **more))
    return chats


def _new(thing: Thing | None, material: Material, taken: set[str]) -> Thing | None:
    """The thing, unless a document or a chat before it has its name, or the name says a word twice."""
    if thing is None or plain(thing.new) in taken or len(words := name_parts(thing.new)) > len(set(words)):
        return None
    found = thing.new in material.numbers if thing.new.isdigit() else plain(thing.new) in material.there
    return None if found else thing


# --- wordings ---------------------------------------------------------------------------------------------------------


def _as_recited(kind: str) -> tuple[str, ...]:
    """The forms in which real texts of a kind are asked for."""
    return tuple(re.sub(r'"?\{(?:path|title)\}"?', "{x}", form) for form in _RECITED.get(kind, ()))


def _answers(kind: str) -> tuple[str, ...]:
    if kind in ("technology", "port"):
        return w.ANSWERS["use"]
    if kind == "person":
        return w.ANSWERS["person"]
    scraped = kind in ("file", "folder", "function", "component", "page")
    return w.ANSWERS["thing"] + (w.ANSWERS["snapshot"] if scraped else ())


def _shuffled(items: Sequence[str], draw: random.Random) -> Iterator[str]:
    """All of them in some order, then all in another one, for ever."""
    while True:
        yield from draw.sample(items, len(items))


def _worded(thing: Thing, form: str, answer: str, project: str, month: str, draw: random.Random) -> tuple[str, str]:
    """A question by the form and an answer; in the answer `{x}` has the article that it needs."""
    x = thing.name
    if thing.noun == "page":
        x = draw.choice(("“{}”", '"{}"', "{}")).format(x)
    elif thing.code and draw.random() < _BACKTICKS:
        x = f"`{x}`"
    said = f"`{thing.name}`" if thing.code else x
    if thing.noun == "page" and x == thing.name:
        said = f"“{x}”"
    noun = thing.noun
    whole = {"team": f"{said} team", "feature": said}.get(noun, f"{noun} {said}")
    bare = draw.random() < _BARE
    form = re.sub(r"\[(.*?)\]", "" if bare else r"\1", form)
    values = {"project": project, "noun": noun, "a_noun": _a(noun), "a_x": _a(x)}
    question = form.format(x=x, **values)
    if not bare and draw.random() < _OPENED:
        question = draw.choice(w.OPENINGS).format(project=project) + question
    alone = {"team": f"the {whole}", "feature": _a(whole)}.get(noun, said)
    thing_values = {"x": alone, "X": alone[0].upper() + alone[1:], "thing": whole, "a_thing": _a(whole)}
    return question, answer.format(**{**values, **thing_values}, month=month)


def _a(words: str) -> str:
    vowel = re.match(r"(?i)[aeio]|up|uns", words.strip('`“"'))
    return f"{'an' if vowel else 'a'} {words}"
