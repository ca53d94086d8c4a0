"""Files without a published sha256 are called released only where they came out of an archive of known hash."""

import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from suite.data import CorruptData, DataError, acquire, manifest, open_dataset, prepare_dataset, seals, store
from suite.data.__main__ import main
from suite.data.catalog import place
from suite.launch.measured_data import completed

COUNTS: dict[str, Any] = {"train": 4, "test": 4}
ROWS = "".join(f"{n}\tWho is it{n}?\tIt is {n}.\t{('', 'not_')[n % 2]}entailment\n" for n in range(4))
TABLE = f"index\tquestion\tsentence\tlabel\n{ROWS}".encode()
NAMES = ("QNLI/train.tsv", "QNLI/dev.tsv")


@pytest.fixture
def files(tmp_path) -> Path:
    """Made-up files in the layout of QNLI."""
    for name in NAMES:
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_bytes(TABLE)
    return tmp_path / "files"


@pytest.fixture
def archive(tmp_path, files, monkeypatch) -> Path:
    """An archive of them, whose hash the manifest knows as if it were that of the release."""
    packed = tmp_path / "QNLIv2.zip"
    with zipfile.ZipFile(packed, "w") as zipped:
        for name in NAMES:
            zipped.write(files / name, name)
    read = manifest.read
    given = read("glue_qnli")
    known = msgspec.structs.replace(given.release.archives[0], size=packed.stat().st_size, sha256=store.sha256(packed))
    release = msgspec.structs.replace(given.release, archives=[known])
    told = msgspec.structs.replace(given, release=release)
    monkeypatch.setattr(manifest, "read", lambda name: told if name == "glue_qnli" else read(name))
    return packed


def named(prepared) -> tuple[str, str]:
    return prepared.protocol["name"], prepared.protocol["originals"]


def test_made_up_files_are_unverified(tmp_path, files):
    prepared = prepare_dataset("glue_qnli", tmp_path, released=files, **COUNTS)
    name, originals = named(prepared)
    assert name == "glue_qnli/unverified"
    assert originals.startswith("QNLI/train.tsv, QNLI/dev.tsv taken for those of the release: no sha256 is published")
    assert named(open_dataset("glue_qnli", tmp_path, **COUNTS)) == (name, originals)
    planned = place("glue_qnli", tmp_path, COUNTS).settings.protocol()
    record = completed(planned, prepared)  # what a record says of them
    assert (planned["name"], record["name"], record["originals"]) == ("glue_qnli/released", name, originals)


def test_made_up_raw_texts_are_unverified(tmp_path):
    for part in ("valid", "test"):
        (tmp_path / f"wiki.{part}.raw").write_bytes(b"invented words\n")
    given: dict[str, Any] = {"tokenizer": "bytes", "text": "raw", "held_out": True}
    prepared = prepare_dataset("wikitext103", tmp_path, released=tmp_path, **given)
    assert prepared.protocol["name"] == "wikitext103/unverified/bytes"
    assert "wiki.valid.raw, wiki.test.raw taken for" in prepared.protocol["originals"]


@pytest.mark.parametrize("kind", ["archive", "folder", "in a zip"])
def test_files_of_a_known_archive_are_released(tmp_path, archive, kind):
    source, root = archive, tmp_path / "root"
    if kind == "folder":
        source = tmp_path / "kept"
        source.mkdir()
        archive.rename(source / archive.name)
    if kind == "in a zip":
        source = tmp_path / "kept.zip"
        with zipfile.ZipFile(source, "w") as zipped:
            zipped.write(archive, archive.name)
    lines = acquire.take("glue_qnli", source, root)
    assert lines == [f"{root}/raw/glue: 2 of 2 parts of the release are here, verified"]
    assert "2 of known sha256 and as released" in acquire.verify("glue_qnli", root / "raw" / "glue")
    assert named(open_dataset("glue_qnli", root, **COUNTS)) == (
        "glue_qnli/released",
        "came out of the release's archive, whose hash is published",
    )
    assert acquire.fetch("glue_qnli", root) == [
        f"{root}/raw/glue: here already: 2 parts, 2 of known sha256 and as released"
    ]


def test_files_without_a_seal_are_fetched_again(tmp_path, archive, files, monkeypatch):
    """Their names and counts are those of the release; where nothing else can be had, they are enough."""
    root = tmp_path / "root"
    acquire.take("glue_qnli", files, root)
    monkeypatch.setattr(acquire.download, "archive", lambda wanted, folder, by_hand: archive)
    assert acquire.fetch("glue_qnli", root) == [f"{root}/raw/glue: 2 of 2 parts of the release are here, verified"]
    assert named(open_dataset("glue_qnli", root, **COUNTS))[0] == "glue_qnli/released"
    (tmp_path / "lra").mkdir()
    for file in manifest.read("lra_retrieval").release.files:
        (tmp_path / "lra" / file.name).write_bytes(b"")
    acquire.take("lra_retrieval", tmp_path / "lra", root)
    (told,) = acquire.fetch("lra_retrieval", root)
    assert told == f"{root}/raw/lra_aan: here already: 3 parts, of which no sha256 is known to verify them by"


def test_a_seal_is_bound_to_the_files(tmp_path, archive, files):
    root = tmp_path / "root"
    acquire.take("glue_qnli", archive, root)
    lines = acquire.take("glue_qnli", files, root)  # the same bytes, but nobody says from where
    assert lines[1].startswith("unverified, as they did not come out of an archive with the manifest's hash: QNLI/tr")
    assert named(open_dataset("glue_qnli", root, **COUNTS))[0] == "glue_qnli/unverified"
    acquire.take("glue_qnli", archive, root)
    assert (
        named(prepare_dataset("glue_qnli", root, released=root / "raw" / "glue", **COUNTS))[0] == "glue_qnli/released"
    )
    with (root / "raw" / "glue" / NAMES[1]).open("ab") as file:
        file.write(b"5\tone\tmore\tentailment\n")
    with pytest.raises(DataError, match=r"QNLI/dev\.tsv is not the released file: expected sha256"):
        prepare_dataset("glue_qnli", root, released=root / "raw" / "glue", **COUNTS)
    assert main(["verify", "glue_qnli", "--root", str(root)]) == 1


def test_another_archive_of_the_name_vouches_for_nothing(tmp_path, archive):
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("more", "other bytes")
    assert "verified where the manifest knows" in acquire.take("glue_qnli", archive, tmp_path / "root")[0]
    folder = tmp_path / "root" / "raw" / "glue"
    assert all(file.sha256 is None for file in seals.known(manifest.read("glue_qnli"), folder).files)


def test_damaged_seals_vouch_for_nothing(tmp_path, archive):
    acquire.take("glue_qnli", archive, tmp_path / "root")
    folder = tmp_path / "root" / "raw" / "glue"
    seals.path("glue_qnli", folder).write_text("{")
    assert named(open_dataset("glue_qnli", tmp_path / "root", **COUNTS))[0] == "glue_qnli/unverified"


def test_an_archive_is_known_by_its_md5_too(tmp_path):
    (tmp_path / "one").write_bytes(b"one")
    known = manifest.Archive("one", ["http://nowhere"], md5="f97c5d29941bfb1b2fdab0874906ab82")
    unknown = manifest.Archive("one", ["http://nowhere"], unverified="a test")
    assert seals.genuine(tmp_path / "one", [unknown, known])
    assert not seals.genuine(tmp_path / "one", [unknown])
    assert not seals.genuine(tmp_path / "one", [msgspec.structs.replace(known, size=4)])


def test_what_was_prepared_without_a_look_at_the_originals_is_prepared_anew(tmp_path, files):
    prepared = prepare_dataset("glue_qnli", tmp_path, released=files, **COUNTS)
    meta = store.read_meta(prepared.directory)
    before = {key: value for key, value in meta.protocol.items() if key != "originals"} | {"name": "glue_qnli/released"}
    text = msgspec.json.encode(msgspec.structs.replace(meta, protocol=before))
    (prepared.directory / store.META).write_bytes(text)
    with pytest.raises(CorruptData, match="another protocol text"):
        open_dataset("glue_qnli", tmp_path, **COUNTS)


def test_files_that_are_not_read_need_no_seal(tmp_path):
    """Of MNLI one development file is read."""
    settings = place("glue_mnli", tmp_path, {}).settings
    assert settings.by_archive == ("MNLI/train.tsv", "MNLI/dev_matched.tsv")
    assert settings.as_found(["MNLI/dev_mismatched.tsv"]) == {}
