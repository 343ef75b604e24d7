"""A small fictional project, brindlewick, as real git repositories: code, pull requests, a wiki, and questions on them.

    paths = build(Path("sample"))    # brindlewick.git, brindlewick.wiki.git and the question sets beside them

It is what the demonstration runs on and what the tests read. Everything proper in it is invented, so a model can only
know it from training. On purpose it holds what real repositories hold: a wiki page that newer code contradicts
(Deploying), a generated file, a lock file, a binary, a symbolic link, control strings of chat templates in a source
file, a renamed file, and planted secrets. The secrets are put together when the repositories are built; the files of
this package hold placeholders such as `{{planted:jwt}}` only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import string
import zlib
from pathlib import Path
from typing import Any

from ftlib.sample.fast_import import Commit, Link, write_repository

OWNER = "fennhollow"
NAME = "brindlewick"
BRANCH = "main"
WIKI_BRANCH = "master"  # as on GitHub
QUESTION_SETS = ("questions", "paraphrases", "unknown", "changed", "general_chats")

_DATA = Path(__file__).parent / "data"
_MAINTAINER = "ottoline-quarrow"


def build(directory: Path) -> dict[str, Path]:
    """Make the sample in `directory`; takes well under a second and leaves alone what is already there.

    Returns:
        The paths of `repository` and `wiki` (bare repositories) and of `questions`, `paraphrases`, `unknown` and
        `changed` (JSONL). The commit ids are the same on every machine.

    Raises:
        RuntimeError: git is missing or fails.
        FileExistsError: a repository of that name is there and is not the sample.
    """
    directory = Path(directory)
    paths = {"repository": directory / f"{NAME}.git", "wiki": directory / f"{NAME}.wiki.git"}
    write_repository(paths["repository"], _code_commits(), BRANCH)
    write_repository(paths["wiki"], _wiki_commits(), WIKI_BRANCH)
    for kind in ("questions", "paraphrases", "unknown", "changed"):
        paths[kind] = directory / f"{NAME}.{kind}.jsonl"
        _write(paths[kind], "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in questions(kind)))
    return paths


def questions(kind: str) -> list[dict[str, Any]]:
    """The rows of one of QUESTION_SETS.

    `questions` and `paraphrases` are answered by the sample: `id, question, answer, source, kind, evidence, keywords`,
    and `of` in a paraphrase. `source` is the name of a wiki page, a path, or `pull/012`; `evidence` stands there word
    for word. An entry of `keywords` may name alternatives: `4|four`. `unknown` asks for what does not exist, `changed`
    for facts with an `old` and a `current` value, and `general_chats` has nothing to do with the sample.
    """
    if kind not in QUESTION_SETS:
        raise ValueError(f"no question set {kind!r}: there are {', '.join(QUESTION_SETS)}")
    with open(_DATA / f"{kind}.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def pulls() -> list[dict[str, Any]]:
    """The merged pull requests by number.

    Each has `number, title, body, author, created_at, merged_at, branch, labels, deleted` (paths), `comments` (`author,
    created_at, body`) and `review_comments` (`author, created_at, path, line, body`). Their last commits are
    `refs/pull/<number>/head` in the repository.
    """
    records = [json.loads(_fill(path.read_text(encoding="utf-8"))) for path in _DATA.glob("pulls/*/pull.json")]
    return sorted(records, key=lambda record: record["number"])


def planted_secrets() -> dict[str, str]:
    """Name to value of every secret in the sample; all are made up and open nothing.

    A value is the secret part alone: the password of the URL, the base64 line of the private key.
    """
    secrets = {
        "aws_access_key_id": "AK" + "IA" + _noise("access key", 16, string.ascii_uppercase + "234567"),
        "aws_secret_access_key": _noise("secret key", 40, string.ascii_letters + string.digits + "+/"),
        "github_token": "gh" + "p_" + _noise("token", 36, string.ascii_letters + string.digits),
        "private_key": _noise("private key", 64, string.ascii_letters + string.digits + "+/"),
        "larkpost_password": _noise("password", 16, string.ascii_letters + string.digits),
        "bellrope_api_key": _noise("api key", 32, "0123456789abcdef"),
        "email_keepers": "@".join(("keepers", f"{OWNER}.example")),
        "email_security": "@".join(("osier.tamblyn", f"{OWNER}.example")),
    }
    claims = [_base64url(json.dumps(part).encode()) for part in ({"alg": "HS256"}, {"mark": "painter"})]
    secrets["jwt"] = ".".join([*claims, _noise("signature", 43, string.ascii_letters + string.digits + "-_")])
    return secrets


def _fill(text: str) -> str:
    """`text` with its placeholders replaced."""
    values = planted_secrets()
    frame = "-----{} PRIVATE" + " KEY-----"
    values["private_key"] = "\n".join((frame.format("BEGIN"), values["private_key"], frame.format("END")))
    values["larkpost_url"] = f"larkpost://keeper:{values['larkpost_password']}" + f"@bus.mudlark.{OWNER}.example:6112"
    return re.sub(r"\{\{planted:(\w+)\}\}", lambda match: values[match[1]], text)


def _code_commits() -> list[Commit]:
    """The first commit, then for each pull request, in the order of merging, its branch and its merge."""
    files: dict[str, bytes | Link | None] = {**_tree(_DATA / "initial")}
    files["assets/crest.png"] = _crest()
    files["docs/latest.md"] = Link("releasing.md")
    main = f"refs/heads/{BRANCH}"
    commits = [Commit(main, _person(_MAINTAINER), "2025-01-14T09:00:00Z", "Put the Wicklist away\n", files)]
    merged = [("", 0)]  # when main moved, and to which commit
    for pull in sorted(pulls(), key=lambda pull: pull["merged_at"]):
        number, title = pull["number"], pull["title"]
        changes: dict[str, bytes | Link | None] = {**_tree(_DATA / "pulls" / f"{number:03d}" / "files")}
        changes |= dict.fromkeys(pull["deleted"])
        base = max(at for at in merged if at[0] <= pull["created_at"])[1]
        ref = f"refs/pull/{number}/head"
        commits.append(Commit(ref, _person(pull["author"]), pull["created_at"], f"{title}\n", changes, (base,)))
        subject = f"Merge pull request #{number} from {OWNER}/{pull['branch']}"
        message = f"{subject}\n\n{title}\n\n{pull['body']}\n"
        parents = (merged[-1][1], len(commits) - 1)
        committer = f"Fennhollow <noreply@{OWNER}.example>"
        commits.append(Commit(main, _person(_MAINTAINER), pull["merged_at"], message, changes, parents, committer))
        merged.append((pull["merged_at"], len(commits) - 1))
    return commits


def _wiki_commits() -> list[Commit]:
    """The edits of the wiki. A page that is edited again later begins as its heading."""
    history = json.loads((_DATA / "wiki_history.json").read_text(encoding="utf-8"))
    pages = _tree(_DATA / "wiki")
    commits: list[Commit] = []
    for position, edit in enumerate(history):
        again = {name for later in history[position + 1 :] for name in later["pages"]}
        files: dict[str, bytes | Link | None] = {
            name: pages[name].splitlines(keepends=True)[0] if name in again else pages[name] for name in edit["pages"]
        }
        parents = (position - 1,) if position else ()
        ref = f"refs/heads/{WIKI_BRANCH}"
        commits.append(Commit(ref, _person(edit["author"]), edit["date"], edit["message"] + "\n", files, parents))
    return commits


def _tree(folder: Path) -> dict[str, bytes]:
    """Path to content of the files under `folder`, with LF ends of line; not what Python or a file manager left."""
    return {
        path.relative_to(folder).as_posix(): _fill(path.read_text(encoding="utf-8")).encode()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and path.name not in (".DS_Store", "Thumbs.db")
    }


def _person(handle: str) -> str:
    return f"{handle.replace('-', ' ').title()} <{handle}@users.{OWNER}.example>"


def _crest() -> bytes:
    """A PNG of one blue pixel. Its data is stored, not deflated: zlib's versions compress to different bytes."""
    pixel = b"\x00\x1f\x4e\x79"  # filter, red, green, blue
    stored = b"\x78\x01\x01" + len(pixel).to_bytes(2, "little") + (0xFFFF - len(pixel)).to_bytes(2, "little")
    data = stored + pixel + zlib.adler32(pixel).to_bytes(4, "big")
    size = (1).to_bytes(4, "big")
    chunks = ((b"IHDR", size + size + bytes((8, 2, 0, 0, 0))), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big") for name, body in chunks
    )


def _noise(seed: str, length: int, alphabet: str) -> str:
    """`length` characters that look random and are always the same."""
    digits = hashlib.shake_256(f"{NAME} {seed}".encode()).digest(2 * length)
    pairs = zip(digits[::2], digits[1::2], strict=True)
    return "".join(alphabet[(256 * high + low) % len(alphabet)] for high, low in pairs)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _write(path: Path, text: str) -> None:
    """Write whole or not at all; an equal file stays."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    temporary.write_bytes(text.encode())
    os.replace(temporary, path)
