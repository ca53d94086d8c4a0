"""Summaries of meetings (QMSum) scored with ROUGE, and those that need no training: what a model has to beat.

    python -m suite.tasks.summaries --data data [--split test]

`question` repeats the question; `first`, `random` and `last` are as many words of the transcript as answers have on
average in the train split, from its beginning, from a random place and from its end.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from suite.data import DataError, Prepared, Split, open_dataset
from suite.data.qmsum import texts
from suite.data.words import below, philox_words
from suite.rouge import MEASURES, mean_rouge, words
from suite.tasks import Task


def tasks() -> list[Task]:
    """The one task."""
    title = "QMSum, meeting summaries by bytes"
    return [Task(name="summaries.qmsum", benchmark="summaries", title=title, run="train", metric="test_rougeL")]


def pairs(split: Split) -> list[tuple[str, str, str]]:
    """Question, transcript and answer of every example of a split."""
    bounds = split.offsets.tolist()
    found = []
    for i in range(split.count):
        question, transcript = texts(split.tokens[bounds[2 * i] : bounds[2 * i + 1]])
        (answer,) = texts(split.tokens[bounds[2 * i + 1] : bounds[2 * i + 2]])
        found.append((question, transcript, answer))
    return found


def baselines(data: Prepared, split: str) -> dict[str, dict[str, float]]:
    """The measures of each kind of summary on a split."""
    answers = [words(answer) for _, _, answer in pairs(data.train)]
    length = round(sum(map(len, answers)) / len(answers))
    examples = pairs(getattr(data, split))
    draws = philox_words(0, 0, 0, len(examples))
    made: dict[str, list[str]] = {"question": [], "first": [], "random": [], "last": []}
    for i, (question, transcript, _) in enumerate(examples):
        said = words(transcript)
        start = int(below(draws[i : i + 1], max(len(said) - length, 0) + 1, 0)[0])
        parts = {"first": said[:length], "random": said[start : start + length], "last": said[-length:]}
        made["question"].append(question)
        for name, part in parts.items():
            made[name].append(" ".join(part))
    return {name: mean_rouge(summaries, [answer for _, _, answer in examples]) for name, summaries in made.items()}


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    description = (__doc__ or "").split("\n", 1)[0]
    parser = argparse.ArgumentParser(prog="python -m suite.tasks.summaries", description=description)
    parser.add_argument("--data", type=Path, metavar="DIR", help="default: LONGSEQ_DATA, else data")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test")
    options = parser.parse_args(arguments)
    try:
        data = open_dataset("qmsum", options.data)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{'summary':<10}" + "".join(f"{name:>10}" for name in MEASURES))
    for name, scores in baselines(data, options.split).items():
        print(f"{name:<10}" + "".join(f"{100 * np.float64(scores[measure]):>10.2f}" for measure in MEASURES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
