"""What the model forgot: general answers, habits of the training elsewhere, losses, and other scales of the adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftlib.report import learned
from ftlib.report.blocks import LEAKS, Fold, Picture, Say, Section, Table, not_measured
from ftlib.report.numbers import count, dig, mean, number, rate, shift, text

LOSSES = {"chat": "held-out chats", "raw": "held-out raw text", "general": "general answers"}
EXAMPLES = 10  # of leaks


def section(samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> Section:
    kinds = learned.kind_rows(results, "general")
    blocks: list[Any] = []
    if kinds:
        said = "; ".join(f"{row['kind']}, difference {row['difference, points']} points" for row in kinds)
        blocks.append(Picture("general", f"General answers by kind, with 95 % intervals: {said}"))
        blocks.append(Table([{k: v for k, v in row.items() if k != "set"} for row in kinds], "General answers by kind"))
    if rows := _habits(results):
        blocks.append(Table(rows, "Habits of the training that show in other answers"))
    blocks += _leaks(samples, results)
    losses = [_loss(name, found) for name, found in (dig(results, "loss") or {}).items() if _has_loss(found)]
    if losses:
        blocks.append(Table(losses, "Losses, in nats a token"))
    blocks += _dial(results)
    parts = {
        "general answers": dig(results, "sets", "general"),
        "leaks of the training's style": dig(results, "leaks"),
        "endless answers": dig(results, "endless"),
        "repetitive answers": dig(results, "repetitive"),
        "losses": losses,
        "the adapter's scale": dig(results, "dial"),
    }
    return Section("forgotten", "What it forgot", [*blocks, *not_measured(parts)])


def _habits(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = {
        "leaks": "the training's style in general answers",
        "endless": "endless: cut at the token limit",
        "repetitive": "repetitive",
    }
    return [
        {"answers that are": title, **{arm: rate(dig(results, name, arm)) for arm in ("base", "tuned")}}
        for name, title in names.items()
        if dig(results, name)
    ]


def _leaks(samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> Iterator[Any]:
    if (difference := dig(results, "leaks", "difference")) and number(dig(difference, "mean")) is not None:
        asked = count(dig(results, "leaks", "n"))
        yield Say(f"The training's style in {asked} general answers, tuned minus base: {shift(difference)} points.")
    rows = [
        {"in general answers": LEAKS.get(kind, kind), **{arm: rate(dig(found, arm)) for arm in ("base", "tuned")}}
        for kind, found in (dig(results, "leaks", "kinds") or {}).items()
        if any(number(dig(found, arm, "rate")) for arm in ("base", "tuned"))
    ]
    if rows:
        yield Table(rows, "The training's style, by kind")
    examples = dig(results, "leaks", "examples") or []
    if not examples:
        return
    questions = {row.get("id"): row.get("question", "") for row in samples}
    rows = [
        {
            "stands in the answer": LEAKS.get(kind, kind)[:120],
            "answer to": str(questions.get(id) or id)[:120],
            "sample": id[:80],
        }
        for kind, id in ((str(example[0]), str(example[1])) for example in examples[:EXAMPLES] if len(example) == 2)
    ]
    yield Fold(f"Leaks: {len(rows):,} of {len(examples):,} examples", [Table(rows)] if rows else [])


def _has_loss(found: Any) -> bool:
    return any(number(dig(found, arm, "loss")) is not None for arm in ("base", "tuned"))


def _loss(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    def both(key: str, form: str) -> str:
        return " → ".join(text(dig(found, arm, key), form) for arm in ("base", "tuned"))

    return {
        "text": LOSSES.get(name, name),
        "tokens": count(dig(found, "base", "tokens")),
        "loss, base → tuned": both("loss", ".3f"),
        "difference": mean(dig(found, "difference"), "+.3f"),
        "perplexity": both("perplexity", ",.2f"),
        "bits a byte": both("bits_per_byte", ".3f"),
    }


def _dial(results: Mapping[str, Any]) -> Iterator[Any]:
    stops = dig(results, "dial") or []
    if not stops:
        return
    knee = number(dig(results, "knee"))
    said = f"the knee lies at {knee:g}" if knee is not None else "there is no knee"
    yield Picture("dial", f"Learning against forgetting over the adapter's scale; {said}")
    rows = [
        {
            "scale": text(stop.get("scale"), "g")
            + (" (knee)" if knee is not None and stop.get("scale") == knee else ""),
            "learned": rate(stop.get("learning")),
            "general, tuned - base, points": shift(stop.get("forgetting")),
            **{f"{name} loss": text(_stop_loss(value), ".3f") for name, value in (stop.get("loss") or {}).items()},
        }
        for stop in stops
    ]
    yield Table(rows, "The adapter at other scales")
    if knee is not None:
        yield Say(f"Knee: scale {knee:g}. Above it more is forgotten for little more that is learned.")
    else:
        yield Say("No knee: no scale is plainly better than its neighbours.")


def _stop_loss(value: Any) -> Any:
    return dig(value, "loss") if isinstance(value, Mapping) else value
