"""The rules of update in PyTorch; `jax.py` beside it is its twin, the equations are in `suite/training/optimizer.py`.

Adam is PyTorch's own, whose update is one kernel on a GPU. Moments exist from the start and are changed in place, so
that a recorded step goes on from what it left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from suite.training.optimizer import OptimizerSpec

Tensors = dict[str, Tensor]

ADAM = {"first_moment": "exp_avg", "second_moment": "exp_avg_sq"}
"""What PyTorch's Adam calls its moments."""


def start(spec: OptimizerSpec, parameters: Tensors) -> torch.optim.Optimizer:
    """The optimizer before the first update: one parameter group per group of the specification.

    On a GPU rates, constants and step counts are tensors there, so that a recorded step sees their changes.
    """
    members: dict[str, list[Tensor]] = {name: [] for name in spec.parameter_groups()}
    for path, p in parameters.items():
        members[spec.group_of(path)].append(p)
    cuda = all(p.is_cuda for p in parameters.values())
    device = next(iter(parameters.values())).device
    told = {"lr"} if spec.algorithm == "adam" else {"lr", *spec.constants(0)}
    groups = [
        {
            "params": members[name],
            "name": name,
            "weight_decay": group.weight_decay,
            **{value: torch.zeros((), device=device) if cuda else 0.0 for value in sorted(told)},
        }
        for name, group in spec.parameter_groups().items()
        if members[name]
    ]
    if spec.algorithm != "adam":
        return Updates(spec, groups)
    optimizer = torch.optim.AdamW(groups, betas=(spec.b1, spec.b2), eps=spec.eps, fused=cuda, capturable=cuda)
    for p in parameters.values():
        step = torch.zeros((), device=device if cuda else "cpu")
        zeros = {ADAM[name]: torch.zeros_like(p) for name in spec.moments(p.shape)}
        optimizer.state[p] = {"step": step, **zeros}
    return optimizer


def tell(optimizer: torch.optim.Optimizer, rates: Mapping[str, float], constants: Mapping[str, float]) -> None:
    """Set the rates of the next update, and the constants that the rule does not find by itself."""
    for group in optimizer.param_groups:
        for name, value in {"lr": rates[group["name"]], **constants}.items():
            if isinstance(group.get(name), Tensor):
                group[name].fill_(value)
            elif name in group:
                group[name] = value


def moments(spec: OptimizerSpec, optimizer: torch.optim.Optimizer, parameters: Tensors) -> dict[str, Tensors]:
    """The moments by name and path: the tensors themselves."""
    names = ADAM if spec.algorithm == "adam" else {}
    found: dict[str, Tensors] = {}
    for path, p in parameters.items():
        for name in spec.moments(p.shape):
            found.setdefault(name, {})[path] = optimizer.state[p][names.get(name, name)]
    return found


class Updates(torch.optim.Optimizer):
    """Every rule but Adam; rates and constants are those that `tell` set."""

    def __init__(self, spec: OptimizerSpec, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {})
        self.spec, self.rule = spec, RULES[spec.algorithm]
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {name: p.new_zeros(shape) for name, shape in spec.moments(p.shape).items()}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One update of every parameter; raises ValueError for a closure, which nothing here evaluates."""
        if closure is not None:
            raise ValueError("step takes no closure: evaluate the loss and its gradient before it")
        for group in self.param_groups:
            for p in group["params"]:
                updated, after = self.rule(self.spec, p, p.grad, self.state[p], group)
                p.copy_(updated)
                for name, tensor in after.items():
                    self.state[p][name].copy_(tensor)


def radam(
    spec: OptimizerSpec, p: Float[Tensor, " ..."], g: Float[Tensor, " ..."], moments: Tensors, group: dict[str, Any]
) -> tuple[Tensor, Tensors]:
    """Rectified Adam: a parameter and its moments after an update."""
    adaptive = group["adaptive"]
    first = spec.b1 * moments["first_moment"] + (1 - spec.b1) * g
    second = spec.b2 * moments["second_moment"] + (1 - spec.b2) * g * g
    direction = group["scale"] * first / (adaptive * (torch.sqrt(second) + spec.eps) + (1 - adaptive))
    after = {"first_moment": first, "second_moment": second}
    return p - group["lr"] * (direction + group["weight_decay"] * p), after


def adafactor(
    spec: OptimizerSpec, p: Float[Tensor, " ..."], g: Float[Tensor, " ..."], moments: Tensors, group: dict[str, Any]
) -> tuple[Tensor, Tensors]:
    """Adafactor: a parameter and its moments after an update."""
    rate, decay, mixing = group["lr"], group["decay"], group["mixing"]
    square, axes, after = g * g + spec.least_square, spec.factored(p.shape), {}
    if axes is None:
        after["second_moment"] = decay * moments["second_moment"] + mixing * square
        change = g / torch.sqrt(after["second_moment"])
    else:
        shorter, longest = axes
        rows = decay * moments["second_moment_rows"] + mixing * square.mean(longest, keepdim=True)
        columns = decay * moments["second_moment_columns"] + mixing * square.mean(shorter, keepdim=True)
        after |= {"second_moment_rows": rows, "second_moment_columns": columns}
        change = g / torch.sqrt(rows / rows.mean(shorter, keepdim=True)) / torch.sqrt(columns)
    if spec.clip_rms is not None:
        change = change / torch.clamp(torch.sqrt((change * change).mean()) / spec.clip_rms, min=1.0)
    change = rate * torch.clamp(torch.sqrt((p * p).mean()), min=spec.least_scale) * change
    if spec.b1:
        change = spec.b1 * moments["first_moment"] + (1 - spec.b1) * change
        after["first_moment"] = change
    return p - (change + rate * group["weight_decay"] * p), after


def nesterov(
    spec: OptimizerSpec, p: Float[Tensor, " ..."], g: Float[Tensor, " ..."], moments: Tensors, group: dict[str, Any]
) -> tuple[Tensor, Tensors]:
    """Nesterov's accelerated gradient: a parameter and its moment after an update."""
    first = spec.b1 * moments["first_moment"] + g
    return p - group["lr"] * (g + spec.b1 * first + group["weight_decay"] * p), {"first_moment": first}


RULES = {"radam": radam, "adafactor": adafactor, "nesterov": nesterov}
