"""The sample project: the same repositories everywhere, and questions that its documents answer."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftlib import sample
from ftlib.similar import near_duplicates, repeated

DATA = Path(sample.__file__).parent / "data"
HEAD = "ff49d7d9"  # a change of the data changes these two; nothing else may
WIKI_HEAD = "21ca591e"


def git(repository: Path, *arguments: str) -> str:
    """Output of a git command, without the user's configuration."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "--git-dir", str(repository), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=True).stdout.decode(errors="replace")


def head(repository: Path) -> str:
    return git(repository, "rev-parse", "HEAD")[:8]


def show(repository: Path, path: str) -> str:
    return git(repository, "show", f"HEAD:{path}")


def names(repository: Path) -> set[str]:
    return set(git(repository, "ls-tree", "-r", "-z", "--name-only", "HEAD").strip("\0").split("\0"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return sample.build(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def documents(built: dict[str, Path]) -> dict[str, str]:
    """What a question's `source` may name, with its text."""
    texts = {name: show(built["wiki"], name) for name in names(built["wiki"])}
    texts |= {name: show(built["repository"], name) for name in names(built["repository"])}
    for pull in sample.pulls():
        texts[f"pull/{pull['number']:03d}"] = f"{pull['title']}\n{pull['body']}"
    return texts


def test_commit_ids_do_not_depend_on_place_user_or_environment(built, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[core]\n\tautocrlf = true\n[commit]\n\tgpgsign = true\n[user]\n\tname = Somebody\n"
        "[init]\n\tdefaultBranch = trunk\n\tdefaultObjectFormat = sha256\n[gpg]\n\tprogram = /nonexistent\n"
        "[fastimport]\n\tunpackLimit = nonsense\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere.git"))
    monkeypatch.setenv("GIT_DEFAULT_HASH", "sha256")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    other = sample.build(tmp_path / "other")
    for variable in ("GIT_DIR", "GIT_DEFAULT_HASH"):
        monkeypatch.delenv(variable)
    for kind, expected in (("repository", HEAD), ("wiki", WIKI_HEAD)):
        assert git(built[kind], "for-each-ref") == git(other[kind], "for-each-ref")
        assert head(other[kind]) == expected
        git(other[kind], "fsck", "--strict")


def test_build_leaves_what_is_there_and_repairs_what_is_not(built, tmp_path):
    paths = sample.build(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert sample.build(tmp_path) == paths
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path in before}
    git(paths["repository"], "update-ref", "refs/heads/main", "main~1")
    shutil.rmtree(paths["wiki"])
    paths["changed"].write_text("half a li")
    sample.build(tmp_path)
    assert head(paths["repository"]) == HEAD
    assert head(paths["wiki"]) == WIKI_HEAD
    assert len(paths["changed"].read_text().splitlines()) == 3
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths.values()}


def test_a_repository_that_is_not_the_sample_is_not_touched(tmp_path):
    (tmp_path / "brindlewick.git").mkdir()
    (tmp_path / "brindlewick.git" / "mine").write_text("work")
    with pytest.raises(FileExistsError, match=r"brindlewick\.git exists"):
        sample.build(tmp_path)
    assert [path.name for path in (tmp_path / "brindlewick.git").iterdir()] == ["mine"]


def test_an_interrupted_build_leaves_no_repository(tmp_path, monkeypatch):
    from ftlib.sample import fast_import

    monkeypatch.setattr(fast_import, "stream", lambda commits: b"feature done\ncommit refs/heads/main\n")
    with pytest.raises(RuntimeError, match="git fast-import failed"):
        sample.build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_git_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="install git"):
        sample.build(tmp_path / "sample")


def test_bytecode_left_by_an_installer_is_not_part_of_the_sample(tmp_path, monkeypatch):
    copy = tmp_path / "data"
    shutil.copytree(DATA, copy)
    (copy / "initial" / "tools" / "__pycache__").mkdir(exist_ok=True)
    (copy / "initial" / "tools" / "__pycache__" / "notes.cpython-311.pyc").write_bytes(b"\xff\x00")
    for page in (copy / "wiki").glob("*.md"):
        page.write_bytes(page.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(sample, "_DATA", copy)
    paths = sample.build(tmp_path / "built")
    assert head(paths["repository"]) == HEAD
    assert head(paths["wiki"]) == WIKI_HEAD


def test_history_is_merges_of_pull_requests_as_github_writes_them(built):
    repository, pulls = built["repository"], sample.pulls()
    log = git(repository, "log", "--merges", "--first-parent", "--reverse", "--format=%H%x1f%cI%x1f%B%x1e")
    merges = [entry.strip().split("\x1f") for entry in log.split("\x1e") if entry.strip()]
    assert len(merges) == len(pulls) == 12
    assert int(git(repository, "rev-list", "--count", "--first-parent", "main")) == 13
    for (commit, date, message), pull in zip(merges, sorted(pulls, key=lambda p: p["merged_at"]), strict=True):
        number = pull["number"]
        subject = f"Merge pull request #{number} from fennhollow/{pull['branch']}"
        assert message.strip() == f"{subject}\n\n{pull['title']}\n\n{pull['body']}"
        assert date.replace("+00:00", "Z") == pull["merged_at"]
        tip = f"refs/pull/{number}/head"
        assert git(repository, "rev-parse", tip) == git(repository, "rev-parse", f"{commit}^2")
        assert git(repository, "log", "-1", "--format=%ae", tip).startswith(pull["author"] + "@")
        patch = git(repository, "diff", f"{commit}^1", commit)
        assert patch == git(repository, "diff", f"{commit}^1...{tip}") != ""
        files = git(repository, "diff", "--name-only", "--no-renames", f"{commit}^1", commit).splitlines()
        assert 1 <= len(files) <= 3
        assert 1 <= len(pull["comments"]) + len(pull["review_comments"]) <= 3
        for comment in pull["review_comments"]:
            added = git(repository, "blame", "-s", "-l", f"{commit}^1..{commit}", "--", comment["path"]).splitlines()
            assert not added[comment["line"] - 1].startswith("^"), f"the comment in #{number} is not on a changed line"
        for comment in pull["comments"] + pull["review_comments"]:
            assert pull["created_at"] < comment["created_at"] < pull["merged_at"]


def test_pull_requests_overlap_and_one_renames_a_file(built):
    numbers = [pull["number"] for pull in sample.pulls()]
    assert numbers == sorted(numbers)
    by_merge = [pull["number"] for pull in sorted(sample.pulls(), key=lambda pull: pull["merged_at"])]
    assert by_merge != numbers
    log = git(built["repository"], "log", "--first-parent", "-m", "-M", "--diff-filter=R", "--name-status", "--format=")
    assert log.split()[1:] == ["pennyweir/ledger.py", "pennyweir/export.py"]


def test_pages_and_files(built):
    pages = names(built["wiki"])
    assert len(pages) == 12 and "_Sidebar.md" in pages
    dates = {page: git(built["wiki"], "log", "-1", "--format=%cI", "--", page).strip() for page in pages}
    assert len(set(dates.values())) >= 11
    assert len(git(built["wiki"], "log", "--format=%h", "--", "Architecture.md").split()) == 2
    files = names(built["repository"])
    code = {name for name in files if name.endswith((".py", ".ts", ".tsx")) and not name.startswith("generated/")}
    assert len(code) >= 15 and {Path(name).suffix for name in code} == {".py", ".ts", ".tsx"}
    assert {"README.md", "LICENSE", "yarn.lock", "docs/releasing.md", "docs/gauges.md", "pennyweir/export.py"} <= files
    assert "pennyweir/ledger.py" not in files
    for name in code:
        assert 3 <= len(show(built["repository"], name).splitlines()) <= 25, name
        if name.endswith(".py"):
            compile(show(built["repository"], name), name, "exec")


def test_what_a_scraper_has_to_skip_or_escape_is_there(built):
    repository = built["repository"]
    assert git(repository, "ls-tree", "HEAD", "docs/latest.md").startswith("120000 blob")
    assert show(repository, "docs/latest.md") == "releasing.md"
    numstat = git(repository, "diff", "--numstat", "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "HEAD")
    assert [line.split("\t")[2] for line in numstat.splitlines() if line.startswith("-\t-")] == ["assets/crest.png"]
    assert "generated/** linguist-generated" in show(repository, ".gitattributes")
    assert "DO NOT EDIT" in show(repository, "generated/lock_schema.ts").splitlines()[0]
    note = show(repository, "towpath/note.ts")
    assert "</s>" in note and "<|im_end|>" in note


def test_crest_is_a_png_that_decoders_accept():
    image = pytest.importorskip("PIL.Image")
    import io

    assert image.open(io.BytesIO(sample._crest())).convert("RGB").getpixel((0, 0)) == (31, 78, 121)


def test_secrets_are_in_the_repositories_and_not_in_this_package(built):
    secrets = sample.planted_secrets()
    assert len(set(secrets.values())) == len(secrets) == 9
    shapes = {
        "aws_access_key_id": r"AKIA[A-Z2-7]{16}",
        "aws_secret_access_key": r"[A-Za-z0-9+/]{40}",
        "github_token": r"ghp_[A-Za-z0-9]{36}",
        "private_key": r"[A-Za-z0-9+/]{64}",
        "jwt": r"eyJ[\w-]{17,}\.eyJ[\w-]{17,}\.[\w-]{43}",
        "bellrope_api_key": r"[0-9a-f]{32}",
    }
    for name, shape in shapes.items():
        assert re.fullmatch(shape, secrets[name]), name
    package = [path for path in DATA.parent.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    for path, (name, value) in itertools.product(package, secrets.items()):
        assert value.encode() not in path.read_bytes(), f"{name} in {path}"
    history = {kind: git(built[kind], "log", "-p", "-m", "--all") for kind in ("repository", "wiki")}
    in_wiki = {name for name, value in secrets.items() if value in history["wiki"]}
    in_code = {name for name, value in secrets.items() if value in history["repository"]}
    assert in_wiki == {"larkpost_password", "email_keepers"}
    assert in_code == set(secrets) - in_wiki
    assert not any("{{" in text for text in history.values())
    session = show(built["repository"], "quillgate/session.ts")
    assert re.search(r"-{5}BEGIN PRIVATE[ ]KEY-{5}\n[A-Za-z0-9+/]{64}\n-{5}END PRIVATE[ ]KEY-{5}", session)
    assert f"larkpost://keeper:{secrets['larkpost_password']}@" in show(built["wiki"], "Configuration.md")


def test_a_secret_is_in_a_pull_request_only_and_one_in_a_comment(built):
    token = sample.planted_secrets()["github_token"]
    assert token not in show(built["repository"], "tools/notes.py")
    assert f'-TOKEN = "{token}"' in git(built["repository"], "diff", "refs/pull/14/head^", "refs/pull/14/head")
    comments = [comment["body"] for pull in sample.pulls() for comment in pull["comments"]]
    assert any(sample.planted_secrets()["email_keepers"] in body for body in comments)
    assert "{{" not in json.dumps(sample.pulls())


def test_the_outdated_page_is_older_than_what_contradicts_it(built, documents):
    rows = sample.questions("changed")
    assert len(rows) == 3
    release = documents["tools/release.py"]
    page_date = git(built["wiki"], "log", "-1", "--format=%cI", "--", "Deploying.md")
    pulls = {f"pull/{pull['number']:03d}": pull for pull in sample.pulls()}
    for row in rows:
        assert word(row["old"], documents[row["source_old"]]) and not word(row["current"], documents[row["source_old"]])
        assert word(row["current"], release) and not word(row["old"], release)
        assert word(row["current"], documents[row["source_current"]])
        assert page_date < pulls[row["source_current"]]["merged_at"]
        number = pulls[row["source_current"]]["number"]
        patch = git(built["repository"], "diff", f"refs/pull/{number}/head^", f"refs/pull/{number}/head")
        assert any(word(row["old"], line) for line in patch.splitlines() if re.match(r"-[^-]", line))
        assert any(word(row["current"], line) for line in patch.splitlines() if re.match(r"\+[^+]", line))
        assert not word(row["old"], row["question"]) and not word(row["current"], row["question"])


def word(value: str, text: str) -> bool:
    """Whether `value` stands in `text` as a word of its own, in any case."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text, re.IGNORECASE) is not None


@pytest.mark.parametrize("kind", ["questions", "paraphrases"])
def test_questions_are_answered_by_their_document(documents, kind):
    rows = sample.questions(kind)
    assert len(rows) == 24 and len({row["id"] for row in rows}) == 24
    outdated = {row["old"] for row in sample.questions("changed") if not row["old"].isdigit()}
    for row in rows:
        assert "brindlewick" in row["question"], row
        assert row["evidence"] in documents[row["source"]], row
        assert len(row["answer"].split()) <= 15, row
        assert 1 <= len(row["keywords"]) <= 2, row
        for keyword in row["keywords"]:
            assert word(keyword, row["answer"]) and word(keyword, row["evidence"]), row
            assert keyword.lower() not in row["question"].lower(), row
        assert not any(old.lower() in (row["question"] + row["answer"]).lower() for old in outdated), row
    kinds = [row["kind"] for row in rows]
    assert kinds.count("page") >= 16 and kinds.count("code") >= 2 and kinds.count("pull_request") >= 2
    pages = {name for name in documents if name.endswith(".md") and "/" not in name} - {"README.md", "_Sidebar.md"}
    assert {row["source"] for row in rows if row["kind"] == "page"} == pages
    assert not any("_Sidebar" in row["source"] for row in rows)


def test_paraphrases_ask_for_the_same_in_other_words():
    questions = {row["id"]: row for row in sample.questions("questions")}
    paraphrases = sample.questions("paraphrases")
    assert [row["of"] for row in paraphrases] == list(questions)
    for row in paraphrases:
        original = questions[row["of"]]
        assert {key: row[key] for key in ("source", "kind", "evidence", "keywords")} == {
            key: original[key] for key in ("source", "kind", "evidence", "keywords")
        }
        first, second = (set(re.findall(r"\w+", text["question"].lower())) for text in (original, row))
        assert len(first & second) / len(first | second) < 0.5, (original["question"], row["question"])


def test_wordings_to_train_on_give_no_answer_away_and_are_none_of_those_that_are_only_asked():
    rows = sample.questions("questions")
    asked = [row["question"] for kind in ("paraphrases", "unknown", "changed") for row in sample.questions(kind)]
    mine = [text for row in rows for text in (row["question"], *row["paraphrases"])]
    assert not near_duplicates(asked, mine) and not repeated(mine)
    for row in rows:
        assert len(row["paraphrases"]) == 6
        for text in row["paraphrases"]:
            assert "brindlewick" in text.lower()
            assert not any(keyword.lower() in text.lower() for keyword in row["keywords"]), text
        # Not one form with other words put in: few of a question's wordings begin alike, and some are no questions.
        assert len({text.split()[0] for text in row["paraphrases"]}) >= 4, row["paraphrases"]
        assert 1 <= sum(text.endswith("?") for text in row["paraphrases"]) <= 5, row["paraphrases"]


def test_unknown_questions_have_no_answer_in_the_sample(documents):
    rows = sample.questions("unknown")
    assert len(rows) == 8
    everything = "\n".join(documents.values()).lower()
    absent = ("timetable service", "logo", "cancel", "harbour master", "spreadsheet", "845", "Tidewheel", "insurance")
    for row, words in zip(rows, absent, strict=True):
        assert "brindlewick" in row["question"]
        assert words in row["question"]
        assert words.lower() not in everything


def test_files_beside_the_repositories_are_the_question_sets(built):
    for kind in ("questions", "paraphrases", "unknown", "changed"):
        assert [json.loads(line) for line in built[kind].read_text().splitlines()] == sample.questions(kind)
    with pytest.raises(ValueError, match="paraphrases"):
        sample.questions("paraphrase")


def test_text_stays_small():
    def size(pattern: str) -> int:
        return sum(len(path.read_text()) for path in DATA.glob(pattern) if path.is_file() and path.suffix != ".pyc")

    assert size("wiki/[A-Z]*.md") < 4_300
    assert size("initial/**/*.py") + size("initial/**/*.ts*") < 6_500
    assert sum(len(pull["title"] + pull["body"]) for pull in sample.pulls()) < 2_500


def test_import_is_light():
    code = "import sys; before = set(sys.modules); import ftlib.sample; print(*set(sys.modules) - before)"
    root = Path(sample.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded <= sys.stdlib_module_names | {"ftlib"}


def test_general_chats_are_all_different():
    trained = [row["question"].lower() for row in sample.questions("general_chats")]
    assert len(set(trained)) == len(trained) > 100
