"""The recurrence with constant coefficients as one GPU kernel, in JAX (Pallas on Triton); `torch.py` is its twin."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from implementations.common.config import ConfigError
from implementations.ops.scan.jax import multiply
from implementations.ops.scan.kernel import STATES, TILE, power_of_two, segment_length

INTERPRET = False
"""Whether the kernel is interpreted, which runs on any device, slowly."""


class Options(NamedTuple):
    """What the kernel is compiled for: halves of the states, whether the first runs from the right, and where."""

    directions: int = 1
    reverse: bool = False
    segment: int | None = None
    interpret: bool = False


def scan(
    a: Float[Array, "Q 2"],
    b: Float[Array, "B L P 2"],
    initial: Float[Array, "B Q 2"] | None = None,
    *,
    directions: int = 1,
    reverse: bool = False,
    segment: int | None = None,
) -> Float[Array, "B L Q 2"]:
    """x_t = a x_{t-1} + b_t for the first P states from the left; with two directions the second P from the right.

    `initial` is the state before each direction's first position (zero if None). `reverse` exchanges the directions.
    `segment` is the number of positions that one program computes; None chooses it. Differentiable once, in a, b and
    initial.
    """
    dtype = jnp.promote_types(b.dtype, jnp.float32)
    initial = jnp.zeros((len(b), *a.shape), dtype) if initial is None else initial.astype(dtype)
    return _scan(a.astype(dtype), b, initial, Options(directions, reverse, segment, INTERPRET))


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _scan(a, b, initial, options):
    return _run(a, b, initial, options)


def _forward(a, b, initial, options):
    x = _run(a, b, initial, options)
    return x, (a, x, initial)


def _backward(options, kept, g):
    """The gradient is the same recurrence from the other end, with the conjugate of a: h_t = g_t + conj(a) h_{t+1}."""
    a, x, initial = kept
    conjugate = jnp.array([1, -1], a.dtype)
    a = a * conjugate
    h = _run(a, g, jnp.zeros_like(initial), options._replace(reverse=not options.reverse))
    of_a, of_initial = [], []
    halves = (jnp.split(array.astype(a.dtype), options.directions, -2) for array in (a, x, h, initial))
    for (a_half, x_half, h_half, first), from_right in zip(zip(*halves, strict=True), _reversed(options), strict=True):
        if from_right:
            before, start = jnp.concatenate([x_half[:, 1:], first[:, None]], 1), h_half[:, -1]
        else:
            before, start = jnp.concatenate([first[:, None], x_half[:, :-1]], 1), h_half[:, 0]
        of_a.append(multiply(h_half, before * conjugate).sum((0, 1)))
        of_initial.append(multiply(a_half, start))
    return jnp.concatenate(of_a), sum(jnp.split(h, options.directions, -2)), jnp.concatenate(of_initial, 1)


_scan.defvjp(_forward, _backward)


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _run(a, b, initial, options):
    """All states: at once, or from the ends of segments, which are the same recurrence with a to their length."""
    batch, length = b.shape[:2]
    segment = options.segment or segment_length(batch, length, len(a))
    count = -(-length // segment)
    starts = initial[:, None]
    if count > 1:
        zeros = jnp.zeros((batch, count - 2, *a.shape), a.dtype)
        outer = [(starts, zeros, starts * 0) if not r else (starts * 0, zeros, starts) for r in _reversed(options)]
        starts = _halves(options, [jnp.concatenate(parts, 1) for parts in outer])
        ends = _launch(a, b, starts, options, segment, ends_only=True)
        ends = _launch(_power(a, segment), ends, jnp.zeros_like(initial)[:, None], options, count)
        inner = [
            jnp.concatenate([initial[:, None], ends[:, :-1]] if not r else [ends[:, 1:], initial[:, None]], 1)
            for r in _reversed(options)
        ]
        starts = _halves(options, inner)
    return _launch(a, b, starts, options, segment)


@_run.defjvp
def _tangents(options, primals, tangents):
    raise ConfigError("scan method is 'kernel', which is differentiable once: choose scan='chunked' or 'associative'")


def _reversed(options):
    """Which halves of the states run from the right."""
    return [options.reverse != (half == 1) for half in range(options.directions)]


def _halves(options, arrays):
    """The first half of the states of the first array, the second of the second."""
    halves = [jnp.split(array, options.directions, -2)[half] for half, array in enumerate(arrays)]
    return jnp.concatenate(halves, -2)


def _power(a, exponent):
    """a to a positive integer, by squaring."""
    found = None
    while exponent:
        if exponent & 1:
            found = a if found is None else multiply(found, a)
        a, exponent = multiply(a, a), exponent >> 1
    return found


def _launch(a, b, starts, options, segment, ends_only=False):
    """The kernel over segments from the states `starts` (B, S, Q, 2): all states, or the last of each segment."""
    (batch, length, columns, _), states, count = b.shape, len(a), starts.shape[1]
    half = states // options.directions
    width = min(half & -half, STATES)
    tile = min(TILE, power_of_two(segment))
    per_sequence = pl.BlockSpec((None, length, width, 2), lambda i, s, p: (i, 0, p, 0))
    per_segment = pl.BlockSpec((None, None, width, 2), lambda i, s, p: (i, s, p, 0))
    shape = (batch, count, states, 2) if ends_only else (batch, length, states, 2)
    return pl.pallas_call(
        partial(_kernel, options, tile, segment, length, states // width, ends_only),
        grid=(batch, count, states // width),
        in_specs=[
            pl.BlockSpec((width, 2), lambda i, s, p: (p, 0)),
            pl.BlockSpec((None, length, width, 2), lambda i, s, p: (i, 0, p % (columns // width), 0)),
            per_segment,
        ],
        out_specs=per_segment if ends_only else per_sequence,
        out_shape=jax.ShapeDtypeStruct(shape, a.dtype if ends_only else b.dtype),
        compiler_params=triton.CompilerParams(num_warps=1, num_stages=1),
        interpret=options.interpret,
        name="recurrence",
    )(a, b, starts)


def _kernel(options, tile, segment_length, length, blocks, ends_only, a_ref, b_ref, start_ref, out_ref):
    """One block of states over one segment. A step past its end changes nothing and writes its last states again."""
    dtype = a_ref.dtype
    segment, p = pl.program_id(1), pl.program_id(2)
    first, stop = segment * segment_length, jnp.minimum((segment + 1) * segment_length, length)
    from_right = options.reverse if options.directions == 1 else (p >= blocks // 2) != options.reverse
    ragged = length % segment_length != 0 or segment_length % tile != 0
    a_re, a_im = a_ref[:, 0], a_ref[:, 1]

    def run_tile(index, x):
        x_re, x_im = x
        left = first + index * tile
        steps = [jnp.where(from_right, stop - 1 - index * tile - k, left + k) for k in range(tile)]
        genuine = [(t >= first) & (t < stop) for t in steps]
        if ragged:
            steps = [jnp.clip(t, first, stop - 1) for t in steps]
        inputs = [(b_ref[t, :, 0].astype(dtype), b_ref[t, :, 1].astype(dtype)) for t in steps]
        for t, valid, (b_re, b_im) in zip(steps, genuine, inputs, strict=True):
            y_re, y_im = a_re * x_re - a_im * x_im + b_re, a_re * x_im + a_im * x_re + b_im
            if ragged:
                y_re, y_im = jnp.where(valid, y_re, x_re), jnp.where(valid, y_im, x_im)
            x_re, x_im = y_re, y_im
            if not ends_only:
                out_ref[t, :, 0], out_ref[t, :, 1] = x_re.astype(out_ref.dtype), x_im.astype(out_ref.dtype)
        return x_re, x_im

    x = start_ref[:, 0], start_ref[:, 1]
    x_re, x_im = jax.lax.fori_loop(0, -(-segment_length // tile), run_tile, x)
    if ends_only:
        out_ref[:, 0] = x_re.astype(out_ref.dtype)
        out_ref[:, 1] = x_im.astype(out_ref.dtype)
