"""MNIST and Speech Commands from small files of the released layout."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from speech_clips import clip, speech_files

from suite.data import DataError, NoData, acquire, doctor, manifest, open_dataset, prepare_dataset
from suite.data.catalog import place
from suite.data.mnist import bit_reversal
from suite.data.permutation import torch_permutation
from suite.data.speech_commands import SpeechCommandsSettings
from suite.data.speech_files import TEN_WORDS, WORDS, assigned_split, read_clip, split_of

IMAGES, TESTS = 30, 5


def idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes())


@pytest.fixture
def digits(tmp_path) -> Path:
    """Image i holds i in its first pixel, 255 in its second and i in the last, and has the label i % 10."""
    folder = tmp_path / "files"
    folder.mkdir()
    for part, count in (("train", IMAGES), ("t10k", TESTS)):
        images = np.zeros((count, 28, 28), np.uint8)
        images[:, 0, 0] = images[:, 27, 27] = np.arange(count)
        images[:, 0, 1] = 255
        idx(folder / f"{part}-images-idx3-ubyte", images)
        idx(folder / f"{part}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))
    return folder


def prepared_digits(tmp_path, digits, **settings):
    counts = {"train": 27, "validation": 3, "test": 5, **settings}
    return prepare_dataset("mnist", tmp_path / "data", released=digits, source="local", **counts)


def test_mnist_holds_out_the_examples_that_pytorch_draws(tmp_path, digits):
    prepared = prepared_digits(tmp_path, digits)
    order = torch_permutation(IMAGES)
    for split, expected in ((prepared.train, order[:27]), (prepared.validation, order[27:]), (prepared.test, range(5))):
        np.testing.assert_array_equal(split.tokens.reshape(-1, 784)[:, 0], expected)
        np.testing.assert_array_equal(split.labels, np.array(expected) % 10)
    batch = prepared.test.batch(np.array([3]))
    assert (batch.inputs.shape, batch.inputs.dtype) == ((1, 784, 1), np.float32)
    np.testing.assert_allclose(batch.inputs[0, [0, 1, 2, 783], 0], [3 / 255, 1, 0, 3 / 255], rtol=1e-6)
    fewer = prepared_digits(tmp_path, digits, train=4, validation=1, test=2)
    np.testing.assert_array_equal(fewer.train.labels, order[:4] % 10)
    assert fewer.protocol["differences"] == ["the files are not those of the release"]


def test_permuted_pixels_are_in_bit_reversed_order(tmp_path, digits):
    np.testing.assert_array_equal(bit_reversal(8), [0, 4, 2, 6, 1, 5, 3, 7])
    np.testing.assert_array_equal(bit_reversal(6), [0, 4, 2, 1, 5, 3])
    order = bit_reversal(784)
    assert sorted(order) == list(range(784))
    assert order[:3].tolist() == [0, 512, 256]
    plain, permuted = (prepared_digits(tmp_path, digits, permuted=flag) for flag in (False, True))
    assert plain.directory != permuted.directory
    rows = plain.train.tokens.reshape(-1, 784)
    np.testing.assert_array_equal(permuted.train.tokens.reshape(-1, 784), rows[:, order])
    assert permuted.protocol["order"] == "bit-reversed"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", lambda data: data[:-1], "train-images-idx3-ubyte is not MNIST's"),
        ("t10k-labels-idx1-ubyte", lambda data: data[:-1] + bytes([10]), "expected a label 0 to 9 for each of the 5"),
        (
            "train-labels-idx1-ubyte",
            lambda data: data[:7] + bytes([1]) + data[8:9],
            "a label 0 to 9 for each of the 30",
        ),
        ("t10k-images-idx3-ubyte", lambda data: b"", "t10k-images-idx3-ubyte is not MNIST's"),
    ],
)
def test_malformed_mnist_is_named(tmp_path, digits, name, content, message):
    path = digits / name
    path.write_bytes(content(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        prepared_digits(tmp_path, digits)


def test_too_few_images_and_no_data_are_said(tmp_path, digits):
    with pytest.raises(DataError, match="has 27 examples for train, 28 are wanted"):
        prepared_digits(tmp_path, digits, train=28)
    with pytest.raises(NoData, match=r"python -m suite\.data fetch mnist"):
        open_dataset("mnist", tmp_path / "nothing")


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    return speech_files(tmp_path_factory.mktemp("speech"))


def prepared_speech(root, folder, **settings):
    return prepare_dataset("speech_commands", root, released=folder, source="local", **settings)


def test_the_35_words_are_split_by_the_lists(tmp_path, speech):
    prepared = prepared_speech(tmp_path, speech, train=70, validation=35, test=35)
    assert [np.bincount(split.labels).tolist() for split in (prepared.train, prepared.test)] == [[2] * 35, [1] * 35]
    assert (np.diff(prepared.train.labels) != 0).sum() > 35  # shuffled
    first = read_clip(speech / f"{WORDS[prepared.validation.labels[0]]}/00000000_nohash_0.wav")
    np.testing.assert_array_equal(prepared.validation.tokens[:16_000], first)
    short = prepared.train.tokens.reshape(-1, 16_000)[:, 12_000:]
    assert (short == 0).all(1).sum() == 35
    train = prepared.train.batch(np.arange(70))
    assert (train.inputs.shape, set(train.lengths.tolist())) == ((70, 16_000, 1), {16_000})
    np.testing.assert_allclose(
        [train.inputs.mean(dtype=np.float64), train.inputs.std(dtype=np.float64)], [0, 1], atol=2e-4
    )
    raw = prepared.train.tokens * 2.0**-15
    test = prepared.test.tokens[:5] * 2.0**-15
    np.testing.assert_allclose(
        prepared.test.batch(np.array([0])).inputs[0, :5, 0], (test - raw.mean()) / (raw.std(ddof=1) + 1e-5), rtol=1e-4
    )


def test_the_lists_are_imported_with_the_clips(tmp_path, speech, monkeypatch):
    """A copy may lack them: the hash of the speaker, which they follow, says the same."""
    given, counts = manifest.read("speech_commands"), {"train": 70, "validation": 35, "test": 35}
    files = [msgspec.structs.replace(file, files=file.files and 141) for file in given.release.files]
    few = msgspec.structs.replace(given, release=msgspec.structs.replace(given.release, files=files))
    monkeypatch.setattr(manifest, "read", lambda name: few)
    assert "3 of 3 parts" in acquire.take("speech_commands", speech, tmp_path)[0]
    folder = tmp_path / "raw" / "speech_commands"
    assert (folder / "testing_list.txt").read_bytes() == (speech / "testing_list.txt").read_bytes()
    whole = place("speech_commands", tmp_path, counts)
    assert (
        open_dataset("speech_commands", tmp_path, **counts)
        .protocol["originals"]
        .startswith("*/*.wav, validation_list.txt, testing_list")
    )
    assert place("speech_commands", tmp_path, {"words": 10}).settings.by_archive == ("*/*.wav",)
    for name in ("validation_list.txt", "testing_list.txt"):
        (folder / name).unlink()
    assert whole.has_raw
    assert doctor.examine("speech_commands", tmp_path).raw == f"1 of 3 parts in {folder}"
    (folder / "bed" / "00000000_nohash_0.wav").unlink()
    with pytest.raises(DataError, match="140 files, the release has 141"):
        prepare_dataset("speech_commands", tmp_path, released=folder, **counts)


def test_ten_words_are_whole_seconds_split_at_random(tmp_path, speech):
    prepared = prepared_speech(tmp_path, speech, words=10, train=21, validation=4, test=5)  # 30 clips of a second
    labels = np.concatenate([split.labels for split in (prepared.train, prepared.validation, prepared.test)])
    np.testing.assert_array_equal(np.bincount(labels), [3] * 10)
    assert prepared.protocol["vocabulary"] == list(TEN_WORDS)
    with pytest.raises(DataError, match="has 21 clips for train, 22 are wanted"):
        prepared_speech(tmp_path, speech, words=10, train=22, validation=4, test=5)


def test_the_rule_of_the_lists_is_the_hash_of_the_speaker(tmp_path, speech):
    released = {  # clips of testing_list.txt of the release
        "right/0d53e045_nohash_0.wav": "test",
        "right/0cb74144_nohash_1.wav": "test",
        "right/0c40e715_nohash_1.wav": "test",
    }
    assert {name: assigned_split(name) for name in released} == released
    assert assigned_split("bed/0d53e045_nohash_4.wav") == "test"
    assert split_of(tmp_path, list(released)) == ["test"] * 3  # where a copy has no lists
    assert split_of(speech, ["bed/00000000_nohash_0.wav", "bed/00000003_nohash_0.wav"]) == ["validation", "train"]
    shares = np.unique([assigned_split(f"{number:08x}_nohash_0.wav") for number in range(4_000)], return_counts=True)
    assert shares[0].tolist() == ["test", "train", "validation"]
    np.testing.assert_allclose(shares[1] / 4_000, [0.1, 0.8, 0.1], atol=0.02)


def test_malformed_clips_are_named(tmp_path):
    clip(tmp_path / "bed/a.wav", np.zeros(8_000), rate=8_000)
    with pytest.raises(DataError, match=r"a.wav has .* \(1, 2, 8000\): expected \(1, 2, 16000\)"):
        read_clip(tmp_path / "bed/a.wav")
    (tmp_path / "bed/a.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"a\.wav is no WAV file"):
        read_clip(tmp_path / "bed/a.wav")
    with pytest.raises(DataError, match="expected the clips of 'cat'"):
        prepared_speech(tmp_path / "data", tmp_path, train=1, validation=0, test=1)


def test_protocols_state_what_decides_comparisons():
    protocols = [SpeechCommandsSettings(words=words).protocol() for words in (35, 10)]
    assert [protocol["classes"] for protocol in protocols] == [35, 10]
    assert protocols[0]["split_rule"] != protocols[1]["split_rule"]
    assert "scikit-learn" in protocols[1]["differences"][0]
