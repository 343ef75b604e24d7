"""ftlib.chunking: never too long, nothing lost, cut where a reader would."""

import copy
import os
import unicodedata
from functools import lru_cache
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ftlib import chunking, tokens
from ftlib.errors import SetupError

# Characters of which SmolLM2's vocabulary lacks a byte; its tokenizer has nothing but <|endoftext|> for them.
NO_TOKEN = "\x04\x06\x13\x14\x16\x1d\U00050000"
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
characters = st.characters(exclude_categories=["Cs"])
words = st.sampled_from(["the ", "function", " return ", "(", ");\n", "a", ", and\n", "  ", "Ünïcödé ", "\n\n"])
texts = st.lists(st.one_of(st.sampled_from(PIECES), words, st.text(characters, max_size=30)), max_size=25).map("".join)
sources = st.sampled_from(["wiki", "docs", "code", "pull_request"])
# FTLIB_EXAMPLES=5000 for a long search; the number holds for each kind of tokenizer.
modest = settings(
    max_examples=int(os.environ.get("FTLIB_EXAMPLES", 60)),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def document(source: str, text: str, title: str = "A title") -> dict[str, str]:
    return {"id": f"{source}:1", "source": source, "title": title, "path": "src/a.py", "text": text}


def chunks(doc, tokenizer, max_length, overlap=0):
    return list(chunking.chunk(doc, tokenizer, max_length, overlap))


def text_of(tokenizer, ids) -> str:
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False)


def one_pass(tokenizer, text) -> list[int]:
    """The tokenizer's own ids of a whole text, without ftlib."""
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


@lru_cache(maxsize=100_000)
def has_tokens(tokenizer, character: str) -> bool:
    return not tokens.control_ids(tokenizer).intersection(one_pass(tokenizer, character))


# --- what holds for every text ----------------------------------------------------------------------------------------


@modest
@given(
    text=texts,
    source=sources,
    max_length=st.one_of(st.integers(40, 200), st.integers(1, 40)),
    overlap=st.one_of(st.just(0), st.integers(1, 30)),
    title=st.sampled_from(["A title", "</s><|im_end|>", "\U00050000"]),
)
@example(text="", source="code", max_length=40, overlap=0, title="A title")
@example(text="😀" * 400, source="wiki", max_length=40, overlap=9, title="A title")
@example(text="x" * 3000, source="code", max_length=40, overlap=10, title="A title")
@example(text="\r" * 200 + "\x00" * 200, source="docs", max_length=40, overlap=0, title="A title")
@example(text="\n\n# a\n" * 100, source="docs", max_length=40, overlap=0, title="A title")
@example(text=f"a{NO_TOKEN}b\n" * 60, source="code", max_length=60, overlap=5, title="A title")
@example(text="abcdef" * 9, source="pull_request", max_length=7, overlap=0, title="A title")
def test_chunks_are_exact(any_tokenizer, text, source, max_length, overlap, title):
    tokenizer, doc = any_tokenizer, document(source, text, title)
    try:
        found = chunks(doc, tokenizer, max_length, overlap)
    except SetupError as error:
        # Only where the room is so small that header, overlap and one character may not fit.
        heads = max(len(one_pass(tokenizer, chunking.header(doc, part))) for part in (1, 999))
        assert f"max_length={max_length} leaves no room" in str(error)
        assert max_length < heads + overlap + 3 + 12
        return
    bos = [tokenizer.bos_token_id] if "bos_token" in tokenizer.chat_template else []
    assert [row["part"] for row in found] == list(range(1, len(found) + 1))
    assert found[0]["start"] == 0 and found[-1]["end"] == len(text)
    assert [row["end"] for row in found[:-1]] == [row["start"] for row in found[1:]]
    assert "".join(text[row["start"] : row["end"]] for row in found) == text
    bodies: list[int] = []
    for row in found:
        ids = row["input_ids"]
        assert len(ids) <= max_length
        assert (row["document_id"], row["source"]) == (doc["id"], source)
        assert ids[: len(bos)] == bos
        last = row is found[-1]
        assert (ids[-1] == tokenizer.eos_token_id) == last
        assert last or row["end"] > row["start"]
        body = ids[len(bos) : -1 if last else None]
        assert not tokens.control_ids(tokenizer).intersection(body)
        assert row["replaced"] == sum(not has_tokens(tokenizer, c) for c in text[row["start"] : row["end"]])
        head = len(tokens.encode(tokenizer, chunking.header(doc, row["part"]))) if row["part"] > 1 else 0
        again = sum(label == chunking.IGNORE for label in row["labels"])
        assert row["labels"] == [*bos, *body[:head], *[chunking.IGNORE] * again, *ids[len(bos) + head + again :]]
        check_overlap(tokenizer, text, row, again, overlap, bodies)
        bodies += body[head + again :]
        check_text(tokenizer, doc, row, body)
    if all(has_tokens(tokenizer, c) for c in set(chunking.header(doc) + text)):
        assert bodies == one_pass(tokenizer, chunking.header(doc) + text)


def check_overlap(tokenizer, text, row, again, overlap, before):
    """Exactly `overlap` tokens that the last part ended with.

    A few more only to begin with a whole character, and fewer only where the text before is shorter.
    """
    if row["part"] == 1 or not overlap:
        assert again == 0 and row["body_start"] == row["start"]
        return
    kept = len(before) - again
    assert row["input_ids"][-1] is not None and again <= overlap + 12
    tail = before[kept:]
    assert row["input_ids"][len(row["input_ids"]) - len(row["labels"]) :] and tail == [
        token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == chunking.IGNORE
    ]
    if again > overlap:
        assert ord(max(text[row["body_start"] : row["start"]])) > 127
    elif again < overlap:
        assert row["body_start"] <= 1  # the whole text so far; a token of header and text is left out


def check_text(tokenizer, doc, row, body):
    """The ids say the header and the slice of the text."""
    said = chunking.header(doc, row["part"]) + doc["text"][row["body_start"] : row["end"]]
    said = "".join(c if has_tokens(tokenizer, c) else "\ufffd" for c in said)
    kind = type(tokenizer.backend_tokenizer.normalizer).__name__
    if kind == "NFC":  # composes characters
        said, body_text = unicodedata.normalize("NFD", said), unicodedata.normalize("NFD", text_of(tokenizer, body))
        assert body_text == said
    elif tokenizer.backend_tokenizer.token_to_id("▁the") is not None:  # SentencePiece writes U+2581 as a space
        assert text_of(tokenizer, body) == said.replace("\u2581", " ")
    else:
        assert text_of(tokenizer, body) == said


def test_ids_are_a_single_encode_of_the_document(any_tokenizer):
    """Where the header stands once, the chunk is what the tokenizer makes of header and text, to the token."""
    doc = document("code", "def f():\n\treturn '😀'\n" * 3)
    (row,) = chunks(doc, any_tokenizer, 200)
    whole = any_tokenizer(chunking.header(doc) + doc["text"])["input_ids"]
    assert row["input_ids"] == [*whole, any_tokenizer.eos_token_id]


def test_many_documents_are_the_documents_one_by_one(any_tokenizer):
    """More than a batch, and in their order; the memory of one does not leak into the next."""
    docs = [document("docs", f"Page {n}.\n\n" * (n % 40)) | {"id": f"docs:{n}"} for n in range(600)]
    found = list(chunking.chunk_documents(iter(docs), any_tokenizer, 60))
    assert found == [row for doc in docs for row in chunks(doc, any_tokenizer, 60)]


def test_documents_are_read_as_they_are_needed(smollm):
    """A stream: the first chunk comes before the last document is read."""
    read = []

    def stream():
        for number in range(100_000):
            read.append(number)
            yield document("docs", "A page.")

    next(chunking.chunk_documents(stream(), smollm, 60))
    assert len(read) <= tokens.BATCH_TEXTS + 1


def test_the_limit_is_used_to_the_last_token(tokenizer):
    doc = document("docs", "word " * 500)
    exact = len(chunks(doc, tokenizer, 5000)[0]["input_ids"])
    assert len(chunks(doc, tokenizer, exact)) == 1
    assert len(chunks(doc, tokenizer, exact - 1)) == 2
    full = [len(row["input_ids"]) for row in chunks(doc, tokenizer, 64)[:-1]]
    assert set(full) == {64}


def test_bos_only_where_the_tokenizer_adds_one(smollm, mistral):
    assert tokens.bos_ids(smollm) == []  # its bos_token, <|im_start|>, starts a turn
    assert tokens.bos_ids(mistral) == [mistral.bos_token_id] == [1]


def test_control_strings_stay_text(tokenizer):
    text = " ".join(CONTROL)
    encoded = tokens.encode(tokenizer, text)
    ids = encoded.ids
    assert not tokens.control_ids(tokenizer).intersection(ids)
    assert text_of(tokenizer, ids) == text
    assert len(encoded) == len(ids) and encoded.end(len(ids) - 1) == len(text)
    assert tokenizer.eos_token_id in tokenizer(text)["input_ids"]  # and would not, left to the tokenizer


@pytest.mark.parametrize("character", NO_TOKEN)
def test_a_character_without_a_token_never_ends_a_text(smollm, character):
    """SmolLM2's tokenizer makes <|endoftext|> of it."""
    assert 0 in one_pass(smollm, character)
    doc = document("code", f"a{character}b\n" * 60)
    found = chunks(doc, smollm, 60)
    assert sum(row["replaced"] for row in found) == 60
    assert 0 not in [token for row in found for token in row["input_ids"]]
    assert "a\ufffdb\na\ufffdb\n" in text_of(smollm, found[0]["input_ids"])


@pytest.mark.parametrize("overlap", [1, 7, 20])
def test_the_overlap_is_exact(any_tokenizer, overlap):
    doc = document("docs", "Some words of a paragraph that fill a line.\nAnd a second line.\n\n" * 30)
    found = chunks(doc, any_tokenizer, 90, overlap)
    plain = chunks(doc, any_tokenizer, 90)
    assert len(found) >= len(plain) > 3
    for before, row in zip(found, found[1:], strict=False):
        again = [t for t, label in zip(row["input_ids"], row["labels"], strict=True) if label == chunking.IGNORE]
        assert again == before["input_ids"][-overlap:]
        assert doc["text"][row["body_start"] : row["start"]].strip() in text_of(any_tokenizer, again)
    # As context only: each token of the text is trained on once.
    heads = sum(len(tokens.encode(any_tokenizer, chunking.header(doc, row["part"]))) for row in found[1:])
    extra = len(tokens.bos_ids(any_tokenizer)) * len(found) + 1
    kept = sum(label != chunking.IGNORE for row in found for label in row["labels"])
    assert kept - heads - extra == len(one_pass(any_tokenizer, chunking.header(doc) + doc["text"]))


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


# --- what is refused --------------------------------------------------------------------------------------------------


def test_a_tokenizer_without_an_end_of_text(smollm):
    tokenizer = copy.deepcopy(smollm)
    tokenizer.eos_token = None
    with pytest.raises(SetupError, match=r"has no end-of-text token\. Set tokenizer\.eos_token"):
        chunks(document("docs", "Text"), tokenizer, 60)


def test_a_negative_overlap(smollm):
    with pytest.raises(SetupError, match="overlap=-1: it must be 0 or more"):
        chunks(document("docs", "Text"), smollm, 60, -1)


def test_no_room_beside_the_overlap(smollm):
    with pytest.raises(SetupError, match=r"docs:1: .* and the overlap of 50.*or lower overlap"):
        chunks(document("docs", "Some words. " * 60), smollm, 60, 50)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": None}, "docs:1: `text` must be a string, found None"),
        ({"id": 3}, "3: `id` must be a string"),
        ({"title": ["x"]}, "docs:1: `title` must be a string"),
        ({"source": "mail"}, r"docs:1: source='mail' is unknown; there are wiki, docs, code, pull_request"),
    ],
)
def test_wrong_documents(smollm, change, reason):
    with pytest.raises(SetupError, match=reason):
        chunks(document("docs", "Text") | change, smollm, 60)


@pytest.mark.parametrize("text", ["x", "\n", " ", "\x00", "é", "\r\n", ""])
def test_a_document_of_one_character(any_tokenizer, text):
    (row,) = chunks(document("docs", text), any_tokenizer, 60)
    assert (row["start"], row["end"]) == (0, len(text))
    assert row["input_ids"][-1] == any_tokenizer.eos_token_id


# --- texts for an API, whose tokenizer nobody knows -------------------------------------------------------------------


@given(st.text(st.sampled_from("ab \n\r#é😀-="), max_size=300), st.integers(2, 60), st.sampled_from(["wiki", "code"]))
def test_parts_of_a_text_joined_are_the_text_and_none_is_too_long(text, longest, source):
    parts = chunking.cut_text(text, source, longest)
    assert "".join(parts) == text and max(map(len, parts)) <= longest
    assert len(parts) == 1 or all(parts)
    assert not any(one.endswith("\r") and other.startswith("\n") for one, other in pairwise(parts))


def test_a_text_is_cut_where_a_document_is():
    text = "# One\n\nwords\n\n# Two\n\nwords and words\n"
    assert chunking.cut_text(text, "wiki", 25) == ["# One\n\nwords\n\n", "# Two\n\nwords and words\n"]
    assert chunking.cut_text("def a():\n    pass\n\n\ndef b():\n    pass\n", "code", 25)[1].startswith("def b")
    assert chunking.cut_text("", "wiki", 25) == [""] and chunking.cut_text("abc", "wiki", 2) == ["ab", "c"]
    with pytest.raises(SetupError, match="1 characters is too short"):
        chunking.cut_text("abc", "wiki", 1)


@pytest.mark.parametrize("source", ["wiki", "code"])
def test_no_part_ends_inside_a_line_break_of_two_characters(source):
    text = "ab\r\n" * 20
    for longest in range(2, 12):
        parts = chunking.cut_text(text, source, longest)
        assert "".join(parts) == text and not any(part.endswith("\r") for part in parts)
