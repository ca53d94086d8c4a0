"""Prepared data: whole or not there, verified before use, and given out in padded batches."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from suite.data import CorruptData, DataError, NoData, SettingsError, UnknownData, open_dataset, prepare_dataset, store
from suite.data.listops import EOS, ListOpsSettings, evaluate
from suite.data.listops_generator import generate

COUNTS = {"train": 60, "validation": 20, "test": 10}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    open_dataset("lra_listops", root, **COUNTS)
    return root


@pytest.fixture
def prepared(root):
    return open_dataset("lra_listops", root, prepare=False, **COUNTS)


def test_prepared_arrays_are_the_generated_ones(prepared):
    for name, sequences in generate(ListOpsSettings(**COUNTS)).items():
        split = getattr(prepared, name)
        assert split.count == COUNTS[name] == len(split.labels)
        for array in store.ARRAYS:
            np.testing.assert_array_equal(getattr(split, array), getattr(sequences, array))
    assert (prepared.train.tokens.dtype, prepared.train.offsets.dtype, prepared.train.labels.dtype) == (
        np.uint8, np.int64, np.int32,
    )  # fmt: skip


def test_prepared_arrays_are_mapped_not_read(prepared):
    base = prepared.train.tokens
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_batches_are_padded_sequences_with_labels(prepared):
    chosen = np.array([3, 59, 0, 3])
    batch = prepared.train.batch(chosen)
    assert (batch.inputs.shape, batch.inputs.dtype) == ((4, 2048), np.uint8)
    assert (batch.lengths.dtype, batch.labels.dtype) == (np.int32, np.int32)
    for row, index in enumerate(chosen):
        length = batch.lengths[row]
        assert length == prepared.train.lengths[index]
        assert batch.inputs[row, length - 1] == EOS
        assert not batch.inputs[row, length:].any()
        assert evaluate(batch.inputs[row, : length - 1].tobytes()) == batch.labels[row]
    narrow = prepared.train.batch(chosen, pad_to=int(batch.lengths.max()))
    np.testing.assert_array_equal(narrow.inputs, batch.inputs[:, : batch.lengths.max()])


def test_batches_neither_truncate_nor_wrap_around(prepared):
    with pytest.raises(ValueError, match="does not fit into pad_to = 400; nothing is truncated"):
        prepared.train.batch(np.array([0]), pad_to=400)
    for index in (-1, 60):
        with pytest.raises(IndexError, match="split of 60 sequences"):
            prepared.train.batch(np.array([0, index]))


def test_a_batch_of_the_paper_takes_under_two_milliseconds(prepared):
    chosen = np.arange(50)
    times = []
    for _ in range(30):
        start = time.perf_counter()
        prepared.train.batch(chosen)
        times.append(time.perf_counter() - start)
    assert min(times) < 2e-3


def test_majority_is_that_of_the_train_labels(prepared):
    labels = prepared.train.labels.tolist()
    most = max(range(10), key=lambda label: (labels.count(label), -label))
    assert prepared.majority("train") == labels.count(most) / 60
    assert prepared.majority("test") == prepared.test.labels.tolist().count(most) / 10


def test_hashes_and_protocol_describe_the_data(prepared):
    assert set(prepared.hashes) == {f"{s}/{a}.npy" for s in COUNTS for a in store.ARRAYS}
    assert prepared.hashes["test/labels.npy"] == store.sha256(prepared.directory / "test" / "labels.npy")
    assert prepared.protocol["splits"] == COUNTS
    assert prepared.protocol["settings"] == prepared.settings == ListOpsSettings(**COUNTS).to_dict()


def test_preparing_again_changes_nothing(root, prepared, capfd):
    before = (prepared.directory / store.META).stat().st_mtime_ns
    prepare_dataset("lra_listops", root, **COUNTS)
    assert (prepared.directory / store.META).stat().st_mtime_ns == before
    assert "preparing" not in capfd.readouterr().err


def test_absent_data_name_the_command_that_prepares_them(tmp_path):
    with pytest.raises(NoData, match=r"python -m suite.data prepare lra_listops --root .* --train 7 --seed 3"):
        open_dataset("lra_listops", tmp_path, prepare=False, train=7, seed=3)
    with pytest.raises(NoData, match="--from DIR"):
        open_dataset("lra_listops", tmp_path, source="released")
    with pytest.raises(NoData, match="--from DIR"):
        prepare_dataset("lra_listops", tmp_path, source="released")
    assert not list(tmp_path.iterdir())


def test_unknown_names_answer_with_the_nearest(tmp_path):
    with pytest.raises(UnknownData, match="did you mean 'lra_listops'"):
        open_dataset("listops", tmp_path)
    with pytest.raises(SettingsError, match="did you mean 'validation'"):
        open_dataset("lra_listops", tmp_path, validations=3)


@pytest.fixture
def own(tmp_path):
    """Prepared data that a test may harm."""
    return open_dataset("lra_listops", tmp_path, **COUNTS)


def mend(prepared, message: str) -> None:
    """Run the command that the message names, in a process of its own; afterwards the data open."""
    command = re.search(r"Mend it with: python (.*)$", message)
    assert command
    done = subprocess.run([sys.executable, *shlex.split(command[1])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    root = prepared.directory.parents[2]
    again = open_dataset("lra_listops", root, prepare=False, **COUNTS)
    assert again.hashes == prepared.hashes
    assert not list(prepared.directory.parent.glob(".*.tmp"))


def test_a_changed_byte_stops_with_both_hashes_and_the_remedy(own):
    path = own.directory / "validation" / "tokens.npy"
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptData) as caught:
        open_dataset("lra_listops", own.directory.parents[2], **COUNTS)
    message = str(caught.value)
    assert all(each in message for each in (str(path), own.hashes["validation/tokens.npy"], store.sha256(path)))
    with pytest.raises(CorruptData):
        own.verify()
    mend(own, message)


@pytest.mark.parametrize("file", ["test/labels.npy", "meta.json"])
def test_a_missing_file_stops_with_the_remedy(own, file):
    (own.directory / file).unlink()
    with pytest.raises(CorruptData, match=re.escape(str(own.directory / file))) as caught:
        open_dataset("lra_listops", own.directory.parents[2], **COUNTS)
    mend(own, str(caught.value))


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("prepared/1", "prepared/2"),
        lambda text: text.replace('"schema"', '"scheme"'),
        lambda text: text.replace('"maximum_length": 2048', '"maximum_length": 2000'),
    ],
)
def test_a_harmed_description_stops_with_the_remedy(own, harm):
    meta = own.directory / store.META
    text = meta.read_text()
    assert harm(text) != text
    meta.write_text(harm(text))
    with pytest.raises(CorruptData) as caught:
        open_dataset("lra_listops", own.directory.parents[2], **COUNTS)
    mend(own, str(caught.value))


def test_without_verification_a_truncated_file_still_stops(own):
    path = own.directory / "train" / "labels.npy"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptData, match=r"labels.npy is corrupt"):
        open_dataset("lra_listops", own.directory.parents[2], verify=False, **COUNTS)


def test_a_generator_that_leaves_its_manifest_stops(own, monkeypatch):
    from suite.data import manifest

    monkeypatch.setattr(manifest.Manifest, "pinned", lambda self, settings: {"test/tokens.npy": "0" * 64})
    with pytest.raises(DataError, match=r"lra_listops.toml pins: expected sha256 0000.*version and the manifest"):
        own.verify()


PREPARE = ["prepare", "lra_listops", *(word for key, n in COUNTS.items() for word in (f"--{key}", str(n)))]
RUN = """import os, sys
from suite.data import store
from suite.data.__main__ import main
{patch}
sys.exit(main({argv}))"""


def start(patch: str, root: Path) -> subprocess.Popen:
    code = RUN.format(patch=patch, argv=[*PREPARE, "--root", str(root)])
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("function", ["_write_array", "sha256", "_write_bytes", "_swap"])
def test_a_killed_preparation_leaves_nothing_half(tmp_path, function):
    """The process kills itself on entering a step of the writing; the next preparation is whole and cleans up."""
    process = start(f"store.{function} = lambda *_: os.kill(os.getpid(), 9)", tmp_path)
    process.communicate()
    assert process.returncode == -9
    place = tmp_path / "prepared" / "lra_listops"
    assert list(place.glob(".*.tmp"))
    assert not list(place.glob("[0-9a-f]*"))
    with pytest.raises(NoData):
        open_dataset("lra_listops", tmp_path, prepare=False, **COUNTS)
    open_dataset("lra_listops", tmp_path, **COUNTS).verify()
    assert not list(place.glob(".*.tmp"))


def test_two_preparations_at_once_do_the_work_once(tmp_path):
    processes = [start("pass", tmp_path) for _ in range(2)]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum("preparing" in errors for _, errors in outputs) == 1
    open_dataset("lra_listops", tmp_path, prepare=False, **COUNTS).verify()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    """A file size limit makes the kernel refuse a write, as a full disk does."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))"
    process = start(limit, tmp_path)
    _, errors = process.communicate()
    assert process.returncode == 1
    last = errors.splitlines()[-1]
    assert last.startswith(f"error: cannot write {tmp_path}")
    assert "File too large" in last
    assert "--root" in last
    assert "Traceback" not in errors
    assert [path.suffix for path in (tmp_path / "prepared" / "lra_listops").iterdir()] == [".lock"]


def test_a_root_that_is_no_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write .*Not a directory"):
        open_dataset("lra_listops", tmp_path / "file", **COUNTS)


def test_a_file_system_without_locks_still_prepares(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(store.fcntl, "flock", refuse)
    open_dataset("lra_listops", tmp_path, **COUNTS).verify()


def test_meta_is_readable_json(prepared):
    meta = json.loads((prepared.directory / store.META).read_text())
    assert meta["schema"] == "longseq-bench/prepared/1"
    assert set(meta["files"]) == set(prepared.hashes)
