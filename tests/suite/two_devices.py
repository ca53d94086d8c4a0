"""Three updates on one device and on two, in a process of its own: `python two_devices.py FRAMEWORK FILE.npz KIND`.

The file holds, as `{case}.{devices}.{name}`, the losses, the state after the updates, and what the model then makes of
a batch. `language_texts.py` beside this file has the language model.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import language_texts
import numpy as np

from implementations.models.config import DualEncoderConfig
from suite.data import Batch
from suite.recipes.base import Recipe, apply_overrides
from suite.recipes.s5 import lra_retrieval
from suite.training.language.loop import training_batches

SMALL = (
    *("model.depth=1", "model.layer.d_model=8", "model.layer.ssm_size=8", "model.layer.blocks=2"),
    *("model.layer.bidirectional=false", "model.layer.dropout=0.3"),
    *("batch_size=4", "evaluation_batch_size=4", "optimizer.clip_norm=0.5"),
)
ROWS = 4
STEPS = 3


def recipes() -> dict[str, Recipe]:
    """A classifier of pairs with batch norm over genuine positions, and a language model that carries states."""
    layer = language_texts.S5.replace(dropout=0.2)
    return {
        "classifier": apply_overrides(lra_retrieval("smoke"), [*SMALL, "model.layer.mask_padding=true"]),
        "language": language_texts.recipe(layer, batch_size=ROWS, evaluation_batch_size=ROWS),
    }


def batch(recipe: Recipe, step: int) -> Any:
    """A batch of an update; the rows of the two halves have different numbers of genuine positions."""
    rng = np.random.default_rng(step)
    if recipe.language is not None:
        found = training_batches(recipe, language_texts.text().train, 3).batch(step)
        found.mask[0, 1:] = False
        return found
    documents = 2 if isinstance(recipe.model, DualEncoderConfig) else 1
    lengths = rng.integers(5, 9, documents * ROWS).astype(np.int32)
    lengths[0] = 3
    inputs = rng.integers(1, 18, (documents * ROWS, 8)).astype(np.uint8)
    inputs[np.arange(8) >= lengths[:, None]] = 0
    return Batch(inputs, lengths, rng.integers(0, recipe.model.classes, ROWS).astype(np.int32))


def backend(framework: str, recipe: Recipe, kind: str, devices: int) -> Any:
    """As a cell makes it."""
    place = "language." if recipe.language is not None else ""
    place = "parallel." if framework == "torch" and devices > 1 else place
    return importlib.import_module(f"suite.training.{place}{framework}").Backend(recipe, 0, kind, devices=devices)


def trained(framework: str, recipe: Recipe, kind: str, devices: int) -> dict[str, np.ndarray]:
    """Losses, the state after the updates, and an evaluation from there; the last update is of a state put back."""
    made = backend(framework, recipe, kind, devices)
    steps = [(batch(recipe, step), recipe.optimizer.rates(step + 3), 7 * step + 1) for step in range(STEPS)]
    if framework == "jax" and devices > 1:
        compare_ahead_of_time(made, recipe, steps[0])
    losses = made.losses([made.train_step(*step) for step in steps])
    state = made.state()
    if recipe.language is not None:
        made.begin_evaluation()
    evaluated = made.evaluate(steps[0][0])
    made.load_state(state)
    again = made.losses([made.train_step(*steps[0])])
    assert made.describe()["devices"] == devices
    if framework == "torch" and devices > 1:
        lose_a_device(made, steps[0])
    return {"losses": np.concatenate([losses, again]), "evaluated": evaluated, **state}


def compare_ahead_of_time(made: Any, recipe: Recipe, step: tuple) -> None:
    """Hold that the program compiled for devices that are not here is the one that these run."""
    from suite.hardware.jax import Compiler

    compiler, train, seen = Compiler("tpu-v4", devices=made.devices), made._train, []

    def lower(*given: Any) -> Any:
        seen.append(train.lower(*given))
        return train(*given)

    state = made.state()
    made._train = lower
    made.train_step(*step)
    made._train = train
    made.load_state(state)
    lowered = compiler.training(recipe).step(step[0].inputs.shape[1])
    ahead, here = (without_arguments(one.as_text()) for one in (lowered, seen[0]))
    assert ahead == here
    assert "num_partitions = 2" in ahead[0], ahead[0]
    row = compiler.compiled(lowered)
    assert row["collectives"]["all-reduce"] > 0, row


def without_arguments(text: str) -> list[str]:
    """The lines of a program, of that which begins @main only where its results lie."""
    lines = text.splitlines()
    return [line.rpartition(" -> ")[2] if " @main(" in line else line for line in lines]


def lose_a_device(made: Any, step: tuple) -> None:
    """Kill the process of a device and print what the next updates end in."""
    made._processes[0].kill()
    try:
        made.losses([made.train_step(*step)])
    except RuntimeError as error:
        print(type(error).__name__, error)
    made.close()


if __name__ == "__main__":
    results = {
        f"{case}.{devices}.{name}": array
        for case, recipe in recipes().items()
        if (sys.argv[1], case) != ("torch", "language")  # whole cells of it are a test of their own
        for devices in (1, 2)
        for name, array in trained(sys.argv[1], recipe, sys.argv[3], devices).items()
    }
    np.savez(Path(sys.argv[2]), **results)
