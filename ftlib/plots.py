"""Figures of the notebooks and the report. Each function returns a matplotlib Figure and shows nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BASE, TUNED, GREY, INK = "#8a8f98", "#2563c9", "#c9ccd1", "#33373d"
HELD_OUT = {"chat": "held-out chat", "raw": "held-out raw", "general": "general answers"}


def _figure(width: float, height: float) -> tuple[Any, Any]:
    # The object interface, not pyplot: no global state, no backend, nothing shown twice in a notebook.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def bars(counts: Mapping[str, int], title: str, unit: str) -> Any:
    """Horizontal bars with their numbers, the longest on top."""
    names = sorted(counts, key=lambda name: counts[name])
    figure, axes = _figure(7, 0.6 + 0.32 * max(1, len(names)))
    drawn = axes.barh([_plain(name) for name in names], [counts[name] for name in names], color=BASE)
    axes.bar_label(drawn, labels=[f"{counts[name]:,}" for name in names], padding=4)
    axes.margins(x=0.12)
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(unit)
    return figure


def funnel(steps: Sequence[Mapping[str, Any]]) -> Any:
    """What each step of a selection left: bars from the first step down, with what the step removed.

    Args:
        steps: dicts of step, kept and removed, in order.
    """
    figure, axes = _figure(7, 0.7 + 0.36 * max(1, len(steps)))
    places, most = range(len(steps))[::-1], max([step["kept"] + step["removed"] for step in steps], default=0)
    axes.barh(places, [step["kept"] for step in steps], color=BASE)
    axes.barh(places, [step["removed"] for step in steps], left=[step["kept"] for step in steps], color=GREY)
    for place, step in zip(places, steps, strict=True):
        gone = f", {step['removed']:,} removed" if step["removed"] else ""
        axes.text(
            step["kept"] + step["removed"] + most * 0.015, place, f"{step['kept']:,}{gone}", va="center", fontsize=9
        )
    axes.set_yticks(places, [_plain(step["step"]) for step in steps])
    axes.set_xlim(0, max(1, most) * 1.3)
    axes.set_title("Pairs that are left after each step", loc="left", fontsize=11)
    axes.set_xlabel("pairs")
    return figure


def lengths(values: Mapping[str, Sequence[int]], title: str, unit: str) -> Any:
    """The spread of lengths by name on a logarithmic axis: each value a tick, the median a dot."""
    from statistics import median

    names = list(values)[::-1]
    figure, axes = _figure(7, 0.8 + 0.4 * max(1, len(names)))
    for place, name in enumerate(names):
        axes.plot(values[name], [place] * len(values[name]), "|", color=BASE, markersize=11, alpha=0.5)
        middle = median(values[name])
        axes.plot(middle, place, "o", color=TUNED, markersize=6)
        axes.text(middle, place + 0.28, f"{middle:,.0f}", ha="center", fontsize=8, color=TUNED)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.set_yticks(range(len(names)), [f"{_plain(name)} ({len(values[name]):,})" for name in names])
    axes.set_ylim(-0.5, len(names) - 0.3)
    axes.set_title(f"{_plain(title)} (dot: the median)", loc="left", fontsize=11)
    axes.set_xlabel(unit)
    return figure


def timeline(days: Sequence[str], title: str) -> Any:
    """How many fell into each week (into each month where that makes more than 60 bars).

    Args:
        days: dates that begin as `2023-12-21`.
    """
    from datetime import date, timedelta

    dates = sorted(date.fromisoformat(day[:10]) for day in days)
    weekly = not dates or (dates[-1] - dates[0]).days <= 60 * 7
    starts = [day - timedelta(days=day.weekday()) if weekly else day.replace(day=1) for day in dates]
    figure, axes = _figure(7, 2.2)
    places = sorted(set(starts))
    axes.bar(places, [starts.count(place) for place in places], width=6 if weekly else 25, align="edge", color=BASE)
    axes.set_title(f"{_plain(title)}, by {'week' if weekly else 'month'}", loc="left", fontsize=11)
    axes.yaxis.get_major_locator().set_params(integer=True)
    figure.autofmt_xdate(rotation=0, ha="center")
    locator = axes.xaxis.get_major_locator()
    from matplotlib.dates import ConciseDateFormatter

    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return figure


def budget(tokens: Mapping[str, int]) -> Any:
    """The tokens by source, in one bar on a logarithmic axis, beside what the recipe is for: tens of millions."""
    total = max(1, sum(tokens.values()))
    figure, axes = _figure(7, 1.5)
    axes.axvspan(1e7, 1e8, color=TUNED, alpha=0.15, linewidth=0)
    axes.text(3.2e7, 0.62, "tens of millions", ha="center", fontsize=9, color=TUNED)
    axes.barh([0], [total], height=0.5, color=BASE)
    axes.text(total * 1.1, 0, f"{total:,} tokens", va="center", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(min(1e4, total / 3), 3e8)
    axes.set_ylim(-0.5, 0.9)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_title("What there is to train on, in tokens", loc="left", fontsize=11)
    return figure


def loss_curve(log: Sequence[Mapping[str, Any]], measured: Sequence[Mapping[str, Any]] = ()) -> Any:
    """Training loss by step with its running mean over a tenth of the steps, and the held-out losses beside it.

    Args:
        measured: step and validation (by group: loss) of each measurement.
    """
    figure, axes = _figure(7, 3.2)
    steps, losses = [entry["step"] for entry in log], [entry["loss"] for entry in log]
    width = max(1, len(losses) // 10)
    means = [
        sum(losses[max(0, i - width + 1) : i + 1]) / len(losses[max(0, i - width + 1) : i + 1])
        for i in range(len(losses))
    ]
    axes.plot(steps, losses, color=GREY, linewidth=1, label="each step")
    axes.plot(steps, means, color=TUNED, linewidth=2, label=f"mean of {width} steps")
    for (name, label), style in zip(HELD_OUT.items(), ("-", "--", ":"), strict=True):
        points = [(e["step"], e["validation"][name]["loss"]) for e in measured if name in e["validation"]]
        if points:
            axes.plot(
                *zip(*points, strict=True), style, color=INK, linewidth=1.2, marker="o", markersize=3, label=label
            )
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats a token)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9)
    return figure


def _plain(text: str) -> str:
    # matplotlib reads $...$ as mathematics.
    return text.replace("$", r"\$")
