"""A scripted OpenAI-compatible server: chat completions that go wrong in every way, and the Batch API's files.

Real HTTP in threads of its own; a script says what each request gets. It counts what was asked, and remembers which
answers it sent as a whole: what a provider would charge for.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ftlib.synth.questions import path_of

Body = dict[str, Any]


class Reply:
    """What one request gets: a status, a body, headers; `cut` bytes of the body are sent, `wait` seconds passed."""

    def __init__(self, body: Any, status: int = 200, headers: dict[str, str] | None = None, *, cut: int | None = None,
                 wait: float = 0.0):  # fmt: skip
        self.status, self.headers, self.cut, self.wait = status, headers or {}, cut, wait
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


def completion(
    content: str | None, finish_reason: str = "stop", refusal: str | None = None, usage: bool = True
) -> Body:
    message = {"role": "assistant", "content": content, "refusal": refusal}
    counts = {"prompt_tokens": 400, "completion_tokens": 100, "total_tokens": 500} if usage else None
    choices = [{"index": 0, "finish_reason": finish_reason, "message": message, "logprobs": None}]
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choices, "usage": counts}


def pairs(*questions: str, **more: Any) -> str:
    """Well-formed pairs whose answer and evidence are of the question's own words."""
    rows = [{"question": q, "answer": f"{q} Yes.", "evidence": "", "kind": "what", **more} for q in questions]
    return json.dumps({"pairs": rows})


def error(message: str, **more: Any) -> Body:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}}


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # with 5, connections that come at once wait a second


class ChatServer:
    """Use as a context. `script(body, times)` gives the Reply (or the completion) to a request asked `times` before."""

    def __init__(self, script: Callable[[Body, int], Any], latency: float = 0.0):
        self.script, self.latency = script, latency
        self.asked: Counter[str] = Counter()  # by the user's message
        self.charged: Counter[str] = Counter()
        self.bodies: list[Body] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.most = self.under_way = 0
        self.lock = threading.Lock()
        self.batches = Batches(self)
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ChatServer:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def chat(self, body: Body) -> Reply:
        """What the script says to a request; counts it."""
        key = json.dumps(body["messages"])
        with self.lock:
            times = self.asked[key]
            self.asked[key] += 1
            self.bodies.append(body)
        reply = self.script(body, times)
        return reply if isinstance(reply, Reply) else Reply(reply)

    def charge(self, body: Body) -> None:
        with self.lock:
            self.charged[json.dumps(body["messages"])] += 1


class _Handler(BaseHTTPRequestHandler):
    owner: ChatServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits for the client's acknowledgement

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(self.owner.batches.get(self.path))

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.owner.paths.append(self.path)
        self.owner.headers.append(dict(self.headers.items()))
        if "/chat/completions" not in self.path:
            self._answer(self.owner.batches.post(self.path, self.headers, data))
            return
        try:
            body = json.loads(data)
        except ValueError:  # the client was stopped in mid-sentence
            return
        with self.owner.lock:
            self.owner.under_way += 1
            self.owner.most = max(self.owner.most, self.owner.under_way)
        reply = self.owner.chat(body)
        time.sleep(self.owner.latency + reply.wait)
        with self.owner.lock:
            self.owner.under_way -= 1
        if self._answer(reply) and reply.status == 200 and reply.cut is None and b'"choices"' in reply.body:
            self.owner.charge(body)

    def _answer(self, reply: Reply) -> bool:
        try:
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])
            if reply.cut is not None:
                self.close_connection = True
            return True
        except OSError:  # the client is gone
            return False


class Batches:
    """/files and /batches: a batch is worked through when `finish` is called."""

    def __init__(self, owner: ChatServer):
        self.owner = owner
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Body] = {}
        self.faults: list[
            tuple[str, Reply, bool]
        ] = []  # the path's beginning, what it gets once, and whether it is done

    def get(self, path: str) -> Reply:
        if fault := self._fault(f"GET {path}", lambda: None):
            return fault
        name = path.removeprefix("/v1/").split("?")[0]
        if name == "batches":
            rows = list(self.batches.values())[::-1]
            return Reply({"object": "list", "data": rows, "has_more": False, "first_id": None, "last_id": None})
        if name.startswith("batches/"):
            return Reply(self.batches[name.split("/")[1]])
        if name.startswith("files/"):
            return Reply(self.files[name.split("/")[1]])
        return Reply(error("no such path"), 404)

    def post(self, path: str, headers: Any, data: bytes) -> Reply:
        made: list[Reply] = []

        def work() -> None:
            made.append(self._post(path, headers, data))

        if fault := self._fault(f"POST {path}", work):
            return fault
        work()
        return made[0]

    def _fault(self, what: str, work: Callable[[], None]) -> Reply | None:
        for number, (start, reply, done) in enumerate(self.faults):
            if what.startswith(start):
                del self.faults[number]
                if done:  # carried out, though the client will not hear of it
                    work()
                return reply
        return None

    def _post(self, path: str, headers: Any, data: bytes) -> Reply:
        if path == "/v1/files":
            boundary = b"--" + headers["Content-Type"].split("boundary=")[1].encode()
            part = next(part for part in data.split(boundary) if b'name="file"' in part)
            id = f"file-{len(self.files)}"
            self.files[id] = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            return Reply({"id": id, "object": "file", "bytes": 1, "created_at": 0, "filename": "x", "purpose": "batch",
                          "status": "processed"})  # fmt: skip
        body = json.loads(data)
        id = f"batch_{len(self.batches)}"
        self.batches[id] = {
            "id": id, "object": "batch", "endpoint": body["endpoint"], "input_file_id": body["input_file_id"],
            "completion_window": body["completion_window"], "status": "in_progress", "created_at": 0,
            "metadata": body.get("metadata"), "output_file_id": None, "error_file_id": None, "errors": None,
            "request_counts": {"total": len(self.lines(body["input_file_id"])), "completed": 0, "failed": 0},
        }  # fmt: skip
        return Reply(self.batches[id])

    def lines(self, file: str) -> list[Body]:
        return [json.loads(line) for line in self.files[file].decode().splitlines()]

    def finish(self, status: str = "completed", upto: int | None = None) -> None:
        """End all batches that are under way; of an expired one, only the first `upto` requests are answered."""
        for batch in self.batches.values():
            if batch["status"] != "in_progress":
                continue
            good: list[Body] = []
            bad: list[Body] = []
            for number, line in enumerate(self.lines(batch["input_file_id"])):
                if upto is not None and number >= upto:
                    expired = {"code": "batch_expired", "message": "This request could not be executed in time."}
                    bad.append({"id": "r", "custom_id": line["custom_id"], "response": None, "error": expired})
                    continue
                reply = self.owner.chat(line["body"])
                response = {"status_code": reply.status, "request_id": "x", "body": json.loads(reply.body)}
                row = {"id": "r", "custom_id": line["custom_id"], "response": response, "error": None}
                (good if reply.status == 200 else bad).append(row)
                if reply.status == 200:
                    self.owner.charge(line["body"])
            for name, rows in (("output_file_id", good), ("error_file_id", bad)):
                if rows:
                    batch[name] = f"file-{len(self.files)}"
                    self.files[batch[name]] = "".join(json.dumps(row) + "\n" for row in rows).encode()
            batch["status"] = status


def serving(rows: list[Body], documents: list[Body]) -> Callable[[Body, int], Reply]:
    """A script that answers each request for pairs with the rows of a question set that are on its document.

    Args:
        rows: question, answer, source, and evidence where there is some.
        documents: those that the requests are on, as 01_scrape wrote them.
    """
    by_text: dict[str, list[Body]] = {}
    for document in documents:
        mine = [row for row in rows if path_of(row["source"]) == document["path"]]
        by_text[document["text"].strip()[:200]] = [
            {"kind": "what", **{name: row.get(name, "") for name in ("question", "answer", "evidence")}} for row in mine
        ]

    def script(body: Body, times: int) -> Reply:
        text = body["messages"][1]["content"].split("\n\n", 1)[1].strip()
        return Reply(completion(json.dumps({"pairs": by_text.get(text[:200], [])})))

    return script
