"""Decoders around the layers of either framework, as the authors' code composes them, for golden values."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from implementations.common.initializers import Keys


def started(framework: str, layer: Any) -> Any:
    """A layer whose state is reset where a document starts, before the segment."""
    module, call = _module(framework)

    class Started(module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

    def forward(self, x, state, start, training=False):
        return self.layer(x, self.layer.reset(state, start))

    setattr(Started, call, forward)
    return Started()


def decoder(framework: str, layers: list[Any], symbols: int, width: int, stacked: bool) -> Any:
    """Embedding, layers, RMS norm and logits by the same embedding, divided by sqrt(D).

    `stacked`: the one layer holds a stack, whose state is that of the decoder.
    """
    module, call = _module(framework)
    common = importlib.import_module(f"implementations.common.{framework}")
    keys = Keys(0, "float64")

    class Decoder(module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = common.Embedding(symbols, width, keys)
            if framework == "jax":
                from flax import nnx

                self.layers = nnx.List(layers)
            else:
                import torch

                self.layers = torch.nn.ModuleList(layers)
            self.norm = common.RMSNorm(width, keys)

    def forward(self, tokens, state, start, training=False):
        x, after = self.embed(tokens), {}
        for i, layer in enumerate(self.layers):
            given = state if stacked else state[str(i)]
            x, after[str(i)] = layer(x, layer.reset(given, start))
        table = self.embed.table[...]
        return self.norm(x) @ table.T / np.sqrt(width), after["0"] if stacked else after

    setattr(Decoder, call, forward)
    return Decoder()


def _module(framework: str) -> tuple[type, str]:
    """The base class of modules, and the name of the method that calls one."""
    if framework == "jax":
        from flax import nnx

        return nnx.Module, "__call__"
    import torch

    return torch.nn.Module, "forward"
