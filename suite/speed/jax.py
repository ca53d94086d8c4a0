"""A layer on a device in JAX, ready to be timed; `torch.py` beside it is its twin."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.extend.core import ClosedJaxpr, Jaxpr

from implementations import catalog, parameters
from implementations.common.config import Config
from implementations.common.conventions import MatmulPrecision
from implementations.common.initializers import Keys
from implementations.common.jax import matmul_precision
from suite.speed.config import Mode
from suite.speed.program import Program


class Bench:
    """One layer with its initial values on a device of a kind ("cpu", "gpu" or "tpu"); `recorded` has no meaning here,
    where every layer is compiled."""

    def __init__(self, config: Config, kind: str, precision: MatmulPrecision, recorded: bool = True) -> None:
        self.precision: MatmulPrecision = precision
        self.device = jax.devices({"gpu": "cuda"}.get(kind, kind))[0]
        with jax.default_device(self.device):
            self.layer = catalog.layer_class(str(config.architecture), "jax")(config, Keys(0))
        self.values = parameters.get_parameters(self.layer)
        self._graph, trained, rest = nnx.split(self.layer, nnx.Param, ...)
        self._trained, self._rest = jax.device_put((trained, rest), self.device)

    def place(self, x: np.ndarray) -> Any:
        """An input on the device."""
        return jax.device_put(x, self.device)

    def initial_state(self, batch: int) -> Any:
        """The state before the first token, on the device."""
        return jax.device_put(self.layer.initial_state(batch), self.device)

    def _call(self, trained, rest, x, state):
        with matmul_precision(self.precision):
            return nnx.merge(self._graph, trained, rest)(x, state)

    def outputs(self, x: Any) -> np.ndarray:
        """Outputs of the layer, for the gate."""
        return np.asarray(jax.jit(self._call)(self._trained, self._rest, x, self.initial_state(len(x)))[0])

    def activity(self, x: Any) -> float | None:
        """The share of tokens that the layer attends to; None where it has no choice."""
        if not getattr(self.layer.config, "chooses_tokens", False):
            return None
        function = jax.jit(lambda x, state: self.layer(x, state, return_activity=True)[2].mean())
        return float(function(x, self.initial_state(len(x))))

    def function(self, mode: Mode) -> Callable[..., Any]:
        """What a mode does with parameters, the rest of the layer, an input and a state; the state after it is always a
        result, as the twin computes it too: a compiler leaves out what is none."""
        if mode != "forward and backward":
            return self._call

        def summed(*given: Any) -> tuple[Any, Any]:
            y, state = self._call(*given)
            return y.sum(), state

        return jax.grad(summed, (0, 2), has_aux=True)

    def program(self, mode: Mode, x: Any) -> Program:
        """A mode on an input, compiled ahead of time."""
        function, state = self.function(mode), self.initial_state(len(x))
        if mode == "streaming step":
            _, state = jax.jit(self._call)(self._trained, self._rest, x, state)
            x = x[:, :1]
        given = (self._trained, self._rest, x, state)
        operations = matrix_products(jax.make_jaxpr(function)(*given).jaxpr)
        start = time.perf_counter()
        compiled = jax.jit(function).lower(*given).compile()
        cached = jax.config.jax_compilation_cache_dir is not None  # pyright: ignore[reportAttributeAccessIssue]
        seconds = None if cached else time.perf_counter() - start
        analysis = compiled.memory_analysis()
        counted = (
            {} if " while(" in (compiled.as_text() or "") else compiled.cost_analysis() or {}
        )  # a loop's body counts once
        return Program(
            run=lambda: compiled(*given),
            compile_seconds=seconds,
            memory=None if analysis is None else analysis.temp_size_in_bytes + analysis.output_size_in_bytes,
            operations=operations,
            traffic=counted.get("bytes accessed"),
            matrix_products_only=True,
        )

    def wait(self, results: Any) -> None:
        """Return when what `Program.run` started last, and so everything before it, is done."""
        jax.block_until_ready(results)


def matrix_products(program: Jaxpr) -> float | None:
    """Floating-point operations of the matrix products and convolutions of a program, as often as they run; None where
    that is decided when it runs.

    The compiler's own count leaves out what it calls from a library, which on a GPU are most matrix products.
    """
    total = 0.0
    for equation in program.eqns:
        name = equation.primitive.name
        shapes: list[Any] = [getattr(one.aval, "shape", ()) for one in equation.invars]
        counts = [matrix_products(inner) for inner in programs_within(equation.params)]
        if name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            total += 2 * _size(equation) * math.prod(shapes[0][axis] for axis in contracted)
        elif name == "conv_general_dilated":
            features = equation.params["dimension_numbers"].rhs_spec[0]
            total += 2 * _size(equation) * math.prod(shapes[1]) / shapes[1][features]
        elif name == "cond":
            if len(set(counts)) > 1:
                return None
            counts = counts[:1]
        elif name in ("while", "pallas_call") and counts != [0.0] * len(counts):
            return None
        if None in counts:
            return None
        total += sum(count or 0.0 for count in counts) * (equation.params["length"] if name == "scan" else 1)
    return total


def _size(equation: Any) -> int:
    """How many numbers an equation of one result makes."""
    return math.prod(equation.outvars[0].aval.shape)


def programs_within(parameters: dict[str, Any]) -> Iterator[Jaxpr]:
    """The programs within an equation."""
    for value in parameters.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr | Jaxpr):
                yield one.jaxpr if isinstance(one, ClosedJaxpr) else one


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that the device has not enough memory."""
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
