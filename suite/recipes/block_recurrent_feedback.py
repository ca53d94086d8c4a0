"""The Block-Recurrent Transformer with feedback: every layer reads the states of the recurrent one.

Hutchins, Schlag, Wu, Dyer and Neyshabur 2022 (arXiv 2203.07852), table 1, rows "Feedback"; the layers are those of
`suite.recipes.block_recurrent`, with `recurrent/block_feedback_512.gin` of google-research/meliad@cc1aef5.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

from implementations.block_recurrent.config import BlockRecurrentConfig, FeedbackConfig
from suite.recipes import block_recurrent, language, meliad
from suite.recipes.base import Profile, Recipe

operations_per_token = block_recurrent.operations_per_token


def lra_listops(profile: Profile = "paper") -> Recipe:
    """ListOps with the layers of Block-Recurrent's recipe, of which the first recurs and the others read its states; a
    recipe of this project."""
    recipe = block_recurrent.lra_listops(profile)
    layer = recipe.model.layer
    assert isinstance(layer, BlockRecurrentConfig)
    stack = FeedbackConfig(recurrent=layer, depth=recipe.model.depth, recurrent_layers=(0,))
    return recipe.replace(model=recipe.model.replace(layer=stack, depth=1))


RECIPES: dict[str, Callable[[Profile], Recipe]] = {"lra.listops": lra_listops}


def language_layers(size: language.Size) -> language.Layers:
    """The layers of Block-Recurrent's recipe with feedback, of which the same one recurs; a recipe of this project."""
    like = block_recurrent.language_layers(size)
    assert isinstance(like.layer, BlockRecurrentConfig)
    sliding = {i for i, _ in like.placed}
    recurrent = tuple(i for i in range(like.depth) if i not in sliding)
    stack = FeedbackConfig(recurrent=like.layer, depth=like.depth, recurrent_layers=recurrent)
    return dataclasses.replace(like, layer=stack, depth=1, placed=())


def published_language(task: language.Task, gate: str = "fixed", configuration: str = "skip") -> Recipe:
    """Feedback:fixed:skip of table 1 on books, papers or source code."""
    stack = block_recurrent.feedback(gate=gate, configuration=configuration)
    source = {"model.layer": f"{meliad.REPOSITORY} recurrent/block_feedback_512.gin: feedback_recurrence"}
    return meliad.recipe(task, language.Layers(stack, 1), source)


LANGUAGE_RECIPES = language.recipes(language_layers, {task: partial(published_language, task) for task in meliad.TASKS})
