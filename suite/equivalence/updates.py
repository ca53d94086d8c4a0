"""Rung 5: updates of the real recipe, through the training backends, in both frameworks.

A recipe keeps its groups, decay, rates and the shape of its schedule; model and data are made small, and the epochs
are so short that 100 updates run from the warm-up to the end of the cosine.
"""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

from suite.equivalence.cases import single
from suite.equivalence.rows import FLOAT64, Rows, errors
from suite.recipes.base import Recipe

Array = np.ndarray
Arrays = dict[str, Array]

STEPS = (1, 10, 100)
LENGTH = 12


@dataclass(frozen=True)
class Batch:
    """What a backend trains on."""

    inputs: Array
    lengths: Array
    labels: Array


def short(published: Recipe, **layer: Any) -> Recipe:
    """A published recipe, small: one layer with these changes, 5 updates per epoch, 100 in all."""
    model: Any = published.model
    data = published.data.replace(settings={**published.data.settings, "train": 20})
    return published.rescaled(
        model=model.replace(layer=model.layer.replace(**layer), depth=1, input_size=min(model.input_size, 6)),
        data=data,
        batch_size=4,
        evaluation_batch_size=4,
        epochs=20,
    )


def batch(recipe: Recipe, step: int) -> Batch:
    """Tokens, or values, of different lengths, padded with zeros; the batch of a step."""
    rng = np.random.default_rng([17, step])
    model: Any = recipe.model
    rows = recipe.batch_size * (2 if model.model == "dual_encoder" else 1)
    lengths = rng.integers(2, LENGTH + 1, rows).astype(np.int32)
    if model.input_kind == "tokens":
        inputs = rng.integers(1, model.input_size, (rows, LENGTH)).astype(np.int32)
    else:
        inputs = single(rng.standard_normal((rows, LENGTH, model.input_size)))
    inputs[np.arange(LENGTH) >= lengths[:, None]] = 0
    return Batch(inputs, lengths, rng.integers(0, model.classes, recipe.batch_size).astype(np.int32))


def backend(framework: str, recipe: Recipe, seed: int = 0, dtype: str = "float64") -> Any:
    """The training backend of a framework on the CPU."""
    module = importlib.import_module(f"suite.training.{framework}")
    with quickly_compiled() if framework == "jax" else contextlib.nullcontext():
        return module.Backend(recipe, seed, "cpu", dtype)


def quickly_compiled() -> contextlib.AbstractContextManager:
    """What is wrapped in `jax.jit` meanwhile compiles with the options of `quick`."""
    import jax

    from suite.equivalence.jax import quick

    return mock.patch.object(jax, "jit", partial(jax.jit, compiler_options=quick()))


def train(found: Any, recipe: Recipe, start: Arrays | None = None) -> dict[int, Arrays]:
    """The state after each of the first ten steps and the last, with the losses so far under "loss"."""
    if start is not None:
        found.load_state(start)
    dtype = found.state()["parameters.encoder.kernel"].dtype
    states, handles = {0: found.state()}, []
    for step in range(max(STEPS)):
        data = batch(recipe, step)
        if np.issubdtype(data.inputs.dtype, np.inexact):
            data = Batch(data.inputs.astype(dtype), data.lengths, data.labels)
        handles.append(found.train_step(data, recipe.optimizer.rates(step), 3 * step + 1))
        if step + 1 in STEPS or step < 10:
            states[step + 1] = {**found.state(), "loss": found.losses(handles)}
    return states


def adam(recipe: Recipe, before: Arrays, after: Arrays, step: int) -> Arrays:
    """The parameters after one update by the optimizer's equations, from the gradient behind the first moments."""
    spec, groups = recipe.optimizer, recipe.optimizer.parameter_groups()
    rates, expected = spec.rates(step), {}
    for name, p in before.items():
        part, _, path = name.partition(".")
        if part != "parameters":
            continue
        g = (after[f"first_moment.{path}"] - spec.b1 * before[f"first_moment.{path}"]) / (1 - spec.b1)
        m = after[f"first_moment.{path}"] / (1 - spec.b1 ** (step + 1))
        v = spec.b2 * before[f"second_moment.{path}"] + (1 - spec.b2) * g * g
        direction = m / (np.sqrt(v / (1 - spec.b2 ** (step + 1))) + spec.eps)
        group = spec.group_of(path)
        expected[name] = p - rates[group] * (direction + groups[group].weight_decay * p)
    return expected


def _values(state: Arrays) -> Arrays:
    """What is compared of a state: losses, parameters and running statistics."""
    return {n: a for n, a in state.items() if n.startswith(("parameters.", "statistics.", "loss"))}


def climb(name: str, recipe: Recipe, rows: Rows, seed: int) -> None:
    """The rows of rung 5 for one recipe."""
    frameworks = ("jax", "torch")
    runs = [train(backend(framework, recipe, seed), recipe) for framework in frameworks]
    off = []
    for run in runs:
        steps = [(adam(recipe, run[k], run[k + 1], k), run[k + 1]) for k in range(10)]
        off.append(max(errors({n: after[n] for n in expected}, expected) for expected, after in steps))
    rows.each(5, "an update is the optimizer's equation", name, off, FLOAT64)
    for steps in STEPS:
        text = f"{steps} update{'s' if steps > 1 else ''}"
        rows.compare(5, text, name, [_values(run[steps]) for run in runs], None)
