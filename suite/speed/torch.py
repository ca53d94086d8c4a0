"""A layer on a device in PyTorch, ready to be timed; `jax.py` beside it is its twin."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from implementations import catalog, parameters
from implementations.common.config import Config
from implementations.common.conventions import MatmulPrecision
from implementations.common.initializers import Keys
from implementations.common.torch import matmul_precision
from suite.speed.config import Mode
from suite.speed.program import Program
from suite.training.cuda_graph import Captured

UNWRITTEN = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")
"""Operations that set memory apart and write nothing into it."""


class Traffic(TorchDispatchMode):
    """Bytes of the tensors that operations read and write, each operation by itself, of what runs inside.

    Views and memory that is only set apart are free, a broadcast tensor counts once, a changed one is read and written.
    This is the traffic of unfused operations: at least what a fused program moves between memory and kernels, so that
    operations over bytes are a lower bound of its arithmetic intensity. What a kernel reads twice, or keeps for itself,
    is not seen, nor what a cache saves. XLA counts after fusion: the two are not to be compared.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        written = _tensors(results)
        if written and func.overloadpacket.__name__ not in UNWRITTEN:
            read = _tensors((args, kwargs))
            places = {tensor.untyped_storage().data_ptr() for tensor in read}
            moved = func._schema.is_mutable or any(t.untyped_storage().data_ptr() not in places for t in written)
            self.bytes += sum(map(bytes_of, (*read, *written))) if moved else 0
        return results


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_iter(values) if isinstance(value, Tensor)]


def bytes_of(tensor: Tensor) -> int:
    """Bytes of a tensor's elements, those that lie in one place counted once."""
    elements = math.prod(size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or not size)
    return min(elements * tensor.element_size(), tensor.untyped_storage().nbytes())


def asks_flex(values: dict[str, Any]) -> bool:
    """Whether a layer's values ask for FlexAttention, into which no counter can look: it counts another kernel."""
    parts = (asks_flex(part) for part in values.values() if isinstance(part, dict))
    return values.get("method") == "flex" or any(parts)


class Bench:
    """One layer with its initial values on a device of a kind ("cpu" or "gpu")."""

    def __init__(self, config: Config, kind: str, precision: MatmulPrecision, recorded: bool = True) -> None:
        self.precision: MatmulPrecision = precision
        self.recorded = recorded
        self.device = torch.device({"gpu": "cuda"}.get(kind, kind))
        self.layer = catalog.layer_class(str(config.architecture), "torch")(config, Keys(0)).to(self.device)
        self.values = parameters.get_parameters(self.layer)
        self._chooses: bool = getattr(config, "chooses_tokens", False)
        self._seen = not asks_flex(config.to_dict())

    def place(self, x: np.ndarray) -> Any:
        """An input on the device."""
        return torch.from_numpy(x).to(self.device)

    def initial_state(self, batch: int) -> Any:
        """The state before the first token, on the device."""
        return self.layer.initial_state(batch)

    def _call(self, x, state):
        with matmul_precision(self.precision):
            return self.layer(x, state)

    def _outputs(self, x, state):
        with torch.no_grad():
            return self._call(x, state)[0]

    def _gradients(self, x, state):
        """Gradients of the layer's parameters and input. The leaves are made here: a leaf accumulates in the stream
        where it was first used, and a recording, which has its own, cannot wait for another."""
        leaves = {name: value.detach().requires_grad_() for name, value in self.layer.named_parameters()}
        x = x.detach().requires_grad_()
        with matmul_precision(self.precision):
            y, *_ = functional_call(self.layer, leaves, (x.view_as(x), state))  # a counter's hooks want a history
        return torch.autograd.grad(y.sum(), [*leaves.values(), x], allow_unused=True)

    def outputs(self, x: Any) -> np.ndarray:
        """Outputs of the layer, for the gate."""
        return self._outputs(x, self.initial_state(len(x))).cpu().numpy()

    def activity(self, x: Any) -> float | None:
        """The share of tokens that the layer attends to; None where it has no choice."""
        if not self._chooses:
            return None
        with torch.no_grad():
            return float(self.layer(x, self.initial_state(len(x)), return_activity=True)[2].mean())

    def program(self, mode: Mode, x: Any) -> Program:
        """A mode on an input: eager operations, on a CUDA device recorded once and replayed as one graph.

        A layer that chooses its tokens is not recorded: the host reads how many there are. Neither are those that are
        compared with it (`SpeedSettings.recorded`).
        """
        state = self.initial_state(len(x))
        if mode == "streaming step":
            with torch.no_grad():
                _, state = self._call(x, state)
                x = x[:, :1].contiguous()
        measured = self._gradients if mode == "forward and backward" else self._outputs

        def function() -> Any:
            return measured(x, state)

        start = time.perf_counter()
        with FlopCounterMode(display=False) as counter, Traffic() as traffic:
            function()
        memory = self._memory(function)
        run = self._recorded(function)
        return Program(
            run=run,
            compile_seconds=time.perf_counter() - start,
            memory=memory,
            operations=float(counter.get_total_flops()),
            traffic=float(traffic.bytes) if self._seen else None,
            matrix_products_only=True,
        )

    def _memory(self, function: Callable[[], Any]) -> int | None:
        if self.device.type != "cuda":
            return None
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        function()
        return torch.cuda.max_memory_allocated(self.device) - before

    def _recorded(self, function: Callable[[], Any]) -> Callable[[], Any]:
        recorded = self.device.type == "cuda" and self.recorded and not self._chooses
        return Captured(function, (), ()).replay if recorded else function

    def wait(self, results: Any) -> None:
        """Return when what `Program.run` started last, and so everything before it, is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that the device has not enough memory."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error).lower()
