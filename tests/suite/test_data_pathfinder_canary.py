"""The canary network learns what the images tell, and says so where they tell nothing."""

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
    monkeypatch.setattr(pathfinder_canary, "_DILATIONS", (1,))
    monkeypatch.setattr(pathfinder_canary, "_RATE", 2e-2)
    assert pathfinder_canary.main(["--epochs", "4"]) == status
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[-1].endswith("not learned" if status else ": learned")


def test_missing_images_are_named(tmp_path, capsys):
    arguments = ["--resolution", "64", "--root", str(tmp_path), "--from", str(tmp_path), "--train", "2", "--test", "1"]
    assert pathfinder_canary.main(arguments) == 1
    assert "pathfinder64/curv_contour_length_14" in capsys.readouterr().err
