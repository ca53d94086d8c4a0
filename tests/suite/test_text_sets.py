"""Text data sets read from files of the layout of each release: splits, order, words, verification and errors."""

import hashlib
import io
import re
import tarfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sentencepiece import SentencePieceTrainer

from suite.data import DataError, NoData, SettingsError, catalog, manifest, open_dataset, prepare_dataset
from suite.data.__main__ import main
from suite.data.settings import SPLITS
from suite.data.text import pg19
from suite.data.text.batches import evaluation_carried, evaluation_strided
from suite.data.text.catalog import TEXT_SETS
from suite.data.text.prepared import PreparedText
from suite.launch import local
from suite.matrix import Selection, cells

BOOKS = {
    "train": {"20": "Call me\r\nIshmael. ", "3": "Some  years ago--never mind", "100": "é à la mode\n" * 30},
    "validation": {"7": "one two three"},
    "test": {"11": "four\tfive\u00a0six", "2": "seven"},
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def books(tmp_path) -> Path:
    files = {f"{split}/{book}.txt": text.encode() for split, named in BOOKS.items() for book, text in named.items()}
    return write(tmp_path / "books", files)


def documents(prepared: PreparedText, split: str) -> list[bytes]:
    opened = getattr(prepared, split)
    return [bytes(opened.document(d)) for d in range(opened.count)]


def pieces(text: str, size: int = 60) -> bytes:
    """A SentencePiece model without byte fallback, whose normalization is that of T5's."""
    written = io.BytesIO()
    SentencePieceTrainer.Train(
        sentence_iterator=iter([text] * 3), model_writer=written, vocab_size=size, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, normalization_rule_name="nmt_nfkc", num_threads=1,
    )  # fmt: skip
    return written.getvalue()


def test_books_are_documents_in_the_order_of_their_ids(books, tmp_path):
    prepared = prepare_dataset("pg19", tmp_path / "data", released=books, source="local")
    assert isinstance(prepared, PreparedText)
    for split in SPLITS:
        ordered = [BOOKS[split][book].encode() for book in sorted(BOOKS[split], key=int)]
        assert documents(prepared, split) == ordered
        opened = getattr(prepared, split)
        assert opened.bytes.tolist() == [len(text) for text in ordered]
        assert opened.words.tolist() == [len(text.decode().split()) for text in ordered]
    assert prepared.test.words.tolist() == [1, 3]
    assert prepared.protocol["splits"]["train"] == {"documents": 3, "tokens": 465, "bytes": 465, "words": 127}
    assert prepared.protocol["identical_to_release"] == {"validation": 0, "test": 0}
    assert "the files are not those of the release" in prepared.protocol["differences"]


def test_evaluations_count_every_byte_and_word_of_a_split(books, tmp_path):
    prepared = prepare_dataset("pg19", tmp_path / "data", released=books, source="local")
    for batches in (evaluation_carried(prepared.train, 2, 16), evaluation_strided(prepared.train, 2, 32, 8)):
        counted = np.concatenate([batch.targets[batch.mask] for batch in batches])
        assert len(counted) == prepared.train.byte_count
        np.testing.assert_array_equal(np.sort(counted), np.sort(prepared.train.tokens))


def test_the_first_documents_can_be_chosen(books, tmp_path):
    few = prepare_dataset("pg19", tmp_path / "data", released=books, source="local", train=2)
    assert documents(few, "train") == [BOOKS["train"][book].encode() for book in ("3", "20")]
    assert any("first documents" in difference for difference in few.protocol["differences"])
    with pytest.raises(DataError, match="train has 3 documents, expected at least 4"):
        prepare_dataset("pg19", tmp_path / "data", released=books, source="local", train=4)


def test_a_part_of_pg19_is_not_pg19(books, tmp_path):
    with pytest.raises(DataError, match=r"3 files, the release has 28,602.*--source local"):
        prepare_dataset("pg19", tmp_path / "data", released=books)
    with pytest.raises(NoData, match="pg19 is not prepared"):
        open_dataset("pg19", tmp_path / "data")


def test_official_books_are_listed_and_recognised(tmp_path, monkeypatch, books):
    official = pg19.official()
    assert {split: len(named) for split, named in official.items()} == {"validation": 50, "test": 100}
    for split, named in official.items():
        entry = next(file for file in manifest.read("pg19").release.files if file.split == split)
        lines = [f"{named[name[len(split) + 1 : -4]]}  {name}\n" for name in sorted(f"{split}/{b}.txt" for b in named)]
        assert hashlib.sha256("".join(lines).encode()).hexdigest() == entry.sha256
    known = {"validation": {}, "test": {"2": hashlib.sha256(b"seven").hexdigest(), "11": "0" * 64}}
    monkeypatch.setattr(pg19, "official", lambda: known)
    prepared = prepare_dataset("pg19", tmp_path / "data", released=books, source="local")
    assert prepared.protocol["identical_to_release"] == {"validation": 0, "test": 1}


def test_a_book_that_is_not_utf8_is_named(books, tmp_path):
    write(books, {"train/4.txt": b"caf\xe9"})
    with pytest.raises(DataError, match=r"4\.txt is not UTF-8: .* at byte 3"):
        prepare_dataset("pg19", tmp_path / "data", released=books, source="local")


def test_books_without_folders_are_held_out_at_the_end(tmp_path):
    folder = write(tmp_path / "books", {f"{n}.txt": f"book {n}".encode() for n in range(90, 115)})
    prepared = prepare_dataset("pg19_like", tmp_path / "data", released=folder)
    assert documents(prepared, "train") == [f"book {n}".encode() for n in range(90, 95)]
    assert documents(prepared, "validation") == [f"book {n}".encode() for n in range(95, 105)]
    assert documents(prepared, "test") == [f"book {n}".encode() for n in range(105, 115)]
    assert any("no published number" in difference for difference in prepared.protocol["differences"])
    with pytest.raises(DataError, match="train has 0 documents"):
        prepare_dataset("pg19_like", tmp_path / "data", released=write(tmp_path / "one", {"1.txt": b"x"}))


def test_pieces_of_a_model_file_make_tokens(books, tmp_path):
    model = pieces(" ".join(text for named in BOOKS.values() for text in named.values()))
    file = tmp_path / "own.model"
    file.write_bytes(model)
    given = {"source": "local", "tokenizer": "sentencepiece", "model": str(file)}
    prepared = prepare_dataset("pg19", tmp_path / "data", released=books, **given)
    digest = hashlib.sha256(model).hexdigest()
    assert prepared.settings["model"] == prepared.protocol["vocabulary_sha256"] == digest
    assert (prepared.protocol["unit"], prepared.protocol["begin"]) == ("piece", 0)
    assert prepared.tokenizer.decode(prepared.train.document(1)) == "Call me Ishmael."
    assert prepared.train.tokens.max() < prepared.protocol["vocabulary_size"]
    assert prepared.train.byte_count == 465
    again = open_dataset("pg19", tmp_path / "data", **(given | {"model": digest}))
    assert again.directory == prepared.directory
    np.testing.assert_array_equal(again.tokenizer.encode(b"Ishmael"), prepared.tokenizer.encode(b"Ishmael"))


def test_a_missing_or_another_model_is_named(books, tmp_path):
    given = {"source": "local", "tokenizer": "sentencepiece"}
    with pytest.raises(DataError, match=r"spiece\.model is missing.*d60acb12.*--model FILE"):
        prepare_dataset("pg19", tmp_path / "data", released=books, **given)
    write(books, {"spiece.model": pieces("a b c d e f g")})
    with pytest.raises(DataError, match=r"spiece\.model is another SentencePiece model: expected sha256 d60acb12"):
        prepare_dataset("pg19", tmp_path / "data", released=books, **given)
    write(books, {"spiece.model": b"no model"})
    with pytest.raises(DataError, match="model"):
        prepare_dataset("pg19", tmp_path / "data", released=books, **given)
    with pytest.raises(SettingsError, match=r"absent\.model cannot be read"):
        open_dataset("pg19", tmp_path / "data", **given, model=str(tmp_path / "absent.model"))
    with pytest.raises(SettingsError, match="model belongs to tokenizer 'sentencepiece'"):
        open_dataset("pg19", tmp_path / "data", model="0" * 64)


WIKI = {
    "train": " \n = Robert <unk> = \n \n the cat and the dog \u2028 sat , the end . \n",
    "valid": " = The = \n the mat \n",
    "test": " cat <unk> zebra\u3000and \n\n",
}


@pytest.fixture
def wiki(tmp_path) -> Path:
    return write(tmp_path / "wiki", {f"wikitext-2/wiki.{part}.tokens": text.encode() for part, text in WIKI.items()})


def test_words_are_numbered_by_frequency_and_lines_end_in_eos(wiki, tmp_path):
    prepared = prepare_dataset("wikitext2", tmp_path / "data", released=wiki, source="local")
    vocabulary = prepared.tokenizer.vocabulary
    assert vocabulary[:3] == ("<eos>", "the", "=")
    assert vocabulary[3:] == tuple(sorted(vocabulary[3:]))
    assert set(vocabulary) == {"<eos>", *WIKI["train"].split()}
    words = [vocabulary[token] for token in prepared.test.tokens]
    assert words == ["cat", "<unk>", "<unk>", "and", "<eos>", "<eos>"]
    assert [vocabulary[t] for t in prepared.validation.tokens] == ["=", "<unk>", "=", "<eos>", "the", "<unk>", "<eos>"]
    assert [prepared.protocol["splits"][split]["words"] for split in SPLITS] == [18, 7, 6]
    assert prepared.test.byte_count == len(WIKI["test"].encode())
    first = next(evaluation_carried(prepared.test, 1, 8))
    assert vocabulary[first.inputs[0, 0]] == "<eos>"
    text = "".join(f"{word}\n" for word in vocabulary).encode()
    assert prepared.protocol["vocabulary_sha256"] == hashlib.sha256(text).hexdigest()
    assert prepared.tokenizer.decode(prepared.test.tokens) == "cat <unk> <unk> and \n\n"
    other = open_dataset("wikitext2", tmp_path / "data", source="local")
    assert other.tokenizer.vocabulary == vocabulary


def test_bytes_of_wikitext_keep_its_word_counts(wiki, tmp_path):
    prepared = prepare_dataset("wikitext2", tmp_path / "data", released=wiki, source="local", tokenizer="bytes")
    assert documents(prepared, "train") == [WIKI["train"].encode()]
    assert prepared.test.word_count == 6
    with pytest.raises(SettingsError, match="tokenizer 'words' reads text 'tokens'"):
        open_dataset("wikitext2", tmp_path / "data", text="raw")


def test_raw_wikitext_reads_the_raw_files_only(tmp_path):
    raw = write(tmp_path / "raw", {f"wikitext-103-raw/wiki.{part}.raw": t.encode() for part, t in WIKI.items()})
    given = {"source": "local", "tokenizer": "bytes", "text": "raw"}
    prepared = prepare_dataset("wikitext103", tmp_path / "data", released=raw, **given)
    assert documents(prepared, "test") == [WIKI["test"].encode()]
    assert {name for name in prepared.hashes if name.startswith("wiki")} == {f"wiki.{part}.raw" for part in WIKI}
    with pytest.raises(DataError, match=r"wiki\.train\.tokens is missing"):
        prepare_dataset("wikitext103", tmp_path / "data", released=raw, source="local")


def test_held_out_wikitext_needs_no_training_text(wiki, tmp_path):
    (wiki / "wikitext-2" / "wiki.train.tokens").unlink()
    root, given = tmp_path / "data", {"tokenizer": "bytes", "held_out": True}
    prepared = prepare_dataset("wikitext2", root, released=wiki, source="local", **given)
    assert [getattr(prepared, split).count for split in SPLITS] == [0, 1, 1]
    assert documents(prepared, "test") == [WIKI["test"].encode()]
    assert "nothing can be trained" in " ".join(prepared.protocol["differences"])
    with pytest.raises(SettingsError, match="is that of the training text; take tokenizer 'bytes' with held_out"):
        open_dataset("wikitext2", root, held_out=True)
    assert "held_out" not in catalog.find("wikitext2").settings().to_dict()
    (one,) = cells(Selection(tasks=("lm.wikitext103",), architectures=("s5",), frameworks=("torch",)))
    refused = local.prepare([one], lambda name, settings: prepared)[one.id]
    assert isinstance(refused, NoData)
    assert "wikitext2 is prepared without its train split" in str(refused)


def test_missing_parts_are_named_with_what_can_be_had_without_them(tmp_path):
    root = tmp_path / "data"
    write(root / "raw" / "wikitext103", {f"wiki.{part}.tokens": b"x" for part in ("valid", "test")})
    for ask in (prepare_dataset, open_dataset):
        with pytest.raises(NoData) as caught:
            ask("wikitext103", root)
        said = str(caught.value)
        assert "wiki.train.tokens is not in" in said
        assert ("--tokenizer bytes --held-out true" in said) == (ask is prepare_dataset)
        assert "wiki.test" not in said
    with pytest.raises(NoData, match="the original files are not in"):
        prepare_dataset("wikitext103", root, tokenizer="bytes", text="raw")


def test_another_wikitext_is_refused(wiki, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"wiki\.valid\.tokens is not the released file"):
        prepare_dataset("wikitext2", tmp_path / "data", released=wiki)
    read = manifest.read
    without = [msgspec.structs.replace(f, sha256=None, unverified="a test") for f in read("wikitext2").release.files]
    release = msgspec.structs.replace(read("wikitext2").release, files=without)
    monkeypatch.setattr(manifest, "read", lambda name: msgspec.structs.replace(read(name), release=release))
    with pytest.raises(DataError, match=r"wiki\.train\.tokens is not the released file: expected sha1 863f29c4"):
        prepare_dataset("wikitext2", tmp_path / "data", released=wiki)


def test_enwik8_is_cut_at_ninety_and_ninety_five_percent(tmp_path):
    text = "".join(f"<page>é{n}</page>\n" for n in range(40)).encode()[:640]
    folder = write(tmp_path / "dump", {"enwik8": text})
    prepared = prepare_dataset("enwik8", tmp_path / "data", released=folder, source="local")
    assert [getattr(prepared, split).token_count for split in SPLITS] == [576, 32, 32]
    assert b"".join(documents(prepared, split)[0] for split in SPLITS) == text
    assert prepared.protocol["unit"] == "byte"
    with pytest.raises(DataError, match="enwik8 is not the released file: expected sha256 2b49720e"):
        prepare_dataset("enwik8", tmp_path / "data", released=folder)


def test_entries_of_folders_are_documents(tmp_path):
    folder = write(tmp_path / "code", {
        "train/zeta/b.py": b"b = 1\n", "train/zeta/a/c.py": b"c = 2\n", "train/zeta/logo.png": b"\x89PNG",
        "train/alpha.txt": "naïve".encode("latin-1"), "train/empty/readme.md": b"nothing",
        "train/.git/config.py": b"hidden", "validation/one.py": b"v", "test/two.py": b"t",
    })  # fmt: skip
    prepared = prepare_dataset("github", tmp_path / "data", released=folder)
    assert documents(prepared, "train") == ["naïve".encode(), b"c = 2\n\n\nb = 1\n"]
    assert documents(prepared, "validation") == [b"v"]
    assert any("stand-in" in difference for difference in prepared.protocol["differences"])
    assert len(prepared.hashes["**/*"]) == 64
    more = prepare_dataset("github", tmp_path / "data", released=folder, suffixes=".md,.py")
    assert documents(more, "train") == [b"nothing", b"c = 2\n\n\nb = 1\n"]
    with pytest.raises(DataError, match="validation has 0 documents"):
        prepare_dataset("github", tmp_path / "data", released=folder, suffixes=".md")


def test_folders_without_splits_are_split_by_name(tmp_path):
    papers = {f"{n}/main.tex": f"\\title{{{n}}}".encode() for n in range(200)}
    folder = write(tmp_path / "papers", papers)
    first = prepare_dataset("arxiv", tmp_path / "data", released=folder)
    found = {split: documents(first, split) for split in SPLITS}
    assert sorted(text for texts in found.values() for text in texts) == sorted(papers.values())
    assert len(found["train"]) > 160
    assert min(len(found["validation"]), len(found["test"])) >= 4
    write(folder, {"new/main.tex": b"more"})
    second = prepare_dataset("arxiv", tmp_path / "other", released=folder)
    for split in SPLITS:
        assert set(found[split]) <= set(documents(second, split)) | {b"more"}


@pytest.mark.parametrize("packed", [False, True])
def test_imported_texts_are_prepared_by_the_command_that_is_named(packed, tmp_path, capsys):
    papers = {f"{n}.tex": f"\\title{{{n}}}".encode() for n in range(60)}
    source, root = write(tmp_path / "papers", papers), str(tmp_path / "data")
    if packed:
        source = tmp_path / "papers.tar"
        with tarfile.open(source, "w") as tar:
            for path in sorted((tmp_path / "papers").iterdir()):
                tar.add(path, path.name)
    assert main(["prepare", "arxiv", "--root", root]) == 1  # nothing was imported yet
    assert main(["import", "arxiv", str(source), "--root", root]) == 0
    command = capsys.readouterr().out.rpartition("next: ")[2].split()
    assert command[:3] == ["python", "-m", "suite.data"]
    assert main(command[3:]) == 0
    assert main(["doctor", "arxiv", "--root", root]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_the_command_prepares_and_verifies(books, tmp_path, capsys):
    root = str(tmp_path / "data")
    assert main(["prepare", "pg19", "--from", str(books), "--root", root]) == 1
    assert "the release has 28,602" in capsys.readouterr().err
    assert main(["prepare", "pg19", "--from", str(books), "--source", "local", "--root", root]) == 0
    assert main(["prepare", "pg19_like", "--from", str(books), "--root", root, "--tokenizer", "bytes"]) == 0
    assert main(["verify", "--root", root]) == 0
    assert capsys.readouterr().out.count("whole") == 4
    assert main(["prepare", "arxiv", "--root", root]) == 1
    assert "prepare arxiv --root" in capsys.readouterr().err
    assert main(["list", "--root", root]) == 0
    assert "pg19_like: Books like those of PG-19" in capsys.readouterr().out


@pytest.mark.parametrize("name", TEXT_SETS)
def test_manifests_agree_with_the_code(name):
    description = manifest.read(name)
    settings = catalog.find(name).settings
    assert (description.benchmark, description.title) == ("lm", settings.TITLE)
    made = description.generator or description.preparation
    assert made is not None
    assert made.version == settings.VERSION
    assert made.settings == {
        key: value for key, value in settings().to_dict().items() if key not in ("source", *SPLITS)
    }
    for selection in description.selections:
        given = {"source": description.source(selection), **selection.settings}
        assert description.pinned(settings(**given).to_dict()) == (selection.sha256 if selection.binding else {})
        assert description.pinned(settings(**(given | {"train": 1})).to_dict()) == {}
    assert description.defects
    for archive in description.release.archives:
        assert archive.size
        assert archive.sha256
    for file in description.release.files:
        assert file.sha256 or re.match(".{20}", file.unverified or "")
