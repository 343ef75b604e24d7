"""Messages -> input_ids and labels by the model's own chat template.

The ids equal `tokenizer.apply_chat_template(messages)` on every text that holds no control string. Where a message
does hold one (`<|im_end|>` in a pasted source file), it is encoded as text, so that content can't end a turn.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from ftlib import tokens
from ftlib.chunking import IGNORE
from ftlib.errors import SetupError

LossOn = Literal["all", "assistant"]
Overflow = Literal["drop", "cut", "refuse"]
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


def check_messages(messages: Any, where: str = "messages") -> None:
    """Check roles, order and types.

    Raises:
        SetupError: names `where` and the message that is wrong.
    """
    if not isinstance(messages, list) or not messages:
        raise SetupError(f"{where}: a list of messages was expected, found {type(messages).__name__} {messages!r:.60}.")
    turns = []
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise SetupError(f"{where}, message {number}: a dict with a role of {', '.join(ROLES)} was expected.")
        if not isinstance(message.get("content"), str) or not message["content"].strip():
            raise SetupError(f"{where}, message {number} ({message['role']}): the content is empty or not a string.")
        turns.append(message["role"])
    dialogue = turns[1:] if turns[0] == "system" else turns
    expected = ["user", "assistant"] * (len(dialogue) // 2 + 1)
    if not dialogue or dialogue != expected[: len(dialogue)]:
        raise SetupError(f"{where}: the roles must be user, assistant, user, ...; found {', '.join(turns)}.")


# --- encoding ---------------------------------------------------------------------------------------------------------


def encode_chat(
    tokenizer: Any, messages: Messages, loss_on: LossOn = "all", *, system: System = "merge"
) -> dict[str, Any]:
    """Encode one whole chat for training; see `encode_chats`."""
    return encode_chats(tokenizer, [messages], loss_on, system=system)[0]


def encode_chats(
    tokenizer: Any,
    chats: Sequence[Messages],
    loss_on: LossOn = "all",
    *,
    system: System = "merge",
    names: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Encode whole chats for training, on all cores.

    Args:
        chats: messages (role and content), the last of each from the assistant.
        loss_on: "all" tokens (the article's), or the "assistant" turns with the token that ends each.
        system: what to do with a system message that the template has no place for: "merge" it into the first user
            message (as mistral-common's encoder does), or "refuse".
        names: what an error calls each chat.

    Returns:
        one dict a chat: input_ids; labels, equally long, -100 where no loss falls; answers, the (first, end) token
        indices of each assistant turn with its end token; merged (whether a system message was); replaced (characters
        that the tokenizer has no token for).

    Raises:
        SetupError: roles out of order, or a template that can't be followed.
    """
    rendered = []
    for number, messages in enumerate(chats):
        try:
            check_messages(messages)
            if messages[-1]["role"] != "assistant":
                raise SetupError("The last message of a training chat must be the assistant's.")
            rendered.append(render(tokenizer, messages, system=system))
        except SetupError as error:
            if not names:
                raise
            raise SetupError(f"{names[number]}: {error}") from error
    rows = []
    for one, encoded in zip(rendered, _encode(tokenizer, rendered), strict=True):
        labels, answers = list(encoded.ids), _answers(tokenizer, one, encoded)
        if loss_on == "assistant":
            labels = [IGNORE] * len(encoded.ids)
            for first, end in answers:
                labels[first:end] = encoded.ids[first:end]
        rows.append(
            {
                "input_ids": encoded.ids,
                "labels": labels,
                "answers": answers,
                "merged": one.merged,
                "replaced": encoded.replaced,
            }
        )
    return rows


def begins_with(tokenizer: Any, ids: list[int]) -> bool:
    """Whether the template begins a chat with these ids, a BOS for example; False without a template."""
    try:
        probe = encode_prompt(tokenizer, [{"role": "user", "content": "a"}])
    except SetupError:
        return False
    return probe[: len(ids)] == ids


def encode_prompt(tokenizer: Any, messages: Messages, *, system: System = "merge") -> list[int]:
    """Token ids of a chat up to where the assistant's answer begins.

    Raises:
        SetupError: roles out of order, or the last message is not the user's.
    """
    check_messages(messages)
    if messages[-1]["role"] != "user":
        raise SetupError("A prompt must end with the user's message.")
    one = render(tokenizer, messages, add_generation_prompt=True, system=system)
    return _encode(tokenizer, [one])[0].ids


def fit(row: Mapping[str, Any], max_length: int, overflow: Overflow) -> tuple[dict[str, Any] | None, str]:
    """Make an encoded chat fit `max_length` tokens.

    A cut falls into the last answer that begins before the limit, or right behind it where it ends before: a row never
    ends in a question. A cut answer has no end token, since it does not end there.

    Returns:
        the row, or None where it is left out; and "whole", "truncated" or "dropped".

    Raises:
        SetupError: the chat is too long, and `overflow` is "refuse".
    """
    length = len(row["input_ids"])
    if length <= max_length:
        return dict(row), "whole"
    if overflow == "refuse":
        raise SetupError(
            f"it has {length} tokens, over max_length={max_length}. Raise max_length, or set overflow to 'drop' or "
            "'cut'."
        )
    within = [(first, end) for first, end in row["answers"] if first < max_length]
    if overflow == "drop" or not within:
        return None, "dropped"
    end = min(within[-1][1], max_length)
    return {**row, "input_ids": row["input_ids"][:end], "labels": row["labels"][:end], "answers": within}, "truncated"


# --- the template -----------------------------------------------------------------------------------------------------


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

    The spans come from a second rendering with a sentinel in place of each content, never from searching for the
    content, which may occur in the template's own words.

    Raises:
        SetupError: no template, or one that leaves out, repeats or rewrites a message or leaves a turn without an end.
    """
    if not tokenizer.chat_template:
        raise SetupError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template. Use an instruct model, or set "
            "tokenizer.chat_template."
        )
    merged = messages[0]["role"] == "system" and system == "merge" and not _takes_system(tokenizer)
    if merged:
        first = {**messages[1], "content": messages[0]["content"] + "\n\n" + messages[1]["content"]}
        messages = [first, *messages[2:]]
    text = _apply(tokenizer, messages, add_generation_prompt)
    roles = tuple(message["role"] for message in messages)
    order, pieces = _frame(tokenizer, tokenizer.chat_template, roles, add_generation_prompt)
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
            raise SetupError(f"The chat template of {tokenizer.name_or_path} rewrites a message: {content!r:.60}")
    return Rendered(text, spans, [messages[number]["role"] for number in order], merged)


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
        _frame(tokenizer, tokenizer.chat_template, ROLES, False)
    except SetupError:
        return False
    return True


# --- ids and labels ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoded:
    ids: list[int]
    offsets: list[tuple[int, int]]
    replaced: int = 0


def _encode(tokenizer: Any, rendered: Sequence[Rendered]) -> list[Encoded]:
    """Encode rendered chats; control strings inside the contents are encoded as text."""
    control = tokens.control_ids(tokenizer)
    found = []
    for one, encoded in zip(rendered, tokens.encode_rendered(tokenizer, [r.text for r in rendered]), strict=True):
        ids, offsets = encoded.ids, encoded.encoding.offsets
        within = any(_inside(one.spans, offsets[index]) for index, token in enumerate(ids) if token in control)
        found.append(_pieces(tokenizer, one) if within else Encoded(ids, offsets))
    return found


def _inside(spans: list[tuple[int, int]], offset: tuple[int, int]) -> bool:
    """Whether a token touches a content."""
    index = bisect_right(spans, offset[0], key=lambda span: span[1])
    return index < len(spans) and spans[index][0] < offset[1]


def _pieces(tokenizer: Any, one: Rendered) -> Encoded:
    """Cut the text at the template's own control tokens, as the tokenizer does, and encode the rest as text."""
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    position = replaced = 0
    pattern = tokens.control_pattern(tokenizer)
    outside = [match for match in pattern.finditer(one.text) if not _inside(one.spans, match.span())]
    for start, end, token in [(m.start(), m.end(), m.group()) for m in outside] + [(len(one.text),) * 2 + ("",)]:
        if start > position:
            piece = tokens.encode_piece(tokenizer, one.text[position:start], first=position == 0)
            ids += piece[0]
            offsets += [(a + position, b + position) for a, b in piece[1]]
            replaced += piece[2]
        if token:
            ids.append(tokenizer.convert_tokens_to_ids(token))
            offsets.append((start, end))
        position = end
    return Encoded(ids, offsets, replaced)


def _answers(tokenizer: Any, one: Rendered, encoded: Encoded) -> list[tuple[int, int]]:
    """Token indices (first, end) of each assistant turn, its end token included."""
    control, offsets = tokens.control_ids(tokenizer), encoded.offsets
    answers = []
    for number, ((start, stop), role) in enumerate(zip(one.spans, one.roles, strict=True)):
        if role != "assistant":
            continue
        # What comes before the next content is the template's; its first control token ends the turn, and learning to
        # stop is part of the answer.
        following = one.spans[number + 1][0] if number + 1 < len(one.spans) else len(one.text)
        first = bisect_right(offsets, start, key=lambda offset: offset[1])
        while first < len(offsets) and offsets[first][0] == offsets[first][1]:
            first += 1
        end = bisect_left(offsets, stop, lo=first, key=lambda offset: offset[0])
        while end < len(offsets) and offsets[end][1] <= following and encoded.ids[end] not in control:
            end += 1
        if end == len(offsets) or offsets[end][1] > following:
            raise SetupError(
                f"The chat template of {tokenizer.name_or_path} puts no control token after the assistant's answer: "
                "the model could not learn to stop. Let tokenizer.chat_template write eos_token there."
            )
        answers.append((first, end + 1))
    return answers
