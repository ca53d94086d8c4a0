"""The pendulum's films: physics, pictures, noise, irregular times, and the same bits each time."""

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tiny_runs import launch, record

from suite.data import SettingsError, manifest, open_dataset
from suite.data import pendulum_generator as generator
from suite.data.pendulum import PendulumSettings
from suite.matrix import Selection, cells

COUNTS = {"train": 6, "validation": 3, "test": 4}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def films(root):
    return open_dataset("pendulum", root, **COUNTS)


def test_sine_is_exact_to_the_last_bits():
    x = np.concatenate([np.linspace(-20, 20, 20_001), np.arange(-9, 10) * math.pi / 2])
    np.testing.assert_allclose(generator.sine(x), np.sin(x), rtol=0, atol=5e-16)
    np.testing.assert_allclose(generator.cosine(x), np.cos(x), rtol=0, atol=5e-15)


def test_the_pendulum_obeys_its_equation():
    start, still = np.array([0.3, 2.0, 5.5]), np.zeros((3, 99))
    theta = generator.angles(start, still) + math.pi
    np.testing.assert_allclose(theta[:, 0], start, rtol=1e-14)
    turned = np.unwrap(theta)
    velocity, acceleration = (
        np.gradient(turned, 0.01, axis=1),
        np.gradient(np.gradient(turned, 0.01, axis=1), 0.01, axis=1),
    )
    expected = 3 * 9.81 * np.sin(turned) - 0.1 * velocity
    np.testing.assert_allclose(acceleration[:, 3:-3], expected[:, 3:-3], atol=0.15)
    kicked = generator.angles(start, still + np.eye(1, 99, 10))
    assert (kicked[:, :12] == generator.angles(start, still)[:, :12]).all()
    np.testing.assert_allclose((kicked - generator.angles(start, still))[:, 12], 0.01 + 0 * start, rtol=0.03)


def test_pictures_are_those_of_pillow():
    theta = np.linspace(-3.1, 3.1, 60)
    mine = generator.pictures(theta[None])[0].astype(int)
    for angle, found in zip(theta, mine, strict=True):
        image = Image.new("F", (128, 128), 0.0)
        end = (math.sin(angle) * 55 + 64, math.cos(angle) * 55 + 64)
        ImageDraw.Draw(image).line([(64, 64), end], fill=1.0, width=8)
        expected = 255 * np.clip(np.asarray(image.resize((24, 24), resample=Image.Resampling.LANCZOS)), 0, 1)
        assert np.abs(found - expected).mean() < 2
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98
    assert generator.reduction().sum(1).tolist() == [2**16] * 24


def test_films_have_targets_times_and_noise(films):
    split = films.train
    frames = split.tokens.reshape(6, 50, 577)
    assert (split.labels.shape, split.labels.dtype) == ((6, 50, 2), np.float32)
    np.testing.assert_allclose((split.labels**2).sum(-1), 1, rtol=1e-6)
    since = frames[..., -1].astype(int)
    assert (since[:, 0] == 1).all()
    assert since[:, 1:].min() == 1
    assert (since.sum(1) <= 100).all()
    assert 1.5 < since[:, 1:].mean() < 2.1
    pixels = frames[..., :-1].reshape(6, 50, 24, 24).astype(float)
    darkest = np.median(pixels, (2, 3))
    clean = generator.draw("train", 0, 50, 0).times[:6] < 5
    assert clean.sum() > 5
    assert (darkest[clean] == 0).all()
    assert (darkest[~clean] > 20).any()
    where = np.arange(24) - 11.5
    bright = pixels[clean] / pixels[clean].sum((1, 2), keepdims=True)
    centre = np.stack([(bright.sum(1) * where).sum(1), (bright.sum(2) * where).sum(1)], -1)  # right, down
    direction = centre / np.linalg.norm(centre, axis=-1, keepdims=True)
    np.testing.assert_allclose(direction, split.labels[clean], atol=0.1)


def test_inputs_are_scaled_but_for_the_times(films):
    batch = films.test.batch(np.array([2, 0]))
    raw = films.test.tokens.reshape(4, 50, 577)[[2, 0]]
    np.testing.assert_allclose(batch.inputs[..., :-1], raw[..., :-1] / 255, rtol=1e-6)
    np.testing.assert_array_equal(batch.inputs[..., -1], raw[..., -1])
    np.testing.assert_array_equal(batch.labels, films.test.labels[[2, 0]])


def test_splits_differ_and_more_films_begin_with_the_same(films, tmp_path):
    more = generator.generate_split("train", 103, 50, seed=0)
    np.testing.assert_array_equal(more.tokens[:300], films.train.tokens)
    np.testing.assert_array_equal(more.labels[:6], films.train.labels)
    assert (more.labels[100:103] != more.labels[:3]).any()
    assert (films.test.labels[:3] != films.validation.labels).any()
    starts = [generator.draw("train", seed, 50, 0).start for seed in (0, 1)]
    assert (starts[0] != starts[1]).all()
    with pytest.raises(SettingsError, match="observed must be at most the 100 frames, not 101"):
        open_dataset("pendulum", tmp_path, observed=101)


def test_films_have_the_bits_of_the_manifest(films):
    pinned = manifest.read("pendulum").pinned(PendulumSettings(**COUNTS).to_dict())
    assert len(pinned) == 9
    assert films.files == pinned


def test_a_cell_records_its_error(films, tmp_path, root):
    pytest.importorskip("torch")
    sizes = ("model.depth=1", "batch_size=2", "evaluation_batch_size=3", "epochs=2")
    counts = tuple(f"data.settings.{split}={count}" for split, count in COUNTS.items())
    (cell,) = cells(Selection(tasks=("pendulum.regression",), frameworks=("torch",), overrides=(*sizes, *counts)))
    ((outcome,), _) = launch([cell], tmp_path, root)
    assert outcome.status == "measured", outcome.reason
    found = record(tmp_path, cell)
    errors = found.curves["validation_mse"]
    assert found.metrics["selected_epoch"] == 1 + int(np.argmin(errors))
    assert found.metrics["test_mse"] == found.curves["test_mse"][int(np.argmin(errors))]
    assert found.metrics["last_test_mse"] == found.curves["test_mse"][-1]
    assert found.predictions is None
    assert found.protocol["selection"].startswith("least validation error; the test mse reported")
