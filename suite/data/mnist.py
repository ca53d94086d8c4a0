"""MNIST pixel by pixel (LeCun et al. 1998): 28 x 28 grey images of ten digits, as S4 and S5 read them.

Pixels come row by row, or permuted in bit-reversed order: pixel i of the sequence is pixel reversed(i) of the image, for
those of the 1,024 numbers of ten bits that are below 784 (`s5/utils/permutations.py`).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64, UInt8

from suite.data.errors import DataError
from suite.data.permutation import torch_permutation
from suite.data.sequences import Advance, Sequences, silent, stack
from suite.data.settings import Settings, integer

SIDE, CLASSES = 28, 10
PARTS = ("train", "t10k")

Images = tuple[UInt8[np.ndarray, "N 28 28"], UInt8[np.ndarray, " N"]]


@dataclass(frozen=True)
class MnistSettings(Settings):
    """What a prepared MNIST holds; `permuted` gives psMNIST."""

    NAME: ClassVar[str] = "mnist"
    TITLE: ClassVar[str] = "sequential MNIST"

    train: int = 54_000
    validation: int = integer(6_000, least=0)
    test: int = 10_000
    permuted: bool = False

    def facts(self) -> dict[str, Any]:
        return {
            "split_rule": "validation: the random tenth of the training files that torch.utils.data.random_split draws "
            "with seed 42, as in the S4 and S5 code; test: the t10k files; the first examples of each",
            "input": {"kind": "values", "scale": 1 / 255, "mean": 0.0, "std": 1.0},
            "order": "bit-reversed" if self.permuted else "row by row",
            "maximum_length": SIDE * SIDE,
            "classes": CLASSES,
        }


def bit_reversal(n: int) -> Int64[np.ndarray, " n"]:
    """The numbers below n in the order of their bits read backwards (of as many bits as n - 1 has)."""
    bits = (n - 1).bit_length()
    order = [int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits)]
    return np.array([number for number in order if number < n])


def read(settings: MnistSettings, folder: Path, advance: Advance = silent) -> dict[str, Sequences]:
    """The splits, from the four idx files; DataError names a file that is malformed or has too few images."""
    (images, labels), (test_images, test_labels) = (read_part(folder, part) for part in PARTS)
    order = torch_permutation(len(labels))
    train, validation = np.split(order, [int(len(labels) * 0.9)])
    parts = {
        "train": (images[train], labels[train]),
        "validation": (images[validation], labels[validation]),
        "test": (test_images, test_labels),
    }
    pixel_order = bit_reversal(SIDE * SIDE) if settings.permuted else slice(None)
    splits = {}
    for split, wanted in settings.counts.items():
        pixels, digits = parts[split]
        if len(digits) < wanted:
            raise DataError(f"{folder} has {len(digits)} examples for {split}, {wanted} are wanted")
        splits[split] = stack(pixels[:wanted].reshape(wanted, SIDE * SIDE)[:, pixel_order], digits[:wanted])
        advance(wanted)
    return splits


def read_part(folder: Path, part: str) -> Images:
    """Images and labels of "train" or "t10k"; raises DataError."""
    images = _read_idx(folder / f"{part}-images-idx3-ubyte", (SIDE, SIDE))
    labels = _read_idx(folder / f"{part}-labels-idx1-ubyte", ())
    if len(images) != len(labels) or labels.max(initial=0) >= CLASSES:
        raise DataError(
            f"{folder / part}-labels-idx1-ubyte: expected a label 0 to 9 for each of the {len(images):,} images"
        )
    return images, labels


def _read_idx(path: Path, item: tuple[int, ...]) -> UInt8[np.ndarray, "N *item"]:
    """An idx file of unsigned bytes: two zeros, the type 8, the number of axes, their lengths as >u4, the values."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    count = int.from_bytes(data[4:8], "big")
    header = bytes([0, 0, 8, 1 + len(item)]) + np.array([count, *item], ">u4").tobytes()
    if not data.startswith(header) or len(data) != len(header) + count * math.prod(item):
        shape = " x ".join(["N", *map(str, item)])
        raise DataError(f"{path} is not MNIST's: expected a whole idx file of {shape} unsigned bytes")
    return np.frombuffer(data, np.uint8, offset=len(header)).reshape(count, *item)
