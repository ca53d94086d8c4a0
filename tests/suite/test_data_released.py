"""Reading the released TSV files, and others of their layout."""

import csv
import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from suite.data import DataError, manifest, open_dataset, prepare_dataset, store
from suite.data.catalog import DATA_SETS, place
from suite.data.listops import encode
from suite.data.listops_released import FILES

GOLDEN = Path(__file__).parents[1] / "golden" / "listops" / "listops_300.tsv.gz"
COUNTS: dict[str, Any] = {"source": "local", "train": 20, "validation": 6, "test": 5}
"""Of few sequences: files that are not those of the release."""


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
    prepared = open_dataset("lra_listops", tmp_path, **COUNTS)
    assert (prepared.train.count, prepared.validation.count, prepared.test.count) == (20, 6, 5)
    for split, first in ((prepared.train, 0), (prepared.validation, 22), (prepared.test, 28)):
        for index in range(split.count):
            source, target = rows[first + index]
            tokens = split.tokens[split.offsets[index] : split.offsets[index + 1]]
            assert tokens.tobytes() == encode(source) + b"\x02"
            assert split.labels[index] == int(target)
    assert prepared.protocol["source"] == "local"
    assert prepared.protocol["name"] == "lra_listops/local"
    assert "the files are not those of the release" in prepared.protocol["differences"]
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
        prepare_dataset("lra_listops", tmp_path, released=released, source="local")
    (released / "basic_val.tsv").unlink()
    with pytest.raises(DataError, match=r"basic_val.tsv is missing; --from takes the folder"):
        prepare_dataset("lra_listops", tmp_path, released=released, **COUNTS)


AS_RELEASED = COUNTS | {"source": "released"}


def test_a_table_of_the_layout_is_not_taken_for_the_released_one(tmp_path, released, monkeypatch):
    """No checksum of the release is known: its counts and lengths are, and what passes is called unverified."""
    with pytest.raises(
        DataError, match=r"basic_train.tsv is not the released file: 22 sequences, the release has 96,0"
    ):
        prepare_dataset("lra_listops", tmp_path, released=released, **AS_RELEASED)
    known = manifest.read("lra_listops")
    files = [
        msgspec.structs.replace(file, sequences=count)
        for file, count in zip(known.release.files, (22, 6, 5), strict=True)
    ]
    small = msgspec.structs.replace(known, release=msgspec.structs.replace(known.release, files=files))
    monkeypatch.setattr(manifest, "read", lambda name: small)
    prepared = prepare_dataset("lra_listops", tmp_path, released=released, **AS_RELEASED)
    assert (prepared.protocol["source"], prepared.protocol["name"]) == ("released", "lra_listops/unverified")
    assert any("no checksum is known" in text for text in prepared.protocol["differences"])
    (released / "basic_test.tsv").write_text("Source\tTarget\n" + "( ( ( [MIN 1 ) 2 ) ] )\t1\n" * 5)
    with pytest.raises(
        DataError, match=r"basic_test.tsv, line 2: 4 tokens, those of the release have 501 to 1999; prep"
    ):
        prepare_dataset("lra_listops", tmp_path, released=released, **AS_RELEASED)


def test_where_no_hash_is_known_data_are_unverified_whatever_was_read():
    """Other files without a published hash are called released where their archive was seen (`test_data_seals`)."""
    names = {name: place(name, None, {"source": "released"}).settings.protocol()["name"] for name in DATA_SETS
             if "released" in DATA_SETS[name].settings.SOURCES}  # fmt: skip
    unverified = {name for name, title in names.items() if title.startswith(f"{name}/unverified")}
    assert unverified == {"lra_listops", "lra_retrieval", "lra_pathfinder", "lra_pathx", "glue_mrpc"}
    by_archive = {name for name in names if place(name, None, {"source": "released"}).settings.by_archive}
    assert by_archive == {"glue_qnli", "glue_qqp", "glue_mnli", "speech_commands"}
    assert place("wikitext103", None, {}).settings.by_archive == ()  # of its training text a sha1 is published
    raw = place("wikitext103", None, {"text": "raw", "tokenizer": "bytes"}).settings
    assert raw.by_archive == ("wiki.valid.raw", "wiki.test.raw")
