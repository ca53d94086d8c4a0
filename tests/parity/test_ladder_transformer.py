"""Rungs 0 to 7 for the Transformer: every row of the ladder passes, and no check is left out."""

import ladder
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("rung", range(8))
def test_rung(rung):
    rows = [row for row in ladder.rows("transformer") if row["rung"] == rung]
    assert rows
    failed = [row for row in rows if not row["passed"]]
    assert not failed, "\n".join(map(str, failed))


CHECKS = {
    "attention, T5 buckets",
    "attention, clamped positions",
    "attention, full",
    "attention, window",
    "attention, naive window",
    "attention, flexible window",
    "attention, positions",
    "attention, window, rounding only",
    "outputs",
    "outputs, bfloat16 products",
    "outputs, rounding only",
    "gradients",
    "gradients, rounding only",
    "gradients finite, zero only where clipped",
    "gradients, oracle's finite differences",
    "100 updates",
    "whole sequence = segments",
    "whole sequence = token by token",
    "eager = compiled, over training steps",
    "compiled once, without a graph break",
    "padding, evaluation",
    "batch size",
    "nothing looks ahead",
    "nothing looks beyond the window",
    "everything looks back",
    "no sequence looks at another",
    "nothing depends on padding",
    "every genuine position matters",
}


@pytest.mark.slow
def test_no_check_is_left_out():
    assert {row["check"] for row in ladder.rows("transformer")} >= CHECKS
