"""ftlib.tokens: one encoder, whatever was left on in the tokenizer, and what it does without a token."""

import copy

import pytest

from ftlib import tokens
from ftlib.errors import SetupError


def test_offsets_keep_their_spaces(any_tokenizer):
    """Some post-processors cut the space off the offsets of " word"."""
    text = "one two  three\n    four"
    found = tokens.encode(any_tokenizer, text)
    assert "".join(text[found.start(n) : found.end(n)] for n in range(len(found))) == text


def test_truncation_and_padding_left_on_do_not_get_in(smollm):
    tokenizer = copy.deepcopy(smollm)
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding(length=8)
    assert [len(found) for found in tokens.encode_texts(tokenizer, ["a b c d", "a"])] == [4, 1]


def test_tokens_added_later_are_seen(smollm):
    tokenizer = copy.deepcopy(smollm)
    tokens.encode(tokenizer, "<new> <turn>")
    tokens.control_pattern(tokenizer)
    tokenizer.add_tokens(["<new>"])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn>", "<turn>>"]})
    new, turn = tokenizer.convert_tokens_to_ids(["<new>", "<turn>"])
    assert new in tokens.encode(tokenizer, "<new>").ids
    assert turn in tokens.control_ids(tokenizer) and turn not in tokens.encode(tokenizer, "<turn>").ids
    assert tokens.control_pattern(tokenizer).findall("<turn> <turn>>") == ["<turn>", "<turn>>"]


def test_a_word_that_pads_is_no_control_token(smollm):
    tokenizer = copy.deepcopy(smollm)
    tokenizer.pad_token = "Ġthe"
    assert tokenizer.pad_token_id == smollm.convert_tokens_to_ids("Ġthe")
    assert tokens.encode(tokenizer, "in the end").replaced == ()


def letters(*words):
    """A tokenizer that knows some letters only."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({w: n for n, w in enumerate(["<unk>", *words])}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", name_or_path="letters")


def test_what_stands_in_for_a_character_without_a_token():
    found = tokens.encode(letters("a", "?"), "abba")
    assert (found.ids, found.replaced) == ([1, 2, 2, 1], (1, 2))
    with pytest.raises(SetupError, match="letters: no tokens for 'b', nor for ' '"):
        tokens.encode(letters("a"), "ab")


def test_tokens_are_counted_by_source(smollm):
    def document(source, text, date="2024-01-02T00:00:00Z"):
        return {"source": source, "text": text, "date": date}

    given = [document("code", "one two"), document("docs", "x", ""), document("code", "a b c", "2023-05-01T00:00:00Z")]
    rows = tokens.count_tokens(given, smollm)
    assert rows[0] == {
        "source": "code",
        "documents": 2,
        "characters": 12,
        "tokens": 5,
        "first": "2023-05-01",
        "last": "2024-01-02",
    }
    assert [(row["source"], row["first"]) for row in rows] == [("code", "2023-05-01"), ("docs", "")]


def test_batches_are_bounded_in_number_and_size():
    """So that memory does not grow with the documents."""
    sizes = [1, 2, tokens.BATCH_CHARACTERS, 3, *[10] * 1200, tokens.BATCH_CHARACTERS * 2, 5]
    found = list(tokens.batches(iter(sizes), lambda size: size))
    assert [size for batch in found for size in batch] == sizes
    assert all(len(batch) <= tokens.BATCH_TEXTS for batch in found)
    assert all(sum(batch) <= tokens.BATCH_CHARACTERS or len(batch) == 1 for batch in found)
    assert len(found) <= 8


def test_a_slow_tokenizer_is_refused():
    from transformers import ByT5Tokenizer

    with pytest.raises(SetupError, match="a fast tokenizer is needed"):
        tokens.encode(ByT5Tokenizer(), "x")
