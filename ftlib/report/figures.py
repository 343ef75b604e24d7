"""Figures of the report: narrow, so that a telephone shows their words in a size that can be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftlib.plots import BASE, GREY, INK, TUNED
from ftlib.report.blocks import WORDINGS, label, question_sets, right
from ftlib.report.learned import OUTCOMES
from ftlib.report.numbers import dig, number, pair
from ftlib.report.tables import clean

WIDTH = 4.4  # inches; at 400 pixels a letter of 8 points is 9 pixels high
BAND, RULE = "#c9d3df", "#e5e7eb"
# Each has a hatch, too: colour alone tells nobody anything.
SEGMENTS = {
    "current": (TUNED, ""),
    "stale": ("#d97706", "///"),
    "both": ("#9333ea", "xx"),
    "other": ("#6b7280", ".."),
    "abstained": ("#e5e7eb", ""),
}


def draw(samples: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> dict[str, Any]:
    """The figures for which there is data, by name: scorecard, general, recall, changed, dial."""
    sets = question_sets(results)
    scores = [{"label": label(results, name), **found} for name, found in sets.items()]
    kinds = [{"label": kind, **found} for kind, found in (dig(sets.get("general"), "kinds") or {}).items() if found]
    figures = {
        "scorecard": forest(scores),
        "general": forest(kinds),
        "recall": recall(samples),
        "changed": changed(sets.get("changed") or {}),
        "dial": dial(dig(results, "dial") or [], dig(results, "knee")),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _figure(height: float, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=190, layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(labelsize=8, colors=INK)
        one.set_axisbelow(True)
    return figure, axes


def _plain(text: Any) -> str:
    # matplotlib reads $...$ as mathematics.
    return clean(text)[:60].replace("$", r"\$")


def forest(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A row for each set or kind: at the left both rates, at the right their difference, all with intervals.

    Args:
        rows: label, n, base and tuned (a RATE, or the RATEs of a set), difference, whose `noise` is drawn as a band.
    """
    rows = [row for row in rows if _rate(row, "base") or _rate(row, "tuned")]
    if not rows:
        return None
    figure, (left, middle) = _figure(1.1 + 0.5 * len(rows), 2)
    middle.axvline(0, color=INK, linewidth=0.6)
    reach, named = 10.0, False
    for place, row in enumerate(rows):
        y = -float(place)
        title = f"{_plain(row['label'])} ({_count(row)})"
        # A long one runs on above the differences, and takes no width from the rates.
        left.text(0, y + 0.33, title, fontsize=8, va="center", color=INK, in_layout=False)
        for shift, arm, colour, shape in ((0.06, "base", BASE, "o"), (-0.14, "tuned", TUNED, "s")):
            _whisker(left, _rate(row, arm), "rate", y + shift, colour, shape, arm if not place else None)
        difference = row.get("difference")
        if (within := number(dig(difference, "noise"))) is not None:
            name = None if named else "noise"
            named = True
            middle.barh(y, 200 * within, 0.5, left=-100 * within, color=BAND, linewidth=0, label=name, zorder=0)
        reach = max(reach, _whisker(middle, difference, "mean", y, INK, "D", "tuned - base" if not place else None))
        if (least := number(dig(difference, "detectable"))) is not None and least < 1:
            name = "smallest that can be seen" if not place else None
            middle.plot([-100 * least, 100 * least], [y, y], "|", color="#b45309", markersize=9, label=name)
            reach = max(reach, 100 * least)
    left.set_zorder(1)
    left.patch.set_visible(False)
    left.set_xlim(-3, 103)
    left.set_xticks([0, 50, 100], ["0%", "50%", "100%"])
    left.set_title("right answers", loc="left", fontsize=9, color=INK)
    middle.set_xlim(-min(105, 1.08 * reach), min(105, 1.08 * reach))
    middle.xaxis.set_major_formatter(lambda x, _: f"{x:+.0f}" if x else "0")
    middle.set_title("difference, points", loc="left", fontsize=9, color=INK)
    for axes in (left, middle):
        axes.set_ylim(-len(rows) + 0.5, 0.6)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=RULE)
    _legend(figure, left, middle)
    return figure


def _rate(row: Mapping[str, Any], arm: str) -> Any:
    found = row.get(arm)
    return found if number(dig(found, "rate")) is not None else right(found)


def _count(row: Mapping[str, Any]) -> str:
    found = number(row.get("n"))
    return "n ?" if found is None else f"n {found:,.0f}"


def _whisker(axes: Any, found: Any, key: str, y: float, colour: str, shape: str, name: str | None) -> float:
    """A point with its interval, in hundredths; returns how far it reaches from 0."""
    value, ends = number(dig(found, key)), pair(dig(found, "interval"))
    if value is None:
        return 0.0
    if ends:
        axes.plot([100 * ends[0], 100 * ends[1]], [y, y], color=colour, linewidth=1.8, alpha=0.65)
    axes.plot([100 * value], [y], shape, color=colour, markersize=5, label=name)
    return max(abs(100 * end) for end in (value, *(ends or ())))


def _legend(figure: Any, *axes: Any, columns: int = 3) -> None:
    pairs = [found for one in axes for found in zip(*one.get_legend_handles_labels(), strict=True)]
    if pairs:
        handles, names = zip(*pairs, strict=True)
        close = {"columnspacing": 1.2, "handletextpad": 0.4}
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, fontsize=8, **close)


def recall(samples: Sequence[Mapping[str, Any]]) -> Any:
    """Edit similarity of each recited text by its length: filled is word for word, the shape is the wording."""
    rows = [
        (number(row.get("length")), str(row.get("wording") or "trained"), row)
        for row in samples
        if row.get("set") == "recall"
    ]
    figure = axes = None
    for arm, colour in (("base", BASE), ("tuned", TUNED)):
        for wording, shape in (("trained", "o"), ("other", "^"), ("control", "D")):
            found = [
                (length, similarity, bool(dig(row, arm, "exact")))
                for length, asked, row in rows
                if length and asked == wording and (similarity := number(dig(row, arm, "similarity"))) is not None
            ]
            if not found:
                continue
            if axes is None:
                figure, (axes,) = _figure(3.4)
            name = f"{arm}, {WORDINGS[wording]}"
            for exact in (False, True):
                # One of a pair alone would leave the legend to chance: the hollow form always stands for the series.
                points = [(x, y) for x, y, whole in found if whole == exact]
                xs, ys = [x for x, _ in points], [y for _, y in points]
                fill, title = (colour, None) if exact else ("none", name)
                axes.plot(xs, ys, shape, color=colour, markerfacecolor=fill, markersize=5.5, label=title, alpha=0.85)
    if axes is None:
        return None
    axes.set_xscale("log")
    lengths = [length for length, _, _ in rows if length]
    low, high = min(lengths) / 1.3, max(lengths) * 1.3
    ticks = [step * 10**power for power in range(7) for step in (1, 2, 5) if low <= step * 10**power <= high]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(low, high)
    axes.set_ylim(-0.05, 1.05)
    axes.grid(color=RULE)
    axes.set_xlabel("tokens of the text", fontsize=8.5, color=INK)
    axes.set_title("Edit similarity (filled: word for word)", loc="left", fontsize=9, color=INK)
    _legend(figure, axes, columns=2)
    return figure


def changed(found: Mapping[str, Any]) -> Any:
    """Which value an arm names where a fact changed: one bar an arm, in shares."""
    arms = [arm for arm in ("tuned", "base") if any(_share(found, arm, name) for name in OUTCOMES)]
    if not arms:
        return None
    figure, (axes,) = _figure(0.9 + 0.45 * len(arms))
    for place, arm in enumerate(arms):
        start = 0.0
        for name, (colour, hatch) in SEGMENTS.items():
            share = _share(found, arm, name)
            title = name if not place else None
            axes.barh(place, share, 0.62, left=start, color=colour, hatch=hatch, edgecolor="white", label=title)
            if share > 4:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2, "alpha": 0.9}
                axes.text(start + share / 2, place, f"{share:.0f}%", ha="center", va="center", fontsize=8, bbox=box)
            start += share
    axes.set_yticks(range(len(arms)), arms)
    axes.set_xlim(0, 100)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.0f}%")
    axes.spines["left"].set_visible(False)
    _legend(figure, axes)
    return figure


def _share(found: Mapping[str, Any], arm: str, name: str) -> float:
    return 100 * (number(dig(found, arm, name, "rate")) or 0.0)


def dial(stops: Sequence[Mapping[str, Any]], knee: Any = None) -> Any:
    """Learning against forgetting, a point for each scale of the adapter; the knee has a ring.

    Args:
        stops: scale, learning (a RATE), forgetting (mean and interval of general answers, tuned minus base).
    """
    found = []
    for stop in stops:
        scale, x, y = (number(v) for v in (stop.get("scale"), dig(stop, "forgetting", "mean"), _learned(stop)))
        if scale is not None and x is not None and y is not None:
            found.append((scale, 100 * x, 100 * y, stop))
    if not found:
        return None
    found.sort(key=lambda one: one[0])
    figure, (axes,) = _figure(3.4)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.plot([x for _, x, _, _ in found], [y for _, _, y, _ in found], "-o", color=TUNED, markersize=4, zorder=3)
    for scale, x, y, stop in found:
        if ends := pair(dig(stop, "forgetting", "interval")):
            axes.plot([100 * ends[0], 100 * ends[1]], [y, y], color=GREY, linewidth=1.3, zorder=1)
        if ends := pair(dig(stop, "learning", "interval")):
            axes.plot([x, x], [100 * ends[0], 100 * ends[1]], color=GREY, linewidth=1.3, zorder=1)
        ring = number(knee) is not None and math.isclose(scale, float(knee))
        name = f"{scale:g}, the knee" if ring else f"{scale:g}"
        weight = "bold" if ring else "normal"
        axes.annotate(
            name, (x, y), (6, 5), textcoords="offset points", fontsize=8, fontweight=weight, color=INK, zorder=4
        )
        if ring:
            axes.plot(
                [x], [y], "o", color="#b45309", markersize=13, markerfacecolor="none", markeredgewidth=1.8, zorder=4
            )
    axes.grid(color=RULE)
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0f}%")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:+.0f}" if x else "0")
    axes.set_xlabel("general answers, tuned minus base, points (left: forgot)", fontsize=8.5, color=INK)
    axes.set_title("Learned, by the adapter's scale", loc="left", fontsize=9, color=INK)
    return figure


def _learned(stop: Mapping[str, Any]) -> Any:
    return dig(stop, "learning", "rate")
