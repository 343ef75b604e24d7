"""ftlib.boundaries: where a text may be cut, found by the words alone and by the tokens there are."""

from dataclasses import dataclass

import pytest

from ftlib.boundaries import cuts_of
from ftlib.chunking import chunk


@dataclass
class Pieces:
    """Tokens made by hand: pieces of a text, one after the other."""

    pieces: list[str]

    def start(self, index):
        return sum(map(len, self.pieces[:index]))

    def end(self, index):
        return self.start(index + 1)


def places(text, source, rank=0):
    """The texts that begin at the boundaries of a rank."""
    return [text[place:].split("\n")[0] for place in cuts_of(text, source, 0).ranks[rank]]


FENCED = """Intro
```sh
# a comment
```
# one
~~~
# a comment
```
# still inside: the other kind of fence
~~~
# two
````md
```
# inside: a shorter fence
```
````
# three
``` not `a fence` ```
# four
~~~ with `ticks`
# inside
~~~ no end, for the words
# inside
~~~~
# five
```python
# never closed
"""


def test_headings_outside_fences():
    assert places(FENCED, "docs") == ["# one", "# two", "# three", "# four", "# five"]
    lower = FENCED.replace("\n# ", "\n#### ")
    assert places(lower, "docs", 1) == ["#### one", "#### two", "#### three", "#### four", "#### five"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x\n# One\n## Two\n### Three\n#### Four\n#no\n", ["# One", "## Two", "### Three"]),
        ("x\n= One\n== Two\n=== Three\n==== Four\n", ["= One", "== Two", "=== Three"]),  # AsciiDoc, MediaWiki
        ("x\n\nTitle\n=====\n\ntext\n\nSub\n---\n", ["Title", "Sub"]),  # Markdown, reStructuredText
        ("x\r\n# One\r\n\r\nTitle\r\n=====\r\n", ["# One\r", "Title\r"]),
        ("a | b\n--- | ---\n* bullet\n- bullet\n\n---\n\n----\n", []),
    ],
)
def test_headings_of_wikis(text, found):
    assert places(text, "wiki") == found


CODE = """import os

# What it does,
# in two lines.
@cached
def one():
    def inner():
        pass

/** Doc
 * of two.
 */
export function two() {
}

x = 1
async fn three() {}
class Four:
default = 5
constant = 6
"""


def test_definitions_with_what_stands_above_them():
    assert places(CODE, "code") == ["# What it does,", "/** Doc", "async fn three() {}", "class Four:"]


@pytest.mark.parametrize("above", ["@it", "// said", "# said", "/* said */", " * said", "-- said"])
def test_what_stands_above_a_definition(above):
    assert places(f"x = 1\n{above}\nfn f() {{}}\n", "code") == [above]
    assert places(f"x = 1\n{above}\n\nfn f() {{}}\n", "code") == ["fn f() {}"]


KEYWORDS = (
    "export async public private protected static abstract final pub def class func fn function interface type enum "
    "struct trait impl module namespace object const let var describe test it"
).split()


@pytest.mark.parametrize("word", KEYWORDS)
def test_definitions_of_many_languages(word):
    assert places(f"x = 1\n{word} f() {{\n  {word} g\n{word}x = 2\n", "code") == [f"{word} f() {{"]


def test_files_and_hunks_of_a_pull_request():
    text = "Title\ndiff of opinions\nFile: a, Status: added\n@@ -1 +1 @@\n+x\n @@ no\ndiff --git a/x b/x\n"
    assert places(text, "pull_request") == ["File: a, Status: added", "diff --git a/x b/x"]
    assert places(text, "pull_request", 1) == ["@@ -1 +1 @@"]


def test_lines_of_every_kind():
    text = "one\ntwo\r\nthree\rfour\n\nfive"
    assert places(text, "code", 2) == ["two\r", "three\rfour", "four", "", "five"]
    assert [text[place:] for place in cuts_of(text, "code", 0).ranks[1]] == ["\nfive"]
    crlf = "one\r\n\r\n  \r\ntwo\r\n"
    assert [crlf[place:] for place in cuts_of(crlf, "code", 0).ranks[1]] == ["\r\n  \r\ntwo\r\n"]


def test_a_boundary_inside_a_token():
    """SmolLM2 has one token for a line's end and the next line's indentation: the cut falls before the line's end."""
    tokens = Pieces(["if", " x", ":", "\n   ", " y", ";\n", "   ", " z"])
    cuts = cuts_of("".join(tokens.pieces), "code", 0)
    assert cuts.before(tokens, 0, 4) == 3
    assert cuts.before(tokens, 2, 7) == 6  # a line's end that a token ends with
    glued = Pieces(["aa", "a;\n b", "bb", "bb"])  # no cut inside, nor before what is not white space
    assert cuts_of("".join(glued.pieces), "code", 0).before(glued, 0, 3) == 3


def test_pieces_of_a_character_are_not_parted():
    @dataclass
    class Bytes:
        """Four tokens for each emoji, as byte fallback has them."""

        def start(self, index):
            return index // 4

        def end(self, index):
            return index // 4 + 1

    cuts = cuts_of("😀" * 10, "docs", 0)
    assert [cuts.before(Bytes(), 4, limit) for limit in (4, 5, 7, 8, 11, 12)] == [4, 4, 4, 8, 8, 12]


def test_a_long_comment_is_no_hang():
    """The comment above a definition is looked for in a bounded number of lines."""
    text = "# a comment\n" * 200_000 + "def f():\n"
    found = cuts_of(text, "code", 0).ranks[0]
    assert len(found) == 1 and text[found[0] :].count("\n") == 41


# --- with real tokenizers ---------------------------------------------------------------------------------------------


def document(source, text):
    return {"id": f"{source}:1", "source": source, "title": "A title", "path": "src/a.py", "text": text}


def later_parts(tokenizer, source, text, max_length) -> list[str]:
    return [text[row["start"] : row["end"]] for row in chunk(document(source, text), tokenizer, max_length)][1:]


PARAGRAPH = "Some words of a paragraph that fill a line.\nAnd a second line.\n\n"
FUNCTION = "def name(value):\n    first = value\n\n    return first\n\n\n"
PATCH = "@@ -1,3 +1,3 @@\n context\n-old line\n+new line\n\n context\n"


@pytest.mark.parametrize(
    ("source", "text", "start"),
    [
        ("docs", ("## Section\n\n" + PARAGRAPH * 2) * 8, "## Section\n"),
        ("wiki", ("###### Section\n\n" + PARAGRAPH * 2) * 8, "###### Section\n"),
        ("docs", PARAGRAPH * 20, "\n"),
        ("docs", "A line of words without any blank one.\n" * 40, "A line"),
        ("code", FUNCTION * 30, "def name"),
        ("code", "export function name() {\n\n  return 1;\n}\n" * 30, "export function"),
        ("code", "value = 1\n\n" * 60, "\n"),
        ("pull_request", ("File: a/b.py, Status: modified\nChanges:\n" + PATCH) * 8, "File: a/b.py"),
        ("pull_request", ("diff --git a/b.py b/b.py\n" + PATCH) * 8, "diff --git"),
        ("pull_request", PATCH * 16, "@@ "),
    ],
)
def test_cuts_fall_on_the_best_boundary(tokenizer, source, text, start):
    parts = later_parts(tokenizer, source, text, 130)
    assert len(parts) >= 2
    assert [part[: len(start)] for part in parts] == [start] * len(parts)


def test_a_higher_heading_is_better_than_a_later_one(tokenizer):
    text = PARAGRAPH * 3 + "## High\n\n" + PARAGRAPH + "##### Low\n\n" + PARAGRAPH * 2
    assert later_parts(tokenizer, "docs", text, 110)[0].startswith("## High\n")


@pytest.mark.parametrize("fence", ["```", "~~~", "  ```"])
def test_a_heading_inside_a_fence_is_none(tokenizer, fence):
    inside = f"{fence}sh\nrun this\n# a comment, no heading\nrun that\n{fence}\n"
    text = PARAGRAPH * 3 + inside + PARAGRAPH * 3
    assert later_parts(tokenizer, "docs", text, 110)[0].startswith("\n")
    unfenced = text.replace(f"{fence}sh\n", "").replace(f"{fence}\n", "")
    assert later_parts(tokenizer, "docs", unfenced, 110)[0].startswith("# a comment")


def test_a_boundary_too_early_is_not_taken(tokenizer):
    """Only the second half of the room is searched: chunks don't shrink to the headings."""
    text = "A line.\n# Heading\n" + "A line of words without any blank one.\n" * 40
    parts = later_parts(tokenizer, "docs", text, 130)
    assert all(part.startswith("A line") for part in parts)
    lengths = [len(row["input_ids"]) for row in list(chunk(document("docs", text), tokenizer, 130))[:-1]]
    assert min(lengths) > 100


def test_a_boundary_at_the_middle_or_the_limit_counts_and_none_at_the_start():
    text = Pieces(["a", "b\n", "c", "d", "e"])
    assert cuts_of("".join(text.pieces), "code", 0).before(text, 0, 4) == 2
    text = Pieces(["x", "y", "a\n", "b\n", "# H\n"])
    assert cuts_of("".join(text.pieces), "docs", 0).before(text, 0, 4) == 4
    text = Pieces(["a\n", "b", "c"])
    assert cuts_of("".join(text.pieces), "code", 0).before(text, 1, 2) == 2


def test_no_cut_before_the_text_begins():
    """A token of white space that begins with the text holds the boundary."""
    text = Pieces(["h\n", "\n   ", "x", "y"])
    assert cuts_of("".join(text.pieces), "code", 2).before(text, 0, 2) == 2
