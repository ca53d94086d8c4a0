"""Statistics of seeds: intervals, two one-sided tests of equivalence, and how many seeds a decision needs.

Welch's form throughout: Welch (1947), doi:10.1093/biomet/34.1-2.28; equivalence by two one-sided tests: Schuirmann
(1987), doi:10.1007/BF01068419; binomial interval: Wilson (1927), doi:10.1080/01621459.1927.10502953.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

ALPHA = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Sample:
    """Mean, sample standard deviation (None if unknown) and number of independent runs."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Comparison:
    """Difference of two means, its (1 - 2 alpha) interval and what the interval shows against the margin."""

    difference: float
    low: float
    high: float
    outcome: Literal["equivalent", "above", "below", "undecided"]


def summarize(values: Sequence[float]) -> Sample:
    """Mean and sample standard deviation (n - 1) of at least one finite value; raises ValueError."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError("a sample needs at least one value, all of them finite")
    return Sample(float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else None, int(array.size))


def mean_interval(sample: Sample, confidence: float = 0.95) -> tuple[float, float] | None:
    """Student t interval of the mean, or None with fewer than two runs."""
    if sample.n < 2 or sample.std is None:
        return None
    half = float(stats.t.ppf(0.5 + confidence / 2, sample.n - 1)) * sample.std / math.sqrt(sample.n)
    return sample.mean - half, sample.mean + half


def wilson_interval(accuracy: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson interval of one accuracy (a fraction) on `count` independent examples; raises ValueError."""
    if count < 1 or not 0 <= accuracy <= 1:
        raise ValueError(f"an accuracy between 0 and 1 on at least one example is needed, got {accuracy} on {count}")
    result = stats.binomtest(round(accuracy * count), count).proportion_ci(confidence, method="wilson")
    return float(result.low), float(result.high)


def equivalence(measured: Sample, published: Sample, margin: float, alpha: float = ALPHA) -> Comparison:
    """Two one-sided Welch tests of `measured - published` against +- margin; needs two measured runs or more.

    A published mean without std counts as one run with the measured std. Each of the three claims (equivalent, above
    the margin, below it) is wrong with probability at most alpha. Raises ValueError.
    """
    if margin <= 0 or measured.n < 2 or measured.std is None:
        raise ValueError("equivalence needs a positive margin and at least two measured runs")
    difference = measured.mean - published.mean
    error, degrees = _welch(measured.std, measured.n, published)
    half = float(stats.t.ppf(1 - alpha, degrees)) * error if error > 0 else 0.0
    low, high = difference - half, difference + half
    if -margin < low and high < margin:
        return Comparison(difference, low, high, "equivalent")
    if low > margin:
        return Comparison(difference, low, high, "above")
    if high < -margin:
        return Comparison(difference, low, high, "below")
    return Comparison(difference, low, high, "undecided")


def required_runs(
    std: float, published: Sample, margin: float, difference: float = 0.0, alpha: float = ALPHA, most: int = 1000
) -> int | None:
    """Fewest measured runs that decide with probability POWER if `difference` and `std` are the truth, or None.

    Normal-theory power of the two one-sided tests for |difference| < margin, of the one-sided test beyond the margin
    otherwise; None if `most` runs are not enough, since the published error does not shrink with ours.
    """
    gap = abs(abs(difference) - margin)
    for n in range(2, most + 1):
        error, degrees = _welch(std, n, published)
        if error == 0:
            return n if gap > 0 else None
        critical = float(stats.t.ppf(1 - alpha, degrees))
        if abs(difference) < margin:
            near, far = (margin - abs(difference)) / error, (margin + abs(difference)) / error
            power = stats.t.cdf(near - critical, degrees) + stats.t.cdf(far - critical, degrees) - 1
        else:
            power = stats.t.cdf(gap / error - critical, degrees)
        if power >= POWER:
            return n
    return None


def _welch(std: float, n: int, published: Sample) -> tuple[float, float]:
    """Standard error of the difference and its Welch-Satterthwaite degrees of freedom."""
    ours = std**2 / n
    if published.std is None:
        return math.sqrt(ours + std**2), n - 1
    theirs = published.std**2 / published.n
    total = ours + theirs
    if total == 0:
        return 0.0, n - 1
    their_part = theirs**2 / (published.n - 1) if published.n > 1 else 0.0
    return math.sqrt(total), total**2 / (ours**2 / (n - 1) + their_part)
