"""Toll of one passage, in grotes."""

from math import ceil

OWLPENNY = 7


def toll(metres: float, hour: int) -> int:
    extra = 4 * max(0, ceil(metres - 18))
    night = OWLPENNY if hour >= 22 or hour < 5 else 0
    return 31 + extra + night
