"""Rung 2 for long convolutions: both algorithms against the float64 oracle, around powers of two."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from implementations.ops.convolution import DIRECT, METHODS, reference
from suite.equivalence.cases import normal, single
from suite.equivalence.rows import Rows, rounded

Array = np.ndarray
Arrays = dict[str, Array]

LENGTHS = (1, 2, 7, 8, 9, DIRECT - 1, DIRECT, DIRECT + 1)
OFFSETS = (0, 1)


def climb(rows: Rows, seed: int) -> None:
    """The rows of rung 2 for convolutions: two kernels per feature, shorter and longer than the input."""
    for length in LENGTHS:
        rng = np.random.default_rng([seed, length])
        kernels = max(1, length // 2) if length % 2 else length + 3
        arrays = {
            "x": normal(rng, (2, length, 3)),
            "kernel": single(rng.standard_normal((2, 3, kernels)) * 0.9 ** np.arange(kernels)),
            "reverse_kernel": single(rng.standard_normal((2, 3, kernels)) * 0.9 ** np.arange(kernels)),
        }
        for dtype in ("float64", "float32"):
            found = [_run(framework, arrays, dtype) for framework in ("jax", "torch")]
            for method in METHODS[1:]:
                own = [{name: value[name, method] for name, _ in value} for value in found]
                if dtype == "float64":
                    rows.compare(2, f"convolution, {method}", f"length {length}", own, _expected(arrays))
                else:
                    exact = partial(_rounded, arrays)
                    rows.compare_float32(2, f"convolution, {method}", f"length {length}", own, exact, rng)


def _rounded(arrays: Arrays, rng: np.random.Generator | None) -> Arrays:
    return _expected(rounded(arrays, rng))


def _expected(arrays: Arrays) -> Arrays:
    two_sided = {f"offset {o}": reference.two_sided_convolution(**arrays, offset=o) for o in OFFSETS}
    return {"causal": reference.causal_convolution(arrays["x"], arrays["kernel"]), **two_sided}


def _compute(module: Any, arrays: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """All outputs of one framework's module."""
    found = {}
    for method in METHODS[1:]:
        found["causal", method] = module.causal_convolution(arrays["x"], arrays["kernel"], method)
        for offset in OFFSETS:
            found[f"offset {offset}", method] = module.two_sided_convolution(**arrays, offset=offset, method=method)
    return found


def _run(framework: str, arrays: Arrays, dtype: str) -> dict[tuple[str, str], Array]:
    if framework == "jax":
        import jax

        from implementations.ops.convolution import jax as module
        from suite.equivalence.jax import quick

        given = {name: value.astype(dtype) for name, value in arrays.items()}
        found = jax.jit(partial(_compute, module), compiler_options=quick())(given)
    else:
        import torch

        from implementations.ops.convolution import torch as module
        from suite.equivalence.torch import DEVICE

        given = {name: torch.tensor(value.astype(dtype), device=DEVICE) for name, value in arrays.items()}
        found = {name: value.cpu() for name, value in _compute(module, given).items()}
    return {name: np.asarray(value) for name, value in found.items()}
