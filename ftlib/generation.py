"""Answers to many prompts at a time, each what it would be alone.

    generate(model, tokenizer, prompts, max_new_tokens=48)            # all of them, in the order of the prompts
    for number, answer in answers(model, tokenizer, prompts, ...):    # each as soon as it ends
    for number, found in decode(model, ids, stops, ...):              # token ids in, token ids out

A step of a small model takes as long for 200 rows as for one: what counts is the number of steps. So all rows that the
memory holds take their steps together. Prompts are read in groups of like length, shortest first, padded on the left;
rows that have ended leave the cache, and waiting prompts take their place, so a long answer holds up nobody. The base
and the adapter are computed as they are, not merged, which would be another rounding.

In fp32 the answers are those of `model.generate` with one prompt. In 16 bits they depend on the shape of the batch, as
everybody's do: where two tokens are equally likely, rounding decides. `batch_size=1` is the way to do without.
"""

from __future__ import annotations

import functools
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftlib import chat
from ftlib.errors import SetupError
from ftlib.kv_cache import alone_from, join, new_cache, token_room
from ftlib.sampling import nucleus

ROWS = 256
"""At once, at most, where nothing is said: beyond it the card is busy, and more rows gain little."""
READ_TOKENS = 8192
"""Padded tokens of the prompts that are read in one forward pass."""


def generate(
    model: Any, tokenizer: Any, prompts: Sequence[str], *, max_new_tokens: int | Sequence[int], **options: Any
) -> list[dict[str, Any]]:
    """Answer prompts, greedily or by sampling; the arguments are those of `answers`.

    Returns:
        in the order of `prompts`: text, tokens (of the answer) and ended (False: cut at max_new_tokens).
    """
    found = dict(answers(model, tokenizer, prompts, max_new_tokens=max_new_tokens, **options))
    return [found[number] for number in range(len(prompts))]


def answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    *,
    max_new_tokens: int | Sequence[int],
    batch_size: int = 0,
    token_budget: int = 0,
    sampling: Mapping[str, Any] | None = None,
    logprobs: bool = False,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Answers as they end: number of the prompt, and what `generate` returns of it.

    Leave the loop when you like, and ask for the rest later: an answer depends on its prompt and settings alone.

    Args:
        prompts: messages of a user.
        max_new_tokens: for all, or one a prompt.
        batch_size, token_budget, sampling: as of `decode`.
        logprobs: also `ids` (with the token that ends the answer) and `logprobs`, as of `decode`.
    """
    encoded = [chat.encode_prompt(tokenizer, [{"role": "user", "content": prompt}]) for prompt in prompts]
    stops = stop_tokens(tokenizer, model.generation_config.eos_token_id)
    for number, found in decode(
        model,
        encoded,
        stops,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        batch_size=batch_size,
        token_budget=token_budget,
        sampling=sampling,
        logprobs=logprobs,
    ):
        ids = found["ids"][: len(found["ids"]) - found["ended"]]
        text = tokenizer.decode(ids, skip_special_tokens=True).strip()
        yield number, {"text": text, "tokens": len(ids), "ended": found["ended"], **(found if logprobs else {})}


def stop_tokens(tokenizer: Any, ends: Any) -> list[int]:
    """Ids that end an answer: the tokenizer's end, and those that a generation config names (one, several or None)."""
    named = [] if ends is None else ends if isinstance(ends, (list, tuple)) else [ends]
    return sorted({tokenizer.eos_token_id, *named})


# --- the pool ---------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Row:
    """A prompt and its answer so far."""

    number: int
    prompt: Sequence[int]
    limit: int
    seed: Any
    alone: bool
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    done: bool = False
    chance: random.Random = field(default_factory=random.Random)

    def begin(self) -> None:
        """From the prompt on. The noise is that of seed and prompt, whatever stands beside it."""
        self.ids, self.logprobs, self.done = [], [], False
        self.chance = random.Random(f"{self.seed} {list(self.prompt)}")

    @property
    def cached(self) -> int:
        """Tokens in the cache: all but the one that was picked last."""
        return len(self.prompt) + len(self.ids) - 1

    @property
    def most(self) -> int:
        return len(self.prompt) + self.limit


@dataclass(eq=False)
class _Pool:
    """Rows with a cache in common, each flush with its right end: `last` [rows] are the tokens picked last."""

    rows: list[_Row]
    cache: Any
    last: Any
    begins: Any = None  # [rows, 1], first column of each
    positions: Any = None  # [rows], of the tokens picked last
    ends: Any = None  # [rows], the last position that a row may have


@dataclass(eq=False)
class _Room:
    """What may be held at once: rows, and tokens of the cache, None where it is not known yet."""

    rows: int
    tokens: int | None


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    stops: Iterable[int],
    *,
    max_new_tokens: int | Sequence[int],
    pad_token_id: int = 0,
    batch_size: int = 0,
    token_budget: int = 0,
    sampling: Mapping[str, Any] | None = None,
    logprobs: bool = False,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Continue token ids until a stop token or the limit; each as soon as it ends.

    Args:
        model: a causal language model in eval mode, with an adapter on it or not.
        stops: ids that end an answer.
        max_new_tokens: for all, or one a prompt.
        batch_size: rows at once, at most. 0: 256.
        token_budget: tokens of the cache at once (rows x columns), at most. 0: what half of the free memory holds.
            A prompt that is over it is answered alone. A full card halves the rows and goes on.
        sampling: temperature, top_p and seed (one, or one a prompt); None: greedy. The same seed and prompt give the
            same answer, whatever is asked beside it.
        logprobs: also return them.

    Yields:
        number of the prompt, and ids (with the stop token), ended (False: cut at max_new_tokens); with `logprobs` those
        of the ids under the model itself, in nats, before temperature and top_p.

    Raises:
        SetupError: one prompt alone does not fit the memory.
    """
    import torch
    from tqdm import tqdm

    limits, seeds = _each(max_new_tokens, len(prompts)), _each((sampling or {}).get("seed"), len(prompts))
    longest = alone_from(model)
    rows = []
    for number, (prompt, limit, seed) in enumerate(zip(prompts, limits, seeds, strict=True)):
        rows.append(_Row(number, prompt, limit, seed, len(prompt) + limit > longest))
    room = _Room(batch_size or ROWS, token_budget or None)
    pick = functools.partial(_pick, stops=set(stops), sampling=sampling, logprobs=logprobs)
    open_rows = {row.number: row for row in rows}
    waiting, pool = _queue(rows), None
    told = 0
    # The total is what is still possible: it shrinks where an answer ends early.
    with tqdm(total=sum(limits), desc="answers", unit="token", leave=False) as bar:
        while open_rows:
            full = False
            try:
                # Not inference_mode: what a model caches under it could not be trained through afterwards.
                with torch.no_grad():
                    if pool is None or sum(row.done for row in pool.rows) >= max(1, len(pool.rows) // 8):
                        pool = _refill(model, pool, waiting, room, pick, pad_token_id)
                    if pool is not None:
                        _step(model, pool, pick)
            except torch.OutOfMemoryError:
                full = True
            if full:
                pool = None  # and with it the cache; its rows begin anew, which gives what they had
                room.rows = (len(open_rows) - len(waiting)) // 2
                if not room.rows:
                    most = max(row.most for row in open_rows.values() if row not in waiting)
                    raise SetupError(f"{most} tokens of one prompt and answer don't fit the card: ask for less.")
                waiting = _queue(open_rows.values())
                torch.cuda.empty_cache()
                continue
            bar.update(told + sum(len(row.ids) for row in open_rows.values()) - bar.n)
            for row in [row for row in open_rows.values() if row.done]:
                del open_rows[row.number]
                bar.total -= row.limit - len(row.ids)
                told += len(row.ids)
                found: dict[str, Any] = {"ids": row.ids, "ended": row.ids[-1] in pick.keywords["stops"]}
                yield row.number, found | ({"logprobs": row.logprobs} if logprobs else {})


def _each(value: Any, number: int) -> list[Any]:
    return list(value) if isinstance(value, Sequence) else [value] * number


def _queue(rows: Iterable[_Row]) -> deque[_Row]:
    waiting = deque(sorted(rows, key=lambda row: len(row.prompt)))
    for row in waiting:
        row.begin()
    return waiting


def _refill(model: Any, pool: _Pool | None, waiting: deque[_Row], room: _Room, pick: Any, pad: int) -> _Pool | None:
    """Drop the rows that have ended, read prompts as long as there is room, and make one cache of all."""
    parts = [pool] if pool else []
    while group := _next_group(waiting, [row for part in parts for row in part.rows if not row.done], room):
        for _ in group:
            waiting.popleft()
        width = max(len(row.prompt) for row in group)
        ids = [[pad] * (width - len(row.prompt)) + list(row.prompt) for row in group]
        cache = new_cache(model)
        begins = _tensor([[width - len(row.prompt)] for row in group], model)
        positions = (_tensor([list(range(width))], model) - begins).clamp(min=0)
        logits = _forward(model, _tensor(ids, model), positions, begins, cache)
        parts.append(_Pool(group, cache, pick(logits, group)))
        if room.tokens is None and not group[0].alone:
            room.tokens = token_room(model, cache)
    parts = [part for part in parts if not all(row.done for row in part.rows)]
    kept = [[n for n, row in enumerate(part.rows) if not row.done] for part in parts]
    rows = [part.rows[n] for part, numbers in zip(parts, kept, strict=True) for n in numbers]
    if not rows:
        return None
    width = max(row.cached for row in rows)
    if len(parts) > 1 or len(rows) < len(parts[0].rows):
        join([part.cache for part in parts], [_tensor(numbers, model) for numbers in kept], width)
    cache = parts[0].cache
    return _Pool(
        rows,
        cache,
        _tensor([row.ids[-1] for row in rows], model),
        _tensor([[cache.get_seq_length() - row.cached] for row in rows], model),
        _tensor([row.cached for row in rows], model),
        _tensor([row.most - 1 for row in rows], model),
    )


def _next_group(waiting: Sequence[_Row], held: Sequence[_Row], room: _Room) -> list[_Row]:
    """The waiting rows that are read next: as many as fit into one pass and, beside those held, into the room."""
    group: list[_Row] = []
    columns = max((row.most for row in held), default=0)
    for row in waiting:
        number = len(held) + len(group) + 1
        columns = max(columns, row.most)
        if number > 1 and (
            number > room.rows
            or (room.tokens is not None and number * columns > room.tokens)
            or (group and (len(group) + 1) * len(row.prompt) > READ_TOKENS)
            or row.alone
            or any(other.alone for other in (*held[:1], *group[:1]))
        ):
            break
        group.append(row)
    return group


def _step(model: Any, pool: _Pool, pick: Any) -> None:
    """One token more for each row; one that has ended goes along until the next refill."""
    logits = _forward(model, pool.last[:, None], pool.positions[:, None], pool.begins, pool.cache)
    pool.last = pick(logits, pool.rows)
    pool.positions = (pool.positions + 1).minimum(pool.ends)


def _forward(model: Any, ids: Any, positions: Any, begins: Any, cache: Any) -> Any:
    """Logits of the last column, [rows, vocabulary] in fp32; `ids` are appended to the cache."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    columns = torch.arange(cache.get_seq_length() + ids.shape[1], device=ids.device)
    only_last = {"logits_to_keep": 1} if model._supports_logits_to_keep() else {}
    # cuDNN's kernel, which torch prefers on an H100, makes a plan for each new length, that is for each step.
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        out = model(
            input_ids=ids,
            attention_mask=(columns >= begins).long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            **only_last,
        )
    return out.logits[:, -1].float()


def _pick(
    logits: Any, rows: Sequence[_Row], *, stops: set[int], sampling: Mapping[str, Any] | None, logprobs: bool
) -> Any:
    """Choose each row's next token, note it, and say which rows have ended by it. Returns the tokens, [rows]."""
    if sampling:
        chances = [0.0 if row.done else row.chance.random() for row in rows]
        picked = nucleus(logits, sampling["temperature"], sampling["top_p"], chances)
    else:
        picked = logits.argmax(-1)
    scores = logits.log_softmax(-1).gather(-1, picked[:, None])[:, 0].tolist() if logprobs else [0.0] * len(rows)
    for row, token, score in zip(rows, picked.tolist(), scores, strict=True):
        if not row.done:
            row.ids.append(token)
            row.logprobs.append(score)
            row.done = token in stops or len(row.ids) >= row.limit
    return picked


def _tensor(values: Sequence[Any], like: Any) -> Any:
    import torch

    return torch.tensor(values, dtype=torch.long, device=like.device)
