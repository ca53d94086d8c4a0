"""ListOps sequences in any number: chunks of candidates on all cores, joined in the order of the candidates."""

import hashlib
import os
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from suite.data import listops
from suite.data.errors import SettingsError
from suite.data.listops_trees import candidates
from suite.data.sequences import Advance, Sequences, join, silent
from suite.data.settings import SPLITS

FIRST_CHUNK = 256
CHUNK = 8192
TOKENS_AT_ONCE = 1 << 24
PATIENCE = 1 << 20


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def generate(
    settings: listops.ListOpsSettings, jobs: int | None = None, advance: Advance = silent, chunk: int = CHUNK
) -> dict[str, Sequences]:
    """The splits that the settings describe, each the first acceptable candidates of its own stream.

    No sequence comes twice in the whole set: a candidate equal to an earlier one is passed over. Neither `jobs`
    (threads; NumPy releases the interpreter's lock; default: all cores) nor `chunk` (candidates at a time) changes a
    bit of the result. `advance` is called with the number of sequences just added. Raises SettingsError if the
    settings do not allow as many different sequences.
    """
    seen: set[bytes] = set()
    jobs = jobs or available_cores()
    chunk = max(1, min(chunk, TOKENS_AT_ONCE // settings.max_length))
    with ThreadPoolExecutor(jobs) as workers:
        splits = {}
        for stream, split in enumerate(SPLITS):
            chunks = _in_order(workers, 2 * jobs, settings, stream, chunk)
            splits[split] = _collect(chunks, settings.counts[split], seen, advance, PATIENCE // chunk)
            chunks.close()
    return splits


def _in_order(
    workers: ThreadPoolExecutor, depth: int, settings: listops.ListOpsSettings, stream: int, chunk: int
) -> Generator[Sequences, None, None]:
    """Accepted candidates of a stream, chunk by chunk, `depth` chunks computed ahead; sizes double up to `chunk`."""
    start, size = 0, min(FIRST_CHUNK, chunk)
    ahead: deque[Future[Sequences]] = deque()
    try:
        while True:
            while len(ahead) < depth:
                ahead.append(workers.submit(candidates, settings, stream, start, size))
                start, size = start + size, min(2 * size, chunk)
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


def _collect(chunks: Iterator[Sequences], wanted: int, seen: set[bytes], advance: Advance, patience: int) -> Sequences:
    """The first `wanted` sequences not seen before; gives up after `patience` chunks in a row without one."""
    sequences: list[np.ndarray] = []
    labels: list[int] = []
    barren = 0
    while len(sequences) < wanted:
        found = len(sequences)
        accepted = next(chunks)
        bounds = accepted.offsets.tolist()
        for index, label in enumerate(accepted.labels.tolist()):
            sequence = accepted.tokens[bounds[index] : bounds[index + 1]]
            digest = hashlib.blake2b(sequence.data, digest_size=16).digest()
            if digest not in seen and len(sequences) < wanted:
                seen.add(digest)
                sequences.append(sequence)
                labels.append(label)
        advance(len(sequences) - found)
        barren = 0 if len(sequences) > found else barren + 1
        if barren > patience:
            raise SettingsError(
                f"{listops.NAME}: these settings allow too few different sequences ({len(seen)} found, then none among "
                f"{PATIENCE} candidates); ask for fewer, or widen min_length, max_length, max_depth or max_args"
            )
    return join(sequences, labels)
