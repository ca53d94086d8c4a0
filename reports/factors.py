"""The factors that ablations may vary: what each is, its levels, and where a paper printed such a study."""

import functools
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from reports import contradictions

PATH = Path(__file__).with_suffix(".toml")
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Factor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One factor, `<architecture>.<what is changed>`; `task` is the one whose recipe is changed, `published_on` that of
    the paper's study, empty as `paper` is where there is none."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
    title: Text
    meaning: Text
    levels: tuple[Text, ...]
    task: Text
    paper: str
    published_on: str

    @property
    def architecture(self) -> str:
        """The architecture whose recipe is changed."""
        return self.name.partition(".")[0]


class Factors(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file of all factors."""

    schema: Literal["longseq-bench/factors/1"]
    factors: tuple[Factor, ...]


@functools.cache
def shipped() -> tuple[Factor, ...]:
    """The factors that come with the package; raises PublishedError naming the place in the file."""
    return contradictions.read_toml(PATH, Factors).factors
