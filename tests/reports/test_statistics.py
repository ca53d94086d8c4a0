"""Intervals against known values, and the error rates of the tests against simulated seeds."""

import numpy as np
import pytest
from scipy import stats

from reports.statistics import (
    ALPHA,
    Sample,
    claim_p_values,
    equivalence,
    holm,
    mcnemar,
    mean_interval,
    required_runs,
    summarize,
    wilson_interval,
)

MARGIN = 1.5
TRIALS = 40_000


def test_summaries_are_the_sample_mean_and_std() -> None:
    assert summarize([1.0, 2.0, 4.0]) == Sample(pytest.approx(7 / 3), pytest.approx(1.5275252), 3)
    assert summarize([5.0]) == Sample(5.0, None, 1)
    for values in ([], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="at least one value"):
            summarize(values)


def test_t_interval_is_that_of_the_one_sample_test() -> None:
    values = [61.9, 62.4, 62.0, 62.7]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(summarize(values)) == pytest.approx((expected.low, expected.high))
    assert mean_interval(Sample(62.0, None, 1)) is None


def test_wilson_interval_is_the_closed_formula() -> None:
    p, n, z = 0.38, 2000, 1.959963984540054
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = ((centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n))
    assert wilson_interval(p, n) == pytest.approx(expected)
    assert wilson_interval(1.0, 10)[1] == 1.0
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson_interval(1.2, 10)


def test_equivalence_interval_is_that_of_welch() -> None:
    ours, theirs = [60.1, 61.0, 60.4], [62.0, 62.4, 62.3, 61.9]
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(0.90)
    found = equivalence(summarize(ours), summarize(theirs), MARGIN)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("shift", "outcome"),
    [(0.0, "equivalent"), (9.0, "above"), (-9.0, "below"), (1.5, "undecided"), (-1.5, "undecided")],
)
def test_outcomes(shift: float, outcome: str) -> None:
    assert equivalence(Sample(62 + shift, 0.2, 5), Sample(62, 0.2, 5), MARGIN).outcome == outcome


def test_equivalence_needs_two_runs_and_a_margin() -> None:
    for measured, margin in ((Sample(62, None, 1), MARGIN), (Sample(62, 0.2, 3), 0.0)):
        with pytest.raises(ValueError, match="two measured runs"):
            equivalence(measured, Sample(62, 0.2, 3), margin)


def _p_values(
    difference: float, runs: int, std: float, their_runs: int, their_std: float, seed: int, trials: int = TRIALS
) -> np.ndarray:
    """p of the claims (equivalent, above, below) in simulations (trials, 3) where `difference` is the truth."""
    generator = np.random.default_rng(seed)
    ours = generator.normal(62 + difference, std, (trials, runs))
    theirs = generator.normal(62, their_std, (trials, max(their_runs, 1)))
    mine = ours.var(axis=1, ddof=1) / runs
    other = theirs.var(axis=1, ddof=1) / their_runs if their_runs > 1 else mine * runs
    shrink = other**2 / (their_runs - 1) if their_runs > 1 else 0.0
    degrees = (mine + other) ** 2 / (mine**2 / (runs - 1) + shrink) if their_runs > 1 else np.full(trials, runs - 1.0)
    return claim_p_values(ours.mean(axis=1) - theirs.mean(axis=1), np.sqrt(mine + other), degrees, MARGIN)


def _rates(difference: float, runs: int, std: float, their_runs: int, their_std: float, seed: int) -> dict[str, float]:
    """How often each outcome comes out when `difference` is the truth."""
    made = _p_values(difference, runs, std, their_runs, their_std, seed) <= ALPHA
    return dict(zip(("equivalent", "above", "below"), made.mean(axis=0).tolist(), strict=True))


@pytest.mark.parametrize(("their_runs", "shift"), [(3, 0.0), (3, 1.2), (3, 2.6), (1, 1.5), (4, -2.4)])
def test_simulated_claims_are_those_of_the_function(their_runs: int, shift: float) -> None:
    generator = np.random.default_rng(5)
    for _ in range(40):
        ours, theirs = generator.normal(62 + shift, 0.6, 4), generator.normal(62, 0.4, their_runs)
        published = summarize(theirs.tolist())
        found = equivalence(summarize(ours.tolist()), published, MARGIN)
        claims = ("equivalent", "above", "below")
        assert (found.p <= ALPHA) == (found.outcome in claims)
        std = published.std or float(ours.std(ddof=1))
        interval = stats.ttest_ind_from_stats(
            ours.mean(), ours.std(ddof=1), 4, theirs.mean(), std, their_runs, equal_var=False
        )
        if their_runs > 1:  # the two one-sided tests by SciPy
            to_upper, to_lower = (
                interval.statistic * (found.difference + s * MARGIN) / found.difference for s in (-1, 1)
            )
            p = [max(stats.t.cdf(to_upper, interval.df), stats.t.sf(to_lower, interval.df)),
                 stats.t.sf(to_upper, interval.df), stats.t.cdf(to_lower, interval.df)]  # fmt: skip
            assert found.p == pytest.approx(min(p))
            if found.outcome in claims:
                assert claims[int(np.argmin(p))] == found.outcome


def test_without_spread_a_claim_that_holds_is_certain() -> None:
    for difference, expected in ((0.1, [0, 1, 0]), (2.0, [1, 0, 0]), (-2.0, [1, 1, 1])):
        p = claim_p_values(np.array([difference]), np.array([0.0]), np.array([3.0]), MARGIN)[0]
        holds = [abs(difference) < MARGIN, difference > MARGIN, difference < -MARGIN]
        assert (p <= 1e-12).tolist() == holds, expected


# Three standard errors of a rate of 5 % in TRIALS simulations.
CEILING = 0.05 + 3 * np.sqrt(0.05 * 0.95 / TRIALS)


@pytest.mark.parametrize(
    ("runs", "std", "their_runs", "their_std"), [(3, 0.3, 3, 0.3), (5, 0.8, 3, 0.2), (6, 0.5, 1, 0.5)]
)
def test_at_the_margin_every_claim_is_wrong_in_at_most_one_of_twenty(
    runs: int, std: float, their_runs: int, their_std: float
) -> None:
    upper = _rates(MARGIN, runs, std, their_runs, their_std, seed=1)
    lower = _rates(-MARGIN, runs, std, their_runs, their_std, seed=2)
    assert max(upper["equivalent"], upper["above"], lower["equivalent"], lower["below"]) <= CEILING
    assert max(upper["below"], lower["above"]) < 0.001
    assert upper["equivalent"] > 0.005  # the test is not idle


@pytest.mark.parametrize(("difference", "outcome"), [(0.0, "equivalent"), (0.5, "equivalent"), (2.5, "above")])
def test_planned_runs_decide_with_the_planned_power(difference: float, outcome: str) -> None:
    std, their_runs = 0.9, 8
    needed = required_runs(std, Sample(62, 0.4, their_runs), MARGIN, difference)
    assert needed is not None
    assert needed > 3
    assert _rates(difference, needed, std, their_runs, 0.4, seed=3)[outcome] == pytest.approx(0.84, abs=0.09)
    assert _rates(difference, needed - 2, std, their_runs, 0.4, seed=4)[outcome] < 0.8


def test_required_runs_grow_with_noise_and_end_where_they_cannot_help() -> None:
    published = Sample(62.15, 0.23, 2)
    needed = [required_runs(std, published, MARGIN) for std in (0.2, 0.5, 1.0, 2.0)]
    assert all(needed)
    assert needed == sorted(needed)  # pyright: ignore[reportArgumentType]
    assert required_runs(1.0, published, MARGIN, difference=MARGIN) is None
    assert required_runs(0.0, Sample(62, 0.0, 3), MARGIN, difference=0.1) == 2


def test_holm_is_the_step_down_rule() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@pytest.mark.parametrize("tests", [4, 12])
def test_holm_keeps_the_rate_of_any_wrong_verdict_where_single_tests_do_not(tests: int) -> None:
    # Every one of `tests` architectures lies exactly on the margin: no claim of equivalence is true.
    trials = 3000
    p = _p_values(MARGIN, 4, 0.5, 3, 0.3, seed=tests, trials=trials * tests)[:, 0].reshape(trials, tests)
    adjusted = np.array([holm(row) for row in p.tolist()])
    ceiling = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / trials)
    assert (adjusted <= ALPHA).any(axis=1).mean() <= ceiling
    assert (p <= ALPHA).any(axis=1).mean() > 2 * ALPHA
    assert (adjusted >= p).all()


def test_mcnemar_is_the_binomial_test_of_what_only_one_got_right() -> None:
    first = np.array([True] * 30 + [False] * 12 + [True] * 58)
    second = np.array([False] * 30 + [True] * 12 + [True] * 58)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second, found.count) == (30, 12, 100)
    assert found.p == pytest.approx(stats.binomtest(30, 42).pvalue)
    assert found.difference == pytest.approx(0.18)
    assert found.low < 0.18 < found.high
    half = 1.96 * np.sqrt((0.42 - 0.18**2) / 100)  # the normal interval of a paired difference
    assert (found.low, found.high) == pytest.approx((0.18 - half, 0.18 + half), abs=0.02)
    assert mcnemar(first, first).p == 1.0
    assert mcnemar(second, first).difference == pytest.approx(-0.18)
    with pytest.raises(ValueError, match="same examples"):
        mcnemar(first, second[1:])


def test_mcnemar_errs_in_at_most_one_of_twenty_and_finds_a_difference() -> None:
    generator = np.random.default_rng(11)
    easy = generator.random((400, 1, 1000))
    same = easy + generator.normal(0, 0.2, (400, 2, 1000)) < 0.6
    wrong = np.mean([mcnemar(a, b, draws=1).p <= ALPHA for a, b in same])
    assert wrong <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / 400)
    shifted = easy + generator.normal(0, 0.2, (400, 2, 1000)) < np.array([0.6, 0.66])[:, None]
    assert np.mean([mcnemar(a, b, draws=1).p <= ALPHA for a, b in shifted[:100]]) > 0.5
