"""Which files are pages for people to read, what they are called, and which licence a text is."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

_SUFFIXES = frozenset({".md", ".markdown", ".mdx", ".rst", ".adoc", ".asciidoc", ".org", ".textile", ".mediawiki"})
_NAMES = re.compile(
    r"(readme|contributing|changelog|changes|history|authors|install|todo|faq|licen[cs]e|copying|notice)\b"
)
_FOLDERS = frozenset({"doc", "docs", "documentation", "wiki"})
_HEADING = re.compile(
    r"^ {0,3}(?:#{1,6}|={1,6})[ \t]+(?P<marked>\S.*?)[ \t]*#*[ \t]*\r?$"
    r"|^(?P<underlined>[^\s#>|+-].*)\n(?P<mark>[=~^*#-])(?P=mark){2,}[ \t]*\r?$",
    re.M,
)
_LICENCES = (
    (r"gnu affero general public license", "AGPL-3.0"),
    (r"gnu lesser general public license version 3", "LGPL-3.0"),
    (r"gnu lesser general public license", "LGPL-2.1"),
    (r"gnu general public license version 3", "GPL-3.0"),
    (r"gnu general public license version 2", "GPL-2.0"),
    (r"apache license,? version 2\.0", "Apache-2.0"),
    (r"mozilla public license,? (version|v\.) 2\.0", "MPL-2.0"),
    (r"this is free and unencumbered software", "Unlicense"),
    (r"permission is hereby granted, free of charge, to any person obtaining a copy", "MIT"),
    (r"permission to use, copy, modify, and(/or)? distribute this software for any purpose", "ISC"),
    (r"redistribution and use in source and binary forms.*neither the name", "BSD-3-Clause"),
    (r"redistribution and use in source and binary forms", "BSD-2-Clause"),
)


def is_page(path: str) -> bool:
    """Whether a file of a repository is documentation: by its suffix, and plain text by its name or folder."""
    file = PurePosixPath(path.lower())
    plain = file.suffix in {"", ".txt"} and _NAMES.match(file.name)
    return file.suffix in _SUFFIXES or bool(plain) or (file.suffix == ".txt" and bool(_FOLDERS & set(file.parts[:-1])))


def wiki_reason(path: str) -> str | None:
    """Why a file of a wiki is no page of it, or None."""
    file = PurePosixPath(path.lower())
    if file.stem in {"_sidebar", "_footer", "_header"}:
        return "sidebar"
    return None if file.suffix in _SUFFIXES | {".txt"} else "not a page"


def wiki_title(path: str) -> str:
    """The title that GitHub shows: the file's name, dashes as spaces."""
    return PurePosixPath(path).stem.replace("-", " ")


def page_title(path: str, text: str) -> str:
    """The first heading of a Markdown, reStructuredText or AsciiDoc page, else the file's name."""
    # Code blocks and front matter hold lines that look like headings.
    text = re.sub(r"\A---\n.*?^---$|^ {0,3}(```|~~~).*?^ {0,3}\1", "", text[:20_000], flags=re.M | re.S)
    match = _HEADING.search(text)
    return (match["marked"] or match["underlined"]).strip() if match else PurePosixPath(path).name


def licence_of(text: str) -> str:
    """The SPDX identifier of a licence's text, for the common ones; else ""."""
    words = " ".join(text.lower().split())
    found = ((match.start(), name) for sign, name in _LICENCES if (match := re.search(sign, words)))
    # Licences name others further down, as the GPL does the Affero GPL: the first to be named is the one.
    return min(found, key=lambda pair: pair[0], default=(0, ""))[1]
