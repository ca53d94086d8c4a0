"""ListOps by the operator at the root: what the draw of 2,000 sequences does to an accuracy."""

from pathlib import Path

import numpy as np

from suite.data.listops import MAX, MED, MIN, SM
from suite.data.prepared import Split
from suite.tasks import listops_by_operator as by_operator

MEASURED = Path(__file__).parents[2] / "reports" / "measured"


def test_shares_and_accuracies_are_those_of_the_roots():
    tokens = np.array([MIN, 5, MIN, 5, MAX, 5, SM, 5, MED, 5], np.uint8)
    split = Split(tokens, np.arange(0, 12, 2), np.zeros(5, np.int32), 2)
    np.testing.assert_allclose(by_operator.shares(split), [0.4, 0.2, 0.2, 0.2])
    right = np.array([True, False, True, False, True])
    np.testing.assert_allclose(by_operator.by_root(right, split), [0.5, 1.0, 1.0, 0.0])


def test_the_deviation_of_a_draw_is_that_of_simulated_draws():
    accuracy, count = np.array([0.9, 0.9, 0.5, 0.1]), 200
    drawn = np.random.default_rng(0)
    root = drawn.integers(0, 4, (20_000, count))
    roots_alone, total = by_operator.deviation_of_draw(accuracy, count)
    assert abs(accuracy[root].mean(1).std() / roots_alone - 1) < 0.02
    right = drawn.random(root.shape) < accuracy[root]
    assert abs(right.mean(1).std() / total - 1) < 0.02


def test_the_roots_explain_why_the_measured_runs_do_better_on_validation(tmp_path, capsys):
    assert by_operator.main([str(MEASURED), "--data", str(tmp_path)]) == 0
    found = capsys.readouterr().out
    assert "0439af6ff8aa" in found
    assert "validation is +1.34 points from test" in found


def test_a_folder_without_records_is_one_sentence(tmp_path, capsys):
    assert by_operator.main([str(tmp_path / "nothing"), "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("error:") == 1
