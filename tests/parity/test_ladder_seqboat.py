"""Rungs 0 to 7 for SeqBoat: every row of the ladder passes, and no check is left out."""

import ladder
import pytest

RUNGS = (0, 1, 2, 3, 4, 5, 6, 7)
CHECKS = {
    "routing",
    "outputs",
    "outputs, rounding only",
    "running statistics",
    "gradients",
    "gradients, rounding only",
    "gradients, oracle's finite differences",
    "an update is the optimizer's equation",
    "100 updates",
    "whole sequence = segments",
    "whole sequence = token by token",
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
@pytest.mark.parametrize("rung", RUNGS)
def test_rung(rung):
    rows = [row for row in ladder.rows("seqboat") if row["rung"] == rung]
    assert rows
    failed = [row for row in rows if not row["passed"]]
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.slow
def test_no_check_is_left_out():
    rows = ladder.rows("seqboat")
    assert {row["check"] for row in rows} >= CHECKS
    assert {row["dtype"] for row in rows} == {"float32", "float64"}
