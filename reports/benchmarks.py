"""The benchmarks whose tasks stand together on one page: their tasks, and which architectures have recipes of them."""

import functools
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from reports import contradictions
from reports.frames import PROFILES
from reports.published import Identifier

PATH = Path(__file__).with_suffix(".toml")
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One task, the architectures that have a recipe of it, and the profiles of these recipes.

    `papers` are those of them with a recipe of the profile paper; None: all. `beside` says that papers print its number
    beside the average of the benchmark, not in it.
    """

    name: Identifier
    title: Text
    architectures: tuple[Identifier, ...]
    profiles: tuple[str, ...] = PROFILES
    papers: tuple[Identifier, ...] | None = None
    beside: bool = False

    def has(self, architecture: str, profile: str) -> bool:
        """Whether an architecture has a recipe of this task in a profile."""
        known = self.architectures if profile != "paper" or self.papers is None else self.papers
        return architecture in known and profile in self.profiles


class Benchmark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One benchmark; `average` says that papers print the mean of its tasks."""

    name: Identifier
    title: Text
    about: Text
    tasks: tuple[Task, ...]
    average: bool = False

    @property
    def averaged(self) -> tuple[Task, ...]:
        """The tasks in the average."""
        return tuple(task for task in self.tasks if not task.beside)

    @property
    def path(self) -> str:
        """Its page."""
        return f"benchmarks/{self.name}.*"

    def architectures(self, also: set[str]) -> list[str]:
        """Architectures with a recipe of any task, in the order of the file, then others by name."""
        known = dict.fromkeys(name for task in self.tasks for name in task.architectures)
        return [*known, *sorted(also - known.keys())]


class Benchmarks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file of all benchmarks."""

    schema: Literal["longseq-bench/benchmarks/1"]
    benchmarks: tuple[Benchmark, ...]


@functools.cache
def shipped() -> tuple[Benchmark, ...]:
    """The benchmarks that come with the package; raises PublishedError naming the place in the file."""
    return contradictions.read_toml(PATH, Benchmarks).benchmarks


def of_task(task: str) -> Benchmark | None:
    """The benchmark that a task belongs to, or None."""
    return next((known for known in shipped() if any(item.name == task for item in known.tasks)), None)
