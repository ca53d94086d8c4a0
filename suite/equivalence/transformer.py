"""The cases of the Transformer layer: every switch of its configuration at least once on either side."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from implementations.models.config import ClassifierConfig, DualEncoderConfig, EncoderDecoderConfig, LanguageModelConfig
from implementations.ops.attention.reference import allowed
from implementations.s5.config import S5Config
from implementations.transformer.config import TransformerConfig
from implementations.transformer.reference import bias_index
from suite.equivalence.cases import EncoderDecoderCase, LanguageCase, LayerCase, ModelCase, normal
from suite.equivalence.updates import short
from suite.recipes.base import Recipe

Array = np.ndarray

OPERATIONS = ("attention",)

SMALL = TransformerConfig(d_model=6, heads=2, head_width=4, d_ff=7, buckets=8, max_distance=12)
WINDOW = 4
S5 = S5Config(d_model=6, ssm_size=8, dt_min=0.01, dt_max=0.3)
"""A layer of another architecture, to be placed between."""

CACHED = 5
"""Tokens before the segment, where attention is full."""


def draw_state(config: TransformerConfig, rng: np.random.Generator, batch: int) -> dict[str, Array]:
    """A cache; the first sequence has seen fewer tokens than it holds."""
    shape = (batch, config.window or CACHED, config.heads, config.head_width)
    valid = np.ones(shape[:2], bool)
    valid[0, 0] = config.attend_start
    return {"keys": normal(rng, shape), "values": normal(rng, shape), "valid": valid}


def adjust(config: TransformerConfig, parameters: dict[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Learned scales of both signs, away from zero."""
    adjusted = dict(parameters)
    for path, values in parameters.items():
        if path.endswith("attention.scale"):
            signs = np.where(np.arange(values.size) % 2, -1.0, 1.0)
            adjusted[path] = signs * rng.uniform(0.5, 1.5, values.shape)
    return adjusted


def unread(config: TransformerConfig, length: int, cached: int, parameters: dict[str, Array]) -> dict[str, Array]:
    """The entries of a relative bias that no pair of positions reads: their gradient is zero."""
    read = {
        bias_index(config, r)
        for r in range(-cached - length + 1, length)
        if allowed(r, config.window, config.causal, config.include_self)
    }
    found = {}
    for path, values in parameters.items():
        if path.endswith("bias.table"):
            found[path] = np.ones(values.shape, bool)
            found[path][:, sorted(read)] = False
    return found


def layer_cases() -> list[LayerCase]:
    """Layers on vectors."""

    def case(name: str, /, **changes: Any) -> LayerCase:
        given = {key: changes.pop(key) for key in list(changes) if key in LayerCase.__dataclass_fields__}
        config = SMALL.replace(**changes)
        length = given.setdefault("length", 11)
        cached = (config.window or (CACHED if given.get("state") else 0)) if config.causal else 0
        if config.window is not None and config.causal:
            given["reach"] = config.window - (1 if config.include_self else 0)
        return LayerCase(name, config, zero_gradient=partial(unread, config, length, cached), **given)

    window: dict[str, Any] = {"attention": "window", "window": WINDOW, "causal": True}
    padded: dict[str, Any] = {"padded": True, "batch": 3, "float32": False}
    plain: dict[str, Any] = {"biases": False, "float32": False}
    published: dict[str, Any] = {
        **window,
        "include_self": False,
        "attend_start": True,
        "qk_norm": True,
        "positions": "t5",
        "norm": "rms",
        "biases": False,
        "activation": "relu",
    }
    return [
        case("full, causal, T5 bias", length=6, causal=True, state=True, positions="t5", float32=False),
        case("full, causal, rotary, post-norm", length=6, causal=True, state=True, positions="rotary", prenorm=False),
        case("full, causal, padded", causal=True, biases=False, gated=True, activation="silu", **padded),
        case("full, both sides, rotary, padded", positions="rotary", activation="gelu_exact", **padded),
        case("full, both sides, simple bias", positions="simple", qk_norm=True, norm="rms", gated=True, **plain),
        case("full, padding let in", padded=True, mask_padding=False, **plain),
        case("window, rotary", state=True, positions="rotary", **window, float32=False),
        case("window, one token", length=1, state=True, positions="t5", **window, float32=False),
        case("window, shorter than W", length=3, state=True, positions="simple", **plain, **window),
        case("window, as Block-Recurrent, state", state=True, smooth=False, **published),
        case("window, as Block-Recurrent, start", length=9, smooth=False, **published, float32=False),
        case("window, padded, start masked", **padded, **{**window, "include_self": False}, biases=False),
        case(
            "window, both sides, T5 bias, padded",
            padded=True,
            batch=3,
            positions="t5",
            biases=False,
            attention="window",
            window=WINDOW,
        ),
        case("Transformer-XL within a segment", length=4, positions="t5", **plain, **{**window, "attention": "xl"}),
        case("full, causal, without a feed-forward part", causal=True, state=True, d_ff=0, biases=False, float32=False),
    ]


def model_cases() -> list[ModelCase]:
    """Models around two layers."""

    def classifier(layer: TransformerConfig, kind: Any, pooling: Any) -> ClassifierConfig:
        return ClassifierConfig(layer=layer, depth=2, input_kind=kind, input_size=5, classes=4, pooling=pooling)

    plain = SMALL.replace(biases=False)
    learned = plain.replace(positions="learned", max_length=24)
    local = plain.replace(attention="window", window=WINDOW)
    both = DualEncoderConfig(
        layer=plain.replace(positions="sinusoidal"), depth=1, input_kind="tokens", input_size=5, classes=3
    )
    streaming = plain.replace(attention="window", window=WINDOW, causal=True)
    tied = LanguageModelConfig(
        layer=streaming.replace(positions="rotary"),
        depth=2,
        input_kind="tokens",
        input_size=11,
        scale_embedding=True,
        scale_logits=True,
        final_norm="rms",
    )
    adaptive = tied.replace(
        layer=streaming.replace(positions="learned", max_length=9),
        placed=((1, S5),),
        embedding="adaptive",
        output="adaptive_tied",
        cutoffs=(3, 6),
        factor=2,
        scale_logits=False,
        final_norm="layer",
        checkpoint=True,
    )
    t5 = EncoderDecoderConfig(
        layer=plain.replace(positions="rotary"),
        depth=1,
        input_kind="tokens",
        input_size=9,
        decoder_layer=streaming.replace(d_ff=0, positions="learned", max_length=9, prenorm=False),
        decoder_depth=2,
        cross=plain.replace(gated=True, norm="rms"),
        scale_logits=True,
        embedding_norm="layer",
        final_norm="rms",
    )
    return [
        ModelCase(
            "classifier, tokens, sinusoidal, mean",
            classifier(plain.replace(positions="sinusoidal"), "tokens", "mean"),
            3,
            13,
            padded=True,
            float32=False,
        ),
        ModelCase(
            "classifier, values, learned, last",
            classifier(learned, "values", "last"),
            3,
            13,
            padded=True,
            float32=False,
        ),
        ModelCase(
            "classifier, tokens, window, dropout",
            classifier(local.replace(positions="rotary", dropout=0.3), "tokens", "mean"),
            3,
            13,
            padded=True,
            training=True,
            compiled=True,
            float32=False,
        ),
        ModelCase("dual encoder, tokens", both, 3, 9, padded=True, float32=False),
        LanguageCase("language model, tied, scaled", tied, 2, 9, state=True, bfloat16=True),
        LanguageCase("language model, adaptive, tied", adaptive, 3, 7, padded=True, float32=False),
        LanguageCase(
            "language model, dropout",
            tied.replace(embedding_dropout=0.2, output_dropout=0.3),
            2,
            7,
            training=True,
            compiled=True,
            float32=False,
        ),
        EncoderDecoderCase("encoder-decoder, tied", t5, 3, 7, padded=True),
        EncoderDecoderCase(
            "encoder-decoder, separate output, dropout, activations computed again",
            t5.replace(
                output="separate",
                scale_embedding=True,
                decoder_depth=1,
                decoder_layer=S5.replace(dropout=0.2),
                cross=plain.replace(qk_norm=True, d_ff=0, prenorm=False),
                embedding_dropout=0.3,
                output_dropout=0.1,
                checkpoint=True,
            ),
            3,
            7,
            padded=True,
            training=True,
            compiled=True,
            float32=False,
        ),
        ModelCase(
            "classifier, tokens, S5 at depth 1, activations computed again",
            classifier(local, "tokens", "mean").replace(placed=((1, S5),), checkpoint=True),
            3,
            9,
            padded=True,
            compiled=True,
            float32=False,
        ),
    ]


def recipes() -> dict[str, Recipe]:
    """The published recipe of ListOps, small: warm-up and decay by the root of the step.

    Without biases: the gradient of the keys' is zero but for rounding, which Adam would make large.
    """
    from suite.recipes.transformer import lra_listops

    return {"lra.listops": short(lra_listops(), d_model=6, heads=2, head_width=4, d_ff=7, biases=False)}
