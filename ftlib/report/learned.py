"""What the model learned: against retrieval, by length of the text, of changed facts, of what does not exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftlib.report.blocks import WORDINGS, Picture, Say, Section, Table, label, not_measured, question_sets, right
from ftlib.report.numbers import count, dig, mean, number, pair, percent, rate, shift, text, told

BASELINES = {
    "base": "base",
    "base+prompt": "base, told to be short",
    "base+page": "base, the page in the prompt",
    "base+bm25": "base with BM25",
    "tuned": "tuned",
    "tuned+bm25": "tuned with BM25",
}
OUTCOMES = ("current", "stale", "both", "other", "abstained")


def section(samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> Section:
    sets, recall = question_sets(results), dig(results, "recall", "wordings") or {}
    blocks = [*_retrieval(results), *_recall(samples, results), *_changed(sets.get("changed"), results)]
    if unknown := sets.get("unknown"):
        base, tuned = (percent(dig(unknown, arm, "correct", "rate")) for arm in ("base", "tuned"))
        said = f"Of {count(unknown.get('n'))} things that don't exist the base admits it in {base}, the tuned model in"
        blocks.append(Say(f"{said} {tuned}."))
    if rows := [row for name in sets if name != "general" for row in kind_rows(results, name)]:
        blocks.append(Table(rows, "By kind"))
    blocks += _sampled(results)
    parts = {
        "retrieval": any(found.get("baselines") for found in sets.values()),
        "recall": recall,
        "changed facts": sets.get("changed"),
        "unknown things": sets.get("unknown"),
    }
    return Section("learned", "What it learned", [*blocks, *not_measured(parts)])


def kind_rows(results: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The kinds of one set, as rows of a table."""
    return [
        {
            "set": label(results, name),
            "kind": kind,
            "n": count(dig(found, "n")),
            **{
                arm: rate(right(found[arm]) if _whole(dig(found, arm)) else dig(found, arm))
                for arm in ("base", "tuned")
            },
            "difference, points": shift(dig(found, "difference")),
            "so": told(dig(found, "difference")),
        }
        for kind, found in (dig(results, "sets", name, "kinds") or {}).items()
    ]


def _whole(arm: Any) -> bool:
    return isinstance(arm, Mapping) and "rate" not in arm


# --- retrieval --------------------------------------------------------------------------------------------------------


def _retrieval(results: Mapping[str, Any]) -> Iterator[Any]:
    sets = {name: found for name, found in question_sets(results).items() if found.get("baselines")}
    if not sets:
        return
    yield Table(
        [
            {
                "set": label(results, name),
                "n": count(dig(found, "baselines", "n")),
                **{title: rate(dig(found, "baselines", key)) for key, title in BASELINES.items()},
            }
            for name, found in sets.items()
        ],
        "Right answers beside retrieval, the same questions in each column",
    )
    if found := dig(results, "retrieval", "recall_at"):
        hits = ", ".join(f"among the first {rank} in {percent(share)}" for rank, share in found.items())
        yield Say(f"The right document is, for BM25, {hits}.", "small")


# --- recall, changed facts, sampled answers ---------------------------------------------------------------------------


def _recall(samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> Iterator[Any]:
    rows = []
    for wording, found in _in_order(dig(results, "recall", "wordings") or {}).items():
        for arm in ("base", "tuned"):
            scores = dig(found, arm) or {}
            rows.append(
                {
                    "texts": WORDINGS.get(wording, wording),
                    "n": count(dig(found, "n")),
                    "model": arm,
                    "word for word": rate(scores.get("exact")),
                    "edit similarity": text(scores.get("similarity"), ".2f"),
                    "right from the start": percent(scores.get("prefix")),
                    "tokens right": percent(scores.get("token_accuracy")),
                    "tuned - base, similarity": mean(dig(found, "difference", "similarity"), "+.2f")
                    if arm == "tuned"
                    else "",
                }
            )
    if rows:
        yield Table(rows, "Pages and files, recited")
    if lengths := recall_lengths(samples):
        yield Picture("recall", f"Edit similarity of recited texts by their length. {lengths}")
        yield Say(lengths)


def recall_lengths(samples: Sequence[Mapping[str, Any]]) -> str:
    """The longest trained text that was recited word for word in each wording, beside the longest asked for; or ""."""
    longest: dict[str, tuple[float, float]] = {}
    for row in samples:
        length, wording = number(row.get("length")), str(row.get("wording") or "trained")
        if row.get("set") == "recall" and wording != "control" and length is not None:
            exact, asked = longest.get(wording, (0.0, 0.0))
            hit = length if dig(row, "tuned", "exact") else 0.0
            longest[wording] = (max(exact, hit), max(asked, length))
    parts = [
        f"{WORDINGS.get(wording, wording)}, {f'{exact:,.0f} tokens' if exact else 'none'} (of up to {asked:,.0f})"
        for wording, (exact, asked) in _in_order(longest).items()
    ]
    return f"Longest text that the tuned model recites word for word: {'; '.join(parts)}." if parts else ""


def _in_order(wordings: Mapping[str, Any]) -> dict[str, Any]:
    names = [*(name for name in WORDINGS if name in wordings), *(name for name in wordings if name not in WORDINGS)]
    return {name: wordings[name] for name in names}


def _changed(found: Mapping[str, Any] | None, results: Mapping[str, Any]) -> Iterator[Any]:
    arms = {arm: found.get(arm) for arm in ("base", "tuned") if isinstance(found.get(arm), Mapping)} if found else {}
    if not found or not arms:
        return
    said = "; ".join(
        f"{arm}: " + ", ".join(f"{name} {percent(dig(rates, name, 'rate'))}" for name in OUTCOMES if dig(rates, name))
        for arm, rates in arms.items()
    )
    yield Picture("changed", f"Facts that changed, {said}")
    rows = [
        {"changed facts": arm, **{name: rate(dig(rates, name)) for name in OUTCOMES}} for arm, rates in arms.items()
    ]
    yield Table(rows, "Which value is named where it changed")
    yield Say(
        f"Current values, tuned minus base: {shift(found.get('difference'))} points, n {count(found.get('n'))}. "
        "Stale: the value before the change."
    )
    if before := question_sets(results).get("changed_before"):
        base, tuned = (rate(dig(before, arm, "correct")) for arm in ("base", "tuned"))
        yield Say(
            f"Asked as of the day before the change, when the old value was right: base {base}, tuned {tuned}, "
            f"n {count(before.get('n'))}."
        )


def _sampled(results: Mapping[str, Any]) -> Iterator[Any]:
    if found := dig(results, "sampled"):
        rows = [
            {
                "sampled answers": arm,
                "greedy": percent(dig(found, "greedy", arm)),
                f"mean of {count(dig(found, 'seeds'))} seeds": percent(dig(found, arm, "mean"))
                + (
                    f" ({percent(ends[0])} to {percent(ends[1])})"
                    if (ends := pair(dig(found, arm, "interval")))
                    else ""
                ),
            }
            for arm in ("base", "tuned")
        ]
        yield Table(rows, "Right answers, sampled")
