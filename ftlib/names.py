"""Names of a repository: their words, one spelling for all, and new ones written as those beside which they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence

NAME = re.compile(r"\w[\w-]*")
ROUTE = re.compile(r"""["'`](/[A-Za-z][\w-]*(?:/[\w{}:<>-]+)*)/?["'`?]""")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PART = re.compile(r"\d+|[^\W\d_]+")


def name_parts(name: str) -> list[str]:
    """The words and numbers of a name in lower case: camelCase, snake_case, paths."""
    return [part.lower() for part in _PART.findall(_HUMP.sub(" ", name))]


def plain(name: str) -> str:
    """A name without case, blanks and marks: `fooBar`, `foo_bar`, `Foo bar` and `FOO-BAR` are the same."""
    return re.sub(r"[\W_]", "", name).lower()


def stem_words(path: str) -> list[str]:
    """The words of a path's last part, without its endings."""
    last = path.rsplit("/", 1)[-1].split(".")[0]
    return [word for word in name_parts(last) if word.isalpha()]


def joined(words: Sequence[str], like: str, ending: str) -> str:
    """Words written as the name beside which the new one will stand; a name of one word says it by its ending."""
    camel = re.search(r"[a-z][A-Z]", like) or like[0].isupper() or re.fullmatch(r"[cm]?[jt]sx?|java|kt|swift", ending)
    if camel and "_" not in like and "-" not in like:
        rest = "".join(word.capitalize() for word in words[1:])
        return (words[0].capitalize() if like[0].isupper() else words[0]) + rest
    return ("-" if "-" in like else "_").join(words)
