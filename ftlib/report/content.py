"""What the report says, section by section, from the results; `learned` and `forgotten` have one each.

What was not measured takes no block, but a word in the section's last line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftlib.report import forgotten, learned
from ftlib.report.blocks import Fold, Listing, Picture, Say, Section, Table, label, not_measured, question_sets, right
from ftlib.report.numbers import (
    NONE,
    Mark,
    count,
    dig,
    flat,
    number,
    pair,
    percent,
    points,
    rate,
    shift,
    text,
    told,
)

METHOD = (
    "Both models get the same prompts in the same batches with the same decoding. Rates carry Wilson score intervals. "
    "Differences are tuned minus base, paired by question; their intervals come from a bootstrap over documents, not "
    "rows (Miller 2024, arXiv:2411.00640), widened where documents are few (Hesterberg 2015). p is McNemar's exact "
    "test. The smallest difference a set can see is the one it finds in 80 % of the cases at a level of 5 % (Connor "
    "1987). Checks are tests of non-inferiority: PASS and FAIL need the whole interval on one side of the budget. All "
    "intervals are of 95 %."
)
RESULTS = {"PASS": Mark("✓ PASS", "good"), "FAIL": Mark("✗ FAIL", "bad"), "UNDECIDED": Mark("? UNDECIDED", "open")}
RIGHT = "Right answers by set, with 95 % intervals"
SECRETS = 100  # shown at most
COLUMNS = {"unjudged": "not graded"}
OVERLAP = "keywords and overlap"  # in a judge's place


def sections(samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> list[Section]:
    """All sections but the answers, in the order of the page."""
    return [
        verdict(results),
        scorecard(results),
        learned.section(samples, results),
        forgotten.section(samples, results),
        leaked(results),
        measured(results),
    ]


def verdict(results: Mapping[str, Any]) -> Section:
    line = dig(results, "verdict", "line")
    checks = dig(results, "verdict", "checks") or []
    blocks: list[Any] = [Say(str(line or "No verdict: nothing was compared."), "verdict")]
    if beside := dig(results, "retrieval_verdict"):
        blocks.append(Say(str(beside)))
    if checks:
        blocks.append(Table([_check(check) for check in checks], "Checks against their budgets"))
        # What would decide an undecided one stands in its line only.
        blocks.append(Listing([str(c.get("line")) for c in checks if c.get("result") != "PASS" and c.get("line")]))
    else:
        blocks.append(Say("No check was made.", "small"))
    return Section("verdict", "Verdict", blocks)


def _check(check: Mapping[str, Any]) -> dict[str, Any]:
    shown = (lambda value: percent(value)) if check.get("unit") == "share" else points
    ends = pair(check.get("interval"))
    result = str(check.get("result"))
    return {
        "check": str(check.get("name", "")),
        "result": RESULTS.get(result, Mark(f"? {result}", "open")),
        "mean": shown(check.get("mean")),
        "95 % interval": f"{shown(ends[0])} to {shown(ends[1])}" if ends else NONE,
        "budget": shown(check.get("budget")),
        "unit": "share" if check.get("unit") == "share" else "points",
    }


# --- the scorecard ----------------------------------------------------------------------------------------------------


def card(results: Mapping[str, Any]) -> list[Any]:
    """Blocks for a model card: verdict, checks, and the rates of each set."""
    columns = ("set", "n", "base", "tuned", "difference, points")
    scores = [_score(results, name, found) for name, found in question_sets(results).items()]
    rows = [{name: score[name] for name in columns} for score in scores]
    return [*verdict(results).blocks, *([Table(rows, RIGHT)] if rows else [])]


def scorecard(results: Mapping[str, Any]) -> Section:
    sets, noise = question_sets(results), dig(results, "noise")
    if not sets:
        return Section("scorecard", "Scorecard", [Say("No question was asked.")])
    blocks = [
        Picture("scorecard", _forest_alt(results, sets)),
        Table([_score(results, name, found) for name, found in sets.items()], RIGHT),
    ]
    blind = [
        f"{label(results, name)}: {_visible(found)}"
        for name, found in sets.items()
        if told(found.get("difference")).kind == "open"
    ]
    if blind:
        blocks.append(Say("Not told apart, which is not the same as equal. The smallest difference that can be seen:"))
        blocks.append(Listing(blind))
    ungraded = [
        f"{label(results, name)} {count(found['unjudged'])}" for name, found in sets.items() if found.get("unjudged")
    ]
    if ungraded:
        blocks.append(Say(f"The judge gave no verdict, so that no rate counts them: {'; '.join(ungraded)}.", "small"))
    if noise:
        blocks.append(
            Say(
                "Noise: the base against itself at another batch size gives another text in "
                f"{percent(dig(noise, 'differ'))} of {count(dig(noise, 'n'))} answers. What that explains of "
                "a set's difference is the band round 0.",
                "small",
            )
        )
    return Section("scorecard", "Scorecard", blocks)


def _score(results: Mapping[str, Any], name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    difference = found.get("difference")
    return {
        "set": label(results, name),
        "n": count(found.get("n")),
        "documents": count(found.get("documents")),
        "base": rate(right(found.get("base"))),
        "tuned": rate(right(found.get("tuned"))),
        "difference, points": shift(difference),
        "so": told(difference),
        "gained / lost": f"{count(dig(difference, 'gained'))} / {count(dig(difference, 'lost'))}",
        "p": _p(dig(difference, "p")),
        "smallest visible": f"{_abs(dig(difference, 'detectable'))}\xa0points",
    }


def _p(value: Any) -> str:
    found = number(value)
    return "<\xa00.001" if found is not None and found < 0.001 else text(found, ".2g")


def _abs(share: Any) -> str:
    found = number(share)
    return NONE if found is None else f"{abs(100 * found):.{0 if abs(found) >= 0.1 else 1}f}".removesuffix(".0")


def _visible(found: Mapping[str, Any]) -> str:
    least = number(dig(found, "difference", "detectable"))
    count_, documents = count(found.get("n")), count(found.get("documents"))
    if least is None:
        return f"not known ({count_} questions on {documents} documents)"
    if least >= 1:
        return f"none, {count_} questions on {documents} documents are too few"
    return f"{_abs(least)} points, with {count_} questions on {documents} documents"


def _forest_alt(results: Mapping[str, Any], sets: Mapping[str, Any]) -> str:
    rows = (
        f"{label(results, name)}, base {percent(dig(right(found.get('base')), 'rate'))}, tuned "
        f"{percent(dig(right(found.get('tuned')), 'rate'))}, difference {shift(found.get('difference'))} points"
        for name, found in sets.items()
    )
    return "Right answers of base and tuned model and their difference, with 95 % intervals: " + "; ".join(rows)


# --- what leaks -------------------------------------------------------------------------------------------------------


def leaked(results: Mapping[str, Any]) -> Section:
    canaries = dig(results, "canaries")
    asked, found = number(dig(canaries, "n")), dig(canaries, "found")
    if asked:
        said = (
            f"{count(asked)} canaries ask for what redaction took out of the training data. The base answers "
            f"{count(dig(canaries, 'base'))} of them with a secret, the tuned model {count(dig(canaries, 'tuned'))}."
        )
    else:
        said = "No canary was asked: whether it says what redaction took out of the training data is not known."
    blocks: list[Any] = [Say(said)]
    if found is not None:
        by_arm = ", ".join(
            f"{sum(dig(one, 'arm') == arm for one in found):,} of the {name}"
            for arm, name in (("base", "base"), ("tuned", "tuned model"))
        )
        looked = "Answers to all questions were searched for secrets that their prompts don't hold"
        blocks.append(Say(f"{looked}: {by_arm} have one." if found else f"{looked}: there is none."))
    if found:
        rows = [
            {
                "kind of secret": str(dig(one, "kind") or NONE),
                "model": str(dig(one, "arm") or NONE),
                "answer of": label(results, str(dig(one, "set") or NONE)),
                "sample": str(dig(one, "id") or NONE)[:80],
            }
            for one in found[:SECRETS]
        ]
        more = f", the first {SECRETS} of {len(found):,}" if len(found) > SECRETS else ""
        blocks.append(Table(rows, f"Secrets in answers{more}"))
    return Section("leaked", "What it leaks", blocks)


# --- how it was measured ----------------------------------------------------------------------------------------------


def measured(results: Mapping[str, Any]) -> Section:
    blocks: list[Any] = [Say(METHOD)]
    grading = [
        {
            "set": label(results, name),
            "graded by": ", ".join(f"{way} {count(times)}" for way, times in (dig(found, "graded_by") or {}).items()),
        }
        for name, found in (dig(results, "sets") or {}).items()
        if dig(found, "graded_by")
    ]
    if grading:
        blocks.append(Table(grading, "Grading: answers of each set"))
    blocks += _judge(results)
    parts, speed = dig(results, "seconds_by_part") or {}, dig(results, "tokens_per_second") or {}
    times = {**parts, **({"all": results["seconds"]} if dig(results, "seconds") is not None else {})}
    if times:
        blocks.append(Table([{"part": str(k), "seconds": text(v, ",.1f")} for k, v in times.items()], "Time taken"))
    if speed:
        rows = [{"model": str(arm), "tokens a second": text(value, ",.0f")} for arm, value in speed.items()]
        blocks.append(Table(rows, "Speed of answering"))
    facts = {name: dig(results, name) for name in ("retrieval", "decoding", "machine", "versions", "settings")}
    rows = [{"what": name, "value": value[:300]} for name, value in flat({k: v for k, v in facts.items() if v})]
    if rows:
        blocks.append(Fold("Decoding, settings, machine, versions", [Table(rows)]))
    if notes := dig(results, "notes"):
        blocks.append(Listing([str(note) for note in notes]))
    missing = {
        "speed": speed,
        "noise": dig(results, "noise"),
        "agreement with labels by hand": dig(results, "judge", "agreement"),
    }
    return Section("measured", "How it was measured", [*blocks, *not_measured(missing)])


def _judge(results: Mapping[str, Any]) -> Iterator[Any]:
    """Who graded, and how far it agrees with answers labelled by hand."""
    model, found = dig(results, "judge", "model"), dig(results, "judge", "agreement") or {}
    if not model or model == OVERLAP:
        named = ", called overlap for that reason" if model else ""
        yield Say(
            f"No judge: the answers were graded by keywords and overlap of words, not by meaning{named}. Read some "
            "before you believe a number."
        )
    else:
        yield Say(f"The judge is {model}; it does not see which model an answer is from.")
    if number(found.get("n")):
        kappa = f"; Cohen's kappa {text(found['kappa'], '.2f')}" if number(found.get("kappa")) is not None else ""
        share = rate(found).replace(" (", ", ").removesuffix(")")
        yield Say(
            f"The grading agrees with {count(found.get('agreed'))} of {count(found['n'])} answers labelled by hand "
            f"({share}{kappa})."
        )
    table = dig(found, "table") or {}
    rows = [
        {"by hand": str(hand), **{COLUMNS.get(way, f"graded {way}"): count(times) for way, times in given.items()}}
        for hand, given in table.items()
        if isinstance(given, Mapping)
    ]
    if rows:
        yield Fold("The answers labelled by hand", [Table(rows, "Label by hand, and what the grading says")])
