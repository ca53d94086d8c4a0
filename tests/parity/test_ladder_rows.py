"""The ladder's own measure: what it calls an error, and what it lets pass."""

import math

import numpy as np
import pytest

from suite.equivalence.rows import ROUNDING, Rows, error, errors, rounded


def test_error_is_relative_to_the_largest_value():
    assert error(np.array([1.0, 2.5]), np.array([1.0, 2.0])) == 0.25
    assert error(np.array([1.0]), np.array([2.0]), np.array([10.0])) == 0.1
    assert error(np.zeros(3), np.zeros(3)) == 0.0
    assert error(np.array([1j]), np.array([1.0])) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("found", [np.array([1.0, math.nan]), np.array([1.0, math.inf]), np.ones((2, 1))])
def test_what_cannot_be_compared_is_infinitely_wrong(found):
    assert error(found, np.ones(2)) == math.inf
    assert error(np.ones(2), found) == math.inf
    assert errors({"a": np.ones(2)}, {"b": np.ones(2)}) == math.inf


def rows_of(jax: float, torch: float) -> list[dict]:
    """Float32 twins that are off by these amounts; rounding the input moves the oracle by its own size."""
    rows, one = Rows(), np.ones(5)
    values = {"x": one}
    found = [{"x": one + off} for off in (jax, torch)]
    rows.compare_float32(3, "check", "case", found, lambda rng: rounded(values, rng), np.random.default_rng(0))
    return rows.rows


def test_float32_twins_may_round_but_not_more():
    half = np.finfo(np.float32).eps / 2
    assert all(row["passed"] for row in rows_of(half, -half))
    assert not all(row["passed"] for row in rows_of(2 * ROUNDING * half, half))
    assert not all(row["passed"] for row in rows_of(1e-3, 1e-3))


def test_float64_twins_must_agree_with_the_oracle_and_each_other():
    one = {"x": np.ones(3)}
    off = {"x": np.ones(3) + 1e-9}
    for jax, torch, oracle, passes in (
        (one, one, one, True),
        (off, off, one, False),
        (one, off, None, False),
        (one, one, None, True),
    ):
        rows = Rows()
        rows.compare(3, "check", "case", (jax, torch), oracle)
        assert rows.rows[0]["passed"] is passes
