"""The report as one HTML page: no script, no outside resource, light and dark, for telephones and wide screens."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from ftlib.report.answers import marked, side_by_side
from ftlib.report.blocks import Fold, Listing, Picture, Say, Section, Table
from ftlib.report.numbers import Mark
from ftlib.report.tables import shown

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --page: #fff; --line: #d5d9de; --soft: #f4f6f8; --link: #1d4fa8;
  --good: #15703a; --bad: #b42318; --open: #6b5300; --del: #fde8e6; --ins: #dff5e5; --dim: #57606a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --page: #121212; --line: #3a3f45; --soft: #1d2023;
  --link: #8ab4f8; --good: #5ddb8a; --bad: #ff8a80; --open: #e3c163; --del: #4a1f1c; --ins: #173d25; --dim: #a3abb4; }
  img { filter: invert(.93) hue-rotate(180deg); } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 76rem;
  margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; border-top: 1px solid var(--line); padding-top: 1.2rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
a { color: var(--link); } nav a { display: inline-block; margin: 0 1rem .3rem 0; }
p, li { max-width: 52rem; }
.verdict { border-left: .3rem solid var(--link); padding: .6rem 1rem; background: var(--soft); font-size: 1.1rem; }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .9rem; min-width: min(100%, 22rem); }
caption { text-align: left; font-weight: 600; padding: .2rem 0; }
th, td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top;
  font-variant-numeric: tabular-nums; }
thead th { font-weight: 500; color: var(--dim); }
tbody th { font-weight: 500; min-width: 6.5rem; max-width: 22rem; overflow-wrap: anywhere; position: sticky; left: 0;
  background: var(--page); }
@media (max-width: 40rem) { tbody th { max-width: 9rem; } }
td { min-width: 4rem; max-width: 30rem; overflow-wrap: break-word; }
img { display: block; width: 100%; max-width: 36rem; height: auto; margin: .8rem 0; }
details { border: 1px solid var(--line); border-radius: .3rem; margin: .4rem 0; padding: .35rem .7rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
.marks { font-size: .85rem; margin-right: .5rem; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: .2rem 1rem; }
.answers > div { min-width: 0; } .answers > .wide { grid-column: 1 / -1; }
.who { font-size: .85rem; margin: .5rem 0 .2rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: .82rem/1.45 ui-monospace, monospace;
  background: var(--soft); padding: .5rem; margin: 0; max-height: 26rem; overflow-y: auto; }
del, ins { text-decoration: none; } del { background: var(--del); } ins { background: var(--ins); }
.good { color: var(--good); } .bad { color: var(--bad); } .open { color: var(--open); }
.good, .bad, .open { white-space: nowrap; }
.small { font-size: .85rem; color: var(--dim); }
"""


def render(
    sections: Sequence[Section],
    samples: Sequence[Mapping[str, Any]],
    labels: Mapping[str, str],
    about: Mapping[str, Any],
    pictures: Mapping[str, bytes],
) -> str:
    """The page as one string.

    Args:
        labels: of the sets.
        pictures: PNGs by the name of their figure.
    """
    title = f"{shown(about.get('project', 'Evaluation'), 200)}: base against tuned"
    facts = " · ".join(f"{shown(k, 60)} {shown(v, 200)}" for k, v in about.items() if k != "project")
    parts, links = [], []
    for section in sections:
        if section.name == "measured":
            links.append('<a href="#answers">Answers</a>')
            parts += ['<section id="answers"><h2>Answers side by side</h2>']
            parts += ['<p class="small">What tuning lost stands first, then what is wrong still.</p>']
            parts += [side_by_side(samples, labels) or "<p>There are none.</p>", "</section>"]
        links.append(f'<a href="#{section.name}">{shown(section.title)}</a>')
        parts += [f'<section id="{section.name}"><h2>{shown(section.title)}</h2>']
        parts += [*(block(one, pictures) for one in section.blocks), "</section>"]
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{STYLE}</style></head><body>",
            f'<header><h1>{title}</h1><p class="small">{facts}</p>',
            f'<nav aria-label="Sections">{"".join(links)}</nav></header>',
            "<main>",
            *parts,
            "</main></body></html>\n",
        ]
    )


def block(one: Any, pictures: Mapping[str, bytes]) -> str:
    """One block as HTML."""
    if isinstance(one, Say):
        kind = f' class="{one.style}"' if one.style else ""
        return f"<p{kind}>{shown(one.text)}</p>"
    if isinstance(one, Listing):
        return f"<ul>{''.join(f'<li>{shown(item)}</li>' for item in one.items)}</ul>" if one.items else ""
    if isinstance(one, Table):
        return _table(one)
    if isinstance(one, Picture):
        data = base64.b64encode(pictures.get(one.name, b"")).decode()
        return f'<img alt="{shown(one.alt)}" src="data:image/png;base64,{data}">' if data else ""
    if isinstance(one, Fold):
        inner = "".join(block(part, pictures) for part in one.blocks)
        return f"<details><summary>{shown(one.title)}</summary>{inner}</details>"
    raise TypeError(f"{type(one).__name__} is no block")


def _table(one: Table) -> str:
    names = list(one.rows[0])
    head = "".join(f'<th scope="col">{shown(name)}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{_cell(row.get(names[0], ""))}</th>'
        + "".join(f"<td>{_cell(row.get(name, ''))}</td>" for name in names[1:])
        + "</tr>"
        for row in one.rows
    )
    caption = f"<caption>{shown(one.caption)}</caption>" if one.caption else ""
    # It scrolls where it is too wide: reachable by the keyboard, too.
    open_, close = '<div class="scroll" tabindex="0"><table>', "</tbody></table></div>"
    return f"{open_}{caption}<thead><tr>{head}</tr></thead><tbody>{body}{close}"


def _cell(value: Any) -> str:
    return marked(value) if isinstance(value, Mark) else shown(value)
