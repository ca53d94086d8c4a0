"""Reader of the Pathfinder images of the LRA release.

`pathfinder32/curv_contour_length_14/metadata/<n>.npy` lists the images of folder `imgs/<n>`, despite its name as text:
a line `imgs/0 sample_0.png 0 1 ...` per image, the fourth word its label. What the published generator writes itself,
the same words as an NPY array of strings, is read too.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from suite.data.errors import DataError
from suite.data.pathfinder import PathfinderSettings
from suite.data.permutation import torch_permutation
from suite.data.sequences import Advance, Sequences, silent, stack
from suite.data.settings import SPLITS

EMPTY = ("pathfinder32/curv_baseline/imgs/0/sample_172.png",)
"""Images of the release that are files without content; the S4 and S5 code leaves them out too."""

_SHARE = 0.1
_NPY = b"\x93NUMPY"


def read(settings: PathfinderSettings, folder: Path, advance: Advance = silent) -> dict[str, Sequences]:
    """The first images of each split of the release's folder, which holds `pathfinder32` and the like.

    Raises DataError with the file, and the line where there is one, for what is missing, malformed or too few.
    """
    inner = folder / "lra_release"
    if (inner / settings.folder).is_dir():
        raise DataError(
            f"{folder} and {inner} both hold {settings.folder}, and one copy in the wild is broken: pass the folder "
            f"that you mean; the S4 line reads {inner}"
        )
    samples = list(_samples(settings, folder))
    held_out = int(_SHARE * len(samples))
    order = torch_permutation(len(samples))
    sizes = [len(samples) - 2 * held_out, held_out, held_out]
    splits = {}
    for split, available in zip(SPLITS, np.split(order, np.cumsum(sizes)[:2]), strict=True):
        wanted = settings.counts[split]
        if len(available) < wanted:
            raise DataError(
                f"{folder / settings.folder} has {len(available)} images for {split}, {wanted} are wanted; pass "
                f"--{split} {len(available)}"
            )
        chosen = [samples[index] for index in available[:wanted].tolist()]
        pixels = np.empty((wanted, settings.resolution**2), dtype=np.uint8)
        for row, (path, _) in zip(pixels, chosen, strict=True):
            row[:] = read_image(path, settings.resolution).reshape(-1)
            advance(1)
        splits[split] = stack(pixels, np.array([label for _, label in chosen], dtype=np.int32))
    return splits


def _samples(settings: PathfinderSettings, folder: Path) -> Iterator[tuple[Path, int]]:
    """Path and label of every image, in the order of the metadata files' numbers and their lines."""
    level = folder / settings.folder
    files = sorted((path for path in level.glob("metadata/*.npy") if path.stem.isdigit()), key=lambda p: int(p.stem))
    if not files:
        raise DataError(f"{level / 'metadata'} holds no metadata; --from takes the folder that holds {settings.folder}")
    for file in files:
        for line, words in enumerate(_rows(file), 1):
            if len(words) < 4 or words[3] not in ("0", "1") or not _inside(words[0]) or not _inside(words[1]):
                raise DataError(
                    f"{file}, line {line}: expected folder, file, number and label 0 or 1, found {words!r:.120}"
                )
            if f"{settings.folder}/{words[0]}/{words[1]}" not in EMPTY:
                yield level / words[0] / words[1], int(words[3])


def _inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in Path(name).parts


def _rows(file: Path) -> list[list[str]]:
    try:
        content = file.read_bytes()
        if content.startswith(_NPY):
            return np.atleast_2d(np.load(io.BytesIO(content))).astype(str).tolist()
        return [line.split() for line in content.decode().splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is no metadata of Pathfinder: {error!r:.200}") from None


def read_image(path: Path, resolution: int) -> UInt8[np.ndarray, "resolution resolution"]:
    """The grey values of an image; DataError names a file that is missing, empty, damaged or of another size."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
    except UnidentifiedImageError:
        fault = "it is empty" if not path.stat().st_size else "it is no image"
        raise DataError(f"{path} cannot be read: {fault}; fetch the release again") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}; fetch the release again") from None
    if pixels.shape != (resolution, resolution):
        raise DataError(
            f"{path} has {pixels.shape[1]} x {pixels.shape[0]} pixels, expected {resolution} x {resolution}"
        )
    return pixels
