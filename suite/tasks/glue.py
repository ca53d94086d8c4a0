"""GLUE (Wang et al., arXiv 1804.07461): sentences and pairs of sentences, byte by byte, on the development files."""

from suite.data.glue import KINDS, TASKS
from suite.tasks import Task


def tasks() -> list[Task]:
    """The tasks, each with its official metric; MNLI's two development files are two tasks."""
    return [
        Task(
            name=task,
            benchmark="glue",
            title=" ".join(filter(None, (KINDS[name].title, settings.get("variant")))),
            run="train",
            metric=f"test_{KINDS[name].metric}",
        )
        for task, (name, settings) in TASKS.items()
    ]
