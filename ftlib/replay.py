"""General chats that the base model writes itself, to be trained on beside the project's against forgetting.

A model that is shown only its new texts loses what it did before; shown its own answers to other things among them, it
keeps doing that (pseudo-rehearsal, Robins 1995; self-distillation). No data set need be downloaded: an instruct model
continues the opening of a user's turn with a question of its own (Magpie, Xu et al. 2024, arXiv:2406.08464), and
answers it. Some words that begin a question see to it that facts, formats and code are among them. How they are trained
on: `training.holding`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ftlib.errors import SetupError
from ftlib.general_items import KINDS, general_items
from ftlib.generation import answers, decode, stop_tokens
from ftlib.metrics import repetition
from ftlib.rendering import render
from ftlib.similar import near_duplicates
from ftlib.synth.journal import Journal

OPENINGS = (
    *([""] * 6),
    *"What|What is the|Who|Who was|When|Where|Which|Why|How|How many|How do I|Is|Can you|Name|Name three".split("|"),
    *"List|Explain|Describe|In one sentence,|In one word,|Give me|Answer with|Write|Write a|Translate".split("|"),
    *"Convert|Sort|Count|Calculate|Rewrite the sentence|Summarize|Return|Reply with|Capitalize|Spell".split("|"),
    *"What was|What does|What are|Who wrote|Who is|In which|In what year|Where is|Which of|Does|Tell me".split("|"),
    *["Write a Python function", "Write a Python function that returns", "In Python,", "Complete"],
    *["Write a TypeScript function", "Define a TypeScript interface", "In TypeScript,", "Write a JavaScript function"],
)
"""How a user's message begins; "": as the model likes."""
TEMPERATURE = 0.8
"""Of questions and answers. Greedily, so small a model falls into loops."""
QUESTION_TOKENS, ANSWER_TOKENS = 64, 256
"""At most. A longer question is left out; a longer answer is cut, and trained on without the token that ends one."""
REPETITIVE = 0.2
"""Answers with a longer loop (`metrics.repetition`) are left out."""
ROUND = 1024
"""Questions that are made and answered together; on a CPU 32."""


def own_chats(
    model: Any, tokenizer: Any, tokens: int, path: Path, *, seed: int = 0, rows: int = 0
) -> list[dict[str, Any]]:
    """Chats with at least `tokens` tokens of answers, of the base's own making.

    Args:
        model: the base, in eval mode, without an adapter or with it switched off.
        tokens: of the answers.
        path: a file in which each is kept as it ends: an interrupted call goes on, and one for more tokens goes on
            from those that are there. It must be of the same model and seed.
        seed: of the questions.
        rows: at once; 0: 1,024 on a GPU, 32 elsewhere.

    Returns:
        dicts of messages (a user's and an assistant's) and cut (whether the answer goes on), the same for the same
        model, seed and card.

    Raises:
        SetupError: of the first rounds nothing could be kept, as by a model that continues no user's turn.
    """
    rows = rows or (ROUND if model.device.type == "cuda" else 32)
    tested = [item["prompt"] for item in general_items(KINDS[:3])]
    with Journal(path) as journal:
        for number in count(step=rows):
            if (total := sum(kept["tokens"] for kept in _kept(journal, number))) >= tokens:
                break
            if number >= 4 * rows and not total:
                raise SetupError(
                    "The base model wrote no general chats of its own that could be kept: set replay_tokens=0, or "
                    "give some by `general`."
                )
            print(f"general chats by the base itself: {total:,} of {tokens:,} tokens")
            _round(model, tokenizer, journal, range(number, number + rows), seed, rows, tested)
        chosen, total = [], 0
        for kept in _kept(journal, number):
            if total >= tokens:
                break
            total += kept["tokens"]
            chosen.append({"messages": kept["messages"], "cut": kept["cut"]})
    return chosen


def _kept(journal: Journal, number: int) -> Iterator[Mapping[str, Any]]:
    """The chats that were kept of the first `number` questions, in their order."""
    for one in range(number):
        found = journal.get(str(one))
        if found and found["tokens"]:
            yield found


def _round(
    model: Any, tokenizer: Any, journal: Journal, numbers: Sequence[int], seed: int, rows: int, tested: Sequence[str]
) -> None:
    missing = [number for number in numbers if str(number) not in journal]
    asked = _questions(model, tokenizer, missing, seed, rows)
    again = set(near_duplicates(list(asked.values()), tested)) if asked else set()
    asked = {number: text for place, (number, text) in enumerate(asked.items()) if place not in again}
    order = list(asked)
    prompts = [asked[number] for number in order]
    sampling = _sampling(f"{seed} answer", order)
    for place, answer in answers(
        model, tokenizer, prompts, max_new_tokens=ANSWER_TOKENS, batch_size=rows, sampling=sampling
    ):
        good = answer["text"] and repetition(answer["text"]) <= REPETITIVE
        said = [{"role": "user", "content": prompts[place]}, {"role": "assistant", "content": answer["text"]}]
        found = {"tokens": answer["tokens"] if good else 0, "messages": said, "cut": not answer["ended"]}
        journal.append(str(order[place]), found)
    for number in missing:
        if number not in asked:
            journal.append(str(number), {"tokens": 0})


def _questions(model: Any, tokenizer: Any, numbers: Sequence[int], seed: int, rows: int) -> dict[int, str]:
    """What the model would have a user say, by number; without those that do not end or hold control strings."""
    mark = "\ue000"
    rendered = render(tokenizer, [{"role": "user", "content": mark}], add_generation_prompt=True)
    before, after = rendered.text.split(mark)
    start = tokenizer.encode(before, add_special_tokens=False)
    # What follows a user's words: one token in some templates, text in others.
    end = after.strip().splitlines()[0] if after.strip() else ""
    encoded = [
        tokenizer.encode(before + OPENINGS[number % len(OPENINGS)], add_special_tokens=False) for number in numbers
    ]
    stops = stop_tokens(tokenizer, model.generation_config.eos_token_id)
    found = {}
    for place, answer in decode(
        model,
        encoded,
        stops,
        max_new_tokens=QUESTION_TOKENS,
        pad_token_id=tokenizer.pad_token_id,
        batch_size=rows,
        sampling=_sampling(f"{seed} question", numbers),
    ):
        text = tokenizer.decode([*encoded[place][len(start) :], *answer["ids"]])
        said, stop, _ = text.partition(end)
        said = said.strip()
        if stop and len(said.split()) >= 2 and not any(one in said for one in tokenizer.all_special_tokens):
            found[numbers[place]] = said
    return dict(sorted(found.items()))


def _sampling(seed: str, numbers: Sequence[int]) -> dict[str, Any]:
    return {"temperature": TEMPERATURE, "top_p": 1.0, "seed": [f"{seed} {number}" for number in numbers]}
