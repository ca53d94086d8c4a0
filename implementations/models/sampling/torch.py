"""Choosing the next token in PyTorch; `jax.py` beside it is its twin.

A sample is argmax(log p / temperature + g) with Gumbel noise g = -log(-log u), a pure function of seed and step.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from implementations.common.config import ConfigError
from implementations.common.torch import random_words


def choose(
    log_probabilities: Float[Tensor, "B V"], temperature: float = 0.0, top_k: int | None = None, seed: int = 0, step=0
) -> Integer[Tensor, " B"]:
    """The most probable token at temperature 0, else a sampled one; of the `top_k` most probable, where given."""
    vocabulary = log_probabilities.shape[1]
    if temperature < 0:
        raise ConfigError(f"temperature is {temperature}: expected at least 0")
    if top_k is not None and not 1 <= top_k <= vocabulary:
        raise ConfigError(f"top_k is {top_k}: expected 1 to V = {vocabulary}, or None")
    if temperature == 0:
        return log_probabilities.argmax(-1)
    scores = log_probabilities / temperature
    if top_k is not None:
        least = torch.sort(scores, dim=-1).values[:, vocabulary - top_k, None]
        scores = torch.where(scores >= least, scores, -torch.inf)
    words = random_words(seed, step, scores.numel(), scores.device)
    uniform = ((words >> 8).to(scores.dtype) + 0.5) * 2.0**-24
    uniform = torch.clamp(uniform, max=1 - torch.finfo(uniform.dtype).eps / 2)  # the largest would round to 1
    return (scores - torch.log(-torch.log(uniform)).reshape(scores.shape)).argmax(-1)


def rows_of(state: Any, rows: Integer[Tensor, " B"]) -> Any:
    """The states of other sequences of the batch, by their rows."""
    if isinstance(state, dict):
        return {name: rows_of(child, rows) for name, child in state.items()}
    return state[rows]


def penalty(length: Float[Tensor, "B K"], alpha: float) -> Float[Tensor, "B K"]:
    """What the log probability of a sequence is divided by: ((5 + length) / 6)^alpha (Wu et al., arXiv 1609.08144)."""
    return ((5.0 + length) / 6.0) ** alpha


def extend(
    log_probabilities: Float[Tensor, "B K V"],
    scores: Float[Tensor, "B K"],
    lengths: Integer[Tensor, "B K"],
    done: Integer[Tensor, "B K"],
    alpha: float,
    end: int,
) -> tuple[Integer[Tensor, "B K"], Integer[Tensor, "B K"], Float[Tensor, "B K"], Integer[Tensor, "B K"]]:
    """The K best of all beams extended by all tokens: their beams before, tokens, log probabilities and lengths.

    A beam that is `done` stays as it is, followed by `end`. Of equals the first beam and the first token come first.
    """
    batch, beams, vocabulary = log_probabilities.shape
    stays = torch.where(torch.arange(vocabulary, device=scores.device) == end, 0.0, -torch.inf)
    total = scores[..., None] + torch.where(done[..., None] > 0, stays, log_probabilities)
    length = lengths + 1 - done
    ranked = total / penalty(length.to(total.dtype), alpha)[..., None]
    order = torch.argsort(-ranked.reshape(batch, -1), dim=-1, stable=True)[:, :beams]
    before, token = order // vocabulary, order % vocabulary
    kept = total.reshape(batch, -1).gather(1, order)
    return before, token, kept, length.gather(1, before)
