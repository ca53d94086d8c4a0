"""Pathfinder: drawing as Pillow draws, the published generator's rules, its distribution, and bits."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage, stats

from suite.data import manifest, pathfinder_contours, pathfinder_images, pathfinder_seeds
from suite.data import pathfinder_raster as raster
from suite.data.catalog import DATA_SETS
from suite.data.errors import SettingsError
from suite.data.pathfinder import DRAWINGS, PathfinderSettings, PathXSettings
from suite.data.pathfinder_generator import generate
from suite.data.pathfinder_images import Images, images
from suite.data.pathfinder_paddles import DEGREES, FULL, TAKEN, ceiling, marker, paddles
from suite.data.words import nth, philox_words, split

GOLDEN = Path(__file__).parents[1] / "golden" / "pathfinder"
SIGNIFICANT = 1e-3


@pytest.fixture(scope="module")
def sample() -> Images:
    return images(DRAWINGS[32], 14, 1, 0, 0, 1000)


@pytest.fixture(scope="module")
def released() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "pathfinder32_hard.npz") as file:
        return {name: file[f"output/{name}"] for name in ("images", "labels", "markers")}


def published(key: str) -> dict:
    return json.loads((GOLDEN / "statistics.json").read_text())[key]["all"]


def test_a_word_of_a_stream_is_the_same_alone():
    words = philox_words(3, 0, 0, 5)
    assert np.array_equal(split(words, np.full(5, 4)).reshape(5, 4)[:, 3], nth(words, 3))
    assert np.array_equal(nth(words, np.arange(5))[2:3], nth(words[2:3], 2))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_lines_are_those_of_pillow(width):
    for dy in range(-8, 9):
        for dx in range(-8, 9):
            image = Image.new("L", (31, 31))
            ImageDraw.Draw(image).line([(15, 15), (15 + dx, 15 + dy)], fill=255, width=width)
            assert np.array_equal(raster.line(31, (15, 15), (15 + dy, 15 + dx), width), np.asarray(image) > 0), (dy, dx)


@pytest.mark.parametrize(("inputs", "outputs"), [(17, 9), (29, 15), (37, 19), (41, 21), (64, 32), (256, 128)])
def test_reduction_is_that_of_pillow(inputs, outputs):
    image = np.random.default_rng(0).integers(0, 256, (inputs, inputs), dtype=np.uint8)
    matrix = raster.filter_matrix(inputs, outputs)
    expected = Image.fromarray(image).resize((outputs, outputs), resample=Image.Resampling.LANCZOS)
    assert np.array_equal(raster.reduce(image, matrix, matrix), np.asarray(expected))


def test_no_table_hangs_on_the_last_bits_of_a_library():
    for inputs, outputs in ((17, 9), (29, 15), (37, 19), (41, 21), (64, 32), (128, 64), (256, 128), (512, 256)):
        exact = raster._coefficients(inputs, outputs) * 2**22
        assert np.abs(np.abs(exact - np.floor(exact)) - 0.5).min() > 1e-6
    degrees = np.deg2rad(np.arange(DEGREES) - 180.0)
    for length in (2, 3, 4, 5, 7, 8, 9, 10, 11):
        exact = length * np.stack([np.sin(degrees), np.cos(degrees)])
        assert np.array_equal(ceiling(exact + 1e-12), ceiling(exact - 1e-12))


def test_a_drawing_is_the_paddle_and_its_surroundings():
    tables = paddles(DRAWINGS[128], 3)
    right = DEGREES // 2
    ink, mask = tables.inks[right], tables.masks[right]
    bar = np.flatnonzero(ink[tables.reach] > 127)
    assert (bar[0], bar[-1]) == (tables.reach, tables.reach + 5)
    assert ((mask >= TAKEN) | (ink < TAKEN)).all()
    assert (mask == FULL).sum() > (ink > 127).sum()
    assert tables.advance[right].tolist() == [0, 11]
    assert (tables.heads[right] + [0, -8]).tolist() == tables.pivots[right].tolist()


def test_a_circle_is_where_the_next_head_may_lie():
    tables = paddles(DRAWINGS[128], 2)
    distance = np.hypot(*tables.ring.T)
    assert np.abs(distance - 7).max() < np.sqrt(2)
    straight = int(np.flatnonzero((tables.ring == [0, 7]).all(axis=1))[0])
    row = tables.weights[DEGREES // 2]
    assert tables.ring[row == row.max()].tolist() == [[0, 6], [0, 7]]
    assert row[straight] == 1 << 16
    turn = np.abs(np.arctan2(*tables.ring.T)) * 1.8
    assert np.array_equal(row > 0, turn < np.pi / 2)


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_orientations_without_a_place_are_those_whose_kernel_leaves_the_image(resolution):
    tables = paddles(DRAWINGS[resolution], DRAWINGS[resolution].paddle_margins[0])
    y, x = np.mgrid[:resolution, :resolution]
    for orientation in range(0, DEGREES, 9):
        met = np.zeros((resolution, resolution), dtype=bool)
        for dy, dx in tables.kernels[orientation].tolist():
            met |= (y + dy >= 0) & (y + dy < resolution) & (x + dx >= 0) & (x + dx < resolution)
        assert tables.usable[orientation] == met.all()


def test_free_places_are_where_the_kernel_meets_nothing():
    tables = paddles(DRAWINGS[32], 1)
    on = pathfinder_contours.canvas(tables, 1)
    on.masks[0] = np.maximum(on.masks[0], np.random.default_rng(0).choice([0, 76, 77, 255], on.masks.shape[1]))
    mask = on.masks[0].reshape(on.width, on.width)
    for orientation in (0, 45, 100):
        free = pathfinder_seeds.free_places(tables, mask, orientation)
        expected = [
            [row, column]
            for row in range(32)
            for column in range(32)
            if all(
                mask[on.frame + row + dy, on.frame + column + dx] < TAKEN
                for dy, dx in tables.kernels[orientation].tolist()
            )
        ]
        assert free.tolist() == expected
        assert len(free)


def test_a_seed_takes_any_free_place_alike(monkeypatch):
    """The quick way, trying pixels, and the list of all free places give the same distribution."""
    tables = paddles(DRAWINGS[32], 1)
    found = []
    for tried in (64, 0):
        monkeypatch.setattr(pathfinder_seeds, "_PLACES_TRIED", tried)
        on = pathfinder_contours.canvas(tables, 4000)
        on.masks[:, on.at(np.array([[8, 8], [20, 25]]))] = FULL
        _, chains = pathfinder_seeds.seed(tables, on, philox_words(5, tried, 0, 4000))
        found.append(chains)
    assert min(len(chains.places) for chains in found) > 300
    for axis in (0, 1):
        quick, listed = (chains.places[:, axis] for chains in found)
        assert stats.ks_2samp(quick, listed).pvalue > SIGNIFICANT


def test_an_image_depends_on_its_number_alone():
    settings = PathfinderSettings(train=40, validation=3, test=2, seed=9)
    whole = generate(settings, jobs=1)
    parts = generate(settings, jobs=3, chunk=7)
    for name, sequences in whole.items():
        for array in ("tokens", "offsets", "labels"):
            assert np.array_equal(getattr(sequences, array), getattr(parts[name], array))
    alone = images(DRAWINGS[32], 14, 9, 0, 23, 1)
    assert np.array_equal(alone.pixels.reshape(-1), whole["train"].tokens[23 * 1024 : 24 * 1024])
    assert not np.array_equal(whole["train"].tokens[:1024], whole["validation"].tokens[:1024])
    other = images(DRAWINGS[32], 14, 10, 0, 23, 1)
    assert not np.array_equal(alone.pixels, other.pixels)


def test_how_many_attempts_are_made_at_once_changes_nothing(monkeypatch):
    expected = images(DRAWINGS[32], 14, 0, 0, 0, 6)
    monkeypatch.setattr(pathfinder_images, "_WAVE", 1)
    assert np.array_equal(images(DRAWINGS[32], 14, 0, 0, 0, 6).pixels, expected.pixels)


@pytest.mark.parametrize(
    ("name", "selection"),
    [(name, s.name) for name in ("lra_pathfinder", "lra_pathx") for s in manifest.read(name).selections
     if s.settings.get("train", 160_000) <= 100],
)  # fmt: skip
def test_bits_are_those_of_the_manifest(name, selection):
    chosen = next(s for s in manifest.read(name).selections if s.name == selection)
    splits = generate(DATA_SETS[name].settings.from_dict(dict(chosen.settings)))
    for split_name, sequences in splits.items():
        for array in ("tokens", "labels"):
            header = np.lib.format.header_data_from_array_1_0(getattr(sequences, array))
            digest = hashlib.sha256()
            digest.update(npy_header(header))
            digest.update(getattr(sequences, array).tobytes())
            assert digest.hexdigest() == chosen.sha256[f"{split_name}/{array}.npy"]


def npy_header(header: dict) -> bytes:
    import io

    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def test_markers_tell_the_label():
    """Both markers lie on ends of one long contour where the label is 1, else on those of two."""
    tables = paddles(DRAWINGS[32], 1)
    keys = philox_words(2, 0, 0, 60)
    made = images(DRAWINGS[32], 14, 2, 0, 0, 60)
    _, _, first, last = pathfinder_images._long_contours(tables, 14, nth(keys, pathfinder_images._CONTOURS))
    for image in range(60):
        origin, terminal = made.markers[image].tolist()
        pairs = [
            (first[image, a].tolist(), last[image, b].tolist())
            for a in (0, 1)
            for b in (0, 1)
            if (a == b) == bool(made.labels[image])
        ]
        assert (origin, terminal) in pairs
        for row, column in (origin, terminal):
            rows, columns, light = marker(DRAWINGS[32], row, column)
            assert (made.pixels[image, rows, columns] >= light * (100 / 120) - 1).all()
    assert 0.3 < made.labels.mean() < 0.7


def test_a_contour_is_a_chain_without_crossings():
    tables = paddles(DRAWINGS[64], 1)
    segments, masks, _, _ = pathfinder_images._long_contours(tables, 6, philox_words(0, 0, 0, 8))
    assert segments.places.shape == (8, 12, 2)
    for contour in (segments.places[:, 2::2], segments.places[:, 3::2]):
        steps = np.hypot(*np.moveaxis(np.diff(contour, axis=1), 2, 0))
        length = DRAWINGS[64].paddle_length + 2
        assert steps.max() <= length + 3
        assert steps.min() > length / 2
    assert (masks.masks > 0).mean() > (pathfinder_contours.canvas(tables, 1).masks > 0).mean()


def image_statistics(pixels: np.ndarray, markers: np.ndarray) -> dict[str, np.ndarray]:
    """Per image: what `statistics.json` has means and deviations of."""
    found = {
        "image_mean": pixels.mean(axis=(1, 2)),
        "marker_distance": np.hypot(*(markers[:, 0] - markers[:, 1]).T.astype(float)),
    }
    for level in (40, 128):
        above = pixels > level
        found[f"foreground_gt{level}"] = above.sum(axis=(1, 2))
        for name, structure in (("conn4", None), ("conn8", np.ones((3, 3)))):
            components = [ndimage.label(image, structure)[1] for image in above]
            found[f"components_gt{level}_{name}"] = np.array(components)
    return found


def check_distribution(made: Images, key: str) -> None:
    """Welch's test of the mean of every statistic and every bin of intensities, Bonferroni-corrected."""
    expected = published(key)
    count = expected["n"]
    tests = {}
    for name, values in image_statistics(made.pixels, made.markers).items():
        if name == "image_mean":
            mean, deviation = expected["image_mean_mean"], expected["image_mean_std"]
        else:
            mean, deviation = expected[name]["mean"], expected[name]["std"]
        tests[name] = stats.ttest_ind_from_stats(
            values.mean(), values.std(ddof=1), len(values), mean, deviation, count, equal_var=False
        ).pvalue
    edges = np.array(expected["intensity_hist"]["edges"])
    ours = np.stack([np.histogram(image, edges)[0] for image in made.pixels])
    theirs = np.array(expected["intensity_hist"]["counts"]) / count
    for bin_number in range(len(theirs)):
        mean, deviation = ours[:, bin_number].mean(), ours[:, bin_number].std(ddof=1)
        tests[f"bin {bin_number}"] = stats.ttest_ind_from_stats(
            mean, deviation, len(ours), theirs[bin_number], deviation, count
        ).pvalue
    worst = min(tests, key=tests.__getitem__)
    assert tests[worst] * len(tests) > 0.01, (worst, tests)


def test_distribution_of_32_is_that_of_the_published_generator(sample):
    check_distribution(sample, "pathfinder32_hard_1000_extra")


def test_single_images_of_32_are_like_published_ones(sample, released):
    ours = image_statistics(sample.pixels, sample.markers)
    theirs = image_statistics(released["images"], released["markers"])
    for name, values in ours.items():
        assert stats.ks_2samp(values, theirs[name]).pvalue > SIGNIFICANT, name
    for axis in (0, 1):
        for end in (0, 1):
            coordinates = (made[:, end, axis] for made in (sample.markers, released["markers"]))
            assert stats.ks_2samp(*coordinates).pvalue > SIGNIFICANT
    assert (sample.pixels.max(axis=(1, 2)) == 255).all()
    assert abs(sample.labels.mean() - 0.5) < 0.06


def test_distribution_of_128_is_that_of_the_published_generator():
    check_distribution(images(DRAWINGS[128], 14, 1, 0, 0, 24), "pathfinder128_hard_40")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"resolution": 128}, "resolution must be 32 or 64"),
        ({"contour_length": 7}, "contour_length must be 14 or 9 or 6"),
        ({"source": "released", "seed": 3}, "seed belongs to source 'generated'"),
        ({"resolutions": 32}, "resolution"),
    ],
)
def test_impossible_settings_are_named(settings, word):
    with pytest.raises(SettingsError, match=word):
        PathfinderSettings.from_dict(settings)


def test_the_protocol_says_what_the_pixels_are():
    protocol = PathXSettings().protocol()
    assert protocol["name"] == "lra_pathx/generated"
    assert protocol["maximum_length"] == 16384
    assert protocol["input"] == {"kind": "values", "scale": 1 / 255, "mean": 0.5, "std": 0.5}
    assert protocol["drawing"]["paddle_margins"] == [2, 3]
    assert "drawing" not in PathXSettings(source="released").protocol()
    assert json.loads(json.dumps(protocol)) == protocol
    assert PathfinderSettings(contour_length=6).folder == "pathfinder32/curv_baseline"
