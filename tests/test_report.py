"""What is written, what is refused, the model card's part, and the small tables of the notebooks."""

from __future__ import annotations

import json
import math
import re

import evaluated
import pytest

from ftlib import plots, report
from ftlib.chat import encode_chat
from ftlib.chunking import IGNORE
from ftlib.errors import SetupError
from ftlib.report import content

HOSTILE = "<script>alert(1)</script>\x1b[31mred\x1b[0m \u202eabc | `x` $a$ & <b>"


@pytest.fixture(scope="module")
def samples():
    return evaluated.samples()


@pytest.fixture(scope="module")
def results(samples):
    return evaluated.results(samples)


def test_results_of_another_schema_are_refused(tmp_path):
    for results in ({"sets": {}, "verdict": "12 of 20"}, {"schema": 3}):
        for write in (lambda found: report.write_report(tmp_path, [], found, {}), report.card):
            with pytest.raises(SetupError, match="schema.*Run notebook 04_eval again"):
                write(results)
    assert not list(tmp_path.iterdir())


def test_what_is_written_is_strict_json(tmp_path):
    rows = evaluated.samples(scale=0.03)
    found = evaluated.results(rows)
    found["sets"]["trained"]["difference"] |= {"interval": (-math.inf, math.inf), "p": math.nan}
    found["dial"][0]["loss"]["chat"] = math.inf
    rows[-1]["tuned"]["similarity"] = math.nan
    report.write_report(tmp_path, rows, found, {"project": "p"})

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"), parse_constant=refuse)
    lines = (tmp_path / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [json.loads(line, parse_constant=refuse) for line in lines]
    assert results["sets"]["trained"]["difference"]["interval"] == [None, None]
    assert results["sets"]["trained"]["difference"]["p"] is results["dial"][0]["loss"]["chat"] is None
    assert samples[-1]["tuned"]["similarity"] is None and samples[:-1] == rows[:-1]
    assert results["recall"] == found["recall"] and results["sets"]["general"] == found["sets"]["general"]
    assert math.isnan(rows[-1]["tuned"]["similarity"])  # the caller's own is left as it is
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "? no interval" in page


def test_the_card_has_verdict_checks_and_rates(samples, results):
    lines = report.card(results)
    plain = [re.sub(r"\\(.)", r"\1", line) for line in lines]
    assert plain[1] == f"**{results['verdict']['line'].replace('>', '&gt;')}**"
    assert plain[3] == results["retrieval_verdict"]
    for check in results["verdict"]["checks"]:
        said = content.RESULTS[check["result"]].text
        assert any(line.startswith(f"| {check['name']} | {said} | ") for line in plain)
    header = "| set | n | base | tuned | difference, points |"
    assert plain.index(header) < plain.index(next(line for line in plain if line.startswith("| General knowledge")))
    general = results["sets"]["general"]["tuned"]["correct"]
    row = next(line for line in plain if line.startswith("| General knowledge and code | 120 |"))
    assert f"{general['rate']:.0%}" in row and row.count(" | ") == 4
    assert not any("![" in line for line in lines)
    assert report.card({"schema": 2})[1] == "**No verdict: nothing was compared.**"


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
