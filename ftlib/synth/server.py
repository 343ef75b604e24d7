"""One OpenAI-compatible server by the plain `openai` client: what it takes, and what its refusals mean.

Structured output differs from server to server. It is asked for as strictly as the server lets us: a JSON schema, then
JSON mode, then by the prompt alone; answers are validated here in any case. The first request settles this, and goes
alone (`asking`), so that a server refuses a form once and not once for each page.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from ftlib.errors import SetupError
from ftlib.synth.config import OPENAI, SynthConfig
from ftlib.synth.journal import Response
from ftlib.synth.prompts import Request

FORMATS = ("json_schema", "json_object", "none")
ROOMS = ("max_completion_tokens", "max_tokens")
_CONTEXT = re.compile(r"context[ _-]?(?:length|size|window)|maximum context|too many tokens|prompt is too long", re.I)
_ROOM = re.compile(r"max_(?:completion_)?tokens", re.I)
_TOO_LARGE = re.compile(r"too large|at most|exceed|less than|greater than", re.I)
_LIMIT = re.compile(r"(?:length|size|window|most|than)\D{0,40}?(\d{3,7})", re.I)


@dataclass(frozen=True)
class Dialect:
    """How a request is put to a server."""

    room: str
    """The name of the limit of an answer."""
    format: str = FORMATS[0]
    temperature: bool = True
    cap: int = 10**9
    """Tokens of an answer that the server grants at most."""

    def body(self, request: Request) -> dict[str, Any]:
        body: dict[str, Any] = {"model": request.model, "messages": list(request.messages)}
        body[self.room] = min(request.max_tokens, self.cap)
        if self.temperature:
            body["temperature"] = request.temperature
        if self.format == "json_schema":
            form = {"name": request.envelope, "schema": request.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        elif self.format == "json_object":
            body["response_format"] = {"type": "json_object"}
        return body | dict(request.extra)

    def after(self, refusal: str, request: Request, first_room: str) -> Dialect | None:
        """What to try after a refusal of a request (status 400 or 422); None where it was not about the words.

        Raises:
            TooLong: it was about the length of the prompt.
        """
        about_context = _CONTEXT.search(refusal)
        if about_context or (_ROOM.search(refusal) and _TOO_LARGE.search(refusal)):
            limit = _LIMIT.search(refusal)
            # Half of a window is for the prompt.
            if limit and (cap := int(limit[1]) // (2 if about_context else 1)) < min(self.cap, request.max_tokens):
                return replace(self, cap=cap)
            raise TooLong(refusal)
        if _ROOM.search(refusal) and self.room == first_room:
            return replace(self, room=ROOMS[1 - ROOMS.index(first_room)])
        if "temperature" in refusal.lower() and self.temperature:
            return replace(self, temperature=False)
        if self.format != FORMATS[-1]:
            # Whatever the words of the refusal: the form is what a server is likeliest not to know.
            return replace(self, format=FORMATS[FORMATS.index(self.format) + 1])
        return None


class TooLong(Exception):
    """The server takes no prompt of this length."""


class Refused(Exception):
    """The server refuses this request for good; the others may go on."""


class Unanswered(Exception):
    """No answer after all retries; a later run may get one."""


class Server:
    """The client, and what is known of the server by now."""

    def __init__(self, config: SynthConfig, api_key: str | None):
        import openai

        self.address = config.base_url or OPENAI
        settings: dict[str, Any] = {"max_retries": config.max_retries, "timeout": config.timeout}
        # A local server wants no key, but the client wants one; and it would read a key of OpenAI's by itself.
        key = api_key or "none"
        self.client: openai.AsyncOpenAI
        if config.api_version:
            self.client = openai.AsyncAzureOpenAI(
                azure_endpoint=config.base_url, api_version=config.api_version, api_key=key, **settings
            )
        else:
            self.client = openai.AsyncOpenAI(base_url=self.address, api_key=key, **settings)
        # OpenAI's reasoning models take only the new name, most other servers only the old one.
        hosted = not config.base_url or ".openai." in config.base_url
        self.first_room = ROOMS[0 if hosted else 1]
        self.answered = False  # ever, in this run or one before
        self.forget()

    def forget(self) -> None:
        """Find out anew what the server takes."""
        self.dialect, self.tried, self.worked = Dialect(self.first_room), False, False

    async def ask(self, request: Request) -> Response:
        """One answer.

        Raises:
            TooLong, Refused, Unanswered: see there.
            SetupError: nothing can be had of this server: wrong key, model or address, or no money left.
        """
        try:
            return await self._ask(request)
        finally:
            self.tried = True

    async def _ask(self, request: Request) -> Response:
        import openai

        create: Any = self.client.chat.completions.create  # its types know OpenAI's own models and fields
        dialect, refused = self.dialect, set[Dialect]()
        while True:
            began = time.monotonic()
            body = dialect.body(request)
            try:
                # Fields that the client does not know (vLLM's) go beside those that it does.
                more = {"extra_body": {name: body.pop(name) for name in request.extra}} if request.extra else {}
                answer = (await create(**body, **more)).model_dump()
                if answer.get("error") and not answer.get("choices"):  # OpenRouter's way, under a status of 200
                    raise Unanswered(_short(answer["error"]))
                response = response_of(answer, time.monotonic() - began)
                if not self.worked:
                    self.dialect, self.worked = dialect, True
                self.answered = True
                return response
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                refused.add(dialect)
                if self.dialect not in refused:  # another request has found out meanwhile
                    dialect = self.dialect
                    continue
                other = dialect.after(str(error), request, self.first_room)
                if other is None:
                    raise Refused(_short(error)) from error
                # Once something worked, a refusal may be of this page alone: the others keep their form.
                self.dialect = replace(self.dialect, cap=other.cap) if self.worked else other
                dialect = other
            except openai.APITimeoutError as error:
                raise Unanswered(f"no answer in {self.client.timeout} s") from error
            except openai.APIConnectionError as error:
                if not self.tried:
                    raise SetupError(
                        f"Nothing answers at {self.address} ({_short(error)}). Is the server running? Mend `base_url`."
                    ) from error
                raise Unanswered(_short(error)) from error
            except openai.APIStatusError as error:
                self._status(error)
            except (openai.APIError, ValueError, TypeError, AttributeError) as error:
                # A body that is cut off or no chat completion, under a status of 200.
                raise Unanswered(f"the body is no answer: {_short(error)}") from error

    def _status(self, error: Any) -> NoReturn:
        message, status = _short(error), error.status_code
        if status in (403, 404) and self.answered:  # of this page alone: moderation, for example
            raise Refused(f"{status}: {message}") from error
        if status in (401, 403):
            raise SetupError(f"{self.address} does not accept the key ({status}: {message}). Mend the key.") from error
        if status == 402 or "insufficient_quota" in (error.code, error.type):
            raise SetupError(f"{self.address}: no money is left ({status}: {message}). What came is kept.") from error
        if status == 404:
            hint = "" if "/v1" in self.address else " Does the address end with /v1?"
            raise SetupError(f"{self.address} does not know the model or the path (404: {message}).{hint}") from error
        if status == 413:
            raise TooLong(message) from error
        if status in (408, 409, 425, 429) or status >= 500:
            raise Unanswered(f"{status}: {message}") from error
        raise Refused(f"{status}: {message}") from error


def response_of(completion: Mapping[str, Any], seconds: float | None = None) -> Response:
    """What is kept of a chat completion: content, finish_reason, refusal, usage (tokens), seconds."""
    choice = (completion.get("choices") or [{}])[0]
    message, usage = choice.get("message") or {}, completion.get("usage") or {}
    return {
        "content": message.get("content") or "",
        "finish_reason": choice.get("finish_reason"),
        "refusal": message.get("refusal"),
        "usage": [usage.get("prompt_tokens"), usage.get("completion_tokens")],
        "seconds": None if seconds is None else round(seconds, 3),
    }


def _short(error: object) -> str:
    return " ".join(str(error).split())[:300]
