"""Published numbers: one TOML file per paper or collection, typed and validated; transcribed, never computed."""

import functools
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec

FOLDER = Path(__file__).parent
Transcription = Literal["cross-checked", "read", "unverified"]
Identifier = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_.-]*\Z")]

LEGEND: dict[str, str] = {
    "cross-checked": "two or more independent sources agree, or arithmetic ties it to one that was read",
    "read": "read in print, in the paper's own repository or in another paper's table",
    "unverified": "transcribed without the table at hand: shown with a dagger (†), never the ground of a verdict",
}

Flag = Literal[
    "selected on test",
    "failed task counts as 50",
    "failed task left out of the average",
    "caption says validation",
    "approximate",
    "claim in words",
]
FLAGS: dict[str, str] = {
    "selected on test": "the epoch was chosen by the test split, as there is no validation split",
    "failed task counts as 50": "an average over six tasks in which a task without a result counts as chance, 50 %",
    "failed task left out of the average": "an average over the five tasks that have a result",
    "caption says validation": "the table's caption calls the accuracy one of the validation split",
    "approximate": "the source itself calls the number approximate or a lower bound",
    "claim in words": "a sentence of the source, without a table",
}


class PublishedError(ValueError):
    """A file of published numbers is not valid; the message names the file and the place in it."""


class Paper(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where numbers were printed: a paper, a repository, or neither where that was not noted."""

    id: Identifier
    title: str
    authors: str
    arxiv: Annotated[str, msgspec.Meta(pattern=r"^(\d{4}\.\d{4,5})?\Z")] = ""
    url: Annotated[str, msgspec.Meta(pattern=r"^(https://[A-Za-z0-9./_-]+)?\Z")] = ""

    @property
    def label(self) -> str:
        """How the source is cited in a table."""
        return f"arXiv {self.arxiv}" if self.arxiv else self.url.removeprefix("https://") or self.title


class Number(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One printed number; `reference` marks the only one per task and architecture that verdicts are made against.

    `n` is the number of seeds where the paper states it. `value` is absent where the table prints a cross or a dash,
    and where what it prints is not one number: that is `printed`, as it stands. `length` and `window` count positions.
    `source` names one of the file's `[sources]` where the file is a collection.
    """

    architecture: Identifier
    name: str
    task: Identifier
    dataset: str
    metric: Identifier
    unit: str
    version: Identifier
    table: str
    transcription: Transcription
    variant: str = ""
    source: str = ""
    value: float | None = None
    printed: str = ""
    std: Annotated[float, msgspec.Meta(ge=0)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    version_note: str = ""
    protocol: str = ""
    reference: bool = False
    flags: tuple[Flag, ...] = ()
    parameters: str = ""
    length: Annotated[int, msgspec.Meta(ge=1)] | None = None
    window: Annotated[int, msgspec.Meta(ge=1)] | None = None
    note: str = ""

    @property
    def dagger(self) -> str:
        """The mark of a number whose transcription nobody has checked."""
        return "†" if self.transcription == "unverified" else ""


class PaperNumbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file: a paper, the protocols it names and its numbers; a collection names the `sources` of its numbers."""

    schema: Literal["longseq-bench/published/1"]
    paper: Paper
    sources: dict[str, Paper] = {}
    protocols: dict[str, str] = {}
    numbers: tuple[Number, ...]

    def source(self, number: Number) -> Paper:
        """Where one number was printed."""
        return self.sources.get(number.source, self.paper)

    def anchor(self, number: Number) -> str:
        """A stable name of one number on the page of its paper."""
        parts = [self.paper.id, number.version, number.task, number.name, number.metric, number.table]
        return re.sub(r"[^a-z0-9.]+", "-", " ".join(parts).lower()).strip("-")


class Published:
    """All papers; `reference(task, architecture)` is the number that a verdict may be made against."""

    def __init__(self, papers: tuple[PaperNumbers, ...]):
        self.papers = papers
        self._references = {
            (number.task, number.architecture): (paper, number)
            for paper in papers
            for number in paper.numbers
            if number.reference
        }
        self._by_anchor = {paper.anchor(number): (paper, number) for paper in papers for number in paper.numbers}

    def reference(self, task: str, architecture: str, row: str = "") -> tuple[PaperNumbers, Number] | None:
        """The paper and its number for one task and architecture, or None; of a row that is named, that row's by the
        protocol of the reference."""
        found = self._references.get((task, architecture))
        if not row or found is None or found[1].name == row:
            return found
        known = [(paper, number) for paper, number in self.on_task(task) if number.protocol == found[1].protocol]
        return next((each for each in known if (each[1].architecture, each[1].name) == (architecture, row)), None)

    def number(self, anchor: str) -> tuple[PaperNumbers, Number]:
        """The number with that anchor and its paper; raises PublishedError."""
        if anchor not in self._by_anchor:
            raise PublishedError(f"no published number is called {anchor!r}; anchors stand in the pages of the papers")
        return self._by_anchor[anchor]

    def references(self, architecture: str) -> list[Number]:
        """The reference numbers of one architecture, in the order of the paper."""
        return [number for (_, name), (_, number) in self._references.items() if name == architecture]

    def on_task(self, task: str) -> list[tuple[PaperNumbers, Number]]:
        """Every published number of one task, in the order of the papers."""
        return [(paper, number) for paper in self.papers for number in paper.numbers if number.task == task]


def read(path: Path) -> PaperNumbers:
    """Read and validate one file; raises PublishedError."""
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=dict)
        for index, number in enumerate(found.get("numbers", [])):
            _check_number(index, number)
        paper = msgspec.convert(found, PaperNumbers)
    except OSError as error:
        raise PublishedError(f"cannot read published numbers {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PublishedError(f"published numbers {path} are not valid: {error}") from error
    anchors: set[str] = set()
    for index, number in enumerate(paper.numbers):
        where = f"published numbers {path} are not valid: {{}} - at `$.numbers[{index}]`"
        if paper.anchor(number) in anchors:
            raise PublishedError(where.format(f"{number.name} on {number.task} is there twice"))
        anchors.add(paper.anchor(number))
        if number.protocol and number.protocol not in paper.protocols:
            raise PublishedError(where.format(f"protocol {number.protocol!r} is not in [protocols]"))
        if number.source and number.source not in paper.sources:
            raise PublishedError(where.format(f"source {number.source!r} is not in [sources]"))
        if number.value is not None and number.printed:
            raise PublishedError(where.format("a number has a value or is printed in words, not both"))
        if number.reference and number.value is None:
            raise PublishedError(where.format("a reference number needs a value"))
    return paper


def _check_number(index: int, number: object) -> None:
    """Validate one number so that the error names its place in the file."""
    try:
        msgspec.convert(number, Number)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{what} - at `$.numbers[{index}]{place or '`'}") from error


def load(folder: Path = FOLDER) -> Published:
    """All papers of a folder, sorted by file name; raises PublishedError."""
    papers = tuple(read(path) for path in sorted(Path(folder).glob("*.toml")))
    names = [paper.paper.id for paper in papers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise PublishedError(f"two files of published numbers in {folder} have the id {twice!r}")
    seen: dict[tuple[str, str], str] = {}
    for paper in papers:
        for number in paper.numbers:
            key = (number.task, number.architecture)
            if number.reference and seen.setdefault(key, paper.anchor(number)) != paper.anchor(number):
                raise PublishedError(f"two reference numbers for {key[1]} on {key[0]}, the second in {paper.paper.id}")
    return Published(papers)


@functools.cache
def shipped() -> Published:
    """The published numbers that come with the package."""
    return load()
