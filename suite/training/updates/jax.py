"""The rules of update in JAX; `torch.py` beside it is its twin, the equations are in `suite/training/optimizer.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from suite.training.optimizer import OptimizerSpec

Arrays = dict[str, Array]


def start(spec: OptimizerSpec, parameters: Arrays) -> dict[str, Arrays]:
    """The moments before the first update, all zero, by name and path."""
    moments: dict[str, Arrays] = {}
    for path, p in parameters.items():
        for name, shape in spec.moments(p.shape).items():
            moments.setdefault(name, {})[path] = jnp.zeros(shape, p.dtype)
    return moments


def update(
    spec: OptimizerSpec,
    parameters: Arrays,
    gradients: Arrays,
    moments: dict[str, Arrays],
    rates: Mapping[str, Any],
    constants: Mapping[str, Any],
) -> tuple[Arrays, dict[str, Arrays]]:
    """One update of every parameter: parameters and moments after it."""
    groups, updated = spec.parameter_groups(), {}
    after: dict[str, Arrays] = {name: {} for name in moments}
    for path, p in parameters.items():
        group = spec.group_of(path)
        own = {name: arrays[path] for name, arrays in moments.items() if path in arrays}
        rule = (spec, p, gradients[path], own, rates[group], groups[group].weight_decay, constants)
        updated[path], own = RULES[spec.algorithm](*rule)
        for name, array in own.items():
            after[name][path] = array
    return updated, after


def adam(
    spec: OptimizerSpec,
    p: Float[Array, " ..."],
    g: Float[Array, " ..."],
    moments: Arrays,
    rate: Any,
    weight_decay: float,
    constants: Mapping[str, Any],
) -> tuple[Array, Arrays]:
    """Adam with decoupled weight decay: a parameter and its moments after an update."""
    first = spec.b1 * moments["first_moment"] + (1 - spec.b1) * g
    second = spec.b2 * moments["second_moment"] + (1 - spec.b2) * g * g
    corrected = first / constants["first_correction"]
    direction = corrected / (jnp.sqrt(second / constants["second_correction"]) + spec.eps)
    return p - rate * (direction + weight_decay * p), {"first_moment": first, "second_moment": second}


def radam(
    spec: OptimizerSpec,
    p: Float[Array, " ..."],
    g: Float[Array, " ..."],
    moments: Arrays,
    rate: Any,
    weight_decay: float,
    constants: Mapping[str, Any],
) -> tuple[Array, Arrays]:
    """Rectified Adam: a parameter and its moments after an update."""
    adaptive = constants["adaptive"]
    first = spec.b1 * moments["first_moment"] + (1 - spec.b1) * g
    second = spec.b2 * moments["second_moment"] + (1 - spec.b2) * g * g
    direction = constants["scale"] * first / (adaptive * (jnp.sqrt(second) + spec.eps) + (1 - adaptive))
    return p - rate * (direction + weight_decay * p), {"first_moment": first, "second_moment": second}


def adafactor(
    spec: OptimizerSpec,
    p: Float[Array, " ..."],
    g: Float[Array, " ..."],
    moments: Arrays,
    rate: Any,
    weight_decay: float,
    constants: Mapping[str, Any],
) -> tuple[Array, Arrays]:
    """Adafactor: a parameter and its moments after an update."""
    decay, mixing = constants["decay"], constants["mixing"]
    square, axes, after = g * g + spec.least_square, spec.factored(p.shape), {}
    if axes is None:
        after["second_moment"] = decay * moments["second_moment"] + mixing * square
        change = g / jnp.sqrt(after["second_moment"])
    else:
        shorter, longest = axes
        rows = decay * moments["second_moment_rows"] + mixing * square.mean(longest, keepdims=True)
        columns = decay * moments["second_moment_columns"] + mixing * square.mean(shorter, keepdims=True)
        after |= {"second_moment_rows": rows, "second_moment_columns": columns}
        change = g / jnp.sqrt(rows / rows.mean(shorter, keepdims=True)) / jnp.sqrt(columns)
    if spec.clip_rms is not None:
        change = change / jnp.maximum(jnp.sqrt((change * change).mean()) / spec.clip_rms, 1.0)
    change = rate * jnp.maximum(jnp.sqrt((p * p).mean()), spec.least_scale) * change
    if spec.b1:
        change = spec.b1 * moments["first_moment"] + (1 - spec.b1) * change
        after["first_moment"] = change
    return p - (change + rate * weight_decay * p), after


def nesterov(
    spec: OptimizerSpec,
    p: Float[Array, " ..."],
    g: Float[Array, " ..."],
    moments: Arrays,
    rate: Any,
    weight_decay: float,
    constants: Mapping[str, Any],
) -> tuple[Array, Arrays]:
    """Nesterov's accelerated gradient: a parameter and its moment after an update."""
    first = spec.b1 * moments["first_moment"] + g
    return p - rate * (g + spec.b1 * first + weight_decay * p), {"first_moment": first}


RULES = {"adam": adam, "radam": radam, "adafactor": adafactor, "nesterov": nesterov}
