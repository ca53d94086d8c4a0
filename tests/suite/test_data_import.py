"""Copies of original files as people keep them: archives in archives, several data sets in one."""

import tarfile
import zipfile
from pathlib import Path

import msgspec
import pytest

from suite.data import DataError, acquire, manifest, raw, store

NAMES = ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens")


def text(data_set: str, name: str) -> bytes:
    return f"{name} of {data_set}\n".encode()


@pytest.fixture(autouse=True)
def small_release(monkeypatch, tmp_path):
    """The manifest of WikiText-2 with the sha256 of small validation and test texts."""
    read = manifest.read

    def described(name):
        found = read(name)
        if name != "wikitext2":
            return found
        files = []
        for file in found.release.files:
            if file.sha256:
                (tmp_path / "one").write_bytes(text("wikitext-2", file.name))
                file = msgspec.structs.replace(file, sha256=store.sha256(tmp_path / "one"))
            files.append(file)
        return msgspec.structs.replace(found, release=msgspec.structs.replace(found.release, files=files))

    monkeypatch.setattr(manifest, "read", described)


@pytest.fixture
def texts(tmp_path) -> Path:
    """Both WikiTexts beside each other, 103 with the raw texts too."""
    folder = tmp_path / "texts"
    for data_set in ("wikitext-103", "wikitext-2"):
        (folder / data_set).mkdir(parents=True)
        for name in NAMES:
            (folder / data_set / name).write_bytes(text(data_set, name))
    for name in NAMES:
        (folder / "wikitext-103" / name.replace("tokens", "raw")).write_bytes(b"raw")
    return folder


def taken(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "raw" / "wikitext2").rglob("*") if path.is_file()}


EXPECTED = {name: text("wikitext-2", name) for name in NAMES}


@pytest.mark.parametrize("packed", [True, False])
def test_of_both_wikitexts_the_one_that_is_asked_for_is_taken(tmp_path, texts, packed):
    source = texts
    if packed:
        source = tmp_path / "texts.tar.xz"
        with tarfile.open(source, "w:xz") as tar:
            tar.add(texts, ".")
    assert "3 of 6 parts" in acquire.take("wikitext2", source, tmp_path / "root")[0]
    assert taken(tmp_path / "root") == EXPECTED
    assert raw.best(manifest.read("wikitext2").release, texts).name == "wikitext-103"  # has more files of these names


@pytest.mark.parametrize("packed", [True, False])
def test_files_under_other_names_are_known_by_their_hashes(tmp_path, texts, packed, monkeypatch):
    """Nothing of the other WikiText comes with them, also not what has no hash."""
    described = manifest.read("wikitext2")
    files = [
        msgspec.structs.replace(file, size=len(EXPECTED[file.name]) if file.sha256 else None)
        for file in described.release.files
    ]
    sized = msgspec.structs.replace(described, release=msgspec.structs.replace(described.release, files=files))
    monkeypatch.setattr(manifest, "read", lambda name: sized)
    for name in NAMES:
        (texts / "wikitext-2" / name).rename(texts / "wikitext-2" / f"{name.split('.')[1]}.txt")
    source = texts
    if packed:
        source = tmp_path / "texts.zip"
        with zipfile.ZipFile(source, "w") as zipped:
            for path in texts.rglob("*.*"):
                zipped.write(path, path.relative_to(texts))
    assert "2 of 6 parts" in acquire.take("wikitext2", source, tmp_path / "root")[0]
    assert taken(tmp_path / "root") == {name: EXPECTED[name] for name in NAMES[1:]}
    assert (texts / "wikitext-2" / "valid.txt").is_file()


def archives(folder: Path, texts: Path) -> None:
    """The two archives of WikiText-2 as they are downloaded."""
    folder.mkdir(parents=True)
    for name, kind in (("wikitext-2-v1.zip", "tokens"), ("wikitext-2-raw-v1.zip", "raw")):
        with zipfile.ZipFile(folder / name, "w") as packed:
            for path in (texts / "wikitext-103" if kind == "raw" else texts / "wikitext-2").glob(f"*.{kind}"):
                packed.write(path, f"{name[:10]}/{path.name}")


def test_archives_in_an_archive_or_deep_in_a_folder_are_unpacked(tmp_path, texts):
    archives(tmp_path / "kept/some/where", texts)
    with tarfile.open(tmp_path / "kept.tar", "w") as tar:
        tar.add(tmp_path / "kept", "kept")
    for source in (tmp_path / "kept.tar", tmp_path / "kept"):
        root = tmp_path / f"root {source.name}"
        assert "6 of 6 parts" in acquire.take("wikitext2", source, root)[0]
        assert {name: taken(root)[name] for name in NAMES} == EXPECTED
        assert [path.name for path in (root / "raw").iterdir()] == ["wikitext2"]  # nothing unpacked is left


def test_a_damaged_archive_in_an_archive_is_named_and_strange_ones_too(tmp_path):
    (tmp_path / "wikitext-2-v1.zip").write_bytes(b"no archive")
    with tarfile.open(tmp_path / "kept.tar", "w") as tar:
        tar.add(tmp_path / "wikitext-2-v1.zip", "in/wikitext-2-v1.zip")
    with pytest.raises(DataError, match=r"kept.tar/in/wikitext-2-v1.zip is no tar, zip or gzip archive"):
        acquire.take("wikitext2", tmp_path / "kept.tar", tmp_path / "root")
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(tmp_path / "kept.tar", "kept.tar")
    with pytest.raises(DataError, match=r"holds nothing of wikitext2: expected wiki.train.tokens.*wikitext-2-v1.zip"):
        acquire.take("wikitext2", tmp_path / "other.tar", tmp_path / "root")


@pytest.mark.parametrize("packed", [True, False])
def test_of_two_copies_of_listops_the_inner_one_is_taken(tmp_path, packed):
    """The archive of the Long Range Arena holds the tables twice; the S5 code reads those deeper in it."""
    tables = ("basic_train.tsv", "basic_val.tsv", "basic_test.tsv")
    for place in ("lra_release", "lra_release/lra_release"):
        folder = tmp_path / "kept" / place / "listops-1000"
        folder.mkdir(parents=True)
        for name in tables:
            (folder / name).write_text(place)
    source = tmp_path / "kept"
    if packed:
        source = tmp_path / "in" / "lra_release.gz"
        source.parent.mkdir()
        with tarfile.open(source, "w:gz") as tar:
            tar.add(tmp_path / "kept" / "lra_release", "lra_release")
    for given in (source, source.parent) if packed else (source,):  # also a folder that holds the archive
        lines = acquire.take("lra_listops", given, tmp_path / "root")
        folder = tmp_path / "root" / "raw" / "lra_listops"
        assert {(folder / name).read_text() for name in tables} == {"lra_release/lra_release"}
        (told,) = (line for line in lines if "two copies" in line)
        assert f"that in {source}/lra_release/lra_release/listops-1000 is read, as by the S4 and S5 code, and" in told
    (tmp_path / "kept/lra_release/lra_release/listops-1000/basic_val.tsv").unlink()
    assert not any("two copies" in line for line in acquire.take("lra_listops", tmp_path / "kept", tmp_path / "fuller"))


def test_a_folder_of_renamed_files_alone_is_taken(tmp_path, monkeypatch):
    """As MNIST is often kept: train-images.idx3-ubyte."""
    described, files = manifest.read("mnist"), []
    (tmp_path / "kept").mkdir()
    for file in described.release.files:
        path = tmp_path / "kept" / file.name.replace("-idx", ".idx")
        path.write_bytes(file.name.encode())
        files.append(msgspec.structs.replace(file, size=path.stat().st_size, sha256=store.sha256(path)))
    release = msgspec.structs.replace(described.release, files=files)
    monkeypatch.setattr(manifest, "read", lambda name: msgspec.structs.replace(described, release=release))
    assert "4 of 4 parts of the release are here, verified" in acquire.take("mnist", tmp_path / "kept", tmp_path)[0]
    assert (tmp_path / "raw/mnist/t10k-images-idx3-ubyte").read_bytes() == b"t10k-images-idx3-ubyte"
