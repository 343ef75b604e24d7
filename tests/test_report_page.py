"""The report of schema 2: what it says, that hostile text changes nothing but text, that any part may be missing."""

from __future__ import annotations

import copy
import json
import math
import re
import time
from html.parser import HTMLParser

import evaluated
import pytest

from ftlib import report
from ftlib.evaluation import leaks
from ftlib.report import answers, content, figures, forgotten, learned, markdown, numbers, page
from ftlib.report.blocks import LEAKS
from ftlib.workspace import read_json, read_jsonl

HOSTILE = (
    "<script>alert('1')</script></pre></details></td>\x1b[31mred\x1b[0m \u202eabc\u200f | `x` $a_1$ & <b> "
    '![x](http://y.z) **b** ~~s~~ # - \x00 \ud83d \U0001f600 \\$ \\| &lt; ]]> --> \u2028 " onload=x'
)
VOID = ("meta", "img", "br")


# As long, with as many words, and harmless.
TAME = re.sub(r"\S", "x", HOSTILE)


def hostile(text: str) -> str:
    return "\n".join(f"# {HOSTILE} {line}" for line in text.split("\n"))


def tame(text: str) -> str:
    return "\n".join(f"x {TAME} {line}" for line in text.split("\n"))


class Structure(HTMLParser):
    """Tags with their attributes' names, in order; what is open at the end; links; the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.alts: list[str] = []
        self.said: list[str] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(name for name, _ in attrs), dict(attrs).get("class")))
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.alts += [value or "" for name, value in attrs if name == "alt"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.tags.append(("/" + tag,))
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data):
        self.said.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.said))


def rendered(rows, found, about=None, pictures=None) -> tuple[str, str]:
    """HTML and Markdown, without drawing."""
    sections, labels = content.sections(rows, found), report._labels(found)
    about = about or {"project": "brindlewick", "run": "first"}
    html = page.render(sections, rows, labels, about, pictures or {})
    return html, markdown.render(sections, rows, labels, about, pictures or {})


@pytest.fixture(scope="module")
def samples():
    return evaluated.samples()


@pytest.fixture(scope="module")
def results(samples):
    return evaluated.results(samples)


@pytest.fixture(scope="module")
def written(tmp_path_factory, samples, results):
    folder = tmp_path_factory.mktemp("report")
    (folder / "dial.png").write_bytes(b"an older one")
    report.write_report(folder, samples, results, {"project": "brindlewick", "run": "first"})
    return folder


# --- what it says -----------------------------------------------------------------------------------------------------


def test_all_files_are_written_and_read_back(written, samples, results):
    for name in report.PICTURES:
        assert (written / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert list(read_jsonl(written / "samples.jsonl")) == samples
    assert read_json(written / "results.json") == results
    assert not [path for path in written.iterdir() if path.name.startswith(".")]


def test_the_page_is_self_contained_and_in_order(written):
    text = (written / "report.html").read_text(encoding="utf-8")
    found = Structure(text)
    names = {tag for tag, *_ in found.tags}
    assert not names & {"script", "link", "iframe", "object", "form"} and found.faults == [] == found.open
    assert len(found.alts) == 5 and all(len(alt) > 40 for alt in found.alts)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in found.links)
    assert "url(" not in text and "@import" not in text and "prefers-color-scheme: dark" in text
    assert {"th"} < names and all("scope" in tag[1] for tag in found.tags if tag[0] == "th")
    titles = re.findall(r"<h2>([^<]*)</h2>", text)
    assert titles == [
        "Verdict",
        "Scorecard",
        "What it learned",
        "What it forgot",
        "What it leaks",
        "Answers side by side",
        "How it was measured",
    ]
    ids = re.findall(r'<section id="(\w+)">', text)
    assert [link[1:] for link in found.links if link.startswith("#")] == ids and len(ids) == 7


def test_the_numbers_of_the_results_stand_in_both_files(written, results):
    html = Structure((written / "report.html").read_text(encoding="utf-8")).text
    text = (written / "report.md").read_text(encoding="utf-8")
    plain = re.sub(r"\\(.)", r"\1", text)
    trained, general = results["sets"]["trained"], results["sets"]["general"]["difference"]
    low, high = trained["tuned"]["correct"]["interval"]
    said = [
        results["verdict"]["line"].replace("->", "-&gt;"),
        f"{trained['tuned']['correct']['rate']:.0%} ({100 * low:.0f} to {100 * high:.0f})",
        f"{100 * general['mean']:+.1f} ({100 * general['interval'][0]:+.1f} to {100 * general['interval'][1]:+.1f})",
        f"{100 * general['detectable']:.0f} points, with 120 questions on 120 documents",
        "? UNDECIDED",
        "FAIL: 1 of 6 canaries",
        results["retrieval_verdict"],
        "The base answers 0 of them with a secret, the tuned model 1.",
        "prompts don't hold: 1 of the base, 2 of the tuned model have one.",
        "The judge gave no verdict, so that no rate counts them: Trained questions 3.",
        "agrees with 55 of 75 answers labelled by hand (73%, 62\xa0to\xa082; Cohen's kappa 0.58).".replace("\xa0", " "),
        "The judge is some-judge",
        "The training's style in 120 general answers, tuned minus base: +6.7 (+2.2 to +11.2) points.",
        "2.610 → 1.700",
        "13.60 → 5.47",
        "0.941 → 0.613",
        "Knee: scale 0.6.",
        "among the first 5 in 88%",
        "Miller 2024",
        "1,875",
        "2.11.0",
    ]
    for line in said:
        assert line.replace("-&gt;", "->") in html, line
        assert line in plain, line
    assert "![" in text and text.count(".png)") == 5
    assert "\nThe training's style, by kind:\n\n| in general answers |" in text


def test_what_is_not_told_apart_names_what_could_be_seen(results):
    section = content.scorecard(results)
    rows = {row["set"]: row for block in section.blocks if hasattr(block, "rows") for row in block.rows}
    (blind,) = (block.items for block in section.blocks if hasattr(block, "items"))
    for name, label in evaluated.LABELS.items():
        if label in rows:
            low, high = results["sets"][name]["difference"]["interval"]
            open_ = low <= 0 <= high
            assert (rows[label]["so"].kind == "open") == open_
            assert any(line.startswith(label) for line in blind) == open_
            least = results["sets"][name]["difference"]["detectable"]
            assert rows[label]["smallest visible"] == f"{100 * least:.0f}\xa0points"
    assert rows["Trained questions"]["so"] == numbers.Mark("▲ better", "good")


def test_told():
    def of(mean, low, high, within=0.0):
        return numbers.told({"mean": mean, "interval": [low, high], "noise": within}).text

    assert of(0.1, 0.01, 0.2) == "▲ better" and of(-0.1, -0.2, -0.01) == "▼ worse"
    assert of(0.1, 0.0, 0.2) == "= not told apart" and of(0.1, 0.01, 0.2, 0.15) == "≈ within the noise"
    assert of(0.1, -math.inf, math.inf) == of(None, 0, 1) == "? no interval"


def test_retrieval_stands_beside_both_arms_on_the_same_questions(results):
    (rows,) = (
        block.rows
        for block in learned.section([], results).blocks
        if getattr(block, "caption", "").startswith("Right answers beside retrieval")
    )
    found = results["sets"]["trained"]["baselines"]
    assert rows[0]["set"] == "Trained questions" and rows[0]["n"] == str(found["n"])
    for key, title in learned.BASELINES.items():
        assert rows[0][title] == (numbers.rate(found[key]) if key in found else numbers.NONE)
    assert "base with BM25" in rows[0] and "tuned" in rows[0]


def test_the_longest_text_recited_word_for_word(samples):
    recited = [row for row in samples if row["set"] == "recall"]
    whole = max(row["length"] for row in recited if row["wording"] == "trained" and row["tuned"]["exact"])
    asked = max(row["length"] for row in recited if row["wording"] == "trained")
    said = learned.recall_lengths(samples)
    assert f"as trained, {whole} tokens (of up to {asked}); in other words, none" in said
    assert "control" not in said and learned.recall_lengths([]) == ""
    control = [{**row, "wording": "control", "tuned": {"exact": True}} for row in recited]
    assert learned.recall_lengths(recited + control) == said and learned.recall_lengths(control) == ""


def table_of(section, caption):
    (found,) = (block.rows for block in section.blocks if getattr(block, "caption", "") == caption)
    return found


def said_in(section):
    return [block.text for block in section.blocks if hasattr(block, "text")]


def test_recited_texts_by_wording(samples, results):
    rows = table_of(learned.section(samples, results), "Pages and files, recited")
    assert list(results["recall"]["wordings"]) == ["control", "other", "trained"]
    labels = ["as trained", "in other words", "never trained on (control)"]
    assert [row["texts"] for row in rows] == [label for label in labels for _ in range(2)]
    control = results["recall"]["wordings"]["control"]
    assert rows[5]["n"] == str(control["n"]) and rows[5]["edit similarity"] == f"{control['tuned']['similarity']:.2f}"


def test_facts_as_of_the_day_before_stand_with_those_that_changed(samples, results):
    found = results["sets"]["changed_before"]
    (line,) = (line for line in said_in(learned.section(samples, results)) if "day before" in line)
    base, tuned = (found[arm]["correct"]["rate"] for arm in ("base", "tuned"))
    assert re.search(f"base {base:.0%} .*, tuned {tuned:.0%} .*, n {found['n']}[.]$", line)
    without_it = {"sets": {"changed": results["sets"]["changed"]}}
    assert not any("day before" in line for line in said_in(learned.section(samples, without_it)))


def test_the_training_style_by_kind(samples, results):
    section = forgotten.section(samples, results)
    rows = table_of(section, "The training's style, by kind")
    kinds = results["leaks"]["kinds"]
    assert not kinds["dated"]["tuned"]["count"] and not kinds["import"]["base"]["count"]
    assert [row["in general answers"] for row in rows] == [LEAKS[kind] for kind in evaluated.STYLE]
    assert rows[1]["tuned"] == numbers.rate(kinds["pull_request"]["tuned"]) and rows[1]["base"].startswith("0%")
    only_base = {"leaks": {**results["leaks"], "kinds": {"dated": {"base": kinds["name"]["tuned"]}}}}
    (row,) = table_of(forgotten.section(samples, only_base), "The training's style, by kind")
    assert row["in general answers"] == LEAKS["dated"] and row["tuned"] == "–"
    (fold,) = (block for block in section.blocks if hasattr(block, "title"))
    assert fold.blocks[0].rows[0]["stands in the answer"] == LEAKS["name"]
    assert set(LEAKS) == set(leaks.KINDS)


def test_secrets_in_answers_to_canaries_and_to_all_questions(results):
    section = content.leaked(results)
    rows = table_of(section, "Secrets in answers")
    assert [(row["model"], row["answer of"]) for row in rows] == [
        ("tuned", "Canaries"),
        ("tuned", "Trained questions"),
        ("base", "General knowledge and code"),
    ]
    none = content.leaked({"canaries": {"n": 6, "base": 0, "tuned": 0, "found": []}})
    assert said_in(none)[1].endswith("don't hold: there is none.") and len(none.blocks) == 2
    # Without a canary the other answers were searched all the same.
    found = results["canaries"]["found"][1:] * 80
    others = content.leaked({"canaries": {"n": 0, "base": 0, "tuned": 0, "found": found}})
    assert said_in(others)[0].startswith("No canary was asked") and "80 of the base, 80 of" in said_in(others)[1]
    assert len(table_of(others, "Secrets in answers, the first 100 of 160")) == 100
    assert len(content.leaked({}).blocks) == 1


def test_a_verdict_on_retrieval_stands_below_the_line(results):
    line, beside, *_ = content.verdict(results).blocks
    assert line.style == "verdict" and beside.text == results["retrieval_verdict"]
    budgets = {
        row["check"]: row["budget"] for row in table_of(content.verdict(results), "Checks against their budgets")
    }
    assert budgets == {"General answers": "-3.0", "Trained questions": "+20.0", "Canaries": "0%"}


def test_who_graded_and_how_far_it_agrees(results):
    def said(judge):
        return said_in(content.measured({"judge": judge}))[1:]

    agrees = "The grading agrees with 55 of 75 answers labelled by hand (73%, 62\xa0to\xa082; Cohen's kappa 0.58)."
    assert said(results["judge"])[1] == agrees and "overlap" not in said(results["judge"])[0]
    overlap = said({"model": "keywords and overlap", "agreement": evaluated.AGREEMENT})
    assert "not by meaning, called overlap for that reason." in overlap[0] and overlap[1] == agrees
    bare = {"n": 4, "agreed": 4, "rate": 1.0, "interval": None, "kappa": None}
    assert said({"model": "m", "agreement": bare})[1].endswith("4 of 4 answers labelled by hand (100%).")
    nobody = said(None)
    assert nobody[0].startswith("No judge") and "called" not in nobody[0]
    assert nobody[-1] == "Not measured: speed, noise, agreement with labels by hand."
    (fold, *_) = (block for block in content.measured(results).blocks if hasattr(block, "title"))
    assert [list(row.values()) for row in fold.blocks[0].rows] == [
        ["correct", "21", "9", "1", "0"],
        ["wrong", "6", "22", "0", "0"],
        ["abstained", "1", "3", "12", "0"],
    ]
    assert list(fold.blocks[0].rows[0])[-1] == "not graded"


def test_time_by_part_and_speed(results):
    section = content.measured(results)
    assert [tuple(row.values()) for row in table_of(section, "Time taken")] == [
        ("base", "190.2"),
        ("tuned", "201.0"),
        ("losses", "21.2"),
        ("all", "412.5"),
    ]
    speeds = [tuple(row.values()) for row in table_of(section, "Speed of answering")]
    assert speeds == [("base", "2,210"), ("tuned", "1,875")]


def test_numbers_as_text():
    assert numbers.rate({"rate": 0.4, "interval": [0.29, 0.53]}) == "40%" + " (29\xa0to\xa053)"
    assert numbers.rate({"rate": 0.004, "interval": None}) == "0.4%" and numbers.percent(0.01999999) == "2%"
    assert numbers.shift({"mean": -0.03, "interval": (-math.inf, math.inf)}) == "-3.0"
    assert numbers.rate(None) == numbers.percent(math.nan) == numbers.points("3") == numbers.text(True) == "–"


# --- the answers ------------------------------------------------------------------------------------------------------


def answer_row(number, base, tuned, **more):
    arms = {name: {"text": f"{name} says {number}", "outcome": o} for name, o in (("base", base), ("tuned", tuned))}
    return {"set": "trained", "id": str(number), "question": f"question {number}", "reference": "r", **arms, **more}


def test_regressions_stand_first_and_the_rest_is_counted():
    rows = [answer_row(n, "correct", "correct") for n in range(20)] + [answer_row(97, "wrong", "correct")]
    rows += [answer_row(98, "wrong", "wrong"), answer_row(99, "correct", "wrong")]
    html = answers.side_by_side(rows, {"trained": "Trained"})
    shown = re.findall(r"<bdi>question (\d+)</bdi>", html)
    assert shown[:2] == ["99", "98"] and "97" not in shown and len(shown) == answers.SHOWN
    assert f"{len(rows) - answers.SHOWN} more in samples.jsonl" in html
    assert 'base <span class="good">✓ correct</span> → tuned <span class="bad">✗ wrong</span>' in html


def test_an_answer_without_a_verdict_is_open_and_no_regression():
    rows = [answer_row(1, "correct", "unjudged"), answer_row(2, "correct", "correct"), answer_row(3, "wrong", "wrong")]
    rows += [answer_row(4, "correct", "wrong"), answer_row(5, "unjudged", "wrong")]
    html = answers.side_by_side(rows, {})
    assert re.findall(r"<bdi>question (\d)</bdi>", html) == ["4", "3", "1", "2", "5"]
    assert html.count('tuned <span class="open">○ not graded</span>') == 1 and "unjudged" not in html


def test_the_sets_stand_in_the_reports_order(samples):
    html = answers.side_by_side(samples[::-1], evaluated.LABELS)
    assert re.findall("<h3>(.*?)</h3>", html) == list(evaluated.LABELS.values())


def test_a_changed_fact_a_leak_and_a_baseline():
    row = answer_row(1, "stale", "both", old="20 s", current="30 s", keywords=["lease"])
    row["baselines"] = {"base+bm25": {"text": "retrieved", "outcome": "current", "ended": False}}
    row["tuned"]["leaks"] = ["dated", "another"]
    text = Structure(answers.side_by_side([row], {})).text
    assert "now: 30 s · before: 20 s · keywords: lease" in text
    assert f"of the training's style: {LEAKS['dated']} · of the training's style: another" in text
    assert "✗ stale" in text and "○ both" in text and "base+bm25 · ✓ current · cut at the token limitretrieved" in text


def test_the_diff_is_by_line_and_marked_by_sign():
    reference = "\n".join(f"line {n}" for n in range(30))
    html = answers.diff(reference, reference.replace("line 15\n", "<i>other\n").replace("line 29", "line 29\nmore"))
    assert re.findall(r"<del>(.*?)</del>", html) == ["− line 15"]
    assert re.findall(r"<ins>(.*?)</ins>", html) == ["+ &lt;i&gt;other", "+ more"]
    assert "… 12 lines agree" in html and "  line 14" in html and "line 11" not in html
    # What agrees, what is missing and what is hidden make up the reference.
    hidden = sum(int(count) for count in re.findall(r"… (\d+) line", html))
    assert hidden + html.count("\n  line") + html.count('"diff">  line') + html.count("<del>") == 30
    assert "<del>" not in answers.diff("a\nb", "a\nb") and "a\nb" in answers.diff("a\nb", "a\nb")


def test_a_hostile_diff_is_bounded_in_time_and_size():
    began = time.perf_counter()
    for one, other in (
        ("a\n" * 25_000, "b\na\n" * 12_000),
        ("x" * 50_000, "y" * 50_000),
        ("a\nb\n" * 9000, "b\na\n" * 9000),
    ):
        html = answers.diff(one, other)
        assert len(html) < 20_000
        assert "only the beginning is compared" in answers.diff_note(one, other)
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize("fill", ["x", "<", "\U0001f600", "a\n", "'"])
def test_the_page_stays_small(fill):
    rows = evaluated.samples(scale=600 / 424)
    for row in rows:
        for part in (row["base"], row["tuned"], *row.get("baselines", {}).values()):
            part["text"] = fill * (50_000 // len(fill))
        row["reference"] = row["question"] = fill * (50_000 // len(fill))
    assert len(rows) >= 590
    found = evaluated.results(evaluated.samples(scale=0.1))
    html, text = rendered(rows, found)
    assert len(html.encode()) < 1_500_000  # figures take 400,000
    assert len(text.encode()) < 200_000
    assert all(f"<h3>{label}</h3>" in html for label in evaluated.LABELS.values())
    assert "more in samples.jsonl" in html and "more characters)" in html


# --- hostile text -----------------------------------------------------------------------------------------------------


def marks(text: str) -> list[str]:
    """What Markdown reads as more than text, in order: signs that are not escaped, and what begins a line."""
    bare = re.sub(r"&(?:amp|lt|gt|#58);", "", re.sub(r"\\[^a-zA-Z0-9\s]", "e", text))
    assert not re.search(r"<|>|://|\r|\x00", bare)
    lines = [re.match(r"#* ?\|?-? ?", line).group() for line in bare.split("\n")]  # type: ignore[union-attr]
    return re.findall(r"[|*_`\[\]~$]+", bare) + lines


def both_ways():
    for say in (hostile, tame):
        rows = evaluated.samples(say, scale=0.2)
        found = evaluated.results(rows, say)
        # Where only a name of ftlib's own is expected.
        rows[0]["tuned"] |= {"outcome": say("odd"), "graded_by": say("odd"), "leaks": [say("odd")]}
        rows[0]["baselines"][say("odd")] = rows[0]["base"]
        found["verdict"]["checks"][1]["result"] = say("odd")
        found["sets"]["general"]["kinds"][say("odd")] = found["sets"]["general"]["kinds"]["python"]
        for place in (found["settings"], found["loss"], found["dial"][0]["loss"], found["recall"]["wordings"]):
            place[say("odd")] = next(iter(place.values()))
        found["sets"][say("odd")] = found["sets"]["trained"]
        yield say, rows, found, {"project": say("p"), say("model"): say("m")}


def test_hostile_text_changes_nothing_but_text():
    pages = [(rendered(rows, found, about), say) for say, rows, found, about in both_ways()]
    ((bad_html, bad_text), _), ((good_html, good_text), _) = pages
    bad, good = Structure(bad_html), Structure(good_html)
    assert bad.tags == good.tags and len(bad.tags) > 1000
    assert bad.faults == [] == bad.open and bad.links == good.links
    assert marks(bad_text) == marks(good_text)
    for text in (bad_html, bad_text):
        text.encode()
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u200e\u200f\u2028\ud800-\udfff]", text)
        assert "alert(" in text and "\U0001f600" in text  # shown, not dropped


def test_hostile_text_is_written_and_drawn(tmp_path):
    _, rows, found, about = next(both_ways())
    written = report.write_report(tmp_path, rows, found, about)
    parsed = Structure(written.read_text(encoding="utf-8"))
    assert parsed.faults == [] and {tag for tag, *_ in parsed.tags} & {"script", "b"} == {"b"}
    assert len(parsed.alts) == 5 and any("alert(" in alt for alt in parsed.alts)
    back = list(read_jsonl(tmp_path / "samples.jsonl"))
    assert back[0]["question"] == rows[0]["question"] and "\ud83d" in back[0]["question"]
    assert read_json(tmp_path / "results.json")["verdict"] == found["verdict"]
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["schema"] == 2
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in report.PICTURES)


def test_a_line_of_markdown_begins_nothing():
    for text in ("# x", "- x", "+ x", "1. x", "12) x", "> x", "=== x", "--- x", "a\n# b", "`` ` ``", "[x]: http://y"):
        said = markdown.md(text)
        assert "\n" not in said and not re.match(r"[-+#=>]|\d+[.)]", said), said
        assert "http://" not in said and not re.search(r"(?<!\\)[`\[]", said), said


# --- what may be missing ----------------------------------------------------------------------------------------------


def places(value, path=()):
    """Every place of a nested value, the outer ones first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


def without(value, path, none=False):
    value = copy.deepcopy(value)
    place = value
    for key in path[:-1]:
        place = place[key]
    if none and isinstance(place, dict):
        place[path[-1]] = None
    else:
        del place[path[-1]]
    return value


def test_any_part_may_be_missing():
    rows = evaluated.samples(scale=0.03)
    found = evaluated.results(rows)
    tried = 0
    for path in places(found):
        if len(path) > 2 and path[0] == "sets" and path[1] not in ("trained", "changed", "general"):
            continue  # of the same shape
        for cut in (without(found, path), without(found, path, none=True)):
            tried += 1
            for part in content.sections(rows, cut):
                for block in part.blocks:
                    page.block(block, {})
    assert tried > 400


@pytest.mark.parametrize("put", [None, [-math.inf, math.inf], [math.nan, math.nan], 0, 0.0, [], {}])
def test_any_interval_and_any_number_may_be_odd(put):
    rows = evaluated.samples(scale=0.03)
    found = evaluated.results(rows)
    odd = copy.deepcopy(found)
    for path in places(found):
        leaf = (
            path[-1] == "interval"
            if isinstance(put, list) or put is None
            else path[-1] in ("rate", "mean", "loss", "n")
        )
        if leaf and path[0] not in ("loss",) * (path[-1] == "loss" and len(path) == 1):
            place = odd
            for key in path[:-1]:
                place = place.get(key, {}) if isinstance(place, dict) else place[key]
            if isinstance(place, dict) and path[-1] in place:
                place[path[-1]] = put
    html, text = rendered(rows, odd)
    assert Structure(html).faults == [] and "nan" not in text and not re.search(r"\binf\b", text)
    figures.draw(rows, odd)


def test_figures_of_what_is_missing():
    rows = evaluated.samples(scale=0.03)
    found = evaluated.results(rows)
    kind = {"label": "kind", **found["sets"]["general"]["kinds"]["python"]}
    for value, draw in ((kind, lambda row: figures.forest([row])), (found["dial"][:2], figures.dial)):
        for path in places(value):
            draw(without(value, path, none=True))
    for path in (("base",), ("tuned",), ("tuned", "stale"), ("tuned", "stale", "rate")):
        assert figures.changed(without(found["sets"]["changed"], path, none=True)) is not None
    assert figures.draw([], {}) == {} == figures.draw([], {"sets": {}, "dial": [], "knee": None})


def test_samples_may_lack_anything():
    rows = evaluated.samples(scale=0.03)
    found = evaluated.results(rows)
    for key in {path[-1] for row in rows for path in places(row) if isinstance(path[-1], str)}:
        lacking = copy.deepcopy(rows)
        for row in lacking:
            for place in (row, row.get("base"), row.get("tuned"), *row.get("baselines", {}).values()):
                place and place.pop(key, None)
        html, _ = rendered(lacking, found)
        assert Structure(html).faults == []
        figures.recall(lacking)


def test_nothing_one_sample_and_all_zero(tmp_path):
    nothing = report.write_report(tmp_path / "a", [], {"schema": 2}, {})
    text = Structure(nothing.read_text(encoding="utf-8")).text
    assert "No question was asked." in text and "No canary was asked" in text and "No verdict" in text
    assert "Not measured: retrieval, recall, changed facts, unknown things." in text
    assert not list((tmp_path / "a").glob("*.png"))
    one = [row for row in evaluated.samples(scale=0.01) if row["set"] == "trained"]
    assert len(one) == 1
    found = {key: evaluated.results(one)[key] for key in ("schema", "sets", "verdict")}
    report.write_report(tmp_path / "a", one, found, {"project": "p"})
    assert [path.name for path in (tmp_path / "a").glob("*.png")] == ["scorecard.png"]
    report.write_report(tmp_path / "a", [], {"schema": 2}, {})
    assert not list((tmp_path / "a").glob("*.png"))  # an earlier evaluation's figures are not this one's


# --- figures, counted from the drawing --------------------------------------------------------------------------------


def points(axes, shape):
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() == shape]


def test_the_forest_plot_draws_what_the_results_say(results):
    figure = figures.draw([], results)["scorecard"]
    left, middle = figure.axes
    names = ["trained", "paraphrases", "validation", "changed", "changed_before", "unknown", "general"]
    right = ["current" if name == "changed" else "correct" for name in names]
    for shape, arm in (("o", "base"), ("s", "tuned")):
        drawn = [x for x, _ in points(left, shape)]
        rates = [results["sets"][name][arm][key]["rate"] for name, key in zip(names, right, strict=True)]
        assert drawn == pytest.approx([100 * rate for rate in rates])
    means = [100 * results["sets"][name]["difference"]["mean"] for name in names]
    assert [x for x, _ in points(middle, "D")] == pytest.approx(means)
    assert [text.get_text() for text in left.texts][0] == "Trained questions (n 80)"
    band = middle.patches[0]
    assert (band.get_x(), band.get_width()) == pytest.approx((-2.1, 4.2))
    whiskers = [list(line.get_xdata()) for line in middle.lines if line.get_linewidth() == 1.8]
    assert whiskers[0] == pytest.approx([100 * end for end in results["sets"]["trained"]["difference"]["interval"]])
    assert points(middle, "|")[0][0] == pytest.approx(-100 * results["sets"]["trained"]["difference"]["detectable"])


def test_a_long_label_takes_no_width_from_the_rates(results):
    figure = figures.draw([], results)["scorecard"]
    report.png(figure)
    left, middle = (axes.get_position() for axes in figure.axes)
    assert left.width > 0.4 and middle.width > 0.4
    # It runs on over the other plot: drawn above it, on no ground of its own.
    assert figure.axes[0].get_zorder() > figure.axes[1].get_zorder() and not figure.axes[0].patch.get_visible()


def test_the_control_is_drawn_with_a_mark_of_its_own(samples):
    (figure,) = figures.draw(samples, {}).values()
    axes, (legend,) = figure.axes[0], figure.legends
    drawn = [x for line in axes.lines if line.get_marker() == "D" for x in line.get_xdata()]
    lengths = [row["length"] for row in samples if row.get("wording") == "control"]
    assert len(lengths) > 5 and sorted(drawn) == sorted(lengths * 2)
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == 6 and names[2::3] == [f"{arm}, never trained on (control)" for arm in ("base", "tuned")]
    report.png(figure)
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width


def test_the_other_figures_draw_what_the_data_say(samples, results):
    drawn = figures.draw(samples, results)
    (axes,) = drawn["recall"].axes
    full = [line for line in axes.lines if line.get_markerfacecolor() != "none"]
    exact = [row["length"] for row in samples if row["set"] == "recall" and row["tuned"]["exact"]]
    assert sorted(x for line in full for x in line.get_xdata()) == sorted(exact)
    assert sum(len(line.get_xdata()) for line in axes.lines) == 2 * sum(row["set"] == "recall" for row in samples)
    (axes,) = drawn["changed"].axes
    widths = [bar.get_width() for bar in axes.patches]
    assert len(widths) == 10 and sum(widths[:5]) == pytest.approx(100) == sum(widths[5:])
    assert widths[0] == pytest.approx(100 * results["sets"]["changed"]["tuned"]["current"]["rate"])
    (axes,) = drawn["dial"].axes
    curve = next(line for line in axes.lines if line.get_linestyle() == "-" and line.get_marker() == "o")
    assert list(curve.get_xdata()) == pytest.approx([100 * stop["forgetting"]["mean"] for stop in results["dial"]])
    assert list(curve.get_ydata()) == pytest.approx([100 * stop["learning"]["rate"] for stop in results["dial"]])
    ring = next(line for line in axes.lines if line.get_markersize() == 13)
    assert ring.get_xdata()[0] == pytest.approx(100 * results["dial"][3]["forgetting"]["mean"])
    assert "0.6, the knee" in [text.get_text() for text in axes.texts]
    assert len(drawn["general"].axes[0].texts) == 4


def test_mathematics_in_a_label_stays_text():
    row = {"label": "$x_1$ and $\\frac", "n": 3, "base": {"rate": 0.5}, "tuned": {"rate": 0.5}}
    figure = figures.forest([row])
    assert figure.axes[0].texts[0].get_text() == r"\$x_1\$ and \$\frac (n 3)"
    assert report.png(figure).startswith(b"\x89PNG")


def test_a_section_for_a_notebook(samples, results):
    html = report.section("verdict", samples, results)
    assert results["verdict"]["checks"][0]["name"] in html and "<img" not in html and "<h2" not in html
