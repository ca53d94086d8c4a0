"""Adaptive embedding (arXiv 1809.10853) and adaptive softmax (arXiv 1609.04309), with their initial values.

Tokens are sorted by frequency and cut into bands. The head of the softmax gives the logits of the first band and one
for each further band; log p(v) = log p(band) + log p(v | band). All bands are computed at all positions, so that shapes
are static; without bands it is a plain softmax.
"""

import math

import numpy as np

from implementations.common.initializers import Keys, normal


def xavier_uniform(keys: Keys, shape: tuple[int, int]) -> np.ndarray:
    """Float64 values uniform between plus and minus sqrt(6 / (in + out))."""
    return (2.0 * keys.uniform(shape) - 1.0) * math.sqrt(6.0 / sum(shape))


def initial_table(keys: Keys, shape: tuple[int, int]) -> np.ndarray:
    """The vectors of a band, normal of deviation width^-1/2 (fairseq)."""
    return normal(keys, shape, shape[1] ** -0.5)
