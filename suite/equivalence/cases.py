"""What the ladder is climbed with: configurations, inputs and cotangents, the same for both twins.

All values are float32 numbers held in float64, so that the float32 twins, the float64 twins and the oracle see the
same numbers.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from implementations import catalog
from implementations.common.config import Config
from implementations.models.config import ModelConfig

Array = np.ndarray


@dataclass(frozen=True)
class Result:
    """What a call of a twin gives: outputs (`y`, `state`), statistics after it, gradients by path and input."""

    outputs: dict[str, Array]
    statistics: dict[str, Array]
    gradients: dict[str, Array]


@dataclass(frozen=True)
class LayerCase:
    """A layer on (B, L, D) inputs.

    state: start from a state that is not zero. padded: the sequences have different lengths. training: batch norm uses
    the batch, dropout drops. options: what the call gets beside that, fixed (`step_rescale`). drawn: what it gets
    besides, drawn for a batch and a length (`timesteps`). reach: how many positions a causal layer looks back, None
    where there is no limit. smooth: compare gradients with finite differences of the oracle. zero_gradient: for
    parameters, where a gradient must be exactly zero. methods: algorithms of the layer (its argument `scan`) that must
    agree. compiled: compare eager and compiled training steps. vanishing: for parameters, where a gradient is zero
    but for rounding. float32: run the float32 checks as well.
    """

    sequence: ClassVar[str] = "x"
    """The argument that streams."""

    name: str
    config: Config
    batch: int = 2
    length: int = 21
    state: bool = False
    padded: bool = False
    training: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    drawn: dict[str, Callable[[np.random.Generator, int, int], Array]] = field(default_factory=dict)
    zero_gradient: Callable[[dict[str, Array]], dict[str, Array]] = lambda parameters: {}
    vanishing: Callable[[dict[str, Array]], dict[str, Array]] = lambda parameters: {}
    methods: tuple[str, ...] = ()
    compiled: bool = False
    float32: bool = True
    reach: int | None = None
    smooth: bool = True
    seed: int = 0

    @property
    def layer(self) -> Config:
        return self.config

    @property
    def dropout(self) -> bool:
        """Whether the case draws dropout masks, which the oracle does not."""
        layers = getattr(self.config, "layers", (self.layer,))
        return self.training and any(getattr(layer, "dropout", 0.0) > 0 for layer in layers)

    def rng(self, purpose: str) -> np.random.Generator:
        """A random stream of this case."""
        return np.random.default_rng([self.seed, zlib.crc32(f"{self.name}/{purpose}".encode())])

    def lengths(self, rng: np.random.Generator, rows: int) -> Array:
        """Genuine lengths, the longest of them whole."""
        lengths = rng.integers(1, self.length, rows)
        lengths[0] = self.length
        return lengths

    def arrays(self) -> dict[str, Array | None]:
        """The arguments that are arrays."""
        rng = self.rng("inputs")
        found: dict[str, Array | None] = {"x": normal(rng, (self.batch, self.length, width(self.config)))}
        if self.padded:
            found["mask"] = np.arange(self.length) < self.lengths(rng, self.batch)[:, None]
        if self.state:
            found |= draw_state(self.config, rng, self.batch)
        found |= {name: single(draw(rng, self.batch, self.length)) for name, draw in self.drawn.items()}
        if self.dropout:
            found["dropout_seed"] = np.asarray(12345)
        return found


@dataclass(frozen=True)
class ModelCase(LayerCase):
    """A model around layers, on tokens or values; rows beyond `batch` are second documents of a dual encoder."""

    config: ModelConfig  # pyright: ignore[reportGeneralTypeIssues]

    @property
    def layer(self) -> Config:
        return self.config.layer

    def arrays(self) -> dict[str, Array | None]:
        rng, config = self.rng("inputs"), self.config
        rows = self.batch * (2 if config.model == "dual_encoder" else 1)
        if config.input_kind == "tokens":
            inputs = rng.integers(0, config.input_size, (rows, self.length))
        else:
            inputs = normal(rng, (rows, self.length, config.input_size))
        found: dict[str, Array | None] = {"inputs": inputs}
        if self.padded:
            found["lengths"] = self.lengths(rng, rows)
        found |= {name: single(draw(rng, rows, self.length)) for name, draw in self.drawn.items()}
        if self.dropout:
            found["dropout_seed"] = np.asarray(12345)
        return found


@dataclass(frozen=True)
class LanguageCase(ModelCase):
    """A language model on tokens; its state holds that of every layer. bfloat16: report the error of such products."""

    sequence = "inputs"
    bfloat16: bool = False

    @property
    def dropout(self) -> bool:
        config: Any = self.config
        return super().dropout or (self.training and config.embedding_dropout + config.output_dropout > 0)

    def arrays(self) -> dict[str, Array | None]:
        rng, config = self.rng("inputs"), self.config
        found: dict[str, Array | None] = {"inputs": rng.integers(0, config.input_size, (self.batch, self.length))}
        if self.padded:
            found["mask"] = np.arange(self.length) < self.lengths(rng, self.batch)[:, None]
        if self.state:
            for depth, layer in enumerate(config.layers):
                drawn = draw_state(layer, rng, self.batch)
                found |= {f"state.{depth}{name.removeprefix('state')}": leaf for name, leaf in drawn.items()}
            if config.input_positions != "none":
                found["state.position"] = rng.integers(0, 5, self.batch)
        if self.dropout:
            found["dropout_seed"] = np.asarray(12345)
        return found


@dataclass(frozen=True)
class EncoderDecoderCase(ModelCase):
    """An encoder-decoder on tokens; the decoder is given two tokens less than the encoder."""

    @property
    def dropout(self) -> bool:
        config: Any = self.config
        parts = (config.decoder_layer.dropout, config.cross.dropout, config.embedding_dropout, config.output_dropout)
        return super().dropout or (self.training and max(parts) > 0)

    def arrays(self) -> dict[str, Array | None]:
        rng, V = self.rng("inputs"), self.config.input_size
        found: dict[str, Array | None] = {"inputs": rng.integers(0, V, (self.batch, self.length))}
        found["outputs"] = rng.integers(0, V, (self.batch, self.length - 2))
        if self.padded:
            found["lengths"] = self.lengths(rng, self.batch)
        if self.dropout:
            found["dropout_seed"] = np.asarray(12345)
        return found


def single(values: Array) -> Array:
    """Float32 numbers, held in float64."""
    return np.asarray(values, np.float32).astype(np.float64)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers that float32 holds."""
    return single(rng.standard_normal(shape))


def is_differentiable(value: Array) -> bool:
    """Whether an argument has a gradient."""
    return np.issubdtype(value.dtype, np.inexact)


def cast_all(arrays: Mapping[str, Array | None], dtype: str) -> dict[str, Array]:
    """The arguments that are given, numbers in `dtype`."""
    given = {name: np.asarray(a) for name, a in arrays.items() if a is not None}
    return {name: a.astype(dtype) if is_differentiable(a) else a for name, a in given.items()}


def width(config: Config) -> int:
    """The model width D of a layer."""
    return config.d_model  # pyright: ignore[reportAttributeAccessIssue]


def draw_state(config: Config, rng: np.random.Generator, batch: int) -> dict[str, Array]:
    """A state that is not zero: `state`, or `state.keys` and so on where it has several leaves."""
    module = of(config.architecture)
    if hasattr(module, "draw_state"):
        return {f"state.{name}": leaf for name, leaf in module.draw_state(config, rng, batch).items()}
    return {"state": normal(rng, module.state_shape(config, batch))}


def nest(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by name, from leaves by dotted name."""
    found: dict[str, Any] = {}
    for name, value in arrays.items():
        *parents, leaf = name.split(".")
        node = found
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return found


def flatten(value: Any, name: str) -> dict[str, Any]:
    """The leaves of a state by dotted name; the inverse of `nest`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        return {name: value}
    return {path: leaf for key, child in value.items() for path, leaf in flatten(child, f"{name}.{key}").items()}


def draw_cotangents(outputs: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """A cotangent for every output that has a gradient."""
    return {name: normal(rng, value.shape) for name, value in outputs.items() if is_differentiable(value)}


def of(architecture: str | None) -> Any:
    """The module that knows an architecture's cases."""
    return importlib.import_module(f"suite.equivalence.{catalog.get(str(architecture)).name}")


def values(case: LayerCase, initial: dict[str, Array], statistics: dict[str, Array]) -> tuple[dict, dict]:
    """Parameters and statistics of a case: the initial ones moved at random, so that none is constant or zero."""
    rng = case.rng("parameters")
    moved = {path: single(p + 0.1 * rng.standard_normal(p.shape)) for path, p in sorted(initial.items())}
    moved = of(case.layer.architecture).adjust(case.layer, moved, rng)
    for depth, layer in getattr(case.config, "placed", ()):
        own = {path: p for path, p in moved.items() if path.startswith(f"layers.{depth}.")}
        moved |= of(layer.architecture).adjust(layer, own, rng)
    spread = {
        path: single(s * rng.uniform(0.5, 1.5, s.shape)) if path.endswith("var") else normal(rng, s.shape) * 0.5
        for path, s in sorted(statistics.items())
    }
    return {path: single(p) for path, p in moved.items()}, {path: single(s) for path, s in spread.items()}
