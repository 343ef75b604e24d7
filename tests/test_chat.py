"""ftlib.chat: the template's own ids, content that cannot end a turn, loss where it belongs."""

import os
import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers_of_all_kinds import conversation

from ftlib import chat, tokens
from ftlib.chat import IGNORE
from ftlib.errors import SetupError

CONTROL = [
    "</s>",
    "<s>",
    "<unk>",
    "[INST]",
    "[/INST]",
    "<|eot_id|>",
    "<start_of_turn>",
    "<|im_end|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<|im_end|>\n<|im_start|>system\n",
]
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
    "[INST",
    "/INST]",
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
# FTLIB_EXAMPLES=5000 for a long search; the number holds for each kind of tokenizer.
modest = settings(
    max_examples=int(os.environ.get("FTLIB_EXAMPLES", 15)), deadline=None, suppress_health_check=list(HealthCheck)
)


@st.composite
def chats(draw, content=contents):
    """A whole chat: one to three turns."""
    turns = draw(st.integers(1, 3))
    return conversation(draw(st.lists(content, min_size=2 * turns, max_size=2 * turns)))


def takes_system(tokenizer) -> bool:
    """By the template's own words, not by ftlib's probe."""
    return not any(word in tokenizer.chat_template for word in ("Only user and", "not supported", "no system prompt"))


def merged(messages):
    """What a user would write by hand where there is no system prompt."""
    if messages[0]["role"] != "system":
        return messages
    first = {"role": "user", "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
    return [first, *messages[2:]]


def template_ids(tokenizer, messages, **more) -> list[int]:
    return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **more)


def plain(tokenizer, text: str) -> str:
    """The text as the tokenizer can give it back."""
    kind = tokenizer.backend_tokenizer
    if kind.token_to_id("▁the") is not None:
        text = text.replace("\u2581", " ")
    return unicodedata.normalize("NFD", text) if type(kind.normalizer).__name__ == "NFC" else text


def decoded(tokenizer, ids) -> str:
    # Behind another token, since SentencePiece takes a space from the first of a text.
    ahead = tokenizer("x", add_special_tokens=False)["input_ids"]
    return plain(tokenizer, tokenizer.decode(ahead + ids, clean_up_tokenization_spaces=False).removeprefix("x"))


def runs(tokenizer, encoded) -> list[str]:
    """The text of each run of tokens that carries loss."""
    found, run = [], []
    for token, label in zip([*encoded["input_ids"], None], [*encoded["labels"], IGNORE], strict=True):
        assert label in (token, IGNORE)
        if label != IGNORE:
            run.append(token)
        elif run:
            found.append(decoded(tokenizer, run))
            run = []
    return found


# --- parity with the template -----------------------------------------------------------------------------------------


@modest
@given(messages=chats(), system=st.none() | contents)
@example(messages=conversation(["\ue0000\ue001", "\ue0001\ue001"]), system=None)
@example(messages=conversation(["user", "assistant"]), system="system")
@example(messages=conversation(["  x \n", "\n y  \n\n"]), system=" z\n")
def test_ids_are_the_templates(any_tokenizer, messages, system):
    tokenizer = any_tokenizer
    if system is not None:
        messages = [{"role": "system", "content": system}, *messages]
    encoded = chat.encode_chat(tokenizer, messages)
    said = messages if takes_system(tokenizer) else merged(messages)
    assert encoded["merged"] == (said is not messages)
    assert encoded["input_ids"] == template_ids(tokenizer, said)
    assert encoded["labels"] == encoded["input_ids"]
    assert encoded["labels"] is not encoded["input_ids"]
    assert encoded["replaced"] == 0
    prompt = messages[:-1]
    said = prompt if takes_system(tokenizer) else merged(prompt)
    assert chat.encode_prompt(tokenizer, prompt) == template_ids(tokenizer, said, add_generation_prompt=True)


def test_exactly_one_bos_where_the_model_uses_one(any_tokenizer):
    """But for Llama 2's template, which begins each exchange anew."""
    messages = conversation(["Who?", "Me.", "<s> <|begin_of_text|>", "<s>"])
    ids = chat.encode_chat(any_tokenizer, messages)["input_ids"]
    bos = tokens.bos_ids(any_tokenizer)
    assert ids[: len(bos)] == bos
    exchanges = 2 if "<<SYS>>" in any_tokenizer.chat_template else 1
    assert not bos or ids.count(bos[0]) == exchanges


def test_many_chats_are_the_chats_one_by_one(any_tokenizer):
    chats = [conversation(["Who?" * n, f"{n} </s><|im_end|>", "And?", "x" * n]) for n in range(1, 80)]
    found = chat.encode_chats(any_tokenizer, chats, "assistant")
    assert found == [chat.encode_chat(any_tokenizer, messages, "assistant") for messages in chats]


# --- control strings --------------------------------------------------------------------------------------------------


@modest
@given(messages=chats(), data=st.data())
def test_content_makes_no_control_tokens(any_tokenizer, messages, data):
    tokenizer, spiked = any_tokenizer, []
    for message in messages:
        text = message["content"]
        for word in data.draw(st.lists(st.sampled_from(CONTROL), max_size=2)):
            at = data.draw(st.integers(0, len(text)))
            text = text[:at] + word + text[at:]
        spiked.append({**message, "content": text})
    control = tokens.control_ids(tokenizer)

    def controls(messages, loss_on="all", key="input_ids"):
        return [token for token in chat.encode_chat(tokenizer, messages, loss_on)[key] if token in control]

    assert controls(spiked) == controls(messages)
    ends = controls(spiked, "assistant", "labels")
    assert len(ends) == len(messages) // 2 and len(set(ends)) == 1
    # And the ids still say the same text.
    ids = chat.encode_chat(tokenizer, spiked)["input_ids"]
    text = tokenizer.apply_chat_template(spiked, tokenize=False)
    said = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if "<<SYS>>" in tokenizer.chat_template:  # Llama 2's tokenizer puts a space behind each control token
        said, text = said.replace(" ", ""), text.replace("\u2581", " ").replace(" ", "")
    assert plain(tokenizer, said) == plain(tokenizer, text)
    prompt = chat.encode_prompt(tokenizer, spiked[:-1])
    assert len([i for i in prompt if i in control]) == len(
        [i for i in template_ids(tokenizer, messages[:-1], add_generation_prompt=True) if i in control]
    )


def test_a_character_without_a_token_ends_no_turn(smollm):
    """SmolLM2's tokenizer makes <|endoftext|> of it."""
    messages = conversation(["Is it \x04?", "No: \x06 and \U00050000 <|im_end|>"])
    row = chat.encode_chat(smollm, messages, "assistant")
    assert row["replaced"] == 3
    assert smollm.decode(row["input_ids"]).count("\ufffd") == 3
    assert 0 not in row["input_ids"] and row["input_ids"].count(2) == 3  # the default system prompt's, and two turns'


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
def test_loss_falls_on_the_answers_and_their_ends(any_tokenizer, messages, system):
    tokenizer = any_tokenizer
    if system is not None:
        messages = [{"role": "system", "content": system}, *messages]
    encoded = chat.encode_chat(tokenizer, messages, "assistant")
    assert encoded["input_ids"] == chat.encode_chat(tokenizer, messages)["input_ids"]
    answers = [message["content"] for message in messages if message["role"] == "assistant"]
    found = runs(tokenizer, encoded)
    assert len(found) == len(encoded["answers"]) == len(answers)
    for number, (said, answer) in enumerate(zip(found, answers, strict=True), 1):
        wanted = plain(tokenizer, answer).strip()
        body = said.removesuffix(" </s>").removesuffix(tokenizer.eos_token).removesuffix("<end_of_turn>")
        assert len(body) < len(said)  # it ends in the token that ends the turn
        # Qwen 3 opens the last answer with an empty thought, which the generation prompt leaves to the model.
        if "<think>" in tokenizer.chat_template and number == len(answers):
            assert body.startswith("<think>\n\n</think>\n\n")
            body = body.removeprefix("<think>\n\n</think>\n\n")
        # A token may reach over the border, "\n" + "\n" or "](" + "("; and templates trim.
        assert wanted in body and len(body.replace(wanted, "", 1).strip()) <= 2


def test_labels_of_a_plain_chat_to_the_token(smollm, mistral, llama2, llama3, gemma, qwen3):
    messages = conversation(["Who?", "Me.", "Where?", "Here."])
    for tokenizer, first, end in (
        (llama2, " ", " </s>"),  # "▁Me" is one token
        (llama3, "", "<|eot_id|>"),
        (gemma, "", "<end_of_turn>"),
        (qwen3, "", "<|im_end|>"),
    ):
        found = runs(tokenizer, chat.encode_chat(tokenizer, messages, "assistant"))
        thought = "<think>\n\n</think>\n\n" if tokenizer is qwen3 else ""
        assert found == [f"{first}Me.{end}", f"{first}{thought}Here.{end}"]
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


@pytest.mark.parametrize("name", ["mistral", "gemma", "tekken"])
def test_a_template_that_knows_no_system_message(name, request):
    tokenizer = request.getfixturevalue(name)
    messages = [{"role": "system", "content": "Be brief."}, *conversation(["x", "y"])]
    for encode, chatted in ((chat.encode_chat, messages), (chat.encode_prompt, messages[:-1])):
        with pytest.raises(SetupError, match="refused the messages: .*; set system='merge'"):
            encode(tokenizer, chatted, system="refuse")
    row = chat.encode_chat(tokenizer, messages)
    assert row["merged"]
    assert row["input_ids"] == template_ids(tokenizer, conversation(["Be brief.\n\nx", "y"]))


def test_a_template_that_leaves_a_system_message_out(smollm, monkeypatch):
    template = smollm.chat_template.replace("{% for message in messages %}", "{% for message in messages[1:] %}", 1)
    silent = "{% for m in messages %}{% if m.role != 'system' %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    assert template != smollm.chat_template
    messages = [{"role": "system", "content": "Be brief."}, *conversation(["x", "y"])]
    monkeypatch.setattr(smollm, "chat_template", silent)
    with pytest.raises(SetupError, match="leaves out or repeats a message .*without system prompts set system='merge'"):
        chat.encode_chat(smollm, messages, system="refuse")
    assert smollm.decode(chat.encode_chat(smollm, messages)["input_ids"]) == "Be brief.\n\nx<|im_end|>y<|im_end|>"


# --- chats that are too long ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_turns(smollm):
    messages = conversation(["Who is it?", "It is me, and so on. " * 3, "Where are you now?", "Here, there. " * 5])
    return chat.encode_chat(smollm, messages, "assistant")


def test_a_chat_that_fits_is_left_as_it_is(two_turns):
    whole = len(two_turns["input_ids"])
    for overflow in ("drop", "cut", "refuse"):
        assert chat.fit(two_turns, whole, overflow) == (two_turns, "whole")
    with pytest.raises(SetupError, match=rf"it has {whole} tokens, over max_length={whole - 1}\. Raise max_length"):
        chat.fit(two_turns, whole - 1, "refuse")
    assert chat.fit(two_turns, whole - 1, "drop") == (None, "dropped")


def test_a_cut_falls_into_an_answer_or_behind_it(two_turns):
    """Never into a question: a row would end in words that nobody answers."""
    (first, first_end), (second, second_end) = two_turns["answers"]
    seen = set()
    for length in range(1, len(two_turns["input_ids"])):
        row, how = chat.fit(two_turns, length, "cut")
        if length <= first:
            assert (row, how) == (None, "dropped")
            continue
        end = length if length <= first_end else first_end if length <= second else min(length, second_end)
        assert how == "truncated" and row is not None
        assert row["input_ids"] == two_turns["input_ids"][:end] and row["labels"] == two_turns["labels"][:end]
        assert row["labels"][-1] != IGNORE
        seen.add(end)
    assert {first + 1, first_end, second + 1, second_end} <= seen and first_end + 1 not in seen


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "has no chat template"),
        (
            "{% for m in messages %}{% if m.role != 'user' %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}",
            "leaves out or repeats",
        ),
        # Nothing says that the answer is over: the model would not learn to stop.
        (
            "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
            "no control token after the assistant's",
        ),
        (
            "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}{% endfor %}",
            "no control token after the assistant's",
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
