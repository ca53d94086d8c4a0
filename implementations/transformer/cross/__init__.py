"""Attention of a decoder to what an encoder gave: no relative positions, no causal mask."""

from implementations.common.config import ConfigError
from implementations.transformer.config import TransformerConfig


def require_cross(config: TransformerConfig, name: str) -> None:
    """Raise `ConfigError` unless the config can be one of a cross-attention layer; `name` is named in the message."""
    for field, value in (("attention", "full"), ("causal", False), ("include_self", True), ("positions", "none")):
        found = getattr(config, field)
        if found != value:
            raise ConfigError(f"{name}.{field} is {found!r}: expected {value!r} in a layer of cross-attention")
