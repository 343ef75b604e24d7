"""ftlib.dialogues: the formats that people have, and an error by row and field for what can't be trained on."""

import codecs
import gzip
import json
import sys
import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftlib import dialogues
from ftlib.dialogues import read_dialogues
from ftlib.errors import SetupError

Q, A = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ada."}
H, G = {"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ada."}
GOOD: dict[str, Any] = {"messages": [Q, A]}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def chat(*contents: str, system: str = "") -> list[dict[str, str]]:
    roles = ("user", "assistant") * len(contents)
    turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return [{"role": "system", "content": system}] * bool(system) + turns


def refusal(path: Path) -> str:
    with pytest.raises(SetupError) as caught:
        list(read_dialogues(path))
    return str(caught.value)


# --- formats ----------------------------------------------------------------------------------------------------------

TEXT_PARTS = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two?", "image_url": None}]
FORMATS: dict[str, tuple[dict[str, Any], list[dict[str, str]]]] = {
    "messages": ({"messages": chat("a", "b", "c", "d", system="S")}, chat("a", "b", "c", "d", system="S")),
    "developer": ({"messages": [{"role": "developer", "content": "S"}, Q, A]}, chat("Who?", "Ada.", system="S")),
    "system beside messages": ({"system": "S", "messages": [Q, A]}, chat("Who?", "Ada.", system="S")),
    "parts": ({"messages": [{"role": "user", "content": TEXT_PARTS}, A]}, chat("One.\nTwo?", "Ada.")),
    "empty extras": (
        {"messages": [{**Q, "name": None}, {**A, "tool_calls": [], "refusal": None, "weight": 1}], "tools": "[]"},
        chat("Who?", "Ada."),
    ),
    "weight of a question": ({"messages": [{**Q, "weight": 0}, A]}, chat("Who?", "Ada.")),
    "text as it is": (
        {"messages": chat(" a\r\n", "\tb <|im_end|>\u2028 \n")},
        chat(" a\r\n", "\tb <|im_end|>\u2028 \n"),
    ),
    "sharegpt": ({"conversations": [H, G, H, G]}, chat("Who?", "Ada.", "Who?", "Ada.")),
    "sharegpt, system field": ({"conversations": [H, G], "system": "S"}, chat("Who?", "Ada.", system="S")),
    "sharegpt, system turn": (
        {"conversations": [{"from": "system", "value": "S"}, H, G], "system": ""},
        chat("Who?", "Ada.", system="S"),
    ),
    "sharegpt, other speakers": (
        {"conversation": [{"from": "User", "value": "a"}, {"from": "chatgpt", "value": "b"}]},
        chat("a", "b"),
    ),
    "role under conversations": ({"conversations": [Q, A]}, chat("Who?", "Ada.")),
    "from under messages": ({"messages": [H, G]}, chat("Who?", "Ada.")),
    "alpaca": ({"instruction": "Add.", "input": "1 2", "output": "3"}, chat("Add.\n1 2", "3")),
    "alpaca, brackets as texts": ({"instruction": "Sort.", "input": "[]", "output": "[]"}, chat("Sort.\n[]", "[]")),
    "alpaca, no input": (
        {"instruction": "Hi", "input": "", "output": "Hello", "text": "Below"},
        chat("Hi", "Hello"),
    ),
    "alpaca, nulls": (
        {"instruction": "Hi", "input": None, "output": "Hello", "response": None, "history": None, "messages": None},
        chat("Hi", "Hello"),
    ),
    "alpaca, history": (
        {"instruction": "e", "output": "f", "history": [["a", "b"], ["c", "d"]], "system": "S"},
        chat("a", "b", "c", "d", "e", "f", system="S"),
    ),
    "dolly": ({"instruction": "Who?", "context": "Ada did.", "response": "Ada."}, chat("Who?\nAda did.", "Ada.")),
    "prompt": ({"prompt": "a", "completion": "b"}, chat("a", "b")),
    "prompt, response": ({"prompt": "a", "response": "b"}, chat("a", "b")),
    "question": ({"question": "a", "answer": "b"}, chat("a", "b")),
    "orca": ({"system_prompt": "S", "question": "a", "response": "b"}, chat("a", "b", system="S")),
    "wanted answer": ({"prompt": "a", "completion": "b", "label": True}, chat("a", "b")),
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_read(tmp_path, name):
    row, messages = FORMATS[name]
    record = {"id": "yours:talks:1", "messages": messages, "method": "yours", "document_id": "", "split": ""}
    assert list(read_dialogues(write(tmp_path / "talks.jsonl", row))) == [record]


def test_formats_mix_in_one_file_of_any_kind(tmp_path):
    rows = [row for row, _ in FORMATS.values()]
    wanted = [messages for _, messages in FORMATS.values()]
    lines = "\n\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()  # a blank line between two
    array = json.dumps(rows, indent=2).encode()
    files = {
        "a.jsonl": lines,
        "b.jsonl": codecs.BOM_UTF8 + lines + b"\n",
        "c.json": array,
        "d.json": codecs.BOM_UTF8 + b"\n \n" + array,
        "e.jsonl.gz": gzip.compress(lines),
        "f.json.gz": gzip.compress(array),
        "g.txt": array,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        records = list(read_dialogues(str(tmp_path / name)))
        assert [record["messages"] for record in records] == wanted, name
        step = 2 if name in ("a.jsonl", "b.jsonl", "e.jsonl.gz") else 1  # lines as an editor counts them
        assert [record["id"] for record in records] == [f"yours:{name[0]}:{1 + step * n}" for n in range(len(rows))]


def test_what_a_row_brings_is_kept(tmp_path):
    more = {"keywords": ["Ada", "Byron|King"], "evidence": "It was Ada.", "kind": "who", "document_id": "docs:a"}
    rows = [
        {**GOOD, **more, "id": "a b", "source": 7},
        {**GOOD, **dict.fromkeys(more), "id": 0},
        {**GOOD, "keywords": [], "evidence": "", "kind": "", "document_id": "", "id": "1.5"},
    ]
    found = list(read_dialogues(write(tmp_path / "x.y.jsonl", *rows)))
    assert [record.pop("id") for record in found] == ["yours:x.y:a b", "yours:x.y:0", "yours:x.y:1.5"]
    plain = {"messages": [Q, A], "method": "yours", "document_id": "", "split": ""}
    assert found == [{**plain, **more}, plain, plain]


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "talks.jsonl", GOOD)
    assert len(list(read_dialogues("~/talks.jsonl"))) == 1


# --- wrong rows -------------------------------------------------------------------------------------------------------

IMAGE = {"type": "image_url", "image_url": {"url": "x"}}
CALL = [{"id": "1", "function": {"name": "f"}}]
ALPACA = {"instruction": "a", "output": "b"}
# A wrong row, and how the message goes on behind file and row.
WRONG: list[tuple[Any, str]] = [
    ([Q, A], "the row: found [{'role': 'user'"),
    ("Who?", "the row: found 'Who?', expected a JSON object"),
    (None, "the row: found nothing"),
    ({}, "no known format: found the fields ''"),
    ({"text": "Who?", "title": 1}, "no known format: found the fields 'text, title', expected messages, conversations"),
    ({"output": "b", "input": "a"}, "no known format: found the fields 'output, input'"),
    ({**GOOD, **ALPACA}, "instruction: found 'a', expected nothing beside messages"),
    ({**GOOD, "conversations": [H, G]}, "conversations: found [{'from'"),
    ({"instruction": "Be short.", "question": "a", "answer": "b"}, "question: found 'a'"),
    ({"instruction": "a", "output": "b", "response": "c"}, "response: found 'c', expected nothing beside output"),
    ({**ALPACA, "input": "c", "context": "d"}, "context: found 'd', expected nothing beside input"),
    ({**GOOD, "system": "S", "system_prompt": "T"}, "system_prompt: found 'T'"),
    # lists of turns
    ({"messages": None}, "messages: found nothing, expected a list"),
    ({"messages": []}, "messages: found []"),
    ({"messages": "Who?"}, "messages: found 'Who?'"),
    ({"messages": {"role": "user"}}, "messages: found {'role'"),
    ({"messages": ["Who?", "Ada."]}, "messages[0]: found 'Who?', expected an object with role and content"),
    ({"conversations": [H, ["gpt", "b"]]}, "conversations[1]: found ['gpt', 'b'], expected an object with from"),
    ({"messages": [Q, {}]}, "messages[1].role: found nothing"),
    ({"conversations": [H, {}]}, "conversations[1].from: found nothing"),
    ({"messages": [{"content": "a"}, A]}, "messages[0].role: found nothing, expected one of system, developer, user"),
    ({"messages": [{"role": "wizard", "content": "a"}, A]}, "messages[0].role: found 'wizard'"),
    ({"messages": [{"role": 1, "content": "a"}, A]}, "messages[0].role: found 1"),
    ({"messages": [{"role": ["user"], "content": "a"}, A]}, "messages[0].role: found ['user']"),
    ({"messages": [Q, A, {"role": "tool", "content": "4"}, A]}, "messages[2].role: found 'tool'"),
    ({"conversations": [H, {"from": "function_call", "value": "{}"}]}, "conversations[1].from: found 'function_call'"),
    ({"messages": [Q, {"role": "assistant"}]}, "messages[1].content: found nothing"),
    ({"messages": [Q, {"role": "assistant", "content": None}]}, "messages[1].content: found nothing"),
    ({"messages": [Q, {"role": "assistant", "content": ""}]}, "messages[1].content: found ''"),
    ({"messages": [Q, {"role": "assistant", "content": " \n"}]}, "messages[1].content: found ' \\n'"),
    ({"messages": [Q, {"role": "assistant", "content": 42}]}, "messages[1].content: found 42"),
    ({"messages": [Q, {"role": "assistant", "content": {"text": "b"}}]}, "messages[1].content: found {'text'"),
    ({"conversations": [H, {"from": "gpt", "value": False}]}, "conversations[1].value: found False"),
    ({"conversations": [H, {"role": "assistant", "content": ""}]}, "conversations[1].content: found ''"),
    ({"messages": [{**Q, "value": "a"}, A]}, "messages[0].value: found 'a', expected role and content alone"),
    ({"conversations": [{**H, "role": "user"}, G]}, "conversations[0].role: found 'user', expected from and value alo"),
    ({"messages": [Q, {"role": "assistant", "content": None, "tool_calls": CALL}]}, "messages[1].tool_calls: found [{"),
    ({"messages": [Q, {**A, "function_call": {"name": "f"}}]}, "messages[1].function_call: found {'name'"),
    ({"messages": [Q, {**A, "reasoning_content": "hm"}]}, "messages[1].reasoning_content: found 'hm'"),
    ({"messages": [{**Q, "name": "Eve"}, A]}, "messages[0].name: found 'Eve'"),
    ({"messages": [Q, {**A, "train": False}]}, "messages[1].train: found False"),
    ({"messages": [Q, {**A, "weight": 0}, Q, A]}, "messages[1].weight: found 0, expected 1 or none"),
    ({"messages": [{**Q, "weight": 0.5}, A]}, "messages[0].weight: found 0.5"),
    # parts
    ({"messages": [{"role": "user", "content": []}, A]}, "messages[0].content: found []"),
    (
        {"messages": [{"role": "user", "content": [*TEXT_PARTS, IMAGE]}, A]},
        "messages[0].content[2]: found {'type'",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}, A]},
        "messages[0].content[0]: found {'type'",
    ),
    ({"messages": [{"role": "user", "content": ["a"]}, A]}, "messages[0].content[0]: found 'a'"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}, A]}, "messages[0].content[0].text: found nothing"),
    (
        {"messages": [Q, {"role": "assistant", "content": [{"type": "text", "text": "b", "annotations": [1]}]}]},
        "messages[1].content[0].annotations: found [1], expected type and text alone",
    ),
    # order
    ({"messages": [Q]}, "messages[0].role: found 'user', expected an assistant's turn last"),
    ({"conversations": [H, G, H]}, "conversations[2].from: found 'user', expected an assistant's turn last"),
    ({"conversations": [G, H, G]}, "conversations[0].from: found 'assistant', expected system or user first"),
    ({"conversations": [H, H, G]}, "conversations[1].from: found 'user', expected assistant after user"),
    ({"conversations": [H, G, G]}, "conversations[2].from: found 'assistant', expected user after assistant"),
    ({"messages": [Q, {"role": "system", "content": "S"}, A]}, "messages[1].role: found 'system'"),
    ({"messages": [{"role": "system", "content": "S"}]}, "messages[0].role: found 'system', expected an assistant's"),
    (
        {"messages": [{"role": "developer", "content": "S"}, A]},
        "messages[1].role: found 'assistant', expected user",
    ),
    ({"system": "S", "messages": [{"role": "system", "content": "T"}, Q, A]}, "messages[0].role: found 'system'"),
    ({"system": "S", "conversations": [G]}, "conversations[0].from: found 'assistant', expected user after system"),
    # pairs
    ({"instruction": "a"}, "output: found nothing"),
    ({"instruction": "a", "response": None}, "response: found nothing"),
    ({"instruction": "a", "output": ""}, "output: found ''"),
    ({"instruction": "a", "output": []}, "output: found []"),
    ({"instruction": "", "output": "b"}, "instruction: found ''"),
    ({"instruction": None, "output": "b"}, "instruction: found nothing"),
    ({"instruction": 1, "output": "b"}, "instruction: found 1"),
    ({**ALPACA, "input": 7}, "input: found 7"),
    ({**ALPACA, "input": " "}, "input: found ' '"),
    ({**ALPACA, "system": ["S"]}, "system: found ['S']"),
    ({**ALPACA, "history": "a"}, "history: found 'a'"),
    ({**ALPACA, "history": [["a", "b"], ["c"]]}, "history[1]: found ['c']"),
    ({**ALPACA, "history": ["ab"]}, "history[0]: found 'ab'"),
    ({**ALPACA, "history": [["a", "b"], ["c", None]]}, "history[1][1]: found nothing"),
    ({**ALPACA, "history": [["", "b"]]}, "history[0][0]: found ''"),
    ({"prompt": [Q], "completion": [A]}, "prompt: found [{'role'"),
    ({"prompt": "a", "answer": "b"}, "completion: found nothing"),
    ({"question": "a", "answer": 4}, "answer: found 4"),
    # beside the dialogue
    ({**GOOD, "tools": CALL}, "tools: found [{'id'"),
    ({**GOOD, "images": ["a.png"]}, "images: found ['a.png']"),
    ({**GOOD, "weight": 0}, "weight: found 0"),
    ({"prompt": "a", "completion": "b", "label": False}, "label: found False"),
    ({**ALPACA, "kto_tag": False}, "kto_tag: found False"),
    ({**GOOD, "keywords": "Ada"}, "keywords: found 'Ada', expected a list of texts"),
    ({**GOOD, "keywords": ["Ada", ""]}, "keywords[1]: found ''"),
    ({**GOOD, "keywords": ["Ada", 1815]}, "keywords[1]: found 1815"),
    ({**GOOD, "evidence": ["It was Ada."]}, "evidence: found ['It was Ada.']"),
    ({**GOOD, "kind": 3}, "kind: found 3"),
    ({**GOOD, "document_id": 3}, "document_id: found 3"),
    ({**GOOD, "id": 1.5}, "id: found 1.5"),
    ({**GOOD, "id": True}, "id: found True"),
    ({**GOOD, "id": " "}, "id: found ' '"),
    # half a surrogate pair, which no tokenizer can encode and no file can hold
    ({"messages": [Q, {"role": "assistant", "content": "ab\ud83d"}]}, "messages[1].content: character 2 is half"),
    ({**ALPACA, "input": "\ude00"}, "input: character 0 is half"),
    ({**GOOD, "id": "\ude00"}, "id: character 0 is half"),
    ({**GOOD, "keywords": ["\ude00"]}, "keywords[0]: character 0 is half"),
]


@pytest.mark.parametrize(("row", "said"), WRONG, ids=[f"{n}-{said[:30]}" for n, (_, said) in enumerate(WRONG)])
def test_a_wrong_row_is_named_with_its_field(tmp_path, row, said):
    path = tmp_path / "talks.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{json.dumps(row)}\n{json.dumps(GOOD)}\n")
    message = refusal(path)
    assert message.startswith(f"{path}, line 3, " + said)
    assert message.count(". ") >= 1 and message.endswith(".") and len(message) < 800  # and the way out, in short
    path.write_text(json.dumps([GOOD, row, GOOD], indent=1))
    assert refusal(path).startswith(f"{path}, row 2, " + said)


def test_the_rows_before_a_wrong_one_come_first(tmp_path):
    rows = read_dialogues(write(tmp_path / "talks.jsonl", GOOD, {}, GOOD))
    assert next(rows)["id"] == "yours:talks:1"
    with pytest.raises(SetupError, match="line 2, no known format"):
        next(rows)


def test_what_was_found_is_cut_short(tmp_path):
    message = refusal(write(tmp_path / "talks.jsonl", {"messages": [Q, {**A, "role": "x" * 10_000}]}))
    assert "messages[1].role: found 'xxx" in message and len(message) < 500


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"messages": [], "messages": []}', "messages (again): found []"),
        ('{"messages": [{"role": "user", "content": "a", "content": "b"}]}', "messages[0].content (again): found 'b'"),
    ],
)
def test_a_field_given_twice_is_not_lost(tmp_path, line, said):
    path = tmp_path / "talks.jsonl"
    path.write_text(line)
    assert refusal(path).startswith(f"{path}, line 1, {said}")


def test_the_last_word_is_said_of_the_rows_own_field(tmp_path, monkeypatch):
    """check_messages may come to refuse more than it does; it counts messages, where this row has fields."""

    def stricter(messages):
        for number, message in enumerate(messages):
            if "forbidden" in message["content"]:
                raise SetupError(f"messages, message {number}: it is forbidden. Leave it.")

    monkeypatch.setattr(dialogues, "check_messages", stricter)
    path = write(tmp_path / "a.jsonl", GOOD, {**ALPACA, "system": "S", "output": "forbidden"})
    assert refusal(path) == f"{path}, line 2, output: it is forbidden. Leave it."
    path = write(tmp_path / "b.jsonl", {"conversations": [H, {**G, "value": "forbidden"}], "system": "S"})
    assert refusal(path) == f"{path}, line 1, conversations[1].from: it is forbidden. Leave it."


def test_check_messages_is_asked(tmp_path, monkeypatch):
    seen: list[Any] = []
    monkeypatch.setattr(dialogues, "check_messages", seen.append)
    list(read_dialogues(write(tmp_path / "a.jsonl", ALPACA)))
    assert seen == [chat("a", "b")]


# --- wrong files ------------------------------------------------------------------------------------------------------

LINE = json.dumps(GOOD).encode()
FILES = {
    "empty": (b"", "{} holds no dialogue"),
    "blank lines": (codecs.BOM_UTF8 + b"\n \r\n", "{} holds no dialogue"),
    "empty array": (b" []\n", "{} holds no dialogue"),
    "Latin-1": (
        LINE + '\n{"question": "é", "answer": "b"}'.encode("latin-1"),
        "{}, line 2: b'\\xe9' is not UTF-8.",
    ),
    "Latin-1 array": ('[\n\n"é"]'.encode("latin-1"), "{}, line 3: b'\\xe9' is not UTF-8"),
    "half UTF-8": (codecs.BOM_UTF8 + b'["a",\n"\xe9"]', "{}, line 2: b'\\xe9' is not UTF-8"),
    "UTF-16": (LINE.decode().encode("utf-16"), "{}, line 1: b'\\xff' is not UTF-8"),
    "half a line": (LINE + b"\n" + LINE[:-5], "{}, line 2: not valid JSON (Unterminated string"),
    "half an array": (b"\n[" + LINE + b",\n", "{}, line 3: not valid JSON (Expecting value, column 1)"),
    "an object over lines": (b'{\n"question": "a"}', "{}, line 1: not valid JSON (Expecting property"),
    "two arrays": (b"[" + LINE + b"]\n[" + LINE + b"]", "{}, line 2: not valid JSON (Extra data, column 1)"),
    "a table": (
        b"question,answer\na,b\n",
        "{}, line 1: not valid JSON (Expecting value, column 1). Write one",
    ),
    "deep": (LINE + b"\n" + b'{"a":' * 100_000, "{}, line 2: JSON that can't be read (maximum recursion"),
    "long number": (b'{"id": ' + b"9" * 5000 + b"}", "{}, line 1: JSON that can't be read (Exceeds"),
    "half a gzip file": (gzip.compress(LINE * 99)[:-20], "{} can't be read (Compressed file ended"),
    "damaged gzip file": (gzip.compress(LINE)[:10] + b"\xff" * 50, "{} can't be read (Error"),
    "no gzip file": (b"\x1f\x8b" + b"\xff" * 50, "{} can't be read (Unknown"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_file_is_named(tmp_path, name):
    data, said = FILES[name]
    (tmp_path / "talks.jsonl").write_bytes(data)
    assert refusal(tmp_path / "talks.jsonl").startswith(said.format(tmp_path / "talks.jsonl"))


def test_a_folder_or_no_file_at_all(tmp_path):
    assert refusal(tmp_path).startswith(f"{tmp_path} can't be read (Is a directory). Give")
    assert refusal(tmp_path / "no").startswith(f"{tmp_path / 'no'} can't be read (No such file or directory). Give")


# --- ids --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["a", "b", "c", "b"], "line 4, id: found 'b', expected another than that of line 2."),
        (["1", "x", 1], "line 3, id: found '1', expected another than that of line 1."),
        (["3", "x", None], "line 3, id: a number as id in line 1, and none in line 3."),
        ([None, None, "1"], "line 3, id: a number as id in line 3, and none in line 1."),
    ],
)
def test_ids_that_meet_are_an_error_of_both_rows(tmp_path, ids, said):
    assert f", {said}" in refusal(write(tmp_path / "talks.jsonl", *({**GOOD, "id": own} for own in ids)))


def test_rows_with_and_without_ids(tmp_path):
    rows = [{**GOOD, "id": own} for own in ("a", None, "", "4b")] + [GOOD]
    found = [record["id"] for record in read_dialogues(write(tmp_path / "t.jsonl", *rows))]
    assert found == [f"yours:t:{own}" for own in ("a", 2, 3, "4b", 5)]


# --- of any dialogue --------------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.one_of(st.just(""), texts), pairs), min_size=1, max_size=3), st.booleans())
def test_a_dialogue_is_the_same_from_each_format(tmp_path_factory, talks, array):
    wanted = [chat(*sum(turns, ()), system=system) for system, turns in talks]
    speakers = {"system": "system", "user": "human", "assistant": "gpt"}
    files = {
        "messages": [{"messages": messages} for messages in wanted],
        "conversations": [
            {"conversations": [{"from": speakers[m["role"]], "value": m["content"]} for m in messages]}
            for messages in wanted
        ],
        "instruction": [
            {"instruction": turns[-1][0], "output": turns[-1][1], "history": turns[:-1], "system": system}
            for system, turns in talks
        ],
    }
    folder = tmp_path_factory.mktemp("talks")
    for name, rows in files.items():
        path = write(folder / name, *([rows] if array else rows))
        assert [record["messages"] for record in read_dialogues(path)] == wanted, name


@pytest.mark.parametrize(("own", "limit"), [("", 500_000), ("id", 2_000_000)])
def test_a_large_file_is_never_held(tmp_path, own, limit):
    """200,000 rows, 60 MB: neither read ahead nor kept; of rows with ids of their own, their ids are."""
    path, count, traced = tmp_path / "large.jsonl", 200_000, 10_000
    with path.open("w") as out:
        for number in range(count):
            given = f', "id": "{number:x}x"' if own else ""
            out.write(f'{{"question": "a", "answer": "{"b" * 250}"{given}}}\n')
    assert path.stat().st_size > 55_000_000
    rows = read_dialogues(path)
    tracemalloc.start()
    try:
        assert sum(1 for _ in islice(rows, traced)) == traced
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()
    if own:
        return
    # Tracing takes six times as long as reading: the other rows are followed by what is still allocated.
    before = sys.getallocatedblocks()
    assert sum(1 for _ in islice(rows, count - traced - 1)) == count - traced - 1
    assert sys.getallocatedblocks() - before < 1000
    assert next(rows)["id"] == f"yours:large:{count}"
    assert next(rows, None) is None
