"""The stack of layers in PyTorch; `jax.py` beside it is its twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int32, Integer
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from implementations.catalog import layer_class
from implementations.common.config import Config, ConfigError, require_state
from implementations.common.initializers import Keys
from implementations.common.torch import compute_dtype, trailing
from implementations.models.config import ModelConfig
from implementations.ops.attention.torch import sinusoidal

State = dict[str, Any]
"""The states of the layers, by depth."""


def build(layers: Sequence[Config], keys: Keys) -> list[Any]:
    """The layers of a stack with their initial values, each under the keys of its depth."""
    return [layer_class(str(c.architecture), "torch")(c, keys.child(i)) for i, c in enumerate(layers)]


def run(config: ModelConfig, layer: nn.Module, *arguments: Any, **options: Any) -> Any:
    """What a layer gives in the compute dtype; with `config.checkpoint` its inputs only are kept, and it runs again
    for the gradient, on copies of its running statistics."""

    def function(*arguments: Any) -> tuple[Any, dict[str, Tensor]]:
        with compute_dtype(config.compute_dtype):
            if not list(layer.buffers()):
                return layer(*arguments, **options), {}
            statistics = {name: buffer.clone() for name, buffer in layer.named_buffers()}
            return functional_call(layer, statistics, arguments, options), statistics

    with compute_dtype(config.compute_dtype):
        if not config.checkpoint:
            return layer(*arguments, **options)
        outputs, statistics = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
    for name, buffer in layer.named_buffers():
        buffer.copy_(statistics[name])
    return outputs


def positioned(
    x: Float[Tensor, "B L D"], positions: Integer[Tensor, "B L"], kind: str, table: Float[Tensor, "N D"] | None
) -> Float[Tensor, "B L D"]:
    """x plus the vectors of its positions, "sinusoidal" or "learned"; behind a state, NaN beyond those of the table."""
    if kind == "sinusoidal":
        return x + sinusoidal(positions.reshape(-1), x.shape[-1], x).reshape(x.shape)
    if table is None:
        return x
    if x.shape[1] > table.shape[0]:
        raise ConfigError(f"inputs have {x.shape[1]} positions: expected at most max_length = {table.shape[0]}")
    known = table[torch.clamp(positions, 0, table.shape[0] - 1)]
    return x + torch.where((positions < table.shape[0])[..., None], known, torch.nan)


def taken(length: int, mask: Bool[Tensor, "B L"] | None) -> int | Int32[Tensor, " B"]:
    """How many positions a segment takes up: all but the padding at its end, as in the layers."""
    return length if mask is None else (length - trailing(mask)).to(torch.int32)


class Stack(nn.Module):
    """Layers one on the other, `layers.{depth}`: the base of all models."""

    def __init__(self, config: ModelConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(build(config.layers, keys.child("layers")))

    def initial_state(self, batch: int) -> State | None:
        """The states before the first token, or None where a layer cannot stream."""
        layers: Any = self.layers
        states = {str(i): layer.initial_state(batch) for i, layer in enumerate(layers)}
        return None if any(state is None for state in states.values()) else states

    def reset(self, state: State | None, start: Bool[Tensor, " B"]) -> State:
        """The states, emptied for the sequences of the batch at which a document starts."""
        state = require_state(state, *self.config.layers)
        layers: Any = self.layers
        return {str(i): layer.reset(state[str(i)], start) for i, layer in enumerate(layers)}

    def run_layers(
        self,
        x: Float[Tensor, "B L D"],
        state: State | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        **options,
    ) -> tuple[Float[Tensor, "B L D"], State | None]:
        """Map a segment from the layers' states to outputs and the states after it (None where a layer has none).

        `options` go to the layers of the architecture of `config.layer` (for S5: step_rescale, timesteps, scan).
        """
        config, states = self.config, {}
        for i, module in enumerate(self.layers):
            layer: Any = module
            given = options if config.layers[i].architecture == config.layer.architecture else {}
            given = {**given, "training": training, "dropout_seed": dropout_seed}
            before = None if state is None else state[str(i)]
            x, states[str(i)] = run(config, layer, x, before, mask, **given)
        return x, None if any(after is None for after in states.values()) else states

    def activity_of(self, x: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"] | None = None) -> Float[Tensor, "R B"]:
        """The share of each sequence's genuine positions that are active in each of the R layers that choose them."""
        config, rates = self.config, []
        for i, module in enumerate(self.layers):
            layer: Any = module
            given = {"return_activity": True} if i in config.routed else {}
            x, _, *rate = run(config, layer, x, None, mask, **given)
            rates += rate
        return torch.stack(rates)
