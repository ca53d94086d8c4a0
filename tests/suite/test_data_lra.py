"""Text, Image and Retrieval of Long Range Arena, read from small files of exactly the released layouts."""

import hashlib
import os
import pickle

import data_files
import numpy as np
import pytest
from PIL import Image

from suite.data import DataError, catalog, cifar, imdb, manifest, prepare_dataset
from suite.data.characters import SPECIALS, frequent
from suite.data.permutation import first, torch_permutation
from suite.data.settings import SPLITS

LOCAL = {"source": "local"}


def texts(split, letters: str) -> list[str]:
    """The sequences of a split as text, `?` for an unknown character and `.` for the end."""
    names = ["_", "?", ".", *letters]
    bounds = zip(split.offsets[:-1], split.offsets[1:], strict=True)
    return ["".join(names[token] for token in split.tokens[start:stop]) for start, stop in bounds]


@pytest.fixture
def reviews(tmp_path):
    return data_files.imdb(tmp_path / "files")


def test_reviews_become_characters(tmp_path, reviews):
    # The folder above the reviews will do, as unpacking leaves it.
    prepared = prepare_dataset("lra_text", tmp_path, released=reviews.parent, **LOCAL, train=4, validation=2, test=4)
    found = texts(prepared.train, imdb.LETTERS)
    assert found == ["bad <br /> film.", "xbad <br /> film.", "très bien ?.", "xtrès bien ?."]
    np.testing.assert_array_equal(prepared.train.labels, [0, 0, 1, 1])
    test = texts(prepared.test, imdb.LETTERS)
    assert test[0] == ("dull" * 2000)[:4095] + "."
    assert test[2] == "fine?\x85."
    batch = prepared.test.batch(np.arange(4))
    assert (batch.inputs.shape, batch.inputs.dtype) == ((4, 4096), np.uint8)
    np.testing.assert_array_equal(batch.lengths, [4096, 4096, 7, 8])
    assert set(texts(prepared.validation, imdb.LETTERS)) < set(test)
    assert prepared.protocol["vocabulary_size"] == 134


def test_reviews_become_bytes_in_the_variant_of_lra(tmp_path, reviews):
    prepared = prepare_dataset("lra_text", tmp_path, released=reviews, **LOCAL, train=3, test=4, variant="lra")
    batch = prepared.test.batch(np.array([0, 2]))
    assert (batch.inputs.shape, batch.inputs.dtype) == ((2, 4000), np.int32)
    np.testing.assert_array_equal(batch.inputs[1, :7] - 1, list(b"fine\x00\xc2\x85"))
    np.testing.assert_array_equal(batch.lengths, [4000, 7])
    assert prepared.validation.count == 0
    assert prepared.train.count == 3


def test_the_vocabulary_of_reviews_is_that_of_frequent_characters():
    assert frequent(["baab", "cb\u3042c", "d"], 2) == "bac"
    assert len(set(imdb.LETTERS)) == len(imdb.LETTERS) == 131
    assert imdb.LETTERS.startswith(" etaoisnrhldc")
    assert imdb.VOCABULARY.encode("e t\u3042", 4).tolist() == [4, 3, 5, SPECIALS.index("<eos>")]


def test_released_reviews_must_give_the_known_vocabulary(reviews):
    with pytest.raises(DataError, match="have other characters than this version knows: ''"):
        imdb.read(imdb.TextSettings(train=4, test=4), reviews, lambda count: None)


def test_wrong_reviews_are_named(tmp_path, reviews):
    with pytest.raises(DataError, match=r"train has 4 reviews, 5 are wanted for train"):
        prepare_dataset("lra_text", tmp_path, released=reviews, **LOCAL, train=5, test=4)
    with pytest.raises(DataError, match=r"txt: 2 files, the release has 12,500"):
        prepare_dataset("lra_text", tmp_path, released=reviews, train=4, test=4)
    (reviews / "train" / "pos" / "10_9.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"10_9.txt is no UTF-8 text"):
        prepare_dataset("lra_text", tmp_path, released=reviews, **LOCAL, train=4, test=4)


def test_images_become_normalized_grey_pixels(tmp_path):
    folder, images, labels = data_files.cifar(tmp_path)
    prepared = prepare_dataset("lra_image", tmp_path, released=tmp_path, **LOCAL, train=18, validation=2, test=4)
    order = torch_permutation(20)
    batch = prepared.train.batch(np.array([0, 17]))
    assert (batch.inputs.shape, batch.inputs.dtype) == ((2, 1024, 1), np.float32)
    for row, index in enumerate((order[0], order[17])):
        grey = np.asarray(Image.fromarray(images[index].reshape(32, 32, 3)).convert("L"), np.float64).ravel()
        np.testing.assert_allclose(batch.inputs[row, :, 0], (grey - 122.6) / 61, atol=1e-6)
        assert batch.labels[row] == labels[index]
    np.testing.assert_array_equal(prepared.validation.labels, labels[order[18:]])
    np.testing.assert_array_equal(prepared.test.labels, labels[20:])
    assert batch.lengths.tolist() == [1024, 1024]
    few = {**LOCAL, "train": 1, "validation": 0, "test": 1}
    mega = prepare_dataset("lra_image", tmp_path, released=folder, **few, variant="mega")
    values = mega.train.batch(np.array([0])).inputs
    np.testing.assert_allclose(values[0, :, 0] * 0.24 + 0.48, mega.train.tokens / 255, atol=1e-6)


def test_images_keep_their_colours_in_scifar(tmp_path):
    folder, images, _ = data_files.cifar(tmp_path)
    prepared = prepare_dataset("cifar10", tmp_path, released=folder, **LOCAL, train=18, validation=2, test=4)
    batch = prepared.test.batch(np.array([3]))
    means, deviations = [0.4914, 0.4822, 0.4465], [0.247, 0.243, 0.261]
    np.testing.assert_allclose(batch.inputs[0], (images[23] / 255 - means) / deviations, atol=1e-6)


def test_grey_is_that_of_pillow():
    colours = np.random.default_rng(1).integers(0, 256, (4, 1024, 3), dtype=np.uint8)
    expected = [np.asarray(Image.fromarray(each.reshape(32, 32, 3)).convert("L")).ravel() for each in colours]
    np.testing.assert_array_equal(cifar.grey(colours), expected)


class _Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile",)


def test_wrong_batches_are_named_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, _, _ = data_files.cifar(tmp_path)
    wanted = {**LOCAL, "released": folder, "train": 18, "validation": 2, "test": 4}
    for content, message in (
        (pickle.dumps(_Hostile(), protocol=2), "system has no place in an array"),
        (b"", "Ran out of input"),
        (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8)}, protocol=2), "labels"),
        (pickle.dumps({b"data": np.zeros((2, 3000), np.uint8), b"labels": [1, 2]}, protocol=2), "shape"),
    ):
        (folder / "data_batch_3").write_bytes(content)
        with pytest.raises(DataError, match=f"data_batch_3 is no batch of CIFAR-10: .*{message}"):
            prepare_dataset("lra_image", tmp_path, **wanted)
    assert not (tmp_path / "hostile").exists()
    (folder / "data_batch_3").unlink()
    with pytest.raises(DataError, match="data_batch_3 is missing"):
        prepare_dataset("lra_image", tmp_path, **wanted)


def test_too_few_images_are_named(tmp_path):
    folder, _, _ = data_files.cifar(tmp_path)
    with pytest.raises(DataError, match="has 2 images for validation, 3 are wanted"):
        prepare_dataset("lra_image", tmp_path, released=folder, **LOCAL, train=18, validation=3, test=4)


def test_pairs_become_characters(tmp_path):
    folder = data_files.aan(tmp_path)
    wanted = {**LOCAL, "released": tmp_path, "train": 4, "validation": 2, "test": 4}
    prepared = prepare_dataset("lra_retrieval", tmp_path, **wanted)
    letters = "".join(map(chr, range(32, 127)))
    expected = [(one[:3999] + ".", two.replace("é", "?")[:3999] + ".") for _, one, two in data_files.PAIRS]
    assert texts(prepared.test, letters) == [text for pair in expected for text in pair]
    np.testing.assert_array_equal(prepared.test.labels, [1, 0, 1, 0])
    batch = prepared.train.batch(np.array([2, 0]))
    assert (batch.inputs.shape, batch.lengths.tolist()) == ((4, 4000), [4, 12, 2, 9])
    assert prepared.validation.count == 2
    assert prepared.protocol["documents"] == 2
    assert prepared.protocol["vocabulary_size"] == 98
    by_bytes = prepare_dataset("lra_retrieval", tmp_path, **(wanted | {"released": folder}), variant="lra")
    np.testing.assert_array_equal(by_bytes.train.batch(np.array([0])).inputs[1, :9] - 1, list("Second é".encode()))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1\tP01", "2\tP01", "line 3: expected the label 0 or 1, found '2'"),
        ("c d\te", "c d e", "line 3: expected 5 columns, found 4"),
        ("c d\te", "\te", "line 3: an empty document"),
    ],
)
def test_wrong_pairs_are_named(tmp_path, old, new, message):
    path = data_files.aan(tmp_path) / "new_aan_pairs.eval.tsv"
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[2]
    path.write_text("".join([*lines[:2], lines[2].replace(old, new), *lines[3:]]))
    with pytest.raises(DataError, match=rf"new_aan_pairs.eval.tsv, {message}"):
        prepare_dataset("lra_retrieval", tmp_path, released=tmp_path, **LOCAL, train=4, validation=4, test=4)


def test_too_few_pairs_are_named(tmp_path):
    data_files.aan(tmp_path)
    with pytest.raises(DataError, match="has 4 pairs, 147086 are wanted; pass --train 4"):
        prepare_dataset("lra_retrieval", tmp_path, released=tmp_path)


def test_the_permutation_is_that_of_pytorch():
    assert torch_permutation(10).tolist() == [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]
    assert torch_permutation(7, 5).tolist() == [1, 0, 4, 2, 6, 5, 3]
    digest = hashlib.sha256(torch_permutation(50_000).tobytes()).hexdigest()
    assert digest == "55ecb6cd4e1eb48274001018b26a797b833f72ae79a02b388e4874497445b43d"
    assert torch_permutation(0).size == 0
    assert torch_permutation(1).tolist() == [0]


def test_subsets_are_nested_and_keep_the_order():
    pool = np.arange(100, 150)
    np.testing.assert_array_equal(first(pool, 50), pool)
    few, more = first(pool, 5), first(pool, 20)
    assert set(few.tolist()) < set(more.tolist())
    assert (np.diff(more) > 0).all()


@pytest.mark.parametrize("name", ["lra_text", "lra_retrieval", "lra_image", "cifar10"])
def test_manifests_agree_with_the_code(name):
    read, settings = manifest.read(name), catalog.find(name).settings
    assert read.title == settings.TITLE
    defaults = settings().to_dict()
    pinned = read.preparation or read.generator
    assert pinned is not None
    assert {"source": defaults["source"], **read.splits, **pinned.settings} == defaults
    assert pinned.version == settings.VERSION
    facts = settings().protocol()
    assert {"split_rule", "maximum_length", "classes", "input", "metric"} <= set(facts)
    for selection in read.selections:
        chosen = settings.from_dict({"source": read.source(selection), **selection.settings})
        assert read.pinned(chosen.to_dict()) == selection.sha256
        assert {file.split("/")[0] for file in selection.sha256} == set(SPLITS)
