"""Answers of base and tuned model, each on disk as soon as it ends: an interrupted evaluation goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftlib.generation import answers
from ftlib.inference import arm
from ftlib.synth.journal import Journal
from ftlib.training.whole import scaled

Answer = dict[str, Any]


@dataclass(frozen=True)
class Session:
    """The loaded model, and the answers that it has given so far."""

    model: Any
    tokenizer: Any
    journal: Journal
    identity: str
    """Of the run: answers of another one are not taken for its."""
    batch_size: int
    spent: dict[str, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0, 0.0]))
    """By arm: tokens of answers, and seconds."""


def ask(
    session: Session,
    name: str,
    prompts: Sequence[str],
    limits: Sequence[int],
    *,
    scale: float = 1.0,
    sampling: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
) -> list[Answer]:
    """Answers in the order of the prompts: text, tokens and ended.

    Args:
        name: the arm.
        limits: tokens of each answer, at most.
        scale: of the adapter.
        sampling: temperature, top_p and seed (one, or a list with one a prompt); None: greedy.
        batch_size: another one than the session's, whose answers are kept apart.
    """
    about = [session.identity, name, scale, batch_size]
    seed = (sampling or {}).get("seed")
    seeds = seed if isinstance(seed, list) else [seed] * len(prompts)
    drawn = [sampling and {**sampling, "seed": one} for one in seeds]
    keys = [_key([*about, *one]) for one in zip(drawn, prompts, limits, strict=True)]
    # The same prompt is answered once.
    missing = list({key: n for n, key in enumerate(keys) if key not in session.journal}.values())
    if missing:
        began = time.perf_counter()
        with scaled(session.model, scale), arm(session.model, name):
            for number, answer in answers(
                session.model,
                session.tokenizer,
                [prompts[n] for n in missing],
                max_new_tokens=[limits[n] for n in missing],
                batch_size=session.batch_size if batch_size is None else batch_size,
                sampling={**sampling, "seed": [seed[n] for n in missing]}
                if sampling and isinstance(seed, list)
                else sampling,
            ):
                session.journal.append(keys[missing[number]], answer)
                session.spent[name][0] += answer["tokens"] + answer["ended"]
        session.spent[name][1] += time.perf_counter() - began
    return [
        {name: kept[name] for name in ("text", "tokens", "ended")} for kept in map(session.journal.__getitem__, keys)
    ]


def _key(about: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]
