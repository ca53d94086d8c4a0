"""CIFAR-10 as sequences of pixels: LRA Image (grey; Tay et al. 2021, section 2.2.4) and sCIFAR (colour).

The images are those of Krizhevsky 2009, "Learning multiple layers of features from tiny images".
"""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64, UInt8
from numpy._core.multiarray import _reconstruct  # what the files name by a path that NumPy moved

from suite.data.errors import DataError
from suite.data.permutation import AUTHORS_SEED, first, torch_permutation
from suite.data.sequences import Advance, Sequences, stack
from suite.data.settings import Settings, choice, integer

TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE = "test_batch"
PIXELS = 1024
SPLIT_RULE = (
    f"nine tenths of the training images, those first in the permutation that PyTorch draws with seed {AUTHORS_SEED}, "
    "and the rest for validation, as the S4 and S5 code; of fewer, the first of a permutation with the same seed"
)


@dataclass(frozen=True)
class _CifarSettings(Settings):
    train: int = 45_000
    validation: int = integer(5_000, least=0)
    test: int = 10_000

    def common(self) -> dict[str, Any]:
        """What the grey and the colour images share."""
        return {"split_rule": SPLIT_RULE, "maximum_length": PIXELS, "classes": 10, "order": "row by row"}


@dataclass(frozen=True)
class ImageSettings(_CifarSettings):
    """What a prepared LRA Image holds; `variant` is the protocol of the S4 and S5 papers or of Mega and SeqBoat."""

    NAME: ClassVar[str] = "lra_image"
    TITLE: ClassVar[str] = "Image (Long Range Arena, CIFAR-10 grey)"

    variant: str = choice("s4", "mega")

    def facts(self) -> dict[str, Any]:
        """Conversion to grey and normalization of the variant."""
        mean, std = (122.6 / 255, 61.0 / 255) if self.variant == "s4" else (0.48, 0.24)
        return {
            **self.common(),
            "input": {"kind": "values", "scale": 1 / 255, "mean": mean, "std": std},
            "grey": "ITU-R 601-2 luma in integers, as Pillow",
            "augmentation": "none",
        }


@dataclass(frozen=True)
class ColourSettings(_CifarSettings):
    """What a prepared sCIFAR holds: three channels, normalized as in the S4 and S5 code."""

    NAME: ClassVar[str] = "cifar10"
    TITLE: ClassVar[str] = "Sequential CIFAR-10 (colour)"

    def facts(self) -> dict[str, Any]:
        """Channels and their normalization."""
        values = {"mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.243, 0.261]}
        return {
            **self.common(),
            "input": {"kind": "values", "scale": 1 / 255, **values},
            "channels": "red, green, blue",
            "augmentation": "none",
        }


def read(settings: ImageSettings | ColourSettings, folder: Path, advance: Advance) -> dict[str, Sequences]:
    """The images of the six batches of the Python version.

    Raises DataError naming a batch that is malformed, and where there are fewer images than wanted.
    """
    images, labels = (np.concatenate(parts) for parts in zip(*(_batch(folder / f) for f in TRAIN_FILES), strict=True))
    test_images, test_labels = _batch(folder / TEST_FILE)
    splits = {}
    for split, rows in chosen(settings.counts, len(images), len(test_images), folder).items():
        of_split = test_images[rows] if split == "test" else images[rows]
        values = of_split if isinstance(settings, ColourSettings) else grey(of_split)
        splits[split] = stack(values, (test_labels if split == "test" else labels)[rows])
        advance(len(rows))
    return splits


def chosen(counts: dict[str, int], trained: int, tested: int, place: Path) -> dict[str, Int64[np.ndarray, " n"]]:
    """Which images are in each split: of the `trained` images a tenth is for validation; also the rule of sMNIST.

    Raises DataError where there are too few.
    """
    order = torch_permutation(trained)
    kept = int(trained * 0.9)
    pools = {"train": order[:kept], "validation": order[kept:], "test": np.arange(tested)}
    for split, pool in pools.items():
        if counts[split] > len(pool):
            raise DataError(f"{place} has {len(pool)} images for {split}, {counts[split]} are wanted")
    return {split: first(pool, counts[split]) for split, pool in pools.items()}


def grey(images: UInt8[np.ndarray, "n L 3"]) -> UInt8[np.ndarray, "n L"]:
    """Luma of red, green and blue in 16-bit fixed point, rounded: what Pillow's conversion to mode L computes."""
    red, green, blue = (images[..., channel].astype(np.uint32) for channel in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes as Python 3 writes them in a pickle that Python 2 can read."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


class _Arrays(pickle.Unpickler):
    """Reads pickles of arrays, bytes and containers only: anything else in a file is refused, not run."""

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": _reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] == "numpy" and name in known:
            return known[name]
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"{module}.{name} has no place in an array")


def _batch(path: Path) -> tuple[UInt8[np.ndarray, "n L 3"], Int64[np.ndarray, " n"]]:
    try:
        with path.open("rb") as file:
            content = _Arrays(file, encoding="bytes").load()
        data, labels = np.asarray(content[b"data"]), np.asarray(content[b"labels"])
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise DataError(f"{path} is no batch of CIFAR-10: {error}") from None
    if data.dtype != np.uint8 or data.shape != (len(labels), 3 * PIXELS) or not set(labels.tolist()) <= set(range(10)):
        raise DataError(f"{path} is no batch of CIFAR-10: {data.dtype} of shape {data.shape}, {len(labels)} labels")
    return np.ascontiguousarray(data.reshape(-1, 3, PIXELS).transpose(0, 2, 1)), labels.astype(np.int64)
