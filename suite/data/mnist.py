"""The four idx files of MNIST (LeCun et al. 1998), as they are or compressed by gzip."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from suite.data.errors import DataError
from suite.data.store import sha256

SIDE, CLASSES = 28, 10
PARTS = ("train", "t10k")
FOLDERS = ("", "raw", "MNIST/raw", "mnist")

Images = tuple[UInt8[np.ndarray, "N 28 28"], UInt8[np.ndarray, " N"]]


def read_images(directory: Path) -> tuple[Images, Images, dict[str, str]]:
    """Images and labels of the training files and of the test files, and the sha256 of the four files.

    Raises DataError that names the file which is missing or malformed.
    """
    hashes: dict[str, str] = {}
    train, test = (_read_part(directory, part, hashes) for part in PARTS)
    return train, test, hashes


def _read_part(directory: Path, part: str, hashes: dict[str, str]) -> Images:
    images = _read_idx(directory, f"{part}-images-idx3-ubyte", (SIDE, SIDE), hashes)
    labels = _read_idx(directory, f"{part}-labels-idx1-ubyte", (), hashes)
    if len(images) != len(labels) or labels.max(initial=0) >= CLASSES:
        raise DataError(
            f"{part}-labels-idx1-ubyte in {directory} does not fit: expected a label 0 to 9 for each of the "
            f"{len(images):,} images"
        )
    return images, labels


def _read_idx(
    directory: Path, name: str, item: tuple[int, ...], hashes: dict[str, str]
) -> UInt8[np.ndarray, "N *item"]:
    """An idx file of unsigned bytes: two zeros, the type 8, the number of axes, their lengths as >u4, the values."""
    path = _find(directory, name)
    hashes[path.name] = sha256(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    count = int.from_bytes(data[4:8], "big")
    header = bytes([0, 0, 8, 1 + len(item)]) + np.array([count, *item], ">u4").tobytes()
    if not data.startswith(header) or len(data) != len(header) + count * math.prod(item):
        shape = " x ".join(["N", *map(str, item)])
        raise DataError(f"{path} is not MNIST's: expected a whole idx file of {shape} unsigned bytes")
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(count, *item)


def _find(directory: Path, name: str) -> Path:
    dotted = ".idx".join(name.rsplit("-idx", 1))  # as some copies call them
    for folder in FOLDERS:
        for file in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
            if (directory / folder / file).is_file():
                return directory / folder / file
    raise DataError(f"{directory} holds no {name} (or {name}.gz): expected the four idx files of MNIST")
