"""Margins of equivalence: how far two means may lie apart and still count as the same, by benchmark, metric and unit.

Their sizes were set before any number that they judge was measured, in the unit of the published number. Each has its
reason; where that was found only later, or does not hold for all tasks, it says so.
"""

from dataclasses import dataclass

from reports.published import Number


@dataclass(frozen=True)
class Margin:
    """A margin in the published unit, or, where `relative`, as a share of the published value; and its reason."""

    size: float
    reason: str
    relative: bool = False

    def of(self, number: Number) -> float:
        """The margin around one published number, which has a value, in its unit."""
        return self.size * abs(number.value or 0.0) if self.relative else self.size

    def text(self, unit: str) -> str:
        """The margin as it is printed."""
        return f"± {100 * self.size:g} % of the value" if self.relative else f"± {self.size:g} {unit}"


_ARENA = (
    "one width for all six tasks, set before anything was measured and reasoned afterwards. On ListOps two draws of "
    "2,000 test examples differ by as much at accuracies around 62 % (1.5 points, standard deviation). The other test "
    "sets have 10,000 examples and more, whose draws differ by 0.1 to 0.5 points, and those of Text and Image are the "
    "released ones: there it is simply the width that this project accepts"
)
_BITS = "less than half of what recurrence gains over a sliding window on PG-19 (0.07), at two printed decimals"
_IMAGES = "less than twice the standard deviation of an accuracy of 90 % on 10,000 test examples (0.3 points)"
_SENTENCES = "about the standard deviation of an accuracy of 90 % on the 277 to 1,000 examples of the smaller tasks"

MARGINS: dict[tuple[str, str, str], Margin] = {
    ("lra", "accuracy", "%"): Margin(1.5, _ARENA),
    ("lm", "bits_per_token", "bits/token"): Margin(0.02, _BITS),
    ("lm", "token_perplexity", "ppl"): Margin(0.014, "the same as 0.02 bits per token: 2 to the power of 0.02", True),
    ("lm", "word_perplexity", "ppl"): Margin(
        0.02, "0.02 bits per token at four tokens to three words: 2 to the power of 0.027, rounded up", True
    ),
    ("lm", "bits_per_byte", "bpc"): Margin(0.01, "one unit of the last decimal that is printed"),
    ("lm", "bits_per_byte", "bits/byte"): Margin(0.01, "about a quarter of what recurrence gains on PG-19 (0.037)"),
    ("sequences", "accuracy", "%"): Margin(0.5, _IMAGES),
    ("sequences", "mse", "1e-3"): Margin(
        0.1, "a little above the standard deviation of the paper's 20 runs, 8 %", True
    ),
    ("glue", "accuracy", "%"): Margin(1.5, _SENTENCES),
    ("glue", "matthews", "%"): Margin(3.0, "twice that of accuracies: a coefficient between -100 and 100 %"),
    ("glue", "f1", "%"): Margin(1.5, _SENTENCES),
    ("glue", "pearson", "%"): Margin(1.5, _SENTENCES),
    ("summaries", "rougeL", "%"): Margin(0.5, "by custom: differences of ROUGE below half a point are not told apart"),
}


def scale(number: Number) -> float:
    """What a metric is multiplied by to stand in a published unit; accuracies are in percent already."""
    if number.unit == "%":
        return 1.0 if number.metric.endswith("accuracy") else 100.0
    return 1e3 if number.unit == "1e-3" else 1.0


def margin(benchmark: str, number: Number) -> Margin | None:
    """The stated margin for one published number, None where there is none."""
    return MARGINS.get((benchmark, number.metric, number.unit))
