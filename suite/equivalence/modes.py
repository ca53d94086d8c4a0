"""Rung 6: every way of evaluating gives the same numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from suite.equivalence.cases import LayerCase, ModelCase, draw_cotangents, normal
from suite.equivalence.functions import Pair, pair
from suite.equivalence.rows import FLOAT64, Rows, errors

Array = np.ndarray
Arrays = dict[str, Any]


def streaming(case: LayerCase, rows: Rows) -> None:
    """A causal layer on the whole sequence, on segments, and token by token: outputs and last states."""
    twins = pair(case)
    arrays: Arrays = dict(case.arrays())
    along = [case.sequence, *case.drawn]
    cut = case.length // 2

    def parts(twin: Any, ends: list[int]) -> Arrays:
        outputs: list[Array] = []
        state = {name: array for name, array in arrays.items() if name.partition(".")[0] == "state"}
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            given = {name: arrays[name][:, start:end] for name in along}
            found = twin.call({**given, **state}, **case.options).outputs
            outputs.append(found["y"])
            state = {name: value for name, value in found.items() if name != "y"}
        return {"y": np.concatenate(outputs, 1), **state}

    for name, ends in (
        ("segments", [cut, cut + 1, case.length] if case.length > 2 * cut else [cut, case.length]),
        ("token by token", list(range(1, case.length + 1))),
    ):
        off = [errors(parts(t, ends), t.call(arrays, **case.options).outputs) for t in (twins.jax, twins.torch)]
        rows.each(6, f"whole sequence = {name}", case.name, off, FLOAT64)


def methods(case: LayerCase, names: tuple[str, ...], rows: Rows) -> None:
    """The algorithms of the recurrence: outputs and gradients."""
    twins, arrays = pair(case), case.arrays()
    off = []
    for twin in (twins.jax, twins.torch):
        cotangents = draw_cotangents(twin.call(arrays, **case.options).outputs, case.rng("cotangents"))
        found = [twin.call(arrays, cotangents, scan=name, training=case.training, **case.options) for name in names]
        off.append(
            max(
                max(errors(other.outputs, found[0].outputs), errors(other.gradients, found[0].gradients))
                for other in found[1:]
            )
        )
    rows.each(6, " = ".join(names), case.name, off, FLOAT64)


def padding(case: ModelCase, rows: Rows) -> None:
    """More padding changes nothing, in training nor in evaluation; nor do the other sequences of a batch."""
    twins, arrays = pair(case), case.arrays()
    rng = case.rng("padding")
    inputs, lengths = arrays["inputs"], arrays["lengths"]
    assert inputs is not None
    assert lengths is not None
    more = inputs[:, rng.permutation(case.length)[:9]]
    wider = {**arrays, "inputs": np.concatenate([inputs, more], 1)}
    refilled = {**arrays, "inputs": _refill(inputs, lengths, rng)}

    def both(check: str, off: Callable[[Any], float]) -> None:
        rows.each(6, check, case.name, (off(twins.jax), off(twins.torch)), FLOAT64)

    def change(twin: Any, other: Arrays, training: bool) -> float:
        static = {**case.options, "training": training}
        first, second = twin.call(arrays, **static), twin.call(other, **static)
        return max(errors(second.outputs, first.outputs), errors(second.statistics, first.statistics))

    for training in (False, True):
        mode = "training" if training else "evaluation"
        both(f"padding, {mode}", lambda t, on=training: max(change(t, wider, on), change(t, refilled, on)))

    def alone(twin: Any) -> float:
        whole = twin.call(arrays, **case.options).outputs["y"]
        row = len(whole) - 1
        members = [row] if len(inputs) == len(whole) else [row, len(whole) + row]
        own = lengths[members]
        given = {"inputs": inputs[members, : own.max()], "lengths": own}
        given |= {name: a[members] for name, a in arrays.items() if name == "outputs" and a is not None}
        found = twin.call(given, **case.options).outputs["y"]
        return errors({"y": found}, {"y": whole[row : row + 1]})

    both("batch size", alone)


def _refill(inputs: Array, lengths: Array, rng: np.random.Generator) -> Array:
    """Other contents at the padded positions."""
    padded = np.arange(inputs.shape[1]) >= lengths[:, None]
    other = inputs[rng.permutation(len(inputs))][:, rng.permutation(inputs.shape[1])]
    return np.where(padded if inputs.ndim == 2 else padded[..., None], other, inputs)


STEPS = 3


def compiled(case: LayerCase, rows: Rows) -> None:
    """Eager = compiled over training steps; one graph without breaks, one trace for all steps."""
    twins = pair(case)
    steps = []
    for step in range(STEPS):
        rng = case.rng(f"step {step}")
        arrays = {name: _other(a, rng) for name, a in case.arrays().items()}
        steps.append({**arrays, "dropout_seed": np.asarray(step)})
    jax_error, traces = _compiled_jax(twins, case, steps)
    torch_error, graphs, breaks = _compiled_torch(twins, case, steps)
    rows.each(6, "eager = compiled, over training steps", case.name, (jax_error, torch_error), FLOAT64)
    rows.add(6, "compiled once, without a graph break", case.name, (traces, graphs, breaks) == (1, 1, 0))


def _other(value: Array | None, rng: np.random.Generator) -> Array | None:
    """Another input of the same shape; masks and lengths stay."""
    if value is not None and np.issubdtype(value.dtype, np.inexact):
        return normal(rng, value.shape)
    return value


def _compiled_jax(twins: Pair, case: LayerCase, steps: list[Arrays]) -> tuple[float, int]:
    """The worst error of outputs and statistics over the steps, and the number of traces."""
    import jax.numpy as jnp
    from flax import nnx

    from implementations.parameters import get_statistics

    traces = 0

    def call(module: Any, arrays: dict[str, Any]) -> Any:
        nonlocal traces
        traces += 1
        outputs = module(**arrays, training=True, **case.options)
        return outputs[0] if isinstance(outputs, tuple) else outputs

    def run(function: Any) -> list[dict[str, Array]]:
        twins.jax.set(twins.parameters, twins.statistics)
        given = [{name: jnp.asarray(a) for name, a in arrays.items() if a is not None} for arrays in steps]
        found = [{"y": np.asarray(function(twins.jax.module, arrays))} for arrays in given]
        return [*found, get_statistics(twins.jax.module)]

    eager = run(call)
    traces = 0
    fast = run(nnx.jit(call))
    return max(errors(a, b) for a, b in zip(fast, eager, strict=True)), traces


def _compiled_torch(twins: Pair, case: LayerCase, steps: list[Arrays]) -> tuple[float, int, int]:
    """The worst error of outputs, gradients and statistics over the steps, and the counts of graphs and breaks.

    Graphs are captured whole but run by PyTorch itself (`aot_eager`): no C++ compiler is needed to count them.
    """
    import torch
    from torch._dynamo.exc import Unsupported, UserError
    from torch._dynamo.testing import CompileCounterWithBackend

    from implementations.parameters import get_statistics
    from suite.equivalence.torch import DEVICE

    def run(function: Any) -> list[dict[str, Array]]:
        twins.torch.set(twins.parameters, twins.statistics)
        found = []
        for arrays in steps:
            given = {name: torch.tensor(a, device=DEVICE) for name, a in arrays.items() if a is not None}
            outputs = function(**given, training=True, **case.options)
            y = outputs[0] if isinstance(outputs, tuple) else outputs
            leaves = list(twins.torch.module.parameters())
            gradients = torch.autograd.grad((y * y).sum(), leaves, materialize_grads=True)  # pyright: ignore
            found.append({"y": y.detach().cpu().numpy()} | {str(i): g.cpu().numpy() for i, g in enumerate(gradients)})
        return [*found, get_statistics(twins.torch.module)]

    eager = run(twins.torch.module)
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    try:
        fast = run(torch.compile(twins.torch.module, backend=counter, fullgraph=True))
    except (Unsupported, UserError) as error:
        print(error, file=sys.stderr)
        return float("inf"), counter.frame_count, 1
    finally:
        torch.compiler.reset()
    return max(errors(a, b) for a, b in zip(fast, eager, strict=True)), counter.frame_count, 0
