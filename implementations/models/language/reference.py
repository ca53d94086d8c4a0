"""The language model in NumPy float64, around the oracles of its layers: the oracle of both twins."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from implementations import catalog
from implementations.common import conventions
from implementations.models.adaptive import reference as adaptive
from implementations.models.config import LanguageModelConfig
from implementations.ops.attention.reference import sinusoidal

Array = np.ndarray
Parameters = dict[str, Array]


def below(path: str, values: Parameters) -> Parameters:
    """The values under a path, by the rest of their paths."""
    return {name.removeprefix(f"{path}."): value for name, value in values.items() if name.startswith(f"{path}.")}


def run_layers(
    layers: tuple[Any, ...],
    p: Parameters,
    x: Float[Array, "B L D"],
    state: dict[str, Any] | None,
    mask: Array | None,
    path: str = "layers",
) -> tuple[Float[Array, "B L D"], dict[str, Any]]:
    """A stack of layers in evaluation, by their own oracles."""
    after = {}
    for i, config in enumerate(layers):
        oracle = importlib.import_module(f"{catalog.get(config.architecture).room}.reference").layer
        before = None if state is None else state[str(i)]
        x, after[str(i)] = oracle(config, below(f"{path}.{i}", p), x, None, before, mask)
    return x, after


def norm(kind: str, p: Parameters, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
    """The norm of that kind, or none, with the parameters `scale` and `bias`."""
    if kind == "rms":
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + conventions.RMS_NORM_EPSILON) * p["scale"]
    if kind == "layer":
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + conventions.LAYER_NORM_EPSILON)
        return x * p["scale"] + p["bias"]
    return x


def model(
    config: LanguageModelConfig,
    parameters: Parameters,
    inputs: Integer[Array, "B L"],
    state: dict[str, Any] | None = None,
    mask: Array | None = None,
) -> tuple[Float[Array, "B L V"], dict[str, Any]]:
    """Logits (log probabilities where adaptive) and states, without dropout; arguments as `LanguageModel`."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    if config.embedding == "adaptive":
        x = adaptive.embedding(config, p, inputs)
    else:
        x = p["embedding.table"][inputs]
    x = x * (np.sqrt(config.d_model) if config.scale_embedding else 1.0)
    placed = {}
    if config.input_positions != "none":
        before = np.zeros(len(x), int) if state is None else state["position"]
        table = sinusoidal(np.arange(before.max() + x.shape[1]), config.d_model)
        if config.input_positions == "learned":
            table = p["positions.table"]
        x = x + np.stack([table[start : start + x.shape[1]] for start in before])
        genuine = np.ones(x.shape[:2], bool) if mask is None else mask
        placed["position"] = before + np.where(genuine, 1 + np.arange(x.shape[1]), 0).max(1)
    x, after = run_layers(config.layers, p, x, state, mask)
    x = norm(config.final_norm, below("norm", p), x)
    if config.output in ("adaptive", "adaptive_tied"):
        return adaptive.log_probabilities(config, p, x), after | placed
    x = x / (np.sqrt(config.d_model) if config.scale_logits else 1.0)
    return x @ (p["embedding.table"].T if config.output == "tied" else p["output.kernel"]), after | placed
