"""The models in PyTorch; `jax.py` beside it is its twin."""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int, Integer, Num
from torch import Tensor, nn

from implementations.catalog import layer_class
from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.common.torch import Embedding, Linear, gelu
from implementations.models.config import POSITION_DEVIATION, ClassifierConfig, DualEncoderConfig, ModelConfig
from implementations.ops.attention.torch import sinusoidal


def length_mask(lengths: Int[Tensor, " B"], length: int) -> Bool[Tensor, "B L"]:
    """True at the first `lengths[b]` positions."""
    return torch.arange(length, device=lengths.device) < lengths[:, None]


def pool(x: Float[Tensor, "B L D"], lengths: Int[Tensor, " B"] | None, pooling: str) -> Float[Tensor, "B D"]:
    """One vector per sequence: the mean of its genuine positions, or the last of them."""
    if pooling == "last":
        last = torch.full((x.shape[0],), x.shape[1] - 1, device=x.device) if lengths is None else lengths - 1
        return x[torch.arange(x.shape[0], device=x.device), last]
    if lengths is None:
        return x.mean(1)
    mask = length_mask(lengths, x.shape[1])
    return torch.where(mask[..., None], x, 0.0).sum(1) / lengths[:, None].to(x.dtype)


class _Encoder(nn.Module):
    """Linear encoder, layers and pooling: what the models share."""

    def __init__(self, config: ModelConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        layer_config: Any = config.layer
        layer = layer_class(layer_config.architecture, "torch")
        self.d_model: int = layer_config.d_model
        self.encoder = Linear(config.input_size, self.d_model, keys.child("encoder"))
        if config.input_positions == "learned":
            self.positions = Embedding(
                layer_config.max_length, self.d_model, keys.child("positions"), POSITION_DEVIATION
            )
        self.layers = nn.ModuleList([layer(layer_config, keys.child("layers").child(i)) for i in range(config.depth)])

    def encode(
        self,
        inputs: Num[Tensor, "B L *channels"],
        lengths: Int[Tensor, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        **options,
    ) -> Float[Tensor, "B D"]:
        """Sequences to vectors; `options` go to every layer (for S5: step_rescale, timesteps, scan)."""
        config = self.config
        if config.input_kind == "tokens":
            if inputs.ndim != 2 or inputs.is_floating_point() or inputs.dtype == torch.bool:
                raise ConfigError(
                    f"inputs have shape {tuple(inputs.shape)} of {inputs.dtype}: expected (B, L) integer tokens"
                )
            symbols = torch.arange(config.input_size, device=inputs.device)
            x = (inputs.int()[..., None] == symbols).to(self.encoder.kernel.dtype)
        else:
            if inputs.ndim != 3 or inputs.shape[-1] != config.input_size:
                raise ConfigError(
                    f"inputs have shape {tuple(inputs.shape)}: expected (B, L, {config.input_size}) values"
                )
            x = inputs.to(self.encoder.kernel.dtype)
        x = self._place(self.encoder(x))
        mask = None if lengths is None else length_mask(lengths, x.shape[1])
        for layer in self.layers:
            x, _ = layer(x, None, mask, training=training, dropout_seed=dropout_seed, **options)
        return pool(x, lengths, config.pooling)

    def _place(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Add absolute positions, where the layer's config asks for them."""
        config, layer_config = self.config, cast(Any, self.config.layer)
        positions = torch.arange(x.shape[1], device=x.device)
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

    def forward(
        self,
        inputs: Num[Tensor, "B L *channels"],
        lengths: Int[Tensor, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        **options,
    ) -> Float[Tensor, "B C"]:
        """Logits; `lengths` are the genuine lengths, None where nothing is padded."""
        x = self.encode(inputs, lengths, training=training, dropout_seed=dropout_seed, **options)
        return self.decoder(x)


class DualEncoder(_Encoder):
    """(2B, L) sequences, the first half the first documents -> (B, C) logits."""

    def __init__(self, config: DualEncoderConfig, keys: Keys) -> None:
        super().__init__(config, keys)
        self.hidden = Linear(4 * self.d_model, self.d_model, keys.child("hidden"))
        self.decoder = Linear(self.d_model, config.classes, keys.child("decoder"))

    def forward(
        self,
        inputs: Num[Tensor, "B L *channels"],
        lengths: Int[Tensor, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        **options,
    ) -> Float[Tensor, "B2 C"]:
        """Logits of pairs (b, B + b); `lengths` are the genuine lengths, None where nothing is padded."""
        x = self.encode(inputs, lengths, training=training, dropout_seed=dropout_seed, **options)
        first, second = torch.chunk(x, 2, dim=0)
        features = torch.cat([first, second, first - second, first * second], -1)
        return self.decoder(gelu(self.hidden(features)))
