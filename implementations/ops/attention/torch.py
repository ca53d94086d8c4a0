"""Attention in PyTorch; `jax.py` beside it is its twin.

y_i = sum_j softmax_j(q_i k_j + bias_{j-i}) v_j over the keys j that i may see; q comes scaled.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.utils._python_dispatch import _get_current_dispatch_mode

from implementations.common.config import ConfigError
from implementations.common.torch import lowered, product
from implementations.ops.attention import QK_NORM_EPSILON, ROTARY_THETA, Method, bucket_edges, choose, flexible, span

Bias = Callable[[Tensor], Tensor]
"""Relative positions (L, T) to what each head adds to the logits, (H, L, T)."""


def relative_positions(queries: int, keys: int, before: int, like: Tensor) -> Integer[Tensor, "L T"]:
    """Key position minus query position, where query i stands at the position of key `before` + i."""
    return torch.arange(keys, device=like.device)[None, :] - torch.arange(queries, device=like.device)[:, None] - before


def diagonals(values: Float[Tensor, "*batch n"], queries: int) -> Float[Tensor, "*batch L T"]:
    """What depends on the distance alone, n = L + T - 1 of them ascending, as a matrix: (i, j) has distance j - i.

    Rows are made by shifting, not by indexing: the gradient of an indexed table adds L T numbers one by one where they
    share an entry, which on a GPU takes longer than the attention itself; here it sums each diagonal.
    """
    padded = torch.nn.functional.pad(values, (0, 1))
    shape, width = padded.shape[:-1], padded.shape[-1] - 1
    tiled = padded[..., None, :].expand(*shape, queries, width + 1).flatten(-2)
    rows = tiled[..., queries - 1 : queries - 1 + queries * width].unflatten(-1, (queries, width))
    return rows[..., : width + 1 - queries]


def relative_bias(
    bias: Bias | None, queries: int, keys: int, before: int, like: Tensor
) -> Float[Tensor, "1 H L T"] | None:
    """A bias for L = `queries` and T = `keys`, of which the `before` first precede the first query."""
    if bias is None:
        return None
    distances = torch.arange(1 - queries, keys, device=like.device) - before
    return diagonals(bias(distances[None])[:, 0], queries)[None]


def allowed(
    relative: Integer[Tensor, "L T"], window: int | None, causal: bool, include_self: bool
) -> Bool[Tensor, "L T"]:
    """Which keys a query may see: W of them with itself or, where it is excluded, W before it."""
    if causal:
        mask = relative <= (0 if include_self else -1)
    else:
        mask = (relative != 0) | include_self
    if window is None:
        return mask
    return mask & (abs(relative) <= (window - 1 if include_self else window))


def attend(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    bias: Float[Tensor, "#B #H L T"] | None = None,
    mask: Bool[Tensor, "#B #H #L T"] | None = None,
    method: Method = "auto",
    factor: Float[Tensor, "#B #H L T"] | None = None,
) -> Float[Tensor, "B L H V"]:
    """softmax(q k + bias) v over the keys where `mask` is True; zero where there are none.

    `factor` multiplies the weights (dropout); with it the kernel is "einsum".
    """
    kernel = choose(method, q.is_cuda, q.dtype == torch.float64)
    if kernel == "fused" and factor is None:
        return _fused(q, k, v, bias, mask)
    logits = product("blhk,bthk->bhlt", q, k)
    if bias is not None:
        logits = logits + bias
    if mask is not None:
        logits = torch.where(mask, logits, torch.finfo(logits.dtype).min / 2)
    weights = torch.exp(logits - logits.detach().amax(-1, keepdim=True))
    if mask is not None:
        weights = torch.where(mask, weights, 0.0)
    total = weights.sum(-1, keepdim=True)
    weights = weights / torch.where(total > 0, total, 1.0)
    if factor is not None:
        weights = weights * factor
    return product("bhlt,bthv->blhv", weights, v)


def _fused(q, k, v, bias, mask):
    """The framework's kernel; a query without keys is given all of them, and its result is cleared."""
    some, wide = None, q.dtype
    q, k, v = lowered(q), lowered(k), lowered(v)
    bias = None if bias is None else bias.to(q.dtype)
    if mask is not None:
        mask = mask.expand(mask.shape[0], mask.shape[1], q.shape[1], k.shape[1])
        some = mask.any(-1, keepdim=True)
        mask = mask | ~some
        if bias is not None:
            mask = torch.where(mask, bias, -math.inf)
    mask = bias if mask is None else mask
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask, scale=1.0).to(wide)
    y = y if some is None else torch.where(some, y, 0.0)
    return y.transpose(1, 2)


def full_attention(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    *,
    bias: Bias | None = None,
    valid: Bool[Tensor, "B T"] | None = None,
    before: int = 0,
    window: int | None = None,
    causal: bool = True,
    include_self: bool = True,
    reach: Integer[Tensor, "B L"] | None = None,
    factor: Bias | None = None,
    method: Method = "auto",
) -> Float[Tensor, "B L H V"]:
    """Attention as one dense block of L x T logits; the `before` first keys precede the first query.

    `valid` is False at keys that no query may see; `reach` is how many positions back each query sees at most. `factor`
    gives what multiplies the weights of each head for relative positions. With a `window` this is the naive form of
    `window_attention`.
    """
    relative = relative_positions(q.shape[1], k.shape[1], before, q)
    mask = None
    if causal or window is not None or not include_self:
        mask = allowed(relative, window, causal, include_self)[None, None]
    if valid is not None:
        valid = valid[:, None, None, :]
        mask = valid if mask is None else mask & valid
    if reach is not None:
        near = (-relative <= reach[..., None])[:, None]
        mask = near if mask is None else mask & near
    factors = None if factor is None else factor(relative)[None]
    biases = relative_bias(bias, q.shape[1], k.shape[1], before, q)
    return attend(q, k, v, biases, mask, method, factors)


def window_attention(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B T H K"],
    v: Float[Tensor, "B T H V"],
    window: int,
    *,
    bias: Bias | None = None,
    valid: Bool[Tensor, "B T"] | None = None,
    causal: bool = True,
    include_self: bool = True,
    cut_gradient: bool = False,
    reach: Integer[Tensor, "B L"] | None = None,
    factor: Bias | None = None,
    method: Method = "auto",
) -> Float[Tensor, "B L H V"]:
    """Attention over a sliding window, in blocks of `window` queries: O(L W).

    Causal: keys and values are the W cached ones followed by the segment's, T = W + L; query i sees keys i + 1 to
    i + W, its own last, or i to i + W - 1 where it is excluded. Otherwise T = L and |j - i| < W. `cut_gradient` lets no
    gradient pass from a block to the keys and values of the one before it (Transformer-XL). `reach`, below W, is how
    many positions back each query sees at most.
    """
    length, before = q.shape[1], window if causal else 0
    if k.shape[1] != before + length:
        raise ConfigError(f"k has {k.shape[1]} positions: expected {before} cached ones and {length} of the segment")
    if cut_gradient:
        k, v = (torch.cat([x[:, :before].detach(), x[:, before:]], 1) for x in (k, v))
    if length <= window:
        return full_attention(
            q,
            k,
            v,
            bias=bias,
            valid=valid,
            before=before,
            window=window,
            causal=causal,
            include_self=include_self,
            reach=reach,
            factor=factor,
            method=method,
        )
    widths, plain = (k.shape[-1], v.shape[-1]), reach is None and factor is None
    gap = not (causal or include_self)
    free = torch.compiler.is_compiling() and not torch.is_grad_enabled()
    wanted = flexible(method, q.is_cuda, q.dtype == torch.float64, widths, cut_gradient, gap, free)
    if plain and wanted and _offered(q, k, v):
        return _flex(q, k, v, window, bias, valid, causal, include_self)
    count = -(-length // window)
    after = count * window - length
    if not causal:
        valid = torch.ones(k.shape[:2], dtype=torch.bool, device=k.device) if valid is None else valid
        k, v, valid = (_pad(x, window, after + window) for x in (k, v, valid))
    else:
        k, v = _pad(k, 0, after), _pad(v, 0, after)
        valid = None if valid is None else _pad(valid, 0, after)
    q = _pad(q, 0, after)
    q = q.reshape(-1, window, *q.shape[2:])
    reach = None if reach is None else _pad(reach, 0, after).reshape(-1, window)
    k, v = (_neighbours(x, window, count, cut_gradient) for x in (k, v))
    valid = None if valid is None else _neighbours(valid, window, count, False)
    y = full_attention(
        q,
        k,
        v,
        bias=bias,
        valid=valid,
        before=window,
        window=window,
        causal=causal,
        include_self=include_self,
        reach=reach,
        factor=factor,
        method=method,
    )
    return y.reshape(-1, count * window, *y.shape[2:])[:, :length]


def chunk_attention(
    q: Float[Tensor, "B L H K"],
    k: Float[Tensor, "B L H K"],
    v: Float[Tensor, "B L H V"],
    chunk: int,
    *,
    bias: Bias | None = None,
    valid: Bool[Tensor, "B L"] | None = None,
    causal: bool = True,
    neighbours: bool = False,
    method: Method = "auto",
) -> Float[Tensor, "B L H V"]:
    """Attention inside consecutive chunks of `chunk` positions, the first of which begins a chunk: O(L W).

    With `neighbours` a query also sees the chunk before its own and, where not `causal`, the one after it.
    """
    length = q.shape[1]
    if length <= chunk:
        return full_attention(q, k, v, bias=bias, valid=valid, causal=causal, method=method)
    count = -(-length // chunk)
    after = count * chunk - length
    before = chunk if neighbours else 0
    valid = torch.ones(k.shape[:2], dtype=torch.bool, device=k.device) if valid is None else valid
    k, v, valid = (_pad(x, before, after + (0 if causal else before)) for x in (k, v, valid))
    q = _pad(q, 0, after)
    q = q.reshape(-1, chunk, *q.shape[2:])
    k, v, valid = (_neighbours(x, chunk, count, False) for x in (k, v, valid))
    y = full_attention(q, k, v, bias=bias, valid=valid, before=before, causal=causal, method=method)
    return y.reshape(-1, count * chunk, *y.shape[2:])[:, :length]


def _offered(*tensors):
    """Whether FlexAttention has what is asked: on a CPU it has no gradients, and no dispatch mode (a counter of
    operations) can look into it."""
    if not torch.compiler.is_compiling() and _get_current_dispatch_mode() is not None:
        return False
    tracked = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return tensors[0].is_cuda or not tracked


FLEX_BLOCK = 128
"""Queries and keys of a tile of FlexAttention."""
FLEX_SHAPES = 256
"""Shapes for which it is compiled in one process. PyTorch's own limit is 8; beyond it all logits are made."""


def _flex(q, k, v, window, bias, valid, causal, include_self):
    """One call over the whole segment: a relative bias is read from a table, which gets its gradient through it."""
    before, (low, high) = window if causal else 0, span(window, causal, include_self)
    wide = q.dtype
    q, k, v = lowered(q), lowered(k), lowered(v)
    offsets = torch.arange(low, high + 1, device=q.device)[None, :]
    table = q.new_zeros(1) if bias is None else bias(offsets - before)[:, 0].to(q.dtype)

    def seen(b, h, i, j):
        inside = (j - i >= low) & (j - i <= high)
        return inside if valid is None else inside & valid[b, j]

    def biased(score, b, h, i, j):
        return score + table[h, torch.clamp(j - i - low, 0, high - low)]

    blocks = _blocks(low, high, q.shape[1], k.shape[1], seen, q.device)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    given = (q, k, v, None if bias is None else biased, blocks)
    if torch.compiler.is_compiling():
        return flex_attention(*given, scale=1.0).transpose(1, 2).to(wide)
    with torch._dynamo.config.patch(recompile_limit=FLEX_SHAPES):
        return _compiled_flex(q.is_cuda)(*given, scale=1.0).transpose(1, 2).to(wide)


def _blocks(low, high, queries, keys, seen, device):
    """The tiles of a window, from its bounds: no mask of all queries and keys is ever made."""
    rows, columns = -(-queries // FLEX_BLOCK), -(-keys // FLEX_BLOCK)
    start = FLEX_BLOCK * torch.arange(rows, device=device)
    first = torch.clamp((start + low) // FLEX_BLOCK, 0, columns - 1)
    last = torch.clamp((start + FLEX_BLOCK - 1 + high) // FLEX_BLOCK, 0, columns - 1)
    index = torch.clamp(first[:, None] + torch.arange(columns, device=device), max=columns - 1)
    count, index = (last - first + 1).int()[None, None], index.int()[None, None]
    return BlockMask.from_kv_blocks(count, index, BLOCK_SIZE=FLEX_BLOCK, mask_mod=seen, seq_lengths=(queries, keys))


@functools.cache
def _compiled_flex(cuda):
    """FlexAttention outside of a compiled model: compiled by itself on a GPU; on a CPU all logits are made."""
    return torch.compile(flex_attention, backend="inductor" if cuda else "eager", dynamic=False)


def _pad(x, before, after):
    """Zeros (False) along the positions."""
    return torch.nn.functional.pad(x, (0, 0) * (x.ndim - 2) + (before, after))


def _neighbours(x, window, count, cut_gradient):
    """Each block of W positions behind the one before it, and before the one after it where there is one more."""
    blocks = x.reshape(x.shape[0], -1, window, *x.shape[2:])
    parts = [blocks[:, i : i + count] for i in range(blocks.shape[1] - count + 1)]
    if cut_gradient:
        parts[0] = parts[0].detach()
    return torch.cat(parts, 2).reshape(-1, len(parts) * window, *x.shape[2:])


@torch.compiler.assume_constant_result
def _edges(buckets: int, max_distance: int) -> tuple[int, ...]:
    """`bucket_edges`, which a compiler of graphs must not look into: it is NumPy behind a cache."""
    return bucket_edges(buckets, max_distance)


def t5_bucket(
    relative: Integer[Tensor, "L T"], buckets: int, max_distance: int, bidirectional: bool
) -> Integer[Tensor, "L T"]:
    """T5's buckets of relative positions; bidirectional: the second half of the buckets for keys after the query."""
    if bidirectional:
        buckets = buckets // 2
        first, distance = buckets * (relative > 0), torch.abs(relative)
    else:
        first, distance = 0 * relative, torch.clamp(-relative, min=0)
    return first + sum((distance >= edge) * 1 for edge in _edges(buckets, max_distance))


def simple_index(relative: Integer[Tensor, "L T"], max_distance: int) -> Integer[Tensor, "L T"]:
    """Indices of relative positions in a table of 2 max_distance - 1 entries; farther ones share the last."""
    return max_distance - 1 + torch.clamp(relative, 1 - max_distance, max_distance - 1)


def frequencies(features: int, like: Tensor) -> Float[Tensor, " K2"]:
    """Angles per position of the pairs of rotary features, theta^(-2 i / K), computed in float64."""
    half = features // 2
    return (ROTARY_THETA ** (-torch.arange(half, dtype=torch.float64, device=like.device) / half)).to(like.dtype)


def turned(x: Float[Tensor, "*batch K"], positions: Integer[Tensor, "*#batch"]) -> Float[Tensor, "*batch K"]:
    """Pairs of neighbouring features turned by position times `frequencies`."""
    angle = positions.to(x.dtype)[..., None] * frequencies(x.shape[-1], x)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).reshape(x.shape)


def rotary(x: Float[Tensor, "B L H K"], start: int = 0) -> Float[Tensor, "B L H K"]:
    """Queries or keys turned by their positions, of which the first is `start`."""
    return turned(x, (start + torch.arange(x.shape[1], device=x.device))[None, :, None])


def sinusoidal(positions: Integer[Tensor, " L"], features: int, like: Tensor) -> Float[Tensor, "L D"]:
    """sin and cos of position times 10000^(-2 i / D), in turn (Vaswani et al. 2017, section 3.5), in `like`'s dtype."""
    half = (features + 1) // 2
    frequency = torch.exp(
        torch.arange(half, dtype=like.dtype, device=like.device) * (-2 * math.log(10_000.0) / features)
    )
    angle = positions.to(like.dtype)[:, None] * frequency
    return torch.stack([torch.sin(angle), torch.cos(angle)], -1).reshape(-1, 2 * half)[:, :features]


def normalise(x: Float[Tensor, "*batch K"]) -> Float[Tensor, "*batch K"]:
    """Vectors of length one (query-key normalisation)."""
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + QK_NORM_EPSILON)
