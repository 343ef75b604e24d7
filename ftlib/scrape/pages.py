"""Which files are pages for people to read, and what they are called."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import NamedTuple


class _Format(NamedTuple):
    heading: str
    """A line; its group is the title."""
    blocks: str
    """What shows text as it is, and so may hold what looks like a heading."""
    marks: str = ""
    """A line of one of them under a line makes that one a title."""


_COMMENT = r"<!--.*?(?:-->|\Z)"
_FENCE = r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)"
_MARKDOWN = _Format(r" {0,3}(?:#{1,6}|={1,6})[ \t]+(\S.*?)(?:[ \t]+(?:#+|=+))?", f"{_FENCE}|{_COMMENT}", "=-")
_PLAIN = _MARKDOWN._replace(blocks=_FENCE.replace("|~{3,}", ""), marks="=~^*#-")
_ASCIIDOC = _Format(
    r"(?:={1,6}|#{1,6})[ \t]+(\S.*?)(?:[ \t]+=+)?",
    r"(?:\A|(?<=\n\n)|(?<=\]\n))([-.=+/_*`])\1{3,}[ \t]*\n.*?(?:^\1{4,}[ \t]*$|\Z)|" + _FENCE.replace(r"\1", r"\2"),
    "=-~^+",
)
_RST = _Format("(?!)", "(?!)", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_WIKI = _Format(
    r"[ \t]*={1,6}[ \t]*([^\s=].*?)[ \t]*=*",
    rf"<(pre|nowiki|source|syntaxhighlight)\b.*?(?:</\1>|\Z)|^\{{\{{\{{.*?(?:^\}}\}}\}}|\Z)|{_COMMENT}",
)
_ORG = _Format(r"(?:\*+|(?i:#\+title:))[ \t]+(\S.*?)", r"^[ \t]*(?i:#\+begin_(\w+).*?(?:^[ \t]*#\+end_\1|\Z))")
_TEXTILE = _Format(r"h[1-6](?:[(\[{<>=~-][^.]*)?\.[ \t]+(\S.*?)", rf"<(pre|code|notextile)\b.*?(?:</\1>|\Z)|{_COMMENT}")
_POD = _Format(r"=head\d[ \t]+(?!NAME[ \t]*$)(\S.*?)", r"^=begin\b.*?(?:^=end\b|\Z)")
_RDOC = _Format(r"={1,6}[ \t]*([^\s=].*?)", "(?!)")
# The suffixes of GitHub's wikis (gollum).
_FORMATS = {
    **dict.fromkeys(".md .mkd .mkdn .mdwn .mdown .markdown .mdx".split(), _MARKDOWN),
    **dict.fromkeys(".adoc .asciidoc .asc".split(), _ASCIIDOC),
    **dict.fromkeys(".rst .rest".split(), _RST),
    **dict.fromkeys(".mediawiki .wiki .creole".split(), _WIKI),
    **{".org": _ORG, ".textile": _TEXTILE, ".pod": _POD, ".rdoc": _RDOC},
}
# In a repository .asc is a signature or a key, and .rest a list of HTTP requests.
_SUFFIXES = _FORMATS.keys() - {".asc", ".rest"}
_NAMES = re.compile(
    r"(readme|contributing|changelog|changes|history|authors|install|todo|faq|licen[cs]e|copying|notice)\b"
)
_FOLDERS = frozenset({"doc", "docs", "documentation", "wiki"})
_LONGEST = 400
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*$", re.M | re.S)
_TITLE = re.compile(
    r"title:[ \t]+(?:(\"(?:[^\"\\]|\\.)*\")|'((?:[^']|'')*)'|([^\s\"'|>\[{&*!%@`#~].*?))(?:[ \t]+#.*|[ \t]*)"
)


def is_page(path: str) -> bool:
    """Whether a file of a repository is documentation: by its suffix, and plain text by its name or folder."""
    file = PurePosixPath(path.lower())
    plain = file.suffix in {"", ".txt"} and _NAMES.match(file.name)
    return file.suffix in _SUFFIXES or bool(plain) or (file.suffix == ".txt" and bool(_FOLDERS & set(file.parts[:-1])))


def wiki_reason(path: str) -> str | None:
    """Why a file of a wiki is no page of it, or None."""
    file = PurePosixPath(path.lower())
    if file.name.partition(".")[0] in {"_sidebar", "_footer", "_header"}:
        return "sidebar"
    return None if file.suffix in _FORMATS or file.suffix == ".txt" else "not a page"


def wiki_name(path: str) -> str:
    """What a page is called in the wiki's addresses."""
    return re.sub(r"\.re?st$", "", PurePosixPath(path).stem, flags=re.I)


def wiki_title(path: str) -> str:
    """The title that GitHub shows: the file's name, dashes as spaces."""
    return wiki_name(path).replace("-", " ")


def page_title(path: str, text: str) -> str:
    """What a page calls itself, else the file's name."""
    return own_title(path, text) or PurePosixPath(path).name


def own_title(path: str, text: str) -> str:
    """What a page calls itself: the `title` of its front matter, else its first heading in its format; or ""."""
    text = re.sub(r"\r\n?", "\n", text[:20_000].removeprefix("\ufeff"))
    if front := _FRONT_MATTER.match(text):
        if title := _front_title(front[1]):
            return title
        text = text[front.end() :]
    form = _FORMATS.get(PurePosixPath(path.lower().removesuffix(".txt")).suffix, _PLAIN)
    lines = re.sub(form.blocks, "", text, flags=re.M | re.S).split("\n")
    for before, line, after in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if len(line) > _LONGEST:  # that no title is, and patterns would take long for
            continue
        if match := re.fullmatch(form.heading + r"[ \t]*", line):
            return match[1]
        # A line that is shorter than the text above it is a rule, or the fence of a block.
        long = form is _MARKDOWN or len(after.rstrip()) >= len(line.strip()) - 1
        if long and _is_line(after, form.marks) and _is_title(line, before, form):
            return line.strip()
    return ""


def _is_line(text: str, marks: str) -> bool:
    return len(text) > 2 and text[0] in marks and not text.strip(text[0]).strip()


def _is_title(line: str, before: str, form: _Format) -> bool:
    over = _is_line(before, form.marks)
    plain = re.match(r"[ \t]*(?!\.\. |[#>|]|[-+*][ \t])\S" if over else r"(?!\.\. |[#>|]|[-+*][ \t])\S", line)
    return bool(plain) and (over or not before.strip()) and not _is_line(line, form.marks)


def _front_title(front: str) -> str:
    line = next((line for line in front.split("\n") if line.startswith("title:")), "")
    match = _TITLE.fullmatch(line) if len(line) <= _LONGEST else None
    if match is None:
        return ""
    double, single, plain = match.groups()
    if double:
        try:
            return str(json.loads(double)).strip()
        except ValueError:
            return ""
    title = single.replace("''", "'") if single is not None else plain
    return "" if plain and (plain == "null" or re.search(r":(\s|$)", plain)) else title.strip()
