"""ftlib.scrape.exported: a folder of exported pages in place of the wiki."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from ftlib.errors import SetupError
from ftlib.scrape.exported import export_state, exported_pages, html_text, is_export

TIME = 1703156000 - 13  # 2023-12-21T10:53:07Z


def write(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        os.utime(path, (TIME, TIME))
    return folder


def read(folder, limit=1000):
    skipped: list[dict[str, str]] = []
    rows = list(exported_pages(folder, limit, skipped))
    return rows, {row["path"]: row["reason"] for row in skipped}


def test_pages_are_documents_by_path(tmp_path):
    write(tmp_path, {
        "sub/Deploy-it-now.md": "\ufeffplain\r\ntext\r\n",
        "b.rst": "The title\n=========\n",
        "a é.md": "# Real *title*\n",
        "a.textile": "h1. Textile\n",
        "a-b/x.md": "x\n",
        "a/x.txt": "a paragraph " * 30,
        "z.HTML": "<title>Z &amp; co</title><h1>Heading</h1><p>text",
    })  # fmt: skip
    rows, skipped = read(tmp_path)
    assert [(row["path"], row["title"]) for row in rows] == [
        ("a é.md", "Real *title*"),
        ("a-b/x.md", "x"),
        ("a.textile", "Textile"),
        ("a/x.txt", "x"),
        ("b.rst", "The title"),
        ("sub/Deploy-it-now.md", "Deploy it now"),
        ("z.HTML", "Z & co"),
    ]
    assert rows[5] == {
        "id": "wiki:sub/Deploy-it-now.md",
        "source": "wiki",
        "title": "Deploy it now",
        "path": "sub/Deploy-it-now.md",
        "url": "",
        "text": "plain\r\ntext\r\n",
        "date": "2023-12-21T10:53:07Z",
        "commit": "",
        "licence": "",
    }
    assert rows[6]["text"] == "# Heading\n\ntext\n" and not skipped


def test_every_skip_has_its_reason(tmp_path, monkeypatch):
    outside = write(tmp_path / "outside", {"secret.md": "no\n"})
    folder = write(tmp_path / "export", {
        "Home.md": "yes\n",
        "_Sidebar.md": "x\n",
        "_Footer.html": "x\n",
        "large.md": "x" * 1001,
        "large.html": "<p>" + "x" * 1001,
        "nul.md": b"a\0b",
        "latin.md": "é".encode("latin-1"),
        "blank.md": " \n",
        "blank.html": "<script>x()</script><p> ",
        "made.md": "<!-- @generated -->\n",
        "data.csv": "a,b\n",
        "image.png": "x",
        "locked.md": "x\n",
        "vendor/a.md": "x\n",
        ".obsidian/page.md": "x\n",
        ".hidden.md": "x\n",
        "new\nline.json": "x",
    })  # fmt: skip
    (folder / "out.md").symlink_to(outside / "secret.md")
    (folder / "outside").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    (folder / "gone.md").symlink_to(folder / "nowhere.md")
    os.mkfifo(folder / "pipe.md")
    (folder / os.fsdecode(b"bad\xff.md")).write_text("x\n")
    opened = []

    def open_unless_locked(path):
        opened.append(path.name)
        if path.name == "locked.md":  # root may read all files
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        with path.open("rb") as file:
            return file.read()

    monkeypatch.setattr(Path, "read_bytes", open_unless_locked)
    rows, skipped = read(folder)
    assert [row["path"] for row in rows] == ["Home.md"]
    assert skipped == {
        "wiki:_Sidebar.md": "sidebar",
        "wiki:_Footer.html": "sidebar",
        "wiki:large.md": "too large",
        "wiki:large.html": "too large",
        "wiki:nul.md": "binary",
        "wiki:latin.md": "not UTF-8",
        "wiki:blank.md": "empty",
        "wiki:blank.html": "empty",
        "wiki:made.md": "generated",
        "wiki:data.csv": "minified or data",
        "wiki:image.png": "binary",
        "wiki:locked.md": "unreadable (permission denied)",
        "wiki:vendor/a.md": "vendored",
        "wiki:.obsidian": "hidden",
        "wiki:.hidden.md": "hidden",
        "wiki:new\\nline.json": "not a page",
        "wiki:out.md": "symlink",
        "wiki:outside": "symlink",
        "wiki:loop": "symlink",
        "wiki:gone.md": "symlink",
        "wiki:pipe.md": "not a file",
        "wiki:bad\\xff.md": "path not UTF-8",
    }
    assert not {"large.md", "large.html", "pipe.md", "secret.md", "data.csv"} & set(opened)


def test_a_folder_that_cannot_be_listed_is_a_skip(tmp_path, monkeypatch):
    folder = write(tmp_path / "export", {"Home.md": "x\n", "locked/a.md": "x\n"})
    scandir = os.scandir

    def locked(path):
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    rows, skipped = read(folder)
    assert [row["path"] for row in rows] == ["Home.md"]
    assert skipped == {"wiki:locked/": "unreadable (permission denied)"}


@pytest.mark.parametrize("files", [{}, {"a.json": "{}"}, {"a.md": " "}, {".a/b.md": "x"}])
def test_a_folder_without_a_page_is_an_error(tmp_path, files):
    folder = write(tmp_path / "my export", files) if files else tmp_path / "my export"
    folder.mkdir(exist_ok=True)
    with pytest.raises(SetupError, match=r"no page in .*my export\. Set `wiki` to .*HTML.*'none'"):
        read(folder)


def test_an_export_is_neither_repository_nor_work_tree(tmp_path):
    export = write(tmp_path / "export", {"HEAD": "x", "Home.md": "x"})
    subprocess.run(["git", "init", "-q", tmp_path / "work"], check=True)
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "bare.git"], check=True)
    write(tmp_path / "linked", {".git": "gitdir: elsewhere\n"})
    assert is_export(export) and is_export(str(export)) and is_export(f"{export}/")
    others = ("work", "work/.git", "bare.git", "linked", "export/Home.md", "nowhere")
    assert not any(is_export(tmp_path / name) for name in others)
    assert not is_export("https://github.com/owner/name.wiki.git")


def test_state_changes_with_the_pages(tmp_path):
    write(tmp_path, {"a.md": "one\n", "sub/b.md": "x\n"})
    states = [export_state(tmp_path), export_state(tmp_path)]
    write(tmp_path, {"a.md": "three\n"})
    states.append(export_state(tmp_path))
    os.utime(tmp_path / "a.md", (TIME + 1, TIME + 1))
    states.append(export_state(tmp_path))
    (tmp_path / "sub/b.md").rename(tmp_path / "sub/c.md")
    states.append(export_state(tmp_path))
    assert states[0] == states[1] and len(set(states)) == 4


NOTION = """<html><head><meta charset="utf-8"/><title>Deploy &amp; roll back</title><style>
h1 { color: red }</style></head><body><article class="page sans"><header><h1 class="page-title">Deploy</h1></header>
<div class="page-body"><p id="1">Run <code>make&nbsp;deploy</code>,
   then <strong>wait</strong>.<br/>Look.</p><ol start="1"><li>One</li></ol>
<ul><li>Two<ul><li>Three <em>deep</em></li></ul>
</li><li><p>Four</p><p>Five</p></li></ul><pre class="code"><code class="language-Bash">if x; then
    make &lt;target&gt;   # ```
fi
</code></pre><table><thead><tr><th>Key</th><th>Value</th></tr></thead><tbody><tr><td>a<p>b</p></td><td> c
 d </td></tr></tbody></table><h3>After</h3><script>alert("no")</script><figure><img src="x.png"/></figure></div>
</article></body></html>"""
CONFLUENCE = """<!DOCTYPE html>
<html><head><title>SPACE : Team</title><link rel="stylesheet"></head>
<body class="theme-default"><div id="page">
<div id="breadcrumb-section" role="navigation"><ol><li>no<div>no</div>no</li></ol>
</div><h1 id="title-heading"><span>Team</span></h1><div class="wiki-content">
<p>Unclosed <p>paragraphs &copy; &eacute; &#x263A;
<ol><li>one<li>two</ol>
<table><tr><td><pre>a
  b</pre></td></tr><tr><td>x</td></table>
<blockquote>said</blockquote><hr>tail</div>
<div id="footer" role="contentinfo"><p>Document generated by Confluence</p></div></div></body></html>"""


def test_html_of_notion():
    assert html_text(NOTION) == (
        """# Deploy

Run `make deploy`, then wait.
Look.

1. One
- Two
  - Three deep
- Four
  Five

````Bash
if x; then
    make <target>   # ```
fi
````

| Key | Value |
| a b | c d |

### After
""",
        "Deploy & roll back",
    )


def test_html_of_confluence():
    text, title = html_text(CONFLUENCE)
    assert title == "SPACE : Team"
    assert text == (
        "# Team\n\nUnclosed\n\nparagraphs © é ☺\n\n1. one\n2. two\n\n```\na\n  b\n```\n\n| x |\n\nsaid\n\ntail\n"
    )


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("plain &lt;text", "plain <text\n"),
        ("<p>a</div></ul></li></table>b", "a\n\nb\n"),
        ("<ul><li>a<pre>code</pre>b</ul>c", "- a\n\n```\ncode\n```\n\n  b\n\nc\n"),
        ("<li>a<li>b", "- a\n\n- b\n"),
        ("<head><style>x</style><body>seen", "seen\n"),
        ("<svg><title>no</title><text>no</text></svg>seen", "seen\n"),
        ("<p>before<![unknown[x]]><p>", "before\n"),
        ("<h2></h2><p>a", "a\n"),
        ("<!-- no --><p>a", "a\n"),
        ("<p>a" + "<!-- no" * 70_000, "a\n"),
    ],
)
def test_html_that_is_broken(html, text):
    assert html_text(html) == (text, "")
