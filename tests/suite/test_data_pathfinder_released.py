"""Reading the Pathfinder folders of the LRA release, on small ones of exactly that layout."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suite.data import DataError, open_dataset, pathfinder_released, prepare_dataset
from suite.data.pathfinder import DRAWINGS, PathfinderSettings
from suite.data.pathfinder_images import images
from suite.data.permutation import torch_permutation

COUNTS = {"train": 20, "validation": 2, "test": 3}
LEVEL = "pathfinder32/curv_contour_length_14"


@pytest.fixture(scope="module")
def drawn() -> list[tuple[np.ndarray, int]]:
    made = images(DRAWINGS[32], 14, 0, 7, 0, 30)
    return list(zip(made.pixels, made.labels.tolist(), strict=True))


@pytest.fixture
def released(tmp_path, drawn) -> Path:
    """Three folders of ten images each with their metadata, as in the release; one number has two digits."""
    return write(tmp_path / "lra_release", LEVEL, drawn)


def write(root: Path, level: str, drawn: list[tuple[np.ndarray, int]]) -> Path:
    folder = root / level
    (folder / "metadata").mkdir(parents=True)
    for batch, number in enumerate((0, 2, 10)):
        (folder / "imgs" / str(number)).mkdir(parents=True)
        lines = []
        for index, (pixels, label) in enumerate(drawn[10 * batch : 10 * batch + 10]):
            Image.fromarray(pixels).save(folder / "imgs" / str(number) / f"sample_{index}.png")
            lines.append(f"imgs/{number} sample_{index}.png {index} {label} 1.0 14 4 2 0.5 1 1\n")
        (folder / "metadata" / f"{number}.npy").write_text("".join(lines))
    return root


def rewrite(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_the_released_folders_become_prepared_data(tmp_path, released, drawn):
    prepare_dataset("lra_pathfinder", tmp_path, released=released, **COUNTS)
    prepared = open_dataset("lra_pathfinder", tmp_path, source="released", **COUNTS)
    order = torch_permutation(30).tolist()
    for split, first, count in (("train", 0, 20), ("validation", 24, 2), ("test", 27, 3)):
        batch = getattr(prepared, split).batch(np.arange(count))
        assert batch.inputs.shape == (count, 1024, 1)
        for row, index in enumerate(order[first : first + count]):
            pixels, label = drawn[index]
            assert np.allclose(batch.inputs[row, :, 0], pixels.reshape(-1) / 127.5 - 1, atol=1e-6)
            assert batch.labels[row] == label
    assert prepared.protocol["name"] == "lra_pathfinder/unverified"
    assert f"{LEVEL}/imgs/*/sample_*.png" in prepared.hashes


def test_the_split_is_that_of_random_split(released):
    torch = pytest.importorskip("torch")
    parts = torch.utils.data.random_split(range(30), [24, 3, 3], generator=torch.Generator().manual_seed(42))
    assert [list(part) for part in parts] == [part.tolist() for part in np.split(torch_permutation(30), [24, 27])]


def test_what_the_generator_itself_writes_is_read(tmp_path, released):
    settings = PathfinderSettings(source="released", **COUNTS)
    expected = pathfinder_released.read(settings, released)
    for path in (released / LEVEL / "metadata").iterdir():
        rows = np.array([line.split() for line in path.read_text().splitlines()])
        path.unlink()
        np.save(path, rows)
    found = pathfinder_released.read(settings, released)
    assert all(np.array_equal(found[split].tokens, expected[split].tokens) for split in expected)


def test_the_empty_image_of_the_release_is_left_out(tmp_path, drawn):
    root = write(tmp_path / "lra_release", "pathfinder32/curv_baseline", drawn)
    folder = root / "pathfinder32/curv_baseline"
    (folder / "imgs/0/sample_172.png").touch()
    with (folder / "metadata/0.npy").open("a") as file:
        file.write("imgs/0 sample_172.png 172 1 1.0 6 2 2 0.5 1 1\n")
    settings = PathfinderSettings(source="released", contour_length=6, train=24, validation=3, test=3)
    assert sum(len(split.labels) for split in pathfinder_released.read(settings, root).values()) == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "sample_3.png cannot be read: it is empty"),
        (b"no image", "it is no image"),
        (b"\x89PNG\r\n\x1a\n", "cannot"),
    ],
)
def test_a_damaged_image_is_named(released, content, message):
    (released / LEVEL / "imgs/2/sample_3.png").write_bytes(content)
    with pytest.raises(DataError, match=message):
        pathfinder_released.read(PathfinderSettings(source="released", train=24, validation=3, test=3), released)


def test_an_image_of_another_size_is_named(released):
    Image.new("L", (64, 64)).save(released / LEVEL / "imgs/0/sample_0.png")
    with pytest.raises(DataError, match=r"sample_0\.png has 64 x 64 pixels, expected 32 x 32"):
        pathfinder_released.read(PathfinderSettings(source="released", train=24, validation=3, test=3), released)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("imgs/2 sample_1.png 1 ", "imgs/2 sample_1.png 1 7"),
        ("imgs/2 sample_1.png", "../.. x.png"),
        ("imgs/2 ", "/imgs "),
    ],
)
def test_malformed_metadata_are_named(released, old, new):
    rewrite(released / LEVEL / "metadata" / "2.npy", old, new)
    with pytest.raises(DataError, match=r"2\.npy, line [12]: expected folder, file, number and label"):
        pathfinder_released.read(PathfinderSettings(source="released", **COUNTS), released)


def test_too_few_images_are_named(released):
    with pytest.raises(DataError, match="has 24 images for train, 25 are wanted; pass --train 24"):
        pathfinder_released.read(PathfinderSettings(source="released", train=25, validation=3, test=3), released)


def test_missing_folders_are_named(tmp_path, released):
    with pytest.raises(DataError, match="pathfinder64"):
        prepare_dataset("lra_pathfinder", tmp_path, released=released, resolution=64, **COUNTS)


def test_two_copies_are_not_confused(tmp_path, released, drawn, capsys):
    inner = write(released / "lra_release", LEVEL, drawn[::-1])
    both = prepare_dataset("lra_pathfinder", tmp_path, released=released, **COUNTS)
    told = f"of two copies that in {inner} is read, as by the S4 and S5 code, and not that in {released}\n"
    assert told in capsys.readouterr().err
    assert both.hashes == prepare_dataset("lra_pathfinder", tmp_path, released=inner, **COUNTS).hashes
    assert "two copies" not in capsys.readouterr().err
    shutil.rmtree(inner / LEVEL / "metadata")
    with pytest.raises(DataError, match=r"both hold pathfinder32.* pass the folder that you mean"):
        prepare_dataset("lra_pathfinder", tmp_path, released=released, **COUNTS)
