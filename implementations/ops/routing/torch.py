"""Routing in PyTorch; `jax.py` beside it is its twin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Int, Integer, Shaped
from torch import Tensor


def order(selected: Bool[Tensor, "B L"]) -> tuple[Int[Tensor, "B L"], Int[Tensor, " B"]]:
    """The positions of each row, selected ones first and both in their order; and how many are selected."""
    count = selected.sum(1)
    slots = torch.where(selected, torch.cumsum(selected, 1), count[:, None] + torch.cumsum(~selected, 1)) - 1
    positions = torch.arange(selected.shape[1], device=selected.device).expand(selected.shape)
    return torch.zeros_like(slots).scatter(1, slots, positions), count


def compress(
    x: Shaped[Tensor, "B L *rest"], order: Integer[Tensor, "B L"], count: Integer[Tensor, " B"], capacity: int
) -> Shaped[Tensor, "B C *rest"]:
    """The selected tokens of each row, then zeros; NaN where a row has more of them than `capacity`."""
    y = torch.gather(x, 1, _over(order[:, :capacity], x))
    filled = _over(torch.arange(capacity, device=x.device) < count[:, None], y)
    y = torch.where(filled, y, torch.zeros_like(y))
    if capacity < x.shape[1] and y.is_floating_point():
        y = torch.where(_over((count > capacity)[:, None].expand(y.shape[:2]), y), torch.nan, y)
    return y


def extract(
    y: Shaped[Tensor, "B C *rest"], order: Integer[Tensor, "B L"], count: Integer[Tensor, " B"]
) -> Shaped[Tensor, "B L *rest"]:
    """Each selected token's result in its place, zero in the others; the inverse of `compress`."""
    capacity = y.shape[1]
    filled = _over(torch.arange(capacity, device=y.device) < count[:, None], y)
    y = torch.where(filled, y, torch.zeros_like(y))
    x = y.new_zeros((*order.shape, *y.shape[2:]))
    return x.scatter(1, _over(order[:, :capacity], y), y)


def _over(x, like):
    """(B, C) given the further axes of another array."""
    return x.reshape(*x.shape, *[1] * (like.ndim - 2)).expand(*x.shape, *like.shape[2:])


def at_capacity(function: Callable[[int], Any], count: Integer[Tensor, " B"], length: int, steps: int) -> Any:
    """`function(capacity)` for the count of the largest row; for the whole length where `steps` is 0, and where it is
    compiled, with static shapes.

    `torch.cond` would choose among the capacities of the JAX twin, but has no gradient where a branch returns integers
    beside numbers.
    """
    whole = steps == 0 or torch.compiler.is_compiling()
    return function(length if whole else max(int(count.max()), 1))
