"""What rounding does to a training: the run of the same recipe from initial values moved by one unit in the last place.

Two machines, or two versions of a library, add in another order, so their runs part as if each update had been moved
by rounding; how fast depends on the recipe and cannot be known beforehand. So it is measured, as on the parity ladder.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def moved(state: Mapping[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    """The state of a backend with each parameter one unit in the last place up or down, at random by name and seed."""
    found = dict(state)
    for name, array in state.items():
        if name.startswith("parameters.") and np.issubdtype(array.dtype, np.inexact):
            rng = np.random.default_rng([seed, *name.encode()])
            signs = rng.choice(np.array([-1.0, 1.0]), array.shape)
            found[name] = (array * (1 + signs * float(np.finfo(array.dtype).eps))).astype(array.dtype)
    return found
