"""Rungs 0 to 7 for S5: every row of the ladder passes, and the ladder has every rung."""

import ladder
import pytest

RUNGS = {
    0: "paths, shapes and dtypes",
    1: "initial values",
    2: "operations against the oracle",
    3: "outputs",
    4: "gradients",
    5: "optimizer",
    6: "modes",
    7: "causality",
}


@pytest.mark.slow
@pytest.mark.parametrize("rung", RUNGS, ids=[f"{rung}-{name.replace(' ', '-')}" for rung, name in RUNGS.items()])
def test_rung(rung):
    rows = [row for row in ladder.rows("s5") if row["rung"] == rung]
    assert rows
    failed = [row for row in rows if not row["passed"]]
    assert not failed, "\n".join(map(str, failed))


CHECKS = {
    "scan, associative",
    "scan, chunked",
    "scan, convolution",
    "scan, varying",
    "outputs",
    "outputs, rounding only",
    "running statistics",
    "gradients",
    "gradients, rounding only",
    "gradients finite, zero only where clipped",
    "gradients, oracle's finite differences",
    "an update is the optimizer's equation",
    "1 update",
    "10 updates",
    "100 updates",
    "whole sequence = segments",
    "whole sequence = token by token",
    "associative = chunked = convolution",
    "eager = compiled, over training steps",
    "compiled once, without a graph break",
    "padding, evaluation",
    "padding, training",
    "batch size",
    "nothing looks ahead",
    "everything looks back",
    "no sequence looks at another",
    "nothing depends on padding",
    "every genuine position matters",
}


@pytest.mark.slow
def test_no_check_is_left_out():
    rows = ladder.rows("s5")
    assert {row["check"] for row in rows} >= CHECKS
    assert {row["dtype"] for row in rows} == {"float32", "float64"}
    fields = {"rung", "check", "case", "dtype", "error_jax", "error_torch", "error_between", "tolerance", "passed"}
    assert all(row.keys() == fields for row in rows)
    compared = [row for row in rows if row["tolerance"] is not None]
    assert len(compared) > 200
    assert all(row["error_jax"] is not None or row["error_between"] is not None for row in compared)


def test_unknown_architectures_are_named():
    from implementations.catalog import UnknownName
    from suite.tasks.equivalence import run

    with pytest.raises(UnknownName, match="unknown architecture 's6': did you mean 's5'"):
        run("s6")
