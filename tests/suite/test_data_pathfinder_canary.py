"""The canary network learns what the images tell, and says so where they tell nothing."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from suite.data import pathfinder_canary
from suite.data.prepared import Normalization, Split
from suite.data.sequences import stack

pytest.importorskip("torch")


def data(told: bool) -> Any:
    """Images with a dashed or a whole bar, which is the label, or has nothing to do with it."""
    random = np.random.default_rng(0)

    def split(count: int) -> Split:
        labels = random.integers(0, 2, count).astype(np.int32)
        pixels = np.zeros((count, 32, 32), np.uint8)
        for image, label in zip(pixels, labels if told else random.integers(0, 2, count), strict=True):
            image[random.integers(32), :: 2 - label] = 255
        sequences = stack(pixels.reshape(count, 1024), labels)
        values = Normalization(1 / 255, 0.5, 0.5)
        return Split(sequences.tokens, sequences.offsets, sequences.labels, 1024, values)

    return SimpleNamespace(train=split(256), test=split(200), protocol={"name": "bars"})


@pytest.mark.parametrize(("told", "status"), [(True, 0), (False, 1)])
def test_labels_that_the_images_tell_are_learned(monkeypatch, capsys, told, status):
    monkeypatch.setattr(pathfinder_canary, "_open", lambda options: data(told))
    monkeypatch.setattr(pathfinder_canary, "_CHANNELS", 8)
    monkeypatch.setattr(pathfinder_canary, "_FINE", (1,))
    monkeypatch.setattr(pathfinder_canary, "_COARSE", ())
    monkeypatch.setattr(pathfinder_canary, "_RATE", 2e-2)
    assert pathfinder_canary.main(["--epochs", "4"]) == status
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    interval = re.search(r": (\S+) % of 200 new images, Wilson 95 % (\S+) to (\S+) % ", lines[-1])
    assert interval is not None
    assert float(interval[2]) < float(interval[1]) < float(interval[3]) + 1e-9
    assert not told or float(interval[2]) > 50
    assert lines[-1].endswith("not learned" if status else ": learned")


def test_an_absent_device_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(pathfinder_canary, "_open", lambda options: pytest.fail("images were drawn for it"))
    assert pathfinder_canary.main(["--device", "gpu"]) == 2
    found = capsys.readouterr().err
    assert found.startswith("error: --device gpu cannot be used (")
    assert found.endswith("); leave it out, or say --device cpu\n")
    assert found.count("\n") == 1


def test_missing_images_are_named(tmp_path, capsys):
    arguments = [
        "--resolution",
        "64",
        "--root",
        str(tmp_path),
        "--from",
        str(tmp_path),
        "--train",
        "128",
        "--test",
        "1",
    ]
    assert pathfinder_canary.main(arguments) == 1
    assert "pathfinder64/curv_contour_length_14" in capsys.readouterr().err


@pytest.mark.parametrize(("flag", "value", "least"), [("train", 127, 128), ("test", 0, 1), ("epochs", 0, 1)])
def test_arguments_that_are_too_small_are_refused(flag, value, least, capsys):
    with pytest.raises(SystemExit) as stopped:
        pathfinder_canary.main([f"--{flag}", str(value)])
    assert stopped.value.code == 2
    assert f"--{flag} is {value}: expected at least {least}" in capsys.readouterr().err
