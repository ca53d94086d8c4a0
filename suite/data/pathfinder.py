"""Pathfinder of Long Range Arena: do two markers lie on the same long contour? (Linsley et al. 2018; Tay et al. 2021.)

Images are read pixel by pixel: 32 x 32 is Pathfinder, 128 x 128 Path-X, 256 x 256 Path-256. The settings of each
resolution are those that the release states for its images (`lra_benchmarks/data/pathfinder.py`); what it leaves out
is the default of the published generator (`snakes2_wrapper.py`).
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from suite.data.pathfinder_paddles import Drawing
from suite.data.settings import Settings, choice, integer

GENERATOR_VERSION = 1
CLASSES = 2

DRAWINGS = {
    32: Drawing(
        resolution=32, padding=1, seed_distance=7, marker_radius=1.5, paddle_length=2, paddle_thickness=0.5,
        paddle_margins=(1,), continuity=1.0, distractor_paddles=20, contour_contrast=150, distractor_contrast=200,
    ),
    64: Drawing(
        resolution=64, padding=1, seed_distance=12, marker_radius=2.5, paddle_length=5, paddle_thickness=1.0,
        paddle_margins=(1,), continuity=1.8, distractor_paddles=22, contour_contrast=80, distractor_contrast=80,
    ),
    128: Drawing(
        resolution=128, padding=1, seed_distance=20, marker_radius=3.0, paddle_length=5, paddle_thickness=1.5,
        paddle_margins=(2, 3), continuity=1.8, distractor_paddles=35, contour_contrast=90, distractor_contrast=90,
    ),
    256: Drawing(
        resolution=256, padding=22, seed_distance=27, marker_radius=5.0, paddle_length=5, paddle_thickness=2.0,
        paddle_margins=(3,), continuity=1.8, distractor_paddles=30, contour_contrast=100, distractor_contrast=100,
    ),
}  # fmt: skip
LEVELS = {14: "curv_contour_length_14", 9: "curv_contour_length_9", 6: "curv_baseline"}
"""The release's folder for each length of the long contours; 14 paddles are the benchmark's, "hard"."""

_SPLIT_RULES = {
    "generated": "each split is a stream of its own, its images in the order of their numbers",
    "read": "the random tenths that torch.utils.data.random_split draws for validation and test with seed 42 from the "
    "images in the order of the metadata, as in the S4 and S5 code; the first examples of each",
}
_GENERATED_DIFFERENCES = (
    "drawn by the published generator's rules with the release's settings by this project's generator; not the "
    "released images",
)


@dataclass(frozen=True)
class PathfinderSettings(Settings):
    """What a prepared Pathfinder holds: images of `resolution` squared pixels, long contours of `contour_length`."""

    NAME: ClassVar[str] = "lra_pathfinder"
    TITLE: ClassVar[str] = "Pathfinder (Long Range Arena)"
    VERSION: ClassVar[int] = GENERATOR_VERSION
    SOURCES: ClassVar[tuple[str, ...]] = ("generated", "released", "local")
    GENERATOR_FIELDS: ClassVar[tuple[str, ...]] = ("seed",)

    source: str = "generated"
    train: int = 160_000
    validation: int = integer(20_000, least=0)
    test: int = 20_000
    seed: int = integer(0, least=0)
    resolution: int = choice(32, 64)
    contour_length: int = choice(14, 9, 6)

    @property
    def drawing(self) -> Drawing:
        """How images of this resolution are drawn."""
        return DRAWINGS[self.resolution]

    @property
    def folder(self) -> str:
        """The folder of these images in the release."""
        return f"pathfinder{self.resolution}/{LEVELS[self.contour_length]}"

    def reads(self, file: str) -> bool:
        """Whether these settings read a file of the release."""
        return file.startswith(f"{self.folder}/")

    def facts(self) -> dict[str, Any]:
        generated = self.source == "generated"
        drawing = dataclasses.asdict(self.drawing) | {"paddle_margins": list(self.drawing.paddle_margins)}
        return {
            "split_rule": _SPLIT_RULES["generated" if generated else "read"],
            "input": {"kind": "values", "scale": 1 / 255, "mean": 0.5, "std": 0.5},
            "order": "row by row",
            "maximum_length": self.resolution**2,
            "classes": CLASSES,
            "level": LEVELS[self.contour_length],
            **({"drawing": drawing} if generated else {}),
            "differences": _GENERATED_DIFFERENCES if generated else (),
        }


@dataclass(frozen=True)
class PathXSettings(PathfinderSettings):
    """What a prepared Path-X holds: as Pathfinder, of 128 x 128 pixels, or of 256 x 256 (Path-256)."""

    NAME: ClassVar[str] = "lra_pathx"
    TITLE: ClassVar[str] = "Path-X (Long Range Arena)"

    resolution: int = choice(128, 256)
