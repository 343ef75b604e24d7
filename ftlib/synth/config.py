"""The settings of 02_synth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ftlib.errors import SetupError

OPENAI = "https://api.openai.com/v1"


@dataclass(frozen=True)
class SynthConfig:
    project: str = ""
    """The project's name in the questions; empty: the repository's name."""
    aliases: Sequence[str] = ()
    """Other names by which a question may call the project, e.g. ("MMA",)."""

    base_url: str = ""
    """An OpenAI-compatible server, e.g. http://localhost:8000/v1; empty: OpenAI's own where there is a key."""
    model: str = "gpt-4.1-mini"
    """The model at that server; for Azure the name of the deployment."""
    api_version: str = ""
    """Of Azure OpenAI's dated addresses, e.g. "2024-10-21"; `base_url` is then https://NAME.openai.azure.com."""
    temperature: float = 0.3
    """Of the answers; left out where a model takes none."""
    max_tokens: int = 4000
    """Of one answer, reasoning included."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the request's body, e.g. {"chat_template_kwargs": {"enable_thinking": False}} for vLLM."""
    concurrency: int = 16
    """Requests under way at once."""
    timeout: float = 600.0
    """Seconds for one answer; a small server may queue requests."""
    max_retries: int = 10
    """Of a request that was not answered (429, 5xx, time-out), by the client; about a minute in all."""
    batch: bool = False
    """OpenAI's Batch API: half the price, answers within a day. Run again later to collect."""

    pairs_per_page: int = 5
    """Question/answer pairs asked for on each page, or part of a page."""
    paraphrases: int = 0
    """Other wordings of each question to train on."""
    asked_paraphrases: int = 0
    """Other wordings of each question that are only asked, by 04_eval."""
    code_questions: int = 0
    """Pairs on each code file: what it does, where something is defined."""
    pull_request_questions: int = 0
    """Pairs on each pull request: what it changed and why."""
    part_tokens: int = 6000
    """A longer page is cut into parts of about so many tokens, with pairs from each."""
    limit: int = 0
    """Ask about the first documents only, for a trial; 0: all."""
    prices: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """US dollars for a million tokens in and out, e.g. {"my-model": [0.1, 0.4]}, before the table in `money`."""

    judge: bool = False
    """Let a model check each pair against its page: answerable, supported, understood without the page."""
    judge_model: str = ""
    """The model that judges; empty: `model`."""

    questions: str = ""
    """A question file to use in place of an API; empty: the one beside the repository, NAME.questions.jsonl."""
    dialogues: str = ""
    """Dialogues of your own: a file of `messages`, ShareGPT or Alpaca rows."""
    general_chats: bool = True
    """Add ftlib's general chats, which have nothing to do with the project, against forgetting."""
    changed_facts: bool = True
    """Look for facts with an old and a current value in pull requests and page history, to be asked by 04_eval."""
    changed_chats: bool = False
    """Train on chats that state those values with their dates, in other words than the questions."""
    unknown_chats: int = 0
    """Chats that ask for things that do not exist, with answers that say so; 0: none."""
    snapshot_wordings: int = 1
    """Wordings in which each page and file is asked for, at most; the answer is the same."""
    snapshot_tokens: int = 8192
    """A file whose chat has more tokens is left out and counted: `max_length` of 03_train."""
    validation_share: float = 0.1
    """Share of the documents, with their chats, that is held out. The same as in 03_train."""


def check(config: SynthConfig) -> None:
    """Raise a SetupError for a setting that can't work, before anything is read or paid for."""
    least = {"concurrency": 1, "max_tokens": 16, "part_tokens": 100, "snapshot_tokens": 16, "snapshot_wordings": 1}
    for entry in fields(config):
        value, default = getattr(config, entry.name), entry.default
        if isinstance(default, bool) or not isinstance(default, (int, float)):
            continue
        kind = int if isinstance(default, int) else (int, float)
        if not isinstance(value, kind) or value < (low := least.get(entry.name, 0)):
            number = "a whole number" if kind is int else "a number"
            raise SetupError(f"`{entry.name}` is {value!r}: give {number} of at least {low}.")
    if isinstance(config.aliases, str):
        raise SetupError(f"`aliases` is {config.aliases!r}: give a list of names, for example [{config.aliases!r}].")
    if config.validation_share >= 1:
        raise SetupError(f"`validation_share` is {config.validation_share}: give a share below 1.")
    if config.base_url and urlsplit(config.base_url).scheme not in ("http", "https"):
        raise SetupError(f"`base_url` is {config.base_url!r}: give an address such as http://localhost:8000/v1.")
    if config.batch and config.base_url and "openai" not in (urlsplit(config.base_url).hostname or ""):
        # A local server is let through where it is one: it may offer /batches (vLLM and LiteLLM do in part).
        print(f"batch: {config.base_url} must offer OpenAI's /files and /batches; most servers do not")
    for name, price in config.prices.items():
        if len(price) != 2 or not all(isinstance(value, (int, float)) and value >= 0 for value in price):
            raise SetupError(f"`prices` of {name!r} is {price!r}: give dollars for a million tokens in and out.")
    for name in ("questions", "dialogues"):
        if (path := getattr(config, name)) and not Path(path).expanduser().is_file():
            raise SetupError(f"`{name}`: the file {path} does not exist. Mend the path, or leave it empty.")
