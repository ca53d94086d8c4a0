"""Small WAV files in the layout of Speech Commands."""

import wave
from pathlib import Path

import numpy as np

from suite.data.speech_files import WORDS


def clip(path: Path, samples: np.ndarray, rate: int = 16_000) -> None:
    """A WAV file of 16 bits and one channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def speech_files(folder: Path) -> Path:
    """Four clips of each word, the third of them short; the first is for validation and the second for the test."""
    random, lists = np.random.default_rng(0), ([], [])
    for word in WORDS:
        for number in range(4):
            name = f"{word}/{number:08x}_nohash_0.wav"
            clip(folder / name, 100 + random.normal(0, 3_000, 12_000 if number == 2 else 16_000))
            if number < len(lists):
                lists[number].append(name)
    (folder / "validation_list.txt").write_text("\n".join(lists[0]) + "\n")
    (folder / "testing_list.txt").write_text("\n".join(lists[1]) + "\n")
    clip(folder / "_background_noise_/noise.wav", np.zeros(100_000))
    return folder
