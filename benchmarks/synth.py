"""How fast pairs come from an API, and what an interruption costs: ftlib beside instructor, at one scripted server.

    .venv/bin/python benchmarks/synth.py [--pages 300] [--latency 1.0] [--concurrency 16]

The server (tests/chat_server.py, in a process of its own) answers every request after `latency` seconds with five
well-formed pairs. The ideal is pages * latency / concurrency. Both validate the pairs by a pydantic form; ftlib also
has every response on disk before it is looked at. instructor (`from_openai`, mode JSON_SCHEMA) keeps nothing, so its
loop is asyncio.gather under a semaphore, as its documentation shows. By turns, `rounds` times; the minimum of each
counts, imports left out.

Then a run is killed with SIGKILL at a third of the pages and again at two thirds, and run to its end. `paid_twice`:
requests that were sent again although their answer was on disk; those that were on their way at the moment of a kill
are `lost_in_flight`, `concurrency` a kill at most. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import instructor
import openai
from chat_server import ChatServer, Reply, completion, pairs

from ftlib import __version__
from ftlib.synth.config import SynthConfig
from ftlib.synth.pairs import Api, page_qa, responses_path

TEXT = "The quillgate service of brindlewick listens on port 8113 and writes its ledger every 90 seconds.\n" * 10


def documents(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"wiki:p{n}", "source": "wiki", "title": f"p{n}", "path": f"p{n}", "text": TEXT, "date": "2023-12-21"}
        for n in range(count)
    ]


def serve(latency: float) -> None:
    """A server that says its address, and by GET /counts how often each page was asked for and answered."""
    reply = completion(pairs(*(f"What is number {n} of brindlewick?" for n in range(5))))
    with ChatServer(lambda *_: reply, latency) as server:

        def counts(path: str) -> Reply:
            return Reply({"asked": list(server.asked.values()), "charged": list(server.charged.values())})

        server.batches.get = counts  # type: ignore[method-assign]
        print(server.url, flush=True)
        sys.stdin.read()


def start_server(latency: float) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, __file__, "--serve", "--latency", str(latency)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ours(url: str, folder: Path, args: argparse.Namespace) -> int:
    config = SynthConfig(base_url=url, model="m", concurrency=args.concurrency)

    async def work() -> int:
        async with Api(config, folder, "key") as api:
            return len((await page_qa(documents(args.pages), "brindlewick", config, api)).rows)

    return asyncio.run(work())


def instructors(url: str, args: argparse.Namespace) -> int:
    from pydantic import BaseModel

    class Pair(BaseModel):
        question: str
        answer: str
        evidence: str
        kind: str

    class Pairs(BaseModel):
        pairs: list[Pair]

    async def work() -> int:
        client = instructor.from_openai(
            openai.AsyncOpenAI(base_url=url, api_key="key"), mode=instructor.Mode.JSON_SCHEMA
        )
        gate = asyncio.Semaphore(args.concurrency)

        async def one(page: dict[str, Any]) -> int:
            async with gate:
                found = await client.chat.completions.create(
                    model="m",
                    response_model=Pairs,
                    messages=[{"role": "user", "content": f"5 pairs on {page['title']}:\n\n{page['text']}"}],
                )
                return len(found.pairs)

        return sum(await asyncio.gather(*map(one, documents(args.pages))))

    return asyncio.run(work())


def interrupted(args: argparse.Namespace) -> dict[str, int]:
    """Kill a run twice, then let it end; what the server was asked for more than once."""
    process, url = start_server(args.latency)
    with tempfile.TemporaryDirectory() as name:
        folder, lost = Path(name), 0
        for share in (1 / 3, 2 / 3):
            command = [sys.executable, __file__, "--once", url, name, "--pages", str(args.pages)]
            run = subprocess.Popen(
                [*command, "--concurrency", str(args.concurrency)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            while kept(folder) < args.pages * share:
                time.sleep(0.02)
            os.kill(run.pid, signal.SIGKILL)
            run.wait()
            time.sleep(args.latency + 0.2)  # what was under way reaches nobody, or is counted as answered
            lost += sum(counts(url)["asked"]) - lost - kept(folder)
        rows = ours(url, folder, args)
        found = counts(url)
    process.kill()
    asked = sum(found["asked"])
    if rows != 5 * args.pages:
        raise SystemExit(f"{rows} pairs instead of {5 * args.pages} after two kills")
    return {"paid_twice": asked - args.pages - lost, "lost_in_flight": lost}


def kept(folder: Path) -> int:
    path = responses_path(folder)
    return path.read_bytes().count(b"\n") if path.exists() else 0


def counts(url: str) -> dict[str, list[int]]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/counts") as answer:
        return json.load(answer)


def timed(what: Any, expected: int) -> float:
    began = time.perf_counter()
    found = what()
    took = time.perf_counter() - began
    if found != expected:
        raise SystemExit(f"{found} pairs came instead of {expected}")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=300)
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--once", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(args.latency)
    if args.once:
        ours(args.once[0], Path(args.once[1]), args)
        return None
    seconds: dict[str, list[float]] = {"ftlib": [], "instructor": []}
    for _ in range(args.rounds):
        for name in seconds:
            process, url = start_server(args.latency)
            with tempfile.TemporaryDirectory() as folder:
                run = partial(ours, url, Path(folder), args) if name == "ftlib" else partial(instructors, url, args)
                seconds[name].append(timed(run, 5 * args.pages))
            process.kill()
    ideal = args.pages * args.latency / args.concurrency
    best = {name: min(values) for name, values in seconds.items()}
    result = {
        "pages": args.pages,
        "latency": args.latency,
        "concurrency": args.concurrency,
        "seconds": round(best["ftlib"], 2),
        "seconds_instructor": round(best["instructor"], 2),
        "ideal": round(ideal, 2),
        "ratio_to_ideal": round(best["ftlib"] / ideal, 3),
        "ratio_to_instructor": round(best["ftlib"] / best["instructor"], 3),
        **interrupted(args),
        "ftlib": __version__,
        "openai": importlib.metadata.version("openai"),
        "instructor": importlib.metadata.version("instructor"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
