"""Rungs 0 to 7 for the Block-Recurrent Transformer, with and without feedback: every row of the ladder passes, and no
check is left out. Rung 2, attention, is climbed by the Transformer."""

import ladder
import pytest

ROOMS = ("block_recurrent", "block_recurrent_feedback")
RUNGS = {"block_recurrent": {0, 1, 3, 4, 5, 6, 7}, "block_recurrent_feedback": {0, 1, 3, 4, 6, 7}}
CHECKS = {
    "outputs",
    "outputs, rounding only",
    "gradients",
    "gradients, rounding only",
    "gradients finite, zero only where clipped",
    "gradients, oracle's finite differences",
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
@pytest.mark.parametrize("room", ROOMS)
def test_every_row(room):
    rows = ladder.rows(room)
    assert {row["rung"] for row in rows} == RUNGS[room]
    failed = [row for row in rows if not row["passed"]]
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_no_check_is_left_out(room):
    assert {row["check"] for row in ladder.rows(room)} >= CHECKS


@pytest.mark.slow
def test_the_recipe_is_run_to_its_end():
    assert "100 updates" in {row["check"] for row in ladder.rows("block_recurrent")}
