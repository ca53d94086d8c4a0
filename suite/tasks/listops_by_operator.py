"""ListOps accuracies by the operator at the root: how much of a difference is the draw of the test sequences.

    python -m suite.tasks.listops_by_operator reports/measured --data data

Whether a model is right depends most of all on the root: MIN and MAX are nearly solved, MED in part, SM hardly better
than chance. A split of 2,000 sequences holds so many of each by chance alone, which moves every model's accuracy.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from reports import records
from suite.data import DataError, Split, open_dataset
from suite.data.listops import MAX, MED, MIN, SM, VOCABULARY

ROOTS = (MIN, MAX, MED, SM)


def roots(split: Split) -> Int[np.ndarray, " count"]:
    """The token of the operator at the root of each sequence."""
    return split.tokens[split.offsets[:-1]].astype(np.int64)


def shares(split: Split) -> Float[np.ndarray, " 4"]:
    """The share of MIN, MAX, MED and SM among the roots."""
    return np.array([(roots(split) == root).mean() for root in ROOTS])


def by_root(right: Bool[np.ndarray, " count"], split: Split) -> Float[np.ndarray, " 4"]:
    """Accuracy of the sequences with each operator at the root; all of them must occur."""
    return np.array([right[roots(split) == root].mean() for root in ROOTS])


def deviation_of_draw(accuracy: Float[np.ndarray, " 4"], count: int) -> tuple[float, float]:
    """Standard deviations over draws of `count` sequences of a model's accuracy: from their roots alone, and in all."""
    mean = float(accuracy.mean())
    return float(np.sqrt(accuracy.var() / count)), float(np.sqrt(mean * (1 - mean) / count))


def main(arguments: list[str] | None = None) -> int:
    """Print the composition of the splits and the accuracies of every ListOps record that fits them."""
    parser = argparse.ArgumentParser(prog="python -m suite.tasks.listops_by_operator", description=__doc__)
    parser.add_argument("records", type=Path, help="a folder of records")
    parser.add_argument("--data", type=Path, help="default: LONGSEQ_DATA, else data")
    options = parser.parse_args(arguments)
    try:
        data = open_dataset("lra_listops", options.data, train=1)
        known = records.read_all(options.records)
    except (DataError, records.RecordError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    names = [VOCABULARY[root].removeprefix("[") for root in ROOTS]
    print("".join(f"{word:>16}" for word in ("", *names, "mean of four")))
    for name in ("validation", "test"):
        print(f"{name + ', %':>16}" + "".join(f"{100 * share:16.2f}" for share in shares(getattr(data, name))))
    for record in known:
        if record.cell.task != "lra.listops" or record.predictions is None:
            continue
        predicted = records.decode_predictions(record.predictions)
        labels, classes = data.test.labels, record.predictions.classes
        if (
            records.encode_predictions(labels, labels, "test", classes).labels_sha256
            != record.predictions.labels_sha256
        ):
            continue
        accuracy = by_root(predicted == data.test.labels, data.test)
        values = [*accuracy, accuracy.mean()]
        print(f"{record.cell.id:>16}" + "".join(f"{100 * value:16.2f}" for value in values))
        expected = 100 * (shares(data.validation) - shares(data.test)) @ accuracy
        roots_alone, total = (100 * value for value in deviation_of_draw(accuracy, data.test.count))
        print(
            f"{'':16}  by the roots alone, validation is {expected:+.2f} points from test; a draw of "
            f"{data.test.count:,} has a standard deviation of {total:.2f} points, {roots_alone:.2f} from the roots"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
