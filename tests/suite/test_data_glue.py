"""GLUE from small files of its layout, its measures, and a cell of each kind of label."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import launch, record

from implementations.common.config import ConfigError
from suite.data import Batch, DataError, catalog, manifest, prepare_dataset
from suite.data.glue import KINDS, TASKS, encode
from suite.equivalence.updates import backend
from suite.matrix import Cell, Selection, cells
from suite.recipes.base import apply_overrides
from suite.training.measures import MEASURES, measure

FILES = {
    "CoLA": (None, [f"gj04\t{i % 2}\t{'*' * (i % 2)}\tSentence number {i}." for i in range(9)]),
    "SST-2": ("sentence\tlabel", [f'it \'s a "film {i}" \t{i % 2}' for i in range(9)]),
    "MRPC": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", [f"{i % 2}\t1\t2\tOne {i}\tTwo é" for i in range(9)]),
    "STS-B": ("index\tgenre\tsentence1\tsentence2\tscore", [f"{i}\tnews\ta {i}\tb\t{i / 2:.3f}" for i in range(9)]),
    "RTE": (
        "index\tsentence1\tsentence2\tlabel",
        [f"{i}\ta {i}\tb\t{'not_entailment' if i % 2 else 'entailment'}" for i in range(9)],
    ),
    "WNLI": ("index\tsentence1\tsentence2\tlabel", [f"{i}\ta {i}\tb\t{i % 2}" for i in range(9)]),
    "QNLI": (
        "index\tquestion\tsentence\tlabel",
        [f"{i}\ta {i}\tb\t{'not_entailment' if i % 2 else 'entailment'}" for i in range(9)],
    ),
    "QQP": ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", [f"{i}\t1\t2\ta {i}\tb\t{i % 2}" for i in range(9)]),
}
PARSED = "sentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse"
NLI = ("entailment", "neutral", "contradiction")


def mnli(name: str, second: str, judges: int) -> tuple[str, str]:
    """A file of MNLI: the development files have four labels more than the training file, from further judges."""
    labels = "\t".join(f"label{judge}" for judge in range(1, judges + 1))
    header = f"index\tpromptID\tpairID\tgenre\t{PARSED}\tsentence1\tsentence2\t{labels}\tgold_label"
    row = "{i}\t1\t1n\tfiction\t( a )\t( b )\t(ROOT a)\t(ROOT b)\ta {i}\t{second}\t{judged}\t{label}"
    judged = "\t".join([NLI[2]] * judges)
    rows = [row.format(i=i, second=second, judged=judged, label=NLI[i % 3]) for i in range(9)]
    return name, "\n".join([header, *rows]) + "\n"


MNLI = [mnli("train", "b", 1), mnli("dev_matched", "b", 5), mnli("dev_mismatched", "other", 5)]


@pytest.fixture
def glue(tmp_path) -> Path:
    """Nine training and nine development examples of each task; MRPC's files begin with a byte order mark."""
    for folder, (header, lines) in FILES.items():
        (tmp_path / folder).mkdir()
        for name in ("train", "dev"):
            text = "\n".join([*([header] if header else []), *lines]) + "\n"
            encoded = text.encode("utf-8-sig" if folder == "MRPC" else "utf-8")
            (tmp_path / folder / f"{name}.tsv").write_bytes(encoded)
    (tmp_path / "MNLI").mkdir()
    for name, written in MNLI:
        (tmp_path / "MNLI" / f"{name}.tsv").write_text(written)
    return tmp_path


def prepared(glue, name, **counts):
    counts = {"train": 6, "validation": 2, "test": 5, **counts}
    return prepare_dataset(name, glue / "data", released=glue, source="local", **counts)


def text(tokens: np.ndarray) -> str:
    return "".join({1: "|", 2: "#"}.get(token, chr(token - 3) if token > 2 else "") for token in tokens.tolist())


def test_bytes_of_one_or_two_sentences():
    assert encode(["é"]).tolist() == [0xC3 + 3, 0xA9 + 3, 2]
    assert encode(["a", ""]).tolist() == [ord("a") + 3, 1, 2]
    assert encode(["\x00"]).tolist() == [3, 2]


@pytest.mark.parametrize("name", KINDS)
def test_every_task_is_read(glue, name):
    found, kind = prepared(glue, name), KINDS[name]
    assert [split.count for split in (found.train, found.validation, found.test)] == [6, 2, 5]
    batch = found.test.batch(np.array([3, 0]))
    assert batch.inputs.shape == (2, kind.maximum_length)
    expected = {
        "glue_cola": "Sentence number 3.#",
        "glue_sst2": 'it \'s a "film 3" #',
        "glue_mrpc": "One 3|Two \xc3\xa9#",
    }
    assert text(batch.inputs[0]) == expected.get(name, "a 3|b#")
    assert batch.labels.tolist() == {"glue_stsb": [1.5, 0.0], "glue_mnli": [0, 0]}.get(name, [1, 0])
    assert batch.labels.dtype == (np.float32 if name == "glue_stsb" else np.int32)
    texts = {text(split.tokens[start:end]) for split in (found.train, found.validation)
             for start, end in zip(split.offsets[:-1], split.offsets[1:], strict=True)}  # fmt: skip
    assert len(texts) == 8  # no example is in both
    assert found.protocol["measures"] == list(kind.measures)


@pytest.mark.parametrize(
    ("folder", "old", "new", "message"),
    [
        ("CoLA", b"\t1\t*\tSentence number 1.", b"\t2\t*\tSentence number 1.", "line 2: no label of CoLA .GLUE.: '2'"),
        ("STS-B", b"\t0.500", b"\t5.500", r"line 3: no label of STS-B .GLUE.: '5.500'"),
        ("STS-B", b"\t0.500", b"\tnan", r"line 3: no label of STS-B .GLUE.: 'nan'"),
        ("RTE", b"a 4\tb", b"a 4", "line 6: expected 4 columns, found 3"),
        ("WNLI", b"sentence2", b"sentence3", "line 1: expected the columns sentence1, sentence2, label"),
        ("SST-2", b"it 's", b"it " * 99, "line 2: 31[0-9] tokens do not fit into 272"),
        ("MRPC", b"One 1", b"One \xff", "cannot be read: .*utf-8"),
        ("QQP", b"a 4\tb", b"a 4", "line 6: expected 6 columns, found 5"),
        ("MNLI", b"\tneutral\n", b"\t-\n", "line 3: no label of MNLI .GLUE.: '-'"),
    ],
)
def test_malformed_files_are_named(glue, folder, old, new, message):
    path = glue / folder / "train.tsv"
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(DataError, match=rf"train.tsv.*{message}"):
        prepared(glue, next(name for name, kind in KINDS.items() if kind.folder == folder))


def test_the_two_development_files_of_mnli_are_two_tasks(glue):
    found = {
        task: prepared(glue, "glue_mnli", **{**settings, "test": 9}).test
        for task, (name, settings) in TASKS.items()
        if name == "glue_mnli"
    }
    assert {task: text(test.batch(np.array([4])).inputs[0]) for task, test in found.items()} == {
        "glue.mnli": "a 4|b#", "glue.mnli_mm": "a 4|other#"
    }  # fmt: skip
    assert [test.labels.tolist() for test in found.values()] == [[0, 1, 2] * 3] * 2
    (glue / "MNLI" / "dev_mismatched.tsv").unlink()
    assert prepared(glue, "glue_mnli", test=8).test.count == 8
    with pytest.raises(DataError, match=r"dev_mismatched.tsv is missing"):
        prepared(glue, "glue_mnli", variant="mismatched", test=8)


def test_the_longer_sentence_of_a_pair_is_cut_where_the_longest_is_not_known(glue):
    for first, second, expected in (
        ("abcdefgh", "xyz", "abcd|xyz#"), ("abc", "uvwxyz", "abc|uvwx#"), ("abcdef", "uvwxyz", "abcd|uvw#"),
        ("ab", "xyz", "ab|xyz#"), ("", "stuvwxyz", "|stuvwxy#"),
    ):  # fmt: skip
        assert text(encode([first, second], 9)) == expected
    path = glue / "QQP" / "train.tsv"
    path.write_text(path.read_text().replace("\ta ", "\t" + 600 * "a"))
    found = prepared(glue, "glue_qqp")
    assert found.train.lengths.tolist() == [512] * 6
    assert text(found.train.batch(np.array([0])).inputs[0]).endswith("aa|b#")
    assert "more than 512 the longer sentence loses its end" in found.protocol["tokenizer"]


@pytest.mark.parametrize("task", ["glue.qnli", "glue.qqp", "glue.mnli", "glue.mnli_mm"])
def test_recipes_read_all_of_the_release(task):
    (cell,) = cells(Selection(tasks=(task,), frameworks=("torch",), profile="paper"))
    assert cell.recipe is not None
    settings, release = cell.recipe.data.settings, manifest.read(cell.recipe.data.name)
    wanted = catalog.find(cell.recipe.data.name).settings.from_dict(settings)
    counts = [(file.split, file.sequences) for file in release.release.of(wanted.reads).files]
    assert counts == [("train", settings["train"]), ("test", settings["test"])]
    model: Any = cell.recipe.model
    assert (model.classes, model.pooling) == (3 if "mnli" in task else 2, "first")


def test_too_few_examples_are_said(glue):
    with pytest.raises(DataError, match=r"has 9 training and 9 development examples, 8 \+ 2 and 5 are wanted"):
        prepared(glue, "glue_rte", train=8)


def test_measures_of_hand_computed_cases():
    predicted, labels = np.array([1, 1, 1, 0, 0, 1]), np.array([1, 0, 1, 0, 1, 1])  # 3 hits, 1 false, 1 missed, 1 right
    assert MEASURES["f1"](predicted, labels) == 2 * 3 / (2 * 3 + 2)
    assert MEASURES["matthews"](predicted, labels) == pytest.approx((3 * 1 - 1 * 1) / np.sqrt(4 * 4 * 2 * 2))
    assert MEASURES["matthews"](np.ones(6), labels) == 0
    assert MEASURES["f1"](np.zeros(6), np.zeros(6)) == 0
    x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 10.0])
    assert MEASURES["pearson"](x, y) == pytest.approx(13 / np.sqrt(5 * 50))
    assert MEASURES["spearman"](x, y) == MEASURES["spearman"](y, x) == pytest.approx(0.8)
    assert MEASURES["spearman"](x, np.array([1.0, 2.0, 2.0, 3.0])) == pytest.approx(4.5 / np.sqrt(5 * 4.5))
    assert MEASURES["pearson"](x, -2 * x) == pytest.approx(-1)


def test_measures_join_loss_and_accuracy():
    logits = np.log([[0.25, 0.75], [0.5, 0.5], [0.9, 0.1]])
    found, predicted = measure("cross_entropy", logits, np.array([1, 0, 1]), ("f1",))
    assert predicted is not None
    assert predicted.tolist() == [1, 0, 0]
    expected = {"loss": -np.log([0.75, 0.5, 0.1]).mean(), "accuracy": 2 / 3, "f1": 2 / 3}
    assert found == pytest.approx(expected)
    numbers, none = measure("squared_error", np.array([[1.0], [2.0]]), np.array([0.0, 4.0]), ("pearson",))
    assert none is None
    assert numbers == pytest.approx({"loss": 2.5, "mse": 2.5, "pearson": 1.0})


def tiny(task: str, framework: str, *overrides: str) -> Cell:
    """A cell with a model of a few numbers, on six examples."""
    (cell,) = cells(Selection(tasks=(task,), frameworks=(framework,), overrides=overrides))
    assert cell.recipe is not None
    model: Any = cell.recipe.model
    sizes = {"d_model": 8, "d_ff": 8, "heads": 2}
    parts = {
        part: getattr(model.layer, part).replace(**sizes, window=5, s4_state_size=2) for part in ("bottom", "upper")
    }
    recipe = apply_overrides(cell.recipe, ["batch_size=3", "evaluation_batch_size=3", "epochs=1"])
    settings = {"source": "local", "train": 6, "validation": 0, "test": 5}
    recipe = recipe.rescaled(
        model=model.replace(
            layer=model.layer.replace(**parts, depth=1),
            decoder_layer=model.decoder_layer.replace(d_model=8, heads=2, head_width=4),
            decoder_depth=1,
            cross=model.cross.replace(**sizes, head_width=4),
        ),
        data=recipe.data.replace(settings=settings),
    )
    return dataclasses.replace(cell, recipe=recipe)


@pytest.mark.parametrize(("framework", "task"), [("jax", "glue.stsb"), ("torch", "glue.mrpc")])
def test_a_cell_records_the_measures_of_its_task(framework, task, glue, tmp_path):
    pytest.importorskip(framework)
    name = task.replace(".", "_")
    prepared(glue, name, validation=0)
    cell = tiny(task, framework)
    ((outcome,), _) = launch([cell], tmp_path / "runs", glue / "data")
    assert outcome.status == "measured", outcome.reason
    metrics = record(tmp_path / "runs", cell).metrics
    wanted = {"glue.stsb": {"test_mse", "test_pearson", "test_spearman"}, "glue.mrpc": {"test_accuracy", "test_f1"}}
    assert wanted[task] | {"test_loss", f"last_test_{KINDS[name].metric}"} <= metrics.keys()


def built(framework: str, pooling: str) -> tuple[Any, np.ndarray]:
    """The backend after an update in PyTorch, and its logits at the start."""
    pytest.importorskip(framework)
    recipe = tiny("glue.rte", framework, f"model.pooling={pooling}").recipe
    assert recipe is not None
    found = backend(framework, recipe)
    rng = np.random.default_rng(0)
    batch = Batch(rng.integers(1, 259, (3, 12)).astype(np.int32), *np.array([[12, 5, 9], [0, 1, 1]], np.int32))
    logits = found.evaluate(batch)
    if framework == "torch":
        found.train_step(batch, recipe.optimizer.rates(1), 1)
    return found, logits


def test_classes_are_read_from_the_decoders_first_position_or_the_encoders_mean():
    assert cells(Selection(tasks=("glue.rte",), profile="paper"))[0].recipe.model.pooling == "first"  # pyright: ignore
    (_, one), (first, other), (mean, third) = built("jax", "first"), built("torch", "first"), built("torch", "mean")
    np.testing.assert_allclose(other, one, rtol=1e-9)
    assert np.abs(third - other).max() > 1e-3
    moved, still = ({name: np.abs(a).max() for name, a in found.state().items()} for found in (first, mean))
    assert moved["first_moment.decoder.cross.0.attention.value.kernel"] > 1e-6
    assert all(still[name] == 0 for name in still if name.startswith("first_moment.decoder."))
    assert still["first_moment.classifier.kernel"] > 0


def test_a_model_that_only_writes_classifies_nothing():
    recipe = tiny("glue.rte", "torch").recipe
    assert recipe is not None
    with pytest.raises(ConfigError, match="expected one for a model without classes, which writes"):
        recipe.replace(model=recipe.model.replace(classes=0))
