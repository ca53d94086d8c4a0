"""Rungs 3 and 4: outputs and gradients, in float64 and float32, against the oracle and against each other."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from suite.equivalence import reference
from suite.equivalence.cases import LayerCase, ModelCase, draw_cotangents, is_differentiable, single, values
from suite.equivalence.rows import FLOAT64, Rows, error, errors, rounded

Array = np.ndarray
Arrays = dict[str, Array]


@dataclass
class Pair:
    """Both twins of a case, in one dtype, with the same parameters and statistics."""

    jax: Any
    torch: Any
    parameters: Arrays
    statistics: Arrays

    def set(self, parameters: Arrays, statistics: Arrays) -> None:
        """Give both twins other values."""
        for twin in (self.jax, self.torch):
            twin.set(parameters, statistics)


def pair(case: LayerCase, dtype: str = "float64") -> Pair:
    """The twins of a case, with its parameters and statistics."""
    from implementations import parameters
    from suite.equivalence.jax import Twin as JaxTwin
    from suite.equivalence.torch import Twin as TorchTwin

    kind = "model" if isinstance(case, ModelCase) else "layer"
    jax, torch = (getattr(twin, kind)(case.config, case.seed, dtype) for twin in (JaxTwin, TorchTwin))
    initial, statistics = parameters.get_parameters(torch.module), parameters.get_statistics(torch.module)
    found = Pair(jax, torch, *values(case, initial, statistics))
    found.set(found.parameters, found.statistics)
    return found


def climb(case: LayerCase, rows: Rows) -> None:
    """The rows of rungs 3 and 4 for one case."""
    twins, arrays = pair(case), case.arrays()
    rng = case.rng("cotangents")
    shapes = reference.outputs(case, twins.parameters, twins.statistics, arrays)
    cotangents = draw_cotangents(shapes, rng)
    static = {**case.options, "training": case.training}

    jax, torch = (twin.call(arrays, cotangents, **static) for twin in (twins.jax, twins.torch))
    oracle = None if case.dropout else shapes
    rows.compare(3, "outputs", case.name, (jax.outputs, torch.outputs), oracle)
    if twins.statistics:
        rows.compare(3, "running statistics", case.name, (jax.statistics, torch.statistics), None)
    rows.compare(4, "gradients", case.name, (jax.gradients, torch.gradients), None)
    _health(case, twins, jax.gradients, torch.gradients, rows)
    if case.smooth and not case.dropout:
        _finite_differences(case, twins, arrays, cotangents, (jax.gradients, torch.gradients), rows)
    if case.float32:
        _float32(case, twins, arrays, cotangents, rows)


def _health(case: LayerCase, twins: Pair, jax: Arrays, torch: Arrays, rows: Rows) -> None:
    """Every gradient is finite, and zero exactly where it should be."""
    zero, vanishing = case.zero_gradient(twins.parameters), case.vanishing(twins.parameters)
    good = True
    for gradients in (jax, torch):
        for path, gradient in gradients.items():
            expected = zero.get(path, np.zeros(gradient.shape, bool))
            good &= bool(np.isfinite(gradient).all() and not gradient[expected].any())
            good &= bool(gradient[~expected].any()) or bool(expected.all())
            if path in twins.parameters and not (case.dropout or isinstance(case, ModelCase)):
                rounding = vanishing.get(path, np.zeros(gradient.shape, bool))
                good &= bool(gradient[~expected & ~rounding].all())
                good &= bool((np.abs(gradient[rounding]) <= FLOAT64 * np.abs(gradient).max()).all())
    rows.add(4, "gradients finite, zero only where clipped", case.name, good)


def _float32(case: LayerCase, twins: Pair, arrays: dict[str, Any], cotangents: Arrays, rows: Rows) -> None:
    """Outputs and gradients of the float32 twins."""
    static = {**case.options, "training": case.training}
    single_pair = pair(case, "float32")
    jax, torch = (twin.call(arrays, cotangents, **static) for twin in (single_pair.jax, single_pair.torch))
    numbers = [v for r in (jax, torch) for d in (r.outputs, r.gradients) for v in d.values() if is_differentiable(v)]
    kept = all(v.dtype == np.float32 for v in numbers)
    rows.add(3, "float32 stays float32", case.name, kept, "float32")

    def exact(wanted: str) -> Any:
        """The oracle; where it has no answer (gradients, dropout), a float64 twin that agreed with the other above."""

        def at(rng: np.random.Generator | None) -> Arrays:
            values = [rounded(v, rng) for v in (twins.parameters, twins.statistics, arrays)]
            if wanted == "outputs" and not case.dropout:
                return reference.outputs(case, *values)
            twins.torch.set(*values[:2])
            return getattr(twins.torch.call(values[2], cotangents, **static), wanted)

        return at

    for rung, wanted in ((3, "outputs"), (4, "gradients")):
        found = [getattr(result, wanted) for result in (jax, torch)]
        rows.compare_float32(rung, wanted, case.name, found, exact(wanted), case.rng(f"rounding of {wanted}"))


def bfloat16(case: LayerCase, rows: Rows) -> None:
    """How far products in bfloat16 move the outputs of the float32 twins: reported, and held to a wide bound."""
    config: Any = case.config
    low = dataclasses.replace(case, config=config.replace(compute_dtype="bfloat16"))
    twins, arrays = pair(low, "float32"), case.arrays()
    exact = reference.outputs(case, twins.parameters, twins.statistics, arrays)
    found = [twin.call(arrays, **case.options).outputs for twin in (twins.jax, twins.torch)]
    rows.each(
        3, "outputs, bfloat16 products", case.name, [errors(outputs, exact) for outputs in found], 0.1, "bfloat16"
    )


def _finite_differences(
    case: LayerCase,
    twins: Pair,
    arrays: dict[str, Any],
    cotangents: Arrays,
    gradients: tuple[Arrays, Arrays],
    rows: Rows,
) -> None:
    """The oracle's derivative along a random direction of each parameter and input, by central differences.

    Steps h and 2 h are combined so that the error is of order h^4.
    """
    inputs = {f"input {name}": a for name, a in arrays.items() if a is not None and np.issubdtype(a.dtype, np.inexact)}
    rng = case.rng("directions")
    at = {**twins.parameters, **inputs}
    differences, found = [], ([], [])
    for path, point in at.items():
        direction = single(rng.standard_normal(point.shape)) / np.sqrt(point.size)

        def product(step: float, path: str = path, direction: Array = direction) -> float:
            moved = {**at, path: at[path] + step * direction}
            given = arrays | {n.removeprefix("input "): moved[n] for n in inputs}
            parameters = {p: moved[p] for p in twins.parameters}
            outputs = reference.outputs(case, parameters, twins.statistics, given)
            return sum(float((outputs[name] * c).sum()) for name, c in cotangents.items())

        h = 2e-4
        slopes = [(product(n * h) - product(-n * h)) / (2 * n * h) for n in (1, 2)]
        differences.append((4 * slopes[0] - slopes[1]) / 3)
        for own, gradient in zip(found, gradients, strict=True):
            own.append(float((gradient[path] * direction).sum()))
    jax, torch = (error(np.array(own), np.array(differences)) for own in found)
    rows.each(4, "gradients, oracle's finite differences", case.name, (jax, torch), 1e-8)
