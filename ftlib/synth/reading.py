"""What a model answered -> checked records: JSON found in whatever stands round it, item by item."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

Item = TypeVar("Item", bound=BaseModel)

_DECODER = json.JSONDecoder(strict=False)  # models write raw line breaks into strings
_THOUGHT = re.compile(r"\A\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.S)
TRIES = 2000  # braces that begin no JSON, until a text is given up: each may cost a look at all that follows


@dataclass(frozen=True)
class Reading(Generic[Item]):
    items: list[Item]
    wrong: list[tuple[Any, str]]
    """What is not of the asked form, and why."""
    problem: str
    """Why nothing could be read; empty where something was."""


def read_items(content: str, form: type[Item]) -> Reading[Item]:
    """Find the items of a form in an answer: whole JSON, in a fence, between prose, one by one, or cut off in the end.

    Args:
        form: a pydantic model; its required fields say which objects are meant.
    """
    items: list[Item] = []
    wrong: list[tuple[Any, str]] = []
    for candidate in _candidates(_THOUGHT.sub("", content), form):
        try:
            items.append(form.model_validate(candidate))
        except ValidationError as error:
            first = error.errors()[0]
            wrong.append((candidate, f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}"))
    if items:
        return Reading(items, wrong, "")
    if not content.strip():
        return Reading([], [], "the answer is empty")
    if wrong:
        return Reading([], wrong, f"not of the asked form: {wrong[0][1]}")
    return Reading([], [], f"no JSON of the asked form in the answer {content!r:.80}")


def _candidates(text: str, form: type[BaseModel]) -> list[dict[str, Any]]:
    """The objects that have a required field of the form; where none has one, all that stand in lists."""
    names = {name for name, field in form.model_fields.items() if field.is_required()}
    listed: list[dict[str, Any]] = []
    meant = [found for value in _objects(text) for found in _meant(value, names, listed)]
    return meant or listed


def _meant(value: Any, names: set[str], listed: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """In whatever envelope: {"pairs": [...]}, {"data": {"pairs": [...]}}, [...]."""
    if isinstance(value, dict) and names & set(value):
        yield value
    elif isinstance(value, dict):
        for inside in value.values():
            yield from _meant(inside, names, listed)
    elif isinstance(value, list):
        listed += [entry for entry in value if isinstance(entry, dict)]
        for inside in value:
            yield from _meant(inside, names, listed)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The outermost JSON objects of a text; of one that is cut off, the whole ones inside."""
    position, tries = text.find("{"), 0
    while position >= 0 and tries < TRIES:
        end = position + 1
        try:
            value, end = _DECODER.raw_decode(text, position)
            yield value
        except (ValueError, RecursionError):
            tries += 1
        position = text.find("{", end)


def schema_of(form: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a form as OpenAI's strict mode takes it: no other fields, all required, no defaults."""
    return _strict(form.model_json_schema())


def _strict(part: Any) -> Any:
    if isinstance(part, list):
        return [_strict(entry) for entry in part]
    if not isinstance(part, dict):
        return part
    strict = {name: _strict(value) for name, value in part.items() if name not in ("title", "default")}
    if "properties" in part:
        # A field may be called `title`: the names of fields are not keywords.
        strict["properties"] = {name: _strict(value) for name, value in part["properties"].items()}
        strict |= {"additionalProperties": False, "required": list(part["properties"])}
    return strict
