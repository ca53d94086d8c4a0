"""What a record says of its data: numbers on other files are other groups, and are not taken for what is measured."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import data_files
import msgspec
import numpy as np
import pytest

from implementations.common.config import ConfigError
from reports import frames, records
from suite import run
from suite.data import Prepared, prepare_dataset
from suite.data.catalog import DATA_SETS
from suite.launch import generation_result, language_result, local, pretraining_result, result
from suite.matrix import Cell, Selection, cells
from suite.training.checkpoint import CheckpointStore
from suite.training.generation.loop import GenerationLoop
from suite.training.language.metrics import METRICS
from suite.training.loop import Classification, Controls, Run
from suite.training.pretraining.loop import PretrainingLoop

ARXIV = ["--tasks", "lm.arxiv", "--architectures", "s5", "--frameworks", "torch", "--hardware", "cpu"]


def cell(task: str, *overrides: str, architecture: str = "s5", seed: int = 0) -> Cell:
    """The smoke cell of a task in PyTorch."""
    chosen = Selection(
        tasks=(task,), architectures=(architecture,), frameworks=("torch",), overrides=overrides, seeds=(seed,)
    )
    (found,) = cells(chosen)
    return found


def books(folder: Path, text: bytes) -> Path:
    """A document for each split, whose beginning is the text."""
    for split in ("train", "validation", "test"):
        (folder / split).mkdir(parents=True)
        (folder / split / "1.txt").write_bytes(text + split.encode() * 700)
    return folder


def meetings(folder: Path) -> Path:
    """A meeting for each split."""
    asked = [{"query": "why?", "answer": "because"}]
    turns = [{"speaker": "A", "content": "words"}]
    for split in ("train", "val", "test"):
        (folder / split).mkdir(parents=True)
        meeting = {"meeting_transcripts": turns, "general_query_list": asked, "specific_query_list": []}
        (folder / split / "1.json").write_text(json.dumps(meeting))
    return folder


def ended(row: dict[str, Any], **arrays: Any) -> Run:
    """A run that reached the end of its only epoch."""
    return Run(epochs=[{"epoch": 1, "epoch_step": 1, "train_loss": 1.0, **row}], selected=0, losses=[1.0], **arrays)


def record(made: Any, of: Cell, found: Run, data: Prepared) -> records.Record:
    """The record of a run as the cell's process writes it."""
    return made.measured(of, result.protocol(of), found, data, {}, {"parameter_count": 1})


def language_record(data: Prepared, seed: int = 0) -> records.Record:
    row = {f"{split}_{name}": 2.0 for split in ("validation", "test") for name in METRICS}
    return record(language_result, cell("lm.arxiv", seed=seed), ended(row, positions=np.ones((1, 2))), data)


def test_seeds_on_two_folders_are_two_rows(tmp_path):
    found = []
    for seed, name in enumerate("abb"):
        folder = books(tmp_path / f"{seed}", name.encode() * 100)
        found.append(language_record(prepare_dataset("arxiv", tmp_path / f"data{seed}", released=folder), seed))
    assert found[0].protocol["splits"]["test"] == {"documents": 1, "tokens": 2900, "bytes": 2900, "words": 1}
    one, other, again = (frames.fingerprint(each.protocol) for each in found)
    assert one != other == again
    assert {frames.fingerprint(each.recipe) for each in found} == {frames.fingerprint(found[0].recipe)}


@pytest.mark.parametrize("source", ["local", "generated"])
def test_every_kind_of_record_names_the_users_own_files(tmp_path, source):
    """Classifiers, pre-training and summaries; what is generated or released is told by its settings."""
    if source == "generated":
        data, of = prepare_dataset("lra_listops", tmp_path, train=2, test=2, validation=1), cell("lra.listops")
        made = record(result, of, ended({"test_accuracy": 0.5}), data)
        assert made.protocol == {**result.protocol(of), "splits": {"train": 2, "validation": 1, "test": 2}}
        return
    reviews, rouge = data_files.imdb(tmp_path / "imdb"), {f"test_{name}": 0.0 for name in generation_result.MEASURES}
    written = np.zeros((1, 4), np.int64)
    for made, of, row, arrays, data in [
        (result, cell("lra.text"), {"test_accuracy": 0.5}, {"predictions": np.array([0, 0, 1, 1])},
         prepare_dataset("lra_text", tmp_path, released=reviews, source="local", train=4, test=4)),
        (pretraining_result, cell("pretraining.pg19", architecture="spade"), {}, {},
         prepare_dataset("pg19", tmp_path, released=books(tmp_path / "books", b"b"), source="local")),
        (generation_result, cell("summaries.qmsum", architecture="spade"), rouge, {"predictions": written},
         prepare_dataset("qmsum", tmp_path, released=meetings(tmp_path / "m"), source="local", train=1, validation=1,
                         test=1)),
    ]:  # fmt: skip
        found = record(made, of, ended(row, **arrays), data)
        assert found.protocol["prepared_sha256"] == data.digest
        assert found.protocol["splits"] == data.protocol["splits"]


def test_a_cell_measured_on_other_data_is_refused_and_kept(tmp_path, capsys):
    root, out = tmp_path / "data", tmp_path / "runs"
    first = language_record(prepare_dataset("arxiv", root, released=books(tmp_path / "a", b"a")))
    first = msgspec.structs.replace(first, provenance={"data": first.provenance["data"]})
    path = records.write(first, out)
    before = path.read_bytes()
    of = cell("lm.arxiv")
    assert local.finished(out, of, root)
    assert local.finished(out, of, tmp_path / "nothing")
    prepare_dataset("arxiv", root, released=books(tmp_path / "b", b"b"))
    capsys.readouterr()
    for further in ([], ["--dry-run"]):
        assert run.main([*ARXIV, "--out", str(out), "--data", str(root), *further]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        assert "lm.arxiv s5 torch seed 0" in said[0]
        assert "other data" in said[0]
        assert "--no-resume" in said[0]
    assert path.read_bytes() == before
    next((root / "prepared" / "arxiv").glob("*/meta.json")).write_text("damaged")
    assert local.finished(out, of, root)
    unnamed = msgspec.structs.replace(first, provenance={})
    records.write(unnamed, out)
    assert local.finished(out, of, root)


@pytest.mark.parametrize(
    ("task", "architecture", "overrides", "loop", "found", "least"),
    [
        ("lra.text", "s5", ("data.settings.variant=lra",), Classification, 135, 257),
        ("lra.listops", "s5", ("model.input_size=17",), Classification, 17, 18),
        ("lra.retrieval", "s5", ("data.settings.variant=lra",), Classification, 98, 257),
        ("summaries.qmsum", "spade", ("model.input_size=258",), GenerationLoop, 258, 259),
        ("pretraining.book", "spade", ("model.input_size=258",), PretrainingLoop, 258, 259),
    ],
)
def test_a_model_without_all_tokens_is_refused(tmp_path, task, architecture, overrides, loop, found, least):
    recipe = cell(task, *overrides, architecture=architecture).recipe
    assert recipe is not None
    settings = DATA_SETS[recipe.data.name].settings.from_dict(recipe.data.settings)
    data: Any = SimpleNamespace(protocol=settings.protocol(), name=recipe.data.name)
    message = (
        f"input_size is {found}: expected at least {least}, the vocabulary of {recipe.data.name}; set it with --set"
    )
    with pytest.raises(ConfigError, match=message):
        loop(recipe, data, None, 0, CheckpointStore(tmp_path), Controls())


def test_every_recipe_has_all_tokens_of_its_data():
    for profile in ("smoke", "paper"):
        for one in cells(Selection(frameworks=("torch",), profile=profile)):
            if one.recipe is None or one.recipe.language or one.recipe.data.name not in DATA_SETS:
                continue
            facts = DATA_SETS[one.recipe.data.name].settings.from_dict(one.recipe.data.settings).protocol()
            least = facts.get("vocabulary_size") or len(facts.get("vocabulary", ()))
            assert one.recipe.model.input_kind != "tokens" or one.recipe.model.input_size >= least, one.label
