"""Transformers: the baselines of the Block-Recurrent Transformer's paper, and ListOps by which the harness is tried.

Hutchins, Schlag, Wu, Dyer and Neyshabur 2022 (arXiv 2203.07852), table 1: decoders of 12 or 13 layers that differ in
attention only. Numbers of the layer from `transformer/configs` of google-research/meliad@cc1aef5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from implementations.models.config import ModelConfig
from implementations.transformer.config import TransformerConfig
from suite.recipes.base import Profile, Recipe


def decoder(**changes: Any) -> TransformerConfig:
    """A layer as all baselines of the paper share it: 12,582,912 parameters in its kernels.

    Size 150M: D 1024, 8 heads of 128, feed-forward 4096 with ReLU, no biases, RMS norms, queries and keys of length
    one. Dropout 0.05 (one mask per sequence and feature here; the authors also drop entries of the attention matrix).
    """
    return TransformerConfig(
        d_model=1024,
        heads=8,
        head_width=128,
        d_ff=4096,
        activation="relu",
        norm="rms",
        biases=False,
        causal=True,
        include_self=False,
        positions="t5",
        buckets=32,
        max_distance=128,
        qk_norm=True,
        dropout=0.05,
    ).replace(**changes)


def transformer() -> TransformerConfig:
    """Attention over the whole sequence."""
    return decoder()


def local(window: int = 512) -> TransformerConfig:
    """Attention over a sliding window; a sequence is trained on by itself, without a cache from the one before."""
    return decoder(attention="window", window=window)


def xl(window: int) -> TransformerConfig:
    """XL:512 and XL:2048: segments as long as the window, the cache without gradient."""
    return decoder(attention="xl", window=window, attend_start=True)


def slide() -> TransformerConfig:
    """Slide: segments of 4096 tokens, window 512, gradients between blocks, a cache from segment to segment."""
    return decoder(attention="window", window=512, attend_start=True)


BASELINES: dict[str, tuple[Callable[[], TransformerConfig], int, int]] = {
    "Transformer": (transformer, 12, 4096),
    "Local": (local, 12, 4096),
    "XL:512": (lambda: xl(512), 12, 512),
    "XL:2048": (lambda: xl(2048), 12, 2048),
    "Slide:12L": (slide, 12, 4096),
    "Slide:13L": (slide, 13, 4096),
}
"""Name -> layer, number of layers and tokens per segment."""

RECIPES: dict[str, Callable[[Profile], Recipe]] = {}
"""Language modelling is the task of the baselines; no recipe of another task is published for them."""


def operations_per_token(model: ModelConfig) -> float:
    """Floating-point operations of one forward pass per position: matrix products and, of the window, the logits.

    Where attention is full the logits depend on the length; half of `max_length`, or of 1024, stands for it.
    """
    layer = model.layer
    assert isinstance(layer, TransformerConfig)
    D, inner = layer.d_model, layer.heads * layer.head_width
    seen = 2 * layer.window if layer.window is not None else (layer.max_length or 1024) // 2
    products = 8 * D * inner + (6 if layer.gated else 4) * D * layer.d_ff
    return model.depth * (products + 4 * inner * seen + 20 * D) + 2 * model.input_size * D
