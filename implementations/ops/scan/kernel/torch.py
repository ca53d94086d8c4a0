"""The recurrence with a constant diagonal a as a Triton kernel, for NVIDIA GPUs; `__init__.py` beside it says how.

x_t = a x_{t-1} + b_t. Its gradient is the same recurrence from the other end: h_t = g_t + conj(a) h_{t+1} for the
gradient g of x; then db = h, da = sum over batch and t of h_t conj(x_{t-1}), and d initial = conj(a) h_0.

Complex numbers are real arrays with a last axis (real, imaginary). Q = directions * P states: with two directions the
second P run from the right over the same b. The kernel computes in float64 for float64 and in float32 otherwise.
"""

# A kernel's source is Triton's language, which is Python in its syntax only.
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportMissingImports=false, reportOptionalMemberAccess=false

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, library

from implementations.common.config import ConfigError
from implementations.ops.scan.kernel import STATES, TILE, power_of_two, segment_length

try:
    import triton
    import triton.language as tl
except ImportError:  # a CPU or a Mac, which get a ConfigError
    triton = None


def scan(
    a: Float[Tensor, "Q 2"],
    b: Float[Tensor, "B L P 2"],
    initial: Float[Tensor, "B Q 2"] | None = None,
    *,
    directions: int = 1,
    reverse: bool = False,
    segment: int | None = None,
) -> Float[Tensor, "B L Q 2"]:
    """x_t = a x_{t-1} + b_t for the first P states from the left; with two directions the second P from the right.

    `initial` is the state before each direction's first position (zero if None). `reverse` exchanges the directions.
    `segment` is the number of positions, a power of two, that one program computes; None chooses it. Differentiable
    once, in a, b and initial. Raises ConfigError where Triton cannot run.
    """
    return _scan(a, b, initial, directions, reverse, segment)


def _run(a, b, initial, directions, reverse, segment):
    """The operation behind `scan`, and what autograd saves of it; the sizes are integers here, never symbols."""
    batch, length, states = b.shape[:3]
    x = b.new_empty((batch, length, directions * states, 2))
    initial = None if initial is None else initial.contiguous()
    _segments(x, a, b, initial, None, None, directions, reverse, segment or _segment(x))
    return x


def _run_gradient(a, g, x, directions, reverse, segment):
    """h (B, L, Q, 2), the gradient before the sum over directions, and da (Q, 2) but for x_{-1}."""
    batch, length, columns = x.shape[:3]
    segment = segment or _segment(x)
    h = g.new_empty(x.shape)
    da = a.new_empty((batch, -(-length // segment), columns, 2), dtype=_dtype(g))
    _segments(h, a, g, None, x.contiguous(), da, directions, not reverse, segment)
    return h, da.sum((0, 1))


def _segment(x):
    return segment_length(*x.shape[:3])


def _save(ctx, inputs, output):
    a, _, initial, ctx.directions, ctx.reverse, ctx.segment = inputs
    ctx.save_for_backward(a, initial, output)


def _gradients(ctx, g):
    """The gradients of a, b and initial."""
    a, initial, x = ctx.saved_tensors
    h, da = _scan_gradient(a, g, x, ctx.directions, ctx.reverse, ctx.segment)
    halves = h.chunk(ctx.directions, 2)
    db = h if ctx.directions == 1 else halves[0] + halves[1]
    d_initial = None
    if initial is not None:
        ends = (-1, 0) if ctx.reverse else (0, -1)
        first = torch.cat([half[:, end] for half, end in zip(halves, ends, strict=False)], 1).to(da.dtype)
        da = da + _times_conjugate(first, initial).sum(0)
        d_initial = _times_conjugate(first, a).to(initial.dtype)
    return da.to(a.dtype), db, d_initial, None, None, None


def _times_conjugate(x, y):
    """x conj(y) for complex pairs."""
    real = x[..., 0] * y[..., 0] + x[..., 1] * y[..., 1]
    return torch.stack([real, x[..., 1] * y[..., 0] - x[..., 0] * y[..., 1]], -1)


def _dtype(x):
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _segments(out, a, b, initial, x, da, directions, reverse, segment):
    """The recurrence into `out`, cut into segments; with x and da as a gradient: a conjugated, and da."""
    batch, length, columns = out.shape[:3]
    a, b = a.to(_dtype(b)).contiguous(), b.contiguous()
    settings = {"directions": directions, "reverse": reverse, "conjugate": x is not None}
    count, before = -(-length // segment), None
    if count > 1:
        if segment != power_of_two(segment):
            raise ValueError(f"segment is {segment}: expected a power of two")
        ends = a.new_empty((batch, count, columns, 2))
        before = torch.empty_like(ends)
        _launch(ends, a, b, segment=segment, ends_only=True, **settings)
        _launch(before, a, ends, initial, segment=count, power=segment, **settings)
    _launch(out, a, b, initial, before, x, da, segment=segment, **settings)


def _launch(
    out,
    a,
    b,
    initial=None,
    before=None,
    x=None,
    da=None,
    *,
    segment,
    directions,
    reverse,
    conjugate,
    ends_only=False,
    power=1,
):
    """One run of the kernel, with a raised to a power of two."""
    _check(b)
    batch, length, columns = b.shape[:3]
    states = a.shape[0] // directions
    segments, blocks = -(-length // segment), -(-states // STATES)
    tile = TILE // (2 if x is not None or a.dtype == torch.float64 else 1)
    with torch.cuda.device_of(b):
        _kernel[(batch * segments * directions * blocks,)](
            a,
            b,
            initial,
            before,
            x,
            out,
            da,
            length,
            states,
            columns,
            segments,
            segment,
            power.bit_length() - 1,
            DIRECTIONS=directions,
            REVERSE=reverse,
            CONJUGATE=conjugate,
            ENDS_ONLY=ends_only,
            TILE=min(tile, power_of_two(segment)),
            STATES=STATES,
            num_warps=1,
            num_stages=1,
        )


def _check(b):
    """Whether Triton runs for this tensor here."""
    remedy = "choose scan='chunked' or 'auto'"
    if triton is None:
        raise ConfigError(f"scan method is 'kernel', which needs Triton, and Triton is not installed: {remedy}")
    if b.device.type != "cuda" and not _interpreted():
        raise ConfigError(f"scan method is 'kernel', which runs on NVIDIA GPUs, not on {b.device.type!r}: {remedy}")


def _interpreted():
    return not isinstance(_kernel, triton.JITFunction)


if triton is not None:

    @triton.jit(do_not_specialize=["length", "segments", "segment_length", "squarings"])
    def _kernel(
        a,
        b,
        initial,
        before,
        x,
        out,
        da,
        length,
        states,
        columns,
        segments,
        segment_length,
        squarings,
        DIRECTIONS: tl.constexpr,
        REVERSE: tl.constexpr,
        CONJUGATE: tl.constexpr,
        ENDS_ONLY: tl.constexpr,
        TILE: tl.constexpr,
        STATES: tl.constexpr,
    ):
        """One segment of one sequence, `STATES` states of one direction; positions are counted along the direction.

        a (Q, 2); b (B, L, columns, 2), where columns is P or Q; initial (B, Q, 2); before (B, segments, Q, 2), the
        states at the ends of the segments; x (B, L, Q, 2), the states whose gradient this is; out (B, L, Q, 2), or
        (B, segments, Q, 2) of the ends only; da (B, segments, Q, 2). All but a, b and out may be None.
        """
        blocks = (states + STATES - 1) // STATES
        program = tl.program_id(0).to(tl.int64)
        block = program % (DIRECTIONS * blocks)
        segment = program // (DIRECTIONS * blocks) % segments
        batch = program // (DIRECTIONS * blocks) // segments
        second = block // blocks
        lane = block % blocks * STATES + tl.arange(0, STATES)[:, None]
        part = tl.arange(0, 2)[None, :]
        keep = (lane < states) & (part < 2)
        all_states = DIRECTIONS * states
        state = (lane + second * states) * 2 + part
        column = (lane + second * (columns - states)) * 2 + part

        if REVERSE:
            backward = 1 - second
        else:
            backward = second
        step = 1 - 2 * backward
        first = segment * segment_length
        count = tl.minimum(segment_length, length - first)
        row = batch * length + first + backward * (length - 1 - 2 * first)
        segment_row = batch * segments + segment + backward * (segments - 1 - 2 * segment)

        a_re, a_im = tl.split(tl.load(a + state, mask=keep, other=0.0))
        if CONJUGATE:
            a_im = -a_im
        while squarings > 0:  # not a range: the interpreter has none of a tensor with a recent NumPy
            a_re, a_im = a_re * a_re - a_im * a_im, 2 * a_re * a_im
            squarings -= 1
        start = (state * 0).to(a.dtype.element_ty)
        if initial is not None:
            start += tl.load(initial + batch * all_states * 2 + state, mask=keep & (segment == 0), other=0.0)
        if before is not None:
            last = before + (segment_row - step) * all_states * 2 + state
            start += tl.load(last, mask=keep & (segment > 0), other=0.0)
        re, im = tl.split(start)
        da_re = re * 0
        da_im = re * 0

        b_at = b + row * columns * 2 + column
        out_at = out + row * all_states * 2 + state
        b_step = step * columns * 2
        out_step = step * all_states * 2
        if x is not None:
            x_at = x + (row + step) * all_states * 2 + state
        done = 0 * count
        while done < count:
            b_tile = ()
            x_tile = ()
            for t in tl.static_range(TILE):
                b_tile += (tl.load(b_at + t * b_step, mask=keep & (done + t < count), other=0.0),)
            if x is not None:
                for t in tl.static_range(TILE):
                    here = (done + t < count) & (first + done + t + 1 < length)
                    x_tile += (tl.load(x_at + t * out_step, mask=keep & here, other=0.0),)
            for t in tl.static_range(TILE):
                b_re, b_im = tl.split(b_tile[t].to(a.dtype.element_ty))
                re, im = a_re * re - a_im * im + b_re, a_re * im + a_im * re + b_im
                if x is not None:
                    x_re, x_im = tl.split(x_tile[t].to(a.dtype.element_ty))
                    da_re += tl.where(done + t < count, re * x_re + im * x_im, 0.0)
                    da_im += tl.where(done + t < count, im * x_re - re * x_im, 0.0)
                if not ENDS_ONLY:
                    value = tl.join(re, im).to(out.dtype.element_ty)
                    tl.store(out_at + t * out_step, value, mask=keep & (done + t < count))
            b_at += TILE * b_step
            out_at += TILE * out_step
            done += TILE
            if x is not None:
                x_at += TILE * out_step
        segment_at = segment_row * all_states * 2 + state
        if ENDS_ONLY:
            tl.store(out + segment_at, tl.join(re, im), mask=keep)
        if x is not None:
            tl.store(da + segment_at, tl.join(da_re, da_im), mask=keep)


_scan = library.custom_op(
    "longseq_bench::diagonal_scan",
    _run,
    mutates_args=(),
    schema="(Tensor a, Tensor b, Tensor? initial, int directions, bool reverse, int? segment) -> Tensor",
)
_scan_gradient = library.custom_op(
    "longseq_bench::diagonal_scan_gradient",
    _run_gradient,
    mutates_args=(),
    schema="(Tensor a, Tensor g, Tensor x, int directions, bool reverse, int? segment) -> (Tensor, Tensor)",
)
_scan.register_autograd(_gradients, setup_context=_save)


@_scan.register_fake
def _(a, b, initial, directions, reverse, segment):
    return b.new_empty((b.shape[0], b.shape[1], a.shape[0], 2))


@_scan_gradient.register_fake
def _(a, g, x, directions, reverse, segment):
    return g.new_empty(x.shape), a.new_empty(a.shape, dtype=_dtype(g))
