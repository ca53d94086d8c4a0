"""What is timed: one mode of one layer at one length, ready to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Program:
    """A prepared computation.

    run: starts it and returns what to wait for. compile_seconds: seconds until it was ready, None where it may come
    from a cache of compiled programs. memory: bytes that it needs on the device beside its arguments, None where nobody
    tells. operations: floating-point operations, None where they cannot be counted; `matrix_products_only` says whether
    other operations were left out. traffic: bytes read and written between device memory and kernels, as XLA counts
    them after fusion and PyTorch before it (`suite.speed.torch.Traffic`), None where they cannot be counted.
    """

    run: Callable[[], Any]
    compile_seconds: float | None
    memory: int | None
    operations: float | None
    traffic: float | None
    matrix_products_only: bool
