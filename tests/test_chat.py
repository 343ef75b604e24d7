"""ftlib.chat: the template's own ids, content that cannot end a turn, loss where it belongs."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ftlib import chat
from ftlib.chat import IGNORE
from ftlib.errors import SetupError

CONTROL = ["</s>", "<s>", "<unk>", "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|im_end|>\n<|im_start|>system\n"]
PIECES = [
    "Hi",
    " there",
    "\n",
    "\n\n",
    "  ",
    "\r\n",
    "\t",
    "(",
    "](",
    "> ",
    "<",
    "|im_",
    "/s>",
    "[INST]",
    "[/INST]",
    "user",
]
PIECES += [
    "assistant\n",
    "0",
    "system",
    "😀",
    "e\u0301",
    "\x00",
    "\ue000",
    "\ue0000\ue001",
    "日本",
    "```py\nx = 1\n```",
    "{{ bos_token }}",
]
characters = st.characters(
    exclude_categories=["Cs"], exclude_characters="\x04\x06\x13\x14\x16\x1d", max_codepoint=0x3FFFF
)
parts = st.one_of(st.sampled_from(PIECES), st.text(characters, max_size=8))


def has_control(text: str) -> bool:
    return any(word in text for word in CONTROL)


contents = st.lists(parts, min_size=1, max_size=6).map("".join).filter(lambda t: t.strip() and not has_control(t))
modest = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def conversation(texts: list[str]) -> list[dict[str, str]]:
    return [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]


@st.composite
def chats(draw, content=contents):
    """A whole chat: one to three turns."""
    turns = draw(st.integers(1, 3))
    return conversation(draw(st.lists(content, min_size=2 * turns, max_size=2 * turns)))


def allows_system(tokenizer) -> bool:
    return "Only user and assistant" not in tokenizer.chat_template


def template_ids(tokenizer, messages, **more) -> list[int]:
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **more)


def runs(tokenizer, encoded) -> list[str]:
    """The text of each run of tokens that carries loss."""
    found, run = [], []
    for token, label in zip([*encoded["input_ids"], None], [*encoded["labels"], IGNORE], strict=True):
        assert label in (token, IGNORE)
        if label != IGNORE:
            run.append(token)
        elif run:
            # Behind another token, since SentencePiece takes a space from the first of a text.
            ahead = tokenizer("x", add_special_tokens=False)["input_ids"]
            found.append(tokenizer.decode(ahead + run, clean_up_tokenization_spaces=False).removeprefix("x"))
            run = []
    return found


# --- parity with the template -----------------------------------------------------------------------------------------


@modest
@given(messages=chats(), system=st.none() | contents)
@example(messages=conversation(["\ue0000\ue001", "\ue0001\ue001"]), system=None)
@example(messages=conversation(["user", "assistant"]), system="system")
def test_ids_are_the_templates(tokenizer, messages, system):
    if system is not None and allows_system(tokenizer):
        messages = [{"role": "system", "content": system}, *messages]
    encoded = chat.encode_chat(tokenizer, messages)
    assert encoded["input_ids"] == template_ids(tokenizer, messages)
    assert encoded["labels"] == encoded["input_ids"]
    assert encoded["labels"] is not encoded["input_ids"]
    prompt = messages[:-1]
    assert chat.encode_prompt(tokenizer, prompt) == template_ids(tokenizer, prompt, add_generation_prompt=True)


def test_ids_are_the_reference_encoders(mistral):
    """With a template written to mistral-common's encoder (spaces outside the brackets), its ids."""
    import mistral_common
    from mistral_common.protocol.instruct.messages import AssistantMessage, UserMessage
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    data = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
    messages = conversation(["Who are you?", "Hi", "  And then?\n", "Nothing: </s> is text."])
    turns = [(AssistantMessage if m["role"] == "assistant" else UserMessage)(content=m["content"]) for m in messages]
    request = ChatCompletionRequest(messages=turns[:3])
    expected = MistralTokenizer.from_file(str(data)).encode_chat_completion(request).tokens
    written = mistral.chat_template
    try:
        mistral.chat_template = written.replace("'[INST] '", "' [INST] '").replace(
            "{{ message['content'] + eos_token }}", "{{ ' ' + message['content'] + eos_token }}"
        )
        assert chat.encode_prompt(mistral, messages[:3]) == expected
        assert chat.encode_chat(mistral, messages)["input_ids"][: len(expected)] == expected
    finally:
        mistral.chat_template = written


# --- control strings --------------------------------------------------------------------------------------------------


@modest
@given(messages=chats(), data=st.data())
def test_content_makes_no_control_tokens(tokenizer, messages, data):
    spiked = []
    for message in messages:
        text = message["content"]
        for word in data.draw(st.lists(st.sampled_from(CONTROL), max_size=2)):
            at = data.draw(st.integers(0, len(text)))
            text = text[:at] + word + text[at:]
        spiked.append({**message, "content": text})
    control = chat.control_ids(tokenizer)

    def controls(messages, loss_on="all", key="input_ids"):
        return [token for token in chat.encode_chat(tokenizer, messages, loss_on)[key] if token in control]

    assert controls(spiked) == controls(messages)
    assert controls(spiked, "assistant", "labels") == [tokenizer.eos_token_id] * (len(messages) // 2)
    # And the ids still say the same text.
    ids = chat.encode_chat(tokenizer, spiked)["input_ids"]
    text = tokenizer.apply_chat_template(spiked, tokenize=False)
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text.replace("\u2581", " ")
    prompt = chat.encode_prompt(tokenizer, spiked[:-1])
    assert len([i for i in prompt if i in control]) == len(
        [i for i in template_ids(tokenizer, messages[:-1], add_generation_prompt=True) if i in control]
    )


def test_the_frame_is_the_same_around_control_strings(tokenizer):
    """A control string in one message changes no id of the others, nor of the template's words."""
    plain = conversation(["A question", "Yes", "Another", "No"])
    spiked = conversation(["A question", "Yes", "Another", "No </s><|im_end|>"])
    ids, other = (chat.encode_chat(tokenizer, messages)["input_ids"] for messages in (plain, spiked))
    shared = len(chat.encode_prompt(tokenizer, plain[:3])) + 1  # to the end of "No"
    assert ids[:shared] == other[:shared]
    assert ids[shared - len(ids) :] == other[shared - len(ids) :]
    spiked = conversation(["</s><|im_end|>", "Yes", "Another", "No"])
    from_second_turn = len(ids) - len(chat.encode_prompt(tokenizer, plain[:1]))
    assert chat.encode_chat(tokenizer, spiked)["input_ids"][-from_second_turn:] == ids[-from_second_turn:]


# --- labels -----------------------------------------------------------------------------------------------------------


@modest
@given(messages=chats(), system=st.none() | contents)
def test_loss_falls_on_the_answers_and_their_ends(tokenizer, messages, system):
    if system is not None and allows_system(tokenizer):
        messages = [{"role": "system", "content": system}, *messages]
    encoded = chat.encode_chat(tokenizer, messages, "assistant")
    assert encoded["input_ids"] == template_ids(tokenizer, messages)
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    found = runs(tokenizer, encoded)
    assert len(found) == len(answers)
    for said, answer in zip(found, answers, strict=True):
        expected = (answer + tokenizer.eos_token).replace("\u2581", " ")
        assert said.endswith(expected)
        # A token may reach over the border: "\n" + "\n", "]" + "(".
        extra = said.removesuffix(expected)
        assert len(extra) <= 2 and "<|im_start|>assistant\n [/INST]".find(extra) >= 0


def test_labels_of_a_plain_chat_to_the_token(smollm, mistral):
    messages = conversation(["Who?", "Me.", "Where?", "Here, </s> and <|im_end|>."])
    for tokenizer in (smollm, mistral):
        found = runs(tokenizer, chat.encode_chat(tokenizer, messages, "assistant"))
        assert found == [f"Me.{tokenizer.eos_token}", f"Here, </s> and <|im_end|>.{tokenizer.eos_token}"]
    labels = chat.encode_chat(smollm, messages, "assistant")["labels"]
    assert labels[-1] == IGNORE  # the line break after <|im_end|> is the template's


def test_content_that_the_template_says_itself(smollm, monkeypatch):
    """Where a message lies is not found by searching for its words."""
    monkeypatch.setattr(smollm, "chat_template", smollm.chat_template.replace("helpful", "helpful 0, 1, 2 and 3"))
    for texts in (
        ["user", "assistant", "system", "helpful"],
        ["0", "1", "2", "3"],
        ["a", "a", "a", "a"],
        ["1", "0", "1", "0"],
    ):
        messages = conversation(texts)
        encoded = chat.encode_chat(smollm, messages, "assistant")
        assert encoded["input_ids"] == template_ids(smollm, messages)
        assert runs(smollm, encoded) == [f"{texts[1]}<|im_end|>", f"{texts[3]}<|im_end|>"]


def test_a_template_that_trims(smollm, monkeypatch):
    monkeypatch.setattr(
        smollm, "chat_template", smollm.chat_template.replace("message['content']", "message['content'] | trim")
    )
    messages = conversation(["  Who? \n", "\n Me. <|im_end|> ", "Where?", " Here.\n\n"])
    encoded = chat.encode_chat(smollm, messages, "assistant")
    assert runs(smollm, encoded) == ["Me. <|im_end|><|im_end|>", "Here.<|im_end|>"]
    plain = conversation(["  Who? \n", "\n Me. "])
    assert chat.encode_chat(smollm, plain)["input_ids"] == template_ids(smollm, plain)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "a list of messages was expected, found list"),
        (None, "a list of messages was expected, found NoneType"),
        ({"role": "user", "content": "x"}, "a list of messages was expected, found dict"),
        (["x"], "message 0: a dict with a role of system, user, assistant"),
        ([{"role": "human", "content": "x"}], "message 0: a dict with a role"),
        ([{"content": "x"}], "message 0: a dict with a role"),
        ([{"role": "user"}], r"message 0 \(user\): the content is empty or not a string"),
        (conversation(["x", " \n"]), r"message 1 \(assistant\): the content is empty or not a string"),
        ([{"role": "user", "content": ["x"]}], r"message 0 \(user\): the content is empty or not a string"),
        (conversation(["x", "y"])[::-1], "user, assistant, user, ...; found assistant, user"),
        ([*conversation(["x"]), *conversation(["y"])], "found user, user"),
        ([{"role": "system", "content": "x"}], "found system"),
        ([*conversation(["x"]), {"role": "system", "content": "y"}], "found user, system"),
    ],
)
def test_wrong_messages(smollm, messages, reason):
    for check in (chat.encode_chat, chat.encode_prompt):
        with pytest.raises(SetupError, match=reason):
            check(smollm, messages)
    with pytest.raises(SetupError, match="^row 7"):
        chat.check_messages(messages, "row 7")


def test_the_last_word(smollm):
    with pytest.raises(SetupError, match="must be the assistant's"):
        chat.encode_chat(smollm, conversation(["x", "y", "z"]))
    with pytest.raises(SetupError, match="must end with the user's message"):
        chat.encode_prompt(smollm, conversation(["x", "y"]))


def test_a_template_that_knows_no_system_message(mistral):
    messages = [{"role": "system", "content": "Be brief."}, *conversation(["x", "y"])]
    with pytest.raises(SetupError, match="mistral.* refused the messages: .*roles must alternate"):
        chat.encode_chat(mistral, messages)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "has no chat template"),
        (
            "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}|{% endif %}{% endfor %}",
            "leaves out or repeats",
        ),
        ("{% for m in messages %}{{ m.content }}|{{ m.content }}|{% endfor %}", "leaves out or repeats a message"),
        ("{% for m in messages %}{{ m.content | upper }}|{% endfor %}", "rewrites a message: 's'"),
        ("{% for m in messages %}{{ m.content }", "refused the messages"),
    ],
)
def test_a_template_that_cannot_be_followed(smollm, monkeypatch, template, reason):
    monkeypatch.setattr(smollm, "chat_template", template)
    messages = [{"role": "system", "content": "s"}, *conversation(["x", "y"])]
    with pytest.raises(SetupError, match=reason) as caught:
        chat.encode_chat(smollm, messages)
    assert smollm.name_or_path in str(caught.value)
