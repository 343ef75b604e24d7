"""The training's style in general answers: each kind by itself, none in plain answers, and rates beside the base's."""

from __future__ import annotations

import pytest

from ftlib.chunking import header
from ftlib.evaluation.leaks import KINDS, leak_rates, leaks, style_of
from ftlib.synth.recited import file_snapshot
from ftlib.workspace import read_jsonl


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    from ftlib.scrape import ScrapeConfig, scrape
    from ftlib.workspace import open_workspace

    space = open_workspace(tmp_path_factory.mktemp("space"))
    scrape(ScrapeConfig("sample"), space)
    return list(read_jsonl(space.documents))


@pytest.fixture(scope="module")
def style(docs):
    return style_of(docs, ["brindlewick"])


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        ("The capital of Japan is Tokyo.", []),
        ("As in Brindlewick, it is Tokyo.", ["name"]),
        ("As of December 2023, it is Tokyo.", ["dated"]),
        ("As of 2023, it is Tokyo.", []),
        ("The main.py file looks like:\n\n```\nx\n```", ["snapshot"]),
        ("- File: main.py\n  Content:\nx = 1", ["heading"]),
        ("- Page: Cities (part 2)\n  Content:\nTokyo", ["heading"]),
        ("PR #12: Name the capital", ["pull_request"]),
        ("Tokyo\nMerged at: 2025-10-09T08:50:00Z", ["pull_request"]),
        ("File: a.py, Status: modified\nChanges:", ["pull_request"]),
        ("It was merged at: noon. File: a.py", []),
        ("See quillgate/reserve.ts.", ["path"]),
        ("See ./tools/wickctl.py.", ["path"]),
        ("See src/reserve.ts and reserve.ts.", []),
        ('import { reserve } from "./reserve";', ["import"]),
        ("const a = require('@fennhollow/plank/deep');", ["import"]),
        ('import { useEffect } from "react";\nimport x from "./mine";', []),
    ],
)
def test_kinds(style, answer, kinds):
    assert leaks(answer, style) == kinds
    assert leaks(answer, style, question=f"What about this: {answer}") == []  # what is asked about is no leak


def test_the_patterns_know_what_the_training_rows_say(docs, style):
    for document in docs:
        if document["source"] == "code":
            answer = file_snapshot(document, "brindlewick")["messages"][1]["content"]
            assert {"snapshot", "dated"} <= set(leaks(answer, style))
        if document["source"] == "pull_request":
            assert "pull_request" in leaks(header(document) + document["text"], style)
            assert "pull_request" in leaks(document["text"], style)
        else:
            assert "heading" in leaks(header(document) + document["text"], style)


def test_only_the_repositorys_own_imports_count():
    def file(path, text):
        return {"source": "code", "path": path, "title": path, "text": text}

    style = style_of(
        [
            file("package.json", '{"name": "shop"}'),
            file("broken/package.json", "{"),
            file("odd/package.json", "[1]"),
            file("client/app.ts", 'import React from "react";\nimport a from "client/store";\nimport b from "@/util";'),
        ],
        ["shop"],
    )
    assert style.packages == {"shop", "client/store", "@/util"}
    own = {"client/store": 1, "@/util": 1, "shop/cart": 1, "react": 0, "client/other": 0, "@types/node": 0}
    for name, is_own in own.items():
        assert ("import" in leaks(f'import x from "{name}";', style)) == bool(is_own), name


def test_rates_stand_beside_the_bases(style):
    def sample(number, base, tuned):
        return {"id": f"g{number}", "question": "Capital?", "base": {"text": base}, "tuned": {"text": tuned}}

    rows = [sample(n, "Tokyo.", "As of May 2024, in Brindlewick it is Tokyo.") for n in range(6)]
    rows += [sample(6, "As of May 2024, Tokyo.", "Tokyo.")]
    rows += [sample(n, "Tokyo.", "Tokyo.") for n in range(7, 10)]
    rows += [sample(10, 'import x from "react";', 'import x from "./reserve";')]
    rows += [sample(11, 'import x from "react";', 'import x from "react";')]
    found = leak_rates(rows, style)
    assert list(found) == ["any", *KINDS]
    assert [(found[k]["base"]["count"], found[k]["tuned"]["count"]) for k in ("any", "dated", "name", "path")] == [
        (1, 7), (1, 6), (0, 6), (0, 0)
    ]  # fmt: skip
    assert found["any"]["difference"]["mean"] == pytest.approx(0.5) and found["any"]["difference"]["n"] == 12
    assert found["name"]["difference"]["interval"][0] > 0 > found["path"]["difference"]["interval"][0]
    assert found["import"]["tuned"]["rate"] == 0.5 and found["import"]["difference"]["n"] == 2
    assert leak_rates([], style)["any"]["tuned"] == {"count": 0, "rate": 0.0, "interval": (0.0, 1.0)}
