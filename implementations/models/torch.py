"""The models in PyTorch; `jax.py` beside it is its twin."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, Integer, Num
from torch import Tensor

from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.common.torch import Embedding, Linear, gelu
from implementations.models.config import POSITION_DEVIATION, ClassifierConfig, DualEncoderConfig, PooledConfig
from implementations.models.stack.torch import Stack
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
        inputs: Num[Tensor, "B L *channels"],
        lengths: Int[Tensor, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        **options,
    ) -> Float[Tensor, "B D"]:
        """Sequences to vectors; `options` go to the layers, see `Stack.run_layers`."""
        x, mask = self._embed(inputs, lengths)
        x, _ = self.run_layers(x, None, mask, training=training, dropout_seed=dropout_seed, **options)
        return pool(x, lengths, self.config.pooling)

    def activity(
        self, inputs: Num[Tensor, "B L *channels"], lengths: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, "R B"]:
        """The activation rates of the layers that choose their tokens, see `Stack.activity_of`."""
        return self.activity_of(*self._embed(inputs, lengths))

    def _embed(self, inputs, lengths):
        """What the layers are given: vectors with their positions, and which of these are genuine."""
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
        return x, None if lengths is None else length_mask(lengths, x.shape[1])

    def _place(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Add absolute positions, where the layer's config asks for them."""
        config = self.config
        positions = torch.arange(x.shape[1], device=x.device)
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
        self.hidden = Linear(4 * config.d_model, config.d_model, keys.child("hidden"))
        self.decoder = Linear(config.d_model, config.classes, keys.child("decoder"))

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
