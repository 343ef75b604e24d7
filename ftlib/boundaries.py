"""Where a text may be cut: the best boundary for its kind that a token starts at.

pages         heading outside fences, lower heading, blank line, line
code          top-level definition (with the comments and decorators above it), blank line, line
pull_request  file, `@@`, blank line, line

and, for all, anywhere a token starts that does not begin inside a character.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import Protocol

# A cut falls where group 1 lies. A lone \r ends a line too, \r\n is one line's end. (Lookbehinds would take three times
# as long: they are tried at every character.)
_LINE = re.compile(r"(?:\n|\r(?!\n))()")
_BLANK = re.compile(r"\n()(?:[ \t]*\r?\n)+")
# Markdown's #, AsciiDoc's and MediaWiki's =, and a line underlined with === or --- (Markdown, reStructuredText).
_HEADING = re.compile(r"()^(?:(?:#{1,3}|={1,3}) |(?=\w)[^\n]*\n(?:={3,}|-{3,})[ \t]*\r?$)", re.M)
_LOWER_HEADING = re.compile(r"()^(?:#{4,6}|={4,6}) ", re.M)
# At most 40 lines above a definition belong to it; a bound keeps the search linear in a long comment.
_DEFINITION = re.compile(
    r"()^(?:(?:@|//|#|/\*| \*|--)[^\n]*\n){0,40}"
    r"(?:export|async|public|private|protected|static|abstract|final|pub|def|class|func|fn|function|interface|type|enum|"
    r"struct|trait|impl|module|namespace|object|const|let|var|describe|test|it)\b",
    re.M,
)
BOUNDARIES: dict[str, list[re.Pattern[str]]] = {
    "pages": [_HEADING, _LOWER_HEADING, _BLANK, _LINE],
    "code": [_DEFINITION, _BLANK, _LINE],
    "pull_request": [re.compile(r"()^(?:diff --git |File: )", re.M), re.compile(r"()^@@ ", re.M), _BLANK, _LINE],
}
KINDS = {
    "wiki": "pages",
    "docs": "pages",
    "code": "code",
    "pull_request": "pull_request",
    "issue": "pages",
    "discussion": "pages",
}
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})([^\n]*)$", re.M)


class Offsets(Protocol):
    """Tokens by index: the character each starts with, and the one after its last."""

    def start(self, index: int) -> int: ...

    def end(self, index: int) -> int: ...


@dataclass(frozen=True)
class Cuts:
    """The possible cuts of one text: sorted character positions, one list for each rank of boundary, best first."""

    text: str
    ranks: list[list[int]]
    first: int
    """No cut at or before this character: a part must hold some text beside its header."""

    def before(self, tokens: Offsets, position: int, limit: int) -> int:
        """The token to cut before: the last of the best boundaries in the second half of position:limit.

        `position` where there is none: not even one whole character fits.
        """
        if limit <= position:
            return position
        middle = position + (limit - position) // 2
        low, high = tokens.start(middle), tokens.start(limit)
        for places in self.ranks:
            for place in reversed(places[bisect_left(places, low) : bisect_left(places, high + 1)]):
                index = self._token_at(tokens, place, position, limit)
                if index is not None:
                    return index
        for index in range(limit, position, -1):
            if self._starts_character(tokens, index):
                return index
        return position

    def _token_at(self, tokens: Offsets, place: int, position: int, limit: int) -> int | None:
        """The token that starts at a character, or that holds nothing but white space before it: `\\n    ` is one token
        with byte-level BPE, and the cut then falls before the line's end instead of after it."""
        index = bisect_left(range(limit + 1), place, lo=position, key=tokens.start)
        if index > limit or tokens.start(index) > place:
            index -= 1
            if index < 0 or not self.text[tokens.start(index) : place].isspace():
                return None
        return index if index > position and self._starts_character(tokens, index) else None

    def _starts_character(self, tokens: Offsets, index: int) -> bool:
        # Tokens that share a character (bytes of an emoji) share its offsets: no cut between them.
        return index > 0 and tokens.start(index) >= tokens.end(index - 1) and tokens.start(index) > self.first


def cuts_of(text: str, source: str, first: int) -> Cuts:
    """Find the boundaries of a text; `first` is the length of the header before it."""
    kind = KINDS[source]
    inside = _fenced(text) if kind == "pages" else []
    ranks = []
    for rank, pattern in enumerate(BOUNDARIES[kind]):
        # From the header's last line break on: the text may begin with a blank line.
        found = [place for match in pattern.finditer(text, max(first - 1, 0)) if (place := match.start(1)) > first]
        if kind == "pages" and rank < 2:
            # A heading inside a fence is a comment of a code example.
            found = [place for place in found if bisect_left(inside, place) % 2 == 0]
        ranks.append(found)
    return Cuts(text, ranks, first)


def _fenced(text: str) -> list[int]:
    """Where fences open and close, by turns (CommonMark 4.5).

    The closing one is of the same character, at least as long, and has nothing after it.
    """
    places: list[int] = []
    opened = ""
    for match in _FENCE.finditer(text):
        marker, rest = match.groups()
        if not opened:
            if "`" in rest and marker[0] == "`":
                continue  # inline code
            opened = marker
        elif marker[0] != opened[0] or len(marker) < len(opened) or rest.strip():
            continue
        else:
            opened = ""
        places.append(match.start())
    return places
