"""The user's own dialogues -> chats: a JSONL file or a JSON array, gzipped or not, in the formats that people have.

messages       [{"role", "content"}]  OpenAI (platform.openai.com/docs/guides/supervised-fine-tuning), TRL
conversations  [{"from", "value"}]    ShareGPT, as in FastChat (data/dummy_conversation.json) and LLaMA-Factory
instruction    input, output          Stanford Alpaca; with system and history, LLaMA-Factory (data/README.md)
prompt         completion             TRL, of two texts
question       answer                 a plain pair

Each row is told by its fields. What can't be trained on as it stands is an error that names row and field: no part of
a dialogue is guessed or left out. Fields beside the dialogue (a source, a date) are not read.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftlib.chat import check_messages
from ftlib.errors import SetupError
from ftlib.tokens import check_text

Turn = tuple[str, str, str]  # the field that says who speaks, the role, the content
OPENAI, SHAREGPT = ("role", "content"), ("from", "value")
# The field that tells a format -> the keys of each turn in its list, or the fields that may hold its answer.
LISTS = {"messages": OPENAI, "conversations": SHAREGPT, "conversation": SHAREGPT}
PAIRS = dict(instruction=("output", "response"), prompt=("completion", "response"), question=("answer", "response"))
KNOWN = ", ".join([*LISTS, *(f"{name} with {' or '.join(answers)}" for name, answers in PAIRS.items())])
SPEAKERS = {"system": "system", "developer": "system", "user": "user", "human": "user"}
SPEAKERS |= dict.fromkeys("assistant gpt chatgpt bot model bing bard".split(), "assistant")
FOLLOWERS = {"": ("system", "user"), "system": ("user",), "user": ("assistant",), "assistant": ("user",)}
NOTHING: tuple[Any, ...] = (None, "", [], {})
# What the model saw beside the text, and the marks of answers that are not wanted: a chat record can hold neither.
SEEN = "tools functions image images audio audios video videos".split()
RATED = ("kto_tag", "label")


def read_dialogues(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the chat records of a file; of JSONL, one row is held at a time, and the ids that the rows bring.

    `input` (Dolly: `context`) follows the instruction on a new line, as in LLaMA-Factory; text parts are joined by a
    line break, as in vLLM. A row's own id (text or whole number) is kept; a row without is named by its line, in an
    array by its place.

    Yields:
        id ("yours:STEM:ID"), messages (a system message or none, then user and assistant in turns, to an assistant's),
        method "yours", document_id ("" unless the row has one), split ""; and keywords (a list of texts), evidence and
        kind (texts) where the row has them.

    Raises:
        SetupError: the file can't be read or has no rows, or a row can't be trained on whole: tool calls, pictures, an
            answer of weight 0, two turns of one speaker. The message names file, row, field and the way out.
    """
    path, place, numeric, unnamed = Path(path).expanduser(), "", "", ""
    stem, seen = Path(path.name.removesuffix(".gz")).stem, dict[str, str]()
    for place, number, row in _rows(path):
        try:
            record, own = _record(row), row.get("id")
            own = str(own) if type(own) is int else _optional(row, "id")[1]
            if own in seen:
                raise _wrong("id", own, f"another than that of {seen[own]}", "Give each row an id of its own.")
            if own:
                seen[own] = place
                numeric = numeric or (place if own.isdecimal() else "")
            else:
                unnamed = unnamed or place
            if numeric and unnamed:  # they may meet; to say where, the number of every row would have to be kept
                raise SetupError(f"id: a number as id in {numeric}, and none in {unnamed}. Give every row an id.")
        except SetupError as error:
            raise SetupError(f"{path}, {place}, {error}") from error
        yield {"id": f"yours:{stem}:{own or number}", **record}
    if not place:
        raise SetupError(f"{path} holds no dialogue. Write rows with the fields {KNOWN}.")


def _rows(path: Path) -> Iterator[tuple[str, int, Any]]:
    """The rows, each behind its place: "line 3" of JSONL or "row 3" of an array, and the number."""
    blank, array = b"\xef\xbb\xbf \t\r\n", None
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if array is None and (start := line.strip(blank)):
                    array = start.startswith(b"[")
                if array:
                    rows = enumerate(_parsed(path, line + lines.read(), number), 1)
                    yield from ((f"row {place}", place, row) for place, row in rows)
                elif line.strip(blank):
                    yield f"line {number}", number, _parsed(path, line.rstrip(), number)
    except (OSError, EOFError, zlib.error) as error:  # the last two: a gzip file that is damaged
        reason = getattr(error, "strerror", None) or error
        raise SetupError(f"{path} can't be read ({reason}). Give a JSONL file, or a JSON array.") from error


def _parsed(path: Path, data: bytes, number: int) -> Any:
    """The value of the JSON that begins in line `number`."""
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        text, start = error.object, error.start  # without the byte order mark
        number += text.count(b"\n", 0, start)
        reason, way = f"{text[start : start + 1]!r} is not UTF-8", "Save the file as UTF-8."
    except json.JSONDecodeError as error:
        number += error.lineno - 1
        reason = f"not valid JSON ({error.msg}, column {error.colno})"
        way = "Write one JSON object a line, or one JSON array of them."
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        reason, way = f"JSON that can't be read ({error})", "Mend it."
    raise SetupError(f"{path}, line {number}: {reason}. {way}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a field given twice is kept under a name that is refused, where json would keep the last alone."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        found[f"{name} (again)" if name in found else name] = value
    return found


def _record(row: Any) -> dict[str, Any]:
    """The chat record of a row, without its id. Errors begin with the field."""
    if not isinstance(row, dict):
        raise _wrong("the row", row, "a JSON object")
    for name, value in row.items():
        seen, bad = name in SEEN and value not in (*NOTHING, "[]"), name in RATED and value is False
        if seen or bad or name.endswith(" (again)") or (name == "weight" and value not in (None, 1)):
            raise _wrong(name, value, "a row without it", "Take the field out, or the row where its answer needs it.")
    if not (name := _one(row, *LISTS, *PAIRS)):
        found = ", ".join(row)
        raise SetupError(f"no known format: found the fields {found!r:.300}, expected {KNOWN}. Rename the fields.")
    turns = list(_list(row[name], name) if name in LISTS else _pairs(row, name))
    system, prompt = _optional(row, "system", "system_prompt")
    if system:
        turns.insert(0, (system, "system", prompt))
    _check_order(turns)
    messages = [{"role": role, "content": content} for _, role, content in turns]
    try:
        check_messages(messages)
    except SetupError as error:  # which counts the messages, where the row may have fields
        raise SetupError(re.sub(r"^messages, message (\d+)", lambda m: turns[int(m[1])][0], str(error))) from error
    record = {"messages": messages, "method": "yours", "document_id": _optional(row, "document_id")[1], "split": ""}
    record |= {name: text for name in ("evidence", "kind") if (text := _optional(row, name)[1])}
    if (words := row.get("keywords")) in NOTHING:
        return record
    if not isinstance(words, list):
        raise _wrong("keywords", words, "a list of texts")
    return record | {"keywords": [_text(word, f"keywords[{n}]") for n, word in enumerate(words)]}


def _list(messages: Any, name: str) -> Iterator[Turn]:
    """The turns of a list, with the keys of its format or of the other: many sets have role under conversations."""
    if not isinstance(messages, list) or not messages:
        raise _wrong(name, messages, "a list of messages")
    for number, message in enumerate(messages):
        path = f"{name}[{number}]"
        if not isinstance(message, dict):
            raise _wrong(path, message, f"an object with {' and '.join(LISTS[name])}")
        who, said = next((keys for keys in (LISTS[name], OPENAI, SHAREGPT) if message.keys() & {*keys}), LISTS[name])
        _check_alone(message, path, (who, said, "weight"))
        speaker, weight = message.get(who), message.get("weight")
        role = SPEAKERS.get(speaker.lower()) if isinstance(speaker, str) else None
        if role is None:
            raise _wrong(f"{path}.{who}", speaker, f"one of {', '.join(SPEAKERS)}")
        # OpenAI's 0 keeps an answer from being learnt; what is learnt of a question is `loss_on`'s to say.
        if weight not in ((None, 1) if role == "assistant" else (None, 1, 0)):
            raise _wrong(f"{path}.weight", weight, "1 or none", "Take it out to learn the answer, or end before it.")
        yield f"{path}.{who}", role, _content(message.get(said), f"{path}.{said}")


def _content(value: Any, path: str) -> str:
    """A text, or OpenAI's list of text parts."""
    if not isinstance(value, list) or not value:
        return _text(value, path)
    for number, part in enumerate(value):
        if not isinstance(part, dict) or part.get("type") != "text":
            raise _wrong(f"{path}[{number}]", part, 'a {"type": "text", "text": ...}: only text can be trained on')
        _check_alone(part, f"{path}[{number}]", ("type", "text"))
    return "\n".join(_text(part.get("text"), f"{path}[{number}].text") for number, part in enumerate(value))


def _pairs(row: Mapping[str, Any], name: str) -> Iterator[Turn]:
    """The turns of `history`, the question with its input, and the answer."""
    history = row["history"] if _filled(row, "history") else []
    if not isinstance(history, list):
        raise _wrong("history", history, "a list of [question, answer]")
    for number, pair in enumerate(history):
        path = f"history[{number}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise _wrong(path, pair, "a list of a question and its answer")
        yield f"{path}[0]", "user", _text(pair[0], f"{path}[0]")
        yield f"{path}[1]", "assistant", _text(pair[1], f"{path}[1]")
    yield name, "user", "\n".join(filter(None, (_text(row[name], name), _optional(row, "input", "context")[1])))
    answer = _one(row, *PAIRS[name]) or PAIRS[name][0]
    yield answer, "assistant", _text(row.get(answer), answer)


def _filled(row: Mapping[str, Any], *names: str) -> list[str]:
    return [name for name in names if row.get(name) not in NOTHING]


def _one(row: Mapping[str, Any], *names: str) -> str:
    """The one of these fields that is filled; else the first that is there at all; else ""."""
    filled = _filled(row, *names)
    if len(filled) > 1:
        raise _wrong(filled[1], row[filled[1]], f"nothing beside {filled[0]}", "Take one of the two out.")
    return (filled or [name for name in names if name in row] or [""])[0]


def _optional(row: Mapping[str, Any], *names: str) -> tuple[str, str]:
    """The field that is filled, and its text; or "" for both."""
    name = _one(row, *names)
    return (name, _text(row[name], name)) if _filled(row, name) else ("", "")


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _wrong(path, value, "a text that is not empty")
    check_text(value, path)
    return value


def _check_alone(message: Mapping[str, Any], path: str, keys: tuple[str, ...]) -> None:
    """Tool calls, a name, reasoning: some templates write them, some don't, and no one would see that they are lost."""
    for name in _filled(message, *(name for name in message if name not in keys)):
        raise _wrong(f"{path}.{name}", message[name], f"{keys[0]} and {keys[1]} alone", f"Take out {name}, or the row.")


def _check_order(turns: list[Turn]) -> None:
    before = ""
    for path, role, _ in turns:
        if role not in FOLLOWERS[before]:
            expected = f"{' or '.join(FOLLOWERS[before])} {f'after {before}' if before else 'first'}"
            raise _wrong(path, role, expected, "Join the turns of one speaker, or take this one out.")
        before = role
    if before != "assistant":
        raise _wrong(path, role, "an assistant's turn last", "There is no answer to learn: take the turn out.")


def _wrong(path: str, found: Any, expected: str, way: str = "Mend it, or take the row out.") -> SetupError:
    return SetupError(f"{path}: found {'nothing' if found is None else f'{found!r:.60}'}, expected {expected}. {way}")
