"""Each pane answers its own conversation, with its own weights. The page itself is tested where gradio is installed."""

from __future__ import annotations

import html
import sys
import threading

import pytest
import torch

from ftlib import chat
from ftlib.errors import SetupError
from ftlib.evaluation import chat_pane as module
from ftlib.evaluation.chat_pane import chat_pane, reply
from ftlib.generation import generate
from ftlib.inference import ARMS, arm

FIRST, SECOND = "What is the message bus of brindlewick?", "And before that?"
EMPTY: dict[str, list] = {"base": [], "tuned": []}


@pytest.fixture(scope="module")
def loaded(noisy, one_thread):
    return noisy[:2]


def ask(loaded, histories, prompt, **more):
    return reply(loaded[0], loaded[1], histories, prompt, **more)


@pytest.fixture
def prompts(monkeypatch):
    """The messages of each prompt that is encoded, in order."""
    seen: list[list[dict]] = []
    real = chat.encode_prompt

    def noted(tokenizer, messages):
        seen.append(messages)
        return real(tokenizer, messages)

    monkeypatch.setattr(chat, "encode_prompt", noted)
    return seen


def test_the_answers_are_those_of_the_arms(loaded):
    model, tokenizer = loaded
    found = ask(loaded, EMPTY, FIRST, max_new_tokens=12)
    for name in ARMS:
        with arm(model, name):
            (answer,) = generate(model, tokenizer, [FIRST], max_new_tokens=12)
        assert found[name] == [{"prompt": FIRST, "answer": answer["text"], "ended": answer["ended"]}]
    assert found["base"] != found["tuned"] and EMPTY == {"base": [], "tuned": []}


def test_a_pane_goes_on_with_its_own_conversation(loaded, prompts):
    model, tokenizer = loaded
    histories = ask(loaded, EMPTY, FIRST, max_new_tokens=12)
    found = ask(loaded, histories, SECOND, max_new_tokens=12)
    for name, messages in zip(ARMS, prompts[2:], strict=True):
        assert [m["role"] for m in messages] == ["user", "assistant", "user"]
        assert [m["content"] for m in messages] == [FIRST, histories[name][0]["answer"], SECOND]
        assert found[name][0] == histories[name][0] and len(found[name]) == 2
        ids = torch.tensor([chat.encode_prompt(tokenizer, messages)])
        with arm(model, name):
            out = model.generate(input_ids=ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
        out = out[0, ids.shape[1] :].tolist()
        out = out[: out.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in out else out
        assert found[name][1]["answer"] == tokenizer.decode(out, skip_special_tokens=True).strip()


def test_an_empty_answer_is_no_turn_of_the_prompt(loaded, prompts):
    silent = {"prompt": FIRST, "answer": "", "ended": True}
    said = {"prompt": FIRST, "answer": "NATS.", "ended": True}
    found = ask(loaded, {"base": [silent], "tuned": [said]}, SECOND, max_new_tokens=4)
    assert [len(messages) for messages in prompts] == [1, 3]
    assert found["base"][0] == silent and [len(found[name]) for name in ARMS] == [2, 2]
    with pytest.raises(SetupError, match="content is empty"):
        ask(loaded, EMPTY, "  ")


def test_temperature_samples_by_the_seed(loaded):
    greedy, once, again, other = (
        ask(loaded, EMPTY, FIRST, max_new_tokens=12, temperature=temperature, seed=seed)
        for temperature, seed in ((0, 1), (1.0, 1), (1.0, 1), (1.0, 2))
    )
    assert once == again and once != other and once != greedy


def test_the_scale_is_of_one_answer_and_of_the_tuned_arm(loaded):
    full, none, half, after = (ask(loaded, EMPTY, FIRST, max_new_tokens=12, scale=scale) for scale in (1, 0, 0.5, 1))
    assert none["tuned"] == none["base"] and half["tuned"] not in (full["tuned"], none["tuned"])
    assert after == full and len({str(answers["base"]) for answers in (full, none, half)}) == 1


def test_two_at_once_do_not_switch_each_others_arm(loaded):
    want = ask(loaded, EMPTY, FIRST, max_new_tokens=24)
    found: list[dict] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(loaded, EMPTY, FIRST, max_new_tokens=24))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [want] * 4


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SetupError, match="pip install 'gradio>=6'"):
        chat_pane(None, None)


def test_the_page_answers(loaded, monkeypatch):
    gradio = pytest.importorskip("gradio")
    client = pytest.importorskip("gradio_client")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    hostile = "<b>bold</b> **stars** $$x$$ &lt;"
    real = module.reply

    def also_hostile(*args, **more):
        found = real(*args, **more)
        found["tuned"][-1] |= {"answer": hostile, "ended": False}
        return found

    monkeypatch.setattr(module, "reply", also_hostile)
    blocks = chat_pane(loaded[0], loaded[1], max_new_tokens=8)
    (pane, other) = (block for block in blocks.blocks.values() if isinstance(block, gradio.Chatbot))
    for one in (pane, other):
        assert not one.render_markdown and one.sanitize_html and one.latex_delimiters == []
    assert not blocks.analytics_enabled
    _, url, _ = blocks.launch(share=False, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    try:
        page = client.Client(url, verbose=False)
        want = ask(loaded, EMPTY, FIRST, max_new_tokens=8)
        for turns in (1, 2):
            box, base, tuned = page.predict(FIRST, 0, 1, api_name="/send")
            said = [[part["text"] for message in pane for part in message["content"]] for pane in (base, tuned)]
            assert box == "" and [len(texts) for texts in said] == [2 * turns] * 2
            assert said[1][-1] == "&lt;b&gt;bold&lt;/b&gt; **stars** $$x$$ &amp;lt; [cut]"
            if turns == 1:
                assert html.unescape(said[0][1]).removesuffix(" [cut]") == want["base"][0]["answer"]
        assert page.predict(api_name="/clear") == ("", [], [])
        with pytest.raises(Exception, match="content is empty"):
            page.predict(" ", 0, 1, api_name="/send")
        assert len(page.predict(FIRST, 0, 1, api_name="/send")[1]) == 2
    finally:
        blocks.close()
