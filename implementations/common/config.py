"""The base of every configuration: frozen, validated, and convertible to and from plain dictionaries."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, TypeVar

S = TypeVar("S")


class ConfigError(ValueError):
    """A configuration is wrong; the message names the field, the value found and what is expected."""


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """A half sentence that lists what is known and, where one is close, what was probably meant."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known: {', '.join(known)}"


def require_segment(shape: tuple[int, ...], d_model: int, mask: Any = None) -> None:
    """Raise `ConfigError` unless a layer's input of that shape is (B, L, D) with a position and D = d_model, and its
    mask, where there is one, is (B, L) of booleans."""
    if len(shape) != 3 or shape[1] < 1 or shape[2] != d_model:
        raise ConfigError(
            f"x has shape {tuple(shape)}: expected (B, L, D) with L at least 1 and D = d_model = {d_model}"
        )
    if mask is not None and (tuple(mask.shape) != tuple(shape[:2]) or not str(mask.dtype).endswith("bool")):
        raise ConfigError(
            f"mask has shape {tuple(mask.shape)} of {mask.dtype}: expected booleans (B, L) = {tuple(shape[:2])}"
        )


def _require_streaming(config: Config, without: str) -> None:
    wrong = {name: value for name, value in config.streaming.items() if getattr(config, name) != value}
    if wrong:
        found = " and ".join(f"{type(config).__name__}.{name} is {getattr(config, name)!r}" for name in wrong)
        remedy = " and ".join(f"{name}={value!r}" for name, value in wrong.items())
        raise ConfigError(f"{found}: a layer that cannot stream {without}; it streams with {remedy}")


def require_state(state: S | None, *configs: Config) -> S:
    """The state; `ConfigError` unless the layers of these configs stream and there is one of theirs to reset."""
    for config in configs:
        _require_streaming(config, "has no state to reset")
    if state is None:
        raise ConfigError("state is None: expected one to reset, from `initial_state` or from the segment before")
    return state


def check_state(layer: Any, state: Any, batch: int) -> None:
    """Raise `ConfigError` where a layer that cannot stream is given a state (the message says what would stream), or
    one is not as its `initial_state` makes it for a batch; an axis that is empty there grows with what was seen."""
    if state is not None:
        _require_streaming(layer.config, "takes no state")
        _require_alike("state", state, layer.initial_state(0), batch)


def _require_alike(name: str, found: Any, fresh: Any, batch: int) -> None:
    """`fresh` is the part `name` of the state of no sequence: making it costs a device nothing."""
    made = "as `initial_state` makes it"
    if isinstance(fresh, Mapping):
        if not isinstance(found, Mapping) or found.keys() != fresh.keys():
            what = f"has {', '.join(found)}" if isinstance(found, Mapping) else f"is of {type(found).__name__}"
            raise ConfigError(f"{name} {what}: expected a dictionary with {', '.join(fresh)}, {made}")
        for key, value in fresh.items():
            _require_alike(f"{name}[{key!r}]", found[key], value, batch)
        return
    if not hasattr(found, "shape"):
        raise ConfigError(f"{name} is of {type(found).__name__}: expected an array, {made}")
    shape, free = tuple(found.shape), len(found.shape) == len(fresh.shape)
    expected = (batch, *(shape[i] if free and not n else n for i, n in enumerate(fresh.shape) if i))
    if shape != expected:
        raise ConfigError(f"{name} has shape {shape}: expected {expected}, {made}")


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _conforms(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in typing.get_args(hint)
    if origin is not None and type(None) in typing.get_args(hint):
        return value is None or any(_conforms(value, h) for h in typing.get_args(hint) if h is not type(None))
    if origin is tuple:
        return isinstance(value, tuple)
    if origin is not None or not isinstance(hint, type):
        return True
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _expected(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(hint))
    return getattr(hint, "__name__", str(hint))


def _plain(value: Any, complete: bool) -> Any:
    if isinstance(value, Config):
        return value.to_dict(complete)
    if isinstance(value, dict):
        return {key: _plain(child, complete) for key, child in value.items()}
    return [_plain(child, complete) for child in value] if isinstance(value, tuple) else value


@dataclasses.dataclass(frozen=True)
class Config:
    """A frozen dataclass that validates its own fields; subclasses add their rules in `validate`.

    `architecture` is the catalog name of a layer's config. `LATER` names fields that came after numbers were measured,
    those that came together in one tuple: `to_dict()` leaves such a tuple out where all of it has its default, so that
    what was measured before keeps its identity.
    """

    architecture: ClassVar[str | None] = None
    LATER: ClassVar[tuple[tuple[str, ...], ...]] = ()

    def __post_init__(self) -> None:
        hints = _hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not _conforms(value, hints[field.name]):
                self._fail(field.name, f"expected {_expected(hints[field.name])}")
        self.validate()

    def validate(self) -> None:
        """Check what types cannot say; raise through `require`."""

    def require(self, condition: bool, field: str, expectation: str) -> None:
        """Raise `ConfigError` naming `field` unless `condition` holds."""
        if not condition:
            self._fail(field, expectation)

    def _fail(self, field: str, expectation: str) -> typing.NoReturn:
        raise ConfigError(f"{type(self).__name__}.{field} is {getattr(self, field)!r}: {expectation}")

    @classmethod
    def of_width(cls, d_model: int, **fields: Any) -> Self:
        """The config of a layer of width D with these fields; of a stack that acts as one layer, its layers have them.

        `catalog.get(name).config.of_width(64)` makes a layer of every name of the catalog.
        """
        fields["d_model"] = d_model
        cls._check_names(fields)
        return cls(**fields)

    @property
    def streaming(self) -> dict[str, Any]:
        """The fields that decide whether a layer streams, with the values with which it does."""
        decisive = {"bidirectional": False, "causal": True}
        return {field.name: decisive[field.name] for field in dataclasses.fields(self) if field.name in decisive}

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed; unknown names raise `ConfigError`."""
        self._check_names(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self, complete: bool = False) -> dict[str, Any]:
        """Plain nested dictionaries and lists, ready for JSON; a layer's dictionary carries its `architecture`.

        With `complete`, fields of `LATER` are there also where they have their defaults.
        """
        out: dict[str, Any] = {"architecture": self.architecture} if self.architecture else {}
        default = {field.name for field in dataclasses.fields(self) if getattr(self, field.name) == field.default}
        absent = {name for names in self.LATER if not complete and default.issuperset(names) for name in names}
        for field in dataclasses.fields(self):
            if field.name not in absent:
                out[field.name] = _plain(getattr(self, field.name), complete)
        return out

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; unknown keys raise `ConfigError` with the nearest known name."""
        values = dict(values)
        named = values.pop("architecture", cls.architecture)
        if named != cls.architecture:
            raise ConfigError(f"{cls.__name__}.architecture is {named!r}: expected {cls.architecture!r}")
        cls._check_names(values)
        hints = _hints(cls)
        for key, value in values.items():
            hint = hints[key]
            if isinstance(hint, type) and issubclass(hint, Config) and isinstance(value, dict):
                values[key] = hint.from_dict(value)
            elif typing.get_origin(hint) is tuple and isinstance(value, list):
                values[key] = tuple(value)
        return cls(**values)

    @classmethod
    def _check_names(cls, values: dict[str, Any]) -> None:
        known = {field.name for field in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise ConfigError(f"{cls.__name__} has no field {key!r}: {nearest(key, known)}")
