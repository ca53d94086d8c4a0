"""Choosing the next token in JAX; `torch.py` beside it is its twin.

A sample is argmax(log p / temperature + g) with Gumbel noise g = -log(-log u), a pure function of seed and step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Integer

from implementations.common.config import ConfigError
from implementations.common.jax import random_words


def choose(
    log_probabilities: Float[Array, "B V"], temperature: float = 0.0, top_k: int | None = None, seed: int = 0, step=0
) -> Integer[Array, " B"]:
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
        least = jnp.sort(scores, axis=-1)[:, vocabulary - top_k, None]
        scores = jnp.where(scores >= least, scores, -jnp.inf)
    words = random_words(seed, step, scores.size)
    uniform = ((words >> 8).astype(scores.dtype) + 0.5) * 2.0**-24
    uniform = jnp.minimum(uniform, 1 - jnp.finfo(uniform.dtype).eps / 2)  # the largest would round to 1
    return (scores - jnp.log(-jnp.log(uniform)).reshape(scores.shape)).argmax(-1)


def grows(step: Callable[[Any], Any], model: Any, state: Any) -> bool:
    """Whether the state after a token, `step(model)`, is of other shapes than the one before: where a cache grows,
    every token would be compiled anew, and the tokens so far are mapped again instead, padded to one length."""
    before, after = (jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (state, nnx.eval_shape(step, model)))
    return before != after


def rows_of(state: Any, rows: Integer[Array, " B"]) -> Any:
    """The states of other sequences of the batch, by their rows."""
    return jax.tree.map(lambda leaf: leaf[rows], state)


def penalty(length: Float[Array, "B K"], alpha: float) -> Float[Array, "B K"]:
    """What the log probability of a sequence is divided by: ((5 + length) / 6)^alpha (Wu et al., arXiv 1609.08144)."""
    return ((5.0 + length) / 6.0) ** alpha


def extend(
    log_probabilities: Float[Array, "B K V"],
    scores: Float[Array, "B K"],
    lengths: Integer[Array, "B K"],
    done: Integer[Array, "B K"],
    alpha: float,
    end: int,
) -> tuple[Integer[Array, "B K"], Integer[Array, "B K"], Float[Array, "B K"], Integer[Array, "B K"]]:
    """The K best of all beams extended by all tokens: their beams before, tokens, log probabilities and lengths.

    A beam that is `done` stays as it is, followed by `end`. Of equals the first beam and the first token come first.
    """
    batch, beams, vocabulary = log_probabilities.shape
    stays = jnp.where(jnp.arange(vocabulary) == end, 0.0, -jnp.inf)
    total = scores[..., None] + jnp.where(done[..., None] > 0, stays, log_probabilities)
    length = lengths + 1 - done
    ranked = total / penalty(length.astype(total.dtype), alpha)[..., None]
    order = jnp.argsort(-ranked.reshape(batch, -1), axis=-1, stable=True)[:, :beams]
    before, token = order // vocabulary, order % vocabulary
    kept = jnp.take_along_axis(total.reshape(batch, -1), order, 1)
    return before, token, kept, jnp.take_along_axis(length, before, 1)
