"""The models in JAX (Flax NNX); `torch.py` beside it is its twin."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer, Num

from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.common.jax import Embedding, Linear, gelu
from implementations.models.config import POSITION_DEVIATION, ClassifierConfig, DualEncoderConfig, PooledConfig
from implementations.models.stack.jax import Stack
from implementations.ops.attention.jax import sinusoidal


def length_mask(lengths: Int[Array, " B"], length: int) -> Bool[Array, "B L"]:
    """True at the first `lengths[b]` positions."""
    return jnp.arange(length) < lengths[:, None]


def pool(x: Float[Array, "B L D"], lengths: Int[Array, " B"] | None, pooling: str) -> Float[Array, "B D"]:
    """One vector per sequence: the mean of its genuine positions, or the last of them."""
    if pooling == "last":
        last = jnp.full(x.shape[0], x.shape[1] - 1) if lengths is None else lengths - 1
        return x[jnp.arange(x.shape[0]), last]
    if lengths is None:
        return x.mean(1)
    mask = length_mask(lengths, x.shape[1])
    return jnp.where(mask[..., None], x, 0.0).sum(1) / lengths[:, None].astype(x.dtype)


class _Encoder(Stack):
    """Linear encoder, layers and pooling: what the models share."""

    def __init__(self, config: PooledConfig, keys: Keys) -> None:
        super().__init__(config, keys)
        self.config: PooledConfig = config
        self.encoder = Linear(config.input_size, config.d_model, keys.child("encoder"))
        if config.input_positions == "learned":
            self.positions = Embedding(config.max_length, config.d_model, keys.child("positions"), POSITION_DEVIATION)

    def encode(
        self,
        inputs: Num[Array, "B L *channels"],
        lengths: Int[Array, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
        **options,
    ) -> Float[Array, "B D"]:
        """Sequences to vectors; `options` go to the layers, see `Stack.run_layers`."""
        x, mask = self._embed(inputs, lengths)
        x, _ = self.run_layers(x, None, mask, training=training, dropout_seed=dropout_seed, **options)
        return pool(x, lengths, self.config.pooling)

    def activity(
        self, inputs: Num[Array, "B L *channels"], lengths: Int[Array, " B"] | None = None
    ) -> Float[Array, "R B"]:
        """The activation rates of the layers that choose their tokens, see `Stack.activity_of`."""
        return self.activity_of(*self._embed(inputs, lengths))

    def _embed(self, inputs, lengths):
        """What the layers are given: vectors with their positions, and which of these are genuine."""
        config = self.config
        if config.input_kind == "tokens":
            if inputs.ndim != 2 or not jnp.issubdtype(inputs.dtype, jnp.integer):
                raise ConfigError(f"inputs have shape {inputs.shape} of {inputs.dtype}: expected (B, L) integer tokens")
            x = jax.nn.one_hot(inputs.astype(jnp.int32), config.input_size, dtype=self.encoder.kernel[...].dtype)
        else:
            if inputs.ndim != 3 or inputs.shape[-1] != config.input_size:
                raise ConfigError(f"inputs have shape {inputs.shape}: expected (B, L, {config.input_size}) values")
            x = inputs.astype(self.encoder.kernel[...].dtype)
        x = self._place(self.encoder(x))
        return x, None if lengths is None else length_mask(lengths, x.shape[1])

    def _place(self, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        """Add absolute positions, where the layer's config asks for them."""
        config = self.config
        positions = jnp.arange(x.shape[1])
        if config.input_positions == "sinusoidal":
            return x + sinusoidal(positions, x.shape[-1], x)
        if config.input_positions == "learned":
            if x.shape[1] > config.max_length:
                raise ConfigError(
                    f"inputs have {x.shape[1]} positions: expected at most max_length = {config.max_length}"
                )
            return x + self.positions(positions)
        return x


class Classifier(_Encoder):
    """(B, L) tokens or (B, L, input_size) values -> (B, C) logits."""

    def __init__(self, config: ClassifierConfig, keys: Keys) -> None:
        super().__init__(config, keys)
        self.decoder = Linear(config.d_model, config.classes, keys.child("decoder"))

    def __call__(
        self,
        inputs: Num[Array, "B L *channels"],
        lengths: Int[Array, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
        **options,
    ) -> Float[Array, "B C"]:
        """Logits; `lengths` are the genuine lengths, None where nothing is padded."""
        x = self.encode(inputs, lengths, training=training, dropout_seed=dropout_seed, **options)
        return self.decoder(x)


class DualEncoder(_Encoder):
    """(2B, L) sequences, the first half the first documents -> (B, C) logits."""

    def __init__(self, config: DualEncoderConfig, keys: Keys) -> None:
        super().__init__(config, keys)
        self.hidden = Linear(4 * config.d_model, config.d_model, keys.child("hidden"))
        self.decoder = Linear(config.d_model, config.classes, keys.child("decoder"))

    def __call__(
        self,
        inputs: Num[Array, "B L *channels"],
        lengths: Int[Array, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
        **options,
    ) -> Float[Array, "B2 C"]:
        """Logits of pairs (b, B + b); `lengths` are the genuine lengths, None where nothing is padded."""
        x = self.encode(inputs, lengths, training=training, dropout_seed=dropout_seed, **options)
        first, second = jnp.split(x, 2, axis=0)
        features = jnp.concatenate([first, second, first - second, first * second], -1)
        return self.decoder(gelu(self.hidden(features)))
