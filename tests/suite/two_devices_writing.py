"""Whole runs of models that write on one device and on two: `python two_devices_writing.py FRAMEWORK FILE.npz`.

The file holds, as `{case}.{devices}.{name}`, the losses of all updates, what was measured after every epoch, what was
written, and the state at the end. Arithmetic is float64: in float32 the bias of an attention's keys, whose gradient is
zero but for rounding, would move by the sign of that rounding, which Adam takes for a whole step.

JAX compiles for longer than everything else takes. A sharded array is one array there, so nothing is dropped, and of
span corruption, whose updates are those of pairs, only the evaluation is compared.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from implementations.models.config import EncoderDecoderConfig
from implementations.transformer.config import TransformerConfig
from suite.data import Split
from suite.data.glue import END, FIRST_BYTE
from suite.data.text.split import TextSplit
from suite.recipes.base import DataSpec, Generation, Recipe, SpanCorruption, override_settings
from suite.training.checkpoint import CheckpointStore
from suite.training.generation.batches import PairBatch, pair_batch
from suite.training.loop import Controls
from suite.training.optimizer import Group, OptimizerSpec, Schedule

DEVICES = (1, 2)
LAYER = TransformerConfig(d_model=8, heads=2, head_width=4, d_ff=8, dropout=0.2)
OWN = LAYER.replace(causal=True, d_ff=0, positions="learned", max_length=16)
MODEL = EncoderDecoderConfig(LAYER, 1, "tokens", 259, OWN, 1, LAYER, scale_logits=True, start=0, end=2)
WRITES = Recipe(
    model=MODEL,
    optimizer=OptimizerSpec({"regular": Group(0.05, 0.0)}, {}, Schedule(warmup_steps=1, total_steps=4), clip_norm=0.5),
    batch_size=4,
    evaluation_batch_size=4,
    epochs=2,
    data=DataSpec("qmsum", {"train": 10, "validation": 3, "test": 6, "source": "local"}),
    selection="best validation loss",
    generation=Generation(input_length=8, target_length=2),
)
LOSES_SPANS = WRITES.replace(
    evaluation_batch_size=3,  # no multiple of the devices
    data=DataSpec("book", {}),
    selection="last epoch",
    generation=None,
    span_corruption=SpanCorruption(updates=2, length=24, noise_density=0.25, mean_span_length=3.0, evaluated=4),
)


def recipes(framework: str) -> dict[str, Recipe]:
    """What is trained."""
    if framework == "torch":
        return {"generation": WRITES, "pretraining": LOSES_SPANS}
    changes = [f"model.{name}.dropout=0.0" for name in ("layer", "decoder_layer", "cross")]
    return {case: override_settings(recipe, changes) for case, recipe in recipes("torch").items()}


def pairs(count: int, seed: int) -> Split:
    """Pairs of words in bytes, of different lengths: some read "aaa" and write "ee", the others "b" and nothing."""
    rng = np.random.default_rng(seed)
    texts = [text for name in rng.permutation(count) for text in (("aaa", "ee") if name % 2 else ("b", ""))]
    sequences = [np.array([*(byte + FIRST_BYTE for byte in text.encode()), END], np.int32) for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in sequences])])
    return Split(np.concatenate(sequences), offsets, np.zeros(count, np.int32), maximum_length=8, documents=2)


def text(count: int, seed: int) -> TextSplit:
    """One document of bytes."""
    tokens, sizes = np.random.default_rng(seed).integers(97, 100, count).astype(np.uint8), np.array([count])
    return TextSplit(tokens, np.array([0, count]), sizes, sizes, begin=256)


def data(recipe: Recipe) -> Any:
    """Prepared data in memory."""
    if recipe.generation is None:
        parts = {"train": text(200, 0), "validation": text(120, 1), "test": text(120, 2)}
    else:
        parts = {name: pairs(recipe.data.settings[name], i) for i, name in enumerate(("train", "validation", "test"))}
    return SimpleNamespace(name="words", protocol={"unit": "byte", "vocabulary_size": 259}, **parts)


def backend(framework: str, recipe: Recipe, devices: int) -> Any:
    """As a cell makes it."""
    place = "parallel." if framework == "torch" and devices > 1 else recipe.kind
    return importlib.import_module(f"suite.training.{place}{framework}").Backend(
        recipe, 0, "cpu", "float64", devices=devices
    )


def trained(framework: str, recipe: Recipe, devices: int) -> dict[str, np.ndarray]:
    """What a run to the end leaves, and what its model writes once its weights are large, for rows that differ."""
    made, prepared = backend(framework, recipe, devices), data(recipe)
    loop, quiet = importlib.import_module(f"suite.training.{recipe.kind}loop"), Controls(say=lambda line: None)
    with tempfile.TemporaryDirectory() as folder:
        given = (recipe, prepared, made, 0, CheckpointStore(Path(folder)), quiet)
        if framework == "jax" and recipe.generation is None:
            loop.PretrainingLoop(*given).evaluate(row := {})
            return {f"epoch.{name}": np.array([value]) for name, value in row.items()}
        run = loop.train(*given)
    assert made.describe()["devices"] == devices
    found = {"losses": np.array(run.losses), **made.state()}
    for name in run.epochs[0]:
        found[f"epoch.{name}"] = np.array([row[name] for row in run.epochs], np.float64)
    if recipe.generation is not None:
        found |= {"predictions": run.predictions, "written": written(made, recipe, prepared)}
    if devices > 1 and framework == "torch":
        made.close()
    return found


def written(made: Any, recipe: Recipe, prepared: Any) -> np.ndarray:
    """What is written for a batch whose halves have different numbers of targets, by weights that tell rows apart."""
    batch = unequal(pair_batch(prepared.train, np.arange(recipe.batch_size), made.recipe.generation, 0))
    state = made.state()
    large = {name: 4 * array if name.startswith("parameters.") else array for name, array in state.items()}
    made.load_state(large)
    return made.generate(batch)


def unequal(batch: PairBatch) -> PairBatch:
    """The batch, whose halves are held to have different numbers of targets."""
    halves = np.array_split(batch.mask.sum(1), 2)
    assert halves[0].sum() != halves[1].sum(), halves
    return batch


if __name__ == "__main__":
    if sys.argv[1] == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    results = {
        f"{case}.{devices}.{name}": array
        for case, recipe in recipes(sys.argv[1]).items()
        for devices in DEVICES
        for name, array in trained(sys.argv[1], recipe, devices).items()
    }
    np.savez(Path(sys.argv[2]), **results)  # pyright: ignore[reportArgumentType]
