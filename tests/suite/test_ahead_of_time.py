"""Programs for TPUs that are not here: the shapes and the program are those of training, and each is compiled once.

A processor stands in for the chip: lowering, analysis, cache and records are the same, and no wheel of a compiler for
TPUs is needed.
"""

import dataclasses
import fcntl
import json
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_runs import OVERRIDES
from tpu_cells import chosen, row_of

from implementations.common.config import ConfigError
from reports import records
from suite.data import open_dataset
from suite.hardware import ahead_of_time
from suite.hardware.ahead_of_time import (
    Cached,
    abstract_batch,
    described,
    does_not_fit,
    longest,
    same_program,
)
from suite.launch import compiled_result, result
from suite.training.language import loop as language_loop

SMALLEST = (
    *("model.depth=1", "model.layer.d_model=8", "model.layer.heads=2", "model.layer.head_width=4"),
    *("model.layer.d_ff=8", "batch_size=2", "evaluation_batch_size=2"),
    *("data.settings.min_length=5", "data.settings.max_length=40"),
)
TINY = ("model.depth=1", "model.layer.d_model=8")


def like(batch):
    """Shapes and types of a batch."""
    return {name: (array.shape, array.dtype) for name, array in vars(batch).items()}


@pytest.mark.parametrize(
    ("task", "overrides"),
    [
        ("lra.listops", OVERRIDES),
        (
            "pendulum.regression",
            (
                "batch_size=2",
                "data.settings.train=4",
                "data.settings.validation=2",
                "data.settings.test=2",
            ),
        ),
    ],
)
def test_shapes_are_those_of_the_data(tmp_path, task, overrides):
    recipe = chosen(task, overrides=overrides).recipe
    data = open_dataset(recipe.data.name, tmp_path, **recipe.data.settings)
    assert like(abstract_batch(recipe, 4)) == like(data.train.batch(np.arange(4)))


@pytest.mark.parametrize("architecture", ["s5", "transformer"])
def test_shapes_are_those_of_a_text(tmp_path, architecture):
    recipe = chosen("lm.book", architecture).recipe
    data = open_dataset("book", tmp_path)
    train = language_loop.training_batches(recipe, data.train, 0).batch(0)
    assert like(abstract_batch(recipe, recipe.batch_size)) == like(train)
    evaluated = next(language_loop.evaluation_batches(recipe, data.test))
    assert like(abstract_batch(recipe, len(evaluated.start), evaluation=True)) == like(evaluated)


@pytest.mark.parametrize(
    ("task", "shape", "dtype", "labels"),
    [
        ("lra.retrieval", (6, 4000), np.uint8, ((3,), np.int32)),
        ("lra.image", (3, 1024, 1), np.float32, ((3,), np.int32)),
        ("lra.pathx", (3, 16384, 1), np.float32, ((3,), np.int32)),
        ("speech.sc35", (3, 16000, 1), np.float32, ((3,), np.int32)),
        ("glue.stsb", (3, 640), np.int32, ((3,), np.float32)),
    ],
)
def test_shapes_follow_from_the_settings_alone(task, shape, dtype, labels):
    architecture = "spade" if task.startswith("glue") else "s5"
    found = like(abstract_batch(chosen(task, architecture, profile="paper").recipe, 3))
    assert found["inputs"] == (shape, np.dtype(dtype))
    assert found["labels"] == (labels[0], np.dtype(labels[1]))


@pytest.fixture(scope="module")
def compiler():
    """The compiler, with a processor for the chip."""
    jax = pytest.importorskip("jax")
    from suite.hardware.jax import Compiler

    return Compiler("tpu-v4", devices=jax.devices("cpu")[:1])


class Lowered(Exception):
    """In place of running what was lowered."""


@pytest.mark.parametrize(("task", "overrides"), [("lra.listops", OVERRIDES), ("lm.book", TINY)])
def test_the_program_is_that_of_training(compiler, tmp_path, task, overrides):
    import jax

    from suite.training import jax as classification
    from suite.training.language import jax as language

    recipe = chosen(task, overrides=overrides).recipe
    module = language if recipe.language else classification
    backend = module.Backend(recipe, 0)
    data = open_dataset(recipe.data.name, tmp_path, **recipe.data.settings)
    batches = language_loop.training_batches(recipe, data.train, 0) if recipe.language else None
    batch = batches.batch(0) if batches else data.train.batch(np.arange(recipe.batch_size))
    seen = []
    train = backend._train

    def lower(*given):
        seen.append(train.lower(*given))
        raise Lowered

    backend._train = lower
    with pytest.raises(Lowered):
        backend.train_step(batch, recipe.optimizer.rates(0), 0)
    training = compiler.training(recipe)
    assert operations(training.step()) == operations(seen[0])
    assert all(not isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(training.state))


class Spied:
    """A compiler that counts what it is asked to compile, and compiles each program once, or none."""

    def __init__(self, of, pretended=None):
        self.of, self.count, self.known, self.pretended = of, 0, {}, pretended
        self.name, self.training, self.layer, self.key = of.name, of.training, of.layer, of.key
        self.devices = of.devices

    def compiled(self, lowered):
        self.count += 1
        key = self.of.key(lowered)
        if key not in self.known:
            self.known[key] = self.pretended or self.of.compiled(lowered)
        return self.known[key]


def test_a_cell_is_compiled_to_a_record_and_never_twice(compiler, tmp_path):
    one, said = chosen("lra.listops", "transformer", overrides=SMALLEST), []
    spied = Spied(compiler)

    def programs():
        return ahead_of_time.programs(one, Cached(spied, tmp_path / "programs", False, said.append), 1)

    found = programs()
    assert spied.count == 2
    assert [row["program"] for row in found.rows] == ["training step", "evaluation"]
    assert any("training step batch 2 length" in line and "s of processor time" in line for line in said)
    assert (programs(), spied.count) == (found, 2)
    (tmp_path / "programs" / f"{found.headline['key']}.json").write_text("{")
    assert (programs(), spied.count) == (found, 3)

    written = records.write(compiled_result.compiled(one, result.protocol(one), found, {}), tmp_path)
    of = records.read(written)
    assert (of.status, of.timing, of.metrics["fits"]) == ("compiled", {}, 1.0)
    assert of.metrics["flops"] > 1e4
    assert of.metrics["peak_memory_bytes"] == found.rows[0]["peak_memory_bytes"] > found.rows[0]["argument_bytes"] > 0
    assert of.provenance["compiled_for"]["topology"] == "v4:2x2x1"
    assert of.provenance["compiled_for"]["effort"] == "least"
    assert "longest_length" not in of.metrics  # no longer one was tried
    assert not [name for row in found.rows for name in row if "second" in name or "time" in name]
    text = json.dumps([of.metrics, of.tables])
    assert "second" not in text


def test_layers_are_compiled_in_every_mode_and_length(compiler, tmp_path):
    from suite.speed.config import SpeedSettings

    overrides = ("shortest=8", "longest=16")
    one, spied = chosen("speed.layer", "ema", overrides=overrides), Spied(compiler, row_of(8))
    found = ahead_of_time.programs(one, Cached(spied, tmp_path, False, lambda line: None), 1)
    settings = SpeedSettings.from_dict(one.settings)
    wanted = {(n, m, length) for n in settings.layers for m in settings.modes for length in (8, 16)}
    assert {(row["layer"], row["program"], row["length"]) for row in found.rows} == wanted
    assert (found.headline["layer"], found.headline["program"]) == ("ema", "forward and backward")
    # The state of a layer does not grow: its streaming step is one program at every length.
    keys = {(row["layer"], row["program"], row["length"]): row["key"] for row in found.rows}
    assert keys["ema", "streaming step", 8] == keys["ema", "streaming step", 16]
    assert len(set(keys.values())) == spied.count == 10
    few = ahead_of_time.programs(one, Cached(spied, tmp_path, False, lambda line: None), 0)
    assert {(row["program"], row["length"]) for row in few.rows} == {("forward and backward", 16)}
    assert {row["layer"] for row in few.rows} == set(settings.layers)
    assert (few.headline, spied.count) == (found.headline, 10)
    records.write(compiled_result.compiled(one, result.protocol(one), found, {}), tmp_path)


def test_layers_that_do_not_fit_are_shortened(tmp_path):
    class Small:
        name, devices = "XLA", ("a chip",)

        def layer(self, config, precision):
            return SimpleNamespace(program=lambda mode, batch, length: f"{config.architecture} {mode} {length}")

        def key(self, lowered):
            return lowered

        def compiled(self, lowered):
            return row_of(0, fits=int(lowered.split()[-1]) <= 16)

    one = chosen("speed.layer", "ema", overrides=("shortest=8", "longest=64"))
    few = ahead_of_time.programs(one, Cached(Small(), tmp_path, False, lambda line: None), 0)
    every = ahead_of_time.programs(one, Cached(Small(), tmp_path, False, lambda line: None), 1)
    mode = "forward and backward"
    tried = [[row["length"] for row in found.rows if row["program"] == mode][:3] for found in (few, every)]
    assert tried == [[16, 32, 64], [8, 16, 32]]
    reached = {(row["longest_length"], row["shortest_refused"], row["bound"]) for row in few.longest + every.longest}
    assert reached == {(16, 32, "memory")}
    assert few.headline["length"] == every.headline["length"] == 16


def operations(lowered):
    """The text of a program without the places of its arguments."""
    lines = lowered.as_text().splitlines()
    return [line for line in lines if "func.func public @main" not in line]


@pytest.mark.parametrize(
    ("most", "compilations", "expected"),
    [
        (1024, 9, (1024, 2048, "memory")),
        (64, 9, (64, 128, "memory")),
        (2**30, 3, (64 * 2**12, None, "compilations")),
        (1024, 1, (64, 64 * 2**10, "compilations")),
        (64, 0, (64, None, "compilations")),
    ],
)
def test_the_longest_input_is_searched_by_bisection(most, compilations, expected):
    tried = []

    def program(length):
        tried.append(length)
        return row_of(length, length <= most)

    found, rows = longest(program, row_of(64), 2**30, compilations)
    assert (found["longest_length"], found["shortest_refused"], found["bound"]) == expected
    assert len(tried) == len(rows) <= compilations


def test_a_model_that_takes_no_longer_input_says_so():
    def program(length):
        if length > 128:
            raise ConfigError(f"{length} positions are too many")
        return row_of(length)

    found, rows = longest(program, row_of(64) | {"layer": "a"}, 2**30, 9)
    assert (found["longest_length"], found["bound"]) == (128, "model")
    assert {row.get("layer") for row in rows if row["fits"] is None} == {"a"}
    assert "positions are too many" in found["reason"]
    refused = longest(program, row_of(64, fits=False), 2**30, 9)[0]
    assert (refused["longest_length"], refused["shortest_refused"], refused["bound"]) == (None, 64, "memory")


def test_collectives_and_loops_are_counted_in_the_text_of_a_program():
    text = """
  %all-reduce.3 = f32[8]{0} all-reduce(%a), replica_groups={{0,1}}
  %s = (f32[8]{0}, f32[8]{0}) all-reduce-start(%b), to_apply=%sum
  %d = f32[8]{0} all-reduce-done(%s)
  %g = f32[16]{0} all-gather(%c), dimensions={0}
  %w = (s32[], f32[8]{0}) while(%t), condition=%less, body=%all-reduce.body
"""
    sizes = ("argument", "output", "alias", "temp", "generated_code")
    memory = SimpleNamespace(**{f"{name}_size_in_bytes": 2**i for i, name in enumerate(sizes)})
    row = described({"flops": 6.0, "bytes accessed": 2.0}, memory, text)
    assert row["collectives"] == {"all-gather": 1, "all-reduce": 2}
    assert (row["loops"], row["arithmetic_intensity"], row["fits"]) == (1, 3.0, True)
    assert row["peak_memory_bytes"] == 1 + 2 - 4 + 8 + 16


def test_a_program_that_another_process_compiles_is_waited_for(tmp_path):
    at_once = fcntl.LOCK_EX | fcntl.LOCK_NB
    with (tmp_path / "one.lock").open("w") as other:
        with ahead_of_time._alone(tmp_path / "one.json"), pytest.raises(BlockingIOError):
            fcntl.flock(other, at_once)
        fcntl.flock(other, at_once)


def test_a_program_without_room_is_told_from_its_compilers_words():
    said = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 40.25G of 30.75G hbm. Exceeded by 9.50G."
    assert does_not_fit(said) == {"fits": False, "peak_memory_bytes": 40.25 * 2**30, "refused": said}
    told = "the total memory required for HLO temporaries (64.00G) exceeds available HBM (30.75G)."
    assert does_not_fit(f"RESOURCE_EXHAUSTED: {told}")["peak_memory_bytes"] == 2**36
    assert does_not_fit("RESOURCE_EXHAUSTED: other words")["peak_memory_bytes"] is None


def test_cells_of_one_program_are_known_before_anything_is_traced():
    base = same_program(chosen())
    assert same_program(chosen(seed=3)) == base
    rate = ("optimizer.groups.regular.rate=0.1", "epochs=3", "data.settings.train=400")
    assert same_program(chosen(overrides=rate)) == base
    assert same_program(dataclasses.replace(chosen(), hardware="tpu-v5e")) != base
    for change in ("batch_size=20", "model.depth=1", "data.settings.max_length=40", "matmul_precision=tf32"):
        assert same_program(chosen(overrides=[change])) != base, change
    assert (
        same_program(chosen("lm.enwik8")) == same_program(chosen("lm.book")) != same_program(chosen("lm.wikitext103"))
    )
    assert same_program(chosen("speed.layer")) != same_program(chosen("speed.layer", "ema"))
