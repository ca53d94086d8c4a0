"""The command line `python -m suite.data` and the manifests."""

import os
import signal
import subprocess
import sys

import pytest

from reports.console import READER_GONE
from suite.data import catalog, doctor, listops, manifest
from suite.data.__main__ import main
from suite.data.doctor import after_files
from suite.data.errors import DataError, NoData
from suite.data.settings import SPLITS

IMAGE = "imgs/0/sample_0.png"
COUNTS = ["--train", "12", "--validation", "3", "--test", "2"]


def test_prepare_list_and_verify(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LONGSEQ_DATA", str(tmp_path))
    assert main(["list"]) == 0
    assert f"not prepared in {tmp_path}" in capsys.readouterr().out
    assert main(["verify"]) == 1
    assert "error: nothing of lra_listops" in capsys.readouterr().err
    assert main(["prepare", "lra_listops", *COUNTS, "--jobs", "1"]) == 0
    output = capsys.readouterr()
    assert output.out.endswith(": whole\n")
    assert "17 of 17 sequences" in output.err
    assert main(["list"]) == 0
    assert "train=12 validation=3 test=2" in capsys.readouterr().out
    assert main(["verify", "lra_listops"]) == 0

    labels = next(tmp_path.rglob("train/labels.npy"))
    labels.write_bytes(labels.read_bytes()[:-1] + b"\x55")
    assert main(["verify", "lra_listops"]) == 1
    error = capsys.readouterr().err
    assert f"error: {labels} is corrupt" in error
    assert main(["prepare", "lra_listops", *COUNTS]) == 0
    assert main(["verify"]) == 0


def test_verify_names_unreadable_and_foreign_folders(tmp_path, capsys):
    assert main(["prepare", "lra_listops", *COUNTS, "--root", str(tmp_path)]) == 0
    folder = catalog.prepared_folders("lra_listops", tmp_path)[0]
    folder.rename(folder.with_name("0" * 16))
    assert main(["verify", "--root", str(tmp_path)]) == 1
    assert "prepared by another version" in capsys.readouterr().err
    (folder.with_name("0" * 16) / "meta.json").write_text("{")
    assert main(["verify", "--root", str(tmp_path)]) == 1
    assert main(["list", "--root", str(tmp_path)]) == 1
    listed = capsys.readouterr().out
    assert "meta.json is corrupt" in listed
    assert all(f"{name}: " in listed for name in catalog.names())  # also those behind the damaged one


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "lra_listop"], "did you mean 'lra_listops'"),
        (["verify", "listops"], "did you mean 'lra_listops'"),
        (["doctor", "lra_listop"], "did you mean 'lra_listops'"),
        (["doctor", "book", "pg1"], "did you mean 'pg19'"),
        (["prepare", "lra_listops", "--train", "0"], "train must be an integer of at least 1"),
        (["prepare", "lra_listops", "--jobs", "0"], "--jobs must be at least 1"),
    ],
)
def test_wrong_arguments_are_one_sentence(tmp_path, capsys, arguments, message):
    assert main([*arguments, "--root", str(tmp_path)]) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1


def test_missing_released_files_are_one_sentence(tmp_path, capsys):
    assert main(["prepare", "lra_listops", "--root", str(tmp_path), "--from", str(tmp_path / "nowhere")]) == 1
    assert "basic_train.tsv is missing" in capsys.readouterr().err.splitlines()[-1]


def test_files_that_no_program_fetches_are_taken_by_hand(tmp_path):
    with pytest.raises(NoData) as missing:
        catalog.open_dataset("pg19", tmp_path)
    text = str(missing.value)
    assert text.startswith(f"pg19 is not prepared in {tmp_path}. By hand: PG-19 is 28,752 single files, no archive.")
    assert f"Then: python -m suite.data import pg19 PATH --root {tmp_path}" in text
    assert "suite.data fetch" not in text
    with pytest.raises(NoData, match=r"\. Get it with: python -m suite\.data fetch enwik8 --root "):
        catalog.open_dataset("enwik8", tmp_path)


def test_files_that_are_absent_come_before_the_preparation(tmp_path):
    assert after_files("pg19", tmp_path).startswith("By hand: PG-19 is 28,752 single files")
    assert after_files("lra_image", tmp_path).startswith("Get it with: python -m suite.data fetch lra_image --root ")
    released = after_files("lra_listops", tmp_path)
    assert released.startswith(f"python -m suite.data prepare lra_listops --root {tmp_path} --source released, and in ")
    assert "--set data.settings.source=released; without it they are generated" in released


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("lra_listops", ["basic_train.tsv", "basic_val.tsv", "basic_test.tsv"]),
        ("lra_pathfinder", [f"pathfinder32/curv_contour_length_14/{file}" for file in ("metadata/0.npy", IMAGE)]),
        ("lra_pathx", [f"pathfinder128/curv_contour_length_14/{file}" for file in ("metadata/0.npy", IMAGE)]),
    ],
)
def test_the_doctor_prepares_from_the_files_that_were_imported(tmp_path, name, files):
    """Of Pathfinder those of the default resolution are enough."""
    assert doctor.examine(name, tmp_path).next == f"python -m suite.data prepare {name} --root {tmp_path}"
    folder = catalog.place(name, tmp_path, {}).raw
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"")
    assert doctor.examine(name, tmp_path).next == after_files(name, tmp_path)
    assert f"prepare {name} --root {tmp_path} --source released, and in every run" in after_files(name, tmp_path)


def test_verify_looks_at_every_data_set_of_a_folder(tmp_path, capsys):
    """CoLA and SST-2 lie in one folder, and so does MRPC, of which no sha256 is known."""
    folder = tmp_path / "raw" / "glue"
    for name in ("CoLA/train.tsv", "SST-2/train.tsv", "MRPC/dev.tsv"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(b"")
    for names in (["glue_cola", "glue_sst2"], ["glue_sst2", "glue_cola"], []):
        assert main(["verify", *names, "--root", str(tmp_path)]) == 1
        told = capsys.readouterr()
        assert all(f"{name}/train.tsv is not the released file" in told.err for name in ("CoLA", "SST-2"))
    assert told.out == f"{folder}, glue_mrpc: 1 part, of which no sha256 is known to verify them by\n"
    assert main(["verify", "glue_mrpc", "--root", str(tmp_path)]) == 0
    assert main(["verify", "glue_rte", "--root", str(tmp_path)]) == 1
    assert "nothing of glue_rte" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_traceback():
    for program in (["suite.data", "list"], ["suite.run", "--list"]):
        read, write = os.pipe()
        os.close(read)
        child = subprocess.run(
            [sys.executable, "-m", *program], stdout=write, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(write)
        assert (child.returncode, child.stderr) == (READER_GONE, ""), program


def test_help_says_what_there_is(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "lra_listops" in text
    assert "exit status" in text


def test_a_termination_signal_ends_cleanly(tmp_path):
    command = [sys.executable, "-m", "suite.data", "prepare", "lra_listops", "--root", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "preparing" in process.stderr.readline()
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted; nothing half-made was kept"
    assert not catalog.prepared_folders("lra_listops", tmp_path)


def test_a_bar_is_drawn_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with catalog.progress("listops", 8) as advance:
        advance(8)
    assert "8/8" in capsys.readouterr().err


def test_manifest_agrees_with_the_code():
    read = manifest.read(listops.NAME)
    release = listops.ListOpsSettings()
    assert read.title == listops.TITLE
    assert read.generator.version == listops.GENERATOR_VERSION
    assert {"source": "generated", **read.generator.settings, **read.splits} == release.to_dict()
    files = {f"{split}/{array}.npy" for split in SPLITS for array in catalog.store.ARRAYS}
    for selection in read.selections:
        assert set(selection.sha256) == files
        assert read.pinned(listops.ListOpsSettings(**selection.settings).to_dict()) == selection.sha256
    assert read.pinned(listops.ListOpsSettings(seed=4).to_dict()) == {}
    assert read.pinned(listops.ListOpsSettings(source="released").to_dict()) == {}
    assert {file.split for file in read.release.files} == set(SPLITS)


def test_smoke_selection_is_what_the_manifest_pins(tmp_path):
    pinned = next(s for s in manifest.read(listops.NAME).selections if s.name == "smoke")
    prepared = catalog.prepare_dataset(listops.NAME, tmp_path, **pinned.settings)
    assert prepared.hashes == pinned.sha256


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("train = 96000\n", "train = 0\n", "$.splits"),
        ('spdx = "Apache-2.0"', "", "`$.licence`"),
        ("year = 2018", 'year = "2018"', "`$.citations[1].year`"),
        ('"test/labels.npy" = "', '"test/labels.npy" = "x', "`$.selections[0].sha256"),
        ('id = "depth"', 'ident = "depth"', "`$.defects[3]`"),
        ("unverified = ", "note = ", "`$.release.archives[0]`"),
        ("data/1", "data/9", "`$.schema`"),
        ('name = "lra_listops"', 'name = "listops"', "`$.name`"),
        ("[licence]", "[licence", "lra_listops.toml: "),
    ],
)
def test_a_wrong_manifest_names_the_place(tmp_path, old, new, message):
    text = manifest.path(listops.NAME).read_text()
    assert old in text
    file = tmp_path / "lra_listops.toml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        manifest.parse(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing.toml is missing"):
        manifest.parse(tmp_path / "nothing.toml")
