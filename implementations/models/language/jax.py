"""The language model in JAX (Flax NNX); `torch.py` beside it is its twin."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Integer

from implementations.common.config import ConfigError
from implementations.common.conventions import MatmulPrecision
from implementations.common.initializers import Keys, lecun_normal
from implementations.common.jax import (
    ElementDropout,
    Embedding,
    LayerNorm,
    RMSNorm,
    current_precision,
    einsum,
    matmul_precision,
    parameter,
)
from implementations.models.adaptive.jax import AdaptiveEmbedding, AdaptiveOutput, log_probabilities, losses
from implementations.models.config import POSITION_DEVIATION, LanguageModelConfig
from implementations.models.sampling.jax import choose, grows
from implementations.models.stack.jax import Stack, State, positioned, taken


class Output(nnx.Module):
    """A kernel (D, V) of its own, without a bias."""

    def __init__(self, config: LanguageModelConfig, keys: Keys) -> None:
        self.kernel = parameter(keys, lecun_normal(keys.child("kernel"), (config.d_model, config.input_size)))


class LanguageModel(Stack):
    """(B, L) tokens -> (B, L, V) logits of the token after each of them."""

    def __init__(self, config: LanguageModelConfig, keys: Keys) -> None:
        super().__init__(config, keys)
        self.config: LanguageModelConfig = config
        if config.embedding == "adaptive":
            self.embedding: Any = AdaptiveEmbedding(config, keys.child("embedding"))
        else:
            self.embedding = Embedding(
                config.input_size, config.d_model, keys.child("embedding"), config.embedding_stddev
            )
        if config.input_positions == "learned":
            self.positions = Embedding(config.max_length, config.d_model, keys.child("positions"), POSITION_DEVIATION)
        if config.final_norm != "none":
            norm = LayerNorm if config.final_norm == "layer" else RMSNorm
            self.norm = norm(config.d_model, keys.child("norm"))
        if config.output == "separate":
            self.output: Any = Output(config, keys.child("output"))
        elif config.output != "tied":
            self.output = AdaptiveOutput(config, keys.child("output"))
        self.embedding_dropout = ElementDropout(config.embedding_dropout, keys.child("embedding_dropout"))
        self.output_dropout = ElementDropout(config.output_dropout, keys.child("output_dropout"))

    def initial_state(self, batch: int) -> State:
        """The states before the first token; `position` (B,) where absolute positions are added."""
        state = super().initial_state(batch)
        assert state is not None
        return state if self.config.input_positions == "none" else {**state, "position": jnp.zeros(batch, jnp.int32)}

    def reset(self, state: State, start: Bool[Array, " B"]) -> State:
        """The states, emptied for the sequences of the batch at which a document starts."""
        found = super().reset(state, start)
        return found | {"position": jnp.where(start, 0, state["position"])} if "position" in state else found

    def features(
        self,
        inputs: Integer[Array, "B L"],
        state: State | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
        **options,
    ) -> tuple[list[Float[Array, "B L _"]], State]:
        """What the kernels of the output are applied to, and the states after the segment."""
        config = self.config
        if inputs.ndim != 2 or not jnp.issubdtype(inputs.dtype, jnp.integer):
            raise ConfigError(f"inputs have shape {inputs.shape} of {inputs.dtype}: expected (B, L) integer tokens")
        x = self.embedding(inputs)
        if config.scale_embedding:
            x = x * math.sqrt(config.d_model)
        placed = {}
        if config.input_positions != "none":
            before = jnp.zeros(x.shape[0], jnp.int32) if state is None else state["position"]
            table = self.positions.table[...] if config.input_positions == "learned" else None
            positions = before[:, None] + jnp.arange(x.shape[1])
            x = positioned(x, positions, config.input_positions, table)
            placed["position"] = before + taken(x.shape[1], mask)
        x = self.embedding_dropout(x, dropout_seed, training)
        x, after = self.run_layers(x, state, mask, training=training, dropout_seed=dropout_seed, **options)
        if config.final_norm != "none":
            x = self.norm(x)
        x = self.output_dropout(x, dropout_seed, training)
        if config.scale_logits:
            x = x * config.d_model**-0.5
        if config.output in ("tied", "separate"):
            return [x], {**(after or {}), **placed}
        return self.output.features(x, self.embedding, dropout_seed, training), {**(after or {}), **placed}

    def kernels(self) -> list[Float[Array, "_ _"]]:
        """The kernels (logits, width) of the output: of all tokens, or of the head and each further band."""
        if self.config.output == "tied":
            return [self.embedding.table[...]]
        if self.config.output == "separate":
            return [self.output.kernel[...].T]
        return self.output.kernels(self.embedding)

    def __call__(
        self,
        inputs: Integer[Array, "B L"],
        state: State | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
        **options,
    ) -> tuple[Float[Array, "B L V"], State]:
        """Map a segment of any length from the states to logits and the states after it.

        Where the output is adaptive the logits are log probabilities. `mask` is True at genuine positions; `options` go
        to the layers, see `Stack.run_layers`.
        """
        given = {"training": training, "dropout_seed": dropout_seed, **options}
        features, state = self.features(inputs, state, mask, **given)
        found = logits(features, self.kernels())
        return (found[0] if len(found) == 1 else log_probabilities(found)), state

    def log_probabilities(
        self, inputs: Integer[Array, "B L"], state: State | None = None, mask: Bool[Array, "B L"] | None = None
    ) -> tuple[Float[Array, "B L V"], State]:
        """Log probabilities of the token after each, in nats and float32 or better, and the states after them."""
        features, state = self.features(inputs, state, mask)
        return log_probabilities(logits(features, self.kernels())), state

    def losses(
        self,
        inputs: Integer[Array, "B L"],
        targets: Integer[Array, "B L"],
        state: State | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
        **options,
    ) -> tuple[Float[Array, "B L"], State]:
        """Minus the log probability of each target in nats, 0 where `mask` is False, and the states after the segment.

        With `config.loss_block` the logits of so many positions exist at a time, and again for the gradient.
        """
        given = {"training": training, "dropout_seed": dropout_seed, **options}
        features, state = self.features(inputs, state, mask, **given)
        kernels, length = self.kernels(), inputs.shape[1]
        size = self.config.loss_block or length
        if mask is not None:
            targets = jnp.where(mask, targets, 0)

        def block(features: Any, kernels: Any, targets: Any) -> Any:
            return losses(logits(features, kernels), targets)

        run = block if size >= length else jax.checkpoint(block)
        cuts = [slice(start, start + size) for start in range(0, length, size)]
        found = jnp.concatenate([run([f[:, c] for f in features], kernels, targets[:, c]) for c in cuts], 1)
        return (found if mask is None else jnp.where(mask, found, 0.0)), state

    def generate(
        self,
        prompt: Integer[Array, "B L"],
        count: int,
        temperature: float = 0.0,
        top_k: int | None = None,
        seed: int = 0,
    ) -> Integer[Array, "B N"]:
        """The `count` tokens after a prompt, one by one through the states; greedy at temperature 0, see `choose`."""
        config, length = self.config, prompt.shape[1]
        if config.input_positions == "learned" and length + count - 1 > config.max_length:
            raise ConfigError(f"prompt has {length} positions, count is {count}: expected at most max_length = "
                              f"{config.max_length} without the last")  # fmt: skip
        state = self.initial_state(prompt.shape[0])
        text = jnp.concatenate([prompt, jnp.zeros((prompt.shape[0], count), prompt.dtype)], 1)
        again = grows(lambda model: model.features(prompt[:, :1], state)[1], self, state)
        for i in range(count):
            if again:
                now = _at(self, text[:, :-1], length + i - 1, precision=current_precision())
            else:
                seen = prompt if i == 0 else text[:, length + i - 1, None]
                now, state = _after(self, seen, state, precision=current_precision())
            text = text.at[:, length + i].set(choose(now, temperature, top_k, seed, i).astype(text.dtype))
        return text[:, length:]


def logits(features: Any, kernels: Any) -> list[Float[Array, "B L _"]]:
    """The logits of each band."""
    return [einsum("blw,vw->blv", f, k) for f, k in zip(features, kernels, strict=True)]


@partial(nnx.jit, static_argnames="precision")
def _after(model: LanguageModel, inputs: Any, state: State, precision: MatmulPrecision) -> tuple[Any, State]:
    """Log probabilities of the token after a segment, and the states."""
    with matmul_precision(precision):
        features, state = model.features(inputs, state)
        return log_probabilities(logits([f[:, -1:] for f in features], model.kernels()))[:, 0], state


@partial(nnx.jit, static_argnames="precision")
def _at(model: LanguageModel, inputs: Any, position: Any, precision: MatmulPrecision) -> Any:
    """Log probabilities of the token after a position; what follows it does not matter."""
    with matmul_precision(precision):
        features, _ = model.features(inputs)
        now = [jax.lax.dynamic_slice_in_dim(f, position, 1, 1) for f in features]
        return log_probabilities(logits(now, model.kernels()))[:, 0]
