"""CIFAR-10 as its authors release it (Krizhevsky 2009): 50,000 and 10,000 colour images of 32 x 32 in ten classes.

Two of the three official archives are read: `cifar-10-batches-py` (pickles of Python 2) and `cifar-10-batches-bin`.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from suite.data.errors import DataError
from suite.data.store import sha256

SIZE, CHANNELS, CLASSES = 32, 3, 10
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)
FOLDERS = ("", "cifar-10-batches-py", "cifar-10-batches-bin")
RECORD = 1 + CHANNELS * SIZE * SIZE

Images = tuple[UInt8[np.ndarray, "N 32 32 3"], UInt8[np.ndarray, " N"]]


def read_images(directory: Path) -> tuple[Images, Images, dict[str, str]]:
    """Images and labels of the training files and of the test file, in the order of the files, and the files' sha256.

    Raises DataError that names the file which is missing or is no CIFAR-10 batch.
    """
    found = [_find(directory, name) for name in (*TRAIN, *TEST)]
    parts = [_read_batch(path) for path in found]
    train = np.concatenate([part[0] for part in parts[:-1]]), np.concatenate([part[1] for part in parts[:-1]])
    return train, parts[-1], {path.name: sha256(path) for path in found}


def _find(directory: Path, name: str) -> Path:
    for folder in FOLDERS:
        for suffix in ("", ".bin"):
            path = directory / folder / f"{name}{suffix}"
            if path.is_file():
                return path
    raise DataError(
        f"{directory} holds no {name}: expected the folder cifar-10-batches-py or cifar-10-batches-bin of CIFAR-10"
    )


def _read_batch(path: Path) -> Images:
    try:
        if path.suffix == ".bin":
            records = np.fromfile(path, np.uint8).reshape(-1, RECORD)
            pixels, labels = records[:, 1:], records[:, 0]
        else:
            with path.open("rb") as file:
                batch = _Arrays(file, encoding="bytes").load()
            pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is no batch of CIFAR-10: {error!r:.200}") from None
    fits = pixels.dtype == np.uint8 and labels.ndim == 1 and pixels.shape == (len(labels), RECORD - 1)
    if not fits or not len(labels) or labels.min() < 0 or labels.max() >= CLASSES:
        raise DataError(f"{path} is no batch of CIFAR-10: expected colour images of 32 x 32 with a label 0 to 9 each")
    images = pixels.reshape(-1, CHANNELS, SIZE, SIZE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.uint8)


class _Arrays(pickle.Unpickler):
    """Reads NumPy arrays and nothing else: any other name in the pickle, which could run code, is refused."""

    _ALLOWED = ("_reconstruct", "ndarray", "dtype")

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy") and name in self._ALLOWED:
            return super().find_class("numpy._core.multiarray" if name == "_reconstruct" else "numpy", name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
