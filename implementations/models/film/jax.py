"""The regressor of films in JAX (Flax NNX); `torch.py` beside it is its twin.

frame -> conv 5 x 5, ReLU, max 2 x 2 -> conv 3 x 3 of stride 2, ReLU, max 2 x 2 -> Linear, ReLU -> Linear -> layers
-> two heads Linear, tanh, Linear: mean, and v with variance exp(v) where v < 0, else v + 1
(lindermanlab/S5, branch `pendulum`: s5/cru/util.py, s5/seq_model.py; heads as in Becker et al., arXiv 1905.07357)
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Integer

from implementations.common.config import ConfigError
from implementations.common.initializers import Keys, lecun_normal
from implementations.common.jax import Linear, parameter, product_precision
from implementations.models.config import FilmRegressorConfig
from implementations.models.jax import length_mask
from implementations.models.stack.jax import Stack


class Convolution(nnx.Module):
    """Convolution of images (N, height, width, channels) with `size` x `size` kernels, padded to both sides alike."""

    def __init__(self, in_features: int, out_features: int, size: int, stride: int, keys: Keys) -> None:
        self.size, self.stride = size, stride
        shape = (size, size, in_features, out_features)
        self.kernel = parameter(keys, lecun_normal(keys.child("kernel"), shape, size * size * in_features))
        self.bias = parameter(keys, np.zeros(out_features))

    def __call__(self, x: Float[Array, "N Y X C"]) -> Float[Array, "N Z W E"]:
        strides, padding = (self.stride, self.stride), [(self.size // 2, self.size // 2)] * 2
        with product_precision():
            y = jax.lax.conv_general_dilated(
                x, self.kernel[...], strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        return y + self.bias[...]


def largest(x: Float[Array, "N Y X C"]) -> Float[Array, "N Z W C"]:
    """The largest of every 2 x 2 values."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


class Head(nnx.Module):
    """Linear, tanh, Linear."""

    def __init__(self, in_features: int, hidden: int, out_features: int, keys: Keys) -> None:
        self.hidden = Linear(in_features, hidden, keys.child("hidden"))
        self.out = Linear(hidden, out_features, keys.child("out"))

    def __call__(self, x: Float[Array, "B L D"]) -> Float[Array, "B L K"]:
        return self.out(jnp.tanh(self.hidden(x)))


class FilmRegressor(Stack):
    """(B, L, side^2 + 1) values, the pixels of a frame and the time since the one before -> (B, L, 2 K)."""

    def __init__(self, config: FilmRegressorConfig, keys: Keys) -> None:
        super().__init__(config, keys)
        self.config: FilmRegressorConfig = config
        channels, hidden = config.channels, config.hidden
        self.convolution1 = Convolution(1, channels, 5, 1, keys.child("convolution1"))
        self.convolution2 = Convolution(channels, channels, 3, 2, keys.child("convolution2"))
        self.frame = Linear((config.side // 8) ** 2 * channels, hidden, keys.child("frame"))
        self.encoder = Linear(hidden + (config.time == "append"), config.d_model, keys.child("encoder"))
        self.mean = Head(config.d_model, hidden, config.targets, keys.child("mean"))
        self.variance = Head(config.d_model, hidden, config.targets, keys.child("variance"))

    def __call__(
        self,
        inputs: Float[Array, "B L channels"],
        lengths: Int[Array, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
    ) -> Float[Array, "B L outputs"]:
        """Means and variances of the K targets at every frame; `lengths` are the genuine lengths."""
        config = self.config
        if inputs.ndim != 3 or inputs.shape[-1] != config.input_size:
            raise ConfigError(f"inputs have shape {tuple(inputs.shape)}: expected (B, L, {config.input_size}) values")
        x = inputs.astype(self.encoder.kernel[...].dtype)
        frames, time = x[..., :-1].reshape(-1, config.side, config.side, 1), x[..., -1]
        y = largest(jax.nn.relu(self.convolution1(frames)))
        y = largest(jax.nn.relu(self.convolution2(y)))
        y = jax.nn.relu(self.frame(y.reshape(*x.shape[:2], -1)))
        y = self.encoder(jnp.concatenate([y, time[..., None]], -1) if config.time == "append" else y)
        mask = None if lengths is None else length_mask(lengths, x.shape[1])
        options = {"timesteps": time} if config.time == "steps" else {}
        y, _ = self.run_layers(y, None, mask, training=training, dropout_seed=dropout_seed, **options)
        v = self.variance(y)
        variance = jnp.where(v < 0, jnp.exp(jnp.minimum(v, 0.0)), v + 1)
        return jnp.concatenate([self.mean(y), variance], -1)
