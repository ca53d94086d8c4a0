"""Configurations of the models that stand around layers."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Literal, Self

from implementations import catalog
from implementations.common.config import Config, ConfigError, nearest

POSITION_DEVIATION = 0.02
"""Standard deviation of the initial values of learned absolute positions (Long Range Arena, models/transformer)."""


@dataclass(frozen=True)
class ModelConfig(Config):
    """A stack of `depth` layers behind an encoder of tokens or values.

    layer: of every depth that `placed` does not name. placed: pairs of a depth, counted from 0, and the config of the
    layer that stands there, of any architecture but of the same d_model; a dictionary by depth in `to_dict()`.
    input_kind: "tokens" (integers below input_size) or "values" (input_size real channels).
    checkpoint: keep the inputs of each layer only and compute the rest again for the gradient.
    """

    model: ClassVar[str]

    layer: Config
    depth: int
    input_kind: Literal["tokens", "values"]
    input_size: int
    placed: tuple[tuple[int, Config], ...] = field(default=(), kw_only=True)
    checkpoint: bool = field(default=False, kw_only=True)

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
    def d_model(self) -> int:
        """The width D of all layers."""
        layer: Any = self.layer
        return layer.d_model

    @property
    def input_positions(self) -> str:
        """The absolute positions added to the encoder's output where a layer asks for them: "none", "sinusoidal" or
        "learned"."""
        return next((layer.input_positions for layer in self.layers if _positioned(layer)), "none")  # pyright: ignore

    @property
    def max_length(self) -> int:
        """How many learned positions there are: as many as the layer has that needs fewest."""
        return min(layer.max_length for layer in self.layers if _positioned(layer))  # pyright: ignore

    def to_dict(self) -> dict[str, Any]:
        placed = {str(depth): layer.to_dict() for depth, layer in self.placed}
        return {"model": self.model, **super().to_dict(), "placed": placed}

    def identity(self) -> dict[str, Any]:
        """`to_dict()` without the fields of every model that stand at their defaults: numbers that were measured before
        there were such fields keep their names."""
        values = self.to_dict()
        optional = {f.name for f in fields(ModelConfig) if f.default is not MISSING}
        plain = {f.name: f.default for f in fields(self) if f.name in optional}
        return {key: value for key, value in values.items() if key not in plain or getattr(self, key) != plain[key]}

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
    genuine position.
    """

    classes: int
    pooling: Literal["mean", "last"] = "mean"

    def validate(self) -> None:
        super().validate()
        self.require(self.classes >= 1, "classes", "expected at least 1")


@dataclass(frozen=True)
class ClassifierConfig(PooledConfig):
    """One sequence to one of `classes`."""

    model: ClassVar[str] = "classifier"


@dataclass(frozen=True)
class DualEncoderConfig(PooledConfig):
    """Two sequences, encoded alike, to one of `classes`; features [e0, e1, e0 - e1, e0 * e1] (S5, Retrieval)."""

    model: ClassVar[str] = "dual_encoder"


MODELS: dict[str, type[ModelConfig]] = {cls.model: cls for cls in (ClassifierConfig, DualEncoderConfig)}


def config_from_dict(values: dict[str, Any]) -> ModelConfig:
    """Any model's config from its dictionary, by its `model` key; a wrong one raises `ConfigError`."""
    named = values.get("model")
    if named not in MODELS:
        raise ConfigError(f"model is {named!r}: {nearest(str(named), MODELS)}")
    return MODELS[named].from_dict(values)
