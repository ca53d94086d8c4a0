"""The embedded book: shipped whole, prepared without any file of the user's, described and checked."""

import hashlib
import lzma

import numpy as np
import pytest

from suite.data import CorruptData, SettingsError, manifest, open_dataset, prepare_dataset
from suite.data.__main__ import main
from suite.data.settings import SPLITS
from suite.data.text import book
from suite.data.text.batches import evaluation_carried


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def prepared(root):
    return open_dataset("book", root)


def test_the_book_is_small_and_what_the_manifest_says():
    assert book.FILE.stat().st_size < 400_000
    text = book.text()
    assert len(text) == 285_420
    assert len(text.split()) == 50_923
    assert text.startswith(b"THE HOUSE ON THE BORDERLAND")
    assert b"Gutenberg" not in text
    assert manifest.read("book").citations[0].authors == ["William Hope Hodgson"]


def test_splits_are_the_book_in_order(prepared):
    texts = [bytes(getattr(prepared, split).tokens) for split in SPLITS]
    assert b"".join(texts) == book.text()
    for split, text in zip(SPLITS, texts, strict=True):
        opened = getattr(prepared, split)
        assert opened.count == 1
        assert opened.byte_count == opened.token_count == len(text)
        assert opened.word_count == len(text.split())
        assert not text[:1].isspace()
        assert prepared.protocol["splits"][split]["bytes"] == len(text)
    assert [round(len(text) / 285_420, 2) for text in texts] == [0.8, 0.1, 0.1]
    assert prepared.train.tokens.dtype == np.uint8


def test_the_protocol_names_the_tokenizer(prepared):
    protocol = prepared.protocol
    assert protocol["name"] == "book/generated/bytes"
    assert protocol["unit"] == "byte"
    assert (protocol["vocabulary_size"], protocol["begin"]) == (258, 256)
    assert len(protocol["vocabulary_sha256"]) == 64
    assert prepared.settings == {"source": "generated", "train": 0, "validation": 0, "test": 0, "tokenizer": "bytes"}


def test_evaluation_counts_every_byte(prepared):
    batches = list(evaluation_carried(prepared.test, 4, 4096))
    assert sum(int(batch.mask.sum()) for batch in batches) == prepared.test.byte_count
    assert batches[0].inputs[0, 0] == 256


def test_opening_again_reads_the_same_files(root, prepared):
    again = open_dataset("book", root)
    assert again.hashes == prepared.hashes
    assert again.directory == prepared.directory


def test_an_unknown_setting_or_tokenizer_is_one_sentence(root):
    with pytest.raises(SettingsError, match=r"book has no setting 'tokeniser'.*tokenizer"):
        open_dataset("book", root, tokeniser="bytes")
    with pytest.raises(SettingsError, match="tokenizer must be 'bytes'"):
        open_dataset("book", root, tokenizer="letters")
    with pytest.raises(SettingsError, match="source must be 'generated'"):
        prepare_dataset("book", root, released=root)


def test_a_changed_book_is_not_used(tmp_path):
    changed = tmp_path / "book.xz"
    changed.write_bytes(lzma.compress(b"another"))
    with pytest.raises(CorruptData, match=f"found {hashlib.sha256(b'another').hexdigest()}"):
        book.text(changed)
    changed.write_bytes(book.FILE.read_bytes()[:-9])
    with pytest.raises(CorruptData, match="cannot be read"):
        book.text(changed)


def test_a_changed_file_is_named_and_mended_by_the_command(tmp_path):
    prepared = open_dataset("book", tmp_path)
    words = prepared.directory / "test" / "words.npy"
    words.write_bytes(words.read_bytes()[:-8] + bytes(8))
    with pytest.raises(CorruptData, match=r"words.npy is corrupt.*prepare book --root"):
        open_dataset("book", tmp_path)
    assert main(["verify", "book", "--root", str(tmp_path)]) == 1
    assert main(["prepare", "book", "--root", str(tmp_path)]) == 0
    assert main(["verify", "book", "--root", str(tmp_path)]) == 0


def test_the_command_lists_the_book(root, prepared, capsys):
    assert main(["list", "--root", str(root)]) == 0
    printed = capsys.readouterr().out
    assert "book: The House on the Borderland" in printed
    assert str(prepared.directory) in printed
