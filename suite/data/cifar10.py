"""CIFAR-10 in colour, pixel by pixel (Krizhevsky 2009): 32 x 32 images of ten classes, as S4 and S5 read them."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from suite.data.errors import DataError
from suite.data.random_split import held_out
from suite.data.sequences import Advance, Sequences, silent, stack
from suite.data.settings import Settings, integer

SIDE, CHANNELS, CLASSES = 32, 3, 10
FOLDER = "cifar-10-batches-py"
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE = "test_batch"
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.247, 0.243, 0.261]
"""Of the colours, as the S4 and S5 code has them."""

Images = tuple[UInt8[np.ndarray, "N 32 32 3"], UInt8[np.ndarray, " N"]]


@dataclass(frozen=True)
class Cifar10Settings(Settings):
    """What a prepared CIFAR-10 in colour holds."""

    NAME: ClassVar[str] = "cifar10"
    TITLE: ClassVar[str] = "sequential CIFAR-10 in colour"

    train: int = 45_000
    validation: int = integer(5_000, least=0)
    test: int = 10_000

    def facts(self) -> dict[str, Any]:
        return {
            "split_rule": "validation: the random tenth of the training files that torch.utils.data.random_split draws "
            "with seed 42, as in the S4 and S5 code; test: test_batch; the first examples of each",
            "input": {"kind": "values", "scale": 1 / 255, "mean": MEAN, "std": STD},
            "order": "row by row",
            "augmentation": "none",
            "maximum_length": SIDE * SIDE,
            "classes": CLASSES,
        }


def read(settings: Cifar10Settings, folder: Path, advance: Advance = silent) -> dict[str, Sequences]:
    """The splits, from the six batches; DataError names a file that is malformed or has too few images."""
    splits = {}
    for split, (images, labels) in read_splits(folder).items():
        wanted = settings.counts[split]
        if len(labels) < wanted:
            raise DataError(f"{folder} has {len(labels)} examples for {split}, {wanted} are wanted")
        splits[split] = stack(images[:wanted].reshape(wanted, SIDE * SIDE, CHANNELS), labels[:wanted])
        advance(wanted)
    return splits


def read_splits(folder: Path) -> dict[str, Images]:
    """Images and labels of train, validation and test, in their order; raises DataError."""
    batches = [_read_batch(folder / FOLDER / name) for name in TRAIN_FILES]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    train, validation = held_out(len(labels), 0.1)
    return {
        "train": (images[train], labels[train]),
        "validation": (images[validation], labels[validation]),
        "test": _read_batch(folder / FOLDER / TEST_FILE),
    }


def _read_batch(path: Path) -> Images:
    try:
        with path.open("rb") as file:
            batch = _Arrays(file, encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except (OSError, ValueError, KeyError, TypeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is no batch of CIFAR-10: {error!r:.200}") from None
    fits = pixels.dtype == np.uint8 and labels.ndim == 1 and pixels.shape == (len(labels), CHANNELS * SIDE * SIDE)
    if not fits or not len(labels) or labels.min() < 0 or labels.max() >= CLASSES:
        raise DataError(f"{path} is no batch of CIFAR-10: expected colour images of 32 x 32 with a label 0 to 9 each")
    images = pixels.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.uint8)


class _Arrays(pickle.Unpickler):
    """Reads NumPy arrays and nothing else: any other name in the pickle, which could run code, is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy"):
            if name == "_reconstruct":
                return super().find_class("numpy._core.multiarray", name)
            if name in ("ndarray", "dtype"):
                return super().find_class("numpy", name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
