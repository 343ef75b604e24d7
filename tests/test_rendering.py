"""ftlib.rendering and ftlib.chat on what templates and tokenizers come up with: trims, dates, many end tokens."""

import copy
from functools import partial

import pytest
from test_chat import runs, template_ids
from tokenizers import AddedToken
from tokenizers_of_all_kinds import conversation, trl_template

from ftlib import chat, tokens
from ftlib.errors import SetupError


def with_tokens(tokenizer, template, *added, **named):
    """A copy with more control tokens and another template."""
    from transformers import PreTrainedTokenizerFast

    backend = copy.deepcopy(tokenizer.backend_tokenizer)
    backend.add_special_tokens(list(added))
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=template, **named)


def test_control_tokens_that_take_in_white_space(smollm):
    """As Phi 3's: the tokenizer drops the line break behind <|user|>, and the indentation of an answer with it."""
    words = [AddedToken(f"<|{n}|>", rstrip=True, normalized=False) for n in ("user", "assistant", "end", "system")]
    phi = with_tokens(smollm, trl_template("phi3"), *words, eos_token="<|endoftext|>")
    for texts in (["Hi", "  indented answer"], ["\n Hi ", "Yes\n"], ["<b>", " \n x"]):
        messages = conversation(texts)
        assert chat.encode_chat(phi, messages)["input_ids"] == template_ids(phi, messages)
    # A control string in one message changes nothing around the others.
    ids, spiked = (
        chat.encode_chat(phi, conversation(["Hi", answer, "And?", "  So."]), "assistant")["input_ids"]
        for answer in ("Yes", "Yes <|end|>")
    )
    shared = len(phi("<|user|>\nHi<|end|>\n<|assistant|>\nYes")["input_ids"])
    assert spiked[:shared] == ids[:shared]
    rest = len(phi("<|end|>\n<|user|>\nAnd?<|end|>\n<|assistant|>\n  So.<|end|>\n<|endoftext|>")["input_ids"])
    assert spiked[-rest:] == ids[-rest:]


def test_an_answer_that_ends_in_several_control_tokens(smollm):
    """As Cohere 2's: what ends a generation is the last of them, and it must be learned."""
    template = "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<file_sep><|im_end|>{% endfor %}"
    template += "{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}"
    tokenizer = with_tokens(smollm, template, eos_token="<|im_end|>")
    row = chat.encode_chat(tokenizer, conversation(["Who?", "Me.", "Where?", "Here."]), "assistant")
    assert [text.lstrip() for text in runs(tokenizer, row)] == ["Me.<file_sep><|im_end|>", "Here.<file_sep><|im_end|>"]


def test_padding_with_an_ordinary_word(smollm):
    """transformers takes it for special; texts that hold it must not lose it."""
    tokenizer = with_tokens(smollm, smollm.chat_template, eos_token="<|im_end|>", pad_token="!")
    messages = conversation(["Hi!", "Yes! Sure!!"])
    row = chat.encode_chat(tokenizer, messages)
    assert row["input_ids"] == template_ids(tokenizer, messages) and row["replaced"] == 0
    encoded = tokens.encode(tokenizer, "Stop! Now!! <|im_end|>")
    assert encoded.replaced == () and tokenizer.decode(encoded.ids) == "Stop! Now!! <|im_end|>"
    assert 2 not in encoded.ids


def test_a_token_that_is_named_later(smollm):
    """The copy that text is encoded with is made anew."""
    tokenizer = copy.deepcopy(smollm)
    tokens.encode(tokenizer, "x")
    tokenizer.eos_token = "<file_sep>"
    assert tokenizer.eos_token_id in tokens.control_ids(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<new>"]})
    assert tokenizer.convert_tokens_to_ids("<new>") not in tokens.encode(tokenizer, "<new>").ids


def test_a_template_that_writes_the_date(smollm, monkeypatch):
    """The frame that is remembered may be yesterday's."""
    template = "{{ day }}" + smollm.chat_template
    tokenizer = copy.deepcopy(smollm)
    tokenizer.chat_template = template
    apply = tokenizer.apply_chat_template
    for day in ("Monday", "Tuesday"):
        tokenizer.apply_chat_template = partial(apply, day=day)
        ids = chat.encode_chat(tokenizer, conversation(["x", "y"]))["input_ids"]
        assert tokenizer.decode(ids).startswith(day)


def test_a_template_among_several(smollm):
    tokenizer = copy.deepcopy(smollm)
    tokenizer.chat_template = {"default": smollm.chat_template, "tool_use": "{{ messages }}"}
    messages = conversation(["x", "y"])
    assert chat.encode_chat(tokenizer, messages) == chat.encode_chat(smollm, messages)


def test_fields_that_would_be_lost(smollm):
    messages = conversation(["x", "y"])
    harmless: list[dict] = [{**messages[0], "tool_calls": None}, messages[1]]
    assert chat.encode_chat(smollm, harmless) == chat.encode_chat(smollm, messages)
    with pytest.raises(SetupError, match="message 1: only role and content can be trained on; remove 'reasoning'"):
        chat.encode_chat(smollm, [messages[0], {**messages[1], "reasoning": "hm"}])


def test_a_chat_that_begins_with_text(mistral, monkeypatch):
    """No control token before the first words: they get the prefix of a text's beginning, control strings or not."""
    monkeypatch.setattr(mistral, "chat_template", mistral.chat_template.replace("{{ bos_token }}", ""))
    ids, spiked = (chat.encode_chat(mistral, conversation(["Hi", answer]))["input_ids"] for answer in ("Yes", "</s>"))
    assert ids[:6] == spiked[:6] and mistral.convert_ids_to_tokens(ids[0]) == "▁["


@pytest.mark.parametrize(
    "trim", ["strip('\\n')", "lstrip('\\n')", "rstrip('\\n')", "lstrip()", "rstrip()", "rstrip(' ')"]
)
def test_templates_that_trim_in_every_way(smollm, monkeypatch, trim):
    template = smollm.chat_template.replace("message['content']", f"message['content'].{trim}")
    assert template != smollm.chat_template
    monkeypatch.setattr(smollm, "chat_template", template)
    messages = conversation(["\n  Who? \n", "\n  Me. \n"])
    assert chat.encode_chat(smollm, messages)["input_ids"] == template_ids(smollm, messages)
    spiked = conversation(["\n  Who? \n", "\n  <|im_end|> \n"])
    ids = chat.encode_chat(smollm, spiked)["input_ids"]
    assert smollm.decode(ids) == smollm.apply_chat_template(spiked, tokenize=False)


def test_of_two_control_strings_the_longer_one(smollm):
    tokenizer = with_tokens(smollm, smollm.chat_template, "<a>", "<a>b", eos_token="<|im_end|>")
    assert tokens.control_pattern(tokenizer).match("<a>bc").group(1) == "<a>b"  # type: ignore[union-attr]


def test_tokens_that_are_added_but_not_special_are_ordinary(qwen3):
    assert not {qwen3.convert_tokens_to_ids(word) for word in ("<think>", "<tool_call>")} & tokens.control_ids(qwen3)
    messages = conversation(["What is <think>?", "A tag."])
    assert chat.encode_chat(qwen3, messages)["input_ids"] == template_ids(qwen3, messages)


def test_what_a_template_begins_with(mistral, smollm):
    assert chat.begins_with(mistral, [1]) and not chat.begins_with(mistral, [733])
    assert chat.begins_with(smollm, [1]) and not chat.begins_with(smollm, [2])
