"""What a sweep tries: its settings, the points of the first round, and those around the best of a round."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftlib.errors import SetupError
from ftlib.mixture import MixtureConfig
from ftlib.models import DEMO
from ftlib.settings import TrainConfig, changed

# The recipe's ranks, scales and batches; learning rates by factors of two around its best, 2e-5.
RECIPE_GRID = {
    "lora_r": (512, 768),
    "alpha_ratio": (1, 1.5, 2),
    "batch": (1, 2, 4),
    "learning_rate": (5e-6, 1e-5, 2e-5, 4e-5, 8e-5),
}
DEMO_GRID = {
    "lora_r": (32, 64),
    "alpha_ratio": (1, 2),
    "batch": (2, 4, 8),
    "learning_rate": (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3),
}
NOT_SWEPT = {
    "model": "losses of two models do not compare",
    "chat_template": "losses under two templates do not compare",
    "max_length": "the mixture is built for one",
    "num_train_epochs": "trials of one round must see equally many tokens; set `epochs`",
    "max_steps": "trials of one round must see equally many tokens; set `epochs`",
    "seed": "its best value would be luck",
    "lora_alpha": "it means little without the rank; sweep alpha_ratio, which is lora_alpha / lora_r",
    "per_device_train_batch_size": "sweep batch, the rows in a step",
    "gradient_accumulation_steps": "sweep batch, the rows in a step",
}
GRID_LIMIT = 10_000


@dataclass(frozen=True)
class SweepConfig:
    """What is tried, and for how long."""

    name: str = "sweep"
    """The folder under sweeps/."""
    coarse: Mapping[str, Sequence[Any]] = field(default_factory=lambda: dict(RECIPE_GRID))
    """Setting -> the values of the first round: fields of TrainConfig, alpha_ratio (lora_alpha / lora_r) and batch
    (rows, or packed sequences, in an optimizer step)."""
    trials: Sequence[int] = (18, 8)
    """Trials of each round, at most: the first samples the grid (or is the grid, where that is smaller), each further
    one lies around the best of the round before."""
    epochs: Sequence[float] = (0.25, 1.0)
    """Share of an epoch that each trial of a round sees; the learning rate's schedule ends there."""
    seed: int = 0
    """Of the samples; the training's seed is TrainConfig's."""
    timeout: float = 0.0
    """Seconds after which a trial counts as failed; 0 for none."""
    heartbeat: float = 30.0
    """Seconds between a runtime's signs of life."""
    stale_after: float = 180.0
    """Seconds without one after which another runtime takes its trial over."""


def default_sweep(config: TrainConfig) -> SweepConfig:
    """The recipe's grid; for the embedded model, one of its size: lower ranks and higher rates.

    Full training has no rank, and a tenth of the rates (settings.TrainConfig.method).
    """
    grid: dict[str, Sequence[Any]] = dict(DEMO_GRID if config.model == DEMO else RECIPE_GRID)
    if config.method == "full":
        grid = {"batch": grid["batch"], "learning_rate": tuple(rate / 10 for rate in grid["learning_rate"])}
    if config.model != DEMO:
        return SweepConfig(coarse=grid)
    return SweepConfig(coarse=grid, trials=(8, 4), epochs=(0.5, 1.0))


def check_sweep(config: SweepConfig, train_config: TrainConfig, mixture_config: MixtureConfig) -> None:
    """Raises SetupError for a setting that can't work, before anything is run."""
    if not config.coarse:
        raise SetupError("coarse is empty: name a setting and the values to try.")
    if not config.trials or len(config.trials) != len(config.epochs):
        raise SetupError(f"trials={config.trials} and epochs={config.epochs}: give one number of each for each round.")
    if min(config.trials) < 1 or min(config.epochs) <= 0:
        raise SetupError(f"trials={config.trials}, epochs={config.epochs}: all must be above 0.")
    if config.heartbeat <= 0 or config.stale_after <= 2 * config.heartbeat or config.timeout < 0:
        raise SetupError(
            f"heartbeat={config.heartbeat}, stale_after={config.stale_after}, timeout={config.timeout}: stale_after "
            "must be more than twice the heartbeat, and the timeout not negative."
        )
    for name, values in config.coarse.items():
        if name in ("lora_r", "alpha_ratio") and train_config.method == "full" and "method" not in config.coarse:
            raise SetupError(f"{name} can't be swept: method='full' has none. Take `default_sweep(config)`'s grid.")
        if name in NOT_SWEPT:
            raise SetupError(f"{name} can't be swept: {NOT_SWEPT[name]}.")
        if isinstance(values, str) or not values or len(set(values)) < len(values):
            raise SetupError(f"coarse[{name!r}] is {values!r}: give a tuple of different values.")
        for value in values:
            _check_value(name, value, train_config)
    if math.prod(len(values) for values in config.coarse.values()) > GRID_LIMIT:
        raise SetupError(f"The grid of `coarse` has more than {GRID_LIMIT:,} points: name fewer values.")
    for point in grid(config.coarse):
        trial_settings(point, train_config)
    if train_config.max_steps:
        raise SetupError(f"max_steps={train_config.max_steps}: trials must see equally many tokens; set it to 0.")
    if mixture_config.all_data:
        raise SetupError("all_data=True leaves no validation loss to rank by: set it to False for the sweep.")


def _check_value(name: str, value: Any, base: TrainConfig) -> None:
    if name not in ("alpha_ratio", "batch"):
        changed(base, {name: value})
    expected: Any = {"alpha_ratio": 1.0, "batch": 1}.get(name, getattr(base, name, None))
    kinds = (int, float) if isinstance(expected, float) else type(expected)
    if not isinstance(value, kinds) or isinstance(value, bool) != isinstance(expected, bool):
        raise SetupError(f"coarse[{name!r}] holds {value!r}: a value like {expected!r} was expected.")
    if name in ("alpha_ratio", "batch", "lora_r", "learning_rate") and not 0 < value < math.inf:
        raise SetupError(f"coarse[{name!r}] holds {value!r}: it must be above 0.")


def trial_settings(point: Mapping[str, Any], base: TrainConfig) -> dict[str, Any]:
    """The fields of TrainConfig that a point of the grid stands for.

    A batch is split into batches of at most `base.per_device_train_batch_size` rows.

    Raises:
        SetupError: alpha_ratio times the rank is not whole.
    """
    settings = {name: value for name, value in point.items() if name not in ("alpha_ratio", "batch")}
    if "alpha_ratio" in point:
        rank = point.get("lora_r", base.lora_r)
        alpha = point["alpha_ratio"] * rank
        if alpha != int(alpha):
            raise SetupError(f"alpha_ratio={point['alpha_ratio']} of lora_r={rank} is {alpha}: it must be whole.")
        settings["lora_alpha"] = int(alpha)
    if "batch" in point:
        rows = min(point["batch"], base.per_device_train_batch_size)
        settings["per_device_train_batch_size"] = next(n for n in range(rows, 0, -1) if point["batch"] % n == 0)
        settings["gradient_accumulation_steps"] = point["batch"] // settings["per_device_train_batch_size"]
    return settings


# --- points -----------------------------------------------------------------------------------------------------------


def grid(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]


def coarse_points(coarse: Mapping[str, Sequence[Any]], count: int, seed: int) -> list[dict[str, Any]]:
    """The grid, or `count` points of it in which each value of a setting, then each pair of values, comes as often."""
    points = grid(coarse)
    if len(points) <= count:
        return points
    random.Random(seed).shuffle(points)
    uses: Counter[Any] = Counter()
    chosen: list[dict[str, Any]] = []
    for _ in range(count):
        least = {name: min(uses[name, value] for value in values) for name, values in coarse.items()}
        costs = [
            (
                sum(uses[name, value] - least[name] for name, value in point.items()),
                sum(uses[pair] for pair in itertools.combinations(point.items(), 2)),
            )
            for point in points
        ]
        point = points.pop(costs.index(min(costs)))
        uses.update([*point.items(), *itertools.combinations(point.items(), 2)])
        chosen.append(point)
    return chosen


def fine_points(
    best: Mapping[str, Any], rates: Sequence[float], coarse: Mapping[str, Sequence[Any]], count: int, seed: int
) -> list[dict[str, Any]]:
    """The best point first, then its surroundings: the learning rate alone, one other setting, two, and so on.

    Args:
        rates: the learning rates tried so far. The new ones lie half-way to the neighbours of the best, in logarithms,
            and as far beyond where the best is the lowest or highest.
        coarse: for all other settings the next values of the grid are taken.
    """
    choices = {name: [best[name], *_next(best[name], values)] for name, values in coarse.items()}
    if "learning_rate" in choices:
        choices["learning_rate"] = [best["learning_rate"], *_half_steps(best["learning_rate"], rates)]
    around = grid(choices)
    random.Random(seed).shuffle(around)

    def distance(point: dict[str, Any]) -> tuple[int, bool]:
        moved = {name for name in point if point[name] != best[name]}
        return len(moved), moved != {"learning_rate"}

    return sorted(around, key=distance)[:count]


def _next(value: Any, values: Sequence[Any]) -> list[Any]:
    numbers = all(isinstance(v, (int, float)) for v in values)
    ordered = sorted(values) if numbers else list(values)
    place = ordered.index(value)
    return ordered[max(0, place - 1) : place] + ordered[place + 1 : place + 2]


def _half_steps(best: float, rates: Sequence[float]) -> list[float]:
    below, above = [r for r in rates if r < best], [r for r in rates if r > best]
    down = math.sqrt(best / max(below)) if below else 0.0
    up = math.sqrt(min(above) / best) if above else 0.0
    steps = [best / (down or up), best * (up or down)] if down or up else []
    return [float(f"{rate:.3g}") for rate in steps]
