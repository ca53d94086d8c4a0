"""Pathfinder images in any number: chunks of a stream on all cores, each put in its place."""

from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from suite.data.listops_generator import available_cores
from suite.data.pathfinder import PathfinderSettings
from suite.data.pathfinder_images import images
from suite.data.sequences import Advance, Sequences, silent, stack
from suite.data.settings import SPLITS

PIXELS_AT_ONCE = 1 << 20


def generate(
    settings: PathfinderSettings, jobs: int | None = None, advance: Advance = silent, chunk: int | None = None
) -> dict[str, Sequences]:
    """The splits that the settings describe, each the first images of its own stream.

    Neither `jobs` (threads; NumPy releases the interpreter's lock; default: all cores) nor `chunk` (images at a time)
    changes a bit of the result. `advance` is called with the number of images just done.
    """
    chunk = chunk or max(1, PIXELS_AT_ONCE // settings.resolution**2)
    with ThreadPoolExecutor(jobs or available_cores()) as workers:
        return {
            split: _split(workers, settings, stream, settings.counts[split], chunk, advance)
            for stream, split in enumerate(SPLITS)
        }


def _split(
    workers: ThreadPoolExecutor, settings: PathfinderSettings, stream: int, count: int, chunk: int, advance: Advance
) -> Sequences:
    pixels = np.empty((count, settings.resolution**2), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int32)

    def make(start: int) -> int:
        size = min(chunk, count - start)
        made = images(settings.drawing, settings.contour_length, settings.seed, stream, start, size)
        pixels[start : start + size] = made.pixels.reshape(size, -1)
        labels[start : start + size] = made.labels
        return size

    pending = [workers.submit(make, start) for start in range(0, count, chunk)]
    try:
        for done in as_completed(pending):
            advance(done.result())
    finally:
        for future in pending:
            future.cancel()
    return stack(pixels, labels)
