"""Configurations of the models that stand around layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from implementations import catalog
from implementations.common.config import Config, ConfigError, nearest

POSITION_DEVIATION = 0.02
"""Standard deviation of the initial values of learned absolute positions (Long Range Arena, models/transformer)."""


@dataclass(frozen=True)
class ModelConfig(Config):
    """A stack of `depth` equal layers between a linear encoder and a decoder.

    input_kind: "tokens" (integers below input_size, one-hot) or "values" (input_size real channels).
    pooling: "mean" over the genuine positions, or the "last" genuine position.
    """

    model: ClassVar[str]

    layer: Config
    depth: int
    input_kind: Literal["tokens", "values"]
    input_size: int
    classes: int
    pooling: Literal["mean", "last"] = "mean"

    def validate(self) -> None:
        self.require(self.layer.architecture is not None, "layer", "expected the config of a layer of the catalog")
        for field in ("depth", "input_size", "classes"):
            self.require(getattr(self, field) >= 1, field, "expected at least 1")

    @property
    def input_positions(self) -> str:
        """The absolute positions added to the encoder's output where the layer asks for them: "none", "sinusoidal" or
        "learned"."""
        return getattr(self.layer, "input_positions", "none")

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, **super().to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        values = dict(values)
        named = values.pop("model", cls.model)
        if named != cls.model:
            raise ConfigError(f"{cls.__name__}.model is {named!r}: expected {cls.model!r}")
        layer = values.get("layer")
        if isinstance(layer, dict):
            if "architecture" not in layer:
                raise ConfigError(f"{cls.__name__}.layer has no 'architecture': {nearest('', catalog.names())}")
            values["layer"] = catalog.get(layer["architecture"]).config.from_dict(layer)
        return super().from_dict(values)


@dataclass(frozen=True)
class ClassifierConfig(ModelConfig):
    """One sequence to one of `classes`."""

    model: ClassVar[str] = "classifier"


@dataclass(frozen=True)
class DualEncoderConfig(ModelConfig):
    """Two sequences, encoded alike, to one of `classes`; features [e0, e1, e0 - e1, e0 * e1] (S5, Retrieval)."""

    model: ClassVar[str] = "dual_encoder"


MODELS: dict[str, type[ModelConfig]] = {cls.model: cls for cls in (ClassifierConfig, DualEncoderConfig)}


def config_from_dict(values: dict[str, Any]) -> ModelConfig:
    """Any model's config from its dictionary, by its `model` key; a wrong one raises `ConfigError`."""
    named = values.get("model")
    if named not in MODELS:
        raise ConfigError(f"model is {named!r}: {nearest(str(named), MODELS)}")
    return MODELS[named].from_dict(values)
