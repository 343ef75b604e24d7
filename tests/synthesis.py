"""Pages, scripts of servers and runs of 02_synth, for its tests."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from chat_server import ChatServer, Reply, completion, error, pairs, serving

from ftlib import sample
from ftlib.synth import SynthConfig, synth
from ftlib.synth.pairs import Api, page_qa
from ftlib.workspace import read_jsonl

COMMON: dict[str, Any] = {"temperature": 0.0, "max_tokens": 300, "pairs_per_page": 2, "timeout": 5.0, "max_retries": 2}


GOOD = completion(pairs("Q1?", "Q2?"))


def page(name, text="Some words on it.", source="wiki"):
    return {"id": f"{source}:{name}", "source": source, "title": name, "path": name, "text": text,
            "date": "2023-12-21T10:00:00Z"}  # fmt: skip


def lines_of(name, count):
    return page(name, "".join(f"Line {n} of a page with many words on it.\n" for n in range(count)))


def shown(body):
    return body["messages"][1]["content"].split("\n\n", 1)[1]


def ask(server, folder, documents, **settings):
    config = SynthConfig(**{**COMMON, "base_url": server.url, "model": "m", **settings})

    async def work():
        async with Api(config, folder, "key") as api:
            return await page_qa(documents, "proj", config, api)

    return asyncio.run(work())


def on(name, reply):
    """A script: `reply(times, body)` for one page's requests, good pairs for all others."""

    def script(body, times):
        about = body["messages"][1]["content"]
        return reply(times, body) if f'page "{name}"' in about else GOOD

    return script


API: dict[str, Any] = {"base_url": "http://localhost:1/v1", "model": "m", "max_retries": 0, "part_tokens": 100_000}


def by_api(server, **settings):
    return SynthConfig(**{**API, "base_url": server.url, **settings})


def run(config, space, **more):
    return asyncio.run(synth(config, space, **more))


def page_qa_of(space):
    return [chat for chat in read_jsonl(space.chats) if chat["method"] == "page_qa"]


def pair(question, answer, evidence, **more):
    return {"question": question, "answer": answer, "evidence": evidence, "kind": "what", **more}


def on_page(title, rows, verdicts=()):
    """A script: these pairs for one page, none for the others; and a judge's verdicts."""

    def script(body, times):
        if "verdicts" in body["messages"][0]["content"]:
            return completion(json.dumps({"verdicts": list(verdicts)}))
        mine = rows if f'page "{title}"' in body["messages"][1]["content"] else []
        return completion(json.dumps({"pairs": mine}))

    return script


def served(space):
    """The sample's question file as the answers of a server."""
    return ChatServer(serving(sample.questions("questions"), list(read_jsonl(space.documents))))


PAGES = [page("one"), page("odd"), page("two")]


MANY = [page(f"p{n}") for n in range(12)]


def picky(takes):
    """A server that knows only some of the request's fields, and says so as real ones do."""

    def script(body, times):
        form = body.get("response_format", {}).get("type", "none")
        if form not in takes["formats"]:
            return Reply(error(f"Invalid parameter: 'response_format' of type '{form}' is not supported"), 400)
        for name in ("max_tokens", "max_completion_tokens"):
            if name in body and name != takes["room"]:
                return Reply(error(f"Unsupported parameter: '{name}' is not supported with this model."), 400)
        if "temperature" in body and not takes["temperature"]:
            return Reply(error("Unsupported value: 'temperature' does not support 0.0 with this model."), 400)
        return GOOD

    return script


def shown_title(body):
    return body["messages"][1]["content"].splitlines()[0]
