"""What the architectures are: one TOML file per name with papers, summary, equations, symbols and a diagram.

Formulas are LaTeX in the subset of `reports.mathematics`; shapes are in the project's axis letters.
"""

import functools
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from reports import diagrams, mathematics
from reports.diagrams import Diagram

FOLDER = Path(__file__).parent
AXES = {
    "B": "batch", "L": "length", "D": "model width", "H": "heads", "K": "head width", "P": "state size of a "
    "multi-input SSM", "N": "state size of a single-input SSM", "W": "window or block length", "S": "state vectors or "
    "context states", "V": "vocabulary", "C": "classes",
}  # fmt: skip

Sentence = Annotated[str, msgspec.Meta(min_length=3)]
Formula = Annotated[str, msgspec.Meta(min_length=1)]
Name = Annotated[str, msgspec.Meta(min_length=1)]
Identifier = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,60}\Z")]


class ArchitectureError(ValueError):
    """A description is not valid; the message names the file and the place in it."""


class Paper(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where an architecture was published."""

    title: Sentence
    authors: Sentence
    year: Annotated[int, msgspec.Meta(ge=1990, le=2100)]
    arxiv: Annotated[str, msgspec.Meta(pattern=r"^\d{4}\.\d{4,5}\Z")]

    @property
    def url(self) -> str:
        """Its abstract."""
        return f"https://arxiv.org/abs/{self.arxiv}"


class Equations(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Formulas that belong together, and where the paper has them."""

    title: Sentence
    source: Sentence
    lines: Annotated[tuple[Formula, ...], msgspec.Meta(min_length=1)]
    note: str = ""


class Symbol(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a formula's name stands for; shape in axis letters, empty for functions and indices."""

    symbol: Formula
    meaning: Sentence
    shape: str = ""


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A form of the architecture and the config fields that choose it."""

    name: Sentence
    meaning: Sentence


class Stack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Several layers of an architecture that the catalog knows by a name of their own.

    own_recipes: whether there are recipes by its name; else those of the architecture train it, and have its results.
    """

    name: Identifier
    title: Name
    meaning: Sentence
    own_recipes: bool = True


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One architecture."""

    schema: Literal["longseq-bench/architecture/1"]
    name: Identifier
    title: Name
    summary: Annotated[str, msgspec.Meta(min_length=100)]
    papers: Annotated[tuple[Paper, ...], msgspec.Meta(min_length=1)]
    facts: dict[str, Sentence]
    equations: Annotated[tuple[Equations, ...], msgspec.Meta(min_length=1)]
    symbols: Annotated[tuple[Symbol, ...], msgspec.Meta(min_length=1)]
    diagram: Diagram
    variants: tuple[Variant, ...] = ()
    stacks: tuple[Stack, ...] = ()


def read(path: Path) -> Architecture:
    """Read and validate one description; raises ArchitectureError."""
    path = Path(path)
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=Architecture)
        for equations in found.equations:
            for line in equations.lines:
                mathematics.mathml(line)
        for symbol in found.symbols:
            mathematics.mathml(symbol.symbol)
        diagrams.layout(found.diagram)
    except OSError as error:
        raise ArchitectureError(f"cannot read description {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, mathematics.FormulaError, diagrams.DiagramError) as error:
        raise ArchitectureError(f"description {path} is not valid: {error}") from error
    if path.stem != found.name:
        raise ArchitectureError(f"description {path} is of {found.name!r} - at `$.name`; rename the file")
    return found


def load(folder: Path = FOLDER) -> dict[str, Architecture]:
    """All descriptions of a folder by name, sorted by title; raises ArchitectureError."""
    found = [read(path) for path in sorted(Path(folder).glob("*.toml"))]
    return {item.name: item for item in sorted(found, key=lambda item: item.title.lower())}


def described() -> dict[str, tuple[Architecture, Stack | None]]:
    """Every name of the shipped descriptions: an architecture's own, followed by those of its stacks."""
    found: dict[str, tuple[Architecture, Stack | None]] = {}
    for name, about in shipped().items():
        found[name] = about, None
        found |= {stack.name: (about, stack) for stack in about.stacks}
    return found


@functools.cache
def shipped() -> dict[str, Architecture]:
    """The descriptions that come with the package."""
    return load()
