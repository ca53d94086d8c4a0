"""SPADE's studies: place and number of its global layers, and choices of its code (arXiv 2212.08136).

The paper's own tables are not at hand; its section of ablations and the options of the released code name what varies.
"""

from typing import Any

from suite.ablations.base import Change, Factor, layer_of, with_layer
from suite.recipes.base import Recipe
from suite.recipes.spade import S4_LEAVES
from suite.training.optimizer import Group


def both(**changes: Any) -> Change:
    """A change of the bottom layer and of the layers above it."""

    def change(recipe: Recipe) -> Recipe:
        own = layer_of(recipe)
        parts = {name: getattr(own, name).replace(**changes) for name in ("bottom", "upper")}
        return with_layer(recipe, own.replace(**parts))

    return change


def window(factor: float) -> Change:
    """A multiple of the window of all layers."""
    return lambda recipe: both(window=max(1, round(layer_of(recipe).bottom.window * factor)))(recipe)


def stack(**changes: Any) -> Change:
    """A change of the stack."""
    return lambda recipe: with_layer(recipe, layer_of(recipe).replace(**changes))


def at(position: float) -> Change:
    """One global layer, at a share of the depth: 0 the bottom, 1 the top."""
    return lambda recipe: stack(first=round(position * (layer_of(recipe).depth - 1)), every=None)(recipe)


def repeated(every: int) -> Change:
    """A global layer at the bottom and at every so many layers above it; one where there are no more layers."""

    def change(recipe: Recipe) -> Recipe:
        return stack(first=0, every=every if every < layer_of(recipe).depth else None)(recipe)

    return change


def bottom(**changes: Any) -> Change:
    """A change of the bottom layer alone."""
    return lambda recipe: stack(bottom=layer_of(recipe).bottom.replace(**changes))(recipe)


def local(recipe: Recipe) -> Recipe:
    """No global layer."""
    return bottom(global_branch=False)(recipe)


def frozen(recipe: Recipe) -> Recipe:
    """S4 keeps its initial values: no gradient, no rate and no decay reaches it."""
    groups = {name: group for name, group in recipe.optimizer.groups.items() if not name.startswith("s4_")}
    rule = {f"s4.{leaf}": "frozen" for leaf in S4_LEAVES}
    optimizer = recipe.optimizer.replace(groups={**groups, "frozen": Group(0.0)}, rule=rule)
    return bottom(s4_frozen=True)(recipe).replace(optimizer=optimizer)


FACTORS = (
    Factor(
        "spade.layers",
        "Place and number of global layers",
        "Which layers have S4 beside local attention; the others attend locally only.",
        {
            "bottom": at(0),
            "top": at(1),
            "middle": at(0.5),
            "every second": repeated(2),
            "all layers": repeated(1),
            "none": local,
        },
        "arXiv 2212.08136, section 6.3, location and number of global layers",
        "lm.wikitext103",
    ),
    Factor(
        "spade.window",
        "Window",
        "The window of local attention in all layers, as a multiple of the base's.",
        {"x 1/2": window(1 / 2), "x 1": window(1), "x 2": window(2), "x 4": window(4)},
        "arXiv 2212.08136, local attention of several windows",
        "lm.wikitext103",
    ),
    Factor(
        "spade.combine",
        "How S4 and local attention are combined",
        "A projection of both (concat), their mean (add), or attention that reads what S4 gives (stack).",
        {name: bottom(combine=name) for name in ("concat", "add", "stack")},
        "arXiv 2212.08136; options of the released code (spade-modules/spade_layer.py)",
        "lm.wikitext103",
    ),
    Factor(
        "spade.s4",
        "Trained or frozen S4",
        "S4 is trained with its own rates, or keeps its initial values.",
        {"trained": lambda recipe: recipe, "frozen": frozen},
        "arXiv 2212.08136; the released code calls the gain of training S4 marginal",
        "lm.wikitext103",
    ),
)
