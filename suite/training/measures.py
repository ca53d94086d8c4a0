"""What a model's outputs are worth: losses and measures over all examples of a split, in NumPy float64.

F1 and Matthews' correlation are those of two classes, with class 1 as the positive one; Pearson's and Spearman's
correlation are those of predicted and true numbers, ties having their mean rank (GLUE, Wang et al., arXiv 1804.07461).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int, Num
from scipy import stats

from implementations.models.config import Objective

LEAST_VARIANCE = 1e-6
"""What a predicted variance is raised to in the loss (s5/cru/losses.py)."""
LOG_2_PI = math.log(2 * math.pi)

Array = np.ndarray
Found = tuple[dict[str, float], Int[Array, " n"] | None]


def measure(
    objective: Objective, outputs: Float[Array, "n ..."], targets: Num[Array, "n ..."], more: Sequence[str] = ()
) -> Found:
    """Loss and measures by name, and the predicted classes, None where numbers are predicted; `more` of `MEASURES`."""
    outputs = outputs.astype(np.float64)
    loss, own, predicted = _OBJECTIVES[objective](outputs, targets)
    answers = outputs[:, 0] if predicted is None else predicted
    extra = {name: MEASURES[name](answers, targets) for name in more}
    return {"loss": loss, **own, **extra}, predicted


def _classes(logits: Float[Array, "n C"], labels: Int[Array, " n"]) -> tuple[float, dict[str, float], Int[Array, " n"]]:
    shifted = logits - logits.max(1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    predicted = logits.argmax(1)
    loss = -log_probabilities[np.arange(len(logits)), labels].mean()
    return float(loss), {"accuracy": float((predicted == labels).mean())}, predicted


def _number(outputs: Float[Array, "n 1"], targets: Float[Array, " n"]) -> tuple[float, dict[str, float], None]:
    error = float(((outputs[:, 0] - targets) ** 2).mean())
    return error, {"mse": error}, None


def _gaussian(
    outputs: Float[Array, "n L outputs"], targets: Float[Array, "n L K"]
) -> tuple[float, dict[str, float], None]:
    mean, variance = np.split(outputs, 2, -1)
    variance, squares = np.maximum(variance, LEAST_VARIANCE), (targets - mean) ** 2
    loss = 0.5 * (np.log(variance) + squares / variance + LOG_2_PI).sum(-1).mean()
    return float(loss), {"mse": float(squares.mean())}, None


_OBJECTIVES: dict[Objective, Callable] = {"cross_entropy": _classes, "squared_error": _number, "gaussian": _gaussian}


def f1(predicted: Int[Array, " n"], labels: Int[Array, " n"]) -> float:
    """2 hits / (2 hits + false alarms + misses); 0 where there is no positive at all."""
    hits = int(((predicted == 1) & (labels == 1)).sum())
    wrong = int(((predicted == 1) != (labels == 1)).sum())
    return 2 * hits / (2 * hits + wrong) if hits + wrong else 0.0


def matthews(predicted: Int[Array, " n"], labels: Int[Array, " n"]) -> float:
    """The correlation of two binary sequences; 0 where one of them is constant."""
    return _pearson(predicted == 1, labels == 1)


def pearson(predicted: Num[Array, " n"], targets: Num[Array, " n"]) -> float:
    """Pearson's correlation; 0 where one side is constant."""
    return _pearson(predicted, targets)


def spearman(predicted: Num[Array, " n"], targets: Num[Array, " n"]) -> float:
    """Pearson's correlation of the ranks."""
    return _pearson(stats.rankdata(predicted), stats.rankdata(targets))


def _pearson(x: Array, y: Array) -> float:
    x, y = (each.astype(np.float64) - each.astype(np.float64).mean() for each in (x, y))
    scale = math.sqrt(float((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / scale if scale else 0.0


MEASURES: dict[str, Callable[[Array, Array], float]] = {
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}
