"""Figures: drawn from a record's tables and curves, and from numbers only."""

import pytest
from report_records import make_record

from reports import figures, frames, pages, published

ROWS = [
    {"layer": 1, "mean": 0.25, "p05": 0.1, "p50": 0.2, "p95": 0.5, "sequences": 10},
    {"layer": 0, "mean": 0.75, "p05": 0.5, "p50": 0.7, "p95": 1.0, "sequences": 10},
]


def test_layers_are_drawn_in_order_in_percent():
    record = make_record(tables={"activation_rates": ROWS})
    points = frames.activation(record)
    assert points.to_numpy().tolist() == [[0, 75, 50, 100], [1, 25, 10, 50]]
    figure = figures.activation([record], "name")
    assert figure is not None
    assert "Means over the layers: JAX seed 0 50.0 %." in figure.alt
    assert "active tokens, %" in figure.svg


@pytest.mark.parametrize("row", [{}, {**ROWS[0], "mean": "half"}, {**ROWS[0], "p95": None}, {**ROWS[0], "layer": 1e99}])
def test_what_is_no_number_is_not_drawn(row):
    assert figures.activation([make_record(tables={"activation_rates": [row]})], "name") is None
    assert figures.activation([make_record()], "name") is None


@pytest.mark.parametrize("split", ["validation", "test"])
def test_without_a_validation_split_the_accuracy_on_the_test_split_is_drawn(split):
    curves = {"epoch": [1, 2], "test_accuracy": [0.3, 0.4], f"{split}_accuracy": [0.5, 0.6]}
    report = pages.Report.of([make_record(curves=curves)], published.shipped())
    drawn = figures.of_record(report.records[0], report.groups[0])
    (figure,) = (one for one in drawn if "accuracy" in one.name)
    assert f"{split} accuracy, %" in figure.svg
    assert f"Line chart, {split} accuracy per epoch. Last values: JAX seed 0 60 %." in figure.alt
    assert ("There is no validation split." in figure.caption) == (split == "test")


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_program_that_was_only_compiled_hides_no_difference_of_the_twins(name):
    """It has the seed of the run in JAX, and no losses."""
    compiled = make_record(status="compiled", hardware="tpu-v4", id=name)
    (group,) = pages.Report.of([make_record(), make_record("torch"), compiled], published.shipped()).groups
    assert list(frames.twin_difference(group)) == [0]
