"""Span corruption of bytes (Raffel et al. 2020, section 3.1.4): what an encoder-decoder learns before it is fine-tuned.

A measured cell leaves its weights in `RUNS/weights/<cell id>.safetensors`; `--set initial_weights=FILE` starts another
run from them.
"""

from suite.tasks import Task

TITLES = {
    "book": "One book, shipped with the project",
    "pg19": "PG-19 (books)",
    "pg19_like": "Books of your own",
}


def tasks() -> list[Task]:
    """A task for every text."""
    return [
        Task(
            name=f"pretraining.{name}",
            benchmark="pretraining",
            title=f"{title}, span corruption of bytes",
            run="train",
            metric="test_nll_nats_per_token",
        )
        for name, title in TITLES.items()
    ]
