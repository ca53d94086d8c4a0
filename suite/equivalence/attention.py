"""Rung 2 for attention: every kernel and the block form of the window against the float64 oracle, around the window."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from implementations.ops.attention import FLEX_WIDTH
from implementations.ops.attention import reference as oracle
from suite.equivalence.cases import is_differentiable, normal
from suite.equivalence.rows import Rows, rounded

Array = np.ndarray
Arrays = dict[str, Array]

WINDOW = 8
LENGTHS = (1, 5, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 1)
IN_FLOAT32 = (5, WINDOW + 1, 2 * WINDOW + 1)
CACHED = 3
"""Tokens before the segment, where attention is full."""

BUCKETS, MAX_DISTANCE = 8, 12
KERNELS = {"float64": ("einsum",), "float32": ("einsum", "fused")}
"""JAX's fused kernel takes the softmax in float32 whatever its inputs are."""

CHUNK, FIRST = WINDOW // 2, (1, 3)
"""Of chunks in a segment behind a cache: their size, and where in one each sequence stands at its first query."""
WITH_FLEX = 2 * WINDOW + 1
"""The length at which "flex" takes the windows too, in float32; shorter than a window it is "fused"."""


def climb(rows: Rows, seed: int) -> None:
    """The rows of rung 2 for attention."""
    _positions(rows)
    for length in LENGTHS:
        _climb(rows, np.random.default_rng([seed, length]), length)


def _positions(rows: Rows) -> None:
    """Buckets and indices of relative positions, which are integers."""
    relative = np.arange(-300, 301)
    for buckets, farthest, both in (
        (32, 128, False),
        (32, 128, True),
        (16, 64, False),
        (32, 1024, True),
        (8, 20, False),
    ):
        expected = np.array([oracle.t5_bucket(int(r), buckets, farthest, both) for r in relative])
        found = [_call(f, "t5_bucket", relative, buckets, farthest, both) for f in ("jax", "torch")]
        case = f"{buckets} buckets up to {farthest}{', both sides' if both else ''}"
        rows.compare(2, "attention, T5 buckets", case, ({"y": found[0]}, {"y": found[1]}), {"y": expected}, 0.0)
    expected = np.array([oracle.simple_index(int(r), 20) for r in relative])
    found = [_call(f, "simple_index", relative, 20) for f in ("jax", "torch")]
    rows.compare(
        2, "attention, clamped positions", "up to 20", ({"y": found[0]}, {"y": found[1]}), {"y": expected}, 0.0
    )


def _call(framework: str, name: str, relative: Array, *options: Any) -> Array:
    ops, to = _framework(framework)
    return _numpy(getattr(ops, name)(to(relative[None]), *options))[0]


def _numpy(value: Any) -> Array:
    """An array of either framework, from whatever device."""
    return np.asarray(value.cpu() if hasattr(value, "cpu") else value)


def _framework(framework: str) -> tuple[Any, Callable[[Array], Any]]:
    """The operations of a framework, and its constructor of arrays on the device of the ladder."""
    if framework == "jax":
        import jax.numpy as jnp

        from implementations.ops.attention import jax as ops

        return ops, jnp.asarray
    import torch

    from implementations.ops.attention import torch as ops
    from suite.equivalence.torch import DEVICE

    return ops, partial(torch.tensor, device=DEVICE)


def _climb(rows: Rows, rng: np.random.Generator, length: int) -> None:
    arrays = _arrays(rng, length)
    case = f"length {length}, window {WINDOW}"
    for dtype in ("float64", "float32") if length in IN_FLOAT32 else ("float64",):
        jobs = _jobs(KERNELS[dtype], dtype == "float32" and length == WITH_FLEX)
        found = [_run(framework, jobs, arrays, dtype) for framework in ("jax", "torch")]
        for form in dict.fromkeys(name.partition(",")[0] for name in jobs):
            chosen = {name: job for name, job in jobs.items() if name.startswith(f"{form},")}
            own = [{name: values[name] for name in chosen} for values in found]

            def exact(rng: np.random.Generator | None, chosen: dict[str, Any] = chosen) -> Arrays:
                return {name: _expected(rounded(arrays, rng), job) for name, job in chosen.items()}

            if dtype == "float64":
                rows.compare(2, f"attention, {form}", case, own, exact(None))
            else:
                rows.compare_float32(2, f"attention, {form}", case, own, exact, rng)


def _arrays(rng: np.random.Generator, length: int) -> Arrays:
    """Two sequences, three heads; of the second some keys are no tokens, its first query sees none of its own."""
    total = max(WINDOW, CACHED) + length
    valid = np.ones((2, total), bool)
    valid[1] = rng.random(total) < 0.7
    valid[1, : WINDOW + 1] = False
    return {
        "q": normal(rng, (2, length, 3, FLEX_WIDTH)) / 2,
        "k": normal(rng, (2, total, 3, FLEX_WIDTH)) / 2,
        "v": normal(rng, (2, total, 3, 2 * FLEX_WIDTH)),
        "t5": normal(rng, (3, BUCKETS)),
        "simple": normal(rng, (3, 2 * WINDOW - 3)),
        "valid": valid,
        "places": np.array(FIRST)[:, None] + np.arange(length),
    }


def _jobs(kernels: tuple[str, ...], flex: bool) -> dict[str, dict[str, Any]]:
    """What is computed, by name."""
    jobs: dict[str, dict[str, Any]] = {
        "positions, rotary": {"call": "rotary"},
        "positions, waves": {"call": "sinusoidal"},
    }
    jobs["positions, unit vectors"] = {"call": "normalise"}
    forms: dict[str, dict[str, Any]] = {
        "causal": {"bias": "t5"},
        "causal without itself": {"include_self": False, "bias": "simple", "valid": True},
        "causal with gaps": {"valid": True},
        "both sides": {"causal": False, "bias": "t5", "valid": True},
        "both sides without a bias": {"causal": False},
    }
    for text, form in forms.items():
        for kernel in kernels:
            jobs[f"full, {text}, {kernel}"] = {"before": CACHED, "method": kernel, **form}
            jobs[f"window, {text}, {kernel}"] = {"window": WINDOW, "method": kernel, **form}
        if flex:
            jobs[f"flexible window, {text}"] = {"window": WINDOW, "method": "flex", **form}
        jobs[f"naive window, {text}"] = {"window": WINDOW, "naive": True, "method": "einsum", **form}
    chunks: dict[str, dict[str, Any]] = {
        "causal": {"bias": "t5"},
        "causal with the one before": {"neighbours": True, "bias": "t5", "valid": True},
        "both sides": {"causal": False, "valid": True},
        "both sides with those around": {"causal": False, "neighbours": True, "bias": "t5"},
    }
    for kernel in kernels:
        for text, form in chunks.items():
            jobs[f"chunks, {text}, {kernel}"] = {"chunk": WINDOW, "method": kernel, **form}
        for neighbours in (False, True):
            form = {"chunk": CHUNK, "window": WINDOW, "neighbours": neighbours, "bias": "t5", "valid": True}
            jobs[f"window, chunks{' with the one before' * neighbours}, {kernel}"] = {**form, "method": kernel}
    return jobs


def _cut(arrays: dict[str, Any], job: dict[str, Any]) -> tuple[Any, Any, Any, Any, int]:
    """Queries, keys, values, validity and the number of keys before the first query of a job."""
    length, total = arrays["q"].shape[1], arrays["k"].shape[1]
    causal = job.get("causal", True)
    aligned = "chunk" in job and "window" not in job
    before = job.get("before", WINDOW if causal and not aligned else 0)
    k, v, valid = (arrays[name][:, total - length - before :] for name in ("k", "v", "valid"))
    return arrays["q"], k, v, valid if job.get("valid") else None, before


def _expected(arrays: Arrays, job: dict[str, Any]) -> Array:
    if "call" in job:
        return _position_job(oracle, arrays["q"], np.arange(50), job["call"])
    q, k, v, valid, before = _cut(arrays, job)
    causal, kind = job.get("causal", True), job.get("bias")

    def bias(r: int) -> Array:
        if kind == "t5":
            return arrays["t5"][:, oracle.t5_bucket(r, BUCKETS, MAX_DISTANCE, not causal)]
        return arrays["simple"][:, oracle.simple_index(r, WINDOW - 1)]

    def sees(b: int, i: int, j: int) -> bool:
        first = FIRST[b] if "window" in job else 0
        return oracle.share_chunk(job["chunk"], causal, job.get("neighbours", False), first, i, j)

    return oracle.attention(
        q,
        k,
        v,
        bias=bias if kind else None,
        valid=valid,
        before=before,
        window=job.get("window"),
        causal=causal,
        include_self=job.get("include_self", True),
        sees=sees if "chunk" in job else None,
    )


def _position_job(ops: Any, q: Any, positions: Any, name: str) -> Any:
    if name == "rotary":
        return ops.rotary(q, 3)
    if name == "normalise":
        return ops.normalise(q)
    return ops.sinusoidal(positions, 7) if ops is oracle else ops.sinusoidal(positions, 7, q)


def _compute(ops: Any, arrays: dict[str, Any], positions: Any, job: dict[str, Any]) -> Any:
    """One job in one framework, whose operations are given."""
    if "call" in job:
        return _position_job(ops, arrays["q"], positions, job["call"])
    q, k, v, valid, before = _cut(arrays, job)
    causal, kind = job.get("causal", True), job.get("bias")

    def bias(relative: Any) -> Any:
        if kind == "t5":
            return arrays["t5"][:, ops.t5_bucket(relative, BUCKETS, MAX_DISTANCE, not causal)]
        return arrays["simple"][:, ops.simple_index(relative, WINDOW - 1)]

    options = {"bias": bias if kind else None, "valid": valid, "causal": causal, "method": job["method"]}
    if "chunk" in job and "window" not in job:
        return ops.chunk_attention(q, k, v, job["chunk"], neighbours=job.get("neighbours", False), **options)
    options["include_self"] = job.get("include_self", True)
    if "chunk" in job:
        options["reach"] = arrays["places"] % CHUNK + (CHUNK if job["neighbours"] else 0)
    if "window" in job and "naive" not in job:
        return ops.window_attention(q, k, v, job["window"], **options)
    return ops.full_attention(q, k, v, before=before, window=job.get("window"), **options)


def _run(framework: str, jobs: dict[str, dict[str, Any]], arrays: Arrays, dtype: str) -> Arrays:
    ops, to = _framework(framework)
    given = {name: to(a.astype(dtype) if is_differentiable(a) else a) for name, a in arrays.items()}
    positions = to(np.arange(50))

    def compute(given: dict[str, Any]) -> dict[str, Any]:
        return {name: _compute(ops, given, positions, job) for name, job in jobs.items()}

    if framework == "jax":
        import jax

        from suite.equivalence.jax import quick

        compute = jax.jit(compute, compiler_options=quick())
    else:
        import torch

        torch.compiler.reset()  # FlexAttention is compiled for each form, and the compiler counts them
    return {name: _numpy(value) for name, value in compute(given).items()}
