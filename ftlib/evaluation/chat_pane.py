"""Talk to base and tuned model side by side: one prompt, both answer the conversation so far. For reading by hand.

    chat_pane(model, tokenizer).launch(share=False)         # model and tokenizer as of `ftlib.inference.load_arms`

gradio is no dependency of ftlib: `pip install 'gradio>=6'`. In Colab it shares a public link unless told otherwise. The
adapter is switched on and off on the one model: run no cell that uses the model while a pane answers.
"""

from __future__ import annotations

import html
import random
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ftlib import chat
from ftlib.errors import SetupError
from ftlib.generation import decode, stop_tokens
from ftlib.inference import ARMS, arm
from ftlib.training.whole import scaled

Turns = list[dict[str, Any]]

# Two tabs, or a pane of a cell that was run before: the model can be one arm at a time.
_ONE = threading.Lock()


def reply(
    model: Any,
    tokenizer: Any,
    histories: Mapping[str, Turns],
    prompt: str,
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    seed: int = 0,
    scale: float = 1.0,
) -> dict[str, Turns]:
    """Both arms' answers to a prompt, each after its own conversation.

    Args:
        histories: for each arm the turns so far: prompt, answer, ended (False: cut at max_new_tokens). A turn with an
            empty answer is not shown to the model again: no template has a place for it.
        temperature: of sampling, with top_p 0.95; 0: greedy.
        seed: of sampling. Both arms draw alike.
        scale: of the adapter, for this answer.

    Returns:
        for each arm its turns and the new one.

    Raises:
        SetupError: the prompt is empty.
    """
    stops = stop_tokens(tokenizer, model.generation_config.eos_token_id)
    sampling = {"temperature": temperature, "top_p": 0.95, "seed": seed} if temperature else None
    longer: dict[str, Turns] = {}
    for name in ARMS:
        messages = []
        for turn in histories[name]:
            if turn["answer"]:
                messages += [_message("user", turn["prompt"]), _message("assistant", turn["answer"])]
        ids = chat.encode_prompt(tokenizer, [*messages, _message("user", prompt)])
        with _ONE, scaled(model, scale), arm(model, name):
            ((_, found),) = decode(
                model,
                [ids],
                stops,
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id,
                sampling=sampling,
            )
        text = tokenizer.decode(found["ids"][: len(found["ids"]) - found["ended"]], skip_special_tokens=True).strip()
        longer[name] = [*histories[name], {"prompt": prompt, "answer": text, "ended": found["ended"]}]
    return longer


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def chat_pane(model: Any, tokenizer: Any, *, max_new_tokens: int = 256) -> Any:
    """The panes, base left and tuned right, as gradio Blocks that wait for `launch`.

    Args:
        model, tokenizer: as of `ftlib.inference.load_arms`.
        max_new_tokens: of an answer.

    Raises:
        SetupError: gradio is missing, or older than 6.
    """
    try:
        import gradio
    except ImportError as error:
        raise SetupError("The chat takes the package gradio: pip install 'gradio>=6'.") from error
    if int(gradio.__version__.partition(".")[0]) < 6:
        raise SetupError(f"The chat takes gradio 6, and this is {gradio.__version__}: pip install 'gradio>=6'.")

    def send(prompt: str, histories: dict[str, Turns], temperature: float, scale: float) -> tuple[Any, ...]:
        seed = random.randrange(2**31)
        more: dict[str, Any] = {"temperature": temperature, "seed": seed, "scale": scale}
        try:
            longer = reply(model, tokenizer, histories, prompt, max_new_tokens=max_new_tokens, **more)
        except SetupError as error:
            raise gradio.Error(str(error)) from error
        return "", longer, *(_shown(longer[name]) for name in ARMS)

    def empty() -> dict[str, Turns]:
        return {name: [] for name in ARMS}

    # What a model writes is text, never Markdown or formulas; against HTML see `_shown`. What is escaped is not copied.
    plain: dict[str, Any] = {"render_markdown": False, "latex_delimiters": [], "buttons": [], "height": 480}
    indented = "<style>.as-written .message-content * { white-space: pre-wrap }</style>"
    with gradio.Blocks(title="base and tuned", analytics_enabled=False, fill_width=True) as blocks:
        histories = gradio.State(empty())
        with gradio.Row():
            panes = [gradio.Chatbot(label=name, elem_classes="as-written", **plain) for name in ARMS]
        prompt = gradio.Textbox(show_label=False, placeholder="Ask both", submit_btn=True, autofocus=True)
        with gradio.Row():
            temperature = gradio.Slider(0, 1.5, 0, step=0.1, label="temperature (0: the likeliest tokens)")
            scale = gradio.Slider(0, 1.5, 1, step=0.1, label="adapter scale (tuned)")
            clear = gradio.Button("Clear")
        gradio.HTML(indented)
        everything = [prompt, histories, *panes]
        # One at a time, and what is cleared stays so: the two wait for each other.
        alone: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
        prompt.submit(send, [prompt, histories, temperature, scale], everything, api_name="send", **alone)
        clears = [clear.click, *(pane.clear for pane in panes)]
        gradio.on(clears, lambda: ("", empty(), [], []), None, everything, api_name="clear", **alone)
    return blocks


def _shown(turns: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Turns as the messages of a pane, escaped: even as plain text, gradio lets through HTML that runs no script.

    (6.31: `<img src=...>` is fetched, `<b>` is bold.)
    """
    messages = []
    for turn in turns:
        answer = (turn["answer"] or "(an empty answer)") + ("" if turn["ended"] else " [cut]")
        pair = [_message("user", turn["prompt"]), _message("assistant", answer)]
        messages += [{**message, "content": html.escape(message["content"], quote=False)} for message in pair]
    return messages
