"""The encoder-decoder in PyTorch; `jax.py` beside it is its twin."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor, nn

from implementations.common.config import ConfigError
from implementations.common.initializers import Keys, lecun_normal
from implementations.common.torch import ElementDropout, Embedding, LayerNorm, Linear, RMSNorm, einsum, parameter
from implementations.models.adaptive.torch import losses
from implementations.models.config import POSITION_DEVIATION, EncoderDecoderConfig
from implementations.models.sampling.torch import extend, rows_of
from implementations.models.stack.torch import Stack, State, build, positioned, run, taken
from implementations.models.torch import length_mask, pool
from implementations.transformer.cross.torch import CrossLayer


class Norm(nn.Module):
    """The norm of that kind, or none."""

    def __init__(self, kind: str, features: int, keys: Keys) -> None:
        super().__init__()
        self.kind = kind
        if kind != "none":
            self.norm = (LayerNorm if kind == "layer" else RMSNorm)(features, keys.child("norm"))

    def forward(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        return x if self.kind == "none" else self.norm(x)


class Decoder(nn.Module):
    """Causal layers, each with a layer of attention to the encoder's outputs behind it."""

    def __init__(self, config: EncoderDecoderConfig, keys: Keys) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(build([config.decoder_layer] * config.decoder_depth, keys.child("layers")))
        cross = keys.child("cross")
        self.cross = nn.ModuleList([CrossLayer(config.cross, cross.child(i)) for i in range(config.decoder_depth)])

    def initial_state(self, batch: int) -> State:
        """The states before the first token, and `position` (B,)."""
        layers: Any = self.layers
        states = {str(i): layer.initial_state(batch) for i, layer in enumerate(layers)}
        return {**states, "position": torch.zeros(batch, dtype=torch.int32, device=next(self.parameters()).device)}

    def memory(self, x: Float[Tensor, "B T D"], valid: Bool[Tensor, "B T"] | None = None) -> State:
        """What each layer attends to, from the encoder's outputs."""
        cross: Any = self.cross
        return {str(i): layer.memory(x, valid) for i, layer in enumerate(cross)}

    def forward(
        self,
        x: Float[Tensor, "B L D"],
        memory: State,
        valid: Bool[Tensor, "B T"] | None = None,
        state: State | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
    ) -> tuple[Float[Tensor, "B L D"], State]:
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


class EncoderDecoder(nn.Module):
    """(B, T) tokens and the (B, L) tokens before each predicted one -> (B, L, V) logits.

    On one table of the embedding stand the encoder, the decoder and, where tied, the output.
    """

    def __init__(self, config: EncoderDecoderConfig, keys: Keys) -> None:
        super().__init__()
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
        if tokens.ndim != 2 or tokens.is_floating_point() or tokens.dtype == torch.bool:
            raise ConfigError(
                f"inputs have shape {tuple(tokens.shape)} of {tokens.dtype}: expected (B, L) integer tokens"
            )
        x = self.embedding(tokens)
        return x * math.sqrt(self.config.d_model) if self.config.scale_embedding else x

    def encode(
        self,
        inputs: Integer[Tensor, "B T"],
        lengths: Int[Tensor, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
    ) -> Float[Tensor, "B T D"]:
        """The encoder's outputs; `lengths` are the genuine lengths, None where nothing is padded."""
        x, kind = self._embed(inputs), self.config.input_positions
        positions = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
        x = positioned(x, positions, kind, self.encoder_positions.table if kind == "learned" else None)
        x = self.encoder_input_dropout(self.encoder_input_norm(x), dropout_seed, training)
        mask = None if lengths is None else length_mask(lengths, x.shape[1])
        x, _ = self.encoder.run_layers(x, None, mask, training=training, dropout_seed=dropout_seed)
        return self.encoder_output_dropout(self.encoder_norm(x), dropout_seed, training)

    def decode(
        self,
        outputs: Integer[Tensor, "B L"],
        memory: State,
        valid: Bool[Tensor, "B T"] | None = None,
        state: State | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
    ) -> tuple[Float[Tensor, "B L D"], State]:
        """The decoder's outputs at a segment of tokens, and the states after it; `memory` is `decoder.memory`."""
        x, kind = self._embed(outputs), self.config.decoder_positions
        start = torch.zeros(x.shape[0], dtype=torch.int32, device=x.device)
        before = start if state is None else state["position"]
        positions = before[:, None] + torch.arange(x.shape[1], device=x.device)
        x = positioned(x, positions, kind, self.decoder_positions.table if kind == "learned" else None)
        x = self.decoder_input_dropout(self.decoder_input_norm(x), dropout_seed, training)
        given = {"training": training, "dropout_seed": dropout_seed}
        x, after = self.decoder(x, memory, valid, state, mask, **given)
        x = self.decoder_output_dropout(self.decoder_norm(x), dropout_seed, training)
        return x, {**after, "position": before + taken(x.shape[1], mask)}

    def logits(self, x: Float[Tensor, "B L D"]) -> Float[Tensor, "B L V"]:
        """The logits of all tokens from the decoder's outputs."""
        if self.config.scale_logits:
            x = x * self.config.d_model**-0.5
        return einsum("bld,vd->blv", x, self.embedding.table if self.config.output == "tied" else self.output.T)

    def forward(
        self,
        inputs: Integer[Tensor, "B T"],
        outputs: Integer[Tensor, "B L"],
        lengths: Int[Tensor, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
    ) -> Float[Tensor, "B L V"]:
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
        inputs: Integer[Tensor, "B T"],
        outputs: Integer[Tensor, "B L"],
        targets: Integer[Tensor, "B L"],
        lengths: Int[Tensor, " B"] | None = None,
        mask: Bool[Tensor, "B L"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
    ) -> Float[Tensor, "B L"]:
        """Minus the log probability of each target in nats, 0 where `mask` is False; `outputs` stand one before."""
        y = self(inputs, outputs, lengths, training=training, dropout_seed=dropout_seed)
        if mask is None:
            return losses([y], targets)
        return torch.where(mask, losses([y], torch.where(mask, targets, 0)), 0.0)

    def classify(
        self,
        inputs: Integer[Tensor, "B T"],
        lengths: Int[Tensor, " B"] | None = None,
        *,
        training: bool = False,
        dropout_seed: Integer[Tensor, ""] | int | None = None,
    ) -> Float[Tensor, "B C"]:
        """Logits of the classes; see `config.pooling`."""
        config, given = self.config, {"training": training, "dropout_seed": dropout_seed}
        if config.classes == 0:
            raise ConfigError("EncoderDecoderConfig.classes is 0: expected at least 1 to classify")
        x = self.encode(inputs, lengths, **given)
        if config.pooling == "mean":
            return self.classifier(pool(x, lengths, "mean"))
        valid = None if lengths is None else length_mask(lengths, x.shape[1])
        first = torch.full((x.shape[0], 1), config.start, device=x.device)
        y, _ = self.decode(first, self.decoder.memory(x, valid), valid, **given)
        return self.classifier(y[:, 0])

    @torch.no_grad()
    def generate(
        self,
        inputs: Integer[Tensor, "B T"],
        count: int,
        lengths: Int[Tensor, " B"] | None = None,
        *,
        beams: int = 1,
        length_penalty: float = 0.0,
    ) -> Integer[Tensor, "B L"]:
        """The best of `beams` sequences of at most `count` tokens, filled with `config.end` behind their end.

        Sequences are ranked by their log probability divided by ((5 + length) / 6)^length_penalty, the end counted; one
        beam is the greedy choice.
        """
        config, batch, device = self.config, inputs.shape[0], inputs.device
        if beams < 1:
            raise ConfigError(f"beams is {beams}: expected at least 1")
        longest = getattr(config.decoder_layer, "longest", None)
        if longest is not None and count > longest:
            raise ConfigError(f"count is {count}: expected at most {longest}, the longest text of decoder_layer")
        memory, valid = _memory(self, inputs, lengths)
        rows = torch.arange(batch, device=device).repeat_interleave(beams)
        memory, valid = rows_of(memory, rows), None if valid is None else valid[rows]
        state = self.decoder.initial_state(batch * beams)
        text = torch.full((batch * beams, 1 + count), config.end, device=device)
        text[:, 0] = config.start
        first = torch.arange(beams, device=device) == 0
        scores = torch.where(first, self.embedding.table.new_zeros((batch, beams)), -torch.inf)
        so_far = done = torch.zeros((batch, beams), dtype=torch.int64, device=device)
        for i in range(count):
            now, state = _after(self, text[:, i, None], memory, valid, state)
            now = now.reshape(batch, beams, -1)
            before, token, scores, so_far = extend(now, scores, so_far, done, length_penalty, config.end)
            chosen = (torch.arange(batch, device=device)[:, None] * beams + before).reshape(-1)
            text = text[chosen]
            text[:, 1 + i] = token.reshape(-1)
            state = rows_of(state, chosen)
            done = torch.maximum(done.reshape(-1)[chosen].reshape(batch, beams), (token == config.end) * 1)
            if bool(done.all()):
                break
        return text.reshape(batch, beams, -1)[:, 0, 1:]


def _memory(model: EncoderDecoder, inputs: Any, lengths: Any) -> tuple[State, Any]:
    """What the decoder attends to, and where."""
    x = model.encode(inputs, lengths)
    valid = None if lengths is None else length_mask(lengths, x.shape[1])
    return model.decoder.memory(x, valid), valid


def _after(model: EncoderDecoder, outputs: Any, memory: State, valid: Any, state: State) -> tuple[Any, State]:
    """Log probabilities of the token after a segment, and the states."""
    y, state = model.decode(outputs, memory, valid, state)
    return torch.log_softmax(model.logits(y[:, -1:]), dim=-1)[:, 0], state
