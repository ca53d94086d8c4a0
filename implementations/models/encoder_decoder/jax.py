"""The encoder-decoder in JAX (Flax NNX); `torch.py` beside it is its twin."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Integer

from implementations.common.config import ConfigError
from implementations.common.conventions import MatmulPrecision
from implementations.common.initializers import Keys, lecun_normal
from implementations.common.jax import (
    ElementDropout,
    Embedding,
    LayerNorm,
    Linear,
    RMSNorm,
    current_precision,
    einsum,
    matmul_precision,
    parameter,
)
from implementations.models.adaptive.jax import losses
from implementations.models.config import POSITION_DEVIATION, EncoderDecoderConfig
from implementations.models.jax import length_mask, pool
from implementations.models.sampling.jax import extend, grows, rows_of
from implementations.models.stack.jax import Stack, State, build, positioned, run, taken
from implementations.transformer.cross.jax import CrossLayer


class Norm(nnx.Module):
    """The norm of that kind, or none."""

    def __init__(self, kind: str, features: int, keys: Keys) -> None:
        self.kind = kind
        if kind != "none":
            self.norm = (LayerNorm if kind == "layer" else RMSNorm)(features, keys.child("norm"))

    def __call__(self, x: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
        return x if self.kind == "none" else self.norm(x)


class Decoder(nnx.Module):
    """Causal layers, each with a layer of attention to the encoder's outputs behind it."""

    def __init__(self, config: EncoderDecoderConfig, keys: Keys) -> None:
        self.config = config
        self.layers = nnx.List(build([config.decoder_layer] * config.decoder_depth, keys.child("layers")))
        cross = keys.child("cross")
        self.cross = nnx.List([CrossLayer(config.cross, cross.child(i)) for i in range(config.decoder_depth)])

    def initial_state(self, batch: int) -> State:
        """The states before the first token, and `position` (B,)."""
        layers: Any = self.layers
        states = {str(i): layer.initial_state(batch) for i, layer in enumerate(layers)}
        return {**states, "position": jnp.zeros(batch, jnp.int32)}

    def memory(self, x: Float[Array, "B T D"], valid: Bool[Array, "B T"] | None = None) -> State:
        """What each layer attends to, from the encoder's outputs."""
        cross: Any = self.cross
        return {str(i): layer.memory(x, valid) for i, layer in enumerate(cross)}

    def __call__(
        self,
        x: Float[Array, "B L D"],
        memory: State,
        valid: Bool[Array, "B T"] | None = None,
        state: State | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
    ) -> tuple[Float[Array, "B L D"], State]:
        """Map a segment from the layers' states to outputs and the states after it."""
        given = {"training": training, "dropout_seed": dropout_seed}
        states: State = {}
        for i in range(self.config.decoder_depth):
            layer: Any = self.layers[i]
            cross: Any = self.cross[i]
            before = None if state is None else state[str(i)]
            x, states[str(i)] = run(self.config, layer, x, before, mask, **given)
            x = run(self.config, cross, x, memory[str(i)], valid, **given)
        return x, states


class EncoderDecoder(nnx.Module):
    """(B, T) tokens and the (B, L) tokens before each predicted one -> (B, L, V) logits.

    On one table of the embedding stand the encoder, the decoder and, where tied, the output.
    """

    def __init__(self, config: EncoderDecoderConfig, keys: Keys) -> None:
        self.config = config
        d_model = config.d_model
        self.embedding = Embedding(config.input_size, d_model, keys.child("embedding"), config.embedding_stddev)
        self.encoder = Stack(config, keys.child("encoder"))
        self.decoder = Decoder(config, keys.child("decoder"))
        if config.input_positions == "learned":
            count = config.max_length
            self.encoder_positions = Embedding(count, d_model, keys.child("encoder_positions"), POSITION_DEVIATION)
        if config.decoder_positions == "learned":
            layer: Any = config.decoder_layer
            count = layer.max_length
            self.decoder_positions = Embedding(count, d_model, keys.child("decoder_positions"), POSITION_DEVIATION)
        self.encoder_input_norm = Norm(config.embedding_norm, d_model, keys.child("encoder_input_norm"))
        self.decoder_input_norm = Norm(config.embedding_norm, d_model, keys.child("decoder_input_norm"))
        self.encoder_norm = Norm(config.final_norm, d_model, keys.child("encoder_norm"))
        self.decoder_norm = Norm(config.final_norm, d_model, keys.child("decoder_norm"))
        if config.output == "separate":
            kernel = keys.child("output").child("kernel")
            self.output = parameter(keys, lecun_normal(kernel, (d_model, config.input_size)))
        if config.classes > 0:
            self.classifier = Linear(d_model, config.classes, keys.child("classifier"))
        before, after = config.embedding_dropout, config.output_dropout
        self.encoder_input_dropout = ElementDropout(before, keys.child("encoder_input_dropout"))
        self.encoder_output_dropout = ElementDropout(after, keys.child("encoder_output_dropout"))
        self.decoder_input_dropout = ElementDropout(before, keys.child("decoder_input_dropout"))
        self.decoder_output_dropout = ElementDropout(after, keys.child("decoder_output_dropout"))

    def _embed(self, tokens: Any) -> Any:
        if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise ConfigError(f"inputs have shape {tokens.shape} of {tokens.dtype}: expected (B, L) integer tokens")
        x = self.embedding(tokens)
        return x * math.sqrt(self.config.d_model) if self.config.scale_embedding else x

    def encode(
        self,
        inputs: Integer[Array, "B T"],
        lengths: Int[Array, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
    ) -> Float[Array, "B T D"]:
        """The encoder's outputs; `lengths` are the genuine lengths, None where nothing is padded."""
        x, kind = self._embed(inputs), self.config.input_positions
        positions = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
        x = positioned(x, positions, kind, self.encoder_positions.table[...] if kind == "learned" else None)
        x = self.encoder_input_dropout(self.encoder_input_norm(x), dropout_seed, training)
        mask = None if lengths is None else length_mask(lengths, x.shape[1])
        x, _ = self.encoder.run_layers(x, None, mask, training=training, dropout_seed=dropout_seed)
        return self.encoder_output_dropout(self.encoder_norm(x), dropout_seed, training)

    def decode(
        self,
        outputs: Integer[Array, "B L"],
        memory: State,
        valid: Bool[Array, "B T"] | None = None,
        state: State | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
    ) -> tuple[Float[Array, "B L D"], State]:
        """The decoder's outputs at a segment of tokens, and the states after it; `memory` is `decoder.memory`."""
        x, kind = self._embed(outputs), self.config.decoder_positions
        start = jnp.zeros(x.shape[0], jnp.int32)
        before = start if state is None else state["position"]
        positions = before[:, None] + jnp.arange(x.shape[1])
        x = positioned(x, positions, kind, self.decoder_positions.table[...] if kind == "learned" else None)
        x = self.decoder_input_dropout(self.decoder_input_norm(x), dropout_seed, training)
        given = {"training": training, "dropout_seed": dropout_seed}
        x, after = self.decoder(x, memory, valid, state, mask, **given)
        x = self.decoder_output_dropout(self.decoder_norm(x), dropout_seed, training)
        return x, {**after, "position": before + taken(x.shape[1], mask)}

    def logits(self, x: Float[Array, "B L D"]) -> Float[Array, "B L V"]:
        """The logits of all tokens from the decoder's outputs."""
        if self.config.scale_logits:
            x = x * self.config.d_model**-0.5
        return einsum("bld,vd->blv", x, self.embedding.table[...] if self.config.output == "tied" else self.output.T)

    def __call__(
        self,
        inputs: Integer[Array, "B T"],
        outputs: Integer[Array, "B L"],
        lengths: Int[Array, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
    ) -> Float[Array, "B L V"]:
        """Logits of the token after each of `outputs`, which begin with `config.start`; `lengths` are of the inputs.

        Tokens of `outputs` behind a sequence's end need no mask: what comes before does not see them.
        """
        given = {"training": training, "dropout_seed": dropout_seed}
        x = self.encode(inputs, lengths, **given)
        valid = None if lengths is None else length_mask(lengths, x.shape[1])
        y, _ = self.decode(outputs, self.decoder.memory(x, valid), valid, **given)
        return self.logits(y)

    def losses(
        self,
        inputs: Integer[Array, "B T"],
        outputs: Integer[Array, "B L"],
        targets: Integer[Array, "B L"],
        lengths: Int[Array, " B"] | None = None,
        mask: Bool[Array, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
    ) -> Float[Array, "B L"]:
        """Minus the log probability of each target in nats, 0 where `mask` is False; `outputs` stand one before."""
        y = self(inputs, outputs, lengths, training=training, dropout_seed=dropout_seed)
        if mask is None:
            return losses([y], targets)
        return jnp.where(mask, losses([y], jnp.where(mask, targets, 0)), 0.0)

    def classify(
        self,
        inputs: Integer[Array, "B T"],
        lengths: Int[Array, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Array, ""] | int | None = None,
    ) -> Float[Array, "B C"]:
        """Logits of the classes; see `config.pooling`."""
        config, given = self.config, {"training": training, "dropout_seed": dropout_seed}
        if config.classes == 0:
            raise ConfigError("EncoderDecoderConfig.classes is 0: expected at least 1 to classify")
        x = self.encode(inputs, lengths, **given)
        if config.pooling == "mean":
            return self.classifier(pool(x, lengths, "mean"))
        valid = None if lengths is None else length_mask(lengths, x.shape[1])
        first = jnp.full((x.shape[0], 1), config.start)
        y, _ = self.decode(first, self.decoder.memory(x, valid), valid, **given)
        return self.classifier(y[:, 0])

    def generate(
        self,
        inputs: Integer[Array, "B T"],
        count: int,
        lengths: Int[Array, " B"] | None = None,
        *,
        beams: int = 1,
        length_penalty: float = 0.0,
    ) -> Integer[Array, "B L"]:
        """The best of `beams` sequences of at most `count` tokens, filled with `config.end` behind their end.

        Sequences are ranked by their log probability divided by ((5 + length) / 6)^length_penalty, the end counted; one
        beam is the greedy choice.
        """
        config, batch = self.config, inputs.shape[0]
        if beams < 1:
            raise ConfigError(f"beams is {beams}: expected at least 1")
        longest = getattr(config.decoder_layer, "longest", None)
        if longest is not None and count > longest:
            raise ConfigError(f"count is {count}: expected at most {longest}, the longest text of decoder_layer")
        memory, valid = _memory(self, inputs, lengths, precision=current_precision())
        rows = jnp.repeat(jnp.arange(batch), beams)
        memory, valid = rows_of(memory, rows), None if valid is None else valid[rows]
        state = self.decoder.initial_state(batch * beams)
        text = jnp.full((batch * beams, 1 + count), config.end).at[:, 0].set(config.start)
        scores = jnp.where(jnp.arange(beams) == 0, jnp.zeros((batch, beams), self.embedding.table.dtype), -jnp.inf)
        so_far = done = jnp.zeros((batch, beams), int)
        again = grows(lambda model: model.decode(text[:, :1], memory, valid, state)[1], self, state)
        for i in range(count):
            if again:
                now = _at(self, text[:, :-1], memory, valid, i, precision=current_precision())
            else:
                now, state = _after(self, text[:, i, None], memory, valid, state, precision=current_precision())
            now = now.reshape(batch, beams, -1)
            before, token, scores, so_far = extend(now, scores, so_far, done, length_penalty, config.end)
            chosen = (jnp.arange(batch)[:, None] * beams + before).reshape(-1)
            text = text[chosen].at[:, 1 + i].set(token.reshape(-1))
            state = state if again else rows_of(state, chosen)
            done = jnp.maximum(done.reshape(-1)[chosen].reshape(batch, beams), (token == config.end) * 1)
            if bool(done.all()):
                break
        return text.reshape(batch, beams, -1)[:, 0, 1:]


@partial(nnx.jit, static_argnames="precision")
def _memory(model: EncoderDecoder, inputs: Any, lengths: Any, precision: MatmulPrecision) -> tuple[State, Any]:
    """What the decoder attends to, and where."""
    with matmul_precision(precision):
        x = model.encode(inputs, lengths)
        valid = None if lengths is None else length_mask(lengths, x.shape[1])
        return model.decoder.memory(x, valid), valid


@partial(nnx.jit, static_argnames="precision")
def _after(
    model: EncoderDecoder, outputs: Any, memory: State, valid: Any, state: State, precision: MatmulPrecision
) -> tuple[Any, State]:
    """Log probabilities of the token after a segment, and the states."""
    with matmul_precision(precision):
        y, state = model.decode(outputs, memory, valid, state)
        return jax.nn.log_softmax(model.logits(y[:, -1:]), axis=-1)[:, 0], state


@partial(nnx.jit, static_argnames="precision")
def _at(
    model: EncoderDecoder, outputs: Any, memory: State, valid: Any, position: Any, precision: MatmulPrecision
) -> Any:
    """Log probabilities of the token after a position; what follows it does not matter."""
    with matmul_precision(precision):
        y, _ = model.decode(outputs, memory, valid)
        y = jax.lax.dynamic_slice_in_dim(y, position, 1, 1)
        return jax.nn.log_softmax(model.logits(y), axis=-1)[:, 0]
