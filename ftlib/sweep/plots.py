"""Figures of a sweep: which settings lead to which loss. Each function returns a matplotlib Figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftlib.errors import SetupError
from ftlib.plots import BASE, GREY, TUNED

MEASURED = ("rank", "number", "round", "epochs", "chat_loss", "raw_loss", "forgetting", "tokens", "seconds", "state")
LABELS = {
    "lora_r": "rank",
    "alpha_ratio": "alpha / rank",
    "learning_rate": "learning rate",
    "chat_loss": "chat loss",
    "raw_loss": "raw loss",
}
# Told apart by eye and in grey; the first is the colour of the tuned model elsewhere.
COLOURS = (TUNED, "#d97706", "#0f766e", "#9333ea", "#be123c")
STYLES = ("o-", "s--", "^:", "D-.")


def parallel_coordinates(rows: Sequence[Mapping[str, Any]], round: int | None = None) -> Any:
    """One line for each trial of a round, through its settings to its chat loss; the best is drawn thick.

    Args:
        rows: of `ranking`.
        round: its number; None for the one that is ranked first.

    Raises:
        SetupError: the round has no finished trial.
    """
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    done = _ranked(rows, rows[0]["round"] if round is None and rows else round)
    names = [name for name in done[0] if name not in MEASURED]
    scales = {name: _scale([row[name] for row in done], name) for name in names}
    losses = [row["chat_loss"] for row in done]
    low, high = min(losses), max(losses)

    def depth(loss: float) -> float:  # 0 for the best, 1 for the worst
        return (loss - low) / (high - low) if high > low else 0.0

    def order(row: Mapping[str, Any]) -> float:
        return (row["rank"] - 1) / max(1, len(done) - 1)

    figure = Figure(figsize=(max(5.0, 1.6 * (len(names) + 1)), 3.6), dpi=110, layout="constrained")
    axes = figure.subplots()
    tone = LinearSegmentedColormap.from_list("loss", [TUNED, GREY])
    for row in reversed(done):
        # Curved, and a little apart by rank where they share a value, so that each line can be followed.
        stops = [scales[name][row[name]] + 0.06 * (order(row) - 0.5) for name in names] + [depth(row["chat_loss"])]
        xs = [place + n / 20 for place in range(len(stops) - 1) for n in range(20)] + [len(stops) - 1]
        ys = [_eased(stops, x) for x in xs]
        first = row["rank"] == 1
        axes.plot(xs, ys, color=tone(order(row)), linewidth=3 if first else 1.3, zorder=3 if first else 2)
    for place, name in enumerate(names):
        axes.axvline(place, color=BASE, linewidth=0.8, zorder=1)
        for value, height in scales[name].items():
            _label(axes, place, height, _number(value) if isinstance(value, float) else str(value))
    axes.axvline(len(names), color=BASE, linewidth=0.8, zorder=1)
    for loss in sorted({low, high}):
        _label(axes, len(names), depth(loss), f"{loss:.3f}")
    axes.set_xticks(range(len(names) + 1), [LABELS.get(name, name) for name in [*names, "chat_loss"]])
    axes.tick_params(axis="x", length=0, pad=8)
    axes.set_xlim(-0.15, len(names) + 0.35)
    axes.set_ylim(1.06, -0.06)  # the best on top
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    title = f"Round {done[0]['round']}, {_epochs(done)}: {len(done)} trials, the best on top at the right"
    axes.set_title(title, loc="left", fontsize=11)
    return figure


def learning_rate_curve(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Chat loss, raw loss and forgetting by learning rate: a line for each rank and alpha, a column for each round.

    Where several trials of a line have the same rate (their batch differs), it goes through the lowest chat loss and
    the others are dots. Each panel has its own axis, since rounds of unlike length do not compare. What was not
    measured has no panel.

    Args:
        rows: of `ranking`.

    Raises:
        SetupError: no trial has finished, or the learning rate was not swept.
    """
    from matplotlib.figure import Figure

    columns = sorted({row["round"] for row in rows if row["rank"]})
    if not columns:
        raise SetupError("No trial has finished: there is nothing to draw yet.")
    if "learning_rate" not in rows[0]:
        raise SetupError("The learning rate was not swept: draw parallel_coordinates instead.")
    panels = [
        (name, label)
        for name, label in (("chat_loss", "chat loss"), ("raw_loss", "raw loss"), ("forgetting", "forgetting"))
        if any(row[name] is not None for row in rows)
    ]
    by = [name for name in ("lora_r", "alpha_ratio") if name in rows[0]]
    groups = sorted({tuple(row[name] for name in by) for row in rows if row["rank"]})
    heights = [3.0] + [1.2] * (len(panels) - 1)
    figure = Figure(figsize=(2.0 + 3.6 * len(columns), 1.1 + sum(heights)), dpi=110, layout="constrained")
    grid = figure.subplots(len(panels), len(columns), sharex="col", squeeze=False, height_ratios=heights)
    for column, round in enumerate(columns):
        done = _ranked(rows, round)
        for (name, label), axes in zip(panels, grid[:, column], strict=True):
            _curves(axes, done, name, by, groups)
            if column == 0:
                axes.set_ylabel(f"{label}\n(nats a token)")
        grid[0, column].set_title(f"Round {round}, {_epochs(done)}", loc="left", fontsize=11)
        _rate_axis(grid[-1, column], [row["learning_rate"] for row in done])
    lines, names = grid[0, 0].get_legend_handles_labels()
    if by:
        figure.legend(lines, names, loc="outside lower center", ncols=min(3, len(names)), frameon=False, fontsize=9)
    return figure


def _curves(axes: Any, done: Sequence[Mapping[str, Any]], name: str, by: list[str], groups: list[Any]) -> None:
    small = name != "chat_loss"
    firsts, seconds = (sorted({group[place] for group in groups if len(group) > place}) for place in (0, 1))
    for group in groups:
        own = [row for row in done if tuple(row[key] for key in by) == group and row[name] is not None]
        lowest: dict[float, Mapping[str, Any]] = {}
        for row in own:  # in the order of their ranks
            lowest.setdefault(row["learning_rate"], row)
        line = [lowest[rate] for rate in sorted(lowest)]
        colour = COLOURS[firsts.index(group[0]) % len(COLOURS)] if group else TUNED
        style = STYLES[seconds.index(group[1]) % len(STYLES)] if len(group) > 1 else STYLES[0]
        label = ", ".join(f"{LABELS[key]} {value:g}" for key, value in zip(by, group, strict=True))
        axes.plot(
            [row["learning_rate"] for row in line],
            [row[name] for row in line],
            style,
            color=colour,
            linewidth=1 if small else 2,
            markersize=3 if small else 6,
            label=label,
        )
        others = [row for row in own if row not in line]
        axes.plot(
            [row["learning_rate"] for row in others],
            [row[name] for row in others],
            style[0],
            color=colour,
            markersize=2 if small else 4,
            alpha=0.45,
            markeredgewidth=0,
        )
    if name == "forgetting":
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
    axes.set_xscale("log")
    axes.grid(axis="y", color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _rate_axis(axes: Any, rates: Sequence[float]) -> None:
    ticks = sorted(set(rates))
    axes.set_xticks(ticks, [_number(rate) for rate in ticks], fontsize=8, minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("learning rate")


def _number(value: float) -> str:
    return f"{value:.3g}".replace("e-0", "e-")


def _epochs(done: Sequence[Mapping[str, Any]]) -> str:
    return f"{done[0]['epochs']:g} epoch{'' if done[0]['epochs'] == 1 else 's'}"


def _ranked(rows: Sequence[Mapping[str, Any]], round: int | None) -> list[Mapping[str, Any]]:
    done = sorted((row for row in rows if row["round"] == round and row["rank"]), key=lambda row: row["rank"])
    if not done:
        raise SetupError(f"No trial of round {round} has finished: there is nothing to draw yet.")
    return done


def _scale(values: Sequence[Any], name: str) -> dict[Any, float]:
    """The height of each value on its axis, 0 to 1: the learning rate by its logarithm, others in even steps."""
    different = sorted(set(values), key=lambda v: (isinstance(v, str), v))
    if len(different) == 1:
        return {different[0]: 0.5}
    if name == "learning_rate":
        low, high = math.log(different[0]), math.log(different[-1])
        return {value: 1 - (math.log(value) - low) / (high - low) for value in different}
    return {value: 1 - place / (len(different) - 1) for place, value in enumerate(different)}


def _eased(stops: Sequence[float], x: float) -> float:
    place = min(int(x), len(stops) - 2)
    share = x - place
    share = share * share * (3 - 2 * share)
    return stops[place] + (stops[place + 1] - stops[place]) * share


def _label(axes: Any, x: float, y: float, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    axes.text(x + 0.04, y, text.replace("$", r"\$"), fontsize=8, va="center", zorder=4, bbox=box)
