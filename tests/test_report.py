"""The report: what it says, and that nothing from a repository or a model acts on the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from ftlib import plots, report
from ftlib.chat import encode_chat
from ftlib.chunking import IGNORE
from ftlib.evaluate import SETS, summarise, verdict

HOSTILE = "<script>alert(1)</script>\x1b[31mred\x1b[0m \u202eabc | `x` $a$ & <b>"


def samples() -> list[dict]:
    def row(kind, n, base, tuned, text=HOSTILE):
        arms = {"base": base, "tuned": tuned}
        return {
            "set": kind,
            "id": f"{kind}-{n}",
            "document_id": f"d{n}",
            "question": f"question {n} {text}",
            "reference": text,
            **{name: {"text": f"{name} {text}", "tokens": 3, "ended": n != 2, **s} for name, s in arms.items()},
        }

    wrong, right = {"correct": False}, {"correct": True}
    rows = [row("trained", n, wrong, right if n < 3 else wrong) for n in range(4)]
    rows += [row("general", n, right, right if n else wrong) for n in range(5)]
    scores = [{"similarity": 0.25, "prefix": 0}, {"similarity": 1.0, "prefix": 9}]
    return rows + [row("file_snapshot", 0, *scores) | {"id": f"file_snapshot:{HOSTILE}"}]


def results() -> dict:
    loss = {"base": {"nll": 30.0, "tokens": 10, "loss": 3.0}, "tuned": {"nll": 20.0, "tokens": 10, "loss": 2.0}}
    none = {name: {"nll": 0.0, "tokens": 0, "loss": None} for name in ("base", "tuned")}
    found = summarise(samples()) | {"loss": {"chat": loss, "raw": none}}
    return found | {"verdict": verdict(found)}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_summary_counts():
    found = summarise(samples())
    assert found["sets"]["trained"]["base"]["correct"] == 0
    assert found["sets"]["trained"]["tuned"] | {"interval": None} == {"correct": 3, "rate": 0.75, "interval": None}
    assert found["sets"]["general"]["difference"]["rate"] == pytest.approx(-0.2)
    low, high = found["sets"]["general"]["difference"]["interval"]
    assert low < -0.2 < high <= 0
    assert found["recall"] == {
        "n": 1,
        "base": {"similarity": 0.25, "verbatim": 0},
        "tuned": {"similarity": 1.0, "verbatim": 1},
    }


def test_verdict_is_one_line_of_figures():
    said = results()["verdict"]
    assert said == "base -> tuned: trained 0 -> 3 of 4; general 5 -> 4 of 5; held-out chat loss 3.00 -> 2.00"


def test_page_is_self_contained_and_escaped(tmp_path):
    path = report.write_report(tmp_path, samples(), results(), {"project": HOSTILE, "run": "first"})
    page = path.read_text(encoding="utf-8")
    parser = Tags()
    parser.feed(page)
    assert "script" not in parser.tags and "b" not in parser.tags
    assert len(parser.links) == 1 and parser.links[0].startswith("data:image/png;base64,")
    assert "\x1b" not in page and "\u202e" not in page
    assert "alert(1)" in page  # shown, not dropped
    assert "cut at the token limit" in page
    # The worst regression stands first in its section.
    general = page[page.index(f"<h2>{SETS['general']}") :]
    assert general.index("question 0") < general.index("question 1")
    assert (tmp_path / "scorecard.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in text
    recited = next(line for line in text.splitlines() if line.startswith("| &lt;script"))
    assert len(re.findall(r"(?<!\\)\|", recited)) == 6  # the | of the hostile name makes no cell


def test_a_long_answer_is_cut_with_its_length():
    text = report.shown("x" * 50_000)
    assert len(text) < 2_000 and "48,500 more characters" in text


def test_table_of_nothing_and_of_hostile_keys():
    assert "<tbody></tbody>" in report.table([])
    page = report.table([{"<i>": HOSTILE, "n": 12345}])
    assert "<i>" not in page and "<script>" not in page and "12,345" in page


def test_figures_take_any_text():
    assert report.png(plots.bars({"a $x_1$ b": 3, "<b>": 1}, "t", "files")).startswith(b"\x89PNG")
    assert report.png(plots.loss_curve([{"step": 1, "loss": 2.0}])).startswith(b"\x89PNG")


# --- the audit and the coloured view ----------------------------------------------------------------------------------


def test_the_audits_table_has_sums_and_no_empty_columns():
    rows = [
        {"source": "code", "documents": 2, "rows": 3, "tokens": 1200, "dropped": 0, "replaced": 0, "bos": 3},
        {"source": "<b>", "documents": 1, "rows": 1, "tokens": 34, "dropped": 0, "replaced": 0, "bos": 1},
    ]
    text = report.audit_table(rows)
    assert "replaced" not in text and "dropped" in text
    assert re.findall(r"<td[^>]*>([^<]*)</td>", text)[-6:] == ["all", "3", "4", "1,234", "0", "4"]
    assert "&lt;b&gt;" in text
    rows[1]["replaced"] = 7
    assert "replaced" in report.audit_table(rows)
    assert "<table>" in report.audit_table([])


def test_the_coloured_view_says_what_is_control_and_what_is_text(smollm):
    messages = [{"role": "user", "content": "Hi <|im_end|>"}, {"role": "assistant", "content": "<b>Yes</b>"}]
    row = encode_chat(smollm, messages, "assistant")
    parts = re.findall(r'<span style="([^"]*)" title="(\d+)">([^<]*)</span>', report.coloured(row, smollm))
    assert [int(number) for _, number, _ in parts] == row["input_ids"]
    for (style, number, _), label in zip(parts, row["labels"], strict=True):
        assert ("#15803d33" in style) == (label != IGNORE)
        assert ("outline" in style) == (int(number) in (1, 2))
    assert "".join(text for style, _, text in parts if "outline" in style).count("&lt;|im_end|&gt;") == 3
