"""What of the text of a program decides what it needs of a chip: all but the values of some single numbers."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"(?<=stablehlo\.constant dense<)(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?=> : tensor<(bf16|f\d+)>)")


def without_numbers(text: str) -> str:
    """The text of a StableHLO program with a mark in place of every single number that only its results depend on,
    such as a threshold or the slope of a function; equal numbers have equal marks."""
    marks: dict[tuple[str, str], str] = {}

    def marked(found: re.Match[str]) -> str:
        if not _is_only_a_value(float(found[1])):
            return found[1]
        return marks.setdefault((found[1], found[2]), f"#{len(marks)}")

    return _NUMBER.sub(marked, text)


def _is_only_a_value(number: float) -> bool:
    """Whether a compiler has no other instructions for a number: it has for multiples of a quarter (as factors and
    exponents) and for powers of two (as divisors)."""
    return math.isfinite(number) and (4 * number) % 1 != 0 and abs(math.frexp(number)[0]) != 0.5
