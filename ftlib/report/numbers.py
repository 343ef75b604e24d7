"""The numbers of results as text. What is missing or no number becomes a dash, never an error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

NONE = "–"


class Mark(NamedTuple):
    """A word whose colour says no more than its sign does; kind is good, bad or open."""

    text: str
    kind: str


def dig(value: Any, *keys: str) -> Any:
    """The value under the keys, None where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def number(value: Any) -> float | None:
    """A finite number, or None."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if real else None


def finite(value: Any) -> Any:
    """Nested values with None for infinities and what is not a number: JSON has neither."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def pair(value: Any) -> tuple[float, float] | None:
    """An interval with two finite ends, or None."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return None
    low, high = number(value[0]), number(value[1])
    return None if low is None or high is None else (low, high)


def text(value: Any, form: str = ",.3g") -> str:
    found = number(value)
    return NONE if found is None else format(found, form)


def count(value: Any) -> str:
    return text(value, ",.0f")


def percent(value: Any) -> str:
    found = number(value)
    if found is None:
        return NONE
    return f"{found:.1%}".replace(".0%", "%") if 0 < found < 0.02 or 0.98 < found < 1 else f"{found:.0%}"


def points(value: Any) -> str:
    """A difference of shares in points, with its sign."""
    found = number(value)
    return NONE if found is None else f"{100 * found:+.1f}"


def _behind(interval: Any, shown: Callable[[float], str]) -> str:
    ends = pair(interval)
    return f" ({shown(ends[0])}\xa0to\xa0{shown(ends[1])})" if ends else ""


def rate(found: Any) -> str:
    """A RATE of the schema: 40% (29 to 53)."""
    return percent(dig(found, "rate")) + _behind(dig(found, "interval"), lambda end: f"{100 * end:.0f}")


def shift(found: Any) -> str:
    """A difference of rates in points: +12.0 (+1.0 to +23.0)."""
    return points(dig(found, "mean")) + _behind(dig(found, "interval"), points)


def mean(found: Any, form: str = ".2f") -> str:
    """A mean in its own unit, with its interval."""
    return text(dig(found, "mean"), form) + _behind(dig(found, "interval"), lambda end: format(end, form))


def told(difference: Any) -> Mark:
    """What a set's difference shows: its interval has to leave zero out, its mean the noise."""
    middle, ends = number(dig(difference, "mean")), pair(dig(difference, "interval"))
    if middle is None or ends is None:
        return Mark("? no interval", "open")
    if ends[0] <= 0 <= ends[1]:
        return Mark("= not told apart", "open")
    if abs(middle) <= (number(dig(difference, "noise")) or 0):
        return Mark("≈ within the noise", "open")
    return Mark("▲ better", "good") if middle > 0 else Mark("▼ worse", "bad")


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Nested settings as pairs of a dotted name and text."""
    if isinstance(value, Mapping):
        return [row for key, inner in value.items() for row in flat(inner, f"{name}.{key}" if name else str(key))]
    if isinstance(value, (list, tuple)):
        return [(name, ", ".join(map(str, value)))]
    if isinstance(value, float):
        return [(name, f"{value:,.4g}")]
    return [(name, NONE if value is None else str(value))]
