"""Pull requests, issues and discussions over a GitHub-shaped server: complete, in few requests, through every fault."""

import multiprocessing
import os
import signal
import time
from functools import partial

import pytest
from github_rest import answer, limited
from github_server import GitHubServer, pull, said, thread
from werkzeug import Response

from ftlib.errors import SetupError
from ftlib.scrape import anonymous, github, threads
from ftlib.scrape.answers import Answers
from ftlib.scrape.conversation import said as conversation
from ftlib.scrape.github import GitHub
from ftlib.scrape.online import reader

NAME, END = "fennhollow/brindlewick", "2030-01-01T00:00:00Z"
TOKENS = ["a token", None]


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds that were waited, without waiting."""
    seconds: list[float] = []
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(github, "sleep", seconds.append)
    return seconds


def at(number):
    return f"2024-{1 + number // 28:02d}-{1 + number % 28:02d}T10:00:00Z"


def records():
    """130 pull requests, so that there are two pages; a long one of each kind of list."""
    pulls = [pull(n, at(n) if n % 10 else None, comments=[said(f"c{n}", at(n))] * (n % 2)) for n in range(1, 131)]
    line = {"path": "a.py", "line": 3, "originalLine": 2}
    pulls[118]["comments"] = [said(f"comment {k}", at(120)) for k in range(120)]
    pulls[117]["reviews"] = [said("", at(120), state="APPROVED"), said("Hm.", at(121), "bob", state="COMMENTED")]
    pulls[116]["reviewThreads"] = [line | {"comments": [said(f"line {k}", at(120 + k // 20)) for k in range(45)]}]
    pulls[115]["reviewThreads"] = [line | {"comments": [said(f"on {k}", at(120))]} for k in range(60)]
    for row in pulls[:90]:  # merged long ago, and touched since: they come first in the order of changes
        row["updatedAt"] = at(200)
    return {"pulls": pulls}


def wanted(pulls, limit=30):
    merged = [row for row in pulls if row["mergedAt"]]
    return [row["number"] for row in sorted(merged, key=lambda row: row["mergedAt"], reverse=True)[:limit]]


def read(hub, folder, token, kind="pullRequests", limit=30, timeout=30.0, **more):
    """Threads by number, and the client."""
    client = GitHub(NAME, Answers(folder / "answers.jsonl"), token=token, api=hub.api, **more)
    vars(client._requester)["_Requester__timeout"] = timeout
    module = reader(client)
    rows = module.list_threads(client, kind, limit, END)
    found = [row for _, row in module.read_threads(client, kind, rows, lambda done: None)]
    return {row["number"]: row for row in found}, client


@pytest.mark.parametrize("token", TOKENS)
def test_all_that_was_said_in_the_last_merged(tmp_path, token):
    data = records()
    with GitHubServer(**data) as hub:
        found, client = read(hub, tmp_path, token)
    assert list(found) == wanted(data["pulls"])
    for number, row in found.items():
        source = data["pulls"][number - 1]
        assert [c["body"] for c in row["comments"]["nodes"]] == [c["body"] for c in source["comments"]]
        lines = [[c["body"] for c in t["comments"]["nodes"]] for t in row["reviewThreads"]["nodes"]]
        assert lines == [[c["body"] for c in t["comments"]] for t in source["reviewThreads"]]
        assert (row["title"], row["body"], row["mergedAt"]) == (source["title"], source["body"], source["mergedAt"])
    assert sum(client.sent.values()) == len(hub.requests) == (6 if token else 7)


def test_a_hundred_pull_requests_in_few_requests(tmp_path):
    data = records()
    for row in data["pulls"]:
        row["comments"] += [said("and", at(120))] * 20
        row["reviews"] = [said("fine", at(120), state="APPROVED")] * 4
        row["reviewThreads"] = [{"path": "a.py", "line": 1, "comments": [said("x", at(120))] * 3}] * 5
    with GitHubServer(**data) as hub:
        found, _ = read(hub, tmp_path, "a token", limit=100)
    assert len(found) == 100 and len(hub.requests) <= 12


def too_late():
    time.sleep(0.9)
    return answer({})


FAULTS = {
    "429": lambda: answer({"message": "Too many requests"}, 429),
    "429 with Retry-After": lambda: answer({}, 429, {"Retry-After": "7"}),
    "403 primary": lambda: limited(int(time.time()) + 100),
    "403 secondary": lambda: answer({"message": "You have exceeded a secondary rate limit."}, 403),
    "403 secondary with Retry-After": lambda: answer({"message": "Secondary rate limit"}, 403, {"Retry-After": "7"}),
    "500": lambda: answer("oh", 500),
    "502": lambda: answer("<html>", 502),
    "timeout": too_late,
    "cut body": lambda: Response('{"data": {"reposit', headers={"Content-Length": "5000"}),
    "bad JSON": lambda: Response('{"data": [', content_type="application/json"),
    "no JSON": lambda: Response("<html>", content_type="text/html"),
    "GraphQL limit": lambda: answer({"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}),
    "GraphQL busy": lambda: answer({"data": None, "errors": [{"message": "Something went wrong while executing"}]}),
}
WAITS = {"429": 60, "429 with Retry-After": 7, "403 secondary": 60, "403 secondary with Retry-After": 7, "500": 1}


def fault_at(fault, place, number):
    return FAULTS[fault]() if number == place else None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    os.environ["no_proxy"] = "127.0.0.1"
    found = {}
    for token in TOKENS:
        with GitHubServer(**records()) as hub:
            found[token] = read(hub, tmp_path_factory.mktemp("undisturbed"), token)[0], len(hub.requests)
    return found


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("token", TOKENS)
def test_a_fault_at_every_request_in_turn(fault, token, undisturbed, tmp_path, waits, capsys):
    expected, requests = undisturbed[token]
    if fault.startswith("GraphQL") and not token:
        return
    with GitHubServer(**records()) as hub:
        for place in range(requests):
            hub.requests.clear()
            hub.fault = partial(fault_at, fault, place)
            (folder := tmp_path / str(place)).mkdir()
            found, client = read(hub, folder, token, timeout=0.7 if fault == "timeout" else 30.0)
            assert found == expected
            assert len(hub.requests) == requests + 1 and client.sent["retried"] == 1
    assert len(waits) == requests
    if fault == "403 primary":
        assert all(95 < seconds <= 101 for seconds in waits)
    elif fault in WAITS:
        assert set(waits) == {WAITS[fault]}
    assert "waiting" in capsys.readouterr().out


@pytest.mark.parametrize("token", TOKENS)
def test_killed_at_every_request_it_asks_for_nothing_twice(token, undisturbed, tmp_path):
    expected, requests = undisturbed[token]
    fork = multiprocessing.get_context("fork")
    with GitHubServer(**records()) as hub:
        for place in range(requests):
            (folder := tmp_path / str(place)).mkdir()
            hub.requests.clear()
            child = fork.Process(target=read, args=(hub, folder, token))

            def kill(number, place=place, child=child):
                if number == place:
                    os.kill(child.pid, signal.SIGKILL)

            hub.before = kill
            child.start()
            child.join()
            assert child.exitcode == -signal.SIGKILL and len(hub.requests) == place + 1
            hub.before = lambda number: None
            found, client = read(hub, folder, token)
            assert found == expected
            assert len(hub.requests) == requests + 1  # what was on its way is asked for again, nothing else


@pytest.mark.parametrize("token", TOKENS)
def test_a_second_scrape_asks_only_for_what_changed(token, tmp_path):
    data = records()
    with GitHubServer(**data) as hub:
        _, client = read(hub, tmp_path, token)
        client.answers.finish()
        hub.requests.clear()
        again, client = read(hub, tmp_path, token)
        assert len(hub.requests) == 3  # the list: two pages, and the first again
        client.answers.finish()
        data["pulls"][118]["comments"].append(said("news", at(220)))
        data["pulls"][118]["updatedAt"] = at(220)
        hub.requests.clear()
        found, _ = read(hub, tmp_path, token)
    assert [number for number in found if found[number] != again[number]] == [119]
    assert found[119]["comments"]["nodes"][-1]["body"] == "news"
    if token:
        assert sum("t0: " in text or "t1: " in text for _, text in hub.requests) <= 1


@pytest.mark.parametrize("others", [0, 130])
@pytest.mark.parametrize("token", TOKENS)
def test_pull_requests_that_change_while_the_pages_are_read(token, others, tmp_path):
    data = records()
    with GitHubServer(**data) as hub:

        def touch(number):
            if number == 1:  # 105 stands on the second page, and moves to the front before that is read
                for row in data["pulls"][:others]:  # behind so many that they fill a page
                    row["updatedAt"] = at(231)
                data["pulls"][104]["updatedAt"] = at(230)

        hub.before = touch
        found, _ = read(hub, tmp_path, token)
    assert list(found) == wanted(data["pulls"]) and 105 in found


def test_without_a_token_a_busy_repository_is_asked_thread_by_thread(tmp_path):
    pulls = [pull(n, at(n), comments=[said(f"c{n}", at(n))] * n) for n in (1, 2, 3)]
    busy = pull(4, None, createdAt=at(1), comments=[said("chat", at(9))] * 450)
    with GitHubServer(pulls=[*pulls, busy]) as hub:
        found, _ = read(hub, tmp_path, None)
    assert {number: len(row["comments"]["nodes"]) for number, row in found.items()} == {1: 1, 2: 2, 3: 3}
    assert len(hub.requests) == 6  # the list, a page of all comments, three threads, all comments on lines


def test_a_query_that_is_too_much_is_asked_in_parts(tmp_path, undisturbed, waits):
    with GitHubServer(**records()) as hub:
        hub.max_parts = 6
        found, _ = read(hub, tmp_path, "a token")
    assert found == undisturbed["a token"][0]
    assert len(waits) == 2  # twenty twice, ten twice, then five at a time: one wait for each size


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: answer({"message": "Bad credentials"}, 401), "does not know the token"),
        (
            lambda: answer({"message": "Resource not accessible by token"}, 403),
            "403: Resource not accessible.*right to",
        ),
        (lambda: answer({"message": "Not Found"}, 404), "knows no repository 'fennhollow/brindlewick'"),
        (lambda: answer({"message": "Validation Failed"}, 422), "refused the request .422: Validation Failed"),
        (lambda: answer("", 500), "did not answer 6 times in a row.*What was read is kept"),
        (lambda: limited(int(time.time()) + 9000), "used up until .* longer than `max_wait` .3,900 s.*run again then"),
        (lambda: answer({}, 429, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}), "longer than `max_wait`"),
        (lambda: answer({"data": {"repository": None}}), "did not answer 6 times"),
    ],
)
def test_what_waiting_does_not_mend(broken, message, tmp_path, undisturbed):
    expected, requests = undisturbed["a token"]
    with GitHubServer(**records()) as hub:
        hub.fault = lambda number: broken() if number >= 4 else None
        with pytest.raises(SetupError, match=message) as error:
            read(hub, tmp_path, "a token")
        assert "a token" not in str(error.value)
        hub.fault = lambda number: None
        hub.requests.clear()
        assert read(hub, tmp_path, "a token")[0] == expected
        assert len(hub.requests) == requests - 4  # nothing that was had is asked for again


def test_an_unknown_repository(tmp_path):
    with GitHubServer("someone/else") as hub:
        for token in TOKENS:
            with pytest.raises(SetupError, match="GitHub knows no repository"):
                read(hub, tmp_path, token)


def test_the_anonymous_limit_says_what_it_means(tmp_path):
    with GitHubServer(**records()) as hub:
        hub.anonymous_limit = 3
        with pytest.raises(SetupError, match="5,000 requests an hour instead of 60"):
            read(hub, tmp_path, None, max_wait=60)


def test_issues_and_discussions(tmp_path):
    issues = [thread(n, at(n), comments=[said(f"i{n}", at(n))], labels=["bug"]) for n in range(1, 106)]
    replies = [said(f"reply {k}", at(9)) for k in range(25)]
    talks = [
        thread(n, at(n), category="Q&A", comments=[said("Try it.", at(n), replies=replies)], answer=0) for n in (7, 9)
    ]
    with GitHubServer(issues=issues, discussions=talks, pulls=[pull(200, at(150))]) as hub:
        for token in TOKENS:
            found, _ = read(hub, tmp_path, token, kind="issues", limit=102)
            assert list(found) == list(range(105, 3, -1))
            assert conversation(found[50], END) == f"Comment by ann at {at(50)}:\ni50"
        found, _ = read(hub, tmp_path, "a token", kind="discussions")
    assert list(found) == [9, 7]
    assert len(found[9]["comments"]["nodes"][0]["replies"]["nodes"]) == 25


@pytest.mark.parametrize("api", ["github.com", "ftp://x/y", "http://api.example.org"])
def test_an_address_that_cannot_be_used(api, tmp_path):
    with pytest.raises(SetupError, match="`api`"):
        GitHub(NAME, Answers(tmp_path / "a.jsonl"), token="t", api=api)


def test_which_way_is_taken(tmp_path):
    answers = Answers(tmp_path / "a.jsonl")
    assert reader(GitHub(NAME, answers, token="t")) is threads
    assert reader(GitHub(NAME, answers, token=None)) is anonymous
