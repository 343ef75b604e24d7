"""Messages -> input_ids and labels by the model's own chat template.

The ids equal `tokenizer.apply_chat_template(messages)` on every text that holds no control string. Where a message
does hold one (`<|im_end|>` in a pasted source file), it is encoded as text, so that content can't end a turn.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from ftlib import tokens
from ftlib.chunking import IGNORE
from ftlib.errors import SetupError
from ftlib.rendering import ROLES, Messages, Rendered, System, opening, render

Item = TypeVar("Item")
LossOn = Literal["all", "assistant"]
Overflow = Literal["drop", "cut", "refuse"]


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
        tokens.check_text(message["content"], f"{where}, message {number}")
        if more := [name for name in message if name not in ("role", "content") and message[name]]:
            # A template may write them, and no one would see that they are lost.
            raise SetupError(f"{where}, message {number}: only role and content can be trained on; remove {more[0]!r}.")
        turns.append(message["role"])
    dialogue = turns[1:] if turns[0] == "system" else turns
    expected = ["user", "assistant"] * (len(dialogue) // 2 + 1)
    if not dialogue or dialogue != expected[: len(dialogue)]:
        raise SetupError(f"{where}: the roles must be user, assistant, user, ...; found {', '.join(turns)}.")


def question(messages: Messages) -> str:
    """All that the user says in a chat."""
    return "\n".join(message["content"] for message in messages if message["role"] == "user")


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


def unended(row: Mapping[str, Any], eos_token_id: int) -> dict[str, Any]:
    """An encoded chat whose last answer was cut, without the token that ends it and what the template puts behind."""
    ids = row["input_ids"]
    end = next((number for number in reversed(range(len(ids))) if ids[number] == eos_token_id), len(ids))
    return {**row, "input_ids": ids[:end], "labels": row["labels"][:end]}


def fitted_chats(
    tokenizer: Any,
    chats: Iterable[tuple[str, Any, Item]],
    *,
    max_length: int,
    loss_on: LossOn,
    overflow: Overflow,
    system: System,
) -> Iterator[tuple[Item, dict[str, Any], dict[str, Any] | None, str]]:
    """Encode a stream of chats in batches and make each fit.

    Args:
        chats: what an error calls the chat, its messages, and whatever belongs to it.

    Yields:
        what belongs to the chat, the whole row (`encode_chats`), the row that fits or None, and how (`fit`).

    Raises:
        SetupError: of `encode_chats` or `fit`, behind the chat's name.
    """
    for batch in tokens.batches(chats, lambda item: len(str(item[1]))):
        names, messages = [item[0] for item in batch], [item[1] for item in batch]
        encoded = encode_chats(tokenizer, messages, loss_on, system=system, names=names)
        for (name, _, mine), whole in zip(batch, encoded, strict=True):
            try:
                row, how = fit(whole, max_length, overflow)
            except SetupError as error:
                raise SetupError(f"{name}: {error}") from error
            yield mine, whole, row, how


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
        within = any(
            _inside(one.spans, _trimmed(one.text, *offsets[index]))
            for index, token in enumerate(ids)
            if token in control
        )
        found.append(_pieces(tokenizer, one) if within else Encoded(ids, offsets))
    return found


def _inside(spans: list[tuple[int, int]], offset: tuple[int, int]) -> bool:
    """Whether a token touches a content."""
    index = bisect_right(spans, offset[0], key=lambda span: span[1])
    return index < len(spans) and spans[index][0] < offset[1]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A token's characters without the white space that some control tokens take in (rstrip, lstrip)."""
    word = text[start:end]
    return end - len(word.lstrip()), start + len(word.rstrip())


def _pieces(tokenizer: Any, one: Rendered) -> Encoded:
    """Cut the text at the template's own control tokens, as the tokenizer does, and encode the rest as text."""
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    position = replaced = 0
    pattern = tokens.control_pattern(tokenizer)
    outside = [match for match in pattern.finditer(one.text) if not _inside(one.spans, match.span(1))]
    for start, end, token in [(m.start(), m.end(), m.group(1)) for m in outside] + [(len(one.text),) * 2 + ("",)]:
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
    """Token indices (first, end) of each assistant turn: all that the model must write after the generation prompt."""
    control, offsets = tokens.control_ids(tokenizer), encoded.offsets
    answers = []
    for number, ((_, stop), role) in enumerate(zip(one.spans, one.roles, strict=True)):
        if role != "assistant":
            continue
        # What comes before the next content is the template's; its first control token ends the turn, and learning to
        # stop is part of the answer.
        following = one.spans[number + 1][0] if number + 1 < len(one.spans) else len(one.text)
        first = bisect_right(offsets, opening(tokenizer, one, number), key=lambda offset: offset[1])
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
        # Some end in several (Cohere 2): then the one that ends a generation is the last.
        last = end
        while last < len(offsets) and offsets[last][1] <= following and encoded.ids[last] in control:
            if encoded.ids[last] == tokenizer.eos_token_id:
                end = last
            last += 1
        answers.append((first, end + 1))
    return answers
