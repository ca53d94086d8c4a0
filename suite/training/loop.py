"""The training loop, without a framework: what is trained on, when it is evaluated, selected, timed and saved.

`Loop` is what all runs share; `Classification` is the loop of labelled examples, and that of language models is
`suite/training/language/loop.py`. Batches are a pure function of (seed, step), so is the dropout seed, and a checkpoint
holds everything else; a run that is killed and started again ends in the same numbers.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import time
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import numpy as np
from jaxtyping import Float, Int

from implementations.common.config import ConfigError
from suite.data import Batch, Prepared, Split
from suite.data.batches import evaluation_batches, indices
from suite.recipes.base import Recipe
from suite.training.checkpoint import CheckpointError, CheckpointStore
from suite.training.measures import Found, measure

BLOCK_STEPS = 50
"""Updates between two synchronisations with the device, at most."""
BLOCK_SECONDS = 2.0
"""Time between two synchronisations, about: a stop is answered that soon."""
REASON = "cell failed: "
"""How the last line of a log begins that holds the reason of a failure."""


class Diverged(RuntimeError):
    """The loss is no longer a number; the message names the update."""


class Stopped(RuntimeError):
    """The run was asked to stop before its end and has written a checkpoint; the message says by whom.

    `run` is what a training had reached, where something was evaluated.
    """

    def __init__(self, message: str, run: Run | None = None) -> None:
        super().__init__(message)
        self.run = run


class Backend(Protocol):
    """What the loop asks of `suite/training/{jax,torch}.py`; `evaluate` gives logits (B, C) there."""

    def train_step(self, batch: Any, rates: dict[str, float], dropout_seed: int) -> Any: ...
    def losses(self, handles: list[Any]) -> Float[np.ndarray, " n"]: ...
    def evaluate(self, batch: Any, step_rescale: float = 1.0) -> Float[np.ndarray, "B C"]: ...
    def state(self) -> dict[str, np.ndarray]: ...
    def load_state(self, state: dict[str, np.ndarray]) -> None: ...
    def synchronize(self) -> None: ...
    def peak_memory(self) -> int | None: ...


@dataclasses.dataclass
class Run:
    """How far a run is: everything that a checkpoint holds beside the backend's state.

    `predictions` (classes), `positions` and `lengths` (what a language model lost by position and at other lengths)
    are those of the selected epoch.
    """

    step: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)
    epochs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    selected: int | None = None
    predictions: Int[np.ndarray, " n"] | None = None
    positions: Float[np.ndarray, "bins 2"] | None = None
    lengths: Float[np.ndarray, " lengths"] | None = None
    compile_seconds: float = 0.0
    block_seconds: list[float] = dataclasses.field(default_factory=list)
    block_steps: list[int] = dataclasses.field(default_factory=list)
    evaluation_seconds: float = 0.0
    total_seconds: float = 0.0
    energy_joules: float | None = 0.0
    started: str = ""
    starts: int = 0
    peak_memory: int | None = None


@dataclasses.dataclass(frozen=True)
class Controls:
    """Everything about a run that changes none of its numbers.

    `stop` gives a reason as soon as the run shall end; `say` takes a line for the log; `show` takes the progress;
    checkpoints are written every `checkpoint_seconds`, every `checkpoint_steps` updates and at the end of an epoch.
    After `last_step` updates the run ends with a checkpoint, if its recipe has more of them. `energy` gives the joules
    that the hardware has used since it was first asked, None where nothing counts them.
    """

    stop: Callable[[], str | None] = lambda: None
    say: Callable[[str], None] = print
    show: Callable[[dict[str, Any]], None] = lambda progress: None
    checkpoint_seconds: float = 60.0
    checkpoint_steps: int | None = None
    last_step: int | None = None
    energy: Callable[[], float | None] = lambda: None


def dropout_seed(seed: int, step: int) -> int:
    """32 bits that depend on the seed and the step only."""
    return int.from_bytes(hashlib.sha256(f"dropout/{seed}/{step}".encode()).digest()[:4], "little")


def resampled(batch: Batch, every: int) -> Batch:
    """A batch of every `every`-th position, from the first on, without a filter (S4 and S5: `X[:, ::sr]`)."""
    if every == 1:
        return batch
    return Batch(batch.inputs[:, ::every], (batch.lengths + every - 1) // every, batch.labels)


def check_vocabulary(recipe: Recipe, least: int) -> None:
    """Raise ConfigError unless a model that reads tokens has all of the data's `least`; others it would not see."""
    found = recipe.model.input_size
    if recipe.model.input_kind == "tokens" and found < least:
        raise ConfigError(
            f"Recipe.model.input_size is {found}: expected at least {least}, the vocabulary of {recipe.data.name}; set "
            f"it with --set model.input_size={least}"
        )


def train(
    recipe: Recipe, data: Prepared, backend: Backend, seed: int, store: CheckpointStore, controls: Controls
) -> Run:
    """Train to the end of the recipe from wherever the checkpoint is; raises Diverged and Stopped."""
    return Classification(recipe, data, backend, seed, store, controls).run_to_end()


class Loop:
    """Updates, evaluations, checkpoints and stops of any run; a subclass says what a batch is and what is evaluated."""

    def __init__(
        self, recipe: Recipe, data: Any, backend: Any, seed: int, store: CheckpointStore, controls: Controls
    ) -> None:
        self.recipe, self.data, self.backend = recipe, data, backend
        check_vocabulary(recipe, self.vocabulary())
        self.data_digest: str = getattr(data, "digest", "")
        self.seed, self.store, self.controls = seed, store, controls
        self.run = Run()
        self.first_step = True
        self.clock = self.saved_at = time.perf_counter()
        self.energy = controls.energy()

    def vocabulary(self) -> int:
        """How many tokens the data know: no token is that large, padding counted; 0 where they do not say."""
        facts = self.data.protocol
        return facts.get("vocabulary_size") or len(facts.get("vocabulary", ()))

    def batch(self, step: int) -> Any:
        """The batch of an update, a pure function of seed and step."""
        raise NotImplementedError

    def evaluate(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Write an epoch's numbers into its row; gives the arrays to keep where the epoch is selected, else None."""
        raise NotImplementedError

    def run_to_end(self) -> Run:
        """Train from wherever the checkpoint is; raises Diverged and Stopped."""
        recipe, run = self.recipe, self._restore()
        run.starts += 1
        run.started = run.started or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        while len(run.epochs) < recipe.epochs:
            epoch_end = (len(run.epochs) + 1) * recipe.steps_per_epoch
            while run.step < epoch_end:
                self._stop_after_last_step()
                self._block(epoch_end)
                self._stop_if_asked()
                self._save_if_due()
            self._finish_epoch()
            self._save()
        return run

    def _block(self, epoch_end: int) -> None:
        """Some updates, one synchronisation, and a look at the losses."""
        run, started = self.run, time.perf_counter()
        last = min(run.step + self._block_length(), epoch_end, self.controls.last_step or epoch_end)
        if self.controls.checkpoint_steps:
            last = min(last, run.step + self.controls.checkpoint_steps - run.step % self.controls.checkpoint_steps)
        losses = self.backend.losses([self._update(step) for step in range(run.step, last)])
        elapsed = time.perf_counter() - started
        if self.first_step:
            run.compile_seconds = run.compile_seconds or elapsed
            self.first_step = False
        else:
            run.block_seconds.append(elapsed)
            run.block_steps.append(last - run.step)
        wrong = np.flatnonzero(~np.isfinite(losses))
        if len(wrong):
            raise Diverged(f"diverged at step {run.step + int(wrong[0])}: the loss is {losses[wrong[0]]}")
        run.losses.extend(losses.tolist())
        run.step = last
        self._show(f"loss {losses[-1]:.4f}")

    def _block_length(self) -> int:
        if self.first_step or not self.run.block_steps:
            return 1
        per_step = self.run.block_seconds[-1] / self.run.block_steps[-1]
        return int(min(max(BLOCK_SECONDS / max(per_step, 1e-9), 1), BLOCK_STEPS))

    def _update(self, step: int) -> Any:
        return self.backend.train_step(
            self.batch(step), self.recipe.optimizer.rates(step), dropout_seed(self.seed, step)
        )

    def _finish_epoch(self) -> None:
        """Evaluate every split that the protocol looks at, and select."""
        run, recipe, started = self.run, self.recipe, time.perf_counter()
        row: dict[str, Any] = {"epoch": len(run.epochs) + 1, "epoch_step": run.step}
        row["train_loss"] = float(np.mean(run.losses[-recipe.steps_per_epoch :]))
        kept = self.evaluate(row)
        run.epochs.append(row)
        if kept is not None:
            run.selected = len(run.epochs) - 1
            for name, array in kept.items():
                setattr(run, name, array)
        run.evaluation_seconds += time.perf_counter() - started
        shown = ", ".join(
            f"{key.replace('_', ' ')} {value:.4f}"
            for key, value in row.items()
            if key not in ("epoch", "epoch_step") and value is not None
        )
        self.controls.say(f"epoch {len(run.epochs)} of {recipe.epochs}, step {run.step}: {shown}")
        self._show("")

    def evaluated_batch(self, name: str) -> None:
        """Show that a batch of a split was evaluated, and stop where a stop is asked for."""
        self._show(f"evaluating {name}")
        self._stop_if_asked()

    def _show(self, text: str) -> None:
        run = self.run
        self.controls.show({"step": run.step, "total": self.recipe.total_steps, "epoch": len(run.epochs), "text": text})

    def _stop_if_asked(self) -> None:
        reason = self.controls.stop()
        if reason:
            self._stop(reason)

    def _stop_after_last_step(self) -> None:
        last = self.controls.last_step
        if last is not None and self.run.step >= last:
            self._stop(f"stopped after {last} updates, as was asked,")

    def _stop(self, reason: str) -> NoReturn:
        self._save()
        told = f"{reason} at step {self.run.step} of {self.recipe.total_steps}; a checkpoint is written"
        raise Stopped(told, self.run if self.run.selected is not None else None)

    def _save_if_due(self) -> None:
        every = self.controls.checkpoint_steps
        due = time.perf_counter() - self.saved_at >= self.controls.checkpoint_seconds
        if due or (every and self.run.step % every == 0):
            self._save()

    def _save(self) -> None:
        run, now = self.run, time.perf_counter()
        run.total_seconds += now - self.clock
        self.clock = now
        self._count_energy()
        run.peak_memory = max((m for m in (run.peak_memory, self.backend.peak_memory()) if m), default=None)
        values = {f.name: getattr(run, f.name) for f in dataclasses.fields(run) if f.name not in _ARRAYS}
        values["data"] = self.data_digest
        arrays = {f"backend.{name}": array for name, array in self.backend.state().items()}
        arrays["losses"] = np.array(run.losses, np.float64)
        arrays |= {name: getattr(run, name) for name in _SELECTED if getattr(run, name) is not None}
        self.store.save(arrays, values)
        self.saved_at = time.perf_counter()

    def _count_energy(self) -> None:
        """Add what was used since the last checkpoint; unknown where any part of the run was not counted."""
        counted, before, now = self.run.energy_joules, self.energy, self.controls.energy()
        unknown = counted is None or before is None or now is None
        self.run.energy_joules, self.energy = None if unknown else counted + now - before, now

    def _restore(self) -> Run:
        checkpoint = self.store.load()
        if checkpoint is None:
            return self.run
        arrays = checkpoint.arrays
        selected: dict[str, Any] = {name: arrays.get(name) for name in _SELECTED}
        values = {"energy_joules": None, **checkpoint.values}
        if (read := values.pop("data", self.data_digest)) != self.data_digest:
            raise CheckpointError(
                f"the checkpoint in {self.store.folder} is of other data (sha256 {read[:16]}, here "
                f"{self.data_digest[:16]}): choose another --out, or start anew with --no-resume"
            )
        self.run = Run(**values, losses=arrays["losses"].tolist(), **selected)
        state = {name.removeprefix("backend."): a for name, a in arrays.items() if name.startswith("backend.")}
        self.backend.load_state(state)
        self.controls.say(f"resumed from the checkpoint at step {self.run.step} of {self.recipe.total_steps}")
        return self.run


_SELECTED = ("predictions", "positions", "lengths")
_ARRAYS = ("losses", *_SELECTED)

SELECTED = {
    "best validation accuracy": ("validation_accuracy", 1),
    "best test accuracy": ("test_accuracy", 1),
    "least validation error": ("validation_mse", -1),
}
"""What a rule of selection looks at, and whether more of it is better."""


class Classification(Loop):
    """Shuffled epochs of labelled examples; every split is evaluated on all of its examples."""

    data: Prepared

    def batch(self, step: int) -> Any:
        """The examples of an update."""
        split = self.data.train
        return split.batch(indices(split.count, self.recipe.batch_size, self.seed, step))

    def evaluate(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Loss and measures of the splits; keeps the predicted classes of the last one."""
        predictions = None
        for name in ("validation", "test") if self.data.validation.count else ("test",):
            split, every = getattr(self.data, name), self.recipe.resampling
            if every > 1:
                measured, _ = self._evaluate(split, name, every)
                row |= {f"resampled_{name}_{measure}": value for measure, value in measured.items()}
            measured, predictions = self._evaluate(split, name)
            row |= {f"{name}_{measure}": value for measure, value in measured.items()}
        return {"predictions": predictions} if self._is_better(row) else None

    def _evaluate(self, split: Split, name: str, resampling: int = 1) -> Found:
        """Mean loss, measures and predicted classes over all examples; the last batch is filled up with repetitions."""
        size, found = self.recipe.evaluation_batch_size, []
        options = {} if resampling == 1 else {"step_rescale": float(resampling)}
        for rows in evaluation_batches(split.count, size):
            filled = np.concatenate([rows, np.full(size - len(rows), rows[-1])])
            batch = resampled(split.batch(filled), resampling)
            found.append(self.backend.evaluate(batch, **options)[: len(rows)])
            self.evaluated_batch(name)
        outputs = np.concatenate(found)
        if not np.isfinite(outputs).all():
            raise Diverged(f"diverged at step {self.run.step}: outputs for the {name} split are not finite")
        return measure(self.recipe.model.objective, outputs, split.labels, self.data.protocol.get("measures", ()))

    def _is_better(self, row: dict[str, Any]) -> bool:
        if self.recipe.selection == "last epoch" or self.run.selected is None:
            return True
        key, sign = SELECTED[self.recipe.selection]
        return sign * row[key] > sign * self.run.epochs[self.run.selected][key]
