"""The training loop with a backend of its own: what is seen, evaluated, selected, saved and stopped when."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny_runs

from suite.data import open_dataset
from suite.data.batches import indices
from suite.recipes.base import Recipe
from suite.training import loop
from suite.training.checkpoint import CheckpointError, CheckpointStore
from suite.training.loop import Controls, Diverged, Stopped, dropout_seed, train


class Counting:
    """A backend that counts: the loss of update k is k + 0.5 / (1 + rate), the logits depend on the step only."""

    def __init__(self, diverge_at: int | None = None, wrong_until: int = 0) -> None:
        self.step, self.diverge_at, self.wrong_until = 0, diverge_at, wrong_until
        self.seen: list[tuple[int, int, dict[str, float]]] = []
        self.evaluated: list[int] = []

    def train_step(self, batch: Any, rates: dict[str, float], seed: int) -> float:
        self.seen.append((int(batch.inputs.astype(np.int64).sum()), seed, dict(rates)))
        self.step += 1
        return float("nan") if self.step - 1 == self.diverge_at else self.step - 1 + 0.5 / (1 + rates["regular"])

    def losses(self, handles: list[float]) -> np.ndarray:
        return np.array(handles)

    def evaluate(self, batch: Any) -> np.ndarray:
        self.evaluated.append(len(batch.labels))
        right = np.eye(10)[batch.labels] * 3.0
        if self.step < self.wrong_until:
            right[1:] = np.roll(right[1:], 1, axis=1)
        return right.astype(np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {"step": np.array(self.step)}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        self.step = int(state["step"])

    def synchronize(self) -> None: ...

    def peak_memory(self) -> int | None:
        return 1000 + self.step


@pytest.fixture
def setting(tmp_path):
    """Recipe, data, store and the lines said, as one namespace."""
    recipe = tiny_runs.cell("torch").recipe
    assert recipe is not None
    data = open_dataset(recipe.data.name, tmp_path / "data", **recipe.data.settings)
    lines: list[str] = []
    store = CheckpointStore(tmp_path / "cell", lines.append)
    return SimpleNamespace(recipe=recipe, data=data, store=store, lines=lines)


def go(setting, backend=None, recipe: Recipe | None = None, **controls) -> tuple[loop.Run, Counting]:
    backend = backend or Counting()
    chosen = Controls(say=setting.lines.append, **controls)
    return train(recipe or setting.recipe, setting.data, backend, 3, setting.store, chosen), backend


def test_every_update_sees_its_batch_rate_and_dropout_seed(setting):
    run, backend = go(setting)
    assert len(backend.seen) == 30
    for step, (total, seed, rates) in enumerate(backend.seen):
        batch = setting.data.train.batch(indices(40, 4, 3, step))
        assert total == batch.inputs.astype(np.int64).sum()
        assert seed == dropout_seed(3, step)
        assert rates == setting.recipe.optimizer.rates(step)
    assert len({seed for _, seed, _ in backend.seen}) == 30
    assert [int(loss) for loss in run.losses[1:]] == list(range(1, 30))
    assert dropout_seed(4, 0) != dropout_seed(3, 0)
    assert all(0 <= dropout_seed(0, step) < 2**32 for step in range(100))


def test_evaluation_covers_every_example_in_batches_of_one_shape(setting):
    run, backend = go(setting)
    assert backend.evaluated == [4] * (3 + 3) * 3
    rows = run.epochs
    assert [row["epoch_step"] for row in rows] == [10, 20, 30]
    assert rows[0]["test_accuracy"] == rows[0]["validation_accuracy"] == 1.0
    expected = -np.log(np.exp(3) / (np.exp(3) + 9))
    assert rows[0]["test_loss"] == pytest.approx(expected)
    assert rows[1]["train_loss"] == pytest.approx(np.mean(run.losses[10:20]))
    assert run.predictions is not None
    np.testing.assert_array_equal(run.predictions, setting.data.test.labels)


def test_the_remainder_counts_once(setting):
    """Ten examples in batches of four: the first of each batch is right, the filling must not be counted."""
    run, _ = go(setting, Counting(wrong_until=100))
    assert run.epochs[0]["test_accuracy"] == pytest.approx(3 / 10)


@pytest.mark.parametrize(
    ("selection", "wrong_until", "selected"),
    [
        ("best validation accuracy", 0, 0),
        ("best validation accuracy", 15, 1),
        ("best test accuracy", 25, 2),
        ("last epoch", 0, 2),
    ],
)
def test_selection_takes_the_first_best_epoch_or_the_last(setting, selection, wrong_until, selected):
    recipe = setting.recipe.replace(selection=selection)
    run, _ = go(setting, Counting(wrong_until=wrong_until), recipe)
    assert run.selected == selected


def test_without_validation_examples_only_the_test_split_is_looked_at(setting):
    empty = dataclasses.replace(
        setting.data.validation, labels=setting.data.validation.labels[:0], offsets=setting.data.validation.offsets[:1]
    )
    parts = {"train": setting.data.train, "validation": empty, "test": setting.data.test}
    data = SimpleNamespace(**parts, protocol=setting.data.protocol)
    setting.data = data
    run, backend = go(setting, recipe=setting.recipe.replace(selection="best test accuracy"))
    assert backend.evaluated == [4] * 3 * 3
    assert "validation_accuracy" not in run.epochs[0]


def test_another_sampling_rate_is_read_with_longer_steps_and_selects_nothing(setting):
    seen: set[tuple[int, float]] = set()

    class Rated(Counting):
        def evaluate(self, batch: Any, step_rescale: float = 1.0) -> np.ndarray:
            seen.add((batch.inputs.shape[1], step_rescale))
            right = super().evaluate(batch)
            return np.roll(right, 1, axis=1) if step_rescale > 1 else right

    run, _ = go(setting, Rated(), setting.recipe.replace(resampling=4))
    length = setting.data.test.maximum_length
    assert seen == {(length, 1.0), (length // 4, 4.0)}
    assert (run.epochs[0]["resampled_test_accuracy"], run.epochs[0]["test_accuracy"]) == (0.0, 1.0)
    np.testing.assert_array_equal(run.predictions, setting.data.test.labels)


@pytest.mark.parametrize("step", [0, 13, 29])
def test_divergence_names_the_update(setting, step):
    with pytest.raises(Diverged, match=f"diverged at step {step}: the loss is nan"):
        go(setting, Counting(diverge_at=step))


def test_a_checkpoint_of_other_data_is_refused(setting):
    with pytest.raises(Stopped):
        go(setting, last_step=12)
    parts = {name: getattr(setting.data, name) for name in ("train", "validation", "test", "protocol")}
    setting.data = SimpleNamespace(**parts, digest="0" * 64)
    with pytest.raises(CheckpointError, match=r"is of other data .*, here 0000000000000000.*--no-resume"):
        go(setting)


def test_a_stop_writes_a_checkpoint_and_the_next_run_goes_on(setting):
    straight, _ = go(setting)
    setting.store.clear()
    calls = iter([None, None, "asked to"])
    with pytest.raises(Stopped, match=r"asked to at step \d+ of 30; a checkpoint is written"):
        go(setting, stop=lambda: next(calls))
    assert setting.store.load() is not None
    run, backend = go(setting)
    assert 0 < len(backend.seen) < 30
    assert (run.losses, run.epochs, run.selected) == (straight.losses, straight.epochs, straight.selected)
    assert (run.starts, straight.starts) == (2, 1)
    assert any(line.startswith("resumed from the checkpoint at step") for line in setting.lines)


def test_a_stop_during_evaluation_repeats_the_evaluation(setting):
    backend = Counting()
    with pytest.raises(Stopped, match="at step 10 of 30") as stopped:
        go(setting, backend, stop=lambda: "now" if len(backend.evaluated) == 2 else None)
    assert stopped.value.run is None, "nothing was evaluated"
    run, again = go(setting)
    assert again.evaluated == [4] * 6 * 3
    assert len(run.epochs) == 3


def test_a_stop_after_an_evaluation_tells_what_was_reached(setting):
    with pytest.raises(Stopped, match="at step 12 of 30") as stopped:
        go(setting, last_step=12)
    reached = stopped.value.run
    assert reached is not None
    assert (reached.step, len(reached.losses), len(reached.epochs), reached.selected) == (12, 12, 1, 0)


def test_checkpoints_by_step_and_by_time(setting, monkeypatch):
    steps: list[int] = []
    monkeypatch.setattr(setting.store, "save", lambda arrays, values: steps.append(values["step"]))
    go(setting, checkpoint_steps=4)
    assert steps == [4, 8, 10, 12, 16, 20, 20, 24, 28, 30]
    steps.clear()
    go(setting, checkpoint_seconds=1e9)
    assert steps == [10, 20, 30]
    steps.clear()
    go(setting, checkpoint_seconds=0.0)
    assert len(steps) > 6


def test_blocks_are_short_enough_to_stop_and_change_nothing(setting, monkeypatch):
    monkeypatch.setattr(loop, "BLOCK_STEPS", 3)
    short, _ = go(setting)
    assert max(short.block_steps) == 3
    assert sum(short.block_steps) == 29
    setting.store.clear()
    monkeypatch.setattr(loop, "BLOCK_STEPS", 50)
    long, _ = go(setting)
    assert max(long.block_steps) > 3
    assert (long.losses, long.epochs) == (short.losses, short.epochs)
    assert long.peak_memory == 1030
