"""Whether a passage that is given as proof stands in a text."""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache

from rapidfuzz.distance import OSA

from ftlib.synth.curation.naming import DENSE

_LETTER = rf"[^\W_{DENSE}]"
_NUMBER = rf"{_LETTER}*\d{_LETTER}*"
# A text, compiled at the first use: so many characters take 10 ms, and ftlib is imported in an instant.
_TOKEN = rf"""
    (?:(?<![\w)\].,:-])-(?=\d))?[$€£¥]?{_NUMBER}(?:[.,:-]{_NUMBER})*%?  # a number, version, date or time is one
    | [{DENSE}] | {_LETTER}+(?:\+\+|\#(?![\w#]))?  # a word; C++ and C# are one
    | (?<!\w)!(?=[\w(]) | (?<![=!<>])[=!]==?(?!=) | &&  # what turns code over
    | (?<=[\w)\]]\ )(?:[<>](?:=|(?=\ ?[\w(]))|[-+*/](?=\ \d))"""
_MARKS: dict[int, str | None] = {ord("’"): "'", ord("−"): "-", **dict.fromkeys(range(0x2010, 0x2016), "-")}
_MARKS |= dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))  # not seen
_INSIDE = re.compile(r"(?<=\d)[,_'](?=\d{3}(?!\d))|(?<=[^\W\d])'(?=\w)")  # 10,000 and don't
_DIGITS = re.compile(r"\d+(?:[.:-]\d+)*")
_NUMBERED = re.compile(r"^[ \t>*+-]*\d{1,3}[.)][ \t]|^[-+](?=\d)", re.M)  # of a list; the sign of a diff
_UNSEEN = re.compile(r"(?<=\])\([^()\n]*\)|</?[a-zA-Z][^<>\n]*>|^[ \t]*(?:```|~~~).*$", re.M)  # link, tag, fence
_STOP = frozenset(
    "and are as at be been but by can do does for from had has have how i if in into is it its no not of on one or so "
    "than that the their them then there these they this to was we what when where which who will with you".split()
)
_FIXED = frozenset(
    "not no never none nothing neither nor without cannot cant dont doesnt didnt isnt arent wasnt werent wont shouldnt "
    "mustnt couldnt wouldnt hasnt havent nicht kein keine keinen nie ohne "
    "three seven seventh eight eighth eighty ninth ninety sixth sixty fourth forty".split()
)
_SPELT = re.compile(r"[_/\\@=`]|\w\.\w|[a-z][A-Z]|^\W*[A-Z]{2,}\b")
FEWEST = 6  # words of a passage in which one may be misspelt, and one more in ten
CUT = 250  # characters of an evidence that may end inside a word, as one with "..." may


def has_evidence(evidence: str, text: str) -> bool:
    """Whether a passage stands in a text: the same words in the same order, with nothing between them.

    Punctuation, white space, case and Markdown's marks are no matter, nor the numbers of a list, the targets of links,
    tags and fences, and in a long passage an article or a slip of one letter; numbers, versions, names and negations
    must be the page's. A gap ("...") parts it into passages of two words at least, each of which must stand there.
    """
    if _stands_in(evidence, text):
        return True
    pieces = re.split(r"\.\.\.|…", evidence)
    found = [_stands_in(p, text, cut=n < len(pieces)) for n, p in enumerate(pieces, 1) if len(_tokens(p)) > 1]
    return bool(found) and len(found) == sum(bool(_tokens(piece)) for piece in pieces) and all(found)


def _tokens(text: str) -> list[str]:
    text = unicodedata.normalize("NFKC", html.unescape(text).translate(_MARKS))
    return [
        token for token in re.findall(_TOKEN, _INSIDE.sub("", text.casefold()), re.X) if token not in ("a", "an", "the")
    ]


@lru_cache(maxsize=8)  # the pairs of a document follow each other
def _page(text: str) -> tuple[str, str, frozenset[str]]:
    """The words of a text; those without what a quotation may leave out; those of names, which have one spelling."""
    seen = " ".join(_tokens(_UNSEEN.sub(" ", _NUMBERED.sub("", text))))
    names = " ".join(word for word in text.split() if _SPELT.search(word))
    return f" {' '.join(_tokens(text))} ", f" {seen} ", _FIXED.union(_tokens(names))


def _stands_in(piece: str, text: str, cut: bool = False) -> bool:
    whole, seen, names = _page(text)
    words = _tokens(piece)
    if set(words) <= _STOP:
        return False
    tries = [(words, whole)]
    if all(f" {number} " in whole for number in re.findall(r"\d+", " ".join(_NUMBERED.findall(piece)))):
        tries.append((_tokens(_NUMBERED.sub("", piece)), seen))
    for wanted, page in tries:
        passage = f" {' '.join(wanted)}"
        for end in ("", " ") if (cut or len(piece) >= CUT) and len(wanted) > 3 and wanted[-1].isalpha() else (" ",):
            if passage + end in page:
                return not _turned(piece, passage + end, page, text)
    return any(_misspelt(words, page, names | _page(piece)[2]) for page in (whole, seen))


def _turned(piece: str, passage: str, page: str, text: str) -> bool:
    """Whether a passage begins as a sentence just behind the page's "never": "Restart it" of "Never restart it"."""
    before = {
        page[max(0, m.start() - 20) : m.start()].rpartition(" ")[2] for m in re.finditer(re.escape(passage), page)
    }
    if not (first := re.search(r"[^\W_]+", piece)) or not first[0][0].isupper() or not before <= _FIXED:
        return False
    return not re.search(
        rf"\b(?i:{'|'.join(before)})[\W_]+(?i:(?:an?|the)[\W_]+)*{first[0]}(?!\w)", text.replace("'", "")
    )


def _misspelt(words: list[str], page: str, names: frozenset[str]) -> bool:
    """Whether words stand in a page but for slips of one letter: one, and one more in ten words."""
    wrong = [word for word in words if f" {word} " not in page]
    if len(words) < FEWEST or len(wrong) > 1 + len(words) // 10 or not all(len(w) > 4 and w.isalpha() for w in wrong):
        return False
    pattern = " ".join(r"([^\W\d]{4,})" if word in wrong else re.escape(word) for word in words)
    slips = (list(zip(wrong, found.groups(), strict=True)) for found in re.finditer(f" {pattern} ", page))
    return any(all(a[0] == b[0] and not {a, b} & names and OSA.distance(a, b) <= 1 for a, b in slip) for slip in slips)


def made_up_numbers(answer: str, *known: str) -> list[str]:
    """Numbers of two or more digits in an answer that stand nowhere in the texts it may be from.

    10,000 and 10000 are the same; of a version or date, any part that stands there will do.
    """
    there = frozenset().union(*map(_numbers, known))
    found = _DIGITS.findall(_plain(answer))
    return [n for n in found if len(n) > 1 and n not in there and not set(re.findall(r"\d+", n)) <= there]


@lru_cache(maxsize=32)  # the pairs of a document follow each other
def _numbers(text: str) -> frozenset[str]:
    """The numbers of a text, and their parts."""
    found = _DIGITS.findall(_plain(text))
    return frozenset(found).union(*(re.findall(r"\d+", number) for number in found))


def _plain(text: str) -> str:
    return _INSIDE.sub("", unicodedata.normalize("NFKC", text.translate(_MARKS)))
