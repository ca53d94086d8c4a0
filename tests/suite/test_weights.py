"""Runs that start from the weights of another: either twin's, an encoder-decoder's encoder, and what does not fit."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from test_data_glue import FILES

from implementations import parameters
from implementations.common.initializers import Keys
from implementations.models.config import ClassifierConfig, EncoderDecoderConfig
from implementations.parameters import ParameterError
from implementations.transformer.config import TransformerConfig
from reports import records
from suite import run
from suite.data import prepare_dataset
from suite.launch.cell import start_from_weights
from suite.matrix import Cell, Selection, cells
from suite.recipes.base import DataSpec, Generation, Recipe
from suite.training import weights
from suite.training.checkpoint import CheckpointStore
from suite.training.generation.batches import PairBatch
from suite.training.optimizer import Group, OptimizerSpec, Schedule

LAYER = TransformerConfig(d_model=8, heads=2, head_width=4, d_ff=16)
OWN = LAYER.replace(causal=True, d_ff=0, positions="learned", max_length=8)
MODEL = EncoderDecoderConfig(LAYER, 1, "tokens", 11, OWN, 1, LAYER, scale_logits=True)
CLASSIFIER = ClassifierConfig(LAYER, 1, "tokens", 11, 3)
RECIPE = Recipe(
    model=MODEL,
    optimizer=OptimizerSpec({"regular": Group(0.01, 0.0)}, {}, Schedule(warmup_steps=0, total_steps=4)),
    batch_size=2,
    epochs=1,
    data=DataSpec("qmsum", {"train": 8}),
    selection="last epoch",
    generation=Generation(input_length=6, target_length=4),
)
TOKENS = np.arange(24).reshape(4, 6).astype(np.int32) % 11
BATCH = PairBatch(TOKENS[:2], np.array([6, 4], np.int32), TOKENS[2:, :4], TOKENS[2:, 1:5], np.ones((2, 4), bool))


def backend(framework: str, seed: int) -> Any:
    pytest.importorskip(framework)
    return importlib.import_module(f"suite.training.generation.{framework}").Backend(RECIPE, seed)


def cell(recipe: Recipe = RECIPE) -> Cell:
    return Cell("summaries", "summaries.qmsum", "spade", "torch", 0, "smoke", "cpu", recipe)


def given(file: Path, root: Path) -> str:
    """The sha256 of a file of weights that was named on the command line."""
    (text,), files = weights.named([f"initial_weights={file}"], root)
    weights.keep(files, root)
    return text.partition("=")[2]


@pytest.mark.parametrize(("one", "other"), [("torch", "jax"), ("jax", "torch")])
def test_a_checkpoint_of_one_twin_starts_the_other(tmp_path, one, other):
    first, second = backend(one, 1), backend(other, 2)
    if one == "torch":
        first.losses([first.train_step(BATCH, {"regular": 0.01}, 3)])
    store = CheckpointStore(tmp_path / "checkpoints")
    store.folder.mkdir()
    state = {f"backend.{name}": array for name, array in first.state().items()}
    store.save({**state, "losses": np.zeros(1)}, {"step": int(first.step)})
    (file,) = store.folder.glob("*.safetensors")
    recipe = RECIPE.replace(initial_weights=given(file, tmp_path / "data"))
    told = start_from_weights(cell(recipe), tmp_path / "data", second)
    assert told == {
        "started_from": f"a checkpoint after {first.step} updates, sha256 {recipe.initial_weights}",
    }
    ours, theirs = first.state(), second.state()
    for name in ours:
        if name.startswith("parameters."):
            np.testing.assert_array_equal(ours[name], theirs[name])
        elif "moment" in name:
            assert not theirs[name].any()
    assert second.step == 0


def test_a_classifier_takes_the_encoder_as_it_is():
    torch = pytest.importorskip("torch")
    from implementations import catalog

    whole, classifier = (catalog.model_class(m, "torch")(m, Keys(seed)) for seed, m in enumerate((MODEL, CLASSIFIER)))
    before = {f"parameters.{path}": array for path, array in parameters.get_parameters(classifier).items()}
    found = weights.Weights(parameters.get_parameters(whole), {}, "a test", "0" * 64)
    before["parameters.encoder.bias"] = np.ones(8, np.float32)
    state, new = weights.started(before, found, CLASSIFIER)
    assert new == ["encoder.bias", "decoder.kernel", "decoder.bias"]
    np.testing.assert_array_equal(state["parameters.decoder.kernel"], before["parameters.decoder.kernel"])
    parameters.set_parameters(classifier, {path.removeprefix("parameters."): array for path, array in state.items()})
    inputs, lengths = torch.from_numpy(TOKENS[:2]), torch.from_numpy(BATCH.lengths)
    with torch.no_grad():
        x, vectors = whole.encode(inputs, lengths), classifier.encode(inputs, lengths)
    means = [x[0].mean(0), x[1, :4].mean(0)]
    torch.testing.assert_close(vectors, torch.stack(means), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a.kernel": None}, "parameters 1 missing: a.kernel"),
        ({"c.x": (1,), "c.y": (1,), "c.z": (1,), "d": (1,)}, "parameters 4 unknown: c.x, c.y, c.z and 1 more"),
        ({"a.kernel": (3, 2)}, r"parameters 1 of another shape: a.kernel \(3, 2\) where \(2, 3\) is expected"),
        ({"a.bias": None, "b": (4,)}, r"1 missing: a.bias; 1 of another shape: b \(4,\) where \(2,\) is expected"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    shapes = {"a.kernel": (2, 3), "a.bias": (3,), "b": (2,)}
    state = {f"parameters.{path}": np.zeros(shape, np.float32) for path, shape in shapes.items()} | {
        "step": np.array(3)
    }
    fits = {path: np.ones(shape) for path, shape in shapes.items()}
    started, new = weights.started(state, weights.Weights(fits, {}, "a file", "0" * 64), CLASSIFIER)
    assert (started["parameters.b"].tolist(), started["step"], new) == ([1, 1], 3, [])
    assert started["parameters.b"].dtype == np.float32
    other = {path: np.ones(shape) for path, shape in (shapes | change).items() if shape is not None}
    with pytest.raises(ParameterError, match=r"initial weights 000000000000 \(a file\) do not fit .*" + message):
        weights.started(state, weights.Weights(other, {}, "a file", "0" * 64), CLASSIFIER)


def test_files_that_are_no_weights_end_the_command_with_a_sentence(tmp_path, capsys):
    broken, wrong = tmp_path / "broken.safetensors", tmp_path / "wrong.safetensors"
    whole = safetensors.numpy.save({"a": np.ones(9)})
    broken.write_bytes(whole[:-3])
    wrong.write_bytes(safetensors.numpy.save({"a": np.array([1.0, np.nan])}))
    said = {
        tmp_path / "none": "none does not exist",
        broken: "broken.safetensors is no safetensors file of weights, or is damaged",
        wrong: "wrong.safetensors holds numbers that are not finite: a",
        tmp_path: "cannot be read: Is a directory",
        "f" * 64: "does not exist; name the file of these weights",
    }
    for value, message in said.items():
        command = ["--tasks", "summaries.qmsum", "--set", f"initial_weights={value}", "--data", str(tmp_path / "data")]
        assert run.main([*command, "--out", str(tmp_path / "runs")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("--set initial_weights: ")
        assert message in line
    assert not (tmp_path / "runs").exists()
    broken.write_bytes(whole)
    digest = given(broken, tmp_path)
    weights.place(tmp_path, digest).write_bytes(safetensors.numpy.save({"a": np.zeros(9)}))
    with pytest.raises(ParameterError, match=r"are damaged: their sha256 is .*; name the file again with --set"):
        weights.kept(tmp_path, digest)
    assert given(broken, tmp_path) == digest
    assert weights.kept(tmp_path, digest).parameters["a"].tolist() == [1] * 9
    with pytest.raises(
        ParameterError, match=r"weights/0+\.safetensors cannot be read \(No such file or directory\); name the"
    ):
        weights.kept(tmp_path, "0" * 64)


def test_weights_are_part_of_the_cell_where_they_are_set():
    assert "initial_weights" not in RECIPE.to_dict()
    ids = {cell(RECIPE.replace(initial_weights=digest)).id for digest in ("", "0" * 64, "1" * 64)}
    assert cell().id in ids
    assert len(ids) == 3
    again = Cell.from_dict(cell(RECIPE.replace(initial_weights="0" * 64)).to_dict())
    assert again.recipe is not None
    assert again.recipe.initial_weights == "0" * 64
    (found,) = cells(Selection(tasks=("glue.rte",), frameworks=("jax",), overrides=(f"initial_weights={'1' * 64}",)))
    assert found.recipe is not None
    assert found.recipe.initial_weights == "1" * 64


TINY = ("epochs=1", "batch_size=4", "evaluation_batch_size=4")


def command(task: str, tmp_path: Path, *overrides: str) -> list[str]:
    given = [word for text in (*TINY, *overrides) for word in ("--set", text)]
    places = ["--out", str(tmp_path / "runs"), "--data", str(tmp_path / "data")]
    return ["--tasks", task, "--frameworks", "torch", *given, *places]


def test_a_classifier_is_fine_tuned_from_what_a_pretraining_left(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(run, "report", lambda out: True)  # pages take longer than these runs
    (tmp_path / "RTE").mkdir()
    header, lines = FILES["RTE"]
    for name in ("train", "dev"):
        (tmp_path / "RTE" / f"{name}.tsv").write_text("\n".join([str(header), *lines]) + "\n")
    counts = {"train": 8, "validation": 0, "test": 4, "source": "local"}
    prepare_dataset("glue_rte", tmp_path / "data", released=tmp_path, **counts)
    short = ("span_corruption.updates=2", "span_corruption.evaluated=4")
    assert run.main(command("pretraining.book", tmp_path, *short)) == 0
    (left,) = (tmp_path / "runs" / "weights").iterdir()
    settings = [f"data.settings.{name}={value}" for name, value in counts.items()]
    assert run.main(command("glue.rte", tmp_path, *settings, f"initial_weights={left}")) == 0
    found = {record.cell.task: record for record in records.read_all(tmp_path / "runs")}
    before, after = found["pretraining.book"], found["glue.rte"]
    assert before.provenance["weights"]["file"] == f"weights/{before.cell.id}.safetensors"
    assert after.recipe["initial_weights"] == before.provenance["weights"]["sha256"]
    expected = f"pretraining.book spade torch seed 0, profile smoke, 2 updates, cell {before.cell.id}, sha256 "
    assert after.provenance["started_from"].startswith(expected + after.recipe["initial_weights"])
    assert after.provenance["started_from"].endswith("drawn or zero: classifier.bias, classifier.kernel")
