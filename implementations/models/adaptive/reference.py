"""Adaptive embedding and softmax in NumPy float64, one token after the other: the oracle of both twins."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer

from implementations.models.config import LanguageModelConfig

Array = np.ndarray
Parameters = dict[str, Array]


def band_of(config: LanguageModelConfig, token: int) -> tuple[int, int]:
    """The band of a token, and its place there."""
    band = sum(token >= cutoff for cutoff in config.cutoffs)
    return band, token - config.bands[band][0]


def embedding(config: LanguageModelConfig, p: Parameters, tokens: Integer[Array, "B L"]) -> Float[Array, "B L D"]:
    """The adaptive embedding."""
    found = np.zeros((*tokens.shape, config.d_model))
    for place, token in np.ndenumerate(tokens):
        band, index = band_of(config, int(token))
        found[place] = p[f"embedding.bands.{band}.table"][index] @ p[f"embedding.bands.{band}.projection"]
    return found


def softmax(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """Probabilities."""
    e = np.exp(x - x.max())
    return e / e.sum()


def log_probabilities(config: LanguageModelConfig, p: Parameters, x: Float[Array, "B L D"]) -> Float[Array, "B L V"]:
    """The log probability of every token, by the product rule over bands."""
    tied = config.output == "adaptive_tied"
    tables = [p[f"{'embedding' if tied else 'output'}.bands.{i}.table"] for i in range(len(config.bands))]
    where = "embedding" if tied and config.tie_projections else "output"
    found = np.zeros((*x.shape[:2], config.input_size))
    for place in np.ndindex(*x.shape[:2]):
        h = x[place]
        head = softmax(np.concatenate([tables[0] @ h, h @ p["output.clusters"]]))
        for token in range(config.input_size):
            band, index = band_of(config, token)
            probability = head[index]
            if band > 0:
                within = softmax(tables[band] @ (p[f"{where}.bands.{band}.projection"] @ h))
                probability = head[len(tables[0]) + band - 1] * within[index]
            found[(*place, token)] = np.log(probability)
    return found
