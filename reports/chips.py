"""What a chip can do at best: the table of hardware profiles, which the suite and the page of hardware both read."""

import functools
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from reports.published import Identifier, PublishedError

PATH = Path(__file__).with_suffix(".toml")
Positive = Annotated[float, msgspec.Meta(gt=0)]


class Chip(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One chip. Peak rates are dense floating-point operations per second, bandwidth and memory are bytes,
    power is the most watts that its board is built to take.

    None means that the maker publishes no number, or that it depends on the machine at hand. `checked` is the day on
    which the numbers were compared with the page at `url`, where that was noted.
    """

    name: Identifier
    title: str
    kind: Literal["cpu", "gpu", "tpu"]
    source: str
    float32: Positive | None = None
    tf32: Positive | None = None
    bfloat16: Positive | None = None
    bandwidth: Positive | None = None
    memory: Annotated[int, msgspec.Meta(gt=0)] | None = None
    power: Positive | None = None
    url: Annotated[str, msgspec.Meta(pattern=r"^(https://[A-Za-z0-9./_-]+)?\Z")] = ""
    checked: Annotated[str, msgspec.Meta(pattern=r"^(\d{4}-\d\d-\d\d)?\Z")] = ""


class Chips(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file of all chips."""

    schema: Literal["longseq-bench/hardware/1"]
    chips: tuple[Chip, ...]


@functools.cache
def shipped() -> tuple[Chip, ...]:
    """The chips that come with the package; raises PublishedError naming the place in the file."""
    try:
        return msgspec.toml.decode(PATH.read_bytes(), type=Chips).chips
    except OSError as error:
        raise PublishedError(f"cannot read {PATH}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PublishedError(f"{PATH} is not valid: {error}") from error
