"""Intervals and tests against known values; their error rates are in test_error_rates.py."""

import numpy as np
import pytest
from scipy import stats

from reports.statistics import (
    Effect,
    Sample,
    equivalence,
    holm,
    mean_interval,
    paired_effect,
    paired_examples,
    required_runs,
    summarize,
    wilson_interval,
)

MARGIN = 1.5


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


def test_a_published_mean_without_std_is_one_run_that_spreads_as_ours() -> None:
    found = equivalence(Sample(62.4, 0.3, 4), Sample(62.0, None, 7), MARGIN)
    half = stats.t.ppf(0.95, 3) * 0.3 * np.sqrt(1 / 4 + 1)
    assert (found.low, found.high) == pytest.approx((0.4 - half, 0.4 + half))


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


def test_required_runs_grow_with_noise_and_end_where_they_cannot_help() -> None:
    published = Sample(62.15, 0.23, 2)
    needed = [required_runs(std, published, MARGIN) for std in (0.2, 0.5, 1.0, 2.0)]
    assert all(needed)
    assert needed == sorted(needed)  # pyright: ignore[reportArgumentType]
    assert required_runs(1.0, published, MARGIN, difference=MARGIN) is None
    assert required_runs(0.0, Sample(62, 0.0, 3), MARGIN, difference=0.1) == 2


def test_paired_effect_is_that_of_the_paired_t_test() -> None:
    level, base = [61.9, 62.4, 62.0, 63.1], [61.0, 62.1, 61.9, 62.0]
    expected = stats.ttest_rel(level, base)
    interval = expected.confidence_interval(0.95)
    found = paired_effect(level, base)
    assert (found.low, found.high, found.p) == pytest.approx((interval.low, interval.high, expected.pvalue))
    assert (found.difference, found.n) == (pytest.approx(0.6), 4)


def test_paired_effects_without_a_spread_have_no_interval() -> None:
    assert paired_effect([3.0], [1.0]) == Effect(2.0, 1)
    assert paired_effect([38.1, 40.3], [37.1, 39.3]).p is None
    with pytest.raises(ValueError, match="2 and 1"):
        paired_effect([1.0, 2.0], [1.0])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == pytest.approx([1.0, 1.0])
    assert holm([0.02]).tolist() == [0.02]
    families = np.array([[0.01, 0.04, 0.03], [0.5, 0.001, 0.02]])
    np.testing.assert_allclose(holm(families), [holm(row) for row in families])


def _families(effects: list[float], runs: int, trials: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Holm-adjusted p, and the bounds of intervals, of simulated families whose levels share the base of each seed."""
    generator = np.random.default_rng(seed)
    shared, base = (generator.normal(0, s, (trials, 1, runs)) for s in (1.0, 0.3))  # of the seed; of the base alone
    levels = np.array(effects)[:, None] + generator.normal(0, 0.3, (trials, len(effects), runs))
    found = stats.ttest_rel(shared + levels, shared + base, axis=-1)
    interval = found.confidence_interval(0.95)
    one = paired_effect((shared + levels)[0, 0].tolist(), (shared + base)[0, 0].tolist())
    assert (one.p, one.low, one.high) == pytest.approx((found.pvalue[0, 0], interval.low[0, 0], interval.high[0, 0]))
    return holm(found.pvalue), interval.low, interval.high


@pytest.mark.parametrize("effects", [[0.0] * 6, [0.0, 0.0, 0.0, 1.0, -2.0]])
def test_holm_keeps_the_error_of_a_family_below_its_level(effects: list[float]) -> None:
    trials = 20_000
    p, low, high = _families(effects, 4, trials, 11)
    none = np.array(effects) == 0
    family_error = (p[:, none] <= 0.05).any(-1).mean()
    limit = 3 * np.sqrt(0.05 * 0.95 / trials)
    assert family_error <= 0.05 + limit
    covered = ((low <= effects) & (np.array(effects) <= high)).mean(0)
    np.testing.assert_allclose(covered, 0.95, atol=2 * limit)


def test_uncorrected_tests_would_not_keep_it() -> None:
    generator = np.random.default_rng(5)
    p = generator.uniform(size=(20_000, 6))
    assert (p <= 0.05).any(-1).mean() > 0.25
    assert (holm(p) <= 0.05).any(-1).mean() == pytest.approx(0.05, abs=0.006)


def test_paired_examples_by_hand() -> None:
    first, second = np.repeat([True, True, False, False], [50, 12, 3, 35]), np.repeat([True, False, True, False],
                                                                                    [50, 12, 3, 35])  # fmt: skip
    found = paired_examples(first, second)
    assert (found.only_first, found.only_second, found.count) == (12, 3, 100)
    assert found.difference == pytest.approx(0.09)
    assert found.p == pytest.approx(stats.binomtest(12, 15).pvalue)
    assert found.low < 0.09 < found.high
    assert found == paired_examples(first, second)
    assert paired_examples(first, first).p == 1.0
    with pytest.raises(ValueError, match="100 and 3"):
        paired_examples(first, second[:3])


def _sides(parts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Which examples two models get right, from how many only the first, only the second or both do."""
    return np.repeat([True, False, True], parts), np.repeat([False, True, True], parts)


def test_paired_examples_keep_their_level_and_coverage() -> None:
    generator = np.random.default_rng(2)
    shares = np.array([0.2, 0.1, 0.7])  # right with the first only, with the second only, alike
    fair = np.array([0.15, 0.15, 0.7])
    rejected = covered = 0
    trials = 300
    for only_first, only_second, alike in generator.multinomial(400, fair, trials):
        parts = [only_first, only_second, alike]
        found = paired_examples(*_sides(parts), resamples=500)
        rejected += found.p <= 0.05
    for only_first, only_second, alike in generator.multinomial(400, shares, trials):
        parts = [only_first, only_second, alike]
        found = paired_examples(*_sides(parts), resamples=500)
        covered += found.low <= 0.1 <= found.high
    assert rejected / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert covered / trials == pytest.approx(0.95, abs=0.04)
