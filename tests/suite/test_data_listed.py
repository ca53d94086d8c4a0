"""The held-out books of PG-19, which are downloaded one by one by the list beside the manifest."""

import functools
import hashlib
import http.server
import threading
from pathlib import Path

import msgspec
import pytest

from suite.data import acquire, download, manifest, prepare_dataset, raw
from suite.data.__main__ import main
from suite.data.errors import DataError

BOOKS = {
    f"{split}/{number}.txt": f"book {number}\n".encode() * 99 for split in ("validation", "test") for number in (7, 12)
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the vocabulary and the books; one of them breaks off where it is told to."""

    requests, broken = [], ""

    def do_GET(self):
        name = self.path.removeprefix("/")
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        Handler.requests.append((name, start))
        body = BOOKS.get(name, b"pieces")
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start : 100 if name == Handler.broken else None])

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server, and the manifest as if its books were those of PG-19."""
    Handler.requests, Handler.broken = [], ""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address = f"http://127.0.0.1:{server.server_port}"
        described = small(tmp_path, address)
        read = manifest.read
        monkeypatch.setattr(manifest, "read", lambda name: described if name == "pg19" else read(name))
        monkeypatch.setattr(download, "CHUNK", 50)
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield
        server.shutdown()
        thread.join()


def small(folder: Path, address: str) -> manifest.Manifest:
    lines, held_out = [], folder / "held out"
    for name, text in BOOKS.items():
        (held_out / name).parent.mkdir(parents=True, exist_ok=True)
        (held_out / name).write_bytes(text)
        split, number = name.removesuffix(".txt").split("/")
        lines.append(f"{split}\t{number}\t{len(text)}\t{hashlib.sha256(text).hexdigest()}\n")
    (folder / "books.tsv").write_text("".join(lines))
    given = manifest.read("pg19")
    files = [given.release.files[0]]
    for file in given.release.files[1:]:
        sha256 = raw.digest(file, held_out, raw.matching(file, held_out))
        files.append(msgspec.structs.replace(file, files=2, sha256=sha256))
    vocabulary = msgspec.structs.replace(
        given.release.archives[0],
        urls=[f"{address}/spiece.model"],
        size=6,
        sha256=hashlib.sha256(b"pieces").hexdigest(),
    )
    listed = manifest.Listed(str(folder / "books.tsv"), f"{address}/{{path}}", ".txt")
    release = msgspec.structs.replace(given.release, files=files, archives=[vocabulary], listed=listed)
    return msgspec.structs.replace(given, release=release)


def test_held_out_books_are_fetched_and_training_ones_named(tmp_path, server, capsys):
    root = tmp_path / "root"
    assert main(["fetch", "pg19", "--root", str(root)]) == 0
    told = capsys.readouterr()
    said = (
        "pg19: spiece.model, validation/*.txt, test/*.txt and no more can be downloaded; how to get train/*.txt is said"
    )
    assert told.err.startswith(f"{said} below\n")
    assert told.err.count("\n") == 3  # that, a bar for the vocabulary and one for all books
    assert "test/7.txt" not in told.err
    assert f"{root}/raw/pg19: 2 of 3 parts of the release are here, verified\nnot in it: train/*.txt\n" in told.out
    assert "next: By hand: PG-19 is 28,752 single files, no archive. With Google's tool: gsutil" in told.out
    folder = root / "raw" / "pg19"
    assert {name: (folder / name).read_bytes() for name in BOOKS} == BOOKS
    assert (folder / "spiece.model").read_bytes() == b"pieces"
    assert not list((root / "raw" / ".downloads").iterdir())
    asked = len(Handler.requests)
    assert acquire.fetch("pg19", root) == [f"{folder}: here already: 2 parts, 2 of known sha256 and as released"]
    assert len(Handler.requests) == asked == 5


def test_an_interrupted_fetch_goes_on_with_the_book_at_which_it_stopped(tmp_path, server):
    root, broken = tmp_path / "root", "test/7.txt"
    Handler.broken = broken
    with pytest.raises(
        DataError, match=r"^test/7\.txt cannot be downloaded .*the connection broke off.* By hand: PG-19"
    ):
        acquire.fetch("pg19", root)
    Handler.broken = ""
    acquire.fetch("pg19", root)
    assert Handler.requests[-2:] == [(broken, 100), ("test/12.txt", 0)]
    assert [name for name, _ in Handler.requests].count("validation/7.txt") == 1


def test_training_books_that_are_here_are_kept(tmp_path, server):
    folder = tmp_path / "root" / "raw" / "pg19"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "1.txt").write_bytes(b"one")
    acquire.fetch("pg19", tmp_path / "root")
    assert (folder / "train" / "1.txt").read_bytes() == b"one"


def test_the_list_is_that_of_the_manifest():
    """The sha256 of either split is that of the lines of its books."""
    release = manifest.read("pg19").release
    assert release.listed
    assert len(release.single) == 150
    for file in release.files[1:]:
        split = file.name.partition("/")[0]
        books = sorted((Path(book.name), book.sha256) for book in release.single if book.name.startswith(split))
        text = "".join(f"{sha256}  {path}\n" for path, sha256 in books)
        assert (len(books), hashlib.sha256(text.encode()).hexdigest()) == (file.files, file.sha256)
    assert release.single[0].urls == [f"https://storage.googleapis.com/deepmind-gutenberg/{release.single[0].name}"]


def test_no_training_book_is_taken_unseen(tmp_path, monkeypatch):
    """Their hashes are known: as many other files are refused."""
    given = manifest.read("pg19")
    files = [msgspec.structs.replace(file, files=1) for file in given.release.files]
    few = msgspec.structs.replace(given, release=msgspec.structs.replace(given.release, files=files))
    monkeypatch.setattr(manifest, "read", lambda name: few)
    for split in ("train", "validation", "test"):
        (tmp_path / "own" / split).mkdir(parents=True)
        (tmp_path / "own" / split / "1.txt").write_bytes(b"invented")
    with pytest.raises(DataError, match=r"train/\*\.txt is not the released file: expected sha256 a257e325"):
        prepare_dataset("pg19", tmp_path, released=tmp_path / "own")


def test_a_missing_list_is_one_sentence(tmp_path):
    release = manifest.read("pg19").release
    away = msgspec.structs.replace(release, listed=manifest.Listed(str(tmp_path / "none"), "http://x/{path}", ".txt"))
    with pytest.raises(DataError, match=r"none cannot be read: No such file or directory\. Install the project again"):
        _ = away.single
