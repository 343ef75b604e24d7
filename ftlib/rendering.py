"""What a chat template writes, and where in it each message's content lies.

The places come from a second rendering with a sentinel for each content, never from searching for the content, which
may occur in the template's own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from ftlib.errors import SetupError

System = Literal["merge", "refuse"]
Messages = Sequence[Mapping[str, str]]
ROLES = ("system", "user", "assistant")
# What templates do to a content: nothing (most), `trim` (Llama 3, Gemma), line breaks (Qwen 3), spaces (Mistral v3).
_TRIMS: tuple[Callable[[str], str], ...] = (
    str,
    str.strip,
    str.lstrip,
    str.rstrip,
    lambda text: text.strip("\n"),
    lambda text: text.lstrip("\n"),
    lambda text: text.rstrip("\n"),
    lambda text: text.rstrip(" "),
)


@dataclass(frozen=True)
class Rendered:
    """What the template makes of a chat."""

    text: str
    spans: list[tuple[int, int]]
    """The characters that each message's content takes in the text, in the order of the text."""
    roles: list[str]
    """Of each span."""
    merged: bool
    """Whether the system message was put into the user's."""


def render(
    tokenizer: Any, messages: Messages, *, add_generation_prompt: bool = False, system: System = "merge"
) -> Rendered:
    """The chat template's text, and where each message's content lies in it.

    Raises:
        SetupError: no template, or one that refuses, leaves out, repeats or rewrites a message.
    """
    messages = [{"role": message["role"], "content": message["content"]} for message in messages]
    try:
        return _render(tokenizer, messages, add_generation_prompt, system)
    except SetupError:
        # A template may write the date: the frame that is remembered may be yesterday's.
        _frame.cache_clear()
        return _render(tokenizer, messages, add_generation_prompt, system)


def _render(tokenizer: Any, messages: Messages, add_generation_prompt: bool, system: System) -> Rendered:
    template = _template(tokenizer)
    merged = messages[0]["role"] == "system" and system == "merge" and not _takes_system(tokenizer)
    if merged:
        first = {**messages[1], "content": messages[0]["content"] + "\n\n" + messages[1]["content"]}
        messages = [first, *messages[2:]]
    text = _apply(tokenizer, messages, add_generation_prompt)
    roles = tuple(message["role"] for message in messages)
    order, pieces = _frame(tokenizer, template, roles, add_generation_prompt)
    if not text.startswith(pieces[0]):
        raise SetupError(f"The chat template of {tokenizer.name_or_path} rewrites a message.")
    spans: list[tuple[int, int]] = []
    position = len(pieces[0])
    for number, after in zip(order, pieces[1:], strict=True):
        content = messages[number]["content"]
        last = len(spans) == len(order) - 1
        for form in dict.fromkeys(trim(content) for trim in _TRIMS):
            end = position + len(form)
            if text.startswith(form + after, position) and (not last or end + len(after) == len(text)):
                spans.append((position, end))
                position = end + len(after)
                break
        else:
            raise SetupError(
                f"The chat template of {tokenizer.name_or_path} rewrites a message: {content!r:.60}. Take out what it "
                "takes out, the reasoning of an earlier answer for example."
            )
    return Rendered(text, spans, [messages[number]["role"] for number in order], merged)


def _template(tokenizer: Any) -> str:
    """The template's own text; the default one where there are several."""
    template = tokenizer.chat_template
    template = template.get("default") if isinstance(template, dict) else template
    if not template:
        raise SetupError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template. Use an instruct model, or set "
            "tokenizer.chat_template."
        )
    return template


def _apply(tokenizer: Any, messages: Messages, add_generation_prompt: bool) -> str:
    try:
        return tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except Exception as error:  # jinja's own classes, and what a template raises
        hint = "; set system='merge'" if messages[0]["role"] == "system" else ""
        raise SetupError(
            f"The chat template of {tokenizer.name_or_path} refused the messages: {error}{hint}"
        ) from error


@lru_cache(maxsize=256)
def _frame(tokenizer: Any, template: str, roles: tuple[str, ...], add_generation_prompt: bool) -> tuple[Any, Any]:
    """The numbers of the messages in the order in which the template writes them, and what it writes around them."""
    marked = [{"role": role, "content": f"\ue000{number}\ue001"} for number, role in enumerate(roles)]
    pieces = re.split("\ue000(\\d+)\ue001", _apply(tokenizer, marked, add_generation_prompt))
    order = [int(number) for number in pieces[1::2]]
    if sorted(order) != list(range(len(roles))):
        hint = "; for a model without system prompts set system='merge'" if roles[0] == "system" else ""
        raise SetupError(
            f"The chat template of {tokenizer.name_or_path} leaves out or repeats a message ({', '.join(roles)}){hint}."
        )
    return order, pieces[0::2]


def _takes_system(tokenizer: Any) -> bool:
    try:
        _frame(tokenizer, _template(tokenizer), ROLES, False)
    except SetupError:
        return False
    return True


def opening(tokenizer: Any, one: Rendered, number: int) -> int:
    """The character at which the model begins to write an answer: behind the generation prompt.

    That may be before the content: Qwen 3's template opens the last answer with an empty <think></think>.
    """
    start, before = one.spans[number][0], one.spans[number - 1][1] if number else 0
    try:
        prompt = _frame(tokenizer, _template(tokenizer), tuple(one.roles[:number]), True)[1][-1]
    except SetupError:
        return start
    return before + len(prompt) if one.text[before:start].startswith(prompt) else start
