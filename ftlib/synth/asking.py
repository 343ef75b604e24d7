"""Requests -> checked items: bounded concurrency, one repair try, and nothing asked for that was answered before."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from ftlib.errors import SetupError
from ftlib.progress import bar
from ftlib.synth.journal import Journal, Response
from ftlib.synth.prompts import CUT_OFF, Request, repaired
from ftlib.synth.reading import Reading, read_items
from ftlib.synth.server import Refused, Server, TooLong, Unanswered

# Seconds that the first request goes alone: a server that does not take its form says so at once.
HEAD_START = 0.5
UNREAD = 8  # characters a token


@dataclass
class Outcome:
    """What became of one request."""

    request: Request
    items: list[BaseModel] = field(default_factory=list)
    wrong: list[tuple[Any, str]] = field(default_factory=list)
    """Items that were not of the asked form, and why."""
    problem: str = ""
    """Why there are no items, or fewer than there could be."""
    unanswered: bool = False
    """Whether a later run should ask again."""
    asked: list[str] = field(default_factory=list)
    """Keys of the responses that it took."""
    unread: bool = False
    """Whether the server seems to have read a part of the prompt only."""


async def ask_all(
    requests: Iterable[Request],
    server: Server,
    journal: Journal,
    *,
    concurrency: int,
    what: str,
    halves: Callable[[Request], list[Request]] = lambda request: [],
) -> list[Outcome]:
    """Have every request answered, from the journal or by the server; the outcomes are in the requests' order.

    An interruption loses the answers under way, and nothing else.

    Args:
        halves: the same request on halves of its text, where the server takes no more; [] gives it up.

    Raises:
        SetupError: the server answers nothing any more. What came is in the journal.
    """
    waiting = deque(enumerate(requests))
    outcomes: dict[int, list[Outcome]] = {}
    lost = 0  # in a row

    async def work() -> None:
        nonlocal lost
        while waiting:
            number, request = waiting.popleft()
            outcomes[number] = await _whole(request, server, journal, halves)
            failed = all(outcome.unanswered for outcome in outcomes[number])
            lost = lost + 1 if failed else 0
            if lost >= max(5, concurrency):
                raise SetupError(
                    f"{server.address} answered none of the last {lost} requests: {outcomes[number][0].problem}. "
                    "What came before is kept; run this again when the server is well."
                )
            progress.update()

    with bar(len(waiting), "request", what) as progress:
        try:
            async with asyncio.TaskGroup() as group:
                first, began = group.create_task(work()), time.monotonic()
                while not (first.done() or server.tried) and time.monotonic() - began < HEAD_START:
                    await asyncio.sleep(0.01)
                for _ in range(min(concurrency - 1, len(waiting))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            # One task's error cancels the others; as a group, its message would be lost in a notebook.
            raise errors.exceptions[0] from None
    return [outcome for number in sorted(outcomes) for outcome in outcomes[number]]


async def _whole(
    request: Request, server: Server, journal: Journal, halves: Callable[[Request], list[Request]]
) -> list[Outcome]:
    """The outcome of a request, or of its parts where it was too long for the server."""
    found = await answer(request, server, journal)
    if found is not None:
        return [found]
    parts = halves(request)
    if not parts:
        return [Outcome(request, problem="too long for the server, even in short parts")]
    return [outcome for part in parts for outcome in await _whole(part, server, journal, halves)]


async def answer(request: Request, server: Server, journal: Journal) -> Outcome | None:
    """Ask once, and once more where the answer can't be used; None where the text is too long for the server."""
    outcome = Outcome(request)
    try:
        response = await _kept(request, server, journal, outcome)
        if response is None:
            return None
        reading = _read(response, request, outcome)
        if reading.problem and not _refused(response):
            again = repaired(request, response["content"], reading.problem, outcome.items)
            response = await _kept(again, server, journal, outcome)
            if response is not None:
                reading = _read(response, request, outcome)
        # Pairs that are there in spite of it make it no failure.
        outcome.problem = reading.problem if len(outcome.items) < request.wanted else ""
    except Unanswered as error:
        outcome.problem, outcome.unanswered = str(error), True
    except Refused as error:
        outcome.problem = str(error)
    return outcome


async def _kept(request: Request, server: Server, journal: Journal, outcome: Outcome) -> Response | None:
    """The response to a request, on disk; None where the text is too long."""
    response = journal.get(request.key)
    if response is not None:
        server.answered = True
    else:
        try:
            response = await server.ask(request)
        except TooLong as error:
            response = {"too_long": str(error)[:300]}
        journal.append(request.key, request.about | response)
    outcome.asked.append(request.key)
    return None if "too_long" in response else response


def _read(response: Response, request: Request, outcome: Outcome) -> Reading[Any]:
    """Add what a response holds to an outcome; the reading's problem says whether there is reason to ask again."""
    if _refused(response):
        why = response["refusal"] or f"finish_reason={response['finish_reason']}"
        return Reading([], [], f"the model refused: {why[:200]}")
    # Ollama cuts what is over its window without a word; no tokenizer packs so many characters into a token.
    read, length = response["usage"][0], sum(len(message["content"]) for message in request.messages)
    outcome.unread = outcome.unread or bool(read) and length > UNREAD * read
    reading = read_items(response["content"], request.form)
    # The answer to a repair may repeat what was there.
    outcome.items += [item for item in reading.items if item not in outcome.items]
    outcome.wrong += reading.wrong
    # Cut off before it came to the point, or in the middle of it; a small model that rambles on gets no more room.
    began = not response["content"].strip() or "{" in response["content"]
    if response["finish_reason"] == "length" and began and len(outcome.items) < request.wanted:
        return Reading(reading.items, reading.wrong, CUT_OFF)
    return reading


def _refused(response: Response) -> bool:
    return bool(response["refusal"]) or response["finish_reason"] == "content_filter"
