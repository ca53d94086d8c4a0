"""Reading the released TSV files."""

import csv
import gzip
from pathlib import Path

import pytest

from suite.data import DataError, open_dataset, prepare_dataset, store
from suite.data.listops import encode
from suite.data.listops_released import FILES

GOLDEN = Path(__file__).parents[1] / "golden" / "listops" / "listops_300.tsv.gz"
COUNTS = {"train": 20, "validation": 6, "test": 5}


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    with gzip.open(GOLDEN, "rt", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))[1:]


@pytest.fixture
def released(tmp_path, rows) -> Path:
    """A small release: 22, 6 and 5 sequences in the authors' format."""
    folder = tmp_path / "listops-1000"
    folder.mkdir()
    for name, part in zip(FILES.values(), (rows[:22], rows[22:28], rows[28:33]), strict=True):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file, delimiter="\t").writerows([["Source", "Target"], *part])
    return folder


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def test_released_files_become_prepared_data(tmp_path, released, rows):
    prepared = prepare_dataset("lra_listops", tmp_path, released=released, **COUNTS)
    prepared = open_dataset("lra_listops", tmp_path, source="released", **COUNTS)
    assert (prepared.train.count, prepared.validation.count, prepared.test.count) == (20, 6, 5)
    for split, first in ((prepared.train, 0), (prepared.validation, 22), (prepared.test, 28)):
        for index in range(split.count):
            source, target = rows[first + index]
            tokens = split.tokens[split.offsets[index] : split.offsets[index + 1]]
            assert tokens.tobytes() == encode(source) + b"\x02"
            assert split.labels[index] == int(target)
    assert prepared.protocol["source"] == "released"
    assert prepared.protocol["name"] == "lra_listops/released"
    assert prepared.hashes["basic_val.tsv"] == store.sha256(released / "basic_val.tsv")


def test_quoted_fields_are_read(tmp_path, released, rows):
    plain = prepare_dataset("lra_listops", tmp_path / "plain", released=released, **COUNTS)
    for name in FILES.values():
        with (released / name).open(newline="") as file:
            table = list(csv.reader(file, delimiter="\t"))
        with (released / name).open("w", newline="") as file:
            csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(table)
    quoted = prepare_dataset("lra_listops", tmp_path / "quoted", released=released, **COUNTS)
    assert {k: v for k, v in quoted.hashes.items() if "/" in k} == {k: v for k, v in plain.hashes.items() if "/" in k}
    assert quoted.hashes["basic_train.tsv"] != plain.hashes["basic_train.tsv"]


def test_other_files_replace_what_was_prepared(tmp_path, released, rows):
    before = prepare_dataset("lra_listops", tmp_path, released=released, **COUNTS)
    rewrite(released / "basic_test.tsv", "\t".join(rows[28]), "\t".join(rows[40]))
    after = prepare_dataset("lra_listops", tmp_path, released=released, **COUNTS)
    assert after.directory == before.directory
    assert after.hashes["test/tokens.npy"] != before.hashes["test/tokens.npy"]
    assert not list(after.directory.parent.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Source\tTarget", "source,target", "line 1: expected the columns Source and Target"),
        ("[SM", "[SUM", "line 2: unknown token '[SUM'"),
        (" ] )\t6", " ] )\t7", "line 2: the target is '7', the expression's value 6"),
        (" ] )\t6", " ] )\tsix", "line 2: the target is 'six'"),
        (" ] )\t6", " )\t6", "line 2: [SM is never closed"),
        (" ] )\t6", " ] )\t6\t6", "line 2: expected 2 columns, found 3"),
        (" ] )\t6\r\n", " ] )\r\n", "line 2: expected 2 columns, found 1"),
        (" ] )\t6\r\n", " ] )\t6\r\n\r\n", "line 3: expected 2 columns, found 0"),
        ("Target\r\n", 'Target\r\n"', "line 2: "),
        ("( ( ( [SM", "( ( ( [SM" + " 0" * 2000, "line 2: "),
    ],
)
def test_malformed_lines_are_named(tmp_path, released, rows, old, new, message):
    assert rows[0][1] == "6"
    path = released / "basic_train.tsv"
    rewrite(path, old, new)
    with pytest.raises(DataError) as caught:
        prepare_dataset("lra_listops", tmp_path, released=released, **COUNTS)
    assert str(caught.value).startswith(f"{path}, {message}")
    assert not list((tmp_path / "prepared" / "lra_listops").glob("[0-9a-f]*"))


def test_undecodable_bytes_are_named(tmp_path, released):
    path = released / "basic_val.tsv"
    path.write_bytes(b"Source\tTarget\r\n\xff\xfe\t3\r\n")
    with pytest.raises(DataError, match=r"basic_val.tsv, line \d: .*can't decode"):
        prepare_dataset("lra_listops", tmp_path, released=released, **COUNTS)


def test_missing_and_short_files_are_named(tmp_path, released):
    with pytest.raises(DataError, match=r"basic_train.tsv has 22 sequences, 96000 are wanted; pass --train 22"):
        prepare_dataset("lra_listops", tmp_path, released=released)
    (released / "basic_val.tsv").unlink()
    with pytest.raises(DataError, match=r"basic_val.tsv is missing; --from takes the folder"):
        prepare_dataset("lra_listops", tmp_path, released=released, **COUNTS)
