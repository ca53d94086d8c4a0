"""Batches of language data: pure functions of (seed, step), in NumPy only, so that a resumed run reads the same bytes.

Target i of a document is its token i; the input there is token i - 1, and the begin id before the first token. So
every token is a target, and nats summed over the targets where `mask` is True divide by the split's tokens, bytes and
words alike.

    document   a b c d e         inputs   ^ a b | c d _        (segments of 3; ^ is the begin id)
                                 targets  a b c | d e _
                                 mask     1 1 1 | 1 1 0
                                 start    True  | False
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int32, Int64

from suite.data.batches import permutation
from suite.data.text.split import TextSplit


@dataclass(frozen=True)
class LanguageBatch:
    """B rows of L tokens: `mask` is True where a target counts, `start` where a row's segment begins afresh.

    Where a row holds no token inputs and targets are 0. A row whose `start` is True is read from the initial state.
    """

    inputs: Int32[np.ndarray, "B L"]
    targets: Int32[np.ndarray, "B L"]
    mask: Bool[np.ndarray, "B L"]
    start: Bool[np.ndarray, " B"]


class CarriedBatches:
    """Documents in order, each row going on where it stopped: state is carried from one step's segment to the next's.

    Every document is padded to whole segments, so a segment holds one document. The segments of all documents, in the
    epoch's order, form one line that is cut into `batch_size` equally long parts; row b reads part b from its beginning
    to its end in `steps` steps. A document that a cut meets is read by two rows; the later one starts in its midst with
    `start` True. Rows that end before the others are masked. Step `steps` begins the next epoch: with `shuffle` the
    documents have a new order, and all rows start afresh.
    """

    def __init__(self, split: TextSplit, batch_size: int, segment: int, seed: int, shuffle: bool) -> None:
        _check(split, batch_size=batch_size, segment=segment)
        self.split, self.batch_size, self.segment, self.seed, self.shuffle = split, batch_size, segment, seed, shuffle
        self._segments = -(-split.lengths // segment)
        self.steps = -(-int(self._segments.sum()) // batch_size)

    def batch(self, step: int) -> LanguageBatch:
        """The batch of a training step, a pure function of the step; ValueError for a negative one."""
        if step < 0:
            raise ValueError(f"step is {step}: expected at least 0")
        epoch, position = divmod(step, self.steps)
        order = permutation(self.split.count, self.seed, epoch) if self.shuffle else np.arange(self.split.count)
        ends = np.cumsum(self._segments[order])
        line = np.arange(self.batch_size) * self.steps + position
        place = np.searchsorted(ends, line, side="right")
        rows = _Rows(self.split, self.batch_size, self.segment)
        for row in np.flatnonzero(line < ends[-1]).tolist():
            document = int(order[place[row]])
            first = int(line[row] - (ends[place[row]] - self._segments[document])) * self.segment
            rows.fill(row, document, first)
            rows.start[row] = first == 0 or position == 0
        rows.start[line >= ends[-1]] = True
        return rows.batch()


class WindowBatches:
    """Independent windows of the whole token stream, shuffled anew in each epoch; every target is read once in each.

    Window w holds targets `w * length` to `(w + 1) * length` of the documents one after the other, so a window may hold
    the end of one document and the beginning of the next, whose first token is predicted from the begin id. All rows
    start afresh. Rows of the epoch's last step that no window is left for are masked, as is the end of the last window.
    """

    def __init__(self, split: TextSplit, batch_size: int, length: int, seed: int) -> None:
        _check(split, batch_size=batch_size, length=length)
        self.split, self.batch_size, self.length, self.seed = split, batch_size, length, seed
        self._windows = -(-split.token_count // length)
        self.steps = -(-self._windows // batch_size)

    @cached_property
    def _first(self) -> Int64[np.ndarray, " documents"]:
        """Where in the stream the documents that hold tokens begin."""
        return self.split.offsets[:-1][self.split.lengths > 0]

    def batch(self, step: int) -> LanguageBatch:
        """The batch of a training step, a pure function of the step; ValueError for a negative one."""
        if step < 0:
            raise ValueError(f"step is {step}: expected at least 0")
        epoch, position = divmod(step, self.steps)
        order = permutation(self._windows, self.seed, epoch)
        rows = _Rows(self.split, self.batch_size, self.length)
        for row, window in enumerate(order[position * self.batch_size : (position + 1) * self.batch_size]):
            first = int(window) * self.length
            last = min(first + self.length, self.split.token_count)
            begins = self._first[slice(*np.searchsorted(self._first, (first, last)))]
            rows.write(row, first, last, begins - first)
        rows.start[:] = True
        return rows.batch()


def evaluation_carried(split: TextSplit, batch_size: int, segment: int) -> Iterator[LanguageBatch]:
    """Every target of a split exactly once, with state carried through each whole document.

    Rows read whole documents: a row that ends one goes on with the next that nobody reads, with `start` True, so the
    result does not depend on `batch_size`. There are `min(batch_size, documents)` rows; those without work are masked.
    Raises ValueError.
    """
    _check(split, batch_size=batch_size, segment=segment)
    documents = iter(np.flatnonzero(split.lengths > 0).tolist())
    count = min(batch_size, int((split.lengths > 0).sum()))
    reading: list[int | None] = [next(documents, None) for _ in range(count)]
    first = [0] * count
    while any(document is not None for document in reading):
        rows = _Rows(split, count, segment)
        for row, document in enumerate(reading):
            rows.start[row] = first[row] == 0
            if document is None:
                continue
            rows.fill(row, document, first[row])
            first[row] += segment
            if first[row] >= split.lengths[document]:
                reading[row], first[row] = next(documents, None), 0
        yield rows.batch()


def evaluation_strided(split: TextSplit, batch_size: int, length: int, stride: int) -> Iterator[LanguageBatch]:
    """Every target of a split exactly once, each with at least `length - stride` tokens of context where there are any.

    Windows of `length` targets begin at every multiple of `stride` of each document; the first window of a document
    counts all of its targets, every other only its last `stride`. Windows never leave their document, all start
    afresh, and the last batch holds the remainder. Raises ValueError.
    """
    _check(split, batch_size=batch_size, length=length, stride=stride)
    if stride > length:
        raise ValueError(f"stride is {stride}: expected at most the length {length}")
    windows: list[tuple[int, int]] = []
    for document in np.flatnonzero(split.lengths > 0).tolist():
        beyond = max(int(split.lengths[document]) - length, 0)
        for first in range(0, beyond + stride, stride):
            windows.append((document, first))
            if len(windows) == batch_size:
                yield _strided(split, windows, length, stride)
                windows = []
    if windows:
        yield _strided(split, windows, length, stride)


def _strided(split: TextSplit, windows: list[tuple[int, int]], length: int, stride: int) -> LanguageBatch:
    rows = _Rows(split, len(windows), length)
    for row, (document, first) in enumerate(windows):
        rows.fill(row, document, first)
        if first:
            rows.mask[row, : length - stride] = False
    rows.start[:] = True
    return rows.batch()


class _Rows:
    """A batch while it is filled; what nobody fills stays 0 and masked."""

    def __init__(self, split: TextSplit, batch_size: int, length: int) -> None:
        self.split, self.length = split, length
        self.inputs = np.zeros((batch_size, length), np.int32)
        self.targets = np.zeros((batch_size, length), np.int32)
        self.mask = np.zeros((batch_size, length), bool)
        self.start = np.zeros(batch_size, bool)

    def fill(self, row: int, document: int, first: int) -> None:
        """Targets `first` and after of a document."""
        start, end = (int(offset) for offset in self.split.offsets[document : document + 2])
        begins = np.zeros(1 if first == 0 else 0, np.int64)
        self.write(row, start + first, min(start + first + self.length, end), begins)

    def write(self, row: int, first: int, last: int, begins: Int64[np.ndarray, " n"]) -> None:
        """Targets `first` to `last` of the stream; those at `begins`, counted from `first`, follow the begin id."""
        count = last - first
        self.targets[row, :count] = self.split.tokens[first:last]
        self.inputs[row, 1:count] = self.targets[row, : count - 1]
        if first:
            self.inputs[row, 0] = self.split.tokens[first - 1]
        self.inputs[row, begins] = self.split.begin
        self.mask[row, :count] = True

    def batch(self) -> LanguageBatch:
        return LanguageBatch(self.inputs, self.targets, self.mask, self.start)


def _check(split: TextSplit, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} is {size}: expected at least 1")
    if split.token_count == 0:
        raise ValueError("the split has no tokens: expected at least one document that is not empty")
