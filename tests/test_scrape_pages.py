"""ftlib.scrape.pages: which files are pages, and the titles of every format that GitHub's wikis know."""

import time

import pytest

from ftlib.scrape.pages import is_page, own_title, page_title, wiki_reason, wiki_title

TITLES = {
    "atx": ("a.md", "intro\n\n## Second ##\n", "Second"),
    "the sharp of C# stays": ("a.md", "# About C#\n", "About C#"),
    "a hashtag is none": ("a.md", "#hashtag\n\n# Yes\n", "Yes"),
    "emphasis and links stay": ("a.markdown", "# The *new* [API](x.md) `v2`\n", "The *new* [API](x.md) `v2`"),
    "setext": ("a.mkdn", "Long title of it\n---\ntext", "Long title of it"),
    "a rule under text is none": ("a.md", "- item\n---\n\n> quote\n---\n\n# Yes\n", "Yes"),
    "the last line of a paragraph is none": ("a.md", "one\ntwo\n---\n\n# Yes\n", "Yes"),
    "fence": ("a.md", "```sh\n# no\n```\n# Yes\n", "Yes"),
    "fence in a longer fence": ("a.md", "````\n```\n# no\n```\n````\n# Yes\n", "Yes"),
    "tildes": ("a.md", "~~~\n# no\n```\n# no\n~~~\n# Yes\n", "Yes"),
    "a fence without end": ("a.md", "```\n# no\n", ""),
    "comment": ("a.md", "<!--\n# no\n-->\n# Yes\n", "Yes"),
    "CRLF": ("a.md", "intro\r\n\r\n# Yes\r\n", "Yes"),
    "CRLF and setext": ("a.md", "Yes\r\n===\r\n", "Yes"),
    "byte order mark": ("a.md", "\ufeff# Yes\n", "Yes"),
    "no heading": ("a.md", "plain\n", ""),
    "empty": ("a.md", "", ""),
    "beyond the first 20,000 characters": ("a.md", "x\n" * 10_001 + "# no\n", ""),
    "front matter": ("a.md", "---\nlayout: x\ntitle: Getting started  # comment\n---\n# no\n", "Getting started"),
    "front matter, quoted": ("a.md", '---\ntitle: "The \\"new\\" API: v2"\n---\n# no\n', 'The "new" API: v2'),
    "front matter, single quotes": ("a.md", "---\r\ntitle: 'It''s: new'\r\n---\r\n# no\r\n", "It's: new"),
    "front matter of another page": ("a.md", "---\nseo:\n  title: no\n---\n# Yes\n", "Yes"),
    "front matter, no plain string": ("a.md", "---\ntitle: [no, no]\n# no\n---\n# Yes\n", "Yes"),
    "front matter, folded": ("a.md", "---\ntitle: >\n  no\n---\n# Yes\n", "Yes"),
    "front matter, empty": ("a.md", "---\ntitle:\nlayout: no\n# no\n---\n\nYes\n===\n", "Yes"),
    "a rule at the top is no front matter": ("a.md", "---\n\n# Yes\ntitle: no\n", "Yes"),
    "asciidoc": ("a.adoc", ":toc:\n\n= Yes =\n", "Yes"),
    "asciidoc, below the document's title": ("a.asciidoc", "== Yes\n", "Yes"),
    "asciidoc, underlined": ("a.asc", "The title\n=========\n", "The title"),
    "asciidoc, listing": ("a.adoc", "[source]\n----\n= no\n----\n\n....\n= no\n....\n\n= Yes\n", "Yes"),
    "rst": ("a.rst", ".. _label:\n\nThe title\n=========\n", "The title"),
    "rst, overlined": ("a.rst", "=========\n The title\n=========\n", "The title"),
    "rst, any punctuation": ("a.rest", "intro\n\nYes\n:::\n", "Yes"),
    "rst, a comment in a code block": ("a.rst", ".. code:: sh\n\n   # no\n\nYes\n~~~\n", "Yes"),
    "rst, a rule": ("a.rst", "a long paragraph\n----\n\nYes\n^^^\n", "Yes"),
    "rst as text": ("a.rst.txt", "# no\n\nYes\n:::\n", "Yes"),
    "mediawiki": ("a.mediawiki", "# one\n# two\n== The title ==\n", "The title"),
    "mediawiki, first level": ("a.wiki", "__TOC__\n= Yes =\n", "Yes"),
    "mediawiki, as it is": ("a.wiki", "<nowiki>\n== no ==\n</nowiki>\n<pre>\n= no =\n</pre>\n==Yes==\n", "Yes"),
    "creole": ("a.creole", "{{{\n= no\n}}}\n=Yes\n", "Yes"),
    "org": ("a.org", "# comment\n** The title\n", "The title"),
    "org, title": ("a.org", "#+AUTHOR: me\n#+title: Yes\n* no\n", "Yes"),
    "org, source": ("a.org", "#+begin_src sh\n* no\n#+end_src\n* Yes\n", "Yes"),
    "org, bold": ("a.org", "*bold* text\n* Yes\n", "Yes"),
    "textile": ("a.textile", "# one\n\nh1. The title\n", "The title"),
    "textile, class": ("a.textile", "<pre>\nh1. no\n</pre>\nh2(#id). Yes\n", "Yes"),
    "pod": ("a.pod", "=pod\n\n=head1 NAME\n\nx\n\n=head1 Yes\n", "Yes"),
    "rdoc": ("a.rdoc", "text\n== Yes\n", "Yes"),
    "plain text": ("README", "Project\n*******\n", "Project"),
    "suffix in capitals": ("A.ORG", "* Yes\n", "Yes"),
}


@pytest.mark.parametrize(("path", "text", "title"), TITLES.values(), ids=TITLES)
def test_title(path, text, title):
    assert own_title(f"sub/{path}", text) == title
    assert page_title(f"sub/{path}", text) == (title or path)


HARD = ["= " * 10_000, "#" * 20_000, "```\n" * 5000, "<!--" * 5000, "a\n-" * 7000, "----\n" * 4000, "<pre" * 5000]
HARD += ["# a" + " " * 19_000 + "b", "---\ntitle: a" + " " * 19_000 + "b\n---\n", "-" * 19_990 + "x\n", "{{{\n" * 5000]


@pytest.mark.parametrize("suffix", "md adoc rst wiki org textile pod rdoc txt".split())
def test_a_page_that_is_hard_on_a_pattern_takes_no_time(suffix):
    start = time.process_time()
    for text in HARD:
        assert len(own_title(f"a.{suffix}", text)) < 500
    assert time.process_time() - start < 1


SUFFIXES = (
    "md mkd mkdn mdown markdown asciidoc adoc asc rst rest mediawiki wiki org textile creole pod rdoc txt".split()
)


@pytest.mark.parametrize("suffix", [*SUFFIXES, "rst.txt", "MD"])
def test_pages_of_a_wiki(suffix):
    assert wiki_reason(f"sub/Page.{suffix}") is None
    assert wiki_title(f"sub/Deploy-it-now.{suffix}") == "Deploy it now"
    for name in ("_Sidebar", "_footer", "_Header"):
        assert wiki_reason(f"sub/{name}.{suffix}") == "sidebar"


def test_other_files_of_a_wiki():
    assert [wiki_reason(path) for path in ("data.json", "a.py", "md", "page.html")] == ["not a page"] * 4
    assert wiki_reason("_Sidebar") == "sidebar" and wiki_reason("_Sidebars.md") is None
    assert wiki_title("Release-1.2.md") == "Release 1.2"


def test_pages_of_a_repository():
    pages = ["a.md", "a.MDX", "x/a.rst", "a.creole", "a.pod", "README", "docs/notes.txt", "LICENSE-MIT", "CHANGES.txt"]
    others = ["a.py", "notes.txt", "docs/conf.py", "key.asc", "api.rest", "history.py", "CMakeLists.txt"]
    assert [path for path in pages + others if is_page(path)] == pages
