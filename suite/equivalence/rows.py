"""The rows of the ladder and the error measure they use.

An error is the largest absolute difference of two arrays, divided by the largest magnitude in the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Row = dict[str, Any]

FLOAT64 = 1e-10
"""Tolerance in float64, relative to the largest magnitude."""

ROUNDING = 64.0
"""A float32 result may be off by this many times what rounding all its inputs to float32 does to it: an input is
rounded once, what comes of it at every operation. Products in tf32 would be off by 8192 times as much."""


def error(found: np.ndarray, expected: np.ndarray, scale: np.ndarray | None = None) -> float:
    """The largest difference relative to the largest magnitude of `scale` (`expected` unless given).

    Infinite where shapes differ or a value is not finite.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return math.inf
    if found.size == 0:
        return 0.0
    difference = np.max(np.abs(found.astype(np.complex128) - expected))
    if not np.isfinite(difference):
        return math.inf
    largest = np.max(np.abs(expected if scale is None else scale))
    return float(difference / max(largest, np.finfo(np.float64).tiny))


def errors(found: Arrays, expected: Arrays, scale: Arrays | None = None) -> float:
    """The largest error over named arrays; infinite where the names differ."""
    scale = expected if scale is None else scale
    if not found.keys() == expected.keys() == scale.keys():
        return math.inf
    return max((error(found[name], expected[name], scale[name]) for name in expected), default=0.0)


class Rows:
    """Collects the rows of a ladder; the three errors are None where a check compares no values."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(
        self,
        rung: int,
        check: str,
        case: str,
        passed: bool,
        dtype: str = "float64",
        error_jax: float | None = None,
        error_torch: float | None = None,
        error_between: float | None = None,
        tolerance: float | None = None,
    ) -> None:
        """One row."""
        self.rows.append(
            {
                "rung": rung,
                "check": check,
                "case": case,
                "dtype": dtype,
                "error_jax": error_jax,
                "error_torch": error_torch,
                "error_between": error_between,
                "tolerance": tolerance,
                "passed": bool(passed),
            }
        )

    def compare(
        self, rung: int, check: str, case: str, twins: Sequence[Arrays], oracle: Arrays | None, tolerance=FLOAT64
    ) -> None:
        """Float64: both twins against the oracle (where there is one) and against each other, within `tolerance`."""
        jax, torch = twins
        between = errors(jax, torch)
        own = (None, None) if oracle is None else (errors(jax, oracle), errors(torch, oracle))
        worst = max([between, *(e for e in own if e is not None)])
        self.add(rung, check, case, worst <= tolerance, "float64", *own, between, tolerance)

    def each(
        self, rung: int, check: str, case: str, twins: Sequence[float], tolerance: float, dtype: str = "float64"
    ) -> None:
        """A property of each twin by itself, as the error against what it should be."""
        jax, torch = twins
        self.add(rung, check, case, max(jax, torch) <= tolerance, dtype, jax, torch, None, tolerance)

    def compare_float32(
        self,
        rung: int,
        check: str,
        case: str,
        twins: Sequence[Arrays],
        oracle: Callable[[np.random.Generator | None], Arrays],
        rng: np.random.Generator,
    ) -> None:
        """Float32, with the tolerance calibrated by the oracle itself.

        `oracle(None)` is the float64 value at the same inputs, `oracle(rng)` at inputs moved by rounding
        (`rounded`). Two rows: the twins differ by no more than twice the larger of their errors; and each error stays
        within `ROUNDING` times the effect of rounding. The first alone could not fail (the triangle inequality gives
        it); together they bound the difference of the twins, and no twin hides a lower precision.
        """
        jax, torch = twins
        exact = oracle(None)
        jax_error, torch_error, between = errors(jax, exact), errors(torch, exact), errors(jax, torch, exact)
        rule = 2 * max(jax_error, torch_error)
        self.add(rung, check, case, between <= rule, "float32", jax_error, torch_error, between, rule)
        effect = max(errors(oracle(rng), exact) for _ in range(8))
        bound = ROUNDING * max(effect, float(np.finfo(np.float32).eps) / 2)
        self.each(rung, f"{check}, rounding only", case, (jax_error, torch_error), bound, "float32")


def rounded(arrays: Mapping[str, Any], rng: np.random.Generator | None) -> dict[str, Any]:
    """Float arrays moved at random by up to half a unit in the last float32 place; unchanged where `rng` is None."""
    if rng is None:
        return dict(arrays)
    half = float(np.finfo(np.float32).eps) / 2
    return {
        name: value * (1 + half * rng.uniform(-1, 1, value.shape)) if is_float(value) else value
        for name, value in arrays.items()
    }


def is_float(value: Any) -> bool:
    """Whether a value is an array of real or complex numbers."""
    return isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.inexact)
