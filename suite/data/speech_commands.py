"""Speech Commands v0.02 (Warden, arXiv 1804.03209), sample by sample at 16 kHz: 35 words (S4, S5) or ten (SC10)."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float64

from suite.data.batches import permutation
from suite.data.errors import DataError
from suite.data.prepared import Normalization, Prepared, Split
from suite.data.sequences import Advance, Sequences, silent
from suite.data.settings import Settings, choice, integer
from suite.data.speech_files import LISTS, RATE, TEN_WORDS, WORDS, clips, read_clip, split_of

SCALE = 2.0**-15
EPSILON = 1e-5
"""Added to the deviation, as the S4 and S5 code does."""
TEN_SHARES = (0.7, 0.85)
"""Where validation and test of the ten words begin."""

_SPLIT_RULES = {
    35: "validation_list.txt and testing_list.txt of the release (a hash of the speaker); all other clips are trained on",
    10: "clips of one second only, drawn at random 70 : 15 : 15; the same speaker may be in several splits",
}
_DIFFERENCES = {
    35: ("shuffled once by this project's generator",),
    10: ("another random draw than scikit-learn's of the NeuralCDE, S4 and SeqBoat code, and not stratified by word",),
}


@dataclass(frozen=True)
class SpeechCommandsSettings(Settings):
    """What a prepared Speech Commands holds; `words` decides the words and the rule of the splits."""

    NAME: ClassVar[str] = "speech_commands"
    TITLE: ClassVar[str] = "Speech Commands v0.02, raw audio"

    train: int = 84_843
    validation: int = integer(9_981, least=0)
    test: int = 11_005
    words: int = choice(35, 10)

    @property
    def names(self) -> tuple[str, ...]:
        """The words in the order of the labels."""
        return WORDS if self.words == 35 else TEN_WORDS

    def reads(self, file: str) -> bool:
        """The lists of the splits are read for 35 words only."""
        return self.words == 35 or file not in LISTS.values()

    def facts(self) -> dict[str, Any]:
        return {
            "split_rule": f"{_SPLIT_RULES[self.words]}; the first clips of each split",
            "input": {"kind": "values", "scale": SCALE},
            "normalization": f"mean 0 and deviation 1 over all samples of train, {EPSILON:g} added to the deviation",
            "padding": "right, with silence, to one second" if self.words == 35 else "none",
            "rate": RATE,
            "vocabulary": list(self.names),
            "maximum_length": RATE,
            "classes": self.words,
            "differences": list(_DIFFERENCES[self.words]),
        }


@dataclass(frozen=True)
class Clips(Sequences):
    """Sequences of samples, and the mean and deviation of all of them."""

    moments: Float64[np.ndarray, " 2"]


class PreparedClips(Prepared):
    """Speech Commands as prepared: every split is normalized by the moments of the train split."""

    def _open(self, split: str) -> Split:
        opened = super()._open(split)
        mean, deviation = self._array("train/moments.npy").tolist()
        normalization = Normalization(SCALE, mean, deviation + EPSILON)
        return Split(opened.tokens, opened.offsets, opened.labels, opened.maximum_length, normalization)


def read(settings: SpeechCommandsSettings, folder: Path, advance: Advance = silent) -> dict[str, Sequences]:
    """The splits, from the unpacked archive; DataError names what is missing, malformed or too little."""
    if settings.words == 35:
        names = clips(folder, settings.names)
        parts = dict(zip(names, split_of(folder, names), strict=True))
        chosen = {split: [name for name in names if parts[name] == split] for split in settings.counts}
        chosen = {split: [found[i] for i in permutation(len(found), 0, 0)] for split, found in chosen.items()}
    else:
        names = [name for name in clips(folder, settings.names) if _seconds(folder / name) == 1.0]
        order = [names[i] for i in permutation(len(names), 0, 0)]
        first, second = (int(len(order) * share) for share in TEN_SHARES)
        chosen = {"train": order[:first], "validation": order[first:second], "test": order[second:]}
    splits = {}
    for split, wanted in settings.counts.items():
        if len(chosen[split]) < wanted:
            raise DataError(f"{folder} has {len(chosen[split])} clips for {split}, {wanted} are wanted")
        splits[split] = _read_split(settings, folder, chosen[split][:wanted], advance)
    return splits


def _seconds(path: Path) -> float:
    return len(read_clip(path)) / RATE


def _read_split(settings: SpeechCommandsSettings, folder: Path, names: list[str], advance: Advance) -> Clips:
    samples = np.zeros((len(names), RATE), np.int16)
    labels = np.array([settings.names.index(name.split("/")[0]) for name in names], np.int32)
    total = squares = 0.0
    for row, name in enumerate(names):
        clip = read_clip(folder / name)
        if len(clip) > RATE:
            raise DataError(f"{folder / name} has {len(clip)} samples: expected at most {RATE}")
        samples[row, : len(clip)] = clip
        exact = clip.astype(np.int64)
        total, squares = total + int(exact.sum()), squares + int((exact * exact).sum())
        advance(1)
    count = max(samples.size, 1)
    mean = total / count
    variance = max(squares / count - mean**2, 0.0) * count / max(count - 1, 1)
    moments = np.array([mean * SCALE, math.sqrt(variance) * SCALE])
    offsets = np.arange(len(names) + 1, dtype=np.int64) * RATE
    return Clips(samples.reshape(-1), offsets, labels, moments)
