"""General items: every check passes its reference and nothing that only looks like an answer; code is run in bounds."""

import ast
import importlib.util
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rapidfuzz import fuzz, utils

from ftlib import sample
from ftlib.errors import SetupError
from ftlib.general_items import KINDS, LEVELS, check, check_all, code, format_checks, general_items, typescript
from ftlib.general_items.code import extract, python_fault, run_python
from ftlib.metrics import has_keywords

ITEMS = general_items()
ADD = "def add(a, b):\n    return a + b\n"
CALLS = ["add(2, 3)", "add(-1, 1)", "add(10, 7)"]
ASSERTS = ["add(2, 3) == 5", "add(-1, 1) == 0", "add(10, 7) == 17"]


def fenced(text, tag="python"):
    return f"```{tag}\n{text}\n```"


def test_there_are_enough_items_of_each_kind_and_level():
    kinds = Counter(item["kind"] for item in ITEMS)
    assert len(ITEMS) >= 180 and set(kinds) == set(KINDS)
    assert kinds["knowledge"] >= 80 and kinds["format"] >= 35 and kinds["python"] >= 35 and kinds["typescript"] >= 30
    levels = Counter(item["level"] for item in ITEMS if item["kind"] == "knowledge")
    assert levels["easy"] >= 40 and levels["medium"] >= 20 and levels["hard"] >= 20
    for item in ITEMS:
        assert set(item) == {"id", "kind", "level", "prompt", "reference", "check"}
        assert item["level"] in LEVELS and re.fullmatch(rf"{item['kind']}-\d{{3}}", item["id"])
    assert len({item["id"] for item in ITEMS}) == len(ITEMS)
    assert all(len(item["check"]["asserts"]) >= 3 for item in ITEMS if item["kind"] == "python")


def test_every_reference_passes_its_check():
    results = check_all(ITEMS, [item["reference"] for item in ITEMS])
    assert [(item["id"], r["why"]) for item, r in zip(ITEMS, results, strict=True) if not r["correct"]] == []


@pytest.mark.parametrize("wrong", ["next", "prompt", "", "I don't know", "I don't know."])
def test_nothing_passes_that_is_no_answer(wrong):
    passed = []
    for kind in KINDS:
        items = [item for item in ITEMS if item["kind"] == kind]
        others = {"next": [item["reference"] for item in items[1:] + items[:1]], "prompt": [i["prompt"] for i in items]}
        results = check_all(items, others.get(wrong, [wrong] * len(items)))
        passed += [item["id"] for item, result in zip(items, results, strict=True) if result["correct"]]
        assert all(result["why"] for result in results if not result["correct"])
    assert passed == []


def test_no_prompt_gives_its_answer_away_or_speaks_of_a_code_base():
    for item in ITEMS:
        # What a style of training would say without being asked must not be in the question.
        told = r"\b(repositor\w+|files?|snapshots?|commits?|pull requests?|code ?base|company|our|wiki|documents?)\b"
        assert not re.search(told, item["prompt"], re.I), item["id"]
        for keyword in item["check"].get("keywords", []):
            assert not any(has_keywords(item["prompt"], [form]) for form in keyword.split("|")), item["id"]


def test_the_sample_asks_and_trains_on_none_of_them():
    asked = [row["question"] for row in sample.questions("general_chats")]
    near = [(item["id"], found) for item in ITEMS if (found := nearest(item["prompt"], asked))[1] >= 80]
    assert near == []
    assert nearest(asked[0].upper(), asked)[1] >= 80  # it would be noticed
    for number, item in enumerate(ITEMS):
        assert nearest(item["prompt"], [other["prompt"] for other in ITEMS[:number]])[1] < 93, item["id"]


def nearest(prompt, others):
    clean = utils.default_process
    scores = [max(f(prompt, o, processor=clean) for f in (fuzz.ratio, fuzz.token_sort_ratio)) for o in others]
    best = max(range(len(others)), key=scores.__getitem__, default=None)
    return ("", 0.0) if best is None else (others[best], scores[best])


def test_kinds_are_chosen_and_unknown_ones_named():
    assert {item["kind"] for item in general_items(["format", "python"])} == {"format", "python"}
    with pytest.raises(SetupError, match="poetry"):
        general_items(["poetry"])
    with pytest.raises(ValueError, match="2 items, but 1 answers"):
        check_all(ITEMS[:2], [""])


def test_without_the_parser_typescript_is_left_out_and_not_wrong(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "tree_sitter" in name else find(name))
    assert {item["kind"] for item in general_items()} == set(KINDS) - {"typescript"}
    assert capsys.readouterr().out == "typescript: left out, pip install 'ftlib[eval]'\n"
    general_items(["python"])
    assert capsys.readouterr().out == ""
    item = next(item for item in ITEMS if item["kind"] == "typescript")
    with pytest.raises(SetupError, match=r"ftlib\[eval\]"):
        check(item, item["reference"])


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("x = 1", "x = 1"),
        ("`x = 1`", "x = 1"),
        ("Sure:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("Sure:\n```py\nx = 1\ny", "x = 1\ny"),  # cut at the limit of tokens
        ("~~~python\nx = '```'\n~~~", "x = '```'\n"),
        ("1. So:\n   ```python\n   if x:\n       y\n   ```", "if x:\n    y\n"),
        ("```bash\npip x\n```\n```python\nx = 1\n```", "x = 1\n"),
        (
            "```python\nimport re\n```\nand\n```python\nx = 1\n```\nUse:\n```python\nprint(x)\n```",
            "import re\n\nx = 1\n",
        ),
        ("```python\ny = 2\n```\n```\nx = 1\n```", "y = 2\n"),
        ("```java\nint x = 1;\n```", "int x = 1;\n"),
    ],
)
def test_code_is_found_in_an_answer(answer, found):
    assert extract(answer, "python", "x") == found


def test_python_is_right_by_its_values():
    assert python_fault(fenced(ADD), "add", ASSERTS) == ""
    assert python_fault(fenced("add = lambda a, b: a - b"), "add", ASSERTS).startswith("add(2, 3) is not 5, but -1")
    assert python_fault("I would add the numbers.", "add", ASSERTS).startswith("error: SyntaxError")
    typed = "def add(a: int): return a"  # ftlib's own future imports are not the answer's
    assert python_fault(typed, "add", ["str(add.__annotations__['a']) == \"<class 'int'>\""]) == ""
    assert "NameError" in python_fault(fenced("def plus(a, b):\n    return a + b"), "add", ASSERTS)
    assert "add(0) did not raise ValueError" in python_fault(
        "def add(x): return x", "add", ["add(0) raises ValueError"]
    )
    assert "did not raise" in python_fault("def add(x): raise TypeError", "add", ["add(0) raises ValueError"])
    raising = "def add(x):\n    raise UnicodeError"
    assert python_fault(raising, "add", ["add(0) raises ValueError"]) == ""  # a subclass, as `except` takes it
    assert python_fault(raising, "add", ["add(0) == 0"]) == "add(0) is not 0, but raises UnicodeError"
    assert python_fault(ADD + "raise SystemExit(0)", "add", ASSERTS) == "error: SystemExit: 0"


def test_values_that_python_holds_for_equal_are_equal():
    answer = (
        "from collections import *\nimport enum\nKind = enum.IntEnum('Kind', 'A')\nPoint = namedtuple('Point', 'x y')\n"
        "found = [Counter('aa'), OrderedDict(a=2), Point(1, 2), frozenset({1}), {(1, 2): [None]}, deque([1]), Kind.A]\n"
        "def f(n): return found[n]"
    )
    asserts = ["f(0) == {'a': 2}", "f(1) == {'a': 2}", "f(2) == (1, 2)", "f(3) == {1}", "f(4) == {(1, 2): [None]}"]
    assert python_fault(answer, "f", [*asserts, "f(6) == 1"]) == ""
    assert "f(2) is not [1, 2]" in python_fault(answer, "f", ["f(2) == [1, 2]"])
    assert "f(5) is not [1]" in python_fault(answer, "f", ["f(5) == [1]"])


def test_what_answers_hold_beside_the_function_is_no_fault():
    answer = (
        "from __future__ import annotations\nimport dataclasses, decimal, pathlib, re, statistics, typing, unittest\n"
        "@dataclasses.dataclass\nclass Pair:\n    a: typing.ClassVar[int] = 1\n    b: int = 2\n"
        + ADD
        + "print('5' * 10)\n"
        "if __name__ == '__main__':\n    input('a number: ')\n"
    )
    assert python_fault(fenced(answer), "add", ASSERTS) == ""


FORGED = {
    "leaves early": "import sys\nsys.exit(0)",
    "leaves at once": "import os\nos._exit(0)",
    "is equal to everything": "class Any:\n    def __eq__(self, other): return True\ndef add(a, b): return Any()",
    "says so itself": "class Five(int):\n    def __repr__(self): return '5'\ndef add(a, b): return Five(1)",
    "replaces builtins": "import builtins\nbuiltins.repr = builtins.print = lambda *a: '5'\ndef add(a, b): return 1",
    "writes to the channel": "import os\nos.write(3, b\"('values', [('value', '1')] * 3)\")\nos._exit(0)",
    "writes other values": "import os\nos.write(3, b\"('values', [('value', '5')])\")\nos._exit(0)",
    "writes nonsense": "import os\nos.write(3, b'(' * 5000)\nos._exit(0)",
}


@pytest.mark.parametrize("answer", FORGED.values(), ids=FORGED)
def test_a_right_answer_can_not_be_forged(answer):
    assert python_fault(answer, "add", ASSERTS)
    assert python_fault(ADD, "add", ASSERTS) == ""


PLACES = {
    "the frames": "frame = sys._getframe()\nwhile frame:\n    seen += repr(frame.f_locals) + repr(frame.f_globals)\n"
    "    frame = frame.f_back",
    "a traceback": "try: 1 / 0\nexcept ZeroDivisionError as e: seen += repr(e.__traceback__.tb_frame.f_back.f_locals)",
    "the arguments": "seen += repr(sys.argv) + repr(sys.orig_argv)",
    "stdin": "seen += sys.stdin.read()",
    "the modules": "seen += repr([vars(module) for module in sys.modules.values()])",
}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_expected_is_nowhere_to_be_read(place):
    answer = (
        f"import re, sys\nseen = ''\n{PLACES[place]}\ndef tell(): return (re.findall('word-[a-z]+', seen) or [''])[0]"
    )
    assert python_fault(answer, "tell", ["tell() == 'word-quince'"]) == "tell() is not 'word-quince', but ''"


def outside(tmp_path):
    items = Path(code.__file__).parent / "items.jsonl"
    return {
        "socket": "import socket",
        "its C half": "import _socket",
        "a process": "import subprocess",
        "a shell": "import os\nos.system('true')",
        "a fork": "import os\nos.fork()",
        "another program": "import os\nos.execv('/bin/true', ['true'])",
        "a signal": "import os\nos.kill(os.getppid(), 0)",
        "a library": "import ctypes",
        "a database": "import sqlite3\nsqlite3.connect('x')",
        "a written file": f"open({str(tmp_path / 'x')!r}, 'w')",
        "the folder above": "open('../x', 'w')",
        "the items": f"open({str(items)!r})",
        "the users": "open('/etc/passwd')",
        "what is installed": "import os\nopen(os.path.dirname(os.__file__) + '/site-packages/x')",
        "the library to write": "import os\nopen(os.__file__, 'r+')",
        "the folder above as such": "import os\nos.open('..', os.O_RDONLY)",
        "a removal": f"import os\nos.remove({str(tmp_path / 'kept')!r})",
        "a link": "import os\nos.symlink('/etc', 'etc')",
        "another folder": "import os\nos.chdir('/')",
        "a list of a folder": "import os\nos.listdir('/')",
        "a look at everything": "import gc\ngc.get_objects()",
        "looser limits": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (99, 99))",
        # What the hook calls and reads is bound in it.
        "without type": "import builtins\nbuiltins.type = builtins.str = lambda *a: 1\nimport os\nos.fork()",
        "another list": "import sys\nf = sys._getframe()\nwhile f:\n    f.f_globals['_ALLOWED'] = {'os.fork'}\n"
        "    f = f.f_back\nimport os\nos.fork()",
        "a str of its own": "import os\nclass S(str):\n    def startswith(self, other): return True\n"
        "    def __contains__(self, other): return False\nos.open(S('/etc/passwd'), 0)",
    }


@pytest.mark.parametrize("what", outside(Path()))
def test_nothing_outside_of_its_folder_is_reached(what, tmp_path):
    (tmp_path / "kept").touch()
    guarded = f"try:\n    exec({outside(tmp_path)[what]!r})\nexcept BaseException:\n    pass\n{ADD}"
    status, found = run_python(guarded, CALLS)
    assert status == "refused", found
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]


def test_an_answer_sees_no_environment_and_may_write_in_its_folder(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key-7f3a")
    look = "import os\nopen('x', 'w').write('1')\ntext = open('x').read()"
    status, found = run_python(look, ["repr(dict(os.environ))", "os.getcwd()", "text"])
    seen, here, text = (ast.literal_eval(value) for _, value in found)
    assert status == "values" and text == "1"
    assert "7f3a" not in seen and str(Path.home()) not in seen and "PATH" not in ast.literal_eval(seen)
    assert not Path(here).exists()


BOUNDED = {
    "loops": "while True: pass",
    "sleeps": "import time\ntime.sleep(60)",
    "loops when called": "def add(a, b):\n    while True: pass",
    "catches all": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "takes all memory": "kept = []\nwhile True: kept.append(bytearray(100_000_000))",
    "writes much": "with open('x', 'wb', buffering=0) as f:\n    while True: f.write(b'0' * 1_000_000)",
    "floods the channel": "import os\nwhile True: os.write(3, b'0' * 1_000_000)",
    "nests": "x = " + "(" * 400 + ")" * 400,
    "never ends its recursion": "def add(a, b): return add(a, b)",
    "is too long": "x = 1\n" * 20_000,
    "gives back too much": "def add(a, b): return 'x' * 10_000_000",
}


@pytest.mark.skipif(os.name != "posix", reason="limits of resource")
@pytest.mark.parametrize("what", BOUNDED)
def test_time_memory_and_output_are_bounded(what, monkeypatch):
    monkeypatch.setitem(code.LIMITS, "RLIMIT_CPU", 1)
    monkeypatch.setattr(code, "SECONDS", 1.5)
    began = time.monotonic()
    assert python_fault(BOUNDED[what], "add", ASSERTS)
    assert time.monotonic() - began < 4


@pytest.mark.skipif(os.name != "posix" or sys.platform == "darwin", reason="limits of resource")
def test_memory_and_files_end_at_their_limits_and_not_by_time():
    assert python_fault("kept = bytearray(2 << 30)", "add", ASSERTS).startswith("error: MemoryError")
    assert python_fault(ADD + "kept = bytearray(500 << 20)", "add", ASSERTS) == ""  # Python itself has room
    written = "with open('x', 'wb', buffering=0) as f: {}"
    kept = [run_python(written.format(f"f.write(b'0' * {size}); f.write(b'0')"), CALLS[:0])[0] for size in (9, 2 << 20)]
    assert kept == ["values", "error"]
    assert run_python("x = 1\n" * 20_000, ["x"]) == ("error", "more than 50,000 characters")
    assert run_python("x = 'x' * 20_000", ["x"]) == ("values", [("value", "...")])


def test_much_output_is_no_fault_and_not_kept():
    assert python_fault("print('x' * 50_000_000)\n" + ADD, "add", ASSERTS) == ""


def test_many_answers_are_checked_side_by_side_in_their_order():
    item = {"kind": "python", "check": {"name": "add", "asserts": ASSERTS}}
    answers = [ADD if n % 3 else ADD.replace("+", "-") for n in range(24)]
    assert [r["correct"] for r in check_all([item] * 24, answers)] == [bool(n % 3) for n in range(24)]


INTERFACE = [{"what": "interface", "name": "User", "text": [r"email\?:string"]}]
FUNCTION = [{"what": "function", "name": "add", "params": 2}]
ADDS = [{"what": "function", "name": "add", "params": 2, "returns": ["number"]}]
METHODS = [{"what": "class", "name": "Bag", "methods": ["put", "take"]}]


@pytest.mark.parametrize(
    ("text", "declares", "why"),
    [
        ("interface User {\n  email?: string;\n}", INTERFACE, ""),
        ("export interface User { readonly id: 'a'; email? : string }", INTERFACE, ""),
        ("interface User { email: string }", INTERFACE, "lacks"),
        ("type User = { email?: string };", INTERFACE, "declares no interface User"),
        ("interface Person { email?: string }", INTERFACE, "declares no interface User"),
        ("interface User { email?: string", INTERFACE, "does not parse"),
        ("An interface User has an email which is a string.", INTERFACE, "does not parse"),
        ("User", INTERFACE, "declares no"),
        ("function add(a: number, b: number) { return a + b }", FUNCTION, ""),
        ("export default function add(a: number, b = 1) { return a + b }", FUNCTION, "lacks"),
        ("export const add = (a: number, b: number): number => a + b;", FUNCTION, ""),
        ("const add: (a: number, b: number) => number = (a, b) => a + b;", FUNCTION, ""),
        ("const add = function (a: number, ...b: number[]) { return a }", FUNCTION, ""),
        ("const add = x => x;", [{"what": "function", "name": "add", "params": 1}], "lacks"),
        ("function add(a, b) { return a + b }", FUNCTION, "lacks"),
        ("function add(a: number) { return a }", FUNCTION, "lacks"),
        ("function add(a: number, b: number) { /* later */ }", FUNCTION, "lacks"),
        ("declare function add(a: number, b: number): number;", FUNCTION, "declares no"),
        ("const add = 5;", FUNCTION, "declares no"),
        ("class A { add(a: number, b: number) { return 1 } }", FUNCTION, "declares no"),
        ("def add(a, b):\n    return a + b", FUNCTION, "does not parse"),
        ("function add(a: number, b: number): string { return '' }", ADDS, "lacks"),
        ("function add(a: number, b: number): number { return a + b }", ADDS, ""),
        ("function add(a: number, b: number) { return a + b }", ADDS, ""),
        ("class Bag { private n = 0; put(): void { this.n++ }\n take = () => this.n; }", METHODS, ""),
        ("abstract class Bag { abstract put(): void; take() { return 1 } }", METHODS, ""),
        ("class Bag { constructor() { this.put = 1; this.take = function () {} } }", METHODS, "lacks"),
        ("class Bag { put = 1; take = 2 }", METHODS, "lacks"),
        ("type Way = 'up' | \"down\";", [{"what": "type", "name": "Way", "text": ['"up"', '"down"']}], ""),
        ("abstract class User { abstract x(): string }", [{"what": "class", "name": "User"}], ""),
        ("export enum User { A, B }", [{"what": "enum", "name": "User"}], ""),
    ],
)
def test_typescript_is_parsed(text, declares, why):
    for answer in (text, fenced(text, "typescript"), f"Here it is:\n\n```ts\n{text}\n```\nIt works."):
        fault = typescript.fault(answer, declares)
        assert fault == why or (why and why in fault), answer


ONE = '{"a": 1}'
TABLE = "| A | B |\n|---|:-:|\n| 1 | 2 |"
RULES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    ({"rule": "bullets", "n": 2, "only": True}, ["- a\n- b", "* a\n\n* b"], ["- a", "So:\n- a\n- b", "a\nb", "-a\n-b"]),
    ({"rule": "bullets", "n": 2}, ["So:\n- a\n- b"], ["- a\n- b\n- c"]),
    ({"rule": "numbered", "n": 2}, ["1. a\n2. b", "So:\n1) a\n2) b"], ["1. a\n3. b", "1. a", "1. a\n2. b\n3. c"]),
    ({"rule": "words", "least": 2, "most": 3}, ["a b", "don't do it."], ["a", "a b c d"]),
    ({"rule": "lines", "n": 2}, ["a\n\nb"], ["a", "a\nb\nc"]),
    ({"rule": "sentences", "n": 2}, ["It is 3.5 m. Good!", 'He said "no." Well.'], ["One.", "A. B. C.", "A. B. c"]),
    ({"rule": "paragraphs", "n": 2}, ["a\nb\n\nc"], ["a\nb", "a\n\nb\n\nc"]),
    ({"rule": "equals", "text": "Paris|the city"}, ["paris.", '"Paris"', "**The city**"], ["Paris, France", "London"]),
    ({"rule": "equals", "text": "AB", "case": True}, ["AB"], ["ab", "AB."]),
    ({"rule": "keywords", "words": ["cat|cats", "dog"]}, ["Cats and a dog"], ["cat", "catalogue dog"]),
    ({"rule": "lacks", "words": ["cat"]}, ["catalogue"], ["a cat"]),
    ({"rule": "upper"}, ["A B 1"], ["A b", "1"]),
    ({"rule": "lower"}, ["a b 1"], ["a B", "1"]),
    ({"rule": "without", "characters": "e"}, ["A cat"], ["A CHEETAH", "the"]),
    ({"rule": "starts", "text": "Dear"}, ["Dear A"], ["Oh dear", "dear A"]),
    ({"rule": "ends", "text": "moon."}, ["The moon."], ["The moon. Yes"]),
    ({"rule": "matches", "pattern": r"\d+"}, ["12"], ["12.", "a 12"]),
    ({"rule": "count", "word": "river", "n": 2}, ["River, river"], ["river", "rivers river", "river river river"]),
    ({"rule": "items", "n": 3}, ["a, b,c", "a, b, c."], ["a, b", "a,,b,c", "a,\nb, c"]),
    ({"rule": "items", "of": ["a", "b"], "by": ";"}, ["A; b"], ["b; a", "a, b", "a; b; c"]),
    ({"rule": "sequence", "of": ["7", "19"]}, ["7\n19", "1. 7\n2. 19", "7, 19"], ["19\n7", "7", "7\n19\n20"]),
    ({"rule": "line_starts", "of": ["S", "U"]}, ["So\n\nUp", "```\nSo\nUp\n```"], ["So", "So\nso", "So\nUp\nUp"]),
    ({"rule": "tagged", "tag": "b", "text": "17"}, ["<b>17</b>", "<b> 17. </b>"], ["17", "So <b>17</b>", "<b>1</b>"]),
    ({"rule": "tagged", "tag": "b"}, ["<b>x</b>"], ["<b> </b>", "<b>x</b><b>y</b>"]),
    ({"rule": "fence"}, ["```\nx\n```"], ["x", "```\nx\n```\nmore", "```\n\n```"]),
    ({"rule": "fence", "tag": "json"}, ["```json\n{}\n```"], ["```\n{}\n```"]),
    ({"rule": "json", "keys": ["a"]}, [ONE, f"```json\n{ONE}\n```"], ['{"a": 1, "b": 2}', "{'a': 1}", f"{ONE} ok"]),
    ({"rule": "json", "values": {"a": 1}}, [ONE, '{"a": 1.0}', '{"a": 1, "b": 2}'], ['{"a": true}', '{"a": "1"}']),
    ({"rule": "json", "values": {"a": {"b": "Lima"}}}, ['{"a": {"b": "lima"}}'], ['{"a": {"b": "lima", "c": 1}}', ONE]),
    ({"rule": "json", "types": {"a": "bool"}}, ['{"a": true}'], [ONE, '{"a": "true"}']),
    ({"rule": "json", "types": {"a": "int"}}, [ONE], ['{"a": true}', '{"a": 1.5}']),
    ({"rule": "json", "array": [2, 4]}, ["[2, 4]"], ["[4, 2]", "[2]", '{"a": [2, 4]}', "2, 4"]),
    ({"rule": "table", "columns": ["A", "B"], "rows": 1}, [TABLE, f"So:\n\n{TABLE}"], [f"{TABLE}\n| 3 | 4 |"]),
    ({"rule": "table", "columns": ["A", "B"], "rows": 1}, ["A | B\n---|---\n1 | 2"], ["A | B\n1 | 2\n3 | 4"]),
    ({"rule": "table", "columns": ["A", "C"], "rows": 1}, [TABLE.replace("B", "c")], [TABLE, "A C\n1 2"]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "right", "wrong"), RULES, ids=[str(rule) for rule, _, _ in RULES])
def test_rules_of_form(rule, right, wrong):
    assert {answer: format_checks.broken_rule([rule], answer) for answer in right} == dict.fromkeys(right, "")
    assert all(format_checks.broken_rule([rule], answer).startswith(rule["rule"]) for answer in [*wrong, "", " \n"])


def test_every_rule_is_tested_and_known():
    assert {rule["rule"] for rule, _, _ in RULES} == set(format_checks.RULES)
    used = {rule["rule"] for item in ITEMS for rule in item["check"].get("rules", [])}
    assert used <= set(format_checks.RULES)
