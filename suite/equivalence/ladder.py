"""Which checks a case is put through: decided by what the case is, the same for every architecture."""

from __future__ import annotations

import dataclasses
import importlib
from types import ModuleType
from typing import Any

from suite.equivalence import causality, functions, modes, structure, updates
from suite.equivalence.cases import LanguageCase, LayerCase, ModelCase
from suite.equivalence.rows import Row, Rows


def climb(architecture: ModuleType, seed: int) -> list[Row]:
    """All rows, in the order of the rungs; `architecture` is a module as the package's docstring describes."""
    rows = Rows()
    for operation in architecture.OPERATIONS:
        importlib.import_module(f"suite.equivalence.{operation}").climb(rows, seed)
    for case in architecture.layer_cases():
        _layer(dataclasses.replace(case, seed=seed), rows)
    for case in architecture.model_cases():
        _model(dataclasses.replace(case, seed=seed), rows)
    for name, recipe in architecture.recipes().items():
        updates.climb(name, recipe, rows, seed)
    return sorted(rows.rows, key=lambda row: row["rung"])


def _layer(case: LayerCase, rows: Rows) -> None:
    structure.climb(case, rows)
    functions.climb(case, rows)
    if case.methods:
        modes.methods(case, case.methods, rows)
    config: Any = case.config
    if config.causal and case.state and not case.training and case.length > 1:
        modes.streaming(case, rows)
        causality.causal(case, rows)
    if not (case.training or case.padded or case.state):
        causality.sequences(case, rows)
    if case.padded and config.mask_padding:
        causality.padding(case, rows)
    if case.compiled:
        modes.compiled(case, rows)


def _model(case: ModelCase, rows: Rows) -> None:
    structure.climb(case, rows)
    functions.climb(case, rows)
    layer: Any = case.layer
    if isinstance(case, LanguageCase):
        if not case.padded:
            modes.streaming(case, rows)
        if case.bfloat16:
            functions.bfloat16(case, rows)
    elif case.padded and layer.mask_padding:
        modes.padding(case, rows)
        if case.config.input_kind == "values":
            causality.padding(case, rows)
    if case.compiled:
        modes.compiled(case, rows)
