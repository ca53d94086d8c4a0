"""The parity ladder of an architecture, rungs 0 to 7: its JAX and PyTorch twins against each other and an oracle.

0 paths, shapes and dtypes; 1 initial values, bit for bit; 2 operations against the float64 oracle; 3 outputs;
4 gradients; 5 updates of the real recipes; 6 modes: segments, single tokens, algorithms, compiled, padding, batch size;
7 causality: derivatives that must be exactly zero. The checks live in `suite/equivalence/`.

Where JAX's default device is a GPU, both twins run there, in float64 and in float32 with products in full precision,
and are held to the same tolerances (`suite/equivalence/rows.py`); the updates of rung 5 run on the CPU everywhere.
"""

from __future__ import annotations

import importlib
from typing import Any

from implementations import catalog


def run(architecture: str, seed: int = 0) -> list[dict[str, Any]]:
    """All rows of an architecture's ladder, each {rung, check, case, dtype, error_jax, error_torch, error_between,
    tolerance, passed}; errors are relative to the largest magnitude, None where a check compares no numbers.

    Both frameworks are imported, and JAX is switched to 64 bits for the whole process: call it in one of its own.
    """
    catalog.get(architecture)
    for framework in catalog.FRAMEWORKS:
        catalog.require_framework(framework)
    import jax

    jax.config.update("jax_enable_x64", True)
    from suite.equivalence import ladder

    return ladder.climb(importlib.import_module(f"suite.equivalence.{architecture}"), seed)
