"""The adapter's scale from 0 to 1: learning against forgetting as one curve, and where it bends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftlib.evaluation.grading import is_graded, is_right
from ftlib.evaluation.summary import document_of, rate
from ftlib.statistics import clustered_mean

Row = Mapping[str, Any]

PLAIN = 0.1  # of the curve's height and width: what a knee must stand out by


def stop(scale: float, learned: Sequence[Row], general: Sequence[Row]) -> dict[str, Any]:
    """A point of the curve.

    Args:
        learned, general: rows with base, and the answer at this scale as `at`.

    Returns:
        scale; learning, the rate of right answers; forgetting, the difference of general ones to the base's.
    """
    learned = [row for row in learned if is_graded(row["at"])]
    changes = [float(is_right(row, row["at"])) - float(is_right(row, row["base"])) for row in general]
    forgetting = clustered_mean(changes, [document_of(row) for row in general])
    return {"scale": scale, "learning": rate([is_right(row, row["at"]) for row in learned]), "forgetting": forgetting}


def knee(stops: Sequence[Mapping[str, Any]]) -> float | None:
    """The scale at which most is learned for what is forgotten, None where none stands out.

    Learning and forgetting are taken from 0 to 1 between scale 0 and the last one; the knee is where learning is ahead
    of forgetting most (Satopää et al. 2011, "Finding a Kneedle in a Haystack", for a curve of few points).
    """
    stops = sorted(stops, key=lambda one: one["scale"])
    learned = [one["learning"]["rate"] for one in stops]
    lost = [-one["forgetting"]["mean"] for one in stops]
    if len(stops) < 3 or learned[-1] <= learned[0] or lost[-1] <= lost[0]:
        return None
    ahead = [
        (y - learned[0]) / (learned[-1] - learned[0]) - (x - lost[0]) / (lost[-1] - lost[0])
        for x, y in zip(lost, learned, strict=True)
    ]
    best = max(range(len(stops)), key=ahead.__getitem__)
    return stops[best]["scale"] if ahead[best] > PLAIN else None
