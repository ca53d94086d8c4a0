"""Adaptive embedding and softmax in PyTorch; `jax.py` beside it is its twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from implementations.common.initializers import Keys
from implementations.common.torch import ElementDropout, einsum, parameter
from implementations.models.adaptive import initial_table, xavier_uniform
from implementations.models.config import LanguageModelConfig


def log_probabilities(logits: Sequence[Float[Tensor, "B L _"]]) -> Float[Tensor, "B L V"]:
    """The logits of the head and of each further band to the log probabilities of all tokens, float32 or better."""
    head, *tails = (torch.log_softmax(_wide(band), dim=-1) for band in logits)
    first = head.shape[-1] - len(tails)
    rest = [head[..., first + i, None] + tail for i, tail in enumerate(tails)]
    return torch.cat([head[..., :first], *rest], -1)


def losses(logits: Sequence[Float[Tensor, "B L _"]], targets: Integer[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """Minus the log probability of each target in nats, float32 or better; see `log_probabilities`."""
    head, *tails = (_wide(band) for band in logits)
    low = head.shape[-1] - len(tails)
    targets = targets.long()
    chosen, loss = targets, 0.0
    for i, tail in enumerate(tails):
        within = targets - low
        inside = (within >= 0) & (within < tail.shape[-1])
        chosen = torch.where(inside, head.shape[-1] - len(tails) + i, chosen)
        own = _cross_entropy(tail, torch.clamp(within, 0, tail.shape[-1] - 1))
        loss = loss + torch.where(inside, own, 0.0)
        low = low + tail.shape[-1]
    return loss + _cross_entropy(head, chosen)


def _wide(logits):
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _cross_entropy(logits, targets):
    own = logits.gather(-1, targets[..., None].long())[..., 0]
    return torch.logsumexp(logits, dim=-1) - own


class Band(nn.Module):
    """A band of tokens in its own width: their vectors, and the projection (width, D) between it and the model."""

    def __init__(self, count: int, width: int, d_model: int, keys: Keys, own_table: bool, own_projection: bool) -> None:
        super().__init__()
        if own_table:
            self.table = parameter(keys, initial_table(keys.child("table"), (count, width)))
        if own_projection:
            self.projection = parameter(keys, xavier_uniform(keys.child("projection"), (width, d_model)))


class AdaptiveEmbedding(nn.Module):
    """Tokens to vectors: those of a band's own width, projected to D."""

    def __init__(self, config: LanguageModelConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        self.bands = nn.ModuleList(
            [
                Band(count, width, config.d_model, keys.child("bands").child(i), True, True)
                for i, (_, count, width) in enumerate(config.bands)
            ]
        )

    def forward(self, tokens: Integer[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        found: Any = 0.0
        bands: Any = self.bands
        tokens = tokens.long()
        for (low, count, _), band in zip(self.config.bands, bands, strict=True):
            within = tokens - low
            vectors = band.table[torch.clamp(within, 0, count - 1)]
            vectors = torch.where(((within >= 0) & (within < count))[..., None], vectors, 0.0)
            found = found + einsum("blw,wd->bld", vectors, band.projection)
        return found


class AdaptiveOutput(nn.Module):
    """Vectors to the logits of the head and of each further band; what is tied lies in the embedding."""

    def __init__(self, config: LanguageModelConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        tied = config.output == "adaptive_tied"
        d_model, own_projections = config.d_model, not (tied and config.tie_projections)
        self.clusters = parameter(keys, xavier_uniform(keys.child("clusters"), (d_model, len(config.cutoffs))))
        self.bands = nn.ModuleList(
            [
                Band(count, width, d_model, keys.child("bands").child(i), not tied, own_projections and i > 0)
                for i, (_, count, width) in enumerate(config.bands)
            ]
        )
        self.dropout = ElementDropout(config.output_dropout, keys.child("dropout"))

    def features(
        self,
        x: Float[Tensor, "B L D"],
        embedding: Any,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
        training: bool = False,
    ) -> list[Float[Tensor, "B L _"]]:
        """What the kernel of the head and of each further band is applied to."""
        found = [x]
        for i in range(1, len(self.bands)):
            own: Any = self.bands[i] if hasattr(self.bands[i], "projection") else embedding.bands[i]
            found.append(self.dropout(einsum("bld,wd->blw", x, own.projection), dropout_seed, training))
        return found

    def kernels(self, embedding: Any) -> list[Float[Tensor, "_ _"]]:
        """The kernels (logits, width) of the head and of each further band."""
        owners: Any = self.bands if self.config.output == "adaptive" else embedding.bands
        tables = [band.table for band in owners]
        return [torch.cat([tables[0], self.clusters.T]), *tables[1:]]
