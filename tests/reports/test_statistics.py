"""Intervals and tests against known values; their error rates are in test_error_rates.py."""

import numpy as np
import pytest
from scipy import stats

from reports.statistics import Sample, equivalence, mean_interval, required_runs, summarize, wilson_interval

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
