"""What a cell asks of a machine, counted from its recipe: operations, positions, tokens, and what memory grows with."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from suite import recipes as recipes_of
from suite.data.catalog import names, place
from suite.matrix import Cell
from suite.recipes.base import Recipe

KEPT = 16
"""How many vectors of the model's width a layer keeps of every position for the gradient: an assumption, which matters
only beside the parameters, as memory is a measured one times a ratio."""


def update_operations(cell: Cell) -> float | None:
    """Floating-point operations of one update: three passes over every position of a batch."""
    assert cell.recipe is not None
    recipe = cell.recipe
    per_token = recipes_of.operations_per_token(cell.architecture, recipe.model)
    if per_token is None:
        return None
    length = recipe.language.segment if recipe.language else positions(cell) * _documents(cell)
    return 3 * per_token * recipe.batch_size * length


def total_operations(cell: Cell, root: str | Path | None = None) -> float | None:
    """Floating-point operations of a whole run: its updates, and one pass per position that is evaluated."""
    assert cell.recipe is not None
    recipe, settings = cell.recipe, cell.recipe.data.settings
    per_token = recipes_of.operations_per_token(cell.architecture, recipe.model)
    update = update_operations(cell)
    if per_token is None or update is None:
        return None
    if recipe.language is not None:
        evaluated = evaluated_tokens(recipe, root)
    elif recipe.span_corruption is not None:
        tokens = _tokens(recipe.data.name, json.dumps(settings, sort_keys=True), root)
        length, most = recipe.span_corruption.length, recipe.span_corruption.evaluated
        windows = [tokens.get(split, 0) // length for split in ("validation", "test")]
        evaluated = sum(min(count, most or count) for count in windows) * positions(cell)
    else:
        evaluated = (settings.get("validation", 0) + settings.get("test", 0)) * positions(cell) * _documents(cell)
    return recipe.total_steps * update + recipe.epochs * per_token * evaluated


def evaluated_tokens(recipe: Recipe, root: str | Path | None = None) -> float:
    """Tokens that one evaluation of a language model reads, as if every evaluation were selected; 0 where the data are
    not prepared, whose sizes are then unknown.

    Validation and test split, the test split once more for every length; strided windows read tokens several times.
    """
    language, data = recipe.language, recipe.data
    assert language is not None
    tokens = _tokens(data.name, json.dumps(data.settings, sort_keys=True), root)
    reads = language.evaluation_segment / language.stride if language.stride else 1.0
    return reads * (tokens.get("validation", 0) + tokens.get("test", 0) * (1 + len(language.lengths)))


@functools.lru_cache
def _tokens(name: str, settings: str, root: str | Path | None) -> dict[str, int]:
    """Tokens of every split of a text, empty where it is not prepared."""
    if name not in names():
        return {}
    wanted = place(name, root, json.loads(settings))
    if not wanted.directory.exists():
        return {}
    return {split: found["tokens"] for split, found in wanted.open(verify=False).protocol["splits"].items()}


# Padded positions of an example, for data without a loader here.
POSITIONS = {
    "lra.text": 4_096,
    "lra.retrieval": 4_000,
    "lra.image": 1_024,
    "lra.pathfinder": 1_024,
    "lra.pathx": 16_384,
    "lra.path256": 65_536,
}


def positions(cell: Cell) -> int:
    """Padded positions of a sequence."""
    assert cell.recipe is not None
    if cell.recipe.generation is not None:
        return cell.recipe.generation.input_length + cell.recipe.generation.target_length
    if cell.recipe.span_corruption is not None:
        return sum(cell.recipe.span_corruption.lengths)
    data = cell.recipe.data
    if data.name not in names():
        return POSITIONS.get(cell.task, 0)
    return place(data.name, None, data.settings).settings.protocol()["maximum_length"]


def _documents(cell: Cell) -> int:
    return 2 if cell.task == "lra.retrieval" else 1


def footprint(cell: Cell) -> float | None:
    """Bytes in proportion to which memory grows: of the parameters, their gradient and Adam's two means, and of the
    activations of a batch, which are those of one layer where a model computes them again; None where operations are
    not counted. A parameter counts as two operations of every position."""
    assert cell.recipe is not None
    recipe, model = cell.recipe, cell.recipe.model
    per_token = recipes_of.operations_per_token(cell.architecture, model)
    length = recipe.language.segment if recipe.language else positions(cell) * _documents(cell)
    if per_token is None or not length:
        return None
    width, layers = (2 if model.compute_dtype == "bfloat16" else 4), 1 if model.checkpoint else model.depth
    return 4 * 4 * per_token / 2 + width * KEPT * layers * model.d_model * recipe.batch_size * length
