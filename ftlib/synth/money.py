"""What the answers of an API cost: estimated before the first call, counted after the last.

Prices change: PRICES below is the one place for them, and `SynthConfig.prices` goes before it. What is estimated
becomes measured as soon as a few answers are there: a trial with `limit=3` is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

from ftlib.synth.config import SynthConfig
from ftlib.synth.journal import Journal, Response
from ftlib.synth.prompts import Request

# US dollars for a million tokens in and out, as OpenAI listed them in August 2025. Look the present ones up at
# https://platform.openai.com/docs/pricing before you rely on them.
PRICES: dict[str, Sequence[float]] = {
    "gpt-5": (1.25, 10.0),
    "gpt-5-mini": (0.25, 2.0),
    "gpt-5-nano": (0.05, 0.4),
    "gpt-4.1": (2.0, 8.0),
    "gpt-4.1-mini": (0.4, 1.6),
    "gpt-4.1-nano": (0.1, 0.4),
    "gpt-4o": (2.5, 10.0),
    "gpt-4o-mini": (0.15, 0.6),
    "gpt-4-turbo": (10.0, 30.0),
    "o3": (2.0, 8.0),
    "o4-mini": (1.1, 4.4),
}
BATCH = 0.5  # of the price, by the Batch API
# Assumed until something is measured.
CHARACTERS_A_TOKEN = 4.0
TOKENS_A_PAIR, TOKENS_A_WORDING = 110, 25
TOKENS_A_SECOND = 60.0


def price_of(model: str, config: SynthConfig) -> Sequence[float] | None:
    """Dollars for a million tokens in and out; None where nobody wrote them down. A dated name is its model's."""
    if model in config.prices:
        return config.prices[model]
    return next((PRICES[name] for name in PRICES if model == name or model.startswith(f"{name}-2")), None)


def estimate(requests: Iterable[Request], journal: Journal, config: SynthConfig) -> dict[str, Any]:
    """What the requests will take: documents; requests, of them answered before; tokens in and out; dollars; minutes.

    `measured` says on how many answers it rests (0: on assumptions). `dollars` is None where the price is not known,
    and 0 for nothing left to ask. Repairs are not in it.
    """
    total, answered, characters, pairs = 0, 0, 0, 0
    documents: set[str] = set()
    seen: list[tuple[int, Request, Response]] = []
    for request in requests:
        total += 1
        documents.add(request.document_id)
        length = sum(len(message["content"]) for message in request.messages)
        response = journal.get(request.key)
        if response is None:
            characters += length
            pairs += request.wanted
        else:
            answered += 1
            if len(seen) < 1000 and all(response.get("usage") or [None]):
                seen.append((length, request, response))
    left = total - answered
    a_token = _ratio((length for length, _, _ in seen), (r["usage"][0] for _, _, r in seen)) or CHARACTERS_A_TOKEN
    wordings = config.paraphrases + config.asked_paraphrases
    assumed = TOKENS_A_PAIR + TOKENS_A_WORDING * wordings
    a_pair = _ratio((r["usage"][1] for _, _, r in seen), (request.wanted for _, request, _ in seen)) or assumed
    timed = [r["seconds"] for _, _, r in seen if r.get("seconds")]
    tokens = round(characters / a_token), round(pairs * a_pair)
    each = sum(timed) / len(timed) if timed else 1.0 + tokens[1] / max(1, left) / TOKENS_A_SECOND
    return {
        "documents": len(documents),
        "requests": total,
        "answered before": answered,
        "tokens in": tokens[0],
        "tokens out": tokens[1],
        "dollars": dollars(tokens[0], tokens[1], config.model, config),
        "minutes": None if config.batch else ceil(left / config.concurrency) * each / 60,
        "measured": len(seen),
    }


def dollars(
    tokens_in: int, tokens_out: int, model: str, config: SynthConfig, *, batch: bool | None = None
) -> float | None:
    """The price of so many tokens; None where the model's is not known."""
    price = price_of(model, config)
    if tokens_in == tokens_out == 0:
        return 0.0
    if price is None:
        return None
    share = BATCH if (config.batch if batch is None else batch) else 1.0
    return (tokens_in * price[0] + tokens_out * price[1]) / 1e6 * share


def used(keys: Iterable[str], journal: Journal, config: SynthConfig) -> dict[str, Any]:
    """What the responses of these keys took, in whichever run they were paid for.

    `unknown` counts responses for which the server said no tokens; `dollars` is None where a price is not known.
    """
    totals: dict[str, Any] = {"responses": 0, "tokens_in": 0, "tokens_out": 0, "unknown": 0, "dollars": 0.0}
    for key in dict.fromkeys(keys):
        response = journal[key]
        counts = response.get("usage") or [None, None]
        totals["responses"] += 1
        if None in counts:
            totals["unknown"] += 1
            continue
        totals["tokens_in"] += counts[0]
        totals["tokens_out"] += counts[1]
        cost = dollars(counts[0], counts[1], response["model"], config, batch="batch" in response)
        totals["dollars"] = None if cost is None or totals["dollars"] is None else totals["dollars"] + cost
    return totals


def in_words(plan: Mapping[str, Any], config: SynthConfig) -> str:
    """An estimate as one line."""
    left = plan["requests"] - plan["answered before"]
    if not left:
        return f"{plan['requests']:,} requests, all answered before: nothing to pay"
    cost = "at a price that is not in `prices`" if plan["dollars"] is None else f"about ${plan['dollars']:,.2f}"
    time = "within a day" if plan["minutes"] is None else f"{plan['minutes']:,.1f} minutes"
    basis = f"measured on {plan['measured']} answers" if plan["measured"] else "assumed; `limit=3` measures it"
    before = f" ({plan['answered before']:,} more answered before)" if plan["answered before"] else ""
    tokens = f"{plan['tokens in']:,} tokens in, {plan['tokens out']:,} out"
    return (
        f"{plan['documents']:,} documents, {left:,} requests to {config.model}{before}: {tokens}, {cost}, {time} at "
        f"{config.concurrency} at once ({basis})"
    )


def _ratio(above: Iterable[float], below: Iterable[float]) -> float:
    total = sum(below)
    return sum(above) / total if total else 0.0
