"""Models of both frameworks behind one interface for tests: NumPy in and out, JAX compiled as one function."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from implementations.catalog import model_class
from implementations.common.initializers import Keys
from suite.equivalence.jax import quick


def build(framework: str, config: Any, dtype: str = "float64") -> Any:
    """The model of a config with its initial values."""
    return model_class(config, framework)(config, Keys(3, dtype))


def make(framework: str, value: Any) -> Any:
    """Arrays of the framework, in dictionaries too."""
    if value is None or isinstance(value, dict):
        return value and {name: make(framework, child) for name, child in value.items()}
    return jnp.asarray(value) if framework == "jax" else torch.tensor(value)


def numpy(value: Any) -> Any:
    """NumPy arrays from those of a framework, in dictionaries, tuples and lists too."""
    if isinstance(value, dict):
        return {name: numpy(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(numpy, value))
    return None if value is None else np.asarray(value.detach() if isinstance(value, torch.Tensor) else value)


def call(model: Any, method: str, *arrays: Any, **options: Any) -> Any:
    """What a method gives for arrays, positional or by name; `options` that are no arrays are fixed."""
    framework = "torch" if isinstance(model, torch.nn.Module) else "jax"
    named = {k: make(framework, v) for k, v in options.items() if isinstance(v, np.ndarray | dict)}
    fixed = {k: v for k, v in options.items() if k not in named}
    given = [make(framework, array) for array in arrays]
    if framework == "torch":
        return numpy(getattr(model, method)(*given, **named, **fixed))
    graph, state = nnx.split(model)

    def function(state: Any, given: Any, named: Any) -> Any:
        return getattr(nnx.merge(graph, state), method)(*given, **named, **fixed)

    return numpy(jax.jit(function, compiler_options=quick())(state, given, named))
