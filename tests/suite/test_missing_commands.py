"""The command that a task page prints for what is missing runs just that: the harness's own parser reads it."""

import shlex

import msgspec
import pytest

from reports import frames, pages, published, tables
from reports.blocks import Code
from reports.records import Record
from suite import provenance
from suite.arguments import arguments_parser
from suite.launch import result
from suite.matrix import Cell, Selection, cells

CHANGED = ("epochs=2", "model.layer.variant=MF", "language.updates=7", "matmul_precision=tf32")


def recorded(cell: Cell, overrides: tuple[str, ...]) -> Record:
    """The record of a cell that a command ran among others."""
    said = [word for one in overrides for word in ("--set", one)]
    arguments = ["--tasks", cell.task, "--profile", cell.profile, *said, "--architectures", "s5", cell.architecture]
    assert cell.recipe is not None
    return Record(
        cell=result.record_cell(cell), status="measured", recipe=cell.recipe.to_dict(), protocol=result.protocol(cell),
        metrics={"bits_per_byte": 2.0, "test_accuracy": 0.4}, provenance={"command": provenance.command(arguments)},
    )  # fmt: skip


def selected(command: str) -> list[Cell]:
    """The cells of a printed command."""
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "suite.run"]
    options = arguments_parser().parse_args(words[3:])
    return cells(
        Selection(
            tasks=tuple(options.tasks), architectures=tuple(options.architectures), overrides=tuple(options.overrides),
            frameworks=tuple(options.frameworks), seeds=tuple(options.seeds), profile=options.profile,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("task", "architecture", "overrides"),
    [("length.book", "block_state", CHANGED), ("length.book", "block_state", CHANGED[:1]), ("lra.listops", "s5", ())],
)
def test_the_printed_command_runs_the_missing_twin_by_the_recorded_recipe(task, architecture, overrides):
    chosen = Selection(tasks=(task,), architectures=(architecture,), seeds=(2, 3), overrides=overrides, profile="small")
    every = cells(chosen)
    found = [recorded(cell, overrides) for cell in every if (cell.framework, cell.seed) != ("jax", 3)]
    report = pages.Report.of(found, published.shipped())
    (printed,) = [b for b in pages.task_page(report, task).blocks if isinstance(b, Code) and "missing" in b.caption]
    (cell,) = selected(printed.text)
    missing = next(one for one in every if (one.framework, one.seed) == ("jax", 3))
    assert cell.id == missing.id
    alone = pages.Report.of([record for record in found if record.cell.framework == "torch"], published.shipped())
    (group,) = alone.groups
    assert {one.id for one in selected(tables.missing_commands(group)[0])} == {
        one.id for one in every if one.framework == "jax"
    }
    assert (
        tables.missing_commands(frames.groups([recorded(cell, overrides) for cell in every], alone.published)[0]) == []
    )


def test_a_command_that_cannot_be_read_changes_nothing():
    assert tables.overrides("python -m suite.run --set 'epochs=2") == []
    assert tables.overrides("python -m suite.run --seeds 1 --set=epochs=2 --set 'a=[1, 2]'") == ["epochs=2", "a=[1, 2]"]
    hostile = recorded(cells(Selection(tasks=("lra.listops",), architectures=("s5",)))[0], ())
    hostile = msgspec.structs.replace(hostile, provenance={"command": "x --set 'epochs=2; rm -r ~'"})
    (group,) = frames.groups([hostile], published.shipped())
    assert tables.missing_commands(group)[0].endswith("--profile smoke --set 'epochs=2; rm -r ~'")
