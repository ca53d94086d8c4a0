"""The clips of Speech Commands v0.02 (Warden, arXiv 1804.03209): one-second WAV files in a folder per word.

`validation_list.txt` and `testing_list.txt` name the clips of two splits; every other clip is for training. The lists
follow a hash of the speaker's name, so that no speaker is in two splits; `assigned_split` computes it.
"""

import hashlib
import re
import wave
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from suite.data.errors import DataError

RATE = 16_000
"""Samples per second, and samples of a clip at most."""

WORDS = (
    *("bed", "cat", "down", "five", "forward", "go", "house", "left", "marvin", "no", "on", "right"),
    *("sheila", "tree", "up", "visual", "yes", "backward", "bird", "dog", "eight", "follow", "four", "happy"),
    *("learn", "nine", "off", "one", "seven", "six", "stop", "three", "two", "wow", "zero"),
)
"""The 35 words in the order of the labels (`ALL_CLASSES` of s5/dataloaders/sc.py)."""

TEN_WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
"""The ten words of SC10 in the order of the labels."""

LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_HASHES = 2**27


def assigned_split(name: str) -> str:
    """The split that the authors' hash assigns to a clip: of the file's name up to `_nohash_`, which is the speaker.

    SHA-1 modulo 2**27, as a share of 2**27 - 1: below 10 % validation, below 20 % test, else train.
    """
    speaker = re.sub(r"_nohash_.*$", "", Path(name).name)
    percent = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % _HASHES * (100.0 / (_HASHES - 1))
    return "validation" if percent < 10 else "test" if percent < 20 else "train"


def split_of(directory: Path, names: list[str]) -> list[str]:
    """The split of each clip: by the two lists, or by their rule where a copy of the data lacks the lists."""
    if not all((directory / name).is_file() for name in LISTS.values()):
        return [assigned_split(name) for name in names]
    lists = {split: frozenset((directory / name).read_text().split()) for split, name in LISTS.items()}
    return [next((split for split, listed in lists.items() if name in listed), "train") for name in names]


def clips(directory: Path, words: tuple[str, ...]) -> list[str]:
    """Every clip of some words as `word/file.wav`, sorted; DataError names a word that has none."""
    found = []
    for word in words:
        names = sorted(path.name for path in (directory / word).glob("*.wav"))
        if not names:
            raise DataError(f"{directory / word} holds no WAV file: expected the clips of {word!r}")
        found += [f"{word}/{name}" for name in names]
    return found


def read_clip(path: Path) -> Int16[np.ndarray, " samples"]:
    """The samples of one clip; DataError for a file that is no WAV of 16 bits, one channel and 16 kHz."""
    try:
        with wave.open(str(path), "rb") as file:
            shape = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise DataError(f"{path} is no WAV file: {error}") from None
    if shape != (1, 2, RATE) or len(data) % 2:
        raise DataError(f"{path} has (channels, bytes per sample, rate) {shape}: expected (1, 2, {RATE})")
    return np.frombuffer(data, "<i2").astype(np.int16)
