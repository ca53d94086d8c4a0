"""The models in JAX (Flax NNX); `torch.py` beside it is its twin."""

from __future__ import annotations

from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Integer, Num

from implementations.catalog import layer_class
from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.common.jax import Embedding, Linear, gelu
from implementations.models.config import POSITION_DEVIATION, ClassifierConfig, DualEncoderConfig, ModelConfig
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


class _Encoder(nnx.Module):
    """Linear encoder, layers and pooling: what the models share."""

    def __init__(self, config: ModelConfig, keys: Keys) -> None:
        self.config = config
        layer_config: Any = config.layer
        layer = layer_class(layer_config.architecture, "jax")
        self.d_model: int = layer_config.d_model
        self.encoder = Linear(config.input_size, self.d_model, keys.child("encoder"))
        if config.input_positions == "learned":
            self.positions = Embedding(
                layer_config.max_length, self.d_model, keys.child("positions"), POSITION_DEVIATION
            )
        self.layers = nnx.List([layer(layer_config, keys.child("layers").child(i)) for i in range(config.depth)])

    def encode(
        self,
        inputs: Num[Array, "B L *channels"],
        lengths: Int[Array, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
        **options,
    ) -> Float[Array, "B D"]:
        """Sequences to vectors; `options` go to every layer (for S5: step_rescale, timesteps, scan)."""
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
        mask = None if lengths is None else length_mask(lengths, x.shape[1])
        for layer in self.layers:
            x, _ = layer(x, None, mask, training=training, dropout_seed=dropout_seed, **options)
        return pool(x, lengths, config.pooling)

    def _place(self, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        """Add absolute positions, where the layer's config asks for them."""
        config, layer_config = self.config, cast(Any, self.config.layer)
        positions = jnp.arange(x.shape[1])
        if config.input_positions == "sinusoidal":
            return x + sinusoidal(positions, x.shape[-1], x)
        if config.input_positions == "learned":
            if x.shape[1] > layer_config.max_length:
                raise ConfigError(
                    f"inputs have {x.shape[1]} positions: expected at most max_length = {layer_config.max_length}"
                )
            return x + self.positions(positions)
        return x


class Classifier(_Encoder):
    """(B, L) tokens or (B, L, input_size) values -> (B, C) logits."""

    def __init__(self, config: ClassifierConfig, keys: Keys) -> None:
        super().__init__(config, keys)
        self.decoder = Linear(self.d_model, config.classes, keys.child("decoder"))

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
        self.hidden = Linear(4 * self.d_model, self.d_model, keys.child("hidden"))
        self.decoder = Linear(self.d_model, config.classes, keys.child("decoder"))

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
