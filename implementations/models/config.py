"""Configurations of the models that stand around layers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from implementations import catalog
from implementations.common.config import Config, ConfigError, nearest
from implementations.common.conventions import COMPUTE_DTYPE, ComputeDtype
from implementations.transformer.config import TransformerConfig
from implementations.transformer.cross import require_cross

Objective = Literal["cross_entropy", "squared_error", "gaussian"]

POSITION_DEVIATION = 0.02
"""Standard deviation of the initial values of learned absolute positions (Long Range Arena, models/transformer)."""


@dataclass(frozen=True)
class ModelConfig(Config):
    """A stack of `depth` layers behind an encoder of tokens or values.

    layer: of every depth that `placed` does not name. placed: pairs of a depth, counted from 0, and the config of the
    layer that stands there, of any architecture but of the same d_model; a dictionary by depth in `to_dict()`.
    input_kind: "tokens" (integers below input_size) or "values" (input_size real channels).
    checkpoint: keep the inputs of each layer only and compute the rest again for the gradient.
    compute_dtype: of the products in the layers' linear maps and attention; "bfloat16" leaves parameters, states, SSMs,
    norms and softmaxes in float32, see `conventions.COMPUTE_DTYPE`.
    """

    model: ClassVar[str]
    LATER: ClassVar[tuple[tuple[str, ...], ...]] = (("placed",), ("checkpoint",), ("compute_dtype",))

    layer: Config
    depth: int
    input_kind: Literal["tokens", "values"]
    input_size: int
    placed: tuple[tuple[int, Config], ...] = field(default=(), kw_only=True)
    checkpoint: bool = field(default=False, kw_only=True)
    compute_dtype: ComputeDtype = field(default=COMPUTE_DTYPE, kw_only=True)

    def validate(self) -> None:
        self.require(self.layer.architecture is not None, "layer", "expected the config of a layer of the catalog")
        for name in ("depth", "input_size"):
            self.require(getattr(self, name) >= 1, name, "expected at least 1")
        self._validate_placed()

    def _validate_placed(self) -> None:
        pairs = all(
            isinstance(pair, tuple) and len(pair) == 2 and type(pair[0]) is int and isinstance(pair[1], Config)
            for pair in self.placed
        )
        self.require(pairs, "placed", "expected pairs of a depth and the config of a layer")
        depths = [depth for depth, _ in self.placed]
        rule = f"expected depths from 0 to {self.depth - 1}, each once and in order"
        self.require(depths == sorted({*depths} & {*range(self.depth)}), "placed", rule)
        layers: list[Any] = [self.layer, *(layer for _, layer in self.placed)]
        of_catalog = all(layer.architecture is not None for layer in layers)
        self.require(of_catalog, "placed", "expected configs of layers of the catalog")
        same = len({layer.d_model for layer in layers}) == 1
        self.require(same, "placed", f"expected layers of d_model {layers[0].d_model}, as `layer`")
        asked = {layer.input_positions for layer in layers if _positioned(layer)}
        self.require(len(asked) <= 1, "placed", "expected layers that ask for the same input positions")

    @property
    def layers(self) -> tuple[Config, ...]:
        """The config of the layer at every depth."""
        placed = dict(self.placed)
        return tuple(placed.get(depth, self.layer) for depth in range(self.depth))

    @property
    def routed(self) -> tuple[int, ...]:
        """The depths of the layers that choose the tokens they work on, and tell how many (SeqBoat)."""
        return tuple(depth for depth, layer in enumerate(self.layers) if getattr(layer, "routed", False))

    @property
    def d_model(self) -> int:
        """The width D of all layers."""
        layer: Any = self.layer
        return layer.d_model

    @property
    def objective(self) -> Objective:
        """What is minimised: the mean over examples of the cross entropy with the label, of the squared error of one
        number, or of minus the Gaussian log likelihood of the targets."""
        return "cross_entropy"

    @property
    def input_positions(self) -> str:
        """The absolute positions added to the encoder's output where a layer asks for them: "none", "sinusoidal" or
        "learned"."""
        return next((layer.input_positions for layer in self.layers if _positioned(layer)), "none")  # pyright: ignore

    @property
    def max_length(self) -> int:
        """How many learned positions there are: as many as the layer has that needs fewest."""
        return min(layer.max_length for layer in self.layers if _positioned(layer))  # pyright: ignore

    def to_dict(self, complete: bool = False) -> dict[str, Any]:
        values = {"model": self.model, **super().to_dict(complete)}
        if "placed" in values:
            values["placed"] = {str(depth): layer.to_dict(complete) for depth, layer in self.placed}
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        values = dict(values)
        named = values.pop("model", cls.model)
        if named != cls.model:
            raise ConfigError(f"{cls.__name__}.model is {named!r}: expected {cls.model!r}")
        if isinstance(values.get("layer"), dict):
            values["layer"] = layer_from_dict(values["layer"], f"{cls.__name__}.layer")
        if isinstance(values.get("placed"), dict):
            values["placed"] = _placed_from_dict(values["placed"], f"{cls.__name__}.placed")
        return super().from_dict(values)


def _positioned(layer: Any) -> bool:
    return getattr(layer, "input_positions", "none") != "none"


def layer_from_dict(values: dict[str, Any], field: str) -> Config:
    """The config of a layer of the catalog from its dictionary; `field` is named where that is wrong."""
    if "architecture" not in values:
        raise ConfigError(f"{field} has no 'architecture': {nearest('', catalog.names())}")
    return catalog.get(values["architecture"]).config.from_dict(values)


def _placed_from_dict(values: dict[str, Any], field: str) -> tuple[tuple[int, Config], ...]:
    found = {}
    for depth, layer in values.items():
        if not depth.isdecimal() or not isinstance(layer, dict):
            raise ConfigError(f"{field} has {depth!r}: {layer!r}: expected the config of a layer by its depth")
        found[int(depth)] = layer_from_dict(layer, f"{field}.{depth}")
    return tuple(sorted(found.items(), key=lambda pair: pair[0]))


@dataclass(frozen=True)
class PooledConfig(ModelConfig):
    """One vector per sequence, and one of `classes` from it.

    input_kind: tokens are one-hot, before a linear encoder. pooling: "mean" over the genuine positions, or the "last"
    genuine position. classes: 1 for a number in place of a class.
    """

    classes: int
    pooling: Literal["mean", "last"] = "mean"

    def validate(self) -> None:
        super().validate()
        self.require(self.classes >= 1, "classes", "expected at least 1")

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        return "squared_error" if self.classes == 1 else "cross_entropy"


@dataclass(frozen=True)
class ClassifierConfig(PooledConfig):
    """One sequence to one of `classes`."""

    model: ClassVar[str] = "classifier"


@dataclass(frozen=True)
class DualEncoderConfig(PooledConfig):
    """Two sequences, encoded alike, to one of `classes`; features [e0, e1, e0 - e1, e0 * e1] (S5, Retrieval)."""

    model: ClassVar[str] = "dual_encoder"


@dataclass(frozen=True)
class LanguageModelConfig(ModelConfig):
    """Every token of a sequence from those before it; V = input_size.

    embedding: "table" (V vectors of deviation embedding_stddev), or "adaptive": the frequent tokens below cutoffs[0]
    have D numbers, those of each further band `factor` times fewer, and each band is projected to D (Baevski and Auli,
    arXiv 1809.10853). scale_embedding: times sqrt(D). output: "tied" to the table, "separate", "adaptive" (Grave et
    al., arXiv 1609.04309), "adaptive_tied" to the tables of an adaptive embedding and, where tie_projections, to its
    projections but that of the first band. scale_logits: divided by sqrt(D); for "tied" and "separate" only.
    final_norm: after the last layer. embedding_dropout, output_dropout: of single elements; the latter also of what the
    rare bands' projections give. loss_block: how many positions have their logits in memory at a time, None for all.
    """

    model: ClassVar[str] = "language_model"

    embedding: Literal["table", "adaptive"] = "table"
    output: Literal["tied", "separate", "adaptive", "adaptive_tied"] = "tied"
    cutoffs: tuple[int, ...] = ()
    factor: int = 4
    tie_projections: bool = True
    embedding_stddev: float = 1.0
    scale_embedding: bool = False
    scale_logits: bool = False
    final_norm: Literal["none", "layer", "rms"] = "none"
    embedding_dropout: float = 0.0
    output_dropout: float = 0.0
    loss_block: int | None = None

    def validate(self) -> None:
        super().validate()
        self.require(self.input_kind == "tokens", "input_kind", "expected 'tokens'")
        causal = all(getattr(layer, "causal", False) for layer in self.layers)
        self.require(causal, "placed" if self.placed else "layer", "expected layers that are causal")
        adaptive = self.embedding == "adaptive" or self.output in ("adaptive", "adaptive_tied")
        bounds = [0, *self.cutoffs, self.input_size]
        rising = all(type(bound) is int for bound in bounds) and bounds == sorted(set(bounds))
        rule = f"expected rising bounds between 0 and input_size = {self.input_size}"
        self.require(rising and (len(self.cutoffs) > 0) == adaptive, "cutoffs", rule if adaptive else "expected none")
        narrowest = self.d_model // self.factor ** len(self.cutoffs) if self.factor >= 1 else 0
        self.require(narrowest >= 1, "factor", "expected at least 1, and small enough to leave the last band a width")
        ties = {"tied": "table", "adaptive_tied": "adaptive"}
        needs = ties.get(self.output, self.embedding)
        self.require(self.embedding == needs, "output", f"expected another output than one tied to {needs!r}")
        plain = self.output in ("tied", "separate")
        self.require(plain or not self.scale_logits, "scale_logits", "expected False where the output is adaptive")
        self.require(self.embedding_stddev > 0, "embedding_stddev", "expected more than 0")
        for name in ("embedding_dropout", "output_dropout"):
            self.require(0 <= getattr(self, name) < 1, name, f"expected 0 <= {name} < 1")
        self.require(self.loss_block is None or self.loss_block >= 1, "loss_block", "expected at least 1, or None")

    @property
    def bands(self) -> tuple[tuple[int, int, int], ...]:
        """First token, number of tokens and width of each band of an adaptive embedding or output."""
        bounds = [0, *self.cutoffs, self.input_size]
        pairs = enumerate(itertools.pairwise(bounds))
        return tuple((low, high - low, self.d_model // self.factor**i) for i, (low, high) in pairs)


@dataclass(frozen=True)
class EncoderDecoderConfig(ModelConfig):
    """One sequence of tokens to another (T5-like), or to one of `classes`; V = input_size, one embedding for both.

    layer, depth, placed: of the encoder, whose layers may look ahead. decoder_layer, decoder_depth: of the decoder,
    whose layers are causal; behind each stands a layer of attention to the encoder's outputs, `cross`: with
    TransformerConfig(causal=True, d_ff=0) as decoder_layer the decoder is T5's. embedding_stddev, scale_embedding,
    scale_logits, embedding_dropout, output_dropout: as LanguageModelConfig. output: "tied" or "separate".
    embedding_norm, final_norm: behind the embedding and behind the last layer of either stack.
    classes: 0 for no head of classification, 1 for a number in place of a class. pooling: what that head reads, the
    "first" position of the decoder, behind its start token, or the "mean" of the encoder's outputs. start, end: tokens
    before the first and after the last.
    """

    model: ClassVar[str] = "encoder_decoder"

    decoder_layer: Config
    decoder_depth: int
    cross: TransformerConfig
    output: Literal["tied", "separate"] = "tied"
    embedding_stddev: float = 1.0
    scale_embedding: bool = False
    scale_logits: bool = False
    embedding_norm: Literal["none", "layer", "rms"] = "none"
    final_norm: Literal["none", "layer", "rms"] = "none"
    embedding_dropout: float = 0.0
    output_dropout: float = 0.0
    classes: int = 0
    pooling: Literal["first", "mean"] = "first"
    start: int = 0
    end: int = 1

    def validate(self) -> None:
        super().validate()
        self.require(self.input_kind == "tokens", "input_kind", "expected 'tokens'")
        decoder: Any = self.decoder_layer
        self.require(decoder.architecture is not None, "decoder_layer", "expected the config of a layer of the catalog")
        self.require(getattr(decoder, "causal", False), "decoder_layer", "expected a layer that is causal")
        for name in ("decoder_layer", "cross"):
            same = getattr(self, name).d_model == self.d_model
            self.require(same, name, f"expected a layer of d_model {self.d_model}, as `layer`")
        require_cross(self.cross, f"{type(self).__name__}.cross")
        self.require(self.decoder_depth >= 1, "decoder_depth", "expected at least 1")
        self.require(self.embedding_stddev > 0, "embedding_stddev", "expected more than 0")
        self.require(self.classes >= 0, "classes", "expected at least 0")
        for name in ("embedding_dropout", "output_dropout"):
            self.require(0 <= getattr(self, name) < 1, name, f"expected 0 <= {name} < 1")
        for name in ("start", "end"):
            rule = f"expected a token below input_size = {self.input_size}"
            self.require(0 <= getattr(self, name) < self.input_size, name, rule)

    @property
    def objective(self) -> Objective:
        """What is minimised where classes, or one number, are read."""
        return "squared_error" if self.classes == 1 else "cross_entropy"

    @property
    def decoder_positions(self) -> str:
        """The absolute positions added to the decoder's input: "none", "sinusoidal" or "learned"."""
        return getattr(self.decoder_layer, "input_positions", "none")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        values = dict(values)
        if isinstance(values.get("decoder_layer"), dict):
            values["decoder_layer"] = layer_from_dict(values["decoder_layer"], f"{cls.__name__}.decoder_layer")
        return super().from_dict(values)


@dataclass(frozen=True)
class FilmRegressorConfig(ModelConfig):
    """Mean and variance of `targets` numbers at every frame of a film (S5, Pendulum).

    A frame has side x side pixels and, behind them, the time since the one before: input_size = side^2 + 1.
    channels: of the two convolutions. hidden: of the frame's vector and of the heads. time: what becomes of the times,
    "steps" of the layers, which must be S5's, a number to "append" to the frame's vector, or "ignore".
    """

    model: ClassVar[str] = "film_regressor"

    side: int = 24
    channels: int = 12
    hidden: int = 30
    targets: int = 2
    time: Literal["steps", "append", "ignore"] = "steps"

    def validate(self) -> None:
        super().validate()
        for name in ("channels", "hidden", "targets"):
            self.require(getattr(self, name) >= 1, name, "expected at least 1")
        self.require(self.side >= 8 and self.side % 8 == 0, "side", "expected a positive multiple of 8")
        self.require(self.input_kind == "values", "input_kind", "expected 'values'")
        self.require(self.input_size == self.side**2 + 1, "input_size", f"expected side^2 + 1 = {self.side**2 + 1}")
        timed = all(layer.architecture == "s5" for layer in self.layers)
        self.require(timed or self.time != "steps", "time", "expected 'append' or 'ignore' for layers other than s5")

    @property
    def objective(self) -> Objective:
        """What is minimised."""
        return "gaussian"


MODELS: dict[str, type[ModelConfig]] = {
    cls.model: cls
    for cls in (ClassifierConfig, DualEncoderConfig, LanguageModelConfig, EncoderDecoderConfig, FilmRegressorConfig)
}


def config_from_dict(values: dict[str, Any]) -> ModelConfig:
    """Any model's config from its dictionary, by its `model` key; a wrong one raises `ConfigError`."""
    named = values.get("model")
    if named not in MODELS:
        raise ConfigError(f"model is {named!r}: {nearest(str(named), MODELS)}")
    return MODELS[named].from_dict(values)
