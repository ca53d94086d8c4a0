"""A batch that several processes compute in parts: what spans the batch spans the whole of it.

Inside `sharded` the masks of dropout are this process's rows of the masks of the whole batch, and sums, means and
maxima over the batch go over all processes, with their gradients. Outside, a batch is whole and every function here
the identity. JAX has no counterpart: under `jit` a sharded array is one array.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed
from jaxtyping import Float, Integer, Num
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Shard:
    """The `rows` that this process has of a batch of `whole` rows; `count` processes have equally many."""

    rows: Integer[Tensor, " B"]
    whole: int
    count: int


_shard: Shard | None = None


@contextlib.contextmanager
def sharded(shard: Shard) -> Iterator[None]:
    """Inside, every batch of this process is that part of one."""
    global _shard
    previous, _shard = _shard, shard
    try:
        yield
    finally:
        _shard = previous


def shards() -> int:
    """How many processes compute the batch."""
    return 1 if _shard is None else _shard.count


def places(outer: int, batch: int, inner: int, device: torch.device) -> Integer[Tensor, " n"]:
    """Where the elements of this process's (outer, batch, inner) lie in (outer, the whole batch, inner), flat."""
    if _shard is None:
        return torch.arange(outer * batch * inner, device=device)
    rows = torch.arange(outer, device=device)[:, None] * _shard.whole + _shard.rows
    return (rows.reshape(outer, batch, 1) * inner + torch.arange(inner, device=device)).reshape(-1)


def batch_sum(x: Num[Tensor, "*shape"]) -> Num[Tensor, "*shape"]:
    """The sum of what the processes have."""
    return x if _shard is None else _reduced(x)


def batch_mean(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The mean of what the processes have."""
    return x if _shard is None else _reduced(x) / _shard.count


@torch.no_grad()
def batch_max(x: Num[Tensor, "*shape"]) -> Num[Tensor, "*shape"]:
    """The maximum of what the processes have, without a gradient."""
    if _shard is None:
        return x
    largest = x.clone()
    torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
    return largest


class _Sum(torch.autograd.Function):
    """The sum over the processes; every process's loss depends on it, so its gradient is their sum as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Sum.apply(gradients[0].contiguous())


def _reduced(x: Tensor) -> Tensor:
    total: Any = _Sum.apply(x)
    return total
