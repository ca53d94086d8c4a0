"""Every architecture by name; a framework is imported only when a twin in it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from implementations.common.config import Config, nearest

if TYPE_CHECKING:
    from implementations.models.config import ModelConfig

FRAMEWORKS = ("jax", "torch")
_NEEDS = {"jax": ("jax", "flax", "optax"), "torch": ("torch",)}


class UnknownName(KeyError):
    """A name is not known; the message lists the known ones and the nearest."""

    def __str__(self) -> str:
        return str(self.args[0])


class MissingFramework(ImportError):
    """A framework is not installed; the message names the extra that brings it."""


@dataclass(frozen=True)
class Architecture:
    """One entry: `room` is the package that holds config, reference, jax and torch; `layer` the class of both twins."""

    name: str
    title: str
    paper: str
    room: str
    config_name: str
    layer: str

    @property
    def config(self) -> type[Config]:
        """The class of the layer's config."""
        return getattr(importlib.import_module(f"{self.room}.config"), self.config_name)


_ARCHITECTURES = (
    Architecture("s5", "S5", "arXiv:2208.04933", "implementations.s5", "S5Config", "S5Layer"),
    Architecture("s4", "S4", "arXiv:2111.00396", "implementations.s4", "S4Config", "S4Layer"),
    Architecture("s4d", "S4D", "arXiv:2206.11893", "implementations.s4", "S4DConfig", "S4Layer"),
    Architecture("ema", "MH-EMA", "arXiv:2209.10655", "implementations.ema", "EMAConfig", "MultiHeadEMA"),
    Architecture("mega", "Mega", "arXiv:2209.10655", "implementations.mega", "MegaConfig", "MegaLayer"),
    Architecture("seqboat", "SeqBoat", "arXiv:2306.11197", "implementations.seqboat", "SeqBoatConfig", "SeqBoatLayer"),
    Architecture(
        "transformer",
        "Transformer",
        "arXiv:1706.03762",
        "implementations.transformer",
        "TransformerConfig",
        "TransformerLayer",
    ),
    Architecture("spade", "SPADE", "arXiv:2212.08136", "implementations.spade", "SpadeConfig", "SpadeLayer"),
    # No architecture besides: the stack that every recipe of `spade` trains, so its results stand there; its layers are
    # timed as `spade` and as the sliding window. The name is for building it, and for its parity ladder.
    Architecture(
        "spade_stack", "SPADE, stacked", "arXiv:2212.08136", "implementations.spade", "SpadeStackConfig", "SpadeStack"
    ),
    Architecture(
        "block_recurrent",
        "Block-Recurrent Transformer",
        "arXiv:2203.07852",
        "implementations.block_recurrent",
        "BlockRecurrentConfig",
        "BlockRecurrentLayer",
    ),
    Architecture(
        "block_recurrent_feedback",
        "Block-Recurrent Transformer with feedback",
        "arXiv:2203.07852",
        "implementations.block_recurrent",
        "FeedbackConfig",
        "FeedbackStack",
    ),
    Architecture(
        "block_state",
        "Block-State Transformer",
        "arXiv:2306.09539",
        "implementations.block_state",
        "BlockStateConfig",
        "BlockStateLayer",
    ),
)
_MODELS = {
    "classifier": ("implementations.models", "Classifier"),
    "dual_encoder": ("implementations.models", "DualEncoder"),
    "language_model": ("implementations.models.language", "LanguageModel"),
    "encoder_decoder": ("implementations.models.encoder_decoder", "EncoderDecoder"),
    "film_regressor": ("implementations.models.film", "FilmRegressor"),
}
_BY_NAME = {architecture.name: architecture for architecture in _ARCHITECTURES}


def names() -> tuple[str, ...]:
    """The names of all architectures, in the order of the reports."""
    return tuple(_BY_NAME)


def get(name: str) -> Architecture:
    """The architecture of that name; an unknown one raises `UnknownName`."""
    if name not in _BY_NAME:
        raise UnknownName(f"unknown architecture {name!r}: {nearest(name, _BY_NAME)}")
    return _BY_NAME[name]


def require_framework(framework: str) -> None:
    """Raise `UnknownName` or `MissingFramework` unless twins in `framework` can be imported."""
    if framework not in FRAMEWORKS:
        raise UnknownName(f"unknown framework {framework!r}: {nearest(framework, FRAMEWORKS)}")
    for package in _NEEDS[framework]:
        if importlib.util.find_spec(package) is None:
            raise MissingFramework(
                f"{package} is not installed; the {framework} twins need it: pip install 'longseq-bench[{framework}]'"
            )


def layer_class(name: str, framework: str) -> Any:
    """The layer of an architecture in a framework: the class S5Layer of `implementations.s5.jax`, say."""
    architecture = get(name)
    require_framework(framework)
    return getattr(importlib.import_module(f"{architecture.room}.{framework}"), architecture.layer)


def model_class(config: ModelConfig, framework: str) -> Any:
    """The model around layers that a config describes, in a framework."""
    require_framework(framework)
    room, name = _MODELS[config.model]
    return getattr(importlib.import_module(f"{room}.{framework}"), name)
