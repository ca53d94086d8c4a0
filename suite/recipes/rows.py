"""Rows of the papers' tables of language models by name, each a published recipe of its own: `--rows BST:MF:S4`.

arXiv 2203.07852, table 1, and arXiv 2306.09539, table 1, whose SLIDE:12L and BRECT:FIXED:SKIP are the former's
Slide:12L and Rec:fixed:skip. The row that an architecture's own recipe trains is among them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from suite.recipes import block_recurrent, block_recurrent_feedback, block_state, language, meliad, transformer
from suite.recipes.base import Recipe
from suite.recipes.language import Task

RECURRENT, STATE = "arXiv 2203.07852, table 1", "arXiv 2306.09539, table 1"
TOKENS = 2**17
"""Per update, in segments of any length (options/seq_*.gin: 1 segment of 4,096, 8 of 512 on each of 32 devices)."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A row by its printed name: the architecture, the table, and the recipe by task."""

    name: str
    architecture: str
    table: str
    recipe: Callable[[Task], Recipe]


def _baseline(name: str, task: Task) -> Recipe:
    """A Transformer: "XL" reads segments as long as its window, as many as make the tokens of an update."""
    layer, depth, segment = transformer.BASELINES[name]
    recipe = meliad.recipe(task, language.Layers(layer(), depth))
    assert recipe.language is not None
    rows = TOKENS // segment
    trained = recipe.language.replace(segment=segment, evaluation_segment=segment)
    return recipe.replace(language=trained, batch_size=rows, evaluation_batch_size=rows)


def _variant(variant: str, kernel: str, size: str, task: Task) -> Recipe:
    options: dict[str, Any] = {"variant": variant, "kernel": kernel, "size": size}
    return block_state.published_language(task, **options)


def _rows() -> list[Row]:
    names = ("XL:512", "XL:2048", "Slide:12L", "Slide:13L")
    found = [Row(name, "transformer", RECURRENT, partial(_baseline, name)) for name in names]
    for gate in ("lstm", "fixed"):
        for configuration in ("dual", "skip"):
            function = partial(block_recurrent.published_language, gate=gate, configuration=configuration)
            found.append(Row(f"Rec:{gate}:{configuration}", "block_recurrent", RECURRENT, function))
    for gate, configuration in (("lstm", "single"), ("fixed", "skip")):
        function = partial(block_recurrent_feedback.published_language, gate=gate, configuration=configuration)
        found.append(Row(f"Feedback:{gate}:{configuration}", "block_recurrent_feedback", RECURRENT, function))
    kernels, sizes = {"S4": "s4", "UNSTRUCT": "unstructured"}, {"": "small", "-L": "large"}
    for variant, kernel in (("SH", "S4"), ("MH", "S4"), ("MF", "S4"), ("SH", "UNSTRUCT"), ("MF", "UNSTRUCT")):
        for suffix, size in sizes.items():
            if variant != "MH" or not suffix:
                function = partial(_variant, variant, kernels[kernel], size)
                found.append(Row(f"BST:{variant}:{kernel}{suffix}", "block_state", STATE, function))
    return found


ROWS = {row.name: row for row in _rows()}
"""Every row that has a recipe here, by name."""


def of(architecture: str, task: str) -> dict[str, Recipe]:
    """The rows of an architecture by name, on a task "lm.pg19", "lm.arxiv" or "lm.github"; none on another."""
    named: dict[str, Task] = {f"lm.{name}": name for name in meliad.TASKS}
    if task not in named:
        return {}
    return {name: row.recipe(named[task]) for name, row in ROWS.items() if row.architecture == architecture}
