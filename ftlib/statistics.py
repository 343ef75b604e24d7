"""How far a comparison of base and tuned can be believed: intervals, tests, noise, and what a set can resolve.

Questions on one document rise and fall together, so documents are drawn, not rows (Miller 2024, "Adding error bars to
evals", arXiv:2411.00640). `clusters` names the document of each row; a row without one gets a key of its own.
Intervals are of 95 %. Rates and their differences (always tuned minus base) are shares: 0.03 is three points.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from ftlib.errors import SetupError

Numbers = Sequence[float]
Keys = Sequence[Hashable]
Pair = tuple[float, float]

Z, Z_POWER = 1.959964, 0.841621  # normal quantiles: of a two-sided 95 %, and of a power of 80 %
RATE, DIFFERENCE, ANY = (0.0, 1.0), (-1.0, 1.0), (-math.inf, math.inf)  # what a mean can be
FEWEST = 5  # documents; the bootstrap of fewer covers too little, whatever is done to it


def wilson(hits: float, count: float) -> Pair:
    """95 % Wilson score interval of a rate (E. B. Wilson, 1927)."""
    if not count:
        return RATE
    p = hits / count
    middle = p + Z * Z / (2 * count)
    half = Z * math.sqrt(p * (1 - p) / count + Z * Z / (4 * count * count))
    return (max(0.0, (middle - half) / (1 + Z * Z / count)), min(1.0, (middle + half) / (1 + Z * Z / count)))


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p of the exact binomial test that as many answers became right as wrong (McNemar 1947; no mid-p).

    `gained`, `lost`: questions that only the tuned model, only the base model has right; taken to be independent.
    """
    count = gained + lost
    ways = accumulate(range(min(gained, lost)), lambda ways, k: ways * (count - k) // (k + 1), initial=1)
    return min(1.0, 2 * sum(ways) / 2**count)


def cluster_bootstrap(
    numerators: Numbers, clusters: Keys, denominators: Numbers | None = None, rounds: int = 2000, seed: int = 0
) -> Pair:
    """95 % interval of sum(numerators) / sum(denominators), by drawing whole documents with replacement.

    Percentiles (Efron & Tibshirani 1993, ch. 13; Davison & Hinkley 1997, ch. 3.8), further out where documents are few
    ("expanded", Hesterberg 2015): of 8, plain ones held the truth in 85 to 88 of 100 simulated sets, these in 91 to 94.
    Fewer than FEWEST that weigh anything show nothing: (-inf, inf).

    Args:
        numerators: one number a row: its difference of scores, or of summed losses in nats.
        denominators: a row's weight, such as its tokens; None: all the same.
        seed: of the draws; rows in another order give the same interval.
    """
    import numpy as np

    sums: dict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for top, cluster, weight in zip(numerators, clusters, denominators or [1.0] * len(numerators), strict=True):
        sums[cluster][0] += top
        sums[cluster][1] += weight
    documents = sorted(pair for pair in sums.values() if pair[1] > 0)
    count = len(documents)
    if count < FEWEST:
        return ANY
    tops, weights = np.array(documents).T.copy()
    draw, step, ratios = np.random.default_rng(seed), max(1, 1_000_000 // count), []
    for start in range(0, rounds, step):
        picked = draw.integers(0, count, (min(step, rounds - start), count))
        ratios.append(tops[picked].sum(axis=1) / weights[picked].sum(axis=1))
    tail = math.erfc(math.sqrt(count / (count - 1) / 2) * _student(Z, count - 1)) / 2
    low, high = np.quantile(np.concatenate(ratios), [tail, 1 - tail])
    return float(low), float(high)


def _student(z: float, freedom: int) -> float:
    """Student's t quantile of z's level (Abramowitz & Stegun 26.7.5; 0.3 % off at 4 degrees of freedom)."""
    second, third = 5 * z**5 + 16 * z**3 + 3 * z, 3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z
    return z + (z**3 + z) / (4 * freedom) + second / (96 * freedom**2) + third / (384 * freedom**3)


def design_effect(values: Numbers, clusters: Keys) -> float:
    """How many times a mean's variance grows since rows share documents: 1 + (rows a document - 1) * correlation.

    Kish 1965; the intra-document correlation by analysis of variance (Donner & Koval 1980), none below 0; rows a
    document are sum of squares / sum. 1 where nothing varies, the number of rows where there is one document.
    """
    groups: dict[Hashable, list[float]] = defaultdict(list)
    for value, cluster in zip(values, clusters, strict=True):
        groups[cluster].append(value)
    count, documents = len(values), len(groups)
    if documents < 2 or documents == count:
        return float(count) if documents == 1 else 1.0
    mean, met = sum(values) / count, sum(len(group) ** 2 for group in groups.values()) / count
    means = {cluster: sum(group) / len(group) for cluster, group in groups.items()}
    inside = sum((v - means[cluster]) ** 2 for cluster, group in groups.items() for v in group) / (count - documents)
    between = sum(len(group) * (means[cluster] - mean) ** 2 for cluster, group in groups.items()) / (documents - 1)
    total = between + ((count - met) / (documents - 1) - 1) * inside
    return 1 + (met - 1) * max(0.0, (between - inside) / total) if total > 0 else 1.0


def clustered_mean(
    numerators: Numbers, clusters: Keys, denominators: Numbers | None = None, bounds: Pair = DIFFERENCE, seed: int = 0
) -> dict[str, Any]:
    """A mean with an interval to be believed where few answers differ or none, too.

    Answers that are all alike give a bootstrap without width. An interval of rates therefore reaches at least as far as
    the score interval without any difference: z^2 / (n + z^2) (Wilson; Tango 1998 for pairs), n = rows / design effect.

    Args:
        numerators, clusters, denominators, seed: as in `cluster_bootstrap`.
        bounds: RATE, DIFFERENCE (of rates), or ANY for losses, whose interval is the bootstrap's alone.

    Returns:
        mean (0 without rows), interval (the bounds where documents are fewer than FEWEST), n, documents, design_effect.
    """
    weights = denominators or [1.0] * len(numerators)
    mean = sum(numerators) / sum(weights) if sum(weights) else 0.0
    effect = design_effect([top - mean * weight for top, weight in zip(numerators, weights, strict=True)], clusters)
    low, high = cluster_bootstrap(numerators, clusters, denominators, seed=seed)
    if bounds != ANY:
        least = wilson(0, len(numerators) / effect)[1]
        low, high = max(bounds[0], min(low, mean - least)), min(bounds[1], max(high, mean + least))
    found: dict[str, Any] = {"mean": mean, "interval": (low, high), "n": len(numerators)}
    return found | {"documents": len(set(clusters)), "design_effect": effect}


def rate_by_seeds(scores: Sequence[Numbers], clusters: Keys, bounds: Pair = RATE) -> dict[str, Any]:
    """Rate of answers that were sampled several times, over questions and seeds.

    A question's seeds are averaged before documents are drawn (Miller 2024): the interval holds both the questions' and
    the sampling's variance, and twenty seeds of one question are not twenty questions.

    Args:
        scores: of each question, a number a seed; differences where `bounds` is DIFFERENCE.

    Returns:
        `clustered_mean` of the questions; sampling: the standard error by sampling alone, which more seeds would lessen
        (None where no question has two; questions with one are taken to be as the others).
    """
    means = [sum(seeds) / len(seeds) for seeds in scores]
    several = [(seeds, sum(seeds) / len(seeds)) for seeds in scores if len(seeds) > 1]
    spread = sum(sum((one - mean) ** 2 for one in seeds) / (len(seeds) - 1) / len(seeds) for seeds, mean in several)
    sampling = math.sqrt(spread / len(several) / len(scores)) if several else None
    return clustered_mean(means, clusters, bounds=bounds) | {"sampling": sampling}


def noise_floor(first: Sequence[tuple[str, float]], second: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """What two runs of one arm differ by, where nothing but the batch size or the machine changed.

    Args:
        first, second: text and score (0 to 1) of each answer, in the same order.

    Returns:
        n; answers_differ (share of texts); of the score differences, second minus first: gained and lost (numbers above
        and below 0), mean, largest (without its sign), square (mean square; of right and wrong the share that differs).
    """
    changes = [float(after[1]) - before[1] for before, after in zip(first, second, strict=True)]
    count = max(1, len(changes))
    found: dict[str, Any] = {"n": len(changes), "mean": sum(changes) / count}
    found["answers_differ"] = sum(one[0] != other[0] for one, other in zip(first, second, strict=True)) / count
    found |= {"gained": sum(change > 0 for change in changes), "lost": sum(change < 0 for change in changes)}
    return found | {"largest": max(map(abs, changes), default=0.0), "square": sum(c * c for c in changes) / count}


def within_noise(noise: Mapping[str, Any], count: int) -> float:
    """The difference of a set of `count` questions, as a share without sign, up to which `noise_floor` explains it.

    At 95 %, changes being independent. The mean square is taken at the upper end of its Wilson interval: a few answers
    without any change don't show that there is no noise.
    """
    return min(1.0, Z * math.sqrt(wilson(noise["square"] * noise["n"], noise["n"])[1] / count)) if count else 1.0


def detectable(count: int, discordance: float, documents: int | None = None, effect: float = 1.0) -> float:
    """The smallest difference of two rates that a set finds in 80 % of the cases, by a two-sided test at 5 %.

    Connor 1987 for McNemar's test: sqrt(n) * d = z_a * sqrt(p) + z_b * sqrt(p - d^2), p being the discordance, with
    Student's quantiles in place of z (Bloom 1995): so the exact test reaches its 80 % where questions are few, too.

    Args:
        count: paired questions, of so many `documents`; None: each of its own. n is count / effect.
        discordance: share of them that one arm has right and the other wrong.
        effect: `design_effect` of tuned minus base.

    Returns:
        A share, 1 for fewer than FEWEST documents. 60 questions of which 18 % are discordant resolve 15 points.
    """
    documents = count if documents is None else documents
    if documents < FEWEST:
        return 1.0
    size, level, power = count / effect, _student(Z, documents - 1), _student(Z_POWER, documents - 1)
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        differ = max(discordance, middle)  # a greater difference takes more discordance than was seen
        enough = level * math.sqrt(differ) + power * math.sqrt(differ - middle**2) <= math.sqrt(size) * middle
        low, high = (low, middle) if enough else (middle, high)
    return high


def judged(found: Mapping[str, Any], budget: float, loss: bool = False) -> dict[str, Any]:
    """Whether a difference keeps to a budget, such as forgetting three points at most: PASS, FAIL or UNDECIDED.

    A test of non-inferiority (CONSORT, Piaggio et al. 2012): PASS if the whole interval keeps to the budget, FAIL if
    all of it is beyond, else UNDECIDED. "No significant difference" is no PASS: a set too small would always have it.

    Args:
        found: of `clustered_mean`.
        budget: the worst difference that is all right: -0.03 is three points lost, 0.1 demands ten gained. Of rates it
            is a share, or SetupError is raised.
        loss: a difference of losses in nats, where less is better: 0.05 is as much more, at most.

    Returns:
        verdict; further: how many questions more, roughly, in as many more documents would decide it in 80 % of the
        cases if the difference seen is the true one (None: decided, or not to be said); line: all that to be shown.
    """
    if not loss and abs(budget) > 1:
        raise SetupError(f"A budget of rates is a share: {budget / 100:g} for {budget:g} points.")
    mean, (low, high), further = found["mean"], found["interval"], None
    passed, failed = (high <= budget, low > budget) if loss else (low >= budget, high < budget)
    verdict = "PASS" if passed else "FAIL" if failed else "UNDECIDED"
    side, gap = (high - mean if mean < budget else mean - low), abs(mean - budget)
    if verdict == "UNDECIDED" and gap and found["documents"] >= FEWEST:
        more = found["n"] * ((side * (1 + Z_POWER / Z) / gap) ** 2 - 1)
        unit = 10 ** max(0, int(math.log10(more)) - 1)
        further = math.ceil(more / unit) * unit
    scale, digits, name = (1, 3, "nats") if loss else (100, 1, "points")
    shown = [f"{scale * number:+.{digits}f}" for number in (mean, low, high, budget)]
    line = f"{verdict}: {shown[0]} {name} (95 %: {shown[1]} to {shown[2]}), budget {shown[3]}"
    if verdict == "UNDECIDED":
        line += f"; about {further:,} further questions would decide it" if further else "; this set can't decide it"
    return {"verdict": verdict, "further": further, "line": line}
