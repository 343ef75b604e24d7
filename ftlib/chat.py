"""Messages -> input_ids and labels by the model's own chat template.

The ids equal `tokenizer.apply_chat_template(messages)` on every text that holds no control string. Where a message
does hold one (`<|im_end|>` in a pasted source file), it is encoded as text, so that content can't end a turn.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from ftlib.errors import SetupError

IGNORE = -100  # the label that torch's cross entropy skips
LossOn = Literal["all", "assistant"]
ROLES = ("system", "user", "assistant")


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


def encode_chat(tokenizer: Any, messages: Sequence[Mapping[str, str]], loss_on: LossOn = "all") -> dict[str, list[int]]:
    """Encode a whole chat for training.

    Args:
        messages: role and content, the last from the assistant.
        loss_on: "all" tokens (the article's), or the "assistant" turns with the token that ends each.

    Returns:
        input_ids and labels, equally long; labels are -100 where no loss falls.

    Raises:
        SetupError: roles out of order, or a template that can't be followed.
    """
    check_messages(messages)
    if messages[-1]["role"] != "assistant":
        raise SetupError("The last message of a training chat must be the assistant's.")
    text, spans = render(tokenizer, messages)
    ids, offsets = _encode(tokenizer, text, spans)
    if loss_on == "all":
        return {"input_ids": ids, "labels": list(ids)}
    turns = [span for span, message in zip(spans, messages, strict=True) if message["role"] == "assistant"]
    labels = [IGNORE] * len(ids)
    control = control_ids(tokenizer)
    for start, end in turns:
        for index, (low, high) in enumerate(offsets):
            if high > start and low < end and high > low:
                labels[index] = ids[index]
            elif low >= end and ids[index] in control:
                # The first control token after the answer ends the turn, and learning to stop is part of the answer.
                labels[index] = ids[index]
                break
    return {"input_ids": ids, "labels": labels}


def encode_prompt(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Token ids of a chat up to where the assistant's answer begins.

    Raises:
        SetupError: roles out of order, or the last message is not the user's.
    """
    check_messages(messages)
    if messages[-1]["role"] != "user":
        raise SetupError("A prompt must end with the user's message.")
    text, spans = render(tokenizer, messages, add_generation_prompt=True)
    return _encode(tokenizer, text, spans)[0]


def render(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = False
) -> tuple[str, list[tuple[int, int]]]:
    """The chat template's text, and the character span that each message's content takes in it.

    The spans come from a second rendering with a sentinel in place of each content, never from searching for the
    content, which may occur in the template's own words.
    """
    if not tokenizer.chat_template:
        raise SetupError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template. Use an instruct model, or set "
            "tokenizer.chat_template."
        )
    sentinels = [f"\ue000{number}\ue001" for number in range(len(messages))]
    marked = [{**message, "content": mark} for message, mark in zip(messages, sentinels, strict=True)]
    try:
        text = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=add_generation_prompt
        )
        frame = tokenizer.apply_chat_template(marked, tokenize=False, add_generation_prompt=add_generation_prompt)
    except Exception as error:  # jinja's own classes, and what a template raises
        raise SetupError(f"The chat template of {tokenizer.name_or_path} refused the messages: {error}") from error
    pieces = re.split("|".join(map(re.escape, sentinels)), frame)
    if len(pieces) != len(messages) + 1 or not text.startswith(pieces[0]):
        raise SetupError(
            f"The chat template of {tokenizer.name_or_path} leaves out or repeats a message "
            f"({', '.join(m['role'] for m in messages)}); for a model without system prompts put it into the user's."
        )
    spans, position = [], len(pieces[0])
    for message, after in zip(messages, pieces[1:], strict=True):
        content = message["content"]
        for form in (content, content.strip(), content.lstrip(), content.rstrip()):
            if text.startswith(form + after, position):
                spans.append((position, position + len(form)))
                position += len(form) + len(after)
                break
        else:
            raise SetupError(f"The chat template of {tokenizer.name_or_path} rewrites a message: {content!r:.60}")
    return text, spans


def control_ids(tokenizer: Any) -> set[int]:
    """Ids of the tokens that only a template may produce."""
    return {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}


def _control_pattern(tokenizer: Any) -> re.Pattern[str] | None:
    words = sorted((str(t) for t in tokenizer.added_tokens_decoder.values() if t.special), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, words))) if words else None


def _encode(tokenizer: Any, text: str, spans: list[tuple[int, int]]) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and character offsets of a rendered chat; control strings inside `spans` are encoded as text."""
    pattern = _control_pattern(tokenizer)
    inside = [text[a:b] for a, b in spans]
    if pattern is None or not any(pattern.search(content) for content in inside):
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return encoded["input_ids"], encoded["offset_mapping"]
    # Cut the text at the template's own control tokens, as the tokenizer does, and encode the pieces between as text.
    encoder = _text_encoder(tokenizer)
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    position = 0
    outside = [m for m in pattern.finditer(text) if not any(a < m.end() and m.start() < b for a, b in spans)]
    for start, end, token in [(m.start(), m.end(), m.group()) for m in outside] + [(len(text), len(text), "")]:
        if start > position:
            mark = _CUT if position else ""
            piece = encoder.encode(mark + text[position:start], add_special_tokens=False)
            skip, shift = (1, position - len(mark)) if mark else (0, 0)
            ids += piece.ids[skip:]
            offsets += [(a + shift, b + shift) for a, b in piece.offsets[skip:]]
        if token:
            ids.append(tokenizer.convert_tokens_to_ids(token))
            offsets.append((start, end))
        position = end
    return ids, offsets


_CUT = "\ue000ftlib:cut\ue001"


@lru_cache(maxsize=2)
def _text_encoder(tokenizer: Any) -> Any:
    """A copy of the tokenizer to which control strings are text, and `_CUT` a token.

    A SentencePiece tokenizer puts its prefix space before the first piece of a text only; a later piece encoded by
    itself would get one too, and `[INST]` other ids than in a chat without control strings. `_CUT` stands for what
    came before.
    """
    from tokenizers import AddedToken

    encoder = copy.deepcopy(tokenizer.backend_tokenizer)
    encoder.encode_special_tokens = True
    encoder.no_truncation()
    encoder.no_padding()
    encoder.add_tokens([AddedToken(_CUT, normalized=False)])
    return encoder
