"""Ablations: one task per architecture, whose cells are the levels of its factors (`suite/ablations/`).

A cell without a change is the ordinary cell of the factor's task, which all factors share with the other benchmarks.
"""

from implementations import catalog
from suite.ablations import STUDIES
from suite.tasks import Task


def tasks() -> list[Task]:
    """One study per architecture with factors."""
    return [
        Task(
            name=f"ablation.{architecture}",
            benchmark="ablation",
            title=f"One factor at a time of {catalog.get(architecture).title}",
            run="ablation",
            metric="test_accuracy",
            architecture=architecture,
            missing_data="this version reads no such data; run the tasks that `python -m suite.data list` names",
        )
        for architecture in STUDIES
    ]
