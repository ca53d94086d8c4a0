"""The registry of tasks: what can be selected on the command line, by benchmark.

A benchmark joins by a module here with a function `tasks() -> list[Task]`, named in `BENCHMARKS`. `Task.run` tells
the cell how it is executed: "train" through the training loop, "equivalence" through `suite.tasks.equivalence`, "speed"
through `suite.speed`, "ablation" as "train" with the recipes of `suite.ablations`.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal

FRAMEWORKS = ("jax", "torch")
BENCHMARKS = {
    "lra": "suite.tasks.lra",
    "lm": "suite.tasks.language",
    "length": "suite.tasks.length",
    "sequences": "suite.tasks.sequences",
    "glue": "suite.tasks.glue",
    "summaries": "suite.tasks.summaries",
    "pretraining": "suite.tasks.pretraining",
    "equivalence": "suite.tasks.parity",
    "speed": "suite.tasks.speed",
    "ablation": "suite.tasks.ablation",
}


@dataclasses.dataclass(frozen=True)
class Task:
    """One task: its name, its benchmark, how a cell of it runs and what its numbers may be compared with.

    `metric` is the headline metric of its records, `comparable_to` the published protocol of the paper profile
    (`reports/published/*.toml`), `tables` where the numbers of a language model are printed, `not_comparable` why there
    is none to stand beside. `frameworks` is "each" where every framework has its own cell, "both" where one cell
    compares them. `architecture` limits a task to one architecture. `missing_data` is the remedy shown where the data
    set has no loader here. `settings(architecture, profile)` gives what a cell without training measures, None
    where the task has no cell for the architecture. `protocols`, where it is there, is `comparable_to` by architecture:
    of one that is not in it no paper printed a number.
    """

    name: str
    benchmark: str
    title: str
    run: Literal["train", "equivalence", "speed", "ablation"]
    metric: str
    comparable_to: str = ""
    tables: tuple[str, ...] = ()
    not_comparable: str = ""
    frameworks: Literal["each", "both"] = "each"
    architecture: str | None = None
    missing_data: str = ""
    settings: Callable[[str, Any], Any] | None = None
    protocols: Mapping[str, str] | None = None

    def published(self, architecture: str) -> str:
        """The published protocol that the paper recipe of an architecture follows, or ""."""
        return self.comparable_to if self.protocols is None else self.protocols.get(architecture, "")


def all_tasks() -> dict[str, Task]:
    """Every task by name, in the order of the registry."""
    found: dict[str, Task] = {}
    for module in BENCHMARKS.values():
        found.update({task.name: task for task in importlib.import_module(module).tasks()})
    return found
