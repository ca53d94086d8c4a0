"""Statistics of seeds: intervals, two one-sided tests of equivalence, how many seeds a decision needs, paired effects.

Welch's form throughout: Welch (1947), doi:10.1093/biomet/34.1-2.28; equivalence by two one-sided tests: Schuirmann
(1987), doi:10.1007/BF01068419; binomial interval: Wilson (1927), doi:10.1080/01621459.1927.10502953.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

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

    Each of the three claims (equivalent, at or above the margin, at or below it) is wrong with probability at most
    alpha. A published mean without std counts as one run with the measured std: where its runs spread more, claims are
    wrong more often, so that none is made of it (`reports.verdicts`). Raises ValueError.
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


@dataclass(frozen=True)
class Effect:
    """Mean difference of n pairs, its t interval and the p-value of the paired t-test; None where there is none: with
    one pair, or where all differences are equal."""

    difference: float
    n: int
    low: float | None = None
    high: float | None = None
    p: float | None = None


def paired_effect(level: Sequence[float], base: Sequence[float], confidence: float = 0.95) -> Effect:
    """Effect of a level against its base, paired: both run with the same seeds in the same order; raises ValueError."""
    if len(level) != len(base):
        raise ValueError(f"pairs need as many values on both sides, got {len(level)} and {len(base)}")
    sample = summarize([a - b for a, b in zip(level, base, strict=True)])
    rounding = 1e-9 * max(1.0, *(abs(value) for value in (*level, *base)))
    if sample.std is None or sample.std <= rounding:
        return Effect(sample.mean, sample.n)
    error, degrees = sample.std / math.sqrt(sample.n), sample.n - 1
    half = float(stats.t.ppf(0.5 + confidence / 2, degrees)) * error
    p = float(2 * stats.t.sf(abs(sample.mean) / error, degrees))
    return Effect(sample.mean, sample.n, sample.mean - half, sample.mean + half, p)


@dataclass(frozen=True)
class PowerLaw:
    """Exponent of a power law through n points and its t interval; no interval where there are two points."""

    exponent: float
    n: int
    low: float | None = None
    high: float | None = None


def power_law(x: Sequence[float], y: Sequence[float], confidence: float = 0.95) -> PowerLaw:
    """Exponent of y against x by least squares of the logarithms, with Student's t interval from the residuals.

    The interval says how far the points are from one power law; x and y are positive, x not all equal: ValueError.
    """
    if len(x) != len(y) or len(set(x)) < 2 or min(*x, *y) <= 0:
        raise ValueError("a power law needs two different positive x or more, and as many positive y")
    fit: Any = stats.linregress(np.log(x), np.log(y))
    if len(x) == 2:
        return PowerLaw(float(fit.slope), 2)
    half = float(stats.t.ppf(0.5 + confidence / 2, len(x) - 2) * fit.stderr)
    return PowerLaw(float(fit.slope), len(x), float(fit.slope) - half, float(fit.slope) + half)


def holm(p_values: Float[np.ndarray, "*t m"] | Sequence[float]) -> Float[np.ndarray, "*t m"]:
    """Adjusted p-values of families of m tests along the last axis (Holm 1979, Scand. J. Statist. 6, 65-70).

    Rejecting what is at most alpha makes any false rejection in a family with probability at most alpha, however the
    tests depend on each other.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, axis=-1, kind="stable")
    steps = np.take_along_axis(p, order, -1) * (p.shape[-1] - np.arange(p.shape[-1]))
    adjusted = np.minimum(np.maximum.accumulate(steps, axis=-1), 1.0)
    found = np.empty_like(adjusted)
    np.put_along_axis(found, order, adjusted, -1)
    return found


@dataclass(frozen=True)
class ExampleComparison:
    """Two trained models on the same examples: difference of accuracies (fractions, first - second), its bootstrap
    interval, McNemar's exact p-value, and how many examples only one of them gets right."""

    difference: float
    low: float
    high: float
    p: float
    only_first: int
    only_second: int
    count: int


def paired_examples(
    first: Bool[np.ndarray, "n"], second: Bool[np.ndarray, "n"], confidence: float = 0.95, resamples: int = 10_000
) -> ExampleComparison:
    """Compare which examples (n,) two models get right: McNemar (1947), doi:10.1007/BF02295996, exact, and percentiles
    of `resamples` samples of the examples with replacement, always the same; raises ValueError.

    It says whether two models differ on the population of examples, not whether their recipes do: that is a question
    of several seeds. Of a pair only its outcome counts, so that a resample is one multinomial draw.
    """
    if first.shape != second.shape or not first.size:
        raise ValueError(f"the same examples are needed on both sides, got {first.size} and {second.size}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    count = first.size
    shares = np.array([only_first, only_second, count - only_first - only_second]) / count
    drawn = np.random.default_rng(0).multinomial(count, shares, resamples)
    tails = np.array([0.5 - confidence / 2, 0.5 + confidence / 2])
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / count, tails)
    apart = only_first + only_second
    p = float(stats.binomtest(only_first, apart).pvalue) if apart else 1.0
    difference = (only_first - only_second) / count
    return ExampleComparison(difference, float(low), float(high), p, only_first, only_second, count)
