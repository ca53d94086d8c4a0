"""The Block-Recurrent Transformer in JAX (Flax NNX); `torch.py` beside it is its twin.

Tokens t of block i:  z_t = tokens(x_t; keys and values of its window, K_s, V_s of states C_i)   (arXiv 2203.07852)
At the end of block i:  C_{i+1} = states(C_i; keys and values of the last two blocks)
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer

from implementations.block_recurrent.cell.jax import State, StateSide, TokenSide, extended, in_blocks, shifted
from implementations.block_recurrent.config import BlockRecurrentConfig, FeedbackConfig
from implementations.common.config import check_state, require_segment, require_state
from implementations.common.initializers import Keys
from implementations.ops.attention import Method
from implementations.ops.attention.jax import attend


def genuine(
    x: Float[Array, "B L D"], mask: Bool[Array, "B L"] | None
) -> tuple[Bool[Array, "B L"], Integer[Array, " B"]]:
    """Which positions are genuine, and how many of each sequence are left without the padding at its end."""
    if mask is None:
        return jnp.ones(x.shape[:2], bool), jnp.full(x.shape[0], x.shape[1])
    return mask, jnp.where(mask, 1 + jnp.arange(x.shape[1]), 0).max(1)


class BlockRecurrentLayer(nnx.Module):
    """A sliding window layer and its recurrent states: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: BlockRecurrentConfig, keys: Keys) -> None:
        self.config = config
        self.tokens = TokenSide(config, keys.child("tokens"))
        self.states = StateSide(config, keys.child("states"))

    def initial_state(self, batch: int) -> State:
        """The state before the first token of a document."""
        initial = self.states.initial[...]
        return {
            **self.tokens.initial_cache(batch, self.config.cached),
            "position": jnp.zeros(batch, jnp.int32),
            "states": jnp.broadcast_to(initial, (batch, *initial.shape)),
        }

    def reset(self, state: State | None, start: Bool[Array, " B"]) -> State:
        """The state, as before the first token for the sequences of the batch at which a document starts."""
        state = require_state(state, self.config)
        return {
            **self.tokens.reset_cache(state, start),
            "position": jnp.where(start, 0, state["position"]),
            "states": jnp.where(start[:, None, None], self.states.initial[...], state["states"]),
        }

    def __call__(
        self,
        x: Float[Array, "B L D"],
        state: State | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
        method: Method | None = None,
    ) -> tuple[Float[Array, "B L D"], State]:
        """Map a segment of any length from a state to outputs and the state after it.

        The state: `states` (B, S, D), those that entered the present block; `position` (B,), how many tokens of it have
        been seen; `keys`, `values` (B, T, H, K) of the last T = 2 W tokens (W unless `read_previous`), and `valid`
        (B, T), False where there is none to see. Blocks are counted in each sequence by itself, from where its document
        started: what a document gives does not depend on where in a segment it starts, nor on its batch mates.

        `mask` is True at genuine positions; it is heeded where `config.mask_padding` says so. Padding at the end of a
        segment leaves no trace, so that the state is that after the last genuine token; padding before a genuine token
        takes up its place, unseen. Outputs at padded positions are zero. `method` overrides the config's.
        """
        config = self.config
        require_segment(x.shape, config.d_model, mask)
        check_state(self, state, x.shape[0])
        state = self.initial_state(x.shape[0]) if state is None else state
        mask = mask if config.mask_padding else None
        valid, length = genuine(x, mask)
        if mask is not None:
            x = jnp.where(mask[..., None], x, 0.0)
        x, state = self.segment(x, state, valid, length, training, dropout_seed, method or config.method)
        if mask is not None:
            x = jnp.where(mask[..., None], x, 0.0)
        return x, jax.lax.stop_gradient(state) if config.truncate_gradient else state

    def segment(
        self,
        x: Float[Array, "B L D"],
        state: State,
        valid: Bool[Array, "B L"],
        length: Integer[Array, " B"],
        training: bool,
        dropout_seed: Integer[Array, ""] | int | None,
        method: Method,
    ) -> tuple[Float[Array, "B L D"], State]:
        """Outputs and the state after the first `length` positions of each sequence."""
        config, position = self.config, state["position"]
        window, count = config.window, -(-x.shape[1] // config.window)
        inputs = self.tokens.normalised(x, training, dropout_seed)
        q, cross = self.tokens.heads.queries(inputs)
        room = extended(state, *self.tokens.heads.keys_values(inputs), valid)
        own = self.tokens.attend(q, room, training, dropout_seed, method)
        blocks = in_blocks(room, position, window, config.cached, count)
        complete = window * (1 + jnp.arange(count)) - position[:, None] <= length[:, None]
        k, v, states = self.states(state["states"], blocks, complete, method)
        read = self._read(cross, k, v, position, method)
        after = {
            **shifted(room, length, config.cached),
            "position": ((position + length) % window).astype(jnp.int32),
            "states": states,
        }
        return self.tokens.finish(x, own, read, training, dropout_seed), after

    def _read(self, cross, k, v, position, method):
        """Attention to the states that entered each token's block.

        The segment is cut into pieces of up to W tokens, each of which lies in one block of its sequence or in two.
        """
        batch, length, heads, width = cross.shape
        count, states = k.shape[1] - 1, k.shape[2]
        size = min(length, self.config.window)
        cross = jnp.pad(cross, ((0, 0), (0, count * size - length), (0, 0), (0, 0)))
        k, v = (jnp.concatenate([x[:, :-1], x[:, 1:]], 2).reshape(-1, 2 * states, heads, width) for x in (k, v))
        second = position[:, None] + jnp.arange(size) >= self.config.window
        late = jnp.arange(2 * states) >= states
        mask = jnp.where(second[..., None], late, ~late)
        mask = jnp.broadcast_to(mask[:, None], (batch, count, size, 2 * states)).reshape(-1, 1, size, 2 * states)
        read = attend(cross.reshape(-1, size, heads, width), k, v, None, mask, method)
        return read.reshape(batch, -1, heads, width)[:, :length]


class FeedbackLayer(nnx.Module):
    """A sliding window layer that also reads the states of another: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: BlockRecurrentConfig, keys: Keys) -> None:
        self.config = config
        self.tokens = TokenSide(config, keys.child("tokens"))

    def initial_state(self, batch: int) -> State:
        """The cache before the first token of a document."""
        return self.tokens.initial_cache(batch, self.config.window)

    def reset(self, state: State, start: Bool[Array, " B"]) -> State:
        """The cache, emptied for the sequences of the batch at which a document starts."""
        return self.tokens.reset_cache(state, start)

    def segment(
        self,
        x: Float[Array, "B L D"],
        state: State,
        valid: Bool[Array, "B L"],
        length: Integer[Array, " B"],
        k: Float[Array, "B S H K"],
        v: Float[Array, "B S H K"],
        training: bool,
        dropout_seed: Integer[Array, ""] | int | None,
        method: Method,
    ) -> tuple[Float[Array, "B L D"], State]:
        """Outputs and the cache after the first `length` positions; `k`, `v` are those of the states."""
        inputs = self.tokens.normalised(x, training, dropout_seed)
        q, cross = self.tokens.heads.queries(inputs)
        room = extended(state, *self.tokens.heads.keys_values(inputs), valid)
        own = self.tokens.attend(q, room, training, dropout_seed, method)
        read = attend(cross, k, v, None, None, method)
        return self.tokens.finish(x, own, read, training, dropout_seed), shifted(room, length, self.config.window)


class FeedbackStack(nnx.Module):
    """Layers that all read the states of one of them, run block by block: (B, L, D) -> (B, L, D)."""

    def __init__(self, config: FeedbackConfig, keys: Keys) -> None:
        self.config = config
        self.layers = nnx.List(
            [
                (BlockRecurrentLayer if i in config.indices else FeedbackLayer)(
                    config.recurrent, keys.child("layers").child(i)
                )
                for i in range(config.depth)
            ]
        )

    def _layers(self) -> list[Any]:
        return list(self.layers)

    def initial_state(self, batch: int) -> dict[str, dict[str, State]]:
        """The states of all layers before the first token of a document."""
        return {"layers": {str(i): self._layers()[i].initial_state(batch) for i in range(self.config.depth)}}

    def reset(self, state: dict[str, dict[str, State]] | None, start: Bool[Array, " B"]) -> dict[str, dict[str, State]]:
        """The states, as before the first token for the sequences of the batch at which a document starts."""
        state = require_state(state, self.config)
        layers = state["layers"]
        return {"layers": {str(i): self._layers()[i].reset(layers[str(i)], start) for i in range(self.config.depth)}}

    def __call__(
        self,
        x: Float[Array, "B L D"],
        state: dict[str, dict[str, State]] | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
        method: Method | None = None,
    ) -> tuple[Float[Array, "B L D"], dict[str, dict[str, State]]]:
        """Map a segment of any length from a state to outputs and the state after it; see `BlockRecurrentLayer`.

        The state holds those of the layers by number. Dropout masks are the same for every block.
        """
        config = self.config
        require_segment(x.shape, config.d_model, mask)
        window, total = config.recurrent.window, x.shape[1]
        check_state(self, state, x.shape[0])
        state = self.initial_state(x.shape[0]) if state is None else state
        mask = mask if config.mask_padding else None
        valid, length = genuine(x, mask)
        if mask is not None:
            x = jnp.where(mask[..., None], x, 0.0)
        # A scan carries one dtype: positions that come as another kind of integer are held as the layers hold them.
        narrow = lambda a: a.astype(jnp.int32) if jnp.issubdtype(a.dtype, jnp.integer) else a  # noqa: E731
        carried: Any = jax.tree.map(narrow, state["layers"])
        position = carried[str(config.indices[-1])]["position"]
        size = min(total, window)
        rows = jnp.arange(x.shape[0])[:, None]
        # The tokens of every block of each sequence, the first of which begins before the segment where it has begun.
        first = window * jnp.arange((total + window - 2) // window + 1)[:, None] - position
        begin, end = jnp.maximum(first, 0), jnp.minimum(first + window, length)
        index = begin[..., None] + jnp.arange(size)
        inside = index < end[..., None]
        index = jnp.minimum(index, total - 1)
        blocks = jnp.where(inside[..., None], x[rows, index], 0.0)
        given = (blocks, inside & valid[rows, index], jnp.maximum(end - begin, 0))

        def step(layers, block):
            part, seen, count = block
            return self._block(part, layers, seen, count, training, dropout_seed, method or config.recurrent.method)

        layers, y = jax.lax.scan(step, carried, given)
        index = jnp.arange(total)
        block = (position[:, None] + index) // window
        begin = jnp.maximum(window * block - position[:, None], 0)
        x = y[block, rows, index - begin]
        if mask is not None:
            x = jnp.where(mask[..., None], x, 0.0)
        state = {"layers": layers}
        return x, jax.lax.stop_gradient(state) if config.recurrent.truncate_gradient else state

    def _block(self, x, states, valid, length, training, dropout_seed, method):
        """All layers on tokens of one block: the states after them, and outputs."""
        found: dict[str, State] = {}
        last = self.config.indices[-1]
        layers = self._layers()
        k, v = layers[last].states.keys_values(states[str(last)]["states"])
        for i, layer in enumerate(layers):
            given = (x, states[str(i)], valid, length)
            read = () if i in self.config.indices else (k, v)
            x, found[str(i)] = layer.segment(*given, *read, training, dropout_seed, method)
            x = jnp.where(valid[..., None], x, 0.0)
        return found, x
