"""Rung 2 for routing: order, compression and extraction, their gradients, and work at a capacity, by the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np

from implementations.ops.routing import reference as oracle
from suite.equivalence.cases import normal
from suite.equivalence.rows import FLOAT64, Rows

Array = np.ndarray
Arrays = dict[str, Array]

CASES = ((1, 0.6), (2, 0.2), (7, 0.2), (8, 0.6), (9, 0.2), (33, 0.6))
"""Lengths, and the share of selected tokens."""

STEPS = 3
ROWS = 4


def climb(rows: Rows, seed: int) -> None:
    """The rows of rung 2 for routing: a row without a selected token, one with all, and others."""
    for length, share in CASES:
        rng = np.random.default_rng([seed, length])
        selected = rng.random((ROWS, length)) < share
        selected[0] = False
        selected[1] |= share > 0.5
        capacity = min(max(int(selected.sum(1).max()), 1) + length // 4, length)
        arrays = {"x": normal(rng, (ROWS, length, 3)), "y": normal(rng, (ROWS, capacity, 3)), "selected": selected}
        found = [_run(framework, arrays) for framework in ("jax", "torch")]
        rows.compare(2, "routing", f"length {length}, share {share}", found, _expected(arrays), FLOAT64)


def _expected(arrays: Arrays) -> Arrays:
    x, y, selected = arrays["x"], arrays["y"], arrays["selected"]
    order, count = oracle.order(selected)
    compressed, extracted = oracle.compress(x, selected, y.shape[1]), oracle.extract(y, selected)
    return {
        "order": order,
        "count": count,
        "compress": compressed,
        "extract": extracted,
        "gradient of compress": extracted,
        "gradient of extract": compressed,
        "work": oracle.extract(np.tanh(oracle.compress(x, selected, y.shape[1])), selected),
        "gradient of work": (1 - np.tanh(x) ** 2) * x * selected[..., None],
    }


def _compute(ops: Any, tanh: Any, vjp: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    """All of it in one framework, whose operations, tanh and products with a Jacobian's transpose are given."""
    x, y = arrays["x"], arrays["y"]
    order, count = ops.order(arrays["selected"])

    def compress(x: Any) -> Any:
        return ops.compress(x, order, count, y.shape[1])

    def extract(y: Any) -> Any:
        return ops.extract(y, order, count)

    def work(x: Any) -> Any:
        def function(capacity: int) -> Any:
            return ops.extract(tanh(ops.compress(x, order, count, capacity)), order, count)

        return ops.at_capacity(function, count, x.shape[1], STEPS)

    return {
        "order": order,
        "count": count,
        "compress": compress(x),
        "extract": extract(y),
        "gradient of compress": vjp(compress, x, y),
        "gradient of extract": vjp(extract, y, x),
        "work": work(x),
        "gradient of work": vjp(work, x, x),
    }


def _run(framework: str, arrays: Arrays) -> Arrays:
    if framework == "jax":
        import jax
        import jax.numpy as jnp

        from implementations.ops.routing import jax as ops
        from suite.equivalence.jax import quick

        def transposed(function: Any, x: Any, cotangent: Any) -> Any:
            return jax.vjp(function, x)[1](cotangent)[0]

        found = jax.jit(lambda given: _compute(ops, jnp.tanh, transposed, given), compiler_options=quick())(arrays)
        return {name: np.asarray(value) for name, value in found.items()}
    import torch

    from implementations.ops.routing import torch as ops
    from suite.equivalence.torch import DEVICE

    def transposed(function: Any, x: Any, cotangent: Any) -> Any:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(function(x), x, cotangent, materialize_grads=True)[0]

    given = {name: torch.tensor(value, device=DEVICE) for name, value in arrays.items()}
    found = _compute(ops, torch.tanh, transposed, given)
    return {name: value.detach().cpu().numpy() for name, value in found.items()}
