"""Original files fetched from a server of the test's own and imported in every layout; hostile archives."""

import dataclasses
import functools
import http.server
import io
import os
import re
import stat
import tarfile
import threading
import zipfile
from pathlib import Path

import data_files
import msgspec
import pytest

from suite.data import DataError, acquire, catalog, doctor, download, manifest, open_dataset, raw, store, unpack
from suite.data.__main__ import main
from suite.data.settings import SPLITS

COUNTS = {"train": 4, "test": 4}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one archive, the rest of it where it is asked for, and stops halfway where told to."""

    content, requests, stop_after = b"", [], None

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        Handler.requests.append((self.path, start))
        if "gone" in self.path:
            self.send_error(403)
            return
        body = Handler.content if "good" in self.path else Handler.content[::-1]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : Handler.stop_after])

    def log_message(self, format, *args):
        pass


@pytest.fixture
def files(tmp_path):
    return data_files.imdb(tmp_path / "files")


@pytest.fixture
def packed(tmp_path, files) -> Path:
    with tarfile.open(tmp_path / "aclImdb_v1.tar.gz", "w:gz") as tar:
        tar.add(files, "aclImdb")
    return tmp_path / "aclImdb_v1.tar.gz"


@pytest.fixture
def server(packed):
    Handler.content, Handler.requests, Handler.stop_after = packed.read_bytes(), [], None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def small_release(monkeypatch, files, packed):
    """The manifest as if the few small reviews were the release; `urls` are set where a server is."""
    read = manifest.read
    given = read("lra_text")
    entries = []
    for file in given.release.files:
        paths = raw.matching(file, files)
        entries.append(msgspec.structs.replace(file, files=len(paths), sha256=raw.digest(file, files, paths)))
    archive = manifest.Archive(
        packed.name, ["http://127.0.0.1:9/gone"], size=packed.stat().st_size, sha256=store.sha256(packed)
    )
    current = {"archive": archive, "manual": None}

    def described(name):
        if name != "lra_text":
            return read(name)
        release = msgspec.structs.replace(
            given.release, files=entries, archives=[current["archive"]], manual=current["manual"]
        )
        return msgspec.structs.replace(given, release=release)

    monkeypatch.setattr(manifest, "read", described)
    monkeypatch.setattr("suite.data.imdb.LETTERS", "")  # few reviews have no frequent characters
    return current


def served(small_release, *urls: str) -> None:
    small_release["archive"] = msgspec.structs.replace(small_release["archive"], urls=list(urls))


def test_fetched_files_are_verified_prepared_and_not_fetched_again(tmp_path, server, small_release, capsys):
    served(small_release, f"{server}/good")
    root = tmp_path / "root"
    assert main(["fetch", "lra_text", "--root", str(root)]) == 0
    out = capsys.readouterr().out
    assert "4 of 4 parts of the release are here, verified" in out
    assert f"next: python -m suite.data prepare lra_text --root {root}" in out
    assert sorted(path.name for path in (root / "raw").iterdir()) == [".downloads", "imdb"]
    assert not list((root / "raw" / ".downloads").iterdir())
    assert len([path for path in (root / "raw" / "imdb").rglob("*") if path.is_file()]) == 8
    assert open_dataset("lra_text", root, **COUNTS).train.count == 4
    assert main(["fetch", "lra_text", "--root", str(root)]) == 0
    assert "here already" in capsys.readouterr().out
    assert len(Handler.requests) == 1
    assert main(["verify", "lra_text", "--root", str(root)]) == 0
    assert "4 of known sha256 and as released" in capsys.readouterr().out


def test_files_that_were_harmed_are_fetched_again(tmp_path, server, small_release, capsys):
    served(small_release, f"{server}/good")
    root = tmp_path / "root"
    acquire.fetch("lra_text", root)
    (root / "raw" / "imdb" / "train" / "neg" / "0_1.txt").write_bytes(b"harmed")
    (root / "raw" / "imdb" / "test" / "neg" / "99_1.txt").write_bytes(b"one too many")
    command = f"suite.data fetch lra_text --root {root}"
    with pytest.raises(DataError, match=rf"neg/\*.txt is not the released file: expected .* found .*; .*{command}"):
        open_dataset("lra_text", root, **COUNTS)
    assert main(["verify", "lra_text", "--root", str(root)]) == 1
    assert "is not the released file" in capsys.readouterr().err
    assert "4 of 4 parts" in acquire.fetch("lra_text", root)[0]
    assert main(["verify", "lra_text", "--root", str(root)]) == 0
    assert len(Handler.requests) == 2


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path, server, small_release, monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 50)
    served(small_release, f"{server}/good")
    Handler.stop_after = 100
    with pytest.raises(
        DataError, match=r"good: the connection broke off\). By hand: Get http.* suite.data import lra_text PATH"
    ):
        acquire.fetch("lra_text", tmp_path / "root")
    part = tmp_path / "root" / "raw" / ".downloads" / "imdb" / "aclImdb_v1.tar.gz.part"
    assert part.stat().st_size == 100
    Handler.stop_after = None
    acquire.fetch("lra_text", tmp_path / "root")
    assert Handler.requests == [("/good", 0), ("/good", 100)]


def test_mirrors_step_in(tmp_path, server, small_release):
    served(small_release, "http://127.0.0.1:9/nobody", f"{server}/gone", f"{server}/other", f"{server}/good")
    assert "4 of 4" in acquire.fetch("lra_text", tmp_path / "root")[0]
    assert [path for path, _ in Handler.requests] == ["/gone", "/other", "/good"]


def test_no_network_is_one_sentence_with_the_manual_steps(tmp_path, server, small_release, capsys):
    served(small_release, "http://127.0.0.1:9/nobody", f"{server}/gone", f"{server}/other")
    small_release["manual"] = "Ask a friend."
    assert main(["fetch", "lra_text", "--root", str(tmp_path / "root")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    for part in ("nobody: no connection;", "gone: HTTP 403;", "other: other bytes than", "By hand: Ask a friend. Get"):
        assert part in error
    assert not (tmp_path / "root" / "raw" / "imdb").exists()


def test_without_pooch_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(DataError, match=r'pip install "longseq-bench\[data\]"\. By hand: Get http'):
        acquire.fetch("lra_text", tmp_path / "root")


def test_nothing_to_fetch_is_said(tmp_path):
    with pytest.raises(DataError, match="glue_mrpc: there is nothing to download"):
        acquire.fetch("glue_mrpc", tmp_path)


def archived(files: Path, kind: str) -> Path:
    """The reviews packed in a way in which people keep them."""
    place = files.parents[1] / f"copy-{kind}"
    place.mkdir()
    if kind == "folder":
        return files
    if kind == "parent":
        return files.parent
    if kind == "zip":
        with zipfile.ZipFile(place / "reviews.zip", "w") as packed:
            for path in files.rglob("*.txt"):
                packed.write(path, path.relative_to(files))
        return place / "reviews.zip"
    suffix = {"tar": "", "tar.gz": "gz", "tar.xz": "xz", "tar.bz2": "bz2"}[kind]
    with tarfile.open(place / f"reviews.{kind}", f"w:{suffix}") as tar:
        tar.add(files, "some/where/aclImdb")
    return place / f"reviews.{kind}"


@pytest.mark.parametrize("kind", ["folder", "parent", "zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_copies_are_imported_whatever_their_layout(tmp_path, files, kind):
    root = tmp_path / "root"
    assert "4 of 4 parts" in acquire.take("lra_text", archived(files, kind), root)[0]
    assert not (root / "raw" / "imdb" / "train" / "unsup").exists()
    assert (files / "train" / "pos" / "10_9.txt").is_file()
    assert [path.name for path in (root / "raw").iterdir()] == ["imdb"]
    assert open_dataset("lra_text", root, **COUNTS).test.count == 4


def test_a_folder_with_the_downloaded_archive_is_imported(tmp_path, packed):
    (tmp_path / "downloads").mkdir()
    packed.rename(tmp_path / "downloads" / packed.name)
    assert "4 of 4 parts" in acquire.take("lra_text", tmp_path / "downloads", tmp_path / "root")[0]


def test_wrong_copies_are_named_and_nothing_is_kept(tmp_path, files, capsys):
    root = tmp_path / "root"
    (files / "train" / "pos" / "10_9.txt").write_bytes(b"changed")
    (tmp_path / "empty").mkdir()
    for source, message in (
        (files, f"error: {files}/train/pos/*.txt is not the released file: expected sha256"),
        (tmp_path / "empty", "holds nothing of lra_text: expected train/neg/*.txt"),
        (tmp_path / "nowhere", "does not exist"),
        (Path(__file__), "is no tar, zip or gzip archive"),
    ):
        assert main(["import", "lra_text", str(source), "--root", str(root)]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (root / "raw").exists() or not list((root / "raw").iterdir())
    assert main(["import", "lra_texts", str(files)]) == 2
    assert "did you mean 'lra_text'" in capsys.readouterr().err


def test_a_second_import_adds_to_the_first(tmp_path, files):
    root = tmp_path / "root"
    (files / "test").rename(files.parent / "kept")
    lines = acquire.take("lra_text", files, root)
    assert lines[1:] == ["not in it: test/neg/*.txt", "not in it: test/pos/*.txt"]
    (files.parent / "kept").rename(files / "test")
    assert "4 of 4 parts" in acquire.take("lra_text", files, root)[0]


def test_a_link_out_of_a_folder_is_not_taken(tmp_path, files):
    (tmp_path / "secret").write_bytes(b"secret")
    (files / "train" / "pos" / "9_9.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match=r"9_9.txt is a link that leaves its folder; it is not taken"):
        acquire.take("lra_text", files, tmp_path / "root")


def tar_with(path: Path, **member) -> Path:
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo(member.pop("name"))
        for key, value in member.items():
            setattr(info, key, value)
        info.size = 0 if info.type != tarfile.REGTYPE else 3
        tar.addfile(info, io.BytesIO(b"bad"))
    return path


@pytest.mark.parametrize(
    "member",
    [
        {"name": "../train/pos/1.txt"},
        {"name": "/tmp/train/pos/1.txt"},
        {"name": "a/../../train/pos/1.txt"},
        {"name": "train/pos/1.txt", "type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"name": "train/pos/1.txt", "type": tarfile.SYMTYPE, "linkname": "../../../outside"},
        {"name": "train/pos/1.txt", "type": tarfile.LNKTYPE, "linkname": "../outside"},
        {"name": "train/pos/1.txt", "type": tarfile.SYMTYPE, "linkname": "2.txt"},
        {"name": "train/pos/1.txt", "type": tarfile.CHRTYPE},
        {"name": "train/pos/1.txt", "type": tarfile.FIFOTYPE},
    ],
)
def test_hostile_tars_are_refused(tmp_path, member):
    hostile = tar_with(tmp_path / "hostile.tar", **member)
    with pytest.raises(DataError, match=r"hostile.tar: .*it is not unpacked"):
        acquire.take("lra_text", hostile, tmp_path / "deep" / "root")
    assert not list(tmp_path.rglob("1.txt"))


@pytest.mark.parametrize("name", ["../1.txt", "/tmp/1.txt", "a/../../1.txt", "..\\1.txt", "C:1.txt", "link.txt"])
def test_hostile_zips_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as packed:
        info = zipfile.ZipInfo(name)
        info.external_attr = ((stat.S_IFLNK if name == "link.txt" else stat.S_IFREG) | 0o644) << 16
        packed.writestr(info, "/etc/passwd")
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=r"hostile.zip: .*it is not unpacked"):
        unpack.unpack(tmp_path / "hostile.zip", tmp_path / "in", ["*.txt"])
    assert not list((tmp_path / "in").iterdir())
    assert not (tmp_path / "1.txt").exists()


def test_only_wanted_files_are_unpacked(tmp_path, packed):
    unpack.unpack(packed, tmp_path / "in", ["pos/1*.txt"])
    names = {path.relative_to(tmp_path / "in").as_posix() for path in (tmp_path / "in").rglob("*.txt")}
    assert names == {f"aclImdb/{name}" for name in ("train/pos/10_9.txt", "train/pos/110_9.txt", "test/pos/13_8.txt")}
    assert unpack.ending_in(["a/*.txt"])("x/a/b.txt")
    assert not unpack.ending_in(["a/*.txt"])("x/a/b/c.txt")


def test_damaged_archives_are_named(tmp_path, packed):
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"aclImdb_v1.tar.gz is damaged: "):
        acquire.take("lra_text", packed, tmp_path / "root")


def test_a_single_gzip_file_loses_its_suffix(tmp_path):
    import gzip

    (tmp_path / "t-ubyte.gz").write_bytes(gzip.compress(b"digits"))
    (tmp_path / "in").mkdir()
    unpack.unpack(tmp_path / "t-ubyte.gz", tmp_path / "in")
    assert (tmp_path / "in" / "t-ubyte").read_bytes() == b"digits"


def test_a_full_disk_is_one_sentence(tmp_path, files, monkeypatch):
    def full(source, target):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(acquire.shutil, "copyfile", full)
    with pytest.raises(DataError, match=r"cannot write .*imdb: No space left on device; nothing was kept") as error:
        acquire.take("lra_text", files, tmp_path / "root")
    assert str(error.value).endswith("folder with LONGSEQ_DATA, --root of suite.data or --data of suite.run")
    assert not list((tmp_path / "root" / "raw").iterdir())


def test_the_doctor_says_what_comes_next(tmp_path, files, capsys):
    root = tmp_path / "root"
    assert doctor.examine("lra_text", root).next == f"python -m suite.data fetch lra_text --root {root}"
    acquire.take("lra_text", files, root)
    found = doctor.examine("lra_text", root)
    assert found.raw == f"4 of 4 parts in {root}/raw/imdb"
    assert (found.prepared, found.next) == ("nothing", f"python -m suite.data prepare lra_text --root {root}")
    prepared = open_dataset("lra_text", root, **COUNTS)
    assert doctor.examine("lra_text", root).prepared == "1 selection, verified"
    assert main(["doctor", "lra_text", "--root", str(root)]) == 0
    assert "next: nothing to do" in capsys.readouterr().out
    (prepared.directory / "test" / "labels.npy").unlink()
    assert main(["doctor", "lra_text", "--root", str(root)]) == 1
    out = capsys.readouterr().out
    assert "labels.npy is corrupt" in out
    assert "next: python -m suite.data prepare lra_text" in out


def test_every_data_set_has_a_next_step(tmp_path):
    for name in catalog.names():
        assert "suite.data" in doctor.examine(name, tmp_path).next, name


def test_a_download_without_a_known_size_ends_where_the_server_says(tmp_path, server, small_release):
    served(small_release, f"{server}/good")
    unknown = msgspec.structs.replace(small_release["archive"], size=None)
    assert download.archive(unknown, tmp_path, "").read_bytes() == Handler.content


def test_the_read_me_says_of_every_data_set_how_far_it_was_checked():
    text = (manifest.FOLDER / "README.md").read_text(encoding="utf-8")
    checked = text.partition("## What was checked on genuine files")[2]
    assert [name for name in catalog.names() if f"`{name}`" not in checked] == []


def test_the_read_me_has_the_hashes_of_every_selection():
    text = (manifest.FOLDER / "README.md").read_text(encoding="utf-8").partition("## Hashes of what was prepared")[2]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (\S+) \| (\S+) \| (\S+) \|$", text, re.MULTILINE)
    found = {(name, selection): hashes for name, selection, *hashes in rows}
    expected = {}
    for name in catalog.names():
        for selection in manifest.read(name).selections:
            hashes = (selection.sha256.get(f"{split}/tokens.npy") for split in SPLITS)
            expected[name, selection.name] = [f"`{each[:16]}`" if each else "-" for each in hashes]
    assert found == expected


def test_manifests_name_every_variant_as_a_protocol():
    for name in catalog.names():
        told, settings = manifest.read(name).protocol, catalog.find(name).settings
        fields = {field.name: field for field in dataclasses.fields(settings)}
        variants = fields["variant"].metadata["choices"] if "variant" in fields else ()
        assert set(variants) <= set(told), name
        if "tokenizer" in fields and settings.SOURCES != ("local",):
            assert set(fields["tokenizer"].metadata["choices"]) <= set(told), name
        assert all(len(line) > 40 for line in told.values()), name
