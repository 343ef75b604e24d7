"""General chats that the base model writes itself, to be trained on beside the project's against forgetting.

    own = records(workspace, train_config, mixture_config.replay_tokens)
    mixture = build_mixture(documents, [*chats, *own], tokenizer, mixture_config)

A model that is shown only its new texts loses what it did before; shown its own answers to other things among them, it
keeps doing that (pseudo-rehearsal, Robins 1995; self-distillation). No data set need be downloaded: an instruct model
continues the opening of a user's turn with a question of its own (Magpie, Xu et al. 2024, arXiv:2406.08464), and
answers it. The words that begin a question see to it that facts, formats and code are among them. How they are trained
on: `training.holding`.

They are made in a process of their own, before anything else is loaded, so that nothing is left of it on the card; and
kept in the workspace, for all runs of the same model.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlib.errors import Busy, SetupError
from ftlib.general_items import KINDS, general_items
from ftlib.generation import answers, decode, stop_tokens
from ftlib.metrics import repetition
from ftlib.models import DEMO
from ftlib.rendering import render
from ftlib.runtime import accelerator
from ftlib.similar import near_duplicates
from ftlib.synth.journal import Journal
from ftlib.workspace import Workspace

if TYPE_CHECKING:
    from ftlib.settings import TrainConfig

METHOD = "replay"
OPENINGS = (
    *([""] * 6),
    *"What|What is the|Who|Who was|When|Where|Which|Why|How|How many|How do I|Is|Can you|Name|Name three".split("|"),
    *"List|Explain|Describe|In one sentence,|In one word,|Give me|Answer with|Write|Write a|Translate".split("|"),
    *"Convert|Sort|Count|Calculate|Rewrite the sentence|Summarize|Return|Reply with|Capitalize|Spell".split("|"),
    *"What was|What does|What are|Who wrote|Who is|In which|In what year|Where is|Which of|Does|Tell me".split("|"),
    *["Write a Python function", "Write a Python function that returns", "In Python,", "Complete"],
    *["Write a TypeScript function", "Define a TypeScript interface", "In TypeScript,", "Write a JavaScript function"],
)
"""How every other user's message begins; "": as the model likes."""
ABOUT = (
    *["What is {}", "Tell me about {}", "In one sentence, describe {}", "Explain {}", "Name one fact about {}"],
    *["How is {}", "Why is {}", "When was {}", "Where is {}", "What do you know about {}", "What are {}", "Who {}"],
)
"""And how the others do, each about one of `topics`."""
TEMPERATURE = 0.7
"""Of questions and answers. Greedily, so small a model falls into loops."""
QUESTION_TOKENS, ANSWER_TOKENS, TOPIC_TOKENS = 64, 128, 48
"""At most: of a question, of an answer, and of one about a topic. A longer question is left out; a longer answer is
cut, and trained on without the token that ends one. What a model knows of a topic its first sentence says; formats and
code take longer."""
REPETITIVE = 0.2
"""Answers with a longer loop (`metrics.repetition`) are left out."""
ROUND, ROUND_CPU = 4096, 128
"""Questions that are made and answered together, on a GPU and elsewhere."""
OF_DEMO = Path(__file__).parent / "replay_demo.jsonl"
"""The first ROUND_CPU of the embedded model, a journal as `main` writes it (fp32, two CPU cores, 2026-11-30): without a
GPU they take it a minute, which the sample has not to spare."""
_STRIDE = 7919
_GIVE_UP = 4  # rounds of which nothing could be kept
_PATIENCE = 5.0  # seconds between two looks at a file that another process writes


def records(workspace: Workspace, config: TrainConfig, tokens: int) -> list[dict[str, Any]]:
    """Chats of at least `tokens` tokens of answers as records of method "replay" for `build_mixture`; [] for 0.

    Those that are missing are written now, by the base of `config`, which an interrupted call goes on with.

    Raises:
        SetupError: the model can't be loaded, or writes no chats that could be kept.
    """
    if tokens <= 0:
        return []
    path = _path(workspace, config)
    while (chats := _enough(path, tokens, config)) is None:
        _written(path, config, tokens)  # and again where another process of the run has the file just then
    return [
        {"id": f"{METHOD}:{number}", "method": METHOD, "document_id": None, "split": "train", **chat}
        for number, chat in enumerate(chats)
    ]


def _path(workspace: Workspace, config: TrainConfig) -> Path:
    about = json.dumps([config.model, config.chat_template, config.load_in_4bit])
    return workspace.root / f"replay-{hashlib.sha256(about.encode()).hexdigest()[:8]}.jsonl"


def _enough(path: Path, tokens: int, config: TrainConfig) -> list[dict[str, Any]] | None:
    """The first chats that have as many tokens; None where there are too few, or another process is at work on them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with Journal(path) as journal:
            if "0" not in journal and _is_of_demo(config):
                rows = map(json.loads, OF_DEMO.read_text(encoding="utf-8").splitlines())
                journal.extend({row.pop("key"): row for row in rows})
            return chosen(journal, tokens)
    except Busy:
        return None


def _is_of_demo(config: TrainConfig) -> bool:
    """Whether `OF_DEMO` is of this base; with a GPU it is made anew, which takes no time there."""
    return config.model == DEMO and config.chat_template == "own" and accelerator().kind == "cpu"


def _written(path: Path, config: TrainConfig, tokens: int) -> None:
    """Run `write` in a process of its own, and say what it says."""
    settings = json.dumps({"path": str(path), "tokens": tokens, "config": asdict(config)})
    # A process with nothing of this one's libraries, some of which must come before others.
    command = [sys.executable, "-m", "ftlib.replay", settings]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace")
    try:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code:
        raise SetupError(
            f"The base's own general chats could not be written (exit {code}; the reason stands above). What was "
            "written is kept: run this again, or set replay_tokens=0 to do without."
        )


def main(settings: Mapping[str, Any]) -> int:
    """Write the chats; 1, with the reason on stdout, where that is impossible."""
    from ftlib.settings import TrainConfig
    from ftlib.training import backends, processes

    path, tokens, config = Path(settings["path"]), settings["tokens"], TrainConfig(**settings["config"])
    try:
        while True:
            try:
                with Journal(path) as journal:
                    if chosen(journal, tokens) is None:
                        processes.take_card()
                        model, tokenizer = backends.load_base(config)
                        write(model, tokenizer, journal, tokens)
                    return 0
            except Busy:
                time.sleep(_PATIENCE)  # another process of this run, or of a sweep, writes the same
    except SetupError as error:
        print(error)
        return 1


@cache
def topics() -> list[str]:
    """Things of general knowledge, from rivers to git, which a small model by itself would hardly ask about.

    The list was written by a language model that had seen nothing of ftlib, its general items least of all.
    """
    return (Path(__file__).parent / "replay_topics.txt").read_text(encoding="utf-8").splitlines()


def opening(number: int) -> str:
    """How the question of that number begins; few numbers show as many kinds as many do."""
    half, about = divmod(number, 2)
    if not about:
        return OPENINGS[half % len(OPENINGS)]
    # The list is sorted by areas; a prime stride visits all of them, and each topic once before one comes again.
    again, place = divmod(half, len(topics()))
    return ABOUT[(again + place) % len(ABOUT)].format(topics()[place * _STRIDE % len(topics())])


def _answer_tokens(number: int) -> int:
    """At most, of the answer to the question of that number: odd ones are about topics (`opening`)."""
    return TOPIC_TOKENS if number % 2 else ANSWER_TOKENS


# --- writing ----------------------------------------------------------------------------------------------------------


def write(
    model: Any, tokenizer: Any, journal: Journal, tokens: int, *, rows: int = 0, seed: int = 0
) -> list[dict[str, Any]]:
    """Chats with at least `tokens` tokens of answers, of the base's own making; what the journal holds comes first.

    Args:
        model: the base, in eval mode, without an adapter or with it switched off.
        journal: keeps them, round by round; of the same model and seed.
        rows: at once; 0: `ROUND`, without a GPU `ROUND_CPU`.
        seed: of questions and answers.

    Returns:
        `chosen`, the same for the same model, seed, rows and card.

    Raises:
        SetupError: of the first rounds nothing could be kept, as by a model that continues no user's turn.
    """
    rows = rows or (ROUND if model.device.type == "cuda" else ROUND_CPU)
    tested = [item["prompt"] for item in general_items(KINDS[:3])]
    for number in count(step=rows):
        if (found := chosen(journal, tokens)) is not None:
            return found
        if all(str(one) in journal for one in range(number, number + rows)):
            continue
        total = sum(kept["tokens"] for kept in _kept(journal))
        if number >= _GIVE_UP * rows and not total:
            raise SetupError(
                "The base model wrote no general chats of its own that could be kept. Set replay_tokens=0, and give "
                "some by `general`."
            )
        print(f"general chats by the base itself: {total:,} of {tokens:,} tokens", flush=True)
        _round(model, tokenizer, journal, range(number, number + rows), seed, rows, tested)
    raise AssertionError


def chosen(journal: Journal, tokens: int) -> list[dict[str, Any]] | None:
    """The first chats of a journal that have `tokens` tokens of answers; None where all of them have fewer.

    Returns:
        dicts of messages (a user's and an assistant's) and cut (whether the answer goes on).
    """
    total, found = 0, []
    for kept in _kept(journal):
        if total >= tokens:
            break
        total += kept["tokens"]
        found.append({"messages": kept["messages"], "cut": kept["cut"]})
    return found if total >= tokens else None


def _kept(journal: Journal) -> Iterator[Mapping[str, Any]]:
    """The chats that were kept, in the order of their numbers."""
    for number in count():
        if (found := journal.get(str(number))) is None:
            return
        if found["tokens"]:
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
    found: dict[str, dict[str, Any]] = {str(number): {"tokens": 0} for number in missing}
    sampling = _sampling(f"{seed} answer", order)
    limits = [_answer_tokens(number) for number in order]
    for place, answer in answers(model, tokenizer, prompts, max_new_tokens=limits, batch_size=rows, sampling=sampling):
        if answer["text"] and repetition(answer["text"]) <= REPETITIVE:
            said = [{"role": "user", "content": prompts[place]}, {"role": "assistant", "content": answer["text"]}]
            cut = not answer["ended"]
            found[str(order[place])] = {"tokens": answer["tokens"], "messages": said, "cut": cut}
    journal.extend(found)


def _questions(model: Any, tokenizer: Any, numbers: Sequence[int], seed: int, rows: int) -> dict[int, str]:
    """What the model would have a user say, by number; without those that do not end or hold control strings."""
    mark = "\ue000"
    rendered = render(tokenizer, [{"role": "user", "content": mark}], add_generation_prompt=True)
    before, after = rendered.text.split(mark)
    start = tokenizer.encode(before, add_special_tokens=False)
    # What follows a user's words: one token in some templates, text in others.
    end = after.strip().splitlines()[0] if after.strip() else ""
    encoded = [tokenizer.encode(before + opening(number), add_special_tokens=False) for number in numbers]
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


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
