"""The result record: one validated JSON file per cell, `RUNS/records/<cell id>.json`.

Accuracies are fractions in [0, 1]; times are seconds; memory is bytes. NaN and infinities become null. Open-ended
dictionaries are shown as they are; the report gives these names a meaning:

- metrics: `test_accuracy` (at the epoch that the selection rule chose), `validation_accuracy`, `majority_accuracy`;
- curves: `epoch` axis `epoch, epoch_step, train_loss, validation_loss, validation_accuracy, test_accuracy`;
  `step` axis `step, step_loss` (a name that begins with `step` is on it); equally long lists per axis;
- of language models, metrics of the test split `bits_per_byte`, `token_perplexity`, `word_perplexity`,
  `nll_nats_per_token` and `unigram_bits_per_byte`, curves `validation_bits_per_byte`, tables `perplexity_by_position`
  and `perplexity_by_length`;
- of compiled cells, metrics `flops`, `bytes_accessed`, `arithmetic_intensity`, `peak_memory_bytes`, `fits` and
  `longest_length`, tables `programs` and `longest_inputs`, and `compiled_for` of the provenance;
- protocol: `name`, `comparable_to` (the published protocol that it follows), `differences` (list of sentences),
  `metric` (name of the headline metric, default `test_accuracy`);
- timing: `compile_seconds, step_seconds_p20, step_seconds_p50, step_seconds_p80, tokens_per_second,
  peak_memory_bytes, total_seconds, energy_joules`;
- provenance: `command`, `commit`, `dirty`, `versions`, `hardware`, `environment`, `data`, `started`, `finished`;
  `started_from` says in words which weights a run began with, where they were not drawn, `weights` which it left.
"""

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from jaxtyping import Bool, Integer, UInt

from reports import atomic

SCHEMA = "longseq-bench/record/1"

CellId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Label = Annotated[str, msgspec.Meta(max_length=200)]
Encoding = Literal["zlib+base64:uint8", "zlib+base64:uint16"]
Count = Annotated[int, msgspec.Meta(ge=0)]


class RecordError(ValueError):
    """A record cannot be read or written; the message names the file and the place in it."""


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What was run: one architecture on one task in one framework with one seed.

    Of an ablation also the level of the factor that was changed, and the id of the cell without that change.
    """

    id: CellId
    benchmark: Name
    task: Name
    architecture: Name
    framework: Name
    seed: Count
    profile: Name
    hardware: Name
    factor: Label = ""
    level: Label = ""
    base: Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,199})?\Z")] = ""


class Predictions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Predicted classes of every example of a split, in the order of the split.

    `correct` says of each whether it is right, as packed bits (zlib, base64); older records have none.
    """

    split: Name
    count: Count
    classes: Annotated[int, msgspec.Meta(ge=1, le=65536)]
    encoding: Encoding
    data: str
    labels_sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    correct: str = ""


UNENDED = ("not finished", "failed")
"""Statuses of a cell that was started and came to no result."""
STARTED = ("measured", *UNENDED)


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that is known about one cell."""

    cell: Cell
    status: Literal["measured", "compiled", "not finished", "failed", "no data", "not run"]
    schema: Literal["longseq-bench/record/1"] = SCHEMA
    reason: str = ""
    log_tail: str = ""
    recipe: dict[str, Any] = {}
    protocol: dict[str, Any] = {}
    metrics: dict[str, float | None] = {}
    curves: dict[str, list[float | None]] = {}
    tables: dict[str, list[dict[str, Any]]] = {}
    predictions: Predictions | None = None
    timing: dict[str, Any] = {}
    provenance: dict[str, Any] = {}


def text(value: Any) -> str:
    """A string for a value of an open-ended dictionary; empty for None."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, sort_keys=True)


# Lists of plain numbers stay on one line, so that a long curve is one line of a diff. A raw newline cannot occur inside
# a JSON string, so the pattern never touches text.
_NUMBER_LIST = re.compile(r"\[\n([-+.\deE,\snul]*)\n\s*\]")


def to_json(record: Record) -> bytes:
    """Deterministic JSON of a record: sorted keys, indented, number lists on one line; raises RecordError."""
    try:
        compact = msgspec.json.encode(record, enc_hook=_plain, order="sorted")
        _check_curves(msgspec.json.decode(compact, type=Record))
    except (msgspec.ValidationError, TypeError, NotImplementedError) as error:
        raise RecordError(f"record of cell {record.cell.id!r} is not valid: {error}") from error
    text = msgspec.json.format(compact, indent=1).decode()
    return _NUMBER_LIST.sub(lambda match: "[" + " ".join(match[1].split()) + "]", text).encode() + b"\n"


def write(record: Record, runs_dir: Path) -> Path:
    """Write a record to `runs_dir/records/<cell id>.json`, validated and atomic; raises RecordError."""
    data = to_json(record)
    path = Path(runs_dir) / "records" / f"{record.cell.id}.json"
    try:
        return atomic.write_bytes(path, data)
    except OSError as error:
        raise RecordError(f"cannot write record {path}: {error.strerror or error}; free the disk and resume") from error


def read(path: Path) -> Record:
    """Read one record; raises RecordError naming the file and the place in it."""
    path = Path(path)
    try:
        record = msgspec.json.decode(path.read_bytes(), type=Record)
        _check_curves(record)
        if record.predictions:
            decode_correct(record.predictions)
    except OSError as error:
        raise RecordError(f"cannot read record {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, RecordError) as error:
        remedy = "if a run wrote it, delete it and run its cell again"
        raise RecordError(f"record {path} is not valid: {error}; {remedy}") from error
    if path.name != f"{record.cell.id}.json":
        raise RecordError(f"record {path} is of cell {record.cell.id!r} - at `$.cell.id`; rename or delete the file")
    return record


def read_all(runs_dirs: Path | Iterable[Path]) -> list[Record]:
    """All records of one or several runs folders, sorted by cell id; raises RecordError.

    The same cell in two folders is read once if both files are equal; a difference is an error.
    """
    folders: Sequence[Path] = [Path(runs_dirs)] if isinstance(runs_dirs, str | Path) else [Path(p) for p in runs_dirs]
    found: dict[str, tuple[Record, Path]] = {}
    for folder in folders:
        if not folder.is_dir():
            wrong = "is no folder" if folder.exists() else "does not exist"
            raise RecordError(f"runs folder {folder} {wrong}; give the folder that `--out` named")
        for path in sorted((folder / "records").glob("*.json")):
            if path.name.startswith("."):
                continue
            record = read(path)
            other = found.setdefault(record.cell.id, (record, path))
            if other[0] != record:
                raise RecordError(f"cell {record.cell.id!r} has two different records, {other[1]} and {path}; keep one")
    return [found[key][0] for key in sorted(found)]


def encode_predictions(
    predicted: Integer[np.ndarray, "n"], labels: Integer[np.ndarray, "n"], split: str, classes: int
) -> Predictions:
    """Compress predicted classes (n,) and fingerprint the labels (n,) they belong to; raises ValueError."""
    if np.ndim(predicted) != 1 or np.shape(predicted) != np.shape(labels):
        shapes = f"{np.shape(predicted)} and {np.shape(labels)}"
        raise ValueError(f"predictions and labels must be one-dimensional and equally long, got shapes {shapes}")
    encoding: Encoding = "zlib+base64:uint8" if classes <= 256 else "zlib+base64:uint16"
    dtype = encoding.rpartition(":")[2]
    data = zlib.compress(_class_bytes(predicted, "predictions", classes, dtype), 9)
    correct = zlib.compress(np.packbits(np.asarray(predicted) == np.asarray(labels)).tobytes(), 9)
    return Predictions(
        split=split,
        count=len(predicted),
        classes=classes,
        encoding=encoding,
        data=base64.b64encode(data).decode(),
        labels_sha256=hashlib.sha256(_class_bytes(labels, "labels", classes, dtype)).hexdigest(),
        correct=base64.b64encode(correct).decode(),
    )


def decode_predictions(predictions: Predictions) -> UInt[np.ndarray, "n"]:
    """Predicted classes (n,) of a record; raises RecordError if the data are damaged."""
    dtype = np.dtype(predictions.encoding.rpartition(":")[2]).newbyteorder("<")
    size = predictions.count * dtype.itemsize
    data = _unpacked(predictions.data, size, predictions.split)
    values = np.frombuffer(data, dtype) if len(data) == size else np.empty(0, dtype)
    if len(values) != predictions.count or (values >= predictions.classes).any():
        raise RecordError(f"predictions of split {predictions.split!r} do not match their count and classes")
    return values.astype(dtype.newbyteorder("="))


def decode_correct(predictions: Predictions) -> Bool[np.ndarray, "n"] | None:
    """Whether each prediction (n,) of a record is right, None in records that do not say; raises RecordError."""
    if not predictions.correct:
        return None
    size = -(-predictions.count // 8)
    data = _unpacked(predictions.correct, size, predictions.split)
    if len(data) != size:
        raise RecordError(f"predictions of split {predictions.split!r} do not match their count")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=predictions.count).astype(bool)


def _unpacked(text: str, size: int, split: str) -> bytes:
    """Decompressed bytes, at most one more than expected; raises RecordError."""
    try:
        return zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
    except (zlib.error, binascii.Error) as error:
        raise RecordError(f"predictions of split {split!r} are damaged: {error}") from error


def _check_curves(record: Record) -> None:
    lengths: dict[str, tuple[str, int]] = {}
    for name in sorted(record.curves):
        axis = "step" if name.startswith("step") else "epoch"
        first, length = lengths.setdefault(axis, (name, len(record.curves[name])))
        if len(record.curves[name]) != length:
            found = f"{len(record.curves[name])} values, but `{first}` of the same axis has {length}"
            raise msgspec.ValidationError(f"{found} - at `$.curves.{name}`")


def _class_bytes(values: Integer[np.ndarray, "n"], what: str, classes: int, dtype: str) -> bytes:
    array = np.asarray(values)
    if array.size and (not np.issubdtype(array.dtype, np.integer) or array.min() < 0 or array.max() >= classes):
        raise ValueError(f"{what} must be integers from 0 to {classes - 1}")
    return array.astype(np.dtype(dtype).newbyteorder("<")).tobytes()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"a record cannot hold an object of type {type(value).__name__}")
