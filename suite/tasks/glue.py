"""GLUE (Wang et al., arXiv 1804.07461): sentences and pairs of sentences, byte by byte, on the development files."""

from suite.data.glue import KINDS
from suite.tasks import Task


def tasks() -> list[Task]:
    """The tasks whose data are read here, each with its official metric."""
    return [
        Task(
            name=name.replace("_", "."),
            benchmark="glue",
            title=kind.title,
            run="train",
            metric=f"test_{kind.metric}",
        )
        for name, kind in KINDS.items()
    ]
