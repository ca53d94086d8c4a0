"""Rungs 0 to 7 for SPADE, one layer and several: every row of the ladders passes, and no check is left out."""

import ladder
import pytest

LAYER = {
    "attention, chunks",
    "attention, window",
    "attention, chunks, rounding only",
    "outputs",
    "outputs, rounding only",
    "gradients",
    "gradients, rounding only",
    "gradients finite, zero only where clipped",
    "gradients, oracle's finite differences",
    "whole sequence = segments",
    "whole sequence = token by token",
    "nothing looks ahead",
    "nothing looks beyond the window",
    "everything looks back",
    "no sequence looks at another",
    "nothing depends on padding",
    "every genuine position matters",
}
STACK = {
    "outputs",
    "gradients",
    "100 updates",
    "whole sequence = token by token",
    "eager = compiled, over training steps",
    "compiled once, without a graph break",
    "padding, evaluation",
    "padding, training",
    "batch size",
    "everything looks back",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rung"),
    [("spade", rung) for rung in (0, 1, 2, 3, 4, 6, 7)] + [("spade_stack", rung) for rung in (0, 1, 3, 4, 5, 6, 7)],
)
def test_rung(name, rung):
    rows = [row for row in ladder.rows(name) if row["rung"] == rung]
    assert rows
    failed = [row for row in rows if not row["passed"]]
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "checks"), [("spade", LAYER), ("spade_stack", STACK)])
def test_no_check_is_left_out(name, checks):
    rows = ladder.rows(name)
    assert {row["check"] for row in rows} >= checks
    assert {row["dtype"] for row in rows} == {"float32", "float64"}
