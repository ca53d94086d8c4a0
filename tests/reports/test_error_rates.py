"""Error rates of the verdicts' tests, by simulation: each claim alone, the power that was planned, and many at once."""

import numpy as np
import pytest
from scipy import stats

from reports.statistics import ALPHA, Sample, claim_p_values, equivalence, holm, required_runs, summarize

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


@pytest.mark.parametrize("tests", [4, 12])
def test_holm_keeps_the_rate_of_any_wrong_verdict_where_single_tests_do_not(tests: int) -> None:
    # Every one of `tests` architectures lies exactly on the margin: no claim of equivalence is true.
    trials = 20_000
    p = _p_values(MARGIN, 4, 0.5, 3, 0.3, seed=tests, trials=trials * tests)[:, 0].reshape(trials, tests)
    adjusted = holm(p)
    ceiling = ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / trials)
    assert (adjusted <= ALPHA).any(axis=1).mean() <= ceiling
    assert (p <= ALPHA).any(axis=1).mean() > 2 * ALPHA
    assert (adjusted >= p).all()
