"""Small files of exactly the layouts in which data sets are released."""

import pickle
from pathlib import Path

import numpy as np

REVIEWS = {
    "train/neg": ("0_1.txt", b"bad <br /> film"),
    "train/pos": ("10_9.txt", "très bien \u3042".encode()),
    "test/neg": ("2_3.txt", b"dull" * 2000),
    "test/pos": ("3_8.txt", b"fine\x00\xc2\x85"),
}


def imdb(folder: Path) -> Path:
    """Two reviews for each of the four folders of aclImdb, and the files beside them."""
    for name, (file, content) in REVIEWS.items():
        place = folder / "aclImdb" / name
        place.mkdir(parents=True)
        (place / file).write_bytes(content)
        (place / f"1{file}").write_bytes(b"x" + content)
    (folder / "aclImdb" / "train" / "unsup").mkdir()
    (folder / "aclImdb" / "train" / "unsup" / "0_0.txt").write_bytes(b"unlabelled")
    (folder / "aclImdb" / "imdb.vocab").write_bytes(b"the\n")
    return folder / "aclImdb"


def cifar(folder: Path, images: int = 4) -> tuple[Path, np.ndarray, np.ndarray]:
    """The six batches of CIFAR-10's Python version, with the names of an older NumPy; all images and labels in turn."""
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True)
    random = np.random.default_rng(0)
    data = random.integers(0, 256, (6 * images, 3072), dtype=np.uint8)
    labels = random.integers(0, 10, 6 * images)
    for index, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        rows = slice(index * images, (index + 1) * images)
        content = {b"data": data[rows], b"labels": labels[rows].tolist(), b"batch_label": b"batch", b"filenames": []}
        text = pickle.dumps(content, protocol=2)
        assert b"numpy._core.multiarray" in text
        (place / name).write_bytes(text.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    (place / "batches.meta").write_bytes(pickle.dumps({}, protocol=2))
    return place, data.reshape(-1, 3, 1024).transpose(0, 2, 1), labels


PAIRS = [
    ("1.0", "First paper", "Second \u00e9"),
    ("0.0", "a" * 5000, "b"),
    ("1", "c d", "e"),
    ("0", 'a "word" in it', "f"),
]


def aan(folder: Path) -> Path:
    """The three tables of pairs of the Long Range Arena release, four rows each."""
    place = folder / "lra_release" / "tsv_data"
    place.mkdir(parents=True)
    for name in ("train", "eval", "test"):
        rows = (f"{label}\tP01-1\tP02-2\t{one}\t{two}\n" for label, one, two in PAIRS)
        (place / f"new_aan_pairs.{name}.tsv").write_text("".join(rows), encoding="utf-8")
    return place
