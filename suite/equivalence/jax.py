"""A JAX twin behind the interface that the ladder uses; `torch.py` beside it is its twin."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from implementations import catalog, parameters
from implementations.common.initializers import Keys
from implementations.common.jax import BatchStatistic
from suite.equivalence.cases import Result, cast_all, flatten, is_differentiable, nest

Arrays = Mapping[str, Any]


_QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}


@functools.cache
def quick() -> dict[str, Any] | None:
    """Compiler options that trade speed of the result for speed of compilation: the ladder's functions are small and
    run a few times. None on other devices than CPUs, and where this XLA knows these options no more."""
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(jnp.negative, compiler_options=_QUICK)(1.0)
    except jax.errors.JaxRuntimeError:
        return None
    return _QUICK


def _numpy(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


def _named(outputs: Any) -> dict[str, jax.Array]:
    """Outputs by name: `y` and, where there is one, the leaves of the state."""
    y, state = outputs if isinstance(outputs, tuple) else (outputs, None)
    return {"y": y} | flatten(state, "state")


class Twin:
    """A module, called as a pure function of NumPy arrays: no call changes its parameters or statistics."""

    def __init__(self, module: nnx.Module, dtype: str) -> None:
        self.module, self.dtype = module, dtype
        self.functions: dict[Any, Any] = {}

    @classmethod
    def layer(cls, config: Any, seed: int, dtype: str) -> Twin:
        """A layer of the catalog with its initial values."""
        return cls(catalog.layer_class(config.architecture, "jax")(config, Keys(seed, dtype)), dtype)

    @classmethod
    def model(cls, config: Any, seed: int, dtype: str) -> Twin:
        """A model around layers with its initial values."""
        return cls(catalog.model_class(config, "jax")(config, Keys(seed, dtype)), dtype)

    def set(self, values: Arrays, statistics: Arrays) -> None:
        """Set all parameters and running statistics."""
        parameters.set_parameters(self.module, dict(values))
        parameters.set_statistics(self.module, dict(statistics))

    def call(self, arrays: Arrays, cotangents: Arrays | None = None, **static: Any) -> Result:
        """Outputs and new statistics, compiled; with cotangents of outputs also all gradients of their product."""
        graph, values, statistics, rest = nnx.split(self.module, nnx.Param, BatchStatistic, ...)
        inputs = {name: jnp.asarray(a) for name, a in cast_all(arrays, self.dtype).items()}
        key = (cotangents is not None, tuple(sorted(static.items())), frozenset(inputs))
        moving = {name: a for name, a in inputs.items() if is_differentiable(np.asarray(a))}
        fixed = {name: a for name, a in inputs.items() if name not in moving}
        if key not in self.functions:
            self.functions[key] = jax.jit(
                self._function(graph, cotangents is not None, static), compiler_options=quick()
            )
        outputs, statistics, gradients = self.functions[key](
            values, moving, fixed, statistics, rest, None if cotangents is None else dict(cotangents)
        )
        found = {} if gradients is None else _flat(gradients[0]) | {f"input {n}": g for n, g in gradients[1].items()}
        return Result(_numpy(outputs), _numpy(_flat(statistics)), _numpy(found))

    def _function(self, graph: Any, differentiate: bool, static: Arrays) -> Any:
        def forward(values, moving, fixed, statistics, rest):
            # Variables may only be set at the trace level they were made at: this makes new ones here.
            module = nnx.merge(graph, values, jax.tree.map(lambda a: a, statistics), rest)
            outputs = _named(module(**nest({**moving, **fixed}), **static))  # pyright: ignore[reportCallIssue]
            return outputs, nnx.state(module, BatchStatistic)

        def product(values, moving, fixed, statistics, rest, cotangents):
            outputs, statistics = forward(values, moving, fixed, statistics, rest)
            return sum(jnp.sum(outputs[n] * c.astype(outputs[n].dtype)) for n, c in cotangents.items()), (
                outputs,
                statistics,
            )

        def function(values, moving, fixed, statistics, rest, cotangents):
            if not differentiate:
                return *forward(values, moving, fixed, statistics, rest), None
            gradients, (outputs, statistics) = jax.grad(product, (0, 1), has_aux=True)(
                values, moving, fixed, statistics, rest, cotangents
            )
            return outputs, statistics, gradients

        return function

    def jacobian(self, arrays: Arrays, wrt: str, **static: Any) -> np.ndarray:
        """The derivative of output `y` by one input: shape of y followed by the shape of the input."""
        graph, rest = nnx.split(self.module)
        inputs = {name: jnp.asarray(a) for name, a in cast_all(arrays, self.dtype).items()}

        def function(x):
            module = nnx.merge(graph, jax.tree.map(lambda a: a, rest))
            return _named(module(**nest({**inputs, wrt: x}), **static))["y"]  # pyright: ignore[reportCallIssue]

        return np.asarray(jax.jit(jax.jacrev(function), compiler_options=quick())(inputs[wrt]))


def _flat(state: Any) -> dict[str, Any]:
    return {".".join(map(str, path)): variable[...] for path, variable in nnx.to_flat_state(state)}
