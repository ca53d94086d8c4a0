"""LRA Image: CIFAR-10 in grey, pixel by pixel (Krizhevsky 2009; Tay et al. 2021, section 2.2.4)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt8

from suite.data.cifar10 import CLASSES, SIDE, read_splits
from suite.data.errors import DataError
from suite.data.sequences import Advance, Sequences, silent, stack
from suite.data.settings import Settings, choice, integer

NORMALIZATION = {"s4": (122.6 / 255, 61.0 / 255), "mega": (0.48, 0.24)}
"""Mean and deviation of the S4 and S5 code, and those of Mega's and SeqBoat's scripts."""


@dataclass(frozen=True)
class ImageSettings(Settings):
    """What a prepared LRA Image holds; `variant` is the protocol of the S4 and S5 papers or of Mega and SeqBoat."""

    NAME: ClassVar[str] = "lra_image"
    TITLE: ClassVar[str] = "Image (Long Range Arena, CIFAR-10 grey)"

    train: int = 45_000
    validation: int = integer(5_000, least=0)
    test: int = 10_000
    variant: str = choice("s4", "mega")

    def facts(self) -> dict[str, Any]:
        """Split, conversion to grey and normalization of the variant."""
        mean, std = NORMALIZATION[self.variant]
        return {
            "split_rule": "validation: the random tenth of the training files that torch.utils.data.random_split draws "
            "with seed 42, as in the S4, S5, Mega and SeqBoat code; test: test_batch; the first examples of each",
            "input": {"kind": "values", "scale": 1 / 255, "mean": mean, "std": std},
            "grey": "ITU-R 601-2 luma in integers, as Pillow",
            "order": "row by row",
            "augmentation": "none",
            "maximum_length": SIDE * SIDE,
            "classes": CLASSES,
        }


def read(settings: ImageSettings, folder: Path, advance: Advance = silent) -> dict[str, Sequences]:
    """The splits, from the six batches; DataError names a file that is malformed or has too few images."""
    splits = {}
    for split, (images, labels) in read_splits(folder).items():
        wanted = settings.counts[split]
        if len(labels) < wanted:
            raise DataError(f"{folder} has {len(labels)} examples for {split}, {wanted} are wanted")
        splits[split] = stack(grey(images[:wanted].reshape(wanted, SIDE * SIDE, 3)), labels[:wanted])
        advance(wanted)
    return splits


def grey(images: UInt8[np.ndarray, "n L 3"]) -> UInt8[np.ndarray, "n L"]:
    """Luma of red, green and blue in 16-bit fixed point, rounded: what Pillow's conversion to mode L computes."""
    red, green, blue = (images[..., channel].astype(np.uint32) for channel in range(3))
    return ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16).astype(np.uint8)
