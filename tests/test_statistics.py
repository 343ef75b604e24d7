"""ftlib.statistics on published values, on exact enumerations, and by how often it is right in simulations."""

from __future__ import annotations

import math
import random
from itertools import combinations_with_replacement, product
from statistics import NormalDist

import numpy as np
import pytest

from ftlib import statistics
from ftlib.errors import SetupError
from ftlib.statistics import ANY, DIFFERENCE, RATE, cluster_bootstrap, clustered_mean, judged


def paired(draw, documents, rows, lost, gained, spread=0.0):
    """Tuned minus base of questions, and their documents. `lost` and `gained`: chances of a question.

    `spread`: standard deviation of a document's chance to gain, beta-distributed; 0: all documents are alike.
    """
    chance = np.full(documents, gained)
    if spread:
        size = gained * (1 - gained) / spread**2 - 1
        chance = draw.beta(gained * size, (1 - gained) * size, documents)
    up = draw.random((documents, rows)) < chance[:, None]
    down = ~up & (draw.random((documents, rows)) < lost / (1 - gained))
    return (up * 1.0 - down).ravel().tolist(), np.repeat(np.arange(documents), rows).tolist()


def share(found):
    found = list(found)
    return sum(found) / len(found)


def covers(interval, truth):
    return interval[0] <= truth <= interval[1]


# --- Wilson, McNemar --------------------------------------------------------------------------------------------------


def test_wilson_against_published_values():
    # R: binom::binom.wilson(8, 10) and (0, 10)
    assert statistics.wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert statistics.wilson(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)
    assert statistics.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 11])
def test_mcnemar_against_all_throws_of_a_coin(count):
    throws = [abs(2 * sum(throw) - count) for throw in product((0, 1), repeat=count)]
    for gained in range(count + 1):
        as_far = share(throw >= abs(2 * gained - count) for throw in throws)
        assert statistics.mcnemar(gained, count - gained) == pytest.approx(as_far, abs=1e-12)


def test_mcnemar_of_many():
    # Agresti, Categorical Data Analysis, approval of a prime minister: R's binom.test(86, 236) gives 3.7e-05.
    assert statistics.mcnemar(86, 150) == pytest.approx(3.716e-05, rel=1e-3)
    assert statistics.mcnemar(5000, 5000) == 1.0
    assert statistics.mcnemar(0, 5000) < 1e-300


# --- the bootstrap ----------------------------------------------------------------------------------------------------


def _interval(rows):
    return statistics.cluster_bootstrap([row["value"] for row in rows], [row["document"] for row in rows])


def test_bootstrap_covers_the_mean_and_widens_with_shared_documents():
    draw = random.Random(1)
    values = [draw.random() < 0.5 for _ in range(120)]
    alone = [{"value": v, "document": str(n)} for n, v in enumerate(values)]
    # The same values, but twelve rows of a document are all alike.
    shared = [{"value": values[n // 12], "document": str(n // 12)} for n in range(120)]
    low, high = _interval(alone)
    assert low < sum(values) / 120 < high
    wide = _interval(shared)
    assert wide[1] - wide[0] > 2 * (high - low)


TOPS = [3.0, -1.0, 0.5, 4.0, 2.0, -2.5, 1.0, 6.0]
WEIGHTS = [2.0, 1.0, 3.0, 1.5, 1.0, 4.0, 2.5, 1.0]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_bootstrap_against_all_draws_of_eight_documents(weights):
    """All ways to draw eight of eight, each as often as it comes; t of 7 degrees of freedom from a table."""
    tail = NormalDist().cdf(-math.sqrt(8 / 7) * 2.364624)
    bottoms = weights or [1.0] * 8
    ways = []
    for way in combinations_with_replacement(range(8), 8):
        often = math.factorial(8) / math.prod(math.factorial(way.count(n)) for n in set(way)) / 8**8
        ways.append((sum(TOPS[n] for n in way) / sum(bottoms[n] for n in way), often))
    ways.sort()
    sums = np.cumsum([often for _, often in ways])
    exact = [ways[int(np.searchsorted(sums, level))][0] for level in (tail, 1 - tail)]
    # Every document's rows come along: each is cut into two.
    rows = [(top / 4, n, weight / 4) for n, (top, weight) in enumerate(zip(TOPS, bottoms, strict=True))]
    rows += [(3 * top, n, 3 * weight) for top, n, weight in rows]
    tops, clusters, cut = (list(column) for column in zip(*rows, strict=True))
    if weights is None:  # each row counts one, a document two
        exact = [value / 2 for value in exact]
    assert cluster_bootstrap(tops, clusters, cut if weights else None, rounds=100_000) == pytest.approx(exact, abs=0.05)


def test_bootstrap_is_the_same_for_the_same_seed_and_in_any_order():
    values, clusters = paired(np.random.default_rng(0), 40, 3, 0.2, 0.3)
    weights = [1.0 + n % 5 for n in range(120)]
    found = cluster_bootstrap(values, clusters, weights)
    assert cluster_bootstrap(values, clusters, weights) == found
    assert cluster_bootstrap(values[::-1], [str(c) for c in clusters[::-1]], weights[::-1]) == found
    assert cluster_bootstrap(values, clusters, weights, seed=1) != found
    assert cluster_bootstrap(values, clusters) != found
    assert clustered_mean(values, clusters, weights, ANY, seed=1)["interval"] == cluster_bootstrap(
        values, clusters, weights, seed=1
    )


def test_documents_without_weight_and_many_documents():
    tops, weights = TOPS + [0.0] * 30, WEIGHTS + [0.0] * 30
    assert cluster_bootstrap(tops, range(38), weights) == cluster_bootstrap(TOPS, range(8), WEIGHTS)
    assert cluster_bootstrap(TOPS, range(8), [1.0] * 4 + [0.0] * 4) == ANY
    low, high = cluster_bootstrap(TOPS, range(8), rounds=1)
    assert low == high
    # More than one pass: a million draws at once.
    low, high = cluster_bootstrap([1.0, 0.0] * 1500, range(3000))
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.5 / 3000**0.5, 0.5 + 1.96 * 0.5 / 3000**0.5), abs=0.002)


@pytest.mark.parametrize("documents", [12, 40])
def test_interval_covers_the_truth_where_rows_of_a_document_are_alike(documents):
    draw, by_document, by_row = np.random.default_rng(2), [], []
    for _ in range(800):
        values, clusters = paired(draw, documents, 6, lost=0.15, gained=0.3, spread=0.2)
        by_document.append(covers(cluster_bootstrap(values, clusters, rounds=1000), 0.15))
        by_row.append(covers(cluster_bootstrap(values, range(len(values)), rounds=100), 0.15))
    assert 0.93 <= share(by_document) <= 0.97
    assert share(by_row) < 0.9  # what is wrong with drawing rows


def test_interval_of_a_token_weighted_loss_covers_the_truth():
    draw, found, unweighted = np.random.default_rng(3), [], []
    for _ in range(800):
        # Long texts gain more, so that a mean of the rows' own losses is another number.
        tokens = np.exp(draw.normal(5, 0.4, (30, 4)))
        change = draw.normal(0, 0.2, (30, 1)) + draw.normal(0, 0.2, (30, 4)) - 0.002 * tokens
        clusters = np.repeat(np.arange(30), 4).tolist()
        interval = cluster_bootstrap((tokens * change).ravel().tolist(), clusters, tokens.ravel().tolist(), 1000)
        truth = -0.002 * math.exp(5 + 1.5 * 0.4**2)  # E[tokens^2] / E[tokens]
        found.append(covers(interval, truth))
        unweighted.append(covers(cluster_bootstrap(change.ravel().tolist(), clusters, rounds=200), truth))
    assert 0.93 <= share(found) <= 0.97
    assert share(unweighted) < 0.8


# --- means that are believed ------------------------------------------------------------------------------------------


def test_mean_and_sign():
    values, clusters = paired(np.random.default_rng(4), 40, 3, lost=0.1, gained=0.5)
    found = clustered_mean(values, clusters)
    assert found["mean"] == pytest.approx(sum(values) / 120) and found["interval"][0] > 0
    assert (found["n"], found["documents"]) == (120, 40)
    turned = clustered_mean([-value for value in values], clusters)
    assert turned["mean"] == -found["mean"] and turned["interval"][1] < 0
    # Losses of two arms: sum of nll / sum of tokens, tuned minus base; a row without tokens counts nothing.
    base, tuned, tokens = [20.0, 30.0, 5.0] * 4, [10.0, 33.0, 5.0] * 4, [10.0, 30.0, 0.0] * 4
    found = clustered_mean([t - b for t, b in zip(tuned, base, strict=True)], list("abcdefabcdef"), tokens, ANY)
    assert found["mean"] == pytest.approx(43 / 40 - 50 / 40)


def test_null_effect_holds_zero():
    draw = np.random.default_rng(5)
    found = [clustered_mean(*paired(draw, 30, 3, 0.2, 0.2, 0.1))["interval"] for _ in range(500)]
    assert 0.93 <= share(covers(interval, 0) for interval in found) <= 0.98


def test_few_that_differ_are_no_proof_that_none_do():
    alike = clustered_mean([0.0] * 60, range(60))
    assert alike["interval"] == pytest.approx((-0.0602, 0.0602), abs=1e-4)  # z^2 / (60 + z^2)
    assert clustered_mean([0.0] * 60, range(60), bounds=RATE)["interval"] == pytest.approx((0.0, 0.0602), abs=1e-4)
    assert clustered_mean([0.0] * 60, range(60), bounds=ANY)["interval"] == (0.0, 0.0)
    assert clustered_mean([1.0] * 60, range(60))["interval"] == pytest.approx((0.9398, 1.0), abs=1e-4)
    draw, plain, wider = np.random.default_rng(6), [], []
    for _ in range(500):
        values, clusters = paired(draw, 60, 1, lost=0.02, gained=0.0)
        plain.append(covers(cluster_bootstrap(values, clusters, rounds=200), -0.02))
        wider.append(covers(clustered_mean(values, clusters)["interval"], -0.02))
    assert share(plain) < 0.8 and share(wider) >= 0.93
    # One document in ten gained, each of its thirty rows: they are worth ten rows. Wilson's end of 0 in 10 is 0.2775.
    one = [float(n < 30) for n in range(300)]
    assert clustered_mean(one, [n // 30 for n in range(300)])["interval"][0] == pytest.approx(0.1 - 0.2775, abs=1e-4)


@pytest.mark.parametrize(
    ("groups", "effect"),
    [
        # By hand: between 1/2, inside 1/6, correlation 1/2.
        ([[1, 1], [0, 1], [0, 0]], 1.5),
        # Between 5/12, inside 1/6, 11/6 rows a document, correlation 0.45; a row meets 7/3.
        ([[1, 1, 1], [0], [0, 1]], 1.6),
        ([[1, 1, 1], [0, 0, 0]], 3.0),  # a document is worth one row
        ([[0, 1], [0, 1]], 1.0),  # a negative correlation is taken for none
        ([[1, 1], [1, 1]], 1.0),
        ([[0], [1], [1]], 1.0),
        ([[0, 1, 1, 0]], 4.0),
        ([[1]], 1.0),
        ([], 1.0),
    ],
)
def test_design_effect_by_hand(groups, effect):
    rows = [(value, n) for n, group in enumerate(groups) for value in group]
    assert statistics.design_effect([v for v, _ in rows], [n for _, n in rows]) == pytest.approx(effect)


def test_design_effect_is_by_how_much_the_variance_grows():
    draw = np.random.default_rng(7)
    sets = [paired(draw, 40, 6, lost=0.15, gained=0.3, spread=0.2) for _ in range(400)]
    variance = np.var([np.mean(values) for values, _ in sets])
    naive = np.mean([np.var(values) / len(values) for values, _ in sets])
    assert np.mean([statistics.design_effect(*one) for one in sets]) == pytest.approx(variance / naive, rel=0.1)
    assert variance / naive > 1.5


@pytest.mark.parametrize(
    ("values", "clusters", "mean"),
    [([], [], 0.0), ([1.0], ["a"], 1.0), ([1.0, 0.0], ["a", "a"], 0.5), ([1.0, 0.0, 0.0, 1.0], list("abcd"), 0.5)],
)
def test_of_too_few_documents_nothing_is_known(values, clusters, mean):
    for bounds in (RATE, DIFFERENCE, ANY):
        found = clustered_mean(values, clusters, bounds=bounds)
        assert (found["mean"], found["interval"]) == (mean, bounds)
    for bounds in (DIFFERENCE, ANY):
        found = clustered_mean(values, clusters, bounds=bounds)
        assert judged(found, 0.0)["verdict"] == judged(found, -0.5, loss=True)["verdict"] == "UNDECIDED"
    assert statistics.rate_by_seeds([[v] for v in values], clusters)["interval"] == RATE
    assert statistics.detectable(len(values), 0.2, len(set(clusters))) == 1.0
    assert clustered_mean(values, clusters, [0.0] * len(values))["mean"] == 0.0


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_seeds_by_hand():
    # Question means 1, 1/2, 0; the sampling's variance of a question's mean 0, 1/4, 0.
    found = statistics.rate_by_seeds([[1, 1], [0, 1], [0, 0]], list("abc"))
    assert found["mean"] == 0.5 and found["sampling"] == pytest.approx(math.sqrt(0.25 / 3 / 3))
    # A question with more seeds than another counts no more.
    found = statistics.rate_by_seeds([[1, 1, 1, 1], [0]], list("ab"))
    assert found["mean"] == 0.5 and found["sampling"] == 0.0
    assert statistics.rate_by_seeds([[1], [0]], list("ab"))["sampling"] is None
    assert statistics.rate_by_seeds([[-1, -1]] * 9, range(9), DIFFERENCE)["interval"][0] == -1.0


def test_seeds_cover_the_truth_and_are_no_questions():
    draw, found, errors, flat, moved = np.random.default_rng(8), [], [], [], []
    for _ in range(500):
        document = draw.beta(2, 2, (30, 1, 1))
        question = np.clip(document + draw.normal(0, 0.1, (30, 2, 1)), 0, 1)
        scores = (draw.random((30, 2, 4)) < question).astype(float)
        clusters = np.repeat(np.arange(30), 2).tolist()
        one = statistics.rate_by_seeds(scores.reshape(60, 4).tolist(), clusters)
        found.append(covers(one["interval"], 0.5))
        errors.append(one["sampling"])
        moved.append(one["mean"] - question.mean())
        flat.append(covers(cluster_bootstrap(scores.ravel().tolist(), range(240), rounds=100), 0.5))
    assert 0.93 <= share(found) <= 0.98
    assert share(flat) < 0.88
    assert np.mean(errors) == pytest.approx(np.std(moved), rel=0.1)


# --- noise ------------------------------------------------------------------------------------------------------------


def test_noise_by_hand():
    first = [("a", True), ("b", False), ("c", True), ("d", True)]
    second = [("a", True), ("x", 0.5), ("y", True), ("z", False)]
    assert statistics.noise_floor(first, second) == {
        "n": 4,
        "mean": -0.125,
        "answers_differ": 0.75,
        "gained": 1,
        "lost": 1,
        "largest": 1.0,
        "square": (1 + 0.25) / 4,
    }
    none = statistics.noise_floor([], [])
    assert (none["n"], none["answers_differ"], none["largest"]) == (0, 0.0, 0.0)
    assert statistics.within_noise(none, 1) == statistics.within_noise(none, 0) == 1.0
    # A hundred answers without a change: no more than 3.7 % of them flip, which moves a hundred by 3.8 points.
    still = statistics.noise_floor([("a", True)] * 100, [("a", True)] * 100)
    assert statistics.within_noise(still, 100) == pytest.approx(1.96 * math.sqrt(0.03699 / 100), abs=1e-4)
    assert statistics.within_noise(still, 400) == pytest.approx(statistics.within_noise(still, 100) / 2)
    with pytest.raises(ValueError):
        statistics.noise_floor(first, second[:3])


@pytest.mark.parametrize("flips", [0.02, 0.2])
def test_noise_alone_is_within_noise_and_more_is_not(flips):
    draw, alone, more = np.random.default_rng(9), [], []
    for _ in range(600):
        right = draw.random(200) < 0.5
        first, second, base, tuned = (right ^ (draw.random(200) < flips / 2) for _ in range(4))
        noise = statistics.noise_floor([("", r) for r in first], [("", r) for r in second])
        limit = statistics.within_noise(noise, 200)
        alone.append(abs(tuned.mean() - base.mean()) <= limit)
        more.append(abs(tuned.mean() - base.mean() + 2 * 1.96 * math.sqrt(flips / 200)) > limit)
    assert 0.95 <= share(alone) <= 0.995
    assert share(more) > 0.75


# --- what a set can resolve -------------------------------------------------------------------------------------------


def test_detectable_against_the_formula_and_known_figures():
    assert statistics.detectable(60, 0.18) == pytest.approx(0.15, abs=0.005)
    # Connor's formula by hand, for many questions, where Student's quantiles are the normal ones.
    count = ((1.959964 * math.sqrt(0.2) + 0.841621 * math.sqrt(0.2 - 0.02**2)) / 0.02) ** 2
    assert statistics.detectable(round(count), 0.2) == pytest.approx(0.02, rel=2e-3)
    assert statistics.detectable(1200, 0.2, effect=4.0) == pytest.approx(statistics.detectable(300, 0.2), rel=0.01)
    # Fewer documents: wider t. 6 of them: 2.571 and 0.920 (0.9195) against 1.960 and 0.842.
    assert statistics.detectable(6000, 0.2, 6) / statistics.detectable(6000, 0.2) == pytest.approx(
        3.4905 / 2.8016, rel=0.01
    )
    assert statistics.detectable(5, 0.0) <= 1.0


@pytest.mark.parametrize(("count", "discordance"), [(30, 0.3), (60, 0.0), (60, 0.18), (60, 0.3), (150, 0.2)])
def test_detectable_is_found_by_the_exact_test_in_80_percent(count, discordance):
    difference = statistics.detectable(count, discordance)
    gain, lose = ((max(discordance, difference) + sign * difference) / 2 for sign in (1, -1))
    power = 0.0
    for gained, lost in product(range(count + 1), repeat=2):
        if gained + lost <= count and statistics.mcnemar(gained, lost) < 0.05:
            ways = math.comb(count, gained) * math.comb(count - gained, lost)
            power += ways * gain**gained * lose**lost * max(0.0, 1 - gain - lose) ** (count - gained - lost)
    assert 0.76 <= power <= 0.83


def test_detectable_in_shared_documents():
    draw = np.random.default_rng(10)
    effect = share(statistics.design_effect(*paired(draw, 40, 6, 0.1, 0.2, 0.2)) for _ in range(200))
    difference, naive = statistics.detectable(240, 0.3, 40, effect), statistics.detectable(240, 0.3)

    def power(truth):
        sets = (paired(draw, 40, 6, (0.3 - truth) / 2, (0.3 + truth) / 2, 0.2) for _ in range(800))
        return share(cluster_bootstrap(values, clusters)[0] > 0 for values, clusters in sets)

    assert 0.75 <= power(difference) <= 0.88
    assert power(naive) < 0.68


# --- verdicts ---------------------------------------------------------------------------------------------------------


def found(mean, low, high, n=100, documents=100):
    return {"mean": mean, "interval": (low, high), "n": n, "documents": documents}


@pytest.mark.parametrize(
    ("mean", "low", "high", "budget", "loss", "verdict"),
    [
        (0.0, -0.02, 0.02, -0.03, False, "PASS"),
        (-0.02, -0.025, -0.015, -0.03, False, "PASS"),  # worse beyond doubt, and within the budget all the same
        (0.0, -0.04, 0.04, -0.03, False, "UNDECIDED"),  # "no significant difference"
        (-0.05, -0.08, -0.02, -0.03, False, "UNDECIDED"),
        (-0.06, -0.08, -0.04, -0.03, False, "FAIL"),
        (0.3, 0.2, 0.4, 0.1, False, "PASS"),  # a gain that is demanded
        (0.15, 0.05, 0.25, 0.1, False, "UNDECIDED"),
        (0.0, 0.0, 0.0, 0.0, False, "PASS"),
        (0.01, -0.01, 0.03, 0.05, True, "PASS"),
        (0.04, 0.02, 0.06, 0.05, True, "UNDECIDED"),
        (0.08, 0.06, 0.10, 0.05, True, "FAIL"),
        (-0.5, -0.6, -0.4, -0.2, True, "PASS"),
        (-0.1, -0.15, -0.05, -0.2, True, "FAIL"),
        (0.05, 0.05, 0.05, 0.05, True, "PASS"),
    ],
)
def test_verdicts(mean, low, high, budget, loss, verdict):
    one = judged(found(mean, low, high), budget, loss)
    assert one["verdict"] == verdict and one["line"].startswith(f"{verdict}: ")
    assert (one["further"] is not None) == (verdict == "UNDECIDED")


def test_the_line_of_a_verdict():
    one = judged(found(0.0, -0.04, 0.04), -0.03)
    # 100 * ((0.04 * 2.8016 / 1.96 / 0.03)^2 - 1) = 263.2
    assert one["further"] == 270
    assert one["line"] == (
        "UNDECIDED: +0.0 points (95 %: -4.0 to +4.0), budget -3.0; about 270 further questions would decide it"
    )
    one = judged(found(0.08, 0.04, 0.16), 0.05, loss=True)
    assert one["further"] == 270  # the lower end is what stands in the way of FAIL
    assert one["line"].startswith("UNDECIDED: +0.080 nats (95 %: +0.040 to +0.160), budget +0.050;")
    assert judged(found(-0.03, -0.05, -0.01), -0.03)["further"] is None  # on the budget itself
    one = judged(clustered_mean([], []), -0.03)
    assert one["line"] == "UNDECIDED: +0.0 points (95 %: -100.0 to +100.0), budget -3.0; this set can't decide it"
    with pytest.raises(SetupError, match="-0.03 for -3 points"):
        judged(found(0.0, -0.02, 0.02), -3)
    assert judged(found(0.0, -0.02, 0.02), 3, loss=True)["verdict"] == "PASS"


def test_a_set_too_small_never_passes():
    assert judged(clustered_mean([0.0] * 60, range(60)), -0.03)["verdict"] == "UNDECIDED"
    assert judged(clustered_mean([0.0] * 150, range(150)), -0.03)["verdict"] == "PASS"


def test_how_often_a_verdict_is_wrong_and_what_further_questions_bring():
    draw = np.random.default_rng(11)

    def verdicts(documents, lost, gained, budget, times):
        sets = (paired(draw, documents, 2, lost, gained, 0.05) for _ in range(times))
        return [judged(clustered_mean(*one), budget)["verdict"] for one in sets]

    on_the_budget = verdicts(60, 0.13, 0.1, -0.03, times=500)
    assert share(one == "PASS" for one in on_the_budget) <= 0.04
    assert share(one == "FAIL" for one in on_the_budget) <= 0.04
    values, clusters = [0.0] * 200 + [1.0] * 20 + [-1.0] * 20, [n % 120 for n in range(240)]
    one = judged(clustered_mean(values, clusters), -0.05)
    assert one["verdict"] == "UNDECIDED"
    after = verdicts((240 + one["further"]) // 2, 1 / 12, 1 / 12, -0.05, times=300)
    assert 0.7 <= share(verdict == "PASS" for verdict in after) <= 0.9
