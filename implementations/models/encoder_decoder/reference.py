"""The encoder-decoder in NumPy float64, around the oracles of its layers, and beam search: the oracle of both twins."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from implementations import catalog
from implementations.models.config import EncoderDecoderConfig
from implementations.models.language.reference import below, norm, run_layers
from implementations.ops.attention.reference import sinusoidal
from implementations.transformer.cross import reference as cross

Array = np.ndarray
Parameters = dict[str, Array]


def _embed(config: EncoderDecoderConfig, p: Parameters, tokens: Array, part: str, positions: str) -> Array:
    x = p["embedding.table"][tokens] * (np.sqrt(config.d_model) if config.scale_embedding else 1.0)
    if positions == "sinusoidal":
        x = x + sinusoidal(np.arange(x.shape[1]), config.d_model)
    elif positions == "learned":
        x = x + p[f"{part}_positions.table"][: x.shape[1]]
    return norm(config.embedding_norm, below(f"{part}_input_norm.norm", p), x)


def model(
    config: EncoderDecoderConfig,
    parameters: Parameters,
    inputs: Integer[Array, "B T"],
    outputs: Integer[Array, "B L"],
    lengths: Array | None = None,
) -> Float[Array, "B L V"]:
    """Logits without dropout; arguments as `EncoderDecoder`."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    valid = None if lengths is None else np.arange(inputs.shape[1]) < lengths[:, None]
    x = _embed(config, p, inputs, "encoder", config.input_positions)
    x, _ = run_layers(config.layers, p, x, None, valid, "encoder.layers")
    memory = norm(config.final_norm, below("encoder_norm.norm", p), x)
    y = _embed(config, p, outputs, "decoder", config.decoder_positions)
    layer: Any = config.decoder_layer
    own = importlib.import_module(f"{catalog.get(layer.architecture).room}.reference").layer
    for i in range(config.decoder_depth):
        y, _ = own(layer, below(f"decoder.layers.{i}", p), y, None, None, None)
        y = cross.layer(config.cross, below(f"decoder.cross.{i}", p), y, memory, valid)
    y = norm(config.final_norm, below("decoder_norm.norm", p), y)
    y = y / (np.sqrt(config.d_model) if config.scale_logits else 1.0)
    return y @ (p["embedding.table"].T if config.output == "tied" else p["output"])


def beam_search(
    next_of: Callable[[list[int]], Array], count: int, beams: int, length_penalty: float, end: int
) -> list[int]:
    """The best sequence of at most `count` tokens; `next_of` gives the log probabilities after those so far."""
    kept: list[tuple[float, list[int]]] = [(0.0, [])]
    for _ in range(count):
        extended = []
        for score, tokens in kept:
            if tokens and tokens[-1] == end:
                extended.append((score, tokens))
                continue
            after = next_of(tokens)
            extended += [(score + after[token], [*tokens, token]) for token in range(len(after))]
        extended.sort(key=lambda beam: -beam[0] / ((5 + len(beam[1])) / 6) ** length_penalty)
        kept = extended[:beams]
    return kept[0][1]
