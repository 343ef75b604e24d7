"""What a model answered -> checked records: JSON found in whatever stands round it, item by item."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

Item = TypeVar("Item", bound=BaseModel)

_DECODER = json.JSONDecoder(strict=False)  # models write raw line breaks into strings
_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.S)
TRIES = 2000  # braces that begin no JSON, until a text is given up: each may cost a look at all that follows


@dataclass(frozen=True)
class Reading(Generic[Item]):
    items: list[Item]
    wrong: int
    """Items that are not of the asked form."""
    problem: str
    """Why nothing could be read; empty where something was."""


def read_items(content: str, form: type[Item]) -> Reading[Item]:
    """Find the items of a form in an answer: whole JSON, in a fence, between prose, one by one, or cut off in the end.

    Args:
        form: a pydantic model; its required fields say which objects are meant.
    """
    items: list[Item] = []
    wrong, reason = 0, ""
    names = {name for name, field in form.model_fields.items() if field.is_required()}
    for candidate in chain.from_iterable(_candidates(found, names) for found in _objects(_THOUGHT.sub("", content))):
        try:
            items.append(form.model_validate(candidate))
        except ValidationError as error:
            wrong += 1
            first = error.errors()[0]
            reason = reason or f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}"
    if items:
        return Reading(items, wrong, "")
    if not content.strip():
        return Reading([], 0, "the answer is empty")
    if reason:
        return Reading([], wrong, f"not of the asked form: {reason}")
    return Reading([], 0, f"no JSON of the asked form in the answer {content!r:.80}")


def _candidates(value: Any, names: set[str]) -> Iterator[dict[str, Any]]:
    """The objects with a field of the form, in whatever envelope: {"pairs": [...]}, {"data": {"pairs": [...]}}."""
    if isinstance(value, dict) and names & set(value):
        yield value
    elif isinstance(value, (dict, list)):
        for inside in value.values() if isinstance(value, dict) else value:
            yield from _candidates(inside, names)


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
