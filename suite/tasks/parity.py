"""The parity ladder as a benchmark that users run on their own hardware: one task per architecture.

The checks themselves live in `suite.tasks.equivalence.run(architecture, seed) -> list of rows`, which imports both
frameworks and is therefore only imported inside a cell.
"""

from implementations import catalog
from suite.tasks import Task


def tasks() -> list[Task]:
    """One equivalence task per architecture of the catalog."""
    return [
        Task(
            name=f"equivalence.{architecture}",
            benchmark="equivalence",
            title=f"JAX and PyTorch twins of {catalog.get(architecture).title}",
            run="equivalence",
            metric="failed_checks",
            frameworks="both",
            architecture=architecture,
        )
        for architecture in catalog.names()
    ]
