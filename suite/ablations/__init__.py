"""Ablations: every paper's own studies as named factors, each with levels that are changes of a recipe.

An architecture joins by a module here with a tuple `FACTORS`, named in `STUDIES`. A factor is run one at a time: its
levels change the recipe of the architecture on the factor's task, and nothing else, so that the unchanged recipe is the
base of all factors and runs once.
"""

from __future__ import annotations

import functools
import importlib

from suite.ablations.base import Factor

STUDIES = ("s5", "block_recurrent", "block_state", "spade", "seqboat")
"""Architectures with factors, in the order of the report."""


@functools.cache
def factors() -> dict[str, Factor]:
    """Every factor by name, `<architecture>.<what is changed>`."""
    found = [factor for name in STUDIES for factor in importlib.import_module(f"{__name__}.{name}").FACTORS]
    return {factor.name: factor for factor in found}
