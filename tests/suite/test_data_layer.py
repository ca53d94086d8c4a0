"""The parts that data sets share: settings, values and pairs in batches, and original files verified before use."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from suite.data import CorruptData, DataError, NoData, SettingsError, catalog, listops, manifest, raw
from suite.data.dataset import DataSet
from suite.data.prepared import Normalization, Split
from suite.data.sequences import Sequences, join, stack
from suite.data.settings import Settings, choice, integer

MEAN, STD = [0.5, 0.25], [0.2, 0.4]


@dataclass(frozen=True)
class Toy(Settings):
    """Pairs of two-channel values, one byte of the file `toy.bin` each."""

    NAME: ClassVar[str] = "lra_listops"  # whose manifest is replaced in these tests
    TITLE: ClassVar[str] = "Toy"
    train: int = 4
    validation: int = integer(0, least=0)
    test: int = 2
    order: str = choice("plain", "reversed")
    shifted: bool = False

    def facts(self) -> dict[str, Any]:
        values = {"kind": "values", "scale": 1 / 255, "mean": MEAN, "std": STD}
        return {"split_rule": "in turn", "input": values, "maximum_length": 4, "classes": 2, "documents": 2}


def read(settings: Toy, folder: Path, advance) -> dict[str, Sequences]:
    data = np.frombuffer((folder / "toy.bin").read_bytes(), np.uint8).reshape(-1, 2)
    splits, start = {}, 0
    for split, count in settings.counts.items():
        documents = [data[start + 3 * i : start + 3 * i + 2 + i % 2] for i in range(2 * count)]
        splits[split] = join(documents, [i % 2 for i in range(count)])
        start += 3 * 2 * count
        advance(count)
    return splits


CONTENT = bytes(range(72))


@pytest.fixture
def toy(monkeypatch, tmp_path) -> Path:
    """The root of a catalog that knows the toy, whose files are there and cannot be fetched."""
    given = manifest.read("lra_listops")
    release = manifest.Release("https://example.org", [
        manifest.ReleasedFile("toy.bin", sha256=hashlib.sha256(CONTENT).hexdigest()),
        manifest.ReleasedFile("*/*.txt", files=2, sha256=hashlib.sha256(
            f"{hashlib.sha256(b'1').hexdigest()}  a/1.txt\n{hashlib.sha256(b'2').hexdigest()}  b/2.txt\n".encode()
        ).hexdigest()),
    ], folder="toys")  # fmt: skip
    preparation = manifest.Preparation("test", 1, "as it is", {"order": "plain", "shifted": False})
    changes = {"release": release, "generator": None, "preparation": preparation, "selections": []}
    changes["splits"] = {"train": 4, "validation": 0, "test": 2}
    monkeypatch.setattr(manifest, "read", lambda name: msgspec.structs.replace(given, **changes))
    monkeypatch.setitem(catalog.DATA_SETS, "lra_listops", DataSet(Toy, read=read))
    folder = tmp_path / "raw" / "toys"
    for name, content in (("toy.bin", CONTENT), ("a/1.txt", b"1"), ("b/2.txt", b"2")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return tmp_path


def test_values_of_pairs_are_normalized_and_padded(toy):
    prepared = catalog.open_dataset("lra_listops", toy)
    assert (prepared.train.count, prepared.validation.count, prepared.test.count) == (4, 0, 2)
    assert prepared.validation.tokens.size == 0
    batch = prepared.train.batch(np.array([2, 0]))
    assert (batch.inputs.shape, batch.inputs.dtype) == ((4, 4, 2), np.float32)
    np.testing.assert_array_equal(batch.lengths, [2, 2, 3, 3])
    np.testing.assert_array_equal(batch.labels, [0, 0])
    values = np.frombuffer(CONTENT, np.uint8).reshape(-1, 2)
    for row, start in enumerate((12, 0, 15, 3)):  # first documents of examples 2 and 0, then their second ones
        n = batch.lengths[row]
        np.testing.assert_allclose(
            batch.inputs[row, :n], (values[start : start + n] / 255 - MEAN) / STD, rtol=1e-6, atol=1e-7
        )
        assert not batch.inputs[row, n:].any()


def test_values_of_one_channel_and_wide_tokens():
    images = np.arange(12, dtype=np.float32).reshape(3, 4)
    sequences = stack(images, np.array([1, 0, 1]))
    split = Split(sequences.tokens, sequences.offsets, sequences.labels, 4, Normalization())
    np.testing.assert_array_equal(split.batch(np.array([2])).inputs, images[None, 2, :, None])
    wide = Split(images.ravel().astype(np.uint16) + 60_000, sequences.offsets, sequences.labels, 5)
    batch = wide.batch(np.array([1]))
    assert batch.inputs.dtype == np.int32
    np.testing.assert_array_equal(batch.inputs, [[60_004, 60_005, 60_006, 60_007, 0]])


def test_files_that_are_not_the_released_ones_stop_unless_they_are_called_local(toy):
    (toy / "raw" / "toys" / "toy.bin").write_bytes(CONTENT[::-1])
    with pytest.raises(DataError, match=r"toy.bin is not the released file: expected .* found .* --source local"):
        catalog.open_dataset("lra_listops", toy)
    with pytest.raises(NoData, match="--source local --from DIR"):
        catalog.open_dataset("lra_listops", toy, source="local")
    prepared = catalog.prepare_dataset("lra_listops", toy, released=toy / "raw" / "toys", source="local")
    assert prepared.protocol["name"] == "lra_listops/local"
    assert prepared.protocol["differences"] == ["the files are not those of the release"]
    assert prepared.hashes["toy.bin"] == hashlib.sha256(CONTENT[::-1]).hexdigest()
    catalog.open_dataset("lra_listops", toy, source="local", prepare=False).verify()


def test_missing_and_additional_files_are_named(toy):
    (toy / "raw" / "toys" / "a" / "3.txt").write_bytes(b"3")
    with pytest.raises(DataError, match=r"\*.txt: 3 files, the release has 2"):
        catalog.open_dataset("lra_listops", toy)
    (toy / "raw" / "toys" / "toy.bin").unlink()
    with pytest.raises(NoData, match=r"By hand: From a copy: python -m suite\.data import lra_listops PATH"):
        catalog.open_dataset("lra_listops", toy)
    with pytest.raises(DataError, match=r"toy.bin is missing"):
        catalog.prepare_dataset("lra_listops", toy, released=toy / "raw")


def test_absent_original_files_name_the_command_that_gets_them(toy):
    (toy / "raw").rename(toy / "elsewhere")
    for opened in (catalog.open_dataset, catalog.prepare_dataset):
        with pytest.raises(NoData, match=r"suite\.data import lra_listops PATH --root .*prepare .*--from DIR"):
            opened("lra_listops", toy)
    catalog.prepare_dataset("lra_listops", toy, released=toy / "elsewhere" / "toys")
    assert catalog.open_dataset("lra_listops", toy).protocol["source"] == "released"


def test_a_pinned_preparation_that_changes_stops(toy, monkeypatch):
    description = manifest.read("lra_listops")
    pinned = manifest.Selection("all", {}, {"test/labels.npy": "0" * 64})
    assert description.source(pinned) == "released"
    changed = msgspec.structs.replace(description, selections=[pinned])
    assert changed.pinned(Toy().to_dict()) == pinned.sha256
    assert changed.pinned(Toy(source="local").to_dict()) == changed.pinned(Toy(order="reversed").to_dict()) == {}
    monkeypatch.setattr(manifest, "read", lambda name: changed)
    with pytest.raises(DataError, match="its version and the manifest must change with it"):
        catalog.open_dataset("lra_listops", toy)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": "sorted"}, "order must be 'plain' or 'reversed', not 'sorted'"),
        ({"shifted": 1}, "shifted must be true or false, not 1"),
        ({"source": "generated"}, "source must be 'released' or 'local', not 'generated'"),
        ({"validation": -1}, "validation must be an integer of at least 0, not -1"),
        ({"train": True}, "train must be an integer of at least 1, not True"),
        ({"ordered": "plain"}, "did you mean 'order'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(SettingsError, match=message):
        Toy.from_dict(settings)


def test_settings_decide_the_folder():
    assert len({each.hash() for each in (Toy(), Toy(train=3), Toy(order="reversed"), Toy(source="local"))}) == 4
    assert Toy(order="reversed").changes() == {"order": "reversed"}


def test_listops_stays_where_it_was_prepared():
    assert listops.ListOpsSettings().hash() == "b9c43465db41e0aa"
    assert listops.ListOpsSettings(source="released", train=5).hash() == "8f9044c63a334c4f"
    assert "input" not in listops.ListOpsSettings().protocol()


def test_unreadable_files_are_named(toy):
    file = raw.ReleasedFile("toy.bin", unverified="a test")
    (toy / "toy.bin").mkdir()
    assert raw.matching(file, toy) == []
    with pytest.raises(DataError, match=r"toy.bin cannot be read"):
        raw.digest(file, toy, [toy / "toy.bin"])


def test_a_split_that_shrank_stops(toy):
    prepared = catalog.open_dataset("lra_listops", toy)
    np.save(prepared.directory / "test" / "labels.npy", np.zeros(1, np.int32))
    with pytest.raises(CorruptData, match="1 sequences, expected 2"):
        catalog.open_dataset("lra_listops", toy, verify=False)
