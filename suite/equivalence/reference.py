"""The oracle of a case: the reference of its layer, and the models around layers, in NumPy float64."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from implementations import catalog
from implementations.models.config import PooledConfig
from implementations.models.encoder_decoder import reference as encoder_decoder
from implementations.models.language import reference as language
from implementations.ops.attention.reference import sinusoidal
from suite.equivalence.cases import EncoderDecoderCase, LanguageCase, LayerCase, ModelCase, flatten, nest

Array = np.ndarray
Arrays = dict[str, Array]


def gelu(x: Array) -> Array:
    """GELU in its tanh form."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def below(path: str, values: Arrays) -> Arrays:
    """The values under a path, by the rest of their paths."""
    return {name.removeprefix(f"{path}."): value for name, value in values.items() if name.startswith(f"{path}.")}


def outputs(case: LayerCase, parameters: Arrays, statistics: Arrays, arrays: dict[str, Any]) -> Arrays:
    """The outputs of a case by name: `y` and, where the layer streams, `state`; dropout is left out."""
    given = nest({name: value for name, value in arrays.items() if name != "dropout_seed" and value is not None})
    config: Any = case.config
    if isinstance(case, EncoderDecoderCase):
        return {"y": encoder_decoder.model(config, parameters, **given)}
    if isinstance(case, LanguageCase):
        y, state = language.model(config, parameters, **given)
        return {"y": y} | flatten(state, "state")
    if isinstance(case, ModelCase):
        return {"y": model(config, parameters, statistics, case.training, **given, **case.options)}
    y, state = _layer(config)(config, parameters, statistics=_used(statistics, case.training), **given, **case.options)
    return {"y": y} | flatten(state, "state")


def _layer(config: Any) -> Any:
    return importlib.import_module(f"{catalog.get(config.architecture).room}.reference").layer


def _used(statistics: Arrays, training: bool) -> Arrays | None:
    return None if training else statistics


def model(
    config: PooledConfig,
    parameters: Arrays,
    statistics: Arrays,
    training: bool,
    inputs: Array,
    lengths: Array | None = None,
    **options: Any,
) -> Array:
    """Logits (B, C) of a classifier or a dual encoder, from (B, L) tokens or (B, L, input_size) values."""
    x = np.eye(config.input_size)[inputs] if config.input_kind == "tokens" else inputs
    x = x @ parameters["encoder.kernel"] + parameters["encoder.bias"]
    if config.input_positions == "sinusoidal":
        x = x + sinusoidal(np.arange(x.shape[1]), x.shape[2])
    elif config.input_positions == "learned":
        x = x + parameters["positions.table"][: x.shape[1]]
    mask = None if lengths is None else np.arange(x.shape[1]) < lengths[:, None]
    for i, layer in enumerate(config.layers):
        own = below(f"layers.{i}", statistics)
        given = options if layer.architecture == config.layer.architecture else {}
        x, _ = _layer(layer)(layer, below(f"layers.{i}", parameters), x, _used(own, training), None, mask, **given)
    ends = np.full(len(x), x.shape[1]) if lengths is None else lengths
    if config.pooling == "last":
        x = np.stack([sequence[end - 1] for sequence, end in zip(x, ends, strict=True)])
    else:
        x = np.stack([sequence[:end].mean(0) for sequence, end in zip(x, ends, strict=True)])
    if config.model == "dual_encoder":
        first, second = x[: len(x) // 2], x[len(x) // 2 :]
        x = np.concatenate([first, second, first - second, first * second], -1)
        x = gelu(x @ parameters["hidden.kernel"] + parameters["hidden.bias"])
    return x @ parameters["decoder.kernel"] + parameters["decoder.bias"]
