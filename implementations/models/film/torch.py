"""The regressor of films in PyTorch; `jax.py` beside it is its twin.

frame -> conv 5 x 5, ReLU, max 2 x 2 -> conv 3 x 3 of stride 2, ReLU, max 2 x 2 -> Linear, ReLU -> Linear -> layers
-> two heads Linear, tanh, Linear: mean, and v with variance exp(v) where v < 0, else v + 1
(lindermanlab/S5, branch `pendulum`: s5/cru/util.py, s5/seq_model.py; heads as in Becker et al., arXiv 1905.07357)
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor, nn

from implementations.common.config import ConfigError
from implementations.common.initializers import Keys, lecun_normal
from implementations.common.torch import Linear, parameter
from implementations.models.config import FilmRegressorConfig
from implementations.models.stack.torch import Stack
from implementations.models.torch import length_mask


class Convolution(nn.Module):
    """Convolution of images (N, height, width, channels) with `size` x `size` kernels, padded to both sides alike."""

    def __init__(self, in_features: int, out_features: int, size: int, stride: int, keys: Keys) -> None:
        super().__init__()
        self.size, self.stride = size, stride
        shape = (size, size, in_features, out_features)
        self.kernel = parameter(keys, lecun_normal(keys.child("kernel"), shape, size * size * in_features))
        self.bias = parameter(keys, np.zeros(out_features))

    def forward(self, x: Float[Tensor, "N Y X C"]) -> Float[Tensor, "N Z W E"]:
        kernel = self.kernel.permute(3, 2, 0, 1)
        y = nn.functional.conv2d(x.permute(0, 3, 1, 2), kernel, stride=self.stride, padding=self.size // 2)
        return y.permute(0, 2, 3, 1) + self.bias


def largest(x: Float[Tensor, "N Y X C"]) -> Float[Tensor, "N Z W C"]:
    """The largest of every 2 x 2 values."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).amax((2, 4))


class Head(nn.Module):
    """Linear, tanh, Linear."""

    def __init__(self, in_features: int, hidden: int, out_features: int, keys: Keys) -> None:
        super().__init__()
        self.hidden = Linear(in_features, hidden, keys.child("hidden"))
        self.out = Linear(hidden, out_features, keys.child("out"))

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L K"]:
        return self.out(torch.tanh(self.hidden(x)))


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

    def forward(
        self,
        inputs: Float[Tensor, "B L channels"],
        lengths: Int[Tensor, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
    ) -> Float[Tensor, "B L outputs"]:
        """Means and variances of the K targets at every frame; `lengths` are the genuine lengths."""
        config = self.config
        if inputs.ndim != 3 or inputs.shape[-1] != config.input_size:
            raise ConfigError(f"inputs have shape {tuple(inputs.shape)}: expected (B, L, {config.input_size}) values")
        x = inputs.to(self.encoder.kernel.dtype)
        frames, time = x[..., :-1].reshape(-1, config.side, config.side, 1), x[..., -1]
        y = largest(torch.relu(self.convolution1(frames)))
        y = largest(torch.relu(self.convolution2(y)))
        y = torch.relu(self.frame(y.reshape(*x.shape[:2], -1)))
        y = self.encoder(torch.cat([y, time[..., None]], -1) if config.time == "append" else y)
        mask = None if lengths is None else length_mask(lengths, x.shape[1])
        options = {"timesteps": time} if config.time == "steps" else {}
        y, _ = self.run_layers(y, None, mask, training=training, dropout_seed=dropout_seed, **options)
        v = self.variance(y)
        variance = torch.where(v < 0, torch.exp(torch.clamp(v, max=0.0)), v + 1)
        return torch.cat([self.mean(y), variance], -1)
