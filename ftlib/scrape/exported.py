"""A folder of exported pages in place of the wiki: Markdown and the wiki's other formats, and HTML."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from ftlib.errors import SetupError
from ftlib.scrape.filters import decode, path_reason, shown, text_reason, unsafe_reason
from ftlib.scrape.pages import own_title, wiki_reason, wiki_title

_HTML = (".html", ".htm")
_UNSEEN = frozenset("script style template noscript head svg nav footer".split())
_BLOCKS = frozenset(
    "address article aside blockquote body center dd details div dl dt fieldset figcaption figure form header hr html"
    " main p section summary ul ol li table thead tbody tfoot tr".split()
)
_HEADINGS = frozenset("h1 h2 h3 h4 h5 h6".split())


def is_export(path: str | Path) -> bool:
    """Whether a path is a folder of files, and neither a git repository nor a work tree."""
    folder = Path(path).expanduser()
    git_dir = all((folder / name).exists() for name in ("HEAD", "objects", "refs"))
    return folder.is_dir() and not git_dir and not (folder / ".git").exists()


def export_state(folder: Path) -> str:
    """A hash that changes when a file of the folder does: of the files' paths, sizes and times."""
    state = hashlib.sha256()
    for path, name in _files(folder.expanduser(), []):
        found = path.lstat()
        state.update(os.fsencode(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\0"))
    return state.hexdigest()


def exported_pages(folder: Path, limit_bytes: int, skipped: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """The pages of a folder and its subfolders as documents, by path; what is left out goes to `skipped`.

    The date is that of the file's last change, the title the one that the page gives itself, else the file's name.

    Raises:
        SetupError: there is no page in the folder; after all of it was looked at.
    """
    folder = folder.expanduser()
    pages = 0
    for path, name in _files(folder, skipped):
        text, title, reason = _read(path, name, limit_bytes)
        if reason:
            skipped.append({"path": f"wiki:{shown(os.fsencode(name))}", "reason": reason})
            continue
        pages += 1
        row = {"id": f"wiki:{name}", "source": "wiki", "title": shown(title), "path": name, "url": "", "text": text}
        date = datetime.fromtimestamp(int(path.stat().st_mtime), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        yield {**row, "date": date, "commit": "", "licence": ""}
    if not pages:
        raise SetupError(
            f"There is no page in {folder}. Set `wiki` to the folder that holds the exported pages (Markdown or "
            "another format of GitHub's wikis, or HTML, not zipped), to the wiki's git repository, or to 'none'."
        )


def _files(folder: Path, skipped: list[dict[str, str]]) -> Iterator[tuple[Path, str]]:
    """All files that aren't hidden, with their paths below the folder, as if all those paths were sorted."""

    def leave_out(name: str, reason: str) -> None:
        skipped.append({"path": f"wiki:{shown(os.fsencode(name))}", "reason": reason})

    def failed(error: OSError) -> None:
        leave_out(Path(error.filename).relative_to(folder).as_posix() + "/", _unreadable(error))

    found = []
    for root, folders, files in os.walk(folder, onerror=failed):
        for name in sorted([*folders, *files]):
            path = Path(root, name)
            below = path.relative_to(folder).as_posix()
            if name.startswith("."):
                leave_out(below, "hidden")
            elif path.is_symlink():  # leads outside, or to what is read anyway
                leave_out(below, "symlink")
            elif name in files:
                found.append((path, below))
        folders[:] = [name for name in folders if not name.startswith(".")]
    yield from sorted(found, key=lambda pair: pair[1])


def _read(path: Path, name: str, limit: int) -> tuple[str, str, str | None]:
    """The text and title of a file, or the reason why it is left out."""
    is_html = name.lower().endswith(_HTML)
    reason = unsafe_reason(os.fsencode(name)) or path_reason(name, "100644", {})
    reason = reason or wiki_reason(f"{name}.md" if is_html else name)
    if reason:
        return "", "", reason
    try:
        size, mode = path.stat().st_size, path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe would never end
            return "", "", "not a file"
        if size > limit:
            return "", "", "too large"
        data = path.read_bytes()
    except OSError as error:
        return "", "", _unreadable(error)
    text, reason = decode(data)
    if reason:
        return "", "", reason
    title = ""
    if is_html:
        text, title = html_text(text)
        reason = None if text else "empty"
    # Named as a page: the lines of pages are paragraphs, whatever the file is called.
    reason = reason or text_reason("page.md", text)
    return text, title or own_title("page.md" if is_html else name, text) or wiki_title(name), reason


def _unreadable(error: OSError) -> str:
    return f"unreadable ({(error.strerror or 'error').lower()})"


def html_text(html: str) -> tuple[str, str]:
    """A page of HTML as Markdown (headings, lists, rows of tables, code) and its title or ""."""
    page = _Page()
    try:
        # html.parser takes a minute for many comments without end.
        page.feed(re.sub(r"<!--.*?(?:-->|\Z)", "", html, flags=re.S))
        page.close()
    except AssertionError:  # html.parser met a declaration that it does not know; what came before it is kept
        pass
    page.end_block()
    text = ""
    for (before, _), (kind, block) in zip([("", ""), *page.blocks], page.blocks, strict=False):
        text += ("\n" if kind == before != "text" else "\n\n" if text else "") + block
    return text + "\n" if text else "", " ".join(page.title.split())


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[tuple[str, str]] = []
        """Kind ("text", "item", "row") and text; items and rows follow each other without an empty line."""
        self.title = ""
        self._line = ""
        self._prefix = ""
        self._lists: list[int] = []
        """For each list that is open, the number of the next item; 0 where they have none."""
        self._cells: list[str] = []
        self._in_title = self._in_cell = self._in_code = False
        self._code: str | None = None
        self._language = ""
        self._unseen: list[str] = []

    def end_block(self) -> None:
        """Take what was gathered as a block of its own; in a cell it only ends a word."""
        if self._in_cell:
            self._line += " "
            return
        text = re.sub(r"[ \t]*\n[ \t]*", "\n", self._line).strip()
        self._line = ""
        if text:
            indent = "  " * max(0, len(self._lists) - 1)
            rest = indent + ("  " if self._lists else "")
            kind = "item" if self._lists else "text"
            first = indent + self._prefix if self._prefix else rest
            self.blocks.append((kind, first + text.replace("\n", "\n" + rest)))
            self._prefix = ""

    def _end_cell(self) -> None:
        if self._in_cell:
            self._cells.append(" ".join(self._line.split()))
            self._line, self._in_cell = "", False

    def _end_row(self) -> None:
        self._end_cell()
        if any(self._cells):
            self.blocks.append(("row", f"| {' | '.join(self._cells)} |"))
        self._cells = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "title" and "svg" not in self._unseen and not self.title:
            self._in_title = True
        elif tag == "body":
            self._unseen.clear()  # some never close the head
        elif self._unseen:
            if tag == self._unseen[0]:
                self._unseen.append(tag)
            return
        elif tag in _UNSEEN or values.get("role") in {"contentinfo", "navigation"}:
            self.end_block()
            self._unseen.append(tag)
            return
        if self._code is not None:
            if tag == "br":
                self._code += "\n"
            self._language = self._language or _language(values.get("class") or "")
        elif tag == "pre":
            self._end_row()
            self.end_block()
            self._code, self._language = "", _language(values.get("class") or "")
        elif tag == "br":
            self._line += "\n"
        elif tag in {"code", "tt", "kbd"}:
            self._line, self._in_code = self._line + "`", True
        elif tag in {"td", "th"}:
            self._end_cell()
            self.end_block()
            self._in_cell = True
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._start_block(tag, values)

    def _start_block(self, tag: str, values: dict[str, str | None]) -> None:
        if tag in {"table", "tr"}:
            self._end_row()
        self.end_block()
        if self._in_cell:
            return
        if tag in _HEADINGS:
            self._prefix = "#" * int(tag[1]) + " "
        elif tag in {"ul", "ol"}:
            self._lists.append(int(tag == "ol"))
        elif tag == "li":
            number = self._lists[-1] if self._lists else 0
            self._prefix = f"{number}. " if number else "- "
            if number:
                self._lists[-1] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        if self._unseen:
            if tag == self._unseen[0]:
                self._unseen.pop()
        elif tag == "pre" and self._code is not None:
            code = self._code.strip("\n")
            fence = "```" + "`" * ("```" in code)
            if code.strip():
                self.blocks.append(("text", f"{fence}{self._language}\n{code}\n{fence}"))
            self._code = None
        elif tag in {"code", "tt", "kbd"} and self._in_code:
            self._line, self._in_code = self._line + "`", False
        elif tag in {"td", "th"}:
            self._end_cell()
        elif tag in {"tr", "table"}:
            self._end_row()
        elif tag in _BLOCKS or tag in _HEADINGS:
            self.end_block()
            if tag in _HEADINGS or tag == "li":
                self._prefix = ""
            if tag in {"ul", "ol"} and self._lists and not self._in_cell:
                self._lists.pop()

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif self._unseen:
            return
        elif self._code is not None:
            self._code += data
        else:
            words = re.sub(r"\s+", " ", data)
            self._line += words.lstrip() if self._line.endswith((" ", "\n")) else words


def _language(names: str) -> str:
    match = re.search(r"\blang(?:uage)?-([\w+#-]+)", names)
    return match[1] if match else ""
