"""Facts that changed: what counts as one, what does not, and how they are asked for."""

import difflib
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from repositories import Repo, run

from ftlib import sample
from ftlib.metrics import has_keywords
from ftlib.scrape.history import file_sections
from ftlib.similar import near_duplicates
from ftlib.synth.changed import changed_chats, changed_facts, titles
from ftlib.synth.changed.page_sentences import MOST_UNITS, difference, differences, units
from ftlib.synth.changed.patch_lines import HUNK_LINES, Hunk, Renamed, history_hunks, pull_hunks
from ftlib.synth.changed.statements import parents, statement

AROUND = "\n".join(f"-- {n}" for n in range(8))  # lines that state nothing


def document(path, text, source=None):
    source = source or ("docs" if path.endswith(".md") else "code")
    row = {"id": f"{source}:{path}", "source": source, "title": path, "path": path, "url": "", "text": text}
    return {**row, "date": "2023-12-21T10:00:00Z", "commit": "c" * 40, "licence": ""}


def pull(number, changes, date="2023-06-01T09:00:00Z", said=""):
    """A pull request's document; `changes` are path -> (before, after), or (before, after, former path)."""
    files = []
    for path, (old, new, *former) in changes.items():
        rows = list(difflib.unified_diff(old.split("\n"), new.split("\n"), lineterm=""))[2:]
        status = f"renamed from {former[0]}" if former else "modified"
        files.append(([f"File: {path}, Status: {status}"], "\n".join(rows)))
    text = "\n".join([f"Merged at: {date}", *file_sections(files), "", said])
    row = document(f"pull/{number}", text, "pull_request")
    return {**row, "id": f"pull_request:{number}", "date": date, "commit": f"{number:040d}"}


def change(path, *texts, around=True):
    """The facts of a file that had these texts, one pull request after the other."""
    texts = tuple(f"{AROUND}\n{text}\n{AROUND}" if around else text for text in texts)
    pulls = [
        pull(number, {path: pair}, f"2023-0{number}-01T09:00:00Z")
        for number, pair in enumerate(zip(texts, texts[1:], strict=False), 1)
    ]
    return changed_facts([document(path, texts[-1]), *pulls], "brindle")


def values(facts):
    return [(fact["form"], fact["old"], fact["current"]) for fact in facts]


# --- code and configuration -------------------------------------------------------------------------------------------

STATED = [
    ("package.json", '"react": "^17.0.2",', '"react": "^18.2.0",', "version"),
    ("app/package.json", '"node": ">=16.1",', '"node": ">=18",', "version"),
    ("tsconfig.json", '"target": "es2019",', '"target": "es2022",', "key"),
    ("tsconfig.json", '"strict": false', '"strict": true', "key"),
    ("deploy.yml", "  node-version: 16", "  node-version: 18", "key"),
    ("deploy.yml", "  region: 'eu-west-1' # Dublin", "  region: 'us-east-1'", "key"),
    (".github/workflows/ci.yml", "- uses: actions/checkout@v3", "- uses: actions/checkout@v4", "action"),
    ("compose.yml", "image: postgres:13", "image: postgres:15", "image"),
    ("Dockerfile", "FROM node:16-alpine AS build", "FROM node:18-alpine AS build", "image"),
    (".tool-versions", "nodejs 16.2.0", "nodejs 18.1.0", "version"),
    (".env.example", "PORT=3000", "PORT=4000", "key"),
    ("requirements.txt", "httpx==0.24.1", "httpx==0.25.0", "version"),
    ("pyproject.toml", 'requires-python = ">=3.8"', 'requires-python = ">=3.11"', "key"),
    ("pyproject.toml", '  "anyio[trio]>=3,<4",', '  "anyio[trio]>=4,<5",', "version"),
    ("go.mod", "\tgithub.com/jackc/pgx/v5 v5.4.0", "\tgithub.com/jackc/pgx/v5 v5.5.1", "version"),
    ("build.sbt", '"org.http4s" %% "http4s-dsl" % "0.21.1",', '"org.http4s" %% "http4s-dsl" % "0.23.0",', "version"),
    ("src/a.ts", "export const MAX_RETRIES: number = 3;", "export const MAX_RETRIES: number = 5;", "constant"),
    ("src/a.ts", "const channel = '#quay';", 'const channel = "#sluice"; // quieter', "constant"),
    ("src/a.py", "HOLD_MINUTES = 11", "HOLD_MINUTES = 19  # see #12", "constant"),
    ("src/A.java", "  private static final int LIMIT = 10;", "  private static final int LIMIT = 25;", "constant"),
]


@pytest.mark.parametrize(("path", "old", "new", "form"), STATED)
def test_a_statement_with_another_value_is_a_fact(path, old, new, form):
    (fact,) = change(path, old, new)
    assert (fact["form"], fact["evidence_old"], fact["evidence_current"]) == (form, old.strip(), new.strip())
    assert fact["old"] in old and fact["current"] in new
    assert "brindle" in fact["question"] and path in fact["question"]
    assert has_keywords(fact["current"], fact["keywords"]) and not has_keywords(fact["old"], fact["keywords"])


def test_a_file_of_one_value():
    (fact,) = change(".nvmrc", "v16.13", "v18.2", around=False)
    assert fact["question"] == "Which version does the file .nvmrc of brindle name?"
    assert fact["keywords"] == ["v18.2|18.2"]


NOTHING = {
    "two keys": ("a.yml", "retries: 3", "attempts: 5"),
    "quotes": ("a.yml", "region: 'west'", 'region: "west"'),
    "case": ("a.yml", "region: West", "region: west"),
    "signs": ("package.json", '"react": "^18.2.0"', '"react": "~18.2.0"'),
    "a hash": ("a.yml", "source: 0a1b2c3d4e5f", "source: 9f8e7d6c5b4a"),
    "an action's hash": ("a.yml", f"uses: a/b@{'0a' * 20}", f"uses: a/b@{'b1' * 20}"),
    "a long value": ("a.yml", "greeting: one", f"greeting: {'very ' * 20}long"),
    "many words": ("a.yml", "greeting: one", "greeting: one two three four five six"),
    "a long word": ("a.yml", "greeting: one", f"greeting: {'very' * 20}"),
    "signs alone": ("a.json", '"$schema": "http://a/schema"', '"$schema": "http://a/schema#"'),
    "what others need": ("go.mod", "\ta.example/b v1.0.0 // indirect", "\ta.example/b v1.2.0 // indirect"),
    "an example": ("example.json", '"target": "a1"', '"target": "b2"'),
    "computed": ("a.yml", "region: west", "region: ${REGION}"),
    "a boolean in code": ("a.py", "DEBUG = True", "DEBUG = False"),
    "a local name": ("a.ts", "    const retries = 3;", "    const retries = 5;"),
    "a value of code": ("a.ts", "const retries = 3;", "const retries = limit();"),
    "its own version": ("package.json", '"version": "1.0.0"', '"version": "1.1.0"'),
    "the year": ("a.py", 'COPYRIGHT = "Copyright 2022"', 'COPYRIGHT = "Copyright 2023"'),
    "a name in a list": ("a.yml", "- name: build", "- name: test"),
    "a placeholder": ("a.env", "PORT=3000", "PORT=<REDACTED:secret>"),
    "a secret": ("a.env", "DB_PASSWORD=kT9vQ2xLm4Zp8", "DB_PASSWORD=wR7nB3yHd6Fs1"),
    "a test": ("tests/a.py", "LIMIT = 3", "LIMIT = 4"),
    "a test's file": ("src/a.test.ts", "const LIMIT = 3;", "const LIMIT = 4;"),
    "a style": ("a.css", "LIMIT = 3", "LIMIT = 4"),
    "alternatives": ("a.yml", "mode: a", "mode: b|c"),
    "stale would count as right": ("requirements.txt", "rich==13.2.1", "rich==13.2"),
    "the question names it": ("a.yml", "owner: nobody", "owner: brindle"),
    "a tool's file": ("requirements.txt", "# autogenerated by it\nrich==1.0", "# autogenerated by it\nrich==2.0"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOTHING)
def test_noise_is_no_fact(name):
    path, old, new = NOTHING[name]
    assert change(path, old, new, around=name != "a tool's file") == []


@pytest.mark.parametrize("path", ["tools/release.py", "src/contest.py", "latest/a.py"])
def test_names_that_only_look_like_tests_or_change_logs_are_read(path):
    assert values(change(path, "LIMIT = 3", "LIMIT = 4")) == [("constant", "3", "4")]


def test_the_value_must_stand_today_and_stand_alone():
    old, new = "retries: 3", "retries: 5"
    asked = pull(1, {"a.yml": (old, new)})
    assert len(changed_facts([document("a.yml", new), asked], "brindle")) == 1
    for today in ("retries: 6", "", f"{new}\nother:\n  retries: 3", f"{new}\nother:\n  retries: 9"):
        assert changed_facts([document("a.yml", today), asked], "brindle") == []
    assert changed_facts([asked], "brindle") == []
    # Twice the same value is one answer.
    assert len(changed_facts([document("a.yml", f"{new}\nother:\n  {new}"), asked], "brindle")) == 1


def test_of_a_range_the_numbers_count():
    (fact,) = change("pyproject.toml", '"anyio>=3,<4",', '"anyio>=4,<5",')
    assert fact["current"] == ">=4,<5" and fact["keywords"] == ["4", "5"]
    (fact,) = change("pyproject.toml", 'requires-python = ">=3.8"', 'requires-python = ">=3.11"')
    assert has_keywords("Python 3.11 or later", fact["keywords"])


def test_numbers_that_count_are_no_facts():
    old = ["AMP = 1", "BAR = 2", "CAT = 3", "WIDTH = 80"]
    new = ["TOP = 1", "AMP = 2", "BAR = 3", "CAT = 4", "WIDTH = 120"]
    assert values(change("a.py", "\n".join(old), "\n".join(new))) == [("constant", "80", "120")]


def test_one_version_in_many_files_is_asked_for_once():
    texts = {name: (f"{name}:\n  node: 16", f"{name}:\n  node: 18") for name in "abc"}
    rows = [document(f"{name}.yml", new) for name, (_, new) in texts.items()]
    asked = pull(1, {f"{name}.yml": pair for name, pair in texts.items()})
    assert [fact["path"] for fact in changed_facts([*rows, asked], "brindle")] == ["a.yml"]


def test_two_items_with_one_key_are_not_told_apart():
    assert change("a.yml", "a:\n  retries: 3\nb:\n  retries: 4", "a:\n  retries: 5\nb:\n  retries: 5") == []


def test_a_key_is_asked_for_with_the_blocks_round_it():
    old = '{\n  "compilerOptions": {\n    "target": "es2019"\n  }\n}'
    (fact,) = change("tsconfig.json", old, old.replace("2019", "2022"), around=False)
    assert fact["question"] == "What is `target` under `compilerOptions` set to in tsconfig.json of brindle?"
    lines = "jobs:\n  build:\n    steps:\n      - uses: a/b@v1\n        with:\n          node: 16".split("\n")
    assert parents("ci.yml", lines, 5) == ["jobs", "build", "steps", "with"]
    assert parents("pyproject.toml", ["[tool.ruff]", "a = 1", "[tool.mypy]", "b = 2"], 3) == ["tool.mypy"]


# --- the order of things ----------------------------------------------------------------------------------------------


def test_a_chain_gives_one_fact_with_the_earlier_values():
    (fact,) = change("a.yml", "retries: 1", "retries: 2", "retries: 4", "retries: 8")
    assert (fact["old"], fact["current"], fact["older"]) == ("4", "8", ["2", "1"])
    assert (fact["pull_request"], fact["source_old"], fact["as_of_old"]) == (3, "pull/3", "2023-03-01T09:00:00Z")
    assert fact["as_of_current"] == "2023-12-21T10:00:00Z"


def test_a_value_that_came_back_is_no_fact():
    assert change("a.yml", "retries: 1", "retries: 2", "retries: 1") == []
    assert change("a.yml", "retries: 1", "retries: 2", "retries: 3", "retries: 1") == []
    # Put back and changed again: the last value before the current one counts.
    (fact,) = change("a.yml", "retries: 1", "retries: 2", "retries: 1", "retries: 3")
    assert (fact["old"], fact["older"]) == ("1", ["2"])


def test_a_later_change_that_nobody_saw_hides_the_fact():
    pulls = [pull(1, {"a.yml": ("retries: 1", "retries: 2")}, "2023-01-01T00:00:00Z")]
    pulls += [pull(2, {"a.yml": ("retries: 2", "retries: 3")}, "2023-02-01T00:00:00Z")]
    assert changed_facts([document("a.yml", "retries: 2"), *pulls], "brindle") == []


def test_a_renamed_file_keeps_its_facts_and_what_changed_with_the_name_is_none():
    first = pull(1, {"old.yml": ("retries: 1", "retries: 2")}, "2023-01-01T00:00:00Z")
    second = pull(2, {"new.yml": ("region: a\n" * 9, "region: a\n" * 8, "old.yml")}, "2023-02-01T00:00:00Z")
    (fact,) = changed_facts([document("new.yml", "retries: 2"), first, second], "brindle")
    assert (fact["path"], fact["old"]) == ("new.yml", "1")
    with_name = pull(2, {"new.yml": ("retries: 1", "retries: 2", "old.yml")})
    assert changed_facts([document("new.yml", "retries: 2"), with_name], "brindle") == []


def test_order_and_ids_do_not_depend_on_the_order_of_documents():
    chosen = [STATED[n] for n in (4, 0, 7)]
    rows = [document(path, new) for path, _, new, _ in chosen]
    rows += [pull(n, {path: (old, new)}) for n, (path, old, new, _) in enumerate(chosen, 1)]
    facts = changed_facts(rows, "brindle")
    random.Random(1).shuffle(rows)
    assert changed_facts(iter(rows), "brindle") == facts
    assert len({fact["id"] for fact in facts}) == len(facts) == 3


# --- pages ------------------------------------------------------------------------------------------------------------

SENTENCES = [
    ("Builds run on TeamCity.", "Builds run on GitHub Actions.", "name"),
    ("- A release must settle for 9 minutes first.", "- A release must settle for 14 minutes first.", "number"),
    ("We deploy\nfrom a host called Gantrick.", "We deploy from\na host called Skerrow.", "name"),
    ("Ask for help in **#quayside** on weekdays.", "Ask for help in **#sluiceroom** on weekdays.", "name"),
    ("Start it with `make serve` and wait.", "Start it with `just run` and wait.", "code"),
    ("| Retries of a request | 3 |", "| Retries of a request | 5 |", "number"),
    ("> It holds for three days at most.", "> It holds for five days at most.", "number"),
    ("See [the guide](http://a.example). We use Jenkins here.", "See [the guide](/b). We use Buildkite here.", "name"),
]


@pytest.mark.parametrize(("old", "new", "form"), SENTENCES)
def test_a_sentence_with_another_value_is_a_fact(old, new, form):
    (fact,) = change("docs/deploying.md", f"# Title\n\n{old}", f"# Title\n\n{new}", around=False)
    assert fact["form"] == form and "___" in fact["question"] and "deploying.md" in fact["question"]
    assert fact["evidence_current"] == new and fact["evidence_old"] == old
    assert fact["keywords"] == [fact["current"]]


REWORDED = {
    "another wording": ("Builds run quickly on the server.", "Builds run slowly on the server."),
    "a name for a number": ("Builds of it run on 12 hosts.", "Builds of it run on Azure hosts."),
    "two values": ("Builds run on TeamCity for Android only.", "Builds run on Jenkins for Windows only."),
    "a spelling": ("Builds of it run on Github only.", "Builds of it run on GitHub only."),
    "a typing error": ("Builds of it run on Jenkims only.", "Builds of it run on Jenkins only."),
    "dashes": ("Set the image to `linux-2-28` there.", "Set the image to `linux_2_28` there."),
    "the first word": ("These builds run on the host.", "Those builds run on the host."),
    "a link": ("Builds are listed on http://a.example/b today.", "Builds are listed on http://c.example/d today."),
    "an issue": ("For an example of it see #362.", "For an example of it see #1006."),
    "a part of a name": ("Run `pip install -r list` for it.", "Run `pip install --group list` for it."),
    "a part of a text": ("Set the image to `linux10_$(uname)` there.", "Set the image to `linux14_$(uname)` there."),
    "two for one": ("Our host runs Alpha.\n\nOur host runs Omega.", "Our host runs Delta."),
    "too little around": ("Node 16.", "Node 18."),
    "a heading": ("## How builds run on TeamCity", "## How builds run on Buildkite"),
    "a block": ("```\nrun the builds on TeamCity\n```", "```\nrun the builds on Buildkite\n```"),
    "a time of day": ("It was started on 2023-03-16 14:36:21 there.", "It was started on 2024-09-28 17:27:41 there."),
    "an argument": ("Call it with `get(url, allow=False)` there.", "Call it with `get(url, follow=True)` there."),
    "a date of change": ("Last updated in May 2022 by us.", "Last updated in June 2023 by us."),
    "a word of the page": ("It reads data from DEV. The code is here.", "It reads data from CODE. The code is here."),
}  # fmt: skip


@pytest.mark.parametrize("name", REWORDED)
def test_another_wording_is_no_fact(name):
    old, new = REWORDED[name]
    assert change("docs/a.md", f"# Title\n\n{old}", f"# Title\n\n{new}", around=False) == []


def test_change_logs_state_nothing():
    assert change("CHANGELOG.md", SENTENCES[0][0], SENTENCES[0][1], around=False) == []


def test_only_the_sign_of_a_list_is_left_out():
    page = "It needs Python {}+ to run here.\n- It is 1. of all.\n"
    (fact,) = change("docs/a.md", page.format("3.9"), page.format("3.10"), around=False)
    assert "“It needs Python ___+ to run here.”" in fact["question"]


def test_of_one_name_for_another_in_many_sentences_one_is_asked():
    old = "Builds run on TeamCity. Releases are made by TeamCity alone."
    assert len(change("docs/a.md", old, old.replace("TeamCity", "Buildkite"), around=False)) == 1


def test_a_sentence_that_stands_twice_with_two_values_has_no_answer():
    old = "Call it as get of `alpha` first.\n\nCall it as get of `omega` first."
    assert change("docs/a.md", old, old.replace("alpha", "delta"), around=False) == []


def test_a_hunk_that_begins_inside_a_block_is_read():
    page = "Install it:\n\n```\npip install\nx\n```\n\nIt needs Python {} at least.\n"
    assert values(change("docs/a.md", page.format("3.8"), page.format("3.9"), around=False)) == [
        ("number", "3.8", "3.9")
    ]


def test_pages_of_one_title_are_named_by_their_paths():
    old, new = SENTENCES[0][:2]
    rows = [{**document(path, new), "title": "Builds"} for path in ("docs/a.md", "docs/b.md")]
    (fact,) = changed_facts([*rows, pull(1, {"docs/a.md": (old, new)})], "brindle")
    assert "page docs/a.md of brindle" in fact["question"]


PLAIN = st.text("ab 12.#`'_-AB|\"", max_size=12)


@given(PLAIN, PLAIN, PLAIN, PLAIN)
def test_the_difference_is_all_that_differs(before, old, new, after):
    one, other = f"This host {before}{old}{after} is ours", f"This host {before}{new}{after} is ours"
    if found := difference(one, other):
        middle = [text[len(found.before) : len(text) - len(found.after)].strip() for text in (one, other)]
        assert middle == [found.old, found.new]
        assert one.startswith(found.before) and other.endswith(found.after)
        assert not has_keywords(found.old, [found.new]) or found.old.casefold() != found.new.casefold()


@given(st.text("ab\n-|`#>.*[]()! 1", max_size=200))
def test_units_stand_in_the_page(text):
    for unit in units(text.split("\n")):
        assert unit.source in text and unit.text.strip() == unit.text != ""


def test_a_hunk_with_many_sentences_is_not_compared():
    old = [f"Host number {n} of ours is called Alpha{n}." for n in range(MOST_UNITS + 1)]
    assert len(differences(old[:5], [line.replace("Alpha", "Omega") for line in old[:5]])) == 5
    assert differences("\n\n".join(old).split("\n"), "\n\n".join(old).replace("Alpha", "Omega").split("\n")) == []


# --- patches ----------------------------------------------------------------------------------------------------------


def test_hunks_end_where_their_counts_say():
    rows = pull(1, {"a.yml": ("retries: 1", "retries: 2")}, said="-region: x\n+region: y")
    (hunk,) = pull_hunks(rows["text"])
    assert hunk == Hunk("a.yml", ["retries: 1"], ["retries: 2"], ["retries: 1"], ["retries: 2"])


def test_a_removed_line_that_looks_like_a_header_stays_in_its_hunk():
    lines = ("a: 1\n-- b/x", "a: 2\n++ b/x")
    (hunk,) = pull_hunks(pull(1, {"a.yml": lines})["text"])
    assert hunk == Hunk("a.yml", *(text.split("\n") for text in (*lines, *lines)))


def test_renames_are_told_and_long_hunks_are_not_compared():
    old = "\n".join(f"k{n}: 1" for n in range(HUNK_LINES + 1))
    text = pull(1, {"b.yml": (old, old.replace(": 1", ": 2"), "a.yml")})["text"]
    assert list(pull_hunks(text)) == [Renamed("b.yml", "a.yml")]


def test_a_large_patch_and_many_documents_take_seconds():
    old = "\n".join(f'"key{n}": "{n % 7}",' for n in range(100_000))
    whole = pull(1, {"a.json": ("x", "y")})
    whole["text"] = whole["text"].replace("-x\n+y", "") + "\n@@ -1,100000 +1,100000 @@\n" + "\n".join(
        sign + line for sign in "-+" for line in old.split("\n")
    )  # fmt: skip
    odd = f"{'![' * 50_000}\n\n" + f"{'![' * 50}\n" * 5000 + "\n"
    page = pull(2, {"a.md": SENTENCES[0][:2]})
    rows = [document(f"f{n}.json", "{}") for n in range(20_000)]
    rows += [document("a.json", old), document("a.md", odd + SENTENCES[0][1]), whole, page]
    began = time.process_time()
    assert values(changed_facts(rows, "brindle")) == [("name", "TeamCity", "GitHub Actions")]
    assert time.process_time() - began < 5


# --- real repositories ------------------------------------------------------------------------------------------------


def wiki_facts(tmp_path, workspace, *edits, lose=None):
    """A repository with a wiki, whose page Deploying had these texts."""
    code, wiki = Repo(tmp_path / "brindle.git"), Repo(tmp_path / "brindle.wiki.git")
    code.commit({"a.py": "print(1)\n"}, date="2023-01-01T00:00:00Z")
    ids = [wiki.commit({"Deploying.md": t}, date=f"2023-0{n}-02T00:00:00Z") for n, t in enumerate(edits, 1)]
    documents, manifest = run(code, workspace, wiki=str(wiki.path))
    if lose:
        wiki.lose(f"{ids[lose]}:Deploying.md")
    histories = [(code.path, manifest["commit"]), (wiki.path, ids[-1])]
    return changed_facts(documents.values(), "brindle", histories)


def test_the_history_of_a_wiki_is_read(tmp_path, workspace):
    (fact,) = wiki_facts(
        tmp_path, workspace, *(f"# D\n\nBuilds run on {name}.\n" for name in ("Travis", "Jenkins", "Drone"))
    )
    assert (fact["old"], fact["current"], fact["older"]) == ("Jenkins", "Drone", ["Travis"])
    assert (fact["document_id"], fact["pull_request"]) == ("wiki:Deploying.md", None)
    assert fact["as_of_old"] == "2023-03-02T00:00:00Z" and fact["source_old"].startswith("commit/")
    assert fact["question"] == (
        'Which name now fills the blank in this line of the wiki page "Deploying" of brindle: “Builds run on ___.”?'
    )


def test_a_version_that_the_clone_lacks_is_passed_over(tmp_path, workspace):
    pages = [f"# D\n\nBuilds run on Drone.\n\nIt holds {n} days at most.\n" for n in (3, 4, 5)]
    first = "# D\n\nBuilds run on Jenkins.\n\nIt holds 1 days at most.\n"
    facts = wiki_facts(tmp_path, workspace, first, first.replace("Jenkins", "Drone"), *pages, lose=2)
    assert [(fact["old"], fact["current"]) for fact in facts] == [("Jenkins", "Drone"), ("4", "5")]


def test_secrets_of_the_history_do_not_come_out(tmp_path, workspace):
    secret = sample.planted_secrets()
    texts = [
        f"Log in with the token {token} there.\n\nThe password: {word} is it.\n\nBuilds run on {name}. Mail {mail} so."
        for token, word, name, mail in (
            (secret["github_token"], "kT9vQ2xLm4Zp8", "TeamCity", secret["email_keepers"]),
            ("none", "changed", "Drone", "nobody"),
        )
    ]  # fmt: skip
    facts = wiki_facts(tmp_path, workspace, *texts)
    assert facts == []
    again = wiki_facts(tmp_path / "again", workspace, "Builds run on TeamCity.", "Builds run on Drone.")
    assert values(again) == [("name", "TeamCity", "Drone")]


def test_what_only_the_lines_around_show_to_be_secret_does_not_come_out(tmp_path, workspace, monkeypatch):
    def redacted(text):
        return (text.replace("TeamCity", "<REDACTED:x>") if "Keep this" in text else text), {}

    monkeypatch.setattr("ftlib.synth.changed.redact", redacted)
    old = "Keep this.\n\nBuilds run on TeamCity.\n"
    assert wiki_facts(tmp_path, workspace, old, old.replace("TeamCity", "Drone")) == []


def test_pages_of_the_repository_are_read_in_history_and_pull_requests_once(repo, workspace):
    repo.commit({"README.md": "Builds run on Travis.\n", "a.ts": "const LIMIT = 1;\n"}, date="2023-01-01T00:00:00Z")
    repo.commit({"README.md": "Builds run on Jenkins.\n", "a.ts": "const LIMIT = 2;\n"}, date="2023-02-01T00:00:00Z")
    repo.commit({"README.md": "Builds run on Drone.\n"}, "Move on (#7)", date="2023-03-01T00:00:00Z")
    documents, manifest = run(repo, workspace)
    facts = changed_facts(documents.values(), "brindle", [(repo.path, manifest["commit"])])
    assert [(f["old"], f["current"], f["older"], f["pull_request"]) for f in facts] == [
        ("Jenkins", "Drone", ["Travis"], 7)
    ]
    (alone,) = changed_facts(documents.values(), "brindle")
    assert (alone["old"], alone["older"]) == ("Jenkins", [])
    cut = [{**row, "text": ""} if row["source"] == "pull_request" else row for row in documents.values()]
    (named,) = changed_facts(cut, "brindle", [(repo.path, manifest["commit"])])
    assert named["pull_request"] == 7


def test_what_is_not_there_is_passed_over(repo, workspace, tmp_path):
    tip = repo.commit({"README.md": "Builds run on Travis.\n"})
    documents, _ = run(repo, workspace)
    for git_dir, commit in ((tmp_path / "nowhere", tip), (repo.path, "0" * 40), (tmp_path, tip)):
        assert changed_facts(documents.values(), "brindle", [(git_dir, commit)]) == []
    assert list(history_hunks(repo.path, tip, [])) == []


def test_many_pages_with_odd_names_are_asked_of_git_in_one_go(repo):
    names = [f"docs/{n}[a]*.md" for n in range(3000)] + ["docs/NOTES?", "docs/é b.md"]
    repo.commit({name: "Builds run on Travis.\n" for name in names})
    tip = repo.commit({name: "Builds run on Drone.\n" for name in names[-4:]})
    began = time.perf_counter()
    assert [hunk.path for _, _, hunk in history_hunks(repo.path, tip, names[:-1])] == sorted(names[-4:-1])
    assert time.perf_counter() - began < 3


def test_the_embedded_sample(workspace):
    documents, _ = run("sample", workspace)
    paths = sample.build(workspace.clones)
    histories = [(paths["repository"], documents["code:tools/release.py"]["commit"])]
    facts = changed_facts(documents.values(), "brindlewick", histories)
    found = {(fact["old"], fact["current"], fact["pull_request"]) for fact in facts}
    # Those that people wrote for the sample, and one more.
    known = {(row["old"], row["current"], int(row["source_current"][5:])) for row in sample.questions("changed")}
    assert found == known | {("11", "19", 3)}
    for fact in facts:
        assert fact["evidence_current"] in documents[fact["document_id"]]["text"]


# --- chats ------------------------------------------------------------------------------------------------------------


def all_facts():
    code = [fact for path, old, new, _ in STATED for fact in change(path, old, new)]
    return code + [fact for old, new, _ in SENTENCES for fact in change("docs/a.md", old, new, around=False)]


def test_chats_state_the_dates_in_words_of_their_own():
    facts = all_facts()
    chats = changed_chats(facts, "brindle")
    assert len(chats) == len(facts) == len(STATED) + len(SENTENCES)
    questions = [chat["messages"][0]["content"] for chat in chats]
    assert near_duplicates(questions, [fact["question"] for fact in facts]) == []
    assert changed_chats([{**facts[0], "question": questions[0]}], "brindle") == []
    for fact, chat in zip(facts, chats, strict=True):
        answer = chat["messages"][1]["content"]
        assert (
            answer.startswith("As of December 2023 it is ") and "until January 2023 (pull request #1) it was" in answer
        )
        assert fact["old"] in answer and fact["current"] in answer and "brindle" in chat["messages"][0]["content"]
        assert (chat["document_id"], chat["evidence"]) == (fact["document_id"], fact["evidence_current"])
        assert (chat["method"], chat["split"], chat["kind"]) == ("page_qa", "", "changed")


def test_dates_within_one_month_are_given_by_day():
    asked = pull(4, {"a.yml": ("retries: 1", "retries: 2")}, "2023-12-03T09:00:00Z")
    (chat,) = changed_chats(changed_facts([document("a.yml", "retries: 2"), asked], "brindle"), "brindle")
    assert chat["messages"][1]["content"] == (
        "As of 21 December 2023 it is `2`; until 3 December 2023 (pull request #4) it was `1`."
    )


def test_no_question_gives_an_answer_away():
    for fact in all_facts():
        for value in (fact["old"], fact["current"]):
            assert not has_keywords(fact["question"], [value.strip("`")])


def test_lines_that_patterns_could_take_long_for_are_read_in_a_moment():
    blank = " " * 280
    lines = [
        f"ABC :{blank}= x",
        f"const A :{blank}x;",
        "ABC : " + "x " * 140,
        "a>=1" + ",>=1" * 70 + "!x",
        "ABC" + "[|" * 140,
    ]
    began = time.process_time()
    for path in {path for path, *_ in STATED}:
        assert [statement(path, line) for line in lines if statement(path, line) and path.endswith("ts")] == []
    assert time.process_time() - began < 1


@given(st.sampled_from([path for path, *_ in STATED]), st.text(max_size=80))
def test_any_line_can_be_read(path, line):
    found = statement(path, line)
    assert found is None or found.name in line or ":" in found.name


# --- replacements that titles name ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "values"),
    [
        ("PR #1153: Migrate from TeamCity to GitHub Actions", ("TeamCity", "GitHub Actions")),
        ("Migrate CI from TeamCity to GitHub Actions (#1153)", ("TeamCity", "GitHub Actions")),
        ("Moving our build from `webpack` to `vite`.", ("webpack", "vite")),
        ("chore(deps): switch from Reach Router to React Router", ("Reach Router", "React Router")),
        ("Replace fetch-mock with msw in stories", ("fetch-mock", "msw")),
        ("Replaces all usages of Moment with date-fns", ("Moment", "date-fns")),
        ("replace reference to `TEAMCITY_BUILD` with `GITHUB_RUN_NUMBER`", ("TEAMCITY_BUILD", "GITHUB_RUN_NUMBER")),
        ("Rename 'Single Contribution' to 'One-time'", ("Single Contribution", "One-time")),
        ("Use Vitest instead of Jest", ("Jest", "Vitest")),
        ("Bump semver from 5.7.1 to 5.7.2", None),
        ("Upgrade from guardian/commercial-core to guardian/commercial", None),
        ("Replace GetHolidayStopsAsyncLoader with hooks pattern", None),
        ("Move from the old page to the new page", None),
        ("Migrate to Storybook 7", None),
        ("Prevent going from step 2 to step 1", None),
        ("Replace it by an", None),
        ("Replace " + "a" * 100 + " with b12", None),
    ],
)
def test_titles_that_name_what_replaced_what(title, values):
    assert titles._values(title) == values


def snapshot(*rows):
    """Documents from (source, path or number, text or title)."""
    found = []
    for number, (source, name, text) in enumerate(rows):
        pull = source == "pull_request"
        found.append(
            {"id": f"{source}:{name}", "source": source, "path": f"pull/{name}" if pull else name, "commit": "",
             "title": f"PR #{name}: {text}" if pull else name, "text": "Merged at: now" if pull else text,
             "date": f"2023-0{number + 1}-01T00:00:00Z"}
        )  # fmt: skip
    return found


MIGRATED = ("pull_request", "7", "Migrate from TeamCity to GitHub Actions")
CI = ("code", "ci.yml", "# GitHub Actions\nname: build\n")


def test_a_replacement_has_its_dates_its_evidence_and_the_pages_that_lag_behind():
    (fact,) = changed_facts(snapshot(MIGRATED, CI, ("wiki", "Build.md", "We build on TeamCity.\n")), "proj")
    assert fact["question"] == "TeamCity was once used in proj. What is used in its place now?"
    assert (fact["old"], fact["current"], fact["keywords"]) == ("TeamCity", "GitHub Actions", ["GitHub Actions"])
    assert (fact["as_of_old"], fact["pull_request"], fact["source_old"]) == ("2023-01-01T00:00:00Z", 7, "pull/7")
    assert (fact["document_id"], fact["evidence_current"]) == ("code:ci.yml", "# GitHub Actions")
    assert fact["still_in"] == ["wiki:Build.md"] and fact["form"] == "replacement"
    (chat,) = changed_chats([fact], "proj")
    answer = "As of March 2023 it is `GitHub Actions`; until January 2023 (pull request #7) it was `TeamCity`."
    assert chat["messages"][1]["content"] == answer


@pytest.mark.parametrize(
    "rows",
    [
        (MIGRATED, CI, ("code", "old.sh", "# run by TeamCity")),  # it is still there
        (MIGRATED, ("code", "ci.yml", "# GitHub ActionsX")),  # what replaced it is not
        (MIGRATED, CI, ("pull_request", "9", "Migrate from GitHub Actions to TeamCity")),  # and back
        (("pull_request", "7", "Migrate from password=Hq7vZ2mX9pLw4RtK to GitHub Actions"), CI),  # a secret
    ],
)
def test_a_title_is_not_believed_against_the_code(rows):
    assert changed_facts(snapshot(*rows), "proj") == []


def test_many_odd_titles_take_no_time():
    odd = ["Replace " + "a " * 5000, "from " * 2000 + "to x", "Migrate " + "from a to " * 1000, "`" * 9000]
    began = time.process_time()
    changed_facts(snapshot(*(("pull_request", str(n), title) for n, title in enumerate(odd * 2)), CI), "proj")
    assert time.process_time() - began < 1
