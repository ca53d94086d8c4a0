"""From compiled programs to the record of a cell that was not run."""

from __future__ import annotations

from typing import Any

from reports.records import Record
from suite.hardware import ahead_of_time
from suite.hardware.ahead_of_time import Found
from suite.hardware.profiles import PROFILES
from suite.launch.result import record_cell
from suite.matrix import Cell

DEFINITIONS = {
    "compiled": "for the chips of the topology that share a batch, none being here; no data are read and nothing is "
    "run: there is no time",
    "programs": "those that are the same but for single numbers on which only results depend, such as a threshold, "
    "have one `key` and are compiled once",
    "chips": "that share a program: the batch by rows, where they divide its size, with a copy of the parameters each; "
    "all numbers are those of one of them",
    "effort": "how much the compiler optimized: full as for a run, or least (profiles smoke and small), with which it "
    "takes about half the time, counts the same flops and plans memory more wastefully: peak_memory_bytes and "
    "bytes_accessed are those of that plan",
    "collectives": "operations through which the chips exchange numbers, as often as they stand in the program",
    "flops": "floating-point operations as the compiler counts them; the body of a loop counts once, so that where "
    "there are loops they are at least so many",
    "bytes_accessed": "bytes that the program's kernels read and write, as the compiler counts them; as for flops",
    "arithmetic_intensity": "flops over bytes_accessed",
    "peak_memory_bytes": "of one chip: arguments, results, temporaries and code, what shares memory counted once",
    "fits": "whether the compiler accepts the program for the memory of one chip",
    "longest_length": "the longest input among powers of two times the recipe's that fits, at the same batch size; "
    "`bound` says why no longer one is named; no metric where longer ones were not tried",
    "evaluation": "at the recipe's batch size; a text split of fewer documents is evaluated in fewer rows; "
    "of a model that writes sequences its losses, the search for what it writes is not compiled",
}
NUMBERS = ("flops", "bytes_accessed", "arithmetic_intensity", "peak_memory_bytes")


def compiled(
    cell: Cell, facts: dict[str, Any], found: Found, provenance: dict[str, Any], allowed: int = 1, chips: int = 1
) -> Record:
    """The record of a cell whose programs were compiled for so many chips; its metrics are those of the headline
    program. `allowed` are the `compilations` of `ahead_of_time.programs`.
    """
    (reached,) = [row for row in found.longest if _family(row) == _family(found.headline)]
    known = reached["bound"] != "compilations"
    hardware, fits = PROFILES[cell.hardware], found.headline["fits"]
    return Record(
        cell=record_cell(cell),
        status="compiled",
        reason="" if fits else f"{_words(found.headline)} does not fit into the memory of one chip",
        recipe=cell.recipe.to_dict() if cell.recipe else cell.settings,
        protocol=facts,
        metrics={
            **{name: found.headline.get(name) for name in NUMBERS},
            "fits": float(fits),
            **({"longest_length": reached["longest_length"]} if known and fits else {}),
            **({} if found.parameter_count is None else {"parameter_count": found.parameter_count}),
        },
        tables={"programs": found.rows, "longest_inputs": found.longest},
        provenance={
            **provenance,
            "compiled_for": {
                "topology": ahead_of_time.TOPOLOGIES[cell.hardware].name,
                "chip": hardware.title,
                "chips": chips,
                "chip_memory_bytes": hardware.memory,
                "compiler": found.compiler,
                "compilations": allowed,
                "effort": ahead_of_time.EFFORTS[cell.profile],
                "definitions": DEFINITIONS,
            },
            "program": ahead_of_time.same_program(cell),
        },
    )


def _family(row: dict[str, Any]) -> tuple[Any, ...]:
    return row.get("layer"), row["program"]


def _words(row: dict[str, Any]) -> str:
    return " ".join(str(row[name]) for name in ("layer", "program") if name in row) + f" of {row['length']} positions"
