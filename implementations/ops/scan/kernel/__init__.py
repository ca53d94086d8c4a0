"""Device kernels of the recurrence x_t = a x_{t-1} + b_t with a constant diagonal complex a, and what they share.

One program computes up to `STATES` states of one sequence over one segment of its length, tile by tile: all loads of a
tile of `TILE` positions first, so that they are under way together, then the recurrence in registers, then the stores;
memory is read once and written once. Where batch and states make fewer programs than a device needs to be busy, the
length is cut into segments: the first pass computes the end of each segment from zero, a short recurrence of these
ends with a^(segment length) gives the states that the segments start from, and the second pass runs from them.
"""

STATES = 32
"""States per program: a warp's lanes."""

TILE = 32
"""Positions per tile; half of them where registers hold twice as much per position."""

PROGRAMS = 1024
"""Programs that keep a device busy: sequences with fewer are cut into segments."""

SHORTEST = 64
"""The shortest segment; below it a second pass costs more than it gains."""


def segment_length(batch: int, length: int, states: int) -> int:
    """Positions per segment for Q = `states`: all of them, or a power of two that makes about `PROGRAMS` programs.

    The short recurrence of the ends runs over length / segment_length positions in turn, the segments over
    segment_length: the former stays below four times the latter.
    """
    programs = batch * -(-states // STATES)
    if programs >= PROGRAMS or length <= 2 * SHORTEST:
        return length
    segment = max(SHORTEST, power_of_two(-(-length * programs // PROGRAMS)))
    while length > 4 * segment * segment:
        segment *= 2
    return min(segment, length)


def power_of_two(n: int) -> int:
    """The smallest power of two that is not below n >= 1."""
    return 1 << (n - 1).bit_length()
