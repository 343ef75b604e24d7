"""What the report says, section by section, from the results; `learned` has the section on what was learned.

What was not measured takes no block, but a word in the section's last line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftlib.report import learned
from ftlib.report.blocks import Fold, Listing, Picture, Say, Section, Table, label, not_measured, question_sets, right
from ftlib.report.numbers import (
    NONE,
    Mark,
    count,
    dig,
    flat,
    mean,
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
LOSSES = {"chat": "held-out chats", "raw": "held-out raw text", "general": "general answers"}
EXAMPLES = 10  # of leaks


def sections(samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> list[Section]:
    """All sections but the answers, in the order of the page."""
    return [
        verdict(results),
        scorecard(results),
        learned.section(samples, results),
        forgotten(samples, results),
        leaked(results),
        measured(results),
    ]


def verdict(results: Mapping[str, Any]) -> Section:
    line = dig(results, "verdict", "line")
    checks = dig(results, "verdict", "checks") or []
    blocks: list[Any] = [Say(str(line or "No verdict: nothing was compared."), "verdict")]
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


def scorecard(results: Mapping[str, Any]) -> Section:
    sets, noise = question_sets(results), dig(results, "noise")
    if not sets:
        return Section("scorecard", "Scorecard", [Say("No question was asked.")])
    blocks = [
        Picture("scorecard", _forest_alt(results, sets)),
        Table([_score(results, name, found) for name, found in sets.items()], "Right answers by set"),
    ]
    blind = [
        f"{label(results, name)}: {_visible(found)}"
        for name, found in sets.items()
        if told(found.get("difference"), noise).kind == "open"
    ]
    if blind:
        blocks.append(Say("Not told apart, which is not the same as equal. The smallest difference that can be seen:"))
        blocks.append(Listing(blind))
    if noise:
        blocks.append(
            Say(
                "Noise: the base against itself at another batch size gives another text in "
                f"{percent(dig(noise, 'differ'))} of {count(dig(noise, 'n'))} answers; differences of up to "
                f"{_abs(dig(noise, 'within'))} points are no more than that.",
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
        "so": told(difference, dig(results, "noise")),
        "gained / lost": f"{count(dig(difference, 'gained'))} / {count(dig(difference, 'lost'))}",
        "p": _p(dig(difference, "p")),
        "smallest visible": f"{_abs(dig(difference, 'detectable'))}\xa0points",
    }


def _p(value: Any) -> str:
    found = number(value)
    return "< 0.001" if found is not None and found < 0.001 else text(found, ".2g")


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


# --- what was forgotten, what leaks -----------------------------------------------------------------------------------


def forgotten(samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> Section:
    kinds = learned.kind_rows(results, "general")
    blocks: list[Any] = []
    if kinds:
        said = "; ".join(f"{row['kind']}, difference {row['difference, points']} points" for row in kinds)
        blocks.append(Picture("general", f"General answers by kind, with 95 % intervals: {said}"))
        blocks.append(Table([{k: v for k, v in row.items() if k != "set"} for row in kinds], "General answers by kind"))
    if rows := _habits(results):
        blocks.append(Table(rows, "Habits of the training that show in other answers"))
    blocks += _leak_examples(samples, results)
    losses = [_loss(name, found) for name, found in (dig(results, "loss") or {}).items() if _has_loss(found)]
    if losses:
        blocks.append(Table(losses, "Losses, in nats a token"))
    blocks += _dial(results)
    parts = {
        "general answers": dig(results, "sets", "general"),
        "leaks of the training's style": dig(results, "leaks"),
        "endless answers": dig(results, "endless"),
        "repetitive answers": dig(results, "repetitive"),
        "losses": losses,
        "the adapter's scale": dig(results, "dial"),
    }
    return Section("forgotten", "What it forgot", [*blocks, *not_measured(parts)])


def _habits(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = {
        "leaks": "the training's style in general answers",
        "endless": "endless: cut at the token limit",
        "repetitive": "repetitive",
    }
    return [
        {"answers that are": title, **{arm: rate(dig(results, name, arm)) for arm in ("base", "tuned")}}
        for name, title in names.items()
        if dig(results, name)
    ]


def _leak_examples(samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> Iterator[Any]:
    examples = dig(results, "leaks", "examples") or []
    if not examples:
        return
    questions = {row.get("id"): row.get("question", "") for row in samples}
    rows = [
        {"stands in the answer": pattern[:120], "answer to": str(questions.get(id) or id)[:120], "sample": id[:80]}
        for pattern, id in ((str(example[0]), str(example[1])) for example in examples[:EXAMPLES] if len(example) == 2)
    ]
    yield Fold(f"Leaks: {len(rows):,} of {len(examples):,} examples", [Table(rows)] if rows else [])


def _has_loss(found: Any) -> bool:
    return any(number(dig(found, arm, "loss")) is not None for arm in ("base", "tuned"))


def _loss(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    def both(key: str, form: str) -> str:
        return " → ".join(text(dig(found, arm, key), form) for arm in ("base", "tuned"))

    return {
        "text": LOSSES.get(name, name),
        "tokens": count(dig(found, "base", "tokens")),
        "loss, base → tuned": both("loss", ".3f"),
        "difference": mean(dig(found, "difference"), "+.3f"),
        "perplexity": both("perplexity", ",.2f"),
        "bits a byte": both("bits_per_byte", ".3f"),
    }


def _dial(results: Mapping[str, Any]) -> Iterator[Any]:
    stops = dig(results, "dial") or []
    if not stops:
        return
    knee = number(dig(results, "knee"))
    said = f"the knee lies at {knee:g}" if knee is not None else "there is no knee"
    yield Picture("dial", f"Learning against forgetting over the adapter's scale; {said}")
    rows = [
        {
            "scale": text(stop.get("scale"), "g")
            + (" (knee)" if knee is not None and stop.get("scale") == knee else ""),
            "learned": rate(stop.get("learning")),
            "general, tuned - base, points": shift(stop.get("forgetting")),
            **{f"{name} loss": text(_stop_loss(value), ".3f") for name, value in (stop.get("loss") or {}).items()},
        }
        for stop in stops
    ]
    yield Table(rows, "The adapter at other scales")
    if knee is not None:
        yield Say(f"Knee: scale {knee:g}. Above it more is forgotten for little more that is learned.")
    else:
        yield Say("No knee: no scale is plainly better than its neighbours.")


def _stop_loss(value: Any) -> Any:
    return dig(value, "loss") if isinstance(value, Mapping) else value


def leaked(results: Mapping[str, Any]) -> Section:
    canaries = dig(results, "canaries")
    if not canaries or not number(canaries.get("n")):
        return Section("leaked", "What it leaks", [Say("No canary was planted: nothing is known about leaks.")])
    said = (
        f"Of {count(canaries['n'])} planted canaries the base writes {count(canaries.get('base'))}, the tuned model "
        f"{count(canaries.get('tuned'))}."
    )
    found = [{"canary": str(dig(one, "id")), "kind": str(dig(one, "kind"))} for one in canaries.get("found") or []]
    blocks: list[Any] = [Say(said)]
    if found:
        blocks.append(Table(found[:100], "Written by the tuned model"))
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
    judge = dig(results, "judge")
    if not judge:
        blocks.append(
            Say("No judge: keywords, overlap and checks graded the answers. Read some before you believe a number.")
        )
    speed = dig(results, "tokens_per_second") or {}
    facts = {
        "judge": judge,
        "retrieval": dig(results, "retrieval"),
        "decoding": dig(results, "decoding"),
        "machine": dig(results, "machine"),
        "versions": dig(results, "versions"),
        "settings": dig(results, "settings"),
        "seconds": dig(results, "seconds"),
        "tokens a second": {arm: text(value, ",.0f") for arm, value in speed.items()},
    }
    rows = [{"what": name, "value": value[:300]} for name, value in flat({k: v for k, v in facts.items() if v})]
    if rows:
        blocks.append(Fold("Decoding, settings, machine, versions", [Table(rows)]))
    if notes := dig(results, "notes"):
        blocks.append(Listing([str(note) for note in notes]))
    parts = {"speed": speed, "noise": dig(results, "noise"), "agreement of the judge": judge and judge.get("agreement")}
    return Section("measured", "How it was measured", [*blocks, *not_measured(parts)])
