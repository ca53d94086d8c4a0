"""Weights that runs leave, and that others start from in place of drawn ones: `--set initial_weights=FILE`.

FILE is a safetensors file whose arrays are named by parameter path, the same in both frameworks: what
`implementations.parameters.save` writes, as a pre-training does to `RUNS/weights/<cell id>.safetensors`, or a
checkpoint of a run that was stopped, `RUNS/checkpoints/<cell id>/checkpoint-*.safetensors`. The recipe names it by its
sha256, so that the cell's id follows from what the file holds; a copy is kept as `DATA/weights/<sha256>.safetensors`,
for resumed runs and for `python -m suite.verify`. The optimizer starts afresh.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from implementations.common.config import ConfigError
from implementations.models.config import ClassifierConfig, EncoderDecoderConfig, ModelConfig
from implementations.parameters import ParameterError
from reports import atomic

Arrays = dict[str, np.ndarray]

FIELD = "initial_weights"
ABOUT = "about"
"""What made the weights, in words, in the header of a file that a run leaves."""
CHECKPOINT = "backend."
"""What the arrays of a checkpoint begin with that are the backend's."""
NAMED = 3
"""How many parameters a sentence names of those that do not fit."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """Parameters and running statistics by path, what made them in words, the sha256 of their file, and the config of
    their model, empty where the file has none."""

    parameters: Arrays
    statistics: Arrays
    about: str
    sha256: str
    config: dict[str, Any] = dataclasses.field(default_factory=dict)


def place(root: Path, digest: str) -> Path:
    """Where a copy of a file of weights is kept."""
    return Path(root) / "weights" / f"{digest}.safetensors"


def named(overrides: Sequence[str], root: Path) -> tuple[tuple[str, ...], dict[str, Path]]:
    """Overrides in which a file of weights is named by its sha256, and the files by their sha256.

    Raises ConfigError for a file that is missing or holds no weights, and for a sha256 of which no copy is kept.
    """
    found, files = [], {}
    for text in overrides:
        name, _, value = text.partition("=")
        value = value.strip()
        if name.strip() == FIELD and value:
            if re.fullmatch("[0-9a-f]{64}", value) and not Path(value).exists():
                _require_copy(root, value)
            else:
                weights = _checked(Path(value))
                files[weights.sha256] = Path(value)
                value = weights.sha256
            text = f"{FIELD}={value}"
        found.append(text)
    return tuple(found), files


def _checked(path: Path) -> Weights:
    try:
        return read(path)
    except ParameterError as error:
        raise ConfigError(f"--set {FIELD}: {error}") from None


def _require_copy(root: Path, digest: str) -> None:
    if not place(root, digest).is_file():
        raise ConfigError(f"--set {FIELD}: {place(root, digest)} does not exist; name the file of these weights")


def keep(files: Mapping[str, Path], root: Path) -> None:
    """Copy files of weights to where runs find them; raises OSError where they cannot be written."""
    for digest, path in files.items():
        if not _is_whole(place(root, digest), digest):
            atomic.write_bytes(place(root, digest), path.read_bytes())


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def kept(root: Path, digest: str) -> Weights:
    """The weights of a sha256; raises ParameterError where the copy is missing or damaged."""
    path = place(root, digest)
    what, remedy = f"the initial weights {path.parent.name}/{path.name}", f"name the file again with --set {FIELD}=FILE"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ParameterError(f"{what} cannot be read ({error.strerror or error}); {remedy}") from None
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise ParameterError(f"{what} are damaged: their sha256 is {found}; {remedy}")
    return _weights(data, what)


def read(path: Path) -> Weights:
    """The weights of a file; raises ParameterError where it is missing, damaged, or holds none or no finite ones."""
    try:
        return _weights(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise ParameterError(f"{path} does not exist") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be read: {error.strerror or error}") from None


def _weights(data: bytes, name: str) -> Weights:
    """The weights in the bytes of a file of that name; raises ParameterError."""
    try:
        arrays = safetensors.numpy.load(data)
        header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]]).get("__metadata__", {})
        about, config = header.get(ABOUT, "a file of parameters"), dict(json.loads(header.get("config", "{}")))
    except (safetensors.SafetensorError, struct.error, KeyError, TypeError, ValueError) as error:
        raise ParameterError(f"{name} is no safetensors file of weights, or is damaged: {error}") from None
    parameters, statistics = arrays, {}
    if any(path.startswith(CHECKPOINT) for path in arrays):
        parameters, statistics = (_part(arrays, f"{CHECKPOINT}{part}.") for part in ("parameters", "statistics"))
        about = f"a checkpoint after {int(arrays.get(f'{CHECKPOINT}step', 0))} updates"
    if not parameters:
        raise ParameterError(f"{name} holds no parameters")
    wrong = [path for path, array in parameters.items() if not np.isfinite(array).all()]
    if wrong:
        raise ParameterError(f"{name} holds numbers that are not finite: {_some(wrong)}")
    return Weights(parameters, statistics, about, hashlib.sha256(data).hexdigest(), config)


def _part(arrays: Arrays, start: str) -> Arrays:
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


HEAD = ("encoder.bias", "decoder.kernel", "decoder.bias")
"""What a classifier has beside the embedding and the encoder of an encoder-decoder."""

CLASSES = "classifier."
"""What the parameters of an encoder-decoder's own head begin with."""


def started(state: Arrays, weights: Weights, model: ModelConfig) -> tuple[Arrays, list[str]]:
    """The state of a backend with the parameters of a file, and the paths of those that the file does not have.

    A file of a model of the same parameters has all. A classifier takes of an encoder-decoder embedding and encoder:
    its linear encoder is the embedding, without a bias; its head keeps the values that were drawn, and so does that of
    an encoder-decoder that reads classes where the file's has none. Raises
    ParameterError that says which parameters are missing, unknown or of another shape.
    """
    expected, found = _part(state, "parameters."), weights.parameters
    new: list[str] = []
    if isinstance(model, ClassifierConfig) and "embedding.table" in found:
        if weights.config.get("scale_embedding"):
            raise ParameterError(f"{_whose(weights)}: their embedding is times sqrt(D), that of a classifier is not")
        found = _encoder_of(found)
        new = [path for path in HEAD if path in expected]
        found |= {path: expected[path] for path in new}
        found["encoder.bias"] = np.zeros_like(found["encoder.bias"])
    elif isinstance(model, EncoderDecoderConfig) and not any(path.startswith(CLASSES) for path in found):
        new = sorted(path for path in expected if path.startswith(CLASSES))
        found = found | {path: expected[path] for path in new}
    _require_fit(found, expected, weights, "parameters")
    result = state | {f"parameters.{path}": array.astype(expected[path].dtype) for path, array in found.items()}
    running = _part(state, "statistics.")
    if weights.statistics:
        _require_fit(weights.statistics, running, weights, "statistics")
        result |= {f"statistics.{path}": a.astype(running[path].dtype) for path, a in weights.statistics.items()}
    return result, new if weights.statistics or not running else [*new, "running statistics"]


def _encoder_of(parameters: Arrays) -> Arrays:
    """Embedding and encoder of an encoder-decoder as a classifier calls them; the decoder is left out."""
    found = {"encoder.kernel": parameters["embedding.table"]}
    for path, array in parameters.items():
        if path.startswith("encoder.layers."):
            found[path.removeprefix("encoder.")] = array
        elif path != "embedding.table" and not path.startswith(("decoder.", "decoder_", "classifier.", "output")):
            found[path] = array
    return found


def _require_fit(found: Mapping[str, Any], expected: Mapping[str, Any], weights: Weights, what: str) -> None:
    missing = sorted(expected.keys() - found.keys())
    unknown = sorted(found.keys() - expected.keys())
    both = sorted(expected.keys() & found.keys())
    shapes = [
        f"{path} {found[path].shape} where {expected[path].shape} is expected"
        for path in both
        if found[path].shape != expected[path].shape
    ]
    faults = [
        f"{len(names)} {fault}: {_some(names)}"
        for fault, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        if names
    ]
    if faults:
        raise ParameterError(f"{_whose(weights)}: {what} {'; '.join(faults)}")


def _whose(weights: Weights) -> str:
    return f"the initial weights {weights.sha256[:12]} ({weights.about}) do not fit the model of this recipe"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def told(weights: Weights, new: Sequence[str]) -> str:
    """What a run was started from, in one line."""
    drawn = f"; drawn or zero: {', '.join(new)}" if new else ""
    return f"{weights.about}, sha256 {weights.sha256}{drawn}"
