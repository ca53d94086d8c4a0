"""Random ListOps trees of many candidates at once, level by level, without a Python step per node.

One 64-bit word decides a node. Bits 62-63 are zero for an operator (probability 1/4) and the node is above the
deepest level, else it is a digit; bits 60-61 choose the operator; bits 28-59 the digit or the number of arguments,
uniformly. The word of a tree's root is word i of a Philox stream, and an operator's word seeds the SplitMix64 stream
of its arguments' words. So candidate i depends on the stream and i alone, not on other candidates, chunks or workers.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from suite.data import listops
from suite.data.sequences import Sequences
from suite.data.words import below, philox_words, split

_OPERATOR_BELOW = np.uint64(1 << 62)
_KIND_SHIFT = np.uint64(60)
_UNIFORM_SHIFT = 28
_KINDS = np.array([listops.MIN, listops.MAX, listops.MED, listops.SM], dtype=np.uint8)


@dataclass
class Level:
    """The nodes of one depth, all candidates in order: a node's arguments are consecutive in the next level."""

    words: UInt64[np.ndarray, " nodes"]
    candidates: Int64[np.ndarray, " nodes"]
    operators: Int64[np.ndarray, " operators"]
    arity: Int64[np.ndarray, " operators"]

    def kinds(self) -> UInt8[np.ndarray, " operators"]:
        """Token ids of the operators."""
        return _KINDS[((self.words[self.operators] >> _KIND_SHIFT) & np.uint64(3)).astype(np.intp)]

    def first_arguments(self) -> Int64[np.ndarray, " operators"]:
        """Index in the next level of each operator's first argument."""
        return np.cumsum(self.arity) - self.arity


def candidates(settings: listops.ListOpsSettings, stream: int, start: int, count: int) -> Sequences:
    """The sequences of acceptable length among candidates `start` to `start + count` of a stream, in order."""
    levels, lengths = _grow(settings, philox_words(settings.seed, stream, start, count))
    accepted = (lengths > settings.min_length) & (lengths < settings.max_length)
    levels = _select(levels, accepted)
    values, sizes = _evaluate(levels, settings.max_args)
    tokens, offsets = _write(levels, values, sizes)
    return Sequences(tokens, offsets, values[0].astype(np.int32))


def _grow(
    settings: listops.ListOpsSettings, words: UInt64[np.ndarray, " count"]
) -> tuple[list[Level], Int64[np.ndarray, " count"]]:
    """Levels from the roots down, and each candidate's length in tokens; one that reaches max_length stops growing."""
    owners = np.arange(len(words))
    lengths = np.ones(len(words), dtype=np.int64)
    levels = []
    for _ in range(settings.max_depth - 1):
        operators = np.flatnonzero(words < _OPERATOR_BELOW)
        parents, trees = words[operators], owners[operators]
        arity = 2 + below(parents, settings.max_args - 1, _UNIFORM_SHIFT)
        levels.append(Level(words, owners, operators, arity))
        lengths += np.bincount(trees, weights=arity + 1, minlength=len(lengths)).astype(np.int64)
        growing = lengths[trees] < settings.max_length
        arity = arity[growing]
        words, owners = split(parents[growing], arity), np.repeat(trees[growing], arity)
        if not len(words):
            break
    nothing = np.zeros(0, dtype=np.int64)
    return [*levels, Level(words, owners, nothing, nothing)], lengths


def _select(levels: list[Level], accepted: np.ndarray) -> list[Level]:
    """The levels with the nodes of the accepted candidates alone, whose trees are whole."""
    selected = []
    for level in levels:
        kept = accepted[level.candidates]
        place = np.cumsum(kept) - 1
        of_kept = kept[level.operators]
        selected.append(
            Level(level.words[kept], level.candidates[kept], place[level.operators[of_kept]], level.arity[of_kept])
        )
    return selected


def _evaluate(levels: list[Level], max_args: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Value and number of tokens of every node, per level, from the deepest level up."""
    values, sizes = [], []
    for level in reversed(levels):
        value = below(level.words, 10, _UNIFORM_SHIFT)
        size = np.ones(len(value), dtype=np.int64)
        if len(level.operators):
            below_value, below_size = values[-1], sizes[-1]
            size[level.operators] = 2 + np.add.reduceat(below_size, level.first_arguments())
            value[level.operators] = _apply(level, below_value, max_args)
        values.append(value)
        sizes.append(size)
    return values[::-1], sizes[::-1]


def _apply(
    level: Level, arguments: Int64[np.ndarray, " nodes_below"], max_args: int
) -> Int64[np.ndarray, " operators"]:
    """Values of a level's operators from the values of the level below."""
    first, kinds = level.first_arguments(), level.kinds()
    results = np.add.reduceat(arguments, first) % 10
    results = np.where(kinds == listops.MIN, np.minimum.reduceat(arguments, first), results)
    results = np.where(kinds == listops.MAX, np.maximum.reduceat(arguments, first), results)

    medians = np.flatnonzero(kinds == listops.MED)
    arity = level.arity[medians]
    ordinal = np.arange(max_args)
    ordered = arguments.astype(np.uint8)[np.minimum(first[medians, None] + ordinal, len(arguments) - 1)]
    ordered[ordinal >= arity[:, None]] = 255
    ordered.sort(axis=1)
    rows = np.arange(len(medians))
    results[medians] = (ordered[rows, (arity - 1) // 2] + ordered[rows, arity // 2]) // 2
    return results


def _write(
    levels: list[Level], values: list[np.ndarray], sizes: list[np.ndarray]
) -> tuple[UInt8[np.ndarray, " total"], Int64[np.ndarray, " count_plus_1"]]:
    """Token ids of all trees in prefix order, each with `<eos>`, and their offsets."""
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes[0] + 1)])
    tokens = np.empty(offsets[-1], dtype=np.uint8)
    tokens[offsets[1:] - 1] = listops.EOS
    positions = offsets[:-1]
    for depth, level in enumerate(levels):
        node_tokens = (values[depth] + listops.FIRST_DIGIT).astype(np.uint8)
        node_tokens[level.operators] = level.kinds()
        tokens[positions] = node_tokens
        if not len(level.operators):
            break
        opening = positions[level.operators]
        tokens[opening + sizes[depth][level.operators] - 1] = listops.CLOSE
        before = np.cumsum(sizes[depth + 1]) - sizes[depth + 1]
        positions = np.repeat(opening + 1 - before[level.first_arguments()], level.arity) + before
    return tokens, offsets
