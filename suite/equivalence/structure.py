"""Rungs 0 and 1: the same paths, shapes and dtypes; the same initial values, bit for bit."""

from __future__ import annotations

import numpy as np

from suite.equivalence.cases import LayerCase, ModelCase
from suite.equivalence.rows import Rows

Arrays = dict[str, np.ndarray]


def climb(case: LayerCase, rows: Rows) -> None:
    """The rows of rungs 0 and 1 for one case."""
    from implementations import parameters
    from suite.equivalence.jax import Twin as JaxTwin
    from suite.equivalence.torch import Twin as TorchTwin

    kind = "model" if isinstance(case, ModelCase) else "layer"

    def initial(twin: type, seed: int, dtype: str) -> tuple[Arrays, Arrays]:
        module = getattr(twin, kind)(case.config, seed, dtype).module
        return parameters.get_parameters(module), parameters.get_statistics(module)

    for dtype in ("float32", "float64"):
        jax, torch = initial(JaxTwin, case.seed, dtype), initial(TorchTwin, case.seed, dtype)
        same = all(_signature(a) == _signature(b) for a, b in zip(jax, torch, strict=True))
        rows.add(0, "paths, shapes and dtypes", case.name, same and _all_are(dtype, *jax, *torch), dtype)
        same = all(_bits(a) == _bits(b) for a, b in zip(jax, torch, strict=True))
        other = initial(JaxTwin, case.seed + 1, dtype)[0]
        same &= _bits(other) != _bits(jax[0])
        rows.add(1, "initial values, bit for bit and of this seed only", case.name, same, dtype)


def _signature(arrays: Arrays) -> dict[str, tuple]:
    return {path: (value.shape, value.dtype) for path, value in arrays.items()}


def _bits(arrays: Arrays) -> dict[str, bytes]:
    return {path: np.ascontiguousarray(value).tobytes() for path, value in arrays.items()}


def _all_are(dtype: str, *groups: Arrays) -> bool:
    return all(value.dtype == dtype for group in groups for value in group.values())
