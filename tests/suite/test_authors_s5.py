"""The comparison of training steps: what can be held without the authors' checkout and without a GPU."""

import argparse

import numpy as np
import pytest

from reports import records
from suite.recipes.s5 import lra_listops, lra_pathfinder, lra_pathx
from suite.tasks import authors_s5


def test_batch_has_the_lengths_of_listops():
    batch = authors_s5.random_batch(6, length=2048)
    assert batch.inputs.shape == (6, 2048)
    assert batch.lengths.min() >= 512
    assert batch.lengths.max() <= 2001
    genuine = np.arange(2048) < batch.lengths[:, None]
    assert (batch.inputs[genuine] >= 3).all()
    assert not batch.inputs[~genuine].any()


def test_the_groups_of_a_recipe_have_the_name_that_its_script_gives():
    named = {recipe.__name__: authors_s5.opt_config(recipe()) for recipe in (lra_listops, lra_pathfinder, lra_pathx)}
    assert named == {"lra_listops": "BfastandCdecay", "lra_pathfinder": "standard", "lra_pathx": "BandCdecay"}


def test_contenders_take_turns_and_every_block_waits():
    calls: list[str] = []

    def contender(name: str) -> authors_s5.Contender:
        return authors_s5.Contender(name, "none", "", lambda: calls.append(name), lambda: calls.append(name.upper()))

    seconds, first = authors_s5.interleaved([contender("a"), contender("b")], rounds=2, steps=3)
    assert "".join(calls) == "aAaaaaaA" + "bBbbbbbB" + 2 * ("aaaA" + "bbbB")
    assert [len(own) for own in seconds] == [2, 2]
    assert all(value >= 0 for value in [*first, *seconds[0], *seconds[1]])


def test_rows_are_ratios_within_a_round():
    contender = authors_s5.Contender("x", "none", "", lambda: None, lambda: None)
    table = authors_s5.rows([contender, contender], [[1.0, 2.0, 4.0], [0.5, 1.0, 1.0]], [9.0, 8.0])
    assert [row["ratio_to_authors"] for row in table] == [1.0, 0.5]
    assert [row["step_ms_p50"] for row in table] == [2000.0, 1000.0]
    assert [row["first_step_s"] for row in table] == [9.0, 8.0]


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_our_contender_trains(framework):
    recipe, batch = lra_listops("smoke"), authors_s5.random_batch(2, length=192)
    contender = authors_s5.ours(framework, recipe, batch, "cpu")
    first, second = (float(np.asarray(contender.step())) for _ in range(2))
    contender.wait()
    assert np.isfinite([first, second]).all()
    assert first != second


def test_record_is_valid_and_goes_into_a_report(tmp_path):
    options = argparse.Namespace(rounds=2, steps=3)
    table = [{"implementation": "authors", "step_ms_p50": 1.0}]
    path = records.write(authors_s5.record(table, lra_listops("paper"), options, "cpu"), tmp_path)
    assert records.read(path).tables["train_step"] == table


def test_missing_checkout_and_absent_hardware_are_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit, match="lindermanlab/S5@3c18fdb"):
        authors_s5.main(["--authors", str(tmp_path), "--hardware", "cpu"])
    assert authors_s5.main(["--authors", str(tmp_path), "--hardware", "tpu-v4"]) == 2
    assert "tpu-v4" in capsys.readouterr().err
