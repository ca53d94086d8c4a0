"""The authors' own S5 code trained on the data of this project: what that data allows, apart from our code.

    git clone https://github.com/lindermanlab/S5 && git -C S5 checkout 3c18fdb
    python -m suite.tasks.authors_s5_training --authors S5 --task lra.listops --data data --out runs --time-limit 500

Model, initial values, optimizer, update and evaluation are theirs (`s5/train_helpers.py`); the batches and their order
are those of our cells with the same seed; their dropout is another draw. Stopped by the time limit, it leaves a record
of the epochs so far, `not finished`, and goes on with the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from reports.atomic import write_bytes
from reports.records import Cell, Record, write
from suite import provenance
from suite.data import open_dataset
from suite.data.batches import evaluation_batches, indices
from suite.hardware import detect
from suite.recipes.base import Recipe
from suite.recipes.s5 import lra_image, lra_listops, lra_pathfinder, lra_pathx
from suite.tasks.authors_s5 import REVISION, TOKENS, authors_training, opt_config

EVALUATION_BATCH = 50
RECIPES = {f"lra.{f.__name__.removeprefix('lra_')}": f for f in (lra_listops, lra_image, lra_pathfinder, lra_pathx)}


class Run:
    """Their training state, our batches, and the curves so far."""

    def __init__(self, checkout: Path, recipe: Recipe, data: Any, seed: int, folder: Path) -> None:
        import jax

        self.recipe, self.data, self.seed, self.folder = recipe, data, seed, folder
        self.helpers, model, self.state = authors_training(
            checkout, recipe, recipe.batch_size, data.train.maximum_length, seed
        )
        self.training, self.evaluating = model(training=True), model(training=False)
        self.key = jax.random.PRNGKey(seed + 1)
        self.step, self.epochs, self.seconds = 0, [], 0.0
        self.losses: list[Any] = []

    def _device(self, batch: Any) -> tuple[Any, Any, Any]:
        """A batch as their `prep_batch` makes it: tokens with their lengths, or values."""
        import jax
        import jax.numpy as jnp

        if self.recipe.model.input_kind == "tokens":
            inputs = jax.nn.one_hot(jnp.asarray(batch.inputs), TOKENS), jnp.asarray(batch.lengths).astype(float)
        else:
            inputs = jnp.asarray(batch.inputs)
        return inputs, jnp.asarray(batch.labels).astype(float), jnp.ones(batch.inputs.shape[:2])

    def update(self) -> None:
        """One of their updates, and the change of rates that they make after it."""
        import jax

        recipe, train = self.recipe, self.data.train
        inputs, labels, times = self._device(train.batch(indices(train.count, recipe.batch_size, self.seed, self.step)))
        drop = jax.random.fold_in(self.key, self.step)
        self.state, loss = self.helpers.train_step(self.state, drop, inputs, labels, times, self.training, True)
        self.losses.append(loss)
        warm_up = self.step < recipe.steps_per_epoch
        rule = self.helpers.linear_warmup if warm_up else self.helpers.cosine_annealing
        end = recipe.steps_per_epoch * (1 if warm_up else recipe.epochs - 1)
        groups = recipe.optimizer.groups
        rates = (rule, groups["ssm"].rate, groups["regular"].rate, self.step, end, opt_config(recipe), 0.0)
        self.state, self.step = self.helpers.update_learning_rate_per_step(rates, self.state)

    def accuracy(self, split: Any) -> float:
        """Their accuracy over all examples of a split."""
        right = []
        for chosen in evaluation_batches(split.count, EVALUATION_BATCH):
            inputs, labels, times = self._device(split.batch(chosen))
            _, correct, _ = self.helpers.eval_step(inputs, labels, times, self.state, self.evaluating, True)
            right.append(np.asarray(correct))
        return float(np.concatenate(right).mean())

    def end_epoch(self) -> None:
        """Evaluate and note the epoch."""
        self.epochs.append(
            {
                "epoch": len(self.epochs) + 1,
                "train_loss": float(np.mean([float(loss) for loss in self.losses])),
                "validation_accuracy": self.accuracy(self.data.validation),
                "test_accuracy": self.accuracy(self.data.test),
            }
        )
        self.losses = []
        print(self.epochs[-1], f"{self.seconds:.0f} s", flush=True)

    def save(self) -> None:
        """Write the state, then what belongs to it; a kill in between leaves the older pair."""
        from flax import serialization

        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {"params": self.state.params, "statistics": self.state.batch_stats, "optimizer": self.state.opt_state}
        name = f"state-{self.step}.msgpack"
        write_bytes(self.folder / name, serialization.to_bytes(kept))
        losses = [float(loss) for loss in self.losses]
        text = json.dumps(
            {"state": name, "step": self.step, "epochs": self.epochs, "losses": losses, "seconds": self.seconds}
        )
        write_bytes(self.folder / "run.json", text.encode())
        for old in self.folder.glob("state-*.msgpack"):
            if old.name != name:
                old.unlink()

    def resume(self) -> None:
        """Go on from the saved state, where there is one."""
        from flax import serialization

        if not (self.folder / "run.json").exists():
            return
        saved = json.loads((self.folder / "run.json").read_text())
        kept = {"params": self.state.params, "statistics": self.state.batch_stats, "optimizer": self.state.opt_state}
        kept = serialization.from_bytes(kept, (self.folder / saved["state"]).read_bytes())
        self.state = self.state.replace(
            params=kept["params"], batch_stats=kept["statistics"], opt_state=kept["optimizer"], step=saved["step"]
        )
        self.step, self.epochs, self.losses = saved["step"], saved["epochs"], saved["losses"]
        self.seconds = saved["seconds"]
        print(f"resumed at update {self.step}", flush=True)


def record(run: Run, recipe: Recipe, hardware: str, command: str) -> Record:
    """The run as a record of its own kind, which enters no table of our results; before its last update it is `not
    finished`."""
    left = run.step < recipe.total_steps
    reason = f"stopped by the time limit at update {run.step} of {recipe.total_steps}" if left else ""
    best, task = max(run.epochs, key=lambda epoch: epoch["validation_accuracy"]), recipe.data.name.removeprefix("lra_")
    cell = Cell(
        id=f"authors-s5-{task}-seed{run.seed}", benchmark="authors", task=f"authors.s5_{task}", architecture="s5",
        framework="jax", seed=run.seed, profile="paper", hardware=hardware,
    )  # fmt: skip
    protocol = {
        "name": f"the authors' code ({REVISION}) on the data {recipe.data.name} of this project",
        "metric": "accuracy_of_authors",
        "selection": "best validation accuracy",
        "batches": "those of our cells with the same seed",
    }
    summary = {"selected_epoch": best["epoch"], **{name: best[name] for name in best if name != "epoch"}}
    return Record(
        cell=cell, status="not finished" if left else "measured", reason=reason,
        recipe=recipe.to_dict(), protocol=protocol,
        tables={"selected": [summary], "epochs": run.epochs}, timing={"total_seconds": run.seconds},
        provenance=provenance.collect([]) | {"command": command, "data": run.data.hashes},
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The command line; exit status 3 where the time limit came first."""
    parser = argparse.ArgumentParser(
        prog="python -m suite.tasks.authors_s5_training", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--authors", type=Path, required=True, help=f"a checkout of {REVISION}")
    parser.add_argument("--task", default="lra.listops", choices=RECIPES, help="whose recipe and data")
    parser.add_argument("--data", type=Path, help="data folder")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="runs folder that takes the record")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hardware", default="auto", help="name of the hardware profile in the record")
    parser.add_argument("--time-limit", type=float, help="seconds after which to save and stop")
    parser.add_argument("--profile", default="paper", choices=["smoke", "small", "paper"], help="whose data and epochs")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        hardware = detect.attached(options.hardware)
    except detect.HardwareError as error:
        print(error, file=sys.stderr)
        return 2
    recipe = RECIPES[options.task](options.profile)
    data = open_dataset(recipe.data.name, options.data, **recipe.data.settings)
    folder = options.out / "checkpoints" / f"authors-s5-{options.task}-{options.seed}"
    run = Run(options.authors, recipe, data, options.seed, folder)
    run.resume()
    before = run.seconds
    command = (
        f"python -m suite.tasks.authors_s5_training --authors S5 --task {options.task} --seed {options.seed} "
        f"--profile {options.profile}"
    )
    while run.step < recipe.total_steps:
        run.update()
        if run.step % recipe.steps_per_epoch == 0:
            run.end_epoch()
        if run.step % 100 == 0:
            float(run.losses[-1]) if run.losses else None  # keeps the queue of the device short
            run.seconds = before + time.monotonic() - start
            if options.time_limit is not None and time.monotonic() - start > options.time_limit:
                run.save()
                if run.epochs:
                    print(write(record(run, recipe, hardware, command), options.out))
                print(f"stopped by the time limit at update {run.step} of {recipe.total_steps}: run it again to go on")
                return 3
    run.seconds = before + time.monotonic() - start
    print(write(record(run, recipe, hardware, command), options.out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
