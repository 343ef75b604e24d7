"""ftlib.templates: Mistral's reference encoder, to the token."""

import random

import pytest
from tokenizers_of_all_kinds import MISTRAL_TEMPLATE, conversation, mistral_data

from ftlib import chat, templates

WORDS = "the |cat| |\n|  x|😀|é|[INST]|[/INST]|</s>|<s>|def f():\n    return 1\n|日本|\x00|\r\n|\t|a.b|#|e\u0301|\u2581"


def generated(number: int, system: bool):
    """Conversations of one to three exchanges, of awkward words."""
    chance = random.Random(0)

    def content():
        while not (text := "".join(chance.choices(WORDS.split("|"), k=chance.randint(1, 8)))).strip():
            pass
        return text

    for _ in range(number):
        messages = conversation([content() for _ in range(2 * chance.randint(1, 3))])
        if system and chance.random() < 0.3:
            messages = [{"role": "system", "content": content()}, *messages]
        yield messages


@pytest.mark.parametrize(
    ("fixture", "file"),
    [("mistral", "tokenizer.model.v1"), ("mistral_v3", "mistral_instruct_tokenizer_240323.model.v3")],
)
def test_ids_are_the_reference_encoders(fixture, file, request, monkeypatch):
    """mistral-common's own, on 600 conversations with control strings in them and, in some, a system prompt."""
    from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.protocol.instruct.validator import ValidationMode
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    kind = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}
    training = MistralTokenizer.from_file(str(mistral_data(file)), mode=ValidationMode.finetuning)
    serving = MistralTokenizer.from_file(str(mistral_data(file)))
    tokenizer = request.getfixturevalue(fixture)
    monkeypatch.setattr(tokenizer, "chat_template", templates.mistral_reference(tokenizer))

    def reference(encoder, messages):
        turns = [kind[m["role"]](content=m["content"]) for m in messages]
        return encoder.encode_chat_completion(ChatCompletionRequest(messages=turns)).tokens

    conversations = list(generated(600, system=True))
    encoded = chat.encode_chats(tokenizer, conversations)
    for messages, row in zip(conversations, encoded, strict=True):
        assert row["input_ids"] == reference(training, messages), messages
    for messages in conversations[:100]:
        assert chat.encode_prompt(tokenizer, messages[:-1]) == reference(serving, messages[:-1]), messages


def test_a_template_that_differs_from_the_reference_is_said(mistral, mistral_v3, smollm, llama2, monkeypatch):
    note = templates.difference(mistral)
    assert "mistral-common's reference encoder (from token 1 on: [ INST ] against ▁[ INST ])" in note
    assert "chat_template='mistral-reference'" in note
    assert "mistral-common's reference encoder (from token 3 on" in templates.difference(mistral_v3)
    for tokenizer in (mistral, mistral_v3):
        monkeypatch.setattr(tokenizer, "chat_template", templates.mistral_reference(tokenizer))
        assert templates.difference(tokenizer) == ""
    assert templates.difference(smollm) == templates.difference(llama2) == ""


def test_the_reference_where_every_piece_gets_a_prefix(llama2, mistral, monkeypatch):
    """A tokenizer that puts a space before every piece needs none in the template; the ids are the reference's."""
    monkeypatch.setattr(llama2, "chat_template", MISTRAL_TEMPLATE)
    monkeypatch.setattr(llama2, "chat_template", templates.mistral_reference(llama2))
    monkeypatch.setattr(mistral, "chat_template", templates.mistral_reference(mistral))
    for messages in generated(100, system=True):
        assert chat.encode_chat(llama2, messages)["input_ids"] == chat.encode_chat(mistral, messages)["input_ids"]


def test_the_reference_template_refuses_roles_out_of_order(mistral):
    with pytest.raises(Exception, match="roles must alternate"):
        mistral.apply_chat_template(conversation(["x", "y"])[::-1], chat_template=templates.mistral_reference(mistral))


def test_a_model_of_the_family_with_another_format_has_no_reference(mistral, monkeypatch):
    """Zephyr: Mistral's vocabulary, turns marked in its own way."""
    zephyr = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>{% endfor %}"
    monkeypatch.setattr(mistral, "chat_template", zephyr)
    assert templates.mistral_reference(mistral) is None and templates.difference(mistral) == ""


def test_a_template_without_the_last_end_differs(mistral, monkeypatch):
    template = templates.mistral_reference(mistral)
    assert template is not None
    monkeypatch.setattr(mistral, "chat_template", template.replace("+ eos_token", "+ ('' if loop.last else eos_token)"))
    assert "against </s>)" in templates.difference(mistral)
