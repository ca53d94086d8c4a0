"""Statistics of seeds: intervals, two one-sided tests of equivalence, and how many seeds a decision needs.

Welch's form throughout: Welch (1947), doi:10.1093/biomet/34.1-2.28; equivalence by two one-sided tests: Schuirmann
(1987), doi:10.1007/BF01068419; binomial interval: Wilson (1927), doi:10.1080/01621459.1927.10502953; several tests at
once: Holm (1979), doi:10.2307/4615733; two classifiers on the same examples: McNemar (1947), doi:10.1007/BF02295996.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
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
    """Difference of two means, its (1 - 2 alpha) interval and what the interval shows against the margin.

    `p` is the smallest level at which one of the claims equivalent, above and below can be made.
    """

    difference: float
    low: float
    high: float
    outcome: Literal["equivalent", "above", "below", "undecided"]
    p: float


@dataclass(frozen=True)
class Paired:
    """Two models on the same examples: how many only one of them got right, McNemar's exact p and the difference.

    `difference` is the first's accuracy less the second's, a fraction, with its bootstrap interval.
    """

    only_first: int
    only_second: int
    count: int
    p: float
    difference: float
    low: float
    high: float


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
    p = float(claim_p_values(np.array(difference), np.array(error), np.array(degrees), margin).min())
    if -margin < low and high < margin:
        return Comparison(difference, low, high, "equivalent", p)
    if low > margin:
        return Comparison(difference, low, high, "above", p)
    if high < -margin:
        return Comparison(difference, low, high, "below", p)
    return Comparison(difference, low, high, "undecided", p)


def claim_p_values(
    difference: Float[np.ndarray, "*n"], error: Float[np.ndarray, "*n"], degrees: Float[np.ndarray, "*n"], margin: float
) -> Float[np.ndarray, "*n 3"]:
    """p of each claim about a true difference: inside +- margin, above it, below it; one-sided t tests, elementwise.

    `error` is the standard error of the difference; where it is 0 a claim that holds has p 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        to_upper = np.nan_to_num((difference - margin) / error, nan=0.0)
        to_lower = np.nan_to_num((difference + margin) / error, nan=0.0)
    under, over = stats.t.cdf(to_upper, degrees), stats.t.sf(to_lower, degrees)
    above, below = stats.t.sf(to_upper, degrees), stats.t.cdf(to_lower, degrees)
    return np.stack([np.maximum(under, over), above, below], axis=-1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the given order: those at most alpha hold together at that level."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def mcnemar(first: Bool[np.ndarray, "n"], second: Bool[np.ndarray, "n"], draws: int = 4000) -> Paired:
    """Exact McNemar test of two models by which of n >= 1 examples each got right; raises ValueError.

    The interval holds the middle 95 % of `draws` paired bootstrap samples of the examples, with a seed of its own.
    """
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ValueError(f"paired models need the same examples, got {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    apart, count = only_first + only_second, first.size
    p = float(stats.binomtest(only_first, apart).pvalue) if apart else 1.0
    shares = np.array([only_first, only_second, count - apart]) / count
    drawn = np.random.default_rng(0).multinomial(count, shares, size=draws)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / count, [0.025, 0.975])
    return Paired(only_first, only_second, count, p, (only_first - only_second) / count, float(low), float(high))


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
