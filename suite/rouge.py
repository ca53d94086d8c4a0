"""ROUGE-1, ROUGE-2 and ROUGE-L of a summary against a reference (Lin 2004, "ROUGE: A Package for Automatic
Evaluation of Summaries").

Words are runs of letters a to z and digits of the lower-cased text, without stemming, as in the package `rouge-score`
of google-research with its defaults. F of equal weights; ROUGE-L is the sentence-level one, on the whole text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

MEASURES = ("rouge1", "rouge2", "rougeL")


def words(text: str) -> list[str]:
    """The words of a text."""
    return re.findall(r"[a-z0-9]+", text.lower())


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """The length of the longest sequence of words that both hold in order, not necessarily side by side."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for column, other in enumerate(second, 1):
            above = row[column]
            row[column] = diagonal + 1 if word == other else max(above, row[column - 1])
            diagonal = above
    return row[-1]


def rouge(summary: str, reference: str) -> dict[str, float]:
    """The F measures of `MEASURES`, from 0 to 1; 0 where either side has no words or too few for a pair of them."""
    ours, theirs = words(summary), words(reference)
    found = {}
    for n in (1, 2):
        pairs = [Counter(zip(*(side[i:] for i in range(n)), strict=False)) for side in (ours, theirs)]
        found[f"rouge{n}"] = _f((pairs[0] & pairs[1]).total(), pairs[0].total(), pairs[1].total())
    found["rougeL"] = _f(common_subsequence(ours, theirs), len(ours), len(theirs))
    return found


def mean_rouge(summaries: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The means over pairs of a summary and its reference; ValueError where there are none or they do not pair up."""
    if not summaries or len(summaries) != len(references):
        raise ValueError(f"{len(summaries)} summaries for {len(references)} references: expected as many, at least one")
    scores = [rouge(*pair) for pair in zip(summaries, references, strict=True)]
    return {name: sum(score[name] for score in scores) / len(scores) for name in MEASURES}


def _f(matches: int, ours: int, theirs: int) -> float:
    """2 P R / (P + R) with precision matches / ours and recall matches / theirs."""
    return 2 * matches / (ours + theirs) if matches else 0.0
