"""Rung 2 for convolutions: both algorithms against the float64 oracle, around powers of two, kernels of any length."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from implementations.ops.convolution import DIRECT, METHODS
from implementations.ops.convolution import reference as oracle
from suite.equivalence.cases import normal
from suite.equivalence.rows import Rows, rounded

Array = np.ndarray
Arrays = dict[str, Array]

LENGTHS = (1, 2, 7, 8, 9, 21, DIRECT - 1, DIRECT, DIRECT + 1)
IN_FLOAT32 = (1, 9, DIRECT + 1)


def climb(rows: Rows, seed: int) -> None:
    """The rows of rung 2 for the convolutions."""
    for length in LENGTHS:
        for taps in sorted({1, max(1, length // 2), length, length + 3}):
            _climb(rows, np.random.default_rng([seed, length, taps]), length, taps)


def _climb(rows: Rows, rng: np.random.Generator, length: int, taps: int) -> None:
    kernels = {name: normal(rng, (2, 3, taps)) for name in ("forward", "backward")}
    arrays = {"x": normal(rng, (2, length, 3)), **kernels}
    case = f"length {length}, kernel {taps}"
    for dtype in ("float64", "float32") if length in IN_FLOAT32 else ("float64",):
        jax, torch = (_run(framework, arrays, dtype) for framework in ("jax", "torch"))
        expected = _compute(oracle, arrays, {})
        for method in METHODS:
            own = [found[method] for found in (jax, torch)]
            check = f"convolution, {method}"
            if dtype == "float64":
                rows.compare(2, check, case, own, expected)
            else:
                rows.compare_float32(2, check, case, own, lambda rng: _compute(oracle, rounded(arrays, rng), {}), rng)


def _compute(convolution: Any, arrays: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The convolutions of a module, in its own framework."""
    x, forward, backward = arrays["x"], arrays["forward"], arrays["backward"]
    return {
        "causal": convolution.causal_convolution(x, forward, **options),
        "two-sided": convolution.two_sided_convolution(x, forward, backward, 0, **options),
        "two-sided, beside the position": convolution.two_sided_convolution(x, forward, backward, 1, **options),
    }


def _all(convolution: Any, arrays: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {method: _compute(convolution, arrays, {"method": method}) for method in METHODS}


def _run(framework: str, arrays: Arrays, dtype: str) -> dict[str, Arrays]:
    if framework == "jax":
        import jax

        from implementations.ops.convolution import jax as convolution
        from suite.equivalence.jax import quick

        function = jax.jit(partial(_all, convolution), compiler_options=quick())
        found = function({name: value.astype(dtype) for name, value in arrays.items()})
    else:
        import torch

        from implementations.ops.convolution import torch as convolution
        from suite.equivalence.torch import DEVICE

        found = _all(convolution, {n: torch.tensor(v.astype(dtype), device=DEVICE) for n, v in arrays.items()})
        found = {method: {n: v.cpu() for n, v in values.items()} for method, values in found.items()}
    return {method: {n: np.asarray(v) for n, v in values.items()} for method, values in found.items()}
