"""Rung 7: what must not matter has a derivative of exactly zero."""

from __future__ import annotations

import numpy as np

from suite.equivalence.cases import LayerCase, ModelCase
from suite.equivalence.functions import pair
from suite.equivalence.rows import Rows

Array = np.ndarray


def causal(case: LayerCase, rows: Rows) -> None:
    """The Jacobian of a causal layer's outputs: zero above the diagonal of positions and beyond the layer's reach
    below it, nowhere else."""
    twins, arrays = pair(case), case.arrays()
    square = np.ones((case.length, case.length), bool)
    later = np.triu(square, 1)
    far = np.tril(square, -1 - case.length if case.reach is None else -1 - case.reach)
    leaks, beyond, alive = [], [], True
    for twin in (twins.jax, twins.torch):
        size = np.abs(twin.jacobian(arrays, "x", **case.options))
        size = np.stack([size[b, :, :, b] for b in range(case.batch)]).max((0, 2, 4))
        leaks.append(float(size[later].max(initial=0.0)))
        beyond.append(float(size[far].max(initial=0.0)))
        alive &= bool((size[~later & ~far] > 0).all() and np.isfinite(size).all())
    rows.each(7, "nothing looks ahead", case.name, leaks, 0.0)
    if case.reach is not None:
        rows.each(7, "nothing looks beyond the window", case.name, beyond, 0.0)
    rows.add(7, "everything looks back", case.name, alive)


def sequences(case: LayerCase, rows: Rows) -> None:
    """In evaluation no sequence of a batch depends on another."""
    twins, arrays = pair(case), case.arrays()
    leaks = []
    for twin in (twins.jax, twins.torch):
        size = np.abs(twin.jacobian(arrays, "x", **case.options)).max((1, 2, 4, 5))
        leaks.append(float(size[~np.eye(case.batch, dtype=bool)].max()))
    rows.each(7, "no sequence looks at another", case.name, leaks, 0.0)


def padding(case: LayerCase, rows: Rows) -> None:
    """Outputs at genuine positions (of a model: its logits) do not depend on inputs at padded ones."""
    twins, arrays = pair(case), case.arrays()
    wrt = "inputs" if isinstance(case, ModelCase) else "x"
    if isinstance(case, ModelCase):
        lengths = arrays["lengths"]
        assert lengths is not None
        genuine = np.arange(case.length) < lengths[:, None]
    else:
        genuine = arrays["mask"]
        assert genuine is not None
    leaks, alive = [], True
    for twin in (twins.jax, twins.torch):
        size = np.abs(twin.jacobian(arrays, wrt, training=case.training, **case.options))
        size = size.max((1, -1)) if isinstance(case, ModelCase) else size.max((2, -1))[genuine]
        leaks.append(float(size[:, ~genuine].max()))
        alive &= bool(size[:, genuine].any(0).all())
    rows.each(7, "nothing depends on padding", case.name, leaks, 0.0)
    rows.add(7, "every genuine position matters", case.name, alive)
