"""A PyTorch twin behind the interface that the ladder uses; `jax.py` beside it is its twin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from implementations import catalog, parameters
from implementations.common.initializers import Keys
from suite.equivalence.cases import Result, cast_all, flatten, is_differentiable, nest

Arrays = Mapping[str, Any]


def _numpy(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}


def _named(outputs: Any) -> dict[str, torch.Tensor]:
    """Outputs by name: `y` and, where there is one, the leaves of the state."""
    y, state = outputs if isinstance(outputs, tuple) else (outputs, None)
    return {"y": y} | flatten(state, "state")


ON_CPU = os.environ.get("JAX_PLATFORMS", "").startswith("cpu")
"""Whether the JAX twins are kept from a GPU, as the runner does for hardware "cpu"; these then keep away as well."""

DEVICE = torch.device("cuda" if torch.cuda.is_available() and not ON_CPU else "cpu")


class Twin:
    """A module, called as a pure function of NumPy arrays: no call changes its parameters or statistics."""

    def __init__(self, module: torch.nn.Module, dtype: str) -> None:
        self.module, self.dtype = module.to(DEVICE), dtype

    @classmethod
    def layer(cls, config: Any, seed: int, dtype: str) -> Twin:
        """A layer of the catalog with its initial values."""
        return cls(catalog.layer_class(config.architecture, "torch")(config, Keys(seed, dtype)), dtype)

    @classmethod
    def model(cls, config: Any, seed: int, dtype: str) -> Twin:
        """A model around layers with its initial values."""
        return cls(catalog.model_class(config, "torch")(config, Keys(seed, dtype)), dtype)

    def set(self, values: Arrays, statistics: Arrays) -> None:
        """Set all parameters and running statistics."""
        parameters.set_parameters(self.module, dict(values))
        parameters.set_statistics(self.module, dict(statistics))

    def call(self, arrays: Arrays, cotangents: Arrays | None = None, **static: Any) -> Result:
        """Outputs and new statistics; with cotangents of outputs also all gradients of their product."""
        before = parameters.get_statistics(self.module)
        inputs = self._tensors(arrays)
        outputs = _named(self.module(**nest(inputs), **static))
        statistics = parameters.get_statistics(self.module)
        parameters.set_statistics(self.module, before)
        gradients = {}
        if cotangents is not None:
            leaves = dict(self.module.named_parameters())
            leaves |= {f"input {name}": tensor for name, tensor in inputs.items() if tensor.requires_grad}
            product = sum(
                (outputs[n] * torch.as_tensor(c, dtype=outputs[n].dtype, device=DEVICE)).sum()
                for n, c in cotangents.items()
            )
            found = torch.autograd.grad(product, list(leaves.values()), materialize_grads=True)  # pyright: ignore
            gradients = dict(zip(leaves, found, strict=True))
        return Result(_numpy(outputs), statistics, _numpy(gradients))

    def jacobian(self, arrays: Arrays, wrt: str, **static: Any) -> np.ndarray:
        """The derivative of output `y` by one input: shape of y followed by the shape of the input."""
        before = parameters.get_statistics(self.module)
        inputs = self._tensors(arrays)
        y = _named(self.module(**nest(inputs), **static))["y"]
        parameters.set_statistics(self.module, before)
        basis = torch.eye(y.numel(), dtype=y.dtype, device=DEVICE).reshape(-1, *y.shape)
        (rows,) = torch.autograd.grad(y, inputs[wrt], basis, is_grads_batched=True)
        return rows.reshape(*y.shape, *inputs[wrt].shape).cpu().numpy()

    def _tensors(self, arrays: Arrays) -> dict[str, torch.Tensor]:
        cast = cast_all(arrays, self.dtype)
        return {name: torch.tensor(a, device=DEVICE, requires_grad=is_differentiable(a)) for name, a in cast.items()}
