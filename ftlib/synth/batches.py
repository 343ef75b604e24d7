"""OpenAI's Batch API: half the price, answers within a day, collected by whichever runtime comes back.

What was sent is noted in `batches/`, one file a batch, before it is sent; the batch itself carries the note's name as
metadata. So a run that was killed between sending and noting finds its batch again, and sends nothing twice. Answers go
into the journal, as all others do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from ftlib.errors import SetupError
from ftlib.synth.journal import Journal
from ftlib.synth.prompts import Request
from ftlib.synth.server import Dialect, Server, response_of
from ftlib.workspace import atomic_write, read_json, write_json

REQUESTS, BYTES = 50_000, 150_000_000  # of a batch; OpenAI takes 50,000 and 200 MB
ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
UNDER_WAY = ("validating", "in_progress", "finalizing", "cancelling")
TRIES = 5
_LISTED = 300  # batches that are looked through for one whose sending was not noted


class Pending(SetupError):
    """The answers are not there yet: run the cell again later."""


async def through_batches(requests: Sequence[Request], server: Server, journal: Journal, folder: Path) -> None:
    """Bring the responses to all requests into the journal, but for those that need a direct request.

    Raises:
        Pending: batches are under way, sent now or before.
        SetupError: the server takes no batch of these requests.
    """
    under_way: set[str] = set()
    direct: set[str] = set()
    states = []
    wanted = {request.key for request in requests if request.key not in journal}
    for path in sorted(folder.glob("*.json")):
        note = read_json(path)
        if requests and note["about"][0]["model"] == requests[0].model:
            # What the server takes was found out before the first batch.
            server.dialect, server.tried = Dialect(**note["dialect"]), True
        if note["state"] == "noted" and not wanted & set(note["keys"]):
            continue  # answered meanwhile, or nobody asks any more
        if note["state"] != "collected":
            states.append(await _collect(path, note, server, journal))
        direct |= set(note.get("direct", ()))
        if note["state"] != "collected":
            under_way |= set(note["keys"])
    todo = [r for r in requests if r.key not in journal and r.key not in under_way and r.key not in direct]
    if todo and not server.tried:
        # One direct request: a wrong key, model or option shows now and not tomorrow.
        first = todo.pop(0)
        journal.append(first.key, first.about | await server.ask(first))
    for portion in _portions(todo, server):
        states.append(await _send(portion, server, folder))
    waiting = [state for state in states if state]
    if waiting:
        raise Pending(
            f"Batch API: {'; '.join(waiting)}. Run this cell again later, in this runtime or another one with the same "
            "workspace: nothing is sent twice."
        )


def _portions(requests: Iterable[Request], server: Server) -> Iterator[list[tuple[Request, str]]]:
    portion: list[tuple[Request, str]] = []
    size = 0
    for request in requests:
        body = server.dialect.body(request)
        line = json.dumps({"custom_id": request.key, "method": "POST", "url": ENDPOINT, "body": body})
        if portion and (len(portion) >= REQUESTS or size + len(line) >= BYTES):
            yield portion
            portion, size = [], 0
        portion.append((request, line))
        size += len(line) + 1
    if portion:
        yield portion


# --- sending ----------------------------------------------------------------------------------------------------------


async def _send(portion: list[tuple[Request, str]], server: Server, folder: Path) -> str:
    """Note and send one batch; says how it stands."""
    numbers = [int(path.stem.split("-")[0]) for path in folder.glob("*.json")]
    path = folder / f"{max(numbers, default=0) + 1:04d}-{portion[0][0].key[:12]}.json"
    with atomic_write(path.with_suffix(".jsonl")) as out:
        out.writelines(f"{line}\n" for _, line in portion)
    about = {request.key: request.about for request, _ in portion}
    note = {
        "state": "noted",
        "keys": list(about),
        "about": list(about.values()),
        "dialect": asdict(server.dialect),
    }
    write_json(path, note)
    return await _submit(path, note, server)


async def _submit(path: Path, note: dict[str, Any], server: Server) -> str:
    """Send what was noted, unless it was sent before the run that did so was killed."""
    import openai

    # Without the client's retries: a request that was carried out, but whose answer got lost, would be carried out
    # again. So it is looked for first, each time.
    once = server.client.with_options(max_retries=0)
    problem: Exception | None = None
    for number in range(TRIES):
        try:
            batch = await _find(path.stem, server)
            if batch is None:
                content = path.with_suffix(".jsonl").read_bytes()
                file = await server.client.files.create(file=(f"{path.stem}.jsonl", content), purpose="batch")
                batch = await once.batches.create(
                    input_file_id=file.id,
                    endpoint=ENDPOINT,
                    completion_window="24h",
                    metadata={"ftlib": path.stem},
                )
            note |= {"state": "sent", "batch": batch.id}
            write_json(path, note)
            return f"{len(note['keys']):,} requests are sent ({batch.id})"
        except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError) as error:
            problem = error
            await asyncio.sleep(min(0.5 * 2**number, 8.0))
        except openai.APIStatusError as error:
            raise SetupError(f"{server.address} takes no batch: {str(error)[:300]}. Set `batch` to False.") from error
    return f"{len(note['keys']):,} requests are not sent yet ({str(problem)[:200]})"


async def _find(name: str, server: Server) -> Any:
    """The batch of this name at the server, or None."""
    seen = 0
    async for batch in server.client.batches.list(limit=100):
        if (batch.metadata or {}).get("ftlib") == name:
            return batch
        seen += 1
        if seen >= _LISTED:
            break
    return None


# --- collecting -------------------------------------------------------------------------------------------------------


async def _collect(path: Path, note: dict[str, Any], server: Server, journal: Journal) -> str:
    """Bring the answers of a batch into the journal when it has ended; says how it stands, "" for ended."""
    if note["state"] == "noted":
        return await _submit(path, note, server)
    batch = await server.client.batches.retrieve(note["batch"])
    if batch.status in UNDER_WAY:
        counts = batch.request_counts
        done = f"{counts.completed:,} of {counts.total:,} done" if counts else "no count yet"
        return f"{batch.id} is {batch.status}, {done}"
    about = dict(zip(note["keys"], note["about"], strict=True))
    direct: list[str] = []
    for file in (batch.output_file_id, batch.error_file_id):
        if not file:
            continue
        async with server.client.files.with_streaming_response.content(file) as answer:
            # Not iter_lines: a line separator of Unicode, which JSON may hold as it is, ends no line.
            for line in (await answer.read()).split(b"\n"):
                _take(line, batch.id, about, journal, direct)
    note |= {"state": "collected", "status": batch.status, "direct": direct}
    write_json(path, note)
    if batch.status == "failed":
        errors = "; ".join(str(error.message) for error in (batch.errors.data if batch.errors else None) or [])
        why = errors or "no reason given"
        raise SetupError(f"{server.address} took none of batch {batch.id}: {why}. It cost nothing.")
    print(f"batch {batch.id}: {batch.status}, {sum(key in journal for key in about):,} of {len(about):,} answers")
    return ""


def _take(line: bytes, batch: str, about: dict[str, Any], journal: Journal, direct: list[str]) -> None:
    """One line of an output or error file."""
    if not line.strip():
        return
    row = json.loads(line)
    key, response = row.get("custom_id"), row.get("response") or {}
    if key not in about or key in journal:
        return
    status = response.get("status_code") or 0
    if status == 200:
        journal.append(key, {**about[key], **response_of(response.get("body") or {}), "batch": batch})
    elif 400 <= status < 500 and status not in (408, 409, 429):
        # Refused as it stands; a direct request may find other words, or halve it.
        direct.append(key)
