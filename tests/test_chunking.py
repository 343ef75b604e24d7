"""ftlib.chunking: never too long, nothing lost, cut where a reader would."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ftlib import chunking
from ftlib.chat import control_ids
from ftlib.errors import SetupError

# Characters of which SmolLM2's vocabulary lacks a byte; its tokenizer has nothing but <|endoftext|> for them.
NO_TOKEN = "\x04\x06\x13\x14\x16\x1d"
CONTROL = [
    "</s>",
    "<s>",
    "<unk>",
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<repo_name>",
    "[INST]",
    "[/INST]",
    "<0x0A>",
]
PIECES = [
    *CONTROL,
    *("x" * 700, "ab" * 150, " " * 90, "\t" * 40, "\n" * 30, "=" * 200, "0123456789" * 30),
    *(
        "\r\n",
        "\r",
        "\n",
        "\x00",
        "\x00" * 20,
        "\x0b",
        "\x0c",
        "\x85",
        "\u2028",
        "\u200b",
        "\ufeff",
        "\u2581",
        "\ufffd",
    ),
    *(
        "😀",
        "👩‍👩‍👧‍👦🏳️‍🌈" * 3,
        "e\u0301",
        "Z͑ͫ̓ͪ̂ͫ̽",
        "\u0301" * 40,
        "\ue000",
        "\uf8ff",
        "\U000f0000",
        "\U0010ffff",
        "한국어",
        "日本語テキスト",
        "שלום",
    ),
    *(
        "# Heading\n",
        "\n## Two\n\ntext\n",
        "```\n# not one\n```\n",
        "\n~~~",
        "def f(x):\n    return x\n",
        "\n\n\n",
        "    indented\n",
    ),
    *("diff --git a/x b/x\n", "@@ -1,2 +3,4 @@\n", "File: a.py, Status: added\n", "- File: a.py\n  Content:\n"),
]
# Planes 4 to 11 are unassigned; SmolLM2 lacks their bytes as well.
characters = st.one_of(
    st.characters(exclude_categories=["Cs"], exclude_characters=NO_TOKEN, max_codepoint=0x3FFFF),
    st.characters(min_codepoint=0xC0000),
)
words = st.sampled_from(["the ", "function", " return ", "(", ");\n", "a", ", and\n", "  ", "Ünïcödé ", "\n\n"])
texts = st.lists(st.one_of(st.sampled_from(PIECES), words, st.text(characters, max_size=30)), max_size=25).map("".join)
sources = st.sampled_from(["wiki", "docs", "code", "pull_request"])
modest = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def document(source: str, text: str, title: str = "A title") -> dict[str, str]:
    return {"id": f"{source}:1", "source": source, "title": title, "path": "src/a.py", "text": text}


def chunks(doc, tokenizer, max_length):
    return list(chunking.chunk(doc, tokenizer, max_length))


def text_of(tokenizer, ids) -> str:
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)


# --- what holds for every text ----------------------------------------------------------------------------------------


@modest
@given(
    text=texts, source=sources, max_length=st.integers(40, 200), title=st.sampled_from(["A title", "</s><|im_end|>"])
)
@example(text="", source="code", max_length=40, title="A title")
@example(text="😀" * 400, source="wiki", max_length=40, title="A title")
@example(text="x" * 3000, source="code", max_length=40, title="A title")
@example(text="\r" * 200 + "\x00" * 200, source="docs", max_length=40, title="A title")
@example(text="\n\n# a\n" * 100, source="docs", max_length=40, title="A title")
def test_chunks_are_exact(tokenizer, text, source, max_length, title):
    doc = document(source, text, title)
    found = chunks(doc, tokenizer, max_length)
    bos = [tokenizer.bos_token_id] if "bos_token" in tokenizer.chat_template else []
    assert [row["part"] for row in found] == list(range(1, len(found) + 1))
    assert found[0]["start"] == 0 and found[-1]["end"] == len(text)
    assert [row["end"] for row in found[:-1]] == [row["start"] for row in found[1:]]
    assert "".join(text[row["start"] : row["end"]] for row in found) == text
    for row in found:
        ids = row["input_ids"]
        assert len(ids) <= max_length
        assert row["labels"] == ids and row["labels"] is not ids
        assert (row["document_id"], row["source"]) == (doc["id"], source)
        assert ids[: len(bos)] == bos
        last = row is found[-1]
        assert (ids[-1] == tokenizer.eos_token_id) == last
        body = ids[len(bos) : -1 if last else None]
        assert not control_ids(tokenizer).intersection(body)
        # The ids are the text, header included; SentencePiece writes U+2581 as a space.
        said = chunking.header(doc, row["part"]) + text[row["start"] : row["end"]]
        assert text_of(tokenizer, body) == (said.replace("\u2581", " ") if bos else said)
    for row in found[:-1]:
        assert row["end"] > row["start"]


def test_ids_are_a_single_encode_of_the_document(tokenizer):
    """Where the header stands once, the chunk is what the tokenizer makes of header and text, to the token."""
    doc = document("code", "def f():\n\treturn '😀'\n" * 3)
    (row,) = chunks(doc, tokenizer, 200)
    whole = tokenizer(chunking.header(doc) + doc["text"])["input_ids"]
    assert row["input_ids"] == [*whole, tokenizer.eos_token_id]


def test_the_limit_is_used_to_the_last_token(tokenizer):
    doc = document("docs", "word " * 500)
    exact = len(chunks(doc, tokenizer, 5000)[0]["input_ids"])
    assert len(chunks(doc, tokenizer, exact)) == 1
    assert len(chunks(doc, tokenizer, exact - 1)) == 2
    full = [len(row["input_ids"]) for row in chunks(doc, tokenizer, 64)[:-1]]
    assert min(full) >= 62


def test_bos_only_where_the_tokenizer_adds_one(smollm, mistral):
    assert chunking.bos_ids(smollm) == []  # its bos_token, <|im_start|>, starts a turn
    assert chunking.bos_ids(mistral) == [mistral.bos_token_id] == [1]


def test_control_strings_stay_text(tokenizer):
    text = " ".join(CONTROL)
    ids, offsets = chunking.encode(tokenizer, text)
    assert not control_ids(tokenizer).intersection(ids)
    assert text_of(tokenizer, ids) == text
    assert len(offsets) == len(ids) and offsets[-1][1] == len(text)
    assert tokenizer.eos_token_id in tokenizer(text)["input_ids"]  # and would not, left to the tokenizer


@pytest.mark.parametrize("character", NO_TOKEN)
def test_a_character_without_a_token_keeps_its_place(smollm, character):
    """Nothing can be done for the model, but the slices of the text stay right."""
    doc = document("code", f"a{character}b\n" * 60)
    found = chunks(doc, smollm, 60)
    assert "".join(doc["text"][row["start"] : row["end"]] for row in found) == doc["text"]
    assert all(len(row["input_ids"]) <= 60 for row in found)


# --- where it cuts ----------------------------------------------------------------------------------------------------


def later_parts(tokenizer, source, text, max_length) -> list[str]:
    return [text[row["start"] : row["end"]] for row in chunks(document(source, text), tokenizer, max_length)[1:]]


PARAGRAPH = "Some words of a paragraph that fill a line.\nAnd a second line.\n\n"
FUNCTION = "def name(value):\n    first = value\n\n    return first\n\n\n"
PATCH = "@@ -1,3 +1,3 @@\n context\n-old line\n+new line\n\n context\n"


@pytest.mark.parametrize(
    ("source", "text", "start"),
    [
        ("docs", ("## Section\n\n" + PARAGRAPH * 2) * 8, "## Section\n"),
        ("wiki", ("###### Section\n\n" + PARAGRAPH * 2) * 8, "###### Section\n"),
        ("docs", PARAGRAPH * 20, "\n"),
        ("docs", "A line of words without any blank one.\n" * 40, "A line"),
        ("code", FUNCTION * 30, "def name"),
        ("code", "export function name() {\n\n  return 1;\n}\n" * 30, "export function"),
        ("code", "value = 1\n\n" * 60, "\n"),
        ("pull_request", ("File: a/b.py, Status: modified\nChanges:\n" + PATCH) * 8, "File: a/b.py"),
        ("pull_request", ("diff --git a/b.py b/b.py\n" + PATCH) * 8, "diff --git"),
        ("pull_request", PATCH * 16, "@@ "),
    ],
)
def test_cuts_fall_on_the_best_boundary(tokenizer, source, text, start):
    parts = later_parts(tokenizer, source, text, 130)
    assert len(parts) >= 2
    assert [part[: len(start)] for part in parts] == [start] * len(parts)


def test_a_higher_heading_is_better_than_a_later_one(tokenizer):
    text = PARAGRAPH * 3 + "## High\n\n" + PARAGRAPH + "##### Low\n\n" + PARAGRAPH * 2
    assert later_parts(tokenizer, "docs", text, 110)[0].startswith("## High\n")


@pytest.mark.parametrize("fence", ["```", "~~~", "  ```"])
def test_a_heading_inside_a_fence_is_none(tokenizer, fence):
    inside = f"{fence}sh\nrun this\n# a comment, no heading\nrun that\n{fence}\n"
    text = PARAGRAPH * 3 + inside + PARAGRAPH * 3
    assert later_parts(tokenizer, "docs", text, 110)[0].startswith("\n")
    unfenced = text.replace(f"{fence}sh\n", "").replace(f"{fence}\n", "")
    assert later_parts(tokenizer, "docs", unfenced, 110)[0].startswith("# a comment")


def test_a_boundary_too_early_is_not_taken(tokenizer):
    """Only the second half of the room is searched: chunks don't shrink to the headings."""
    text = "A line.\n# Heading\n" + "A line of words without any blank one.\n" * 40
    parts = later_parts(tokenizer, "docs", text, 130)
    assert all(part.startswith("A line") for part in parts)
    lengths = [len(row["input_ids"]) for row in chunks(document("docs", text), tokenizer, 130)[:-1]]
    assert min(lengths) > 100


# --- headers ----------------------------------------------------------------------------------------------------------


def test_headers_say_what_it_is():
    assert chunking.header(document("code", "")) == "- File: src/a.py\n  Content:\n"
    assert chunking.header(document("code", ""), 2) == "- File: src/a.py (part 2)\n  Content:\n"
    assert (
        chunking.header(document("wiki", ""))
        == chunking.header(document("docs", ""))
        == "- Page: A title\n  Content:\n"
    )
    assert chunking.header(document("pull_request", "", "PR #7: Fix"), 3) == "PR #7: Fix (part 3)\n"


@pytest.mark.parametrize("source", ["docs", "code", "pull_request"])
def test_every_part_begins_with_its_header(tokenizer, source):
    doc = document(source, "A line of words without any blank one.\n" * 200)
    found = chunks(doc, tokenizer, 60)
    assert len(found) > 10  # the number of the part takes two digits
    for row in found:
        said = text_of(tokenizer, row["input_ids"]).removeprefix("<s>").lstrip(" ")
        assert said.startswith(chunking.header(doc, row["part"]) + "A line")


@pytest.mark.parametrize("max_length", [0, 1, 4, 12])
def test_no_room_beside_the_header(tokenizer, max_length):
    doc = document("code", "x = 1\n" * 50)
    with pytest.raises(SetupError, match=rf"code:1: max_length={max_length} leaves no room .*Raise max_length"):
        chunks(doc, tokenizer, max_length)


def test_no_room_beside_a_later_header(tokenizer):
    """The part's number may be what no longer fits."""
    doc = document("code", "x = 1\n" * 50)
    smallest = next(length for length in range(10, 60) if _fits(doc, tokenizer, length))
    with pytest.raises(SetupError, match="code:1"):
        chunks(doc, tokenizer, smallest - 1)
    assert all(len(row["input_ids"]) <= smallest for row in chunks(doc, tokenizer, smallest))


def _fits(doc, tokenizer, max_length) -> bool:
    try:
        return bool(chunks(doc, tokenizer, max_length))
    except SetupError:
        return False
