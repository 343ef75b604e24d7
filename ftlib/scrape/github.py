"""GitHub's API through PyGithub, one request after the other, with the patience that GitHub asks for.

https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api: requests one at a time; after
a refusal wait for `Retry-After`, else until `X-RateLimit-Reset` where nothing remains, else a minute, then longer.
PyGithub's own retries are off: they know neither a 429 without `Retry-After` nor a cut answer, and show nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ftlib.errors import SetupError
from ftlib.scrape.answers import Answers

T = TypeVar("T")

API = "https://api.github.com"
TIMEOUT = 30
"""Seconds without an answer after which a request is given up; GitHub itself gives up after 10."""
FAILURES = 6
"""Server errors and cut connections of one request, one after the other, before it is given up."""


class TooMuch(Exception):
    """The server failed twice on one query that asks for several things: ask for fewer at once."""


class GitHub:
    """One repository on GitHub.

    `sent` counts requests by kind, `waited` the seconds spent on limits and failures.
    """

    def __init__(self, full_name: str, answers: Answers, *, token: str | None, api: str = API, max_wait: float = 3900):
        """
        Args:
            api: `https://api.github.com`, or `https://HOST/api/v3` of an Enterprise Server.
            max_wait: seconds that one request may spend in waits. GitHub's own limit is renewed every hour.

        Raises:
            SetupError: `api` is no address, or sends a token over an unencrypted line.
        """
        import github

        parts = urlsplit(api)
        local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if parts.scheme not in {"https", "http"} or not parts.hostname:
            raise SetupError(f"`api` is {api!r}: give '{API}' or, for an Enterprise Server, 'https://HOST/api/v3'.")
        if token and parts.scheme == "http" and not local:
            raise SetupError(f"`api` is {api!r}: a token is sent over https only. Write https://, or give no token.")
        auth = github.Auth.Token(token) if token else None
        hub = github.Github(
            auth=auth,
            base_url=api,
            timeout=TIMEOUT,
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=None,  # it takes a GraphQL query, a POST, for one
        )
        self.full_name, self.answers, self.max_wait = full_name, answers, max_wait
        self.owner, _, self.name = full_name.partition("/")
        self.has_token = bool(token)
        self.sent: Counter[str] = Counter()
        self.waited = 0.0
        self._requester = hub.requester

    def graphql(self, query: str, *, parts: int = 1, **variables: Any) -> dict[str, Any]:
        """The `data` of a query's answer.

        Args:
            parts: how many things the query asks for; with more than one, TooMuch is raised on the second server error.
        """

        def ask() -> dict[str, Any]:
            try:
                data = self._requester.graphql_query(query, variables)[1]["data"]
            except (KeyError, TypeError) as error:
                raise ValueError("the answer holds no data") from error
            if not isinstance(data, dict) or data.get("repository", data) is None:
                raise ValueError("the answer holds no data")
            return data

        return self._patiently("graphql", ask, give_up=2 if parts > 1 else None)

    def get(self, path: str, **parameters: Any) -> tuple[list[dict[str, Any]], int | None]:
        """One page of a list of the REST API (100 rows) and the number of the last page, None on the last one."""

        def ask() -> tuple[list[dict[str, Any]], int | None]:
            address = f"/repos/{self.full_name}{path}"
            headers, rows = self._requester.requestJsonAndCheck("GET", address, {"per_page": 100, **parameters})
            if not isinstance(rows, list):
                raise ValueError("the answer is no list")
            return rows, _last_page(headers.get("link", ""))

        return self._patiently("rest", ask)

    def page(
        self, key: str, path: str, keep: Callable[[dict[str, Any]], Any], number: int, **parameters: Any
    ) -> dict[str, Any]:
        """One page of a list, kept under `key` and its number: `rows`, each as `keep` makes it, and `last` of `get`."""

        def ask() -> dict[str, Any]:
            rows, last = self.get(path, page=number, **parameters)
            return {"rows": [keep(row) for row in rows], "last": last}

        return self.answers.get(f"{key} {number}", ask)

    def get_all(self, key: str, path: str, keep: Callable[[dict[str, Any]], Any], **parameters: Any) -> Iterator[Any]:
        """The rows of all pages; see `page`."""
        for number in count(1):
            answer = self.page(key, path, keep, number, **parameters)
            yield from answer["rows"]
            if answer["last"] is None:
                return

    def _patiently(self, kind: str, ask: Callable[[], T], give_up: int | None = None) -> T:
        import github
        import requests

        failures, waited = 0, 0.0
        while True:
            try:
                self.sent[kind] += 1
                return ask()
            except (github.GithubException, requests.RequestException, ValueError) as error:
                failures += 1
                facts = _facts(error)
                limited = _limit_wait(facts, failures)
                seconds = limited if limited is not None else min(2.0 ** (failures - 1), 60.0)
                if limited is None:
                    self._check(facts, error, failures)
                    if give_up and failures >= give_up:
                        raise TooMuch from error
                if waited + seconds > self.max_wait:
                    raise SetupError(self._over(seconds)) from error
            waited += seconds
            self.waited += seconds
            self.sent["retried"] += 1
            what = f"GitHub did not answer ({facts['said']})" if limited is None else "GitHub's rate limit is reached"
            left = f"waiting {seconds:,.0f} s, until {_clock(seconds)}"
            print(f"{what}: {left}. Stop at any time: what was read is kept.", flush=True)
            sleep(seconds)

    def _check(self, facts: dict[str, Any], error: Exception, failures: int) -> None:
        """Raise for what waiting does not mend."""
        status, said = facts["status"], facts["said"]
        if status == 401:
            raise SetupError("GitHub does not know the token (401): give another GITHUB_TOKEN, or none.") from error
        if status == 404 or facts["type"] == "NOT_FOUND":
            way = "the token may not read it" if self.has_token else "it is private: give GITHUB_TOKEN"
            raise SetupError(f"GitHub knows no repository {self.full_name!r}, or {way}. Check `repository`.") from error
        if status == 403:
            raise SetupError(
                f"GitHub refuses to show {self.full_name!r} (403: {said}). Give the token the right to read its "
                "contents, pull requests, issues and discussions, or set pull_requests_from='history'."
            ) from error
        mends = status is None or status >= 500 or facts["busy"]
        if not mends:
            raise SetupError(f"GitHub refused the request ({status}: {said}).") from error
        if failures >= FAILURES:
            raise SetupError(
                f"GitHub did not answer {failures} times in a row ({said}). What was read is kept: run again later, or "
                "set pull_requests_from='history' to read the pull requests from git alone."
            ) from error

    def _over(self, seconds: float) -> str:
        more = "" if self.has_token else " With a GITHUB_TOKEN the limit is 5,000 requests an hour instead of 60."
        return (
            f"GitHub's limit is used up until {_clock(seconds)}, longer than `max_wait` ({self.max_wait:,.0f} s) "
            f"allows. What was read is kept: run again then, or raise `max_wait`.{more}"
        )


def _facts(error: Exception) -> dict[str, Any]:
    """What an error says: HTTP status (None for a cut line or a broken answer), headers, type and text."""
    status = getattr(error, "status", None)
    headers = {key.lower(): value for key, value in (getattr(error, "headers", None) or {}).items()}
    data = getattr(error, "data", None)
    errors = data.get("errors") if isinstance(data, dict) else None
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    message = str((data.get("message") if isinstance(data, dict) else None) or first.get("message") or "")
    said = message or (f"{status}" if status else type(error).__name__)
    # A query that took too long ends in an answer with status 200 and this text, which PyGithub makes a 400.
    busy = "something went wrong while executing" in message.lower()
    return {
        "status": status,
        "headers": headers,
        "type": first.get("type", ""),
        "message": message,
        "said": " ".join(said.split())[:200],
        "busy": busy,
    }


def _limit_wait(facts: dict[str, Any], failures: int) -> float | None:
    """Seconds to wait for a rate limit, None where the error is not one."""
    status, headers = facts["status"], facts["headers"]
    message = facts["message"].lower()
    empty = headers.get("x-ratelimit-remaining") == "0"
    named = facts["type"] == "RATE_LIMITED" or "rate limit" in message or "abuse detection" in message
    if status != 429 and not (status in {200, 400, 403} and (named or empty or "retry-after" in headers)):
        return None
    after = _seconds(headers.get("retry-after", ""))
    if after is not None:
        return after
    reset = headers.get("x-ratelimit-reset", "")
    if empty and reset.isdigit():
        return max(int(reset) - now(), 0.0) + 1.0  # the limit is renewed some time in that second
    return 60.0 * 2 ** (failures - 1)


def _seconds(text: str) -> float | None:
    """`Retry-After`: seconds or a date (RFC 9110)."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(parsedate_to_datetime(text).timestamp() - now(), 0.0)
    except (TypeError, ValueError):
        return None


def _last_page(link: str) -> int | None:
    """The number of the last page from a `Link` header, None where there is no next one."""
    import requests

    pages = {entry.get("rel"): entry["url"] for entry in requests.utils.parse_header_links(link)} if link else {}
    if "next" not in pages:
        return None
    number = dict(
        pair.split("=", 1) for pair in urlsplit(pages.get("last", pages["next"])).query.split("&") if "=" in pair
    ).get("page", "")
    return int(number) if number.isdigit() else 0


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(now() + seconds, UTC).strftime("%H:%M:%S UTC")


def now() -> float:
    return time.time()


def sleep(seconds: float) -> None:
    time.sleep(seconds)
