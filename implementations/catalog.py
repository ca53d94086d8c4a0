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
