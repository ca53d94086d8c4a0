"""Error rates of the verdicts' tests, by simulation: each claim alone, the power that was planned, and many at once."""

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats

from reports.published import Number
from reports.statistics import (
    ALPHA,
    Sample,
    claim_p_values,
    equivalence,
    holm,
    paired_examples,
    required_runs,
    summarize,
)
from reports.verdicts import judge

MARGIN = 1.5
TRIALS = 40_000


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


@pytest.mark.parametrize(("their_runs", "shift"), [(3, 0.0), (3, 1.2), (3, 2.6), (4, -2.4)])
def test_p_is_that_of_the_one_sided_welch_tests(their_runs: int, shift: float) -> None:
    generator = np.random.default_rng(5)
    for _ in range(20):
        ours, theirs = generator.normal(62 + shift, 0.6, 4), generator.normal(62, 0.4, their_runs)
        found = equivalence(summarize(ours.tolist()), summarize(theirs.tolist()), MARGIN)

        def welch(offset: float, side: str, ours: np.ndarray = ours, theirs: np.ndarray = theirs) -> float:
            return stats.ttest_ind(ours + offset, theirs, equal_var=False, alternative=side).pvalue

        claims = {
            "equivalent": max(welch(-MARGIN, "less"), welch(MARGIN, "greater")),
            "above": welch(-MARGIN, "greater"),
            "below": welch(MARGIN, "less"),
        }
        assert found.p == pytest.approx(min(claims.values()))
        best = min(claims, key=claims.__getitem__)
        assert found.outcome == (best if claims[best] <= ALPHA else "undecided")


def test_without_spread_a_claim_that_holds_is_certain() -> None:
    for difference in (0.1, 2.0, -2.0):
        p = claim_p_values(np.array([difference]), np.array([0.0]), np.array([3.0]), MARGIN)[0]
        holds = [abs(difference) < MARGIN, difference > MARGIN, difference < -MARGIN]
        assert (p <= 1e-12).tolist() == holds


# Three standard errors of a rate of 5 % in TRIALS simulations.
CEILING = 0.05 + 3 * np.sqrt(0.05 * 0.95 / TRIALS)


@pytest.mark.parametrize(
    ("runs", "std", "their_runs", "their_std"),
    [(3, 0.3, 3, 0.3), (5, 0.8, 3, 0.2), (6, 0.5, 1, 0.5)],
)
def test_at_the_margin_every_claim_is_wrong_in_at_most_one_of_twenty(
    runs: int, std: float, their_runs: int, their_std: float
) -> None:
    upper = _rates(MARGIN, runs, std, their_runs, their_std, seed=1)
    lower = _rates(-MARGIN, runs, std, their_runs, their_std, seed=2)
    assert max(upper["equivalent"], upper["above"], lower["equivalent"], lower["below"]) <= CEILING
    assert max(upper["below"], lower["above"]) < 0.001
    assert upper["equivalent"] > 0.005  # the test is not idle


def test_without_a_published_spread_the_test_would_stand_on_an_assumption_and_no_verdict_does() -> None:
    equal, wide = (_rates(MARGIN, 5, 0.3, 1, theirs, seed=6) for theirs in (0.3, 0.9))
    assert max(equal.values()) <= CEILING
    assert min(wide["equivalent"], wide["above"]) > 0.15  # the published run spreads three times as ours do
    number = Number(
        architecture="s5", name="S5", task="lra.listops", dataset="", metric="accuracy", unit="%", version="v1",
        table="1", transcription="read", protocol="p", value=62.0,
    )  # fmt: skip
    facts: dict[str, Any] = {"benchmark": "lra", "metric": "accuracy", "profile": "paper", "comparable_to": "p"}
    drawn = np.random.default_rng(7).normal(62, 0.3, (50, 5)).tolist()
    assert {judge(values, number, **facts).kind for values in drawn} == {"underpowered"}
    assert judge(drawn[0], msgspec.structs.replace(number, std=0.3, n=3), **facts).kind == "reproduced"
    # With a printed spread, of three runs, unequal spreads cost little: Welch's degrees of freedom are estimates.
    printed = _rates(MARGIN, 5, 0.3, 3, 0.9, seed=6)
    assert max(printed.values()) < 0.06


@pytest.mark.parametrize(("difference", "outcome"), [(0.0, "equivalent"), (0.5, "equivalent"), (2.5, "above")])
def test_planned_runs_decide_with_the_planned_power(difference: float, outcome: str) -> None:
    std, their_runs = 0.9, 8
    needed = required_runs(std, Sample(62, 0.4, their_runs), MARGIN, difference)
    assert needed is not None
    assert needed > 3
    assert _rates(difference, needed, std, their_runs, 0.4, seed=3)[outcome] == pytest.approx(0.84, abs=0.09)
    assert _rates(difference, needed - 2, std, their_runs, 0.4, seed=4)[outcome] < 0.8


@pytest.mark.parametrize(("tests", "equal"), [(4, 0), (12, 0), (8, 4)])
def test_holm_keeps_the_rate_of_any_wrong_verdict_where_single_tests_do_not(tests: int, equal: int) -> None:
    # Of `tests` architectures `equal` are as good as published and the others lie on the margin or beyond it, where the
    # claims inside and below are false. A verdict is the claim of the smallest p, and that p is what Holm adjusts.
    trials = 10_000
    on_margin = _p_values(MARGIN, 4, 0.5, 3, 0.3, seed=tests, trials=trials * (tests - equal))
    as_good = _p_values(0.0, 4, 0.5, 3, 0.3, seed=tests + 1, trials=trials * equal)
    parts = [part.reshape(trials, -1, 3) for part in (on_margin, as_good) if part.size]
    p = np.concatenate(parts, axis=1)
    claim, least = p.argmin(axis=-1), p.min(axis=-1)
    false = np.where(np.arange(tests) < tests - equal, claim != 1, claim != 0)
    adjusted = holm(least)
    ceiling = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / trials)
    assert ((adjusted <= ALPHA) & false).any(axis=1).mean() <= ceiling
    assert ((least <= ALPHA) & false).any(axis=1).mean() > 2 * ALPHA
    if equal:
        assert ((adjusted <= ALPHA) & ~false)[:, tests - equal :].mean() > 0.5  # what holds is still said


def _mcnemar(right: np.ndarray) -> np.ndarray:
    """Exact p of every pair of models (trials, pairs) from which examples they get right (trials, models, examples)."""
    ones = right.astype(np.float32)
    only = ones @ (1 - ones).transpose(0, 2, 1)
    first, second = np.triu_indices(right.shape[1], 1)
    fewer, more = np.sort([only[:, first, second], only[:, second, first]], axis=0)
    return np.minimum(2 * stats.binom.cdf(fewer, fewer + more, 0.5), 1.0)


def _answers(accuracies: list[float], trials: int, examples: int, seed: int) -> np.ndarray:
    """Which examples models of some accuracies get right: half of the examples are the same for all of them."""
    generator = np.random.default_rng(seed)
    shared, own = generator.random((trials, 1, examples)), generator.random((trials, len(accuracies), examples))
    alike = generator.random((trials, 1, examples)) < 0.5
    return np.where(alike, shared, own) < np.array(accuracies)[:, None]


def test_paired_tests_of_models_that_share_examples_and_each_other_keep_their_rate() -> None:
    trials, right = 800, _answers([0.6] * 5, 800, 500, seed=8)
    p = _mcnemar(right)
    pairs = list(itertools.combinations(range(5), 2))
    assert p[0] == pytest.approx([paired_examples(right[0, a], right[0, b]).p for a, b in pairs])
    assert ((p <= ALPHA).mean(axis=0) <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / trials)).all()
    wrong = (holm(p) <= ALPHA).any(axis=1).mean()
    assert wrong <= ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / trials)
    assert (p <= ALPHA).any(axis=1).mean() > 2 * ALPHA


def test_paired_tests_find_a_difference_with_the_power_that_theory_gives() -> None:
    examples, better = 1_000, 0.06
    p = _mcnemar(_answers([0.6, 0.6 + better, 0.6], 800, examples, seed=9))
    apart = 0.5 * (0.6 * 0.34 + 0.4 * 0.66) + 0.5 * better  # the share of examples that one of the two gets right
    strength = better * np.sqrt(examples / (apart - better**2))
    expected = stats.norm.cdf(strength - stats.norm.ppf(1 - ALPHA / 2))
    assert (p[:, 0] <= ALPHA).mean() == pytest.approx(expected, abs=0.05)
    adjusted = holm(p)
    assert 0.6 * expected < (adjusted[:, 0] <= ALPHA).mean() < expected
    assert (adjusted[:, 1] <= ALPHA).mean() <= ALPHA  # the pair that is equal, beside two that are not
