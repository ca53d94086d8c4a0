"""A swinging pendulum filmed at irregular times (Becker et al. 2019; Schirmer et al. 2022; S5, section 4.3): settings.

An example is 50 of the 100 frames of a second, 24 x 24 pixels under noise that comes and goes; the targets are sine and
cosine of the angle at each of them. `suite.data.pendulum_generator` makes them.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from suite.data.errors import SettingsError
from suite.data.pendulum_generator import FRAMES, SIZE, generate_split
from suite.data.prepared import Normalization, Prepared, Split
from suite.data.sequences import Advance, Sequences, silent
from suite.data.settings import Settings, integer

PIXELS = SIZE * SIZE


@dataclass(frozen=True)
class PendulumSettings(Settings):
    """What a prepared pendulum holds: films of `observed` of 100 frames."""

    NAME: ClassVar[str] = "pendulum"
    TITLE: ClassVar[str] = "pendulum, filmed at irregular times"
    SOURCES: ClassVar[tuple[str, ...]] = ("generated",)
    GENERATOR_FIELDS: ClassVar[tuple[str, ...]] = ("seed", "observed")

    source: str = "generated"
    train: int = 2_000
    validation: int = integer(1_000, least=0)
    test: int = 1_000
    seed: int = integer(0, least=0)
    observed: int = integer(50, least=2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.observed > FRAMES:
            raise SettingsError(f"{self.NAME}: observed must be at most the {FRAMES} frames, not {self.observed}")

    def facts(self) -> dict[str, Any]:
        return {
            "split_rule": "each split is a stream of its own",
            "input": {"kind": "values"},
            "normalization": "pixels divided by 255; behind them the frames since the one before, 1 at the first",
            "maximum_length": self.observed,
            "frames": FRAMES,
            "targets": ["sine", "cosine"],
            "metric": "mse: mean squared error over all examples of the split, frames and targets",
            "differences": [
                "drawn by the authors' rules and numbers with this project's random numbers: not the same films",
                "lines end at whole pixels as Pillow's, but their corners are not rounded to pixels",
            ],
        }


class PreparedFilms(Prepared):
    """The pendulum as prepared: pixels are divided by 255, times are left as they are."""

    def _open(self, split: str) -> Split:
        opened = super()._open(split)
        scale = [1 / 255] * PIXELS + [1.0]
        return Split(opened.tokens, opened.offsets, opened.labels, opened.maximum_length, Normalization(scale))


def generate(settings: PendulumSettings, jobs: int | None = None, advance: Advance = silent) -> dict[str, Sequences]:
    """The splits, in one process: it is a matter of seconds."""
    return {
        split: generate_split(split, count, settings.observed, settings.seed, advance)
        for split, count in settings.counts.items()
    }
