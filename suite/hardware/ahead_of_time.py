"""Programs for TPUs that are not here: which of them a cell has, for what chips, on what shapes. No framework is named.

`jax.py` beside it lowers and compiles them with the compiler of the `libtpu` wheel, which needs no TPU.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from implementations.common.config import Config, ConfigError
from reports import atomic
from suite.data import Batch
from suite.data.catalog import place
from suite.data.text.batches import LanguageBatch
from suite.hardware.profiles import PROFILES
from suite.matrix import Cell
from suite.recipes.base import Recipe
from suite.speed.config import SpeedSettings
from suite.training.generation.batches import PairBatch

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Topology:
    """One host's chips as the compiler names them, and what its plugin is told of them."""

    name: str
    accelerator: str
    chips: int = 4
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


TOPOLOGIES = {
    "tpu-v4": Topology(
        "v4:2x2x1",
        "v4-8",
        options={"chip_config_name": "megacore", "chips_per_host_bounds": (2, 2, 1), "num_slices": 1},
    ),
    "tpu-v5e": Topology("v5e:2x2", "v5litepod-4"),
    "tpu-v5p": Topology("v5p:2x2x1", "v5p-8"),
    "tpu-v6e": Topology("v6e:2x2", "v6e-4"),
}


def environment(hardware: str) -> dict[str, str]:
    """Variables of a process that compiles for so-called hardware: it looks for no TPU, and others may compile too."""
    return {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": TOPOLOGIES[hardware].accelerator,
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }


def blank(dtype: Any, *shape: int) -> np.ndarray:
    """Zeros that take no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


PAIRED = ("generation.", "pretraining.")
"""Kinds of recipes that read one text and write another."""


def _pair_lengths(recipe: Recipe) -> tuple[int, int]:
    if recipe.span_corruption is not None:
        return recipe.span_corruption.lengths
    assert recipe.generation is not None
    return recipe.generation.input_length, recipe.generation.target_length


def abstract_batch(recipe: Recipe, rows: int, length: int | None = None, evaluation: bool = False) -> Any:
    """A batch of the shapes that a recipe trains or is evaluated on, without its data; `length` in place of theirs."""
    language, model = recipe.language, recipe.model
    if language is not None:
        shape = rows, length or (language.evaluation_segment if evaluation else language.segment)
        tokens = blank(np.int32, *shape)
        return LanguageBatch(tokens, tokens, blank(bool, *shape), blank(bool, rows))
    if recipe.kind in PAIRED:
        read, written = _pair_lengths(recipe)
        read, shape = length or read, (rows, written)
        outputs = blank(np.int32, *shape)
        return PairBatch(blank(np.int32, rows, read), blank(np.int32, rows), outputs, outputs, blank(bool, *shape))
    facts = place(recipe.data.name, None, recipe.data.settings).settings.protocol()
    positions: int = length or facts["maximum_length"]
    sequences = rows * facts.get("documents", 1)
    if model.input_kind == "tokens":
        inputs = blank(np.uint8 if model.input_size <= 256 else np.int32, sequences, positions)
    else:
        inputs = blank(np.float32, sequences, positions, model.input_size)
    if model.objective == "gaussian":
        labels = blank(np.float32, rows, positions, len(facts["targets"]))
    else:
        labels = blank(np.int32 if model.objective == "cross_entropy" else np.float32, rows)
    return Batch(inputs, blank(np.int32, sequences), labels)


def described(counted: dict[str, float], memory: Any, text: str) -> Row:
    """The numbers of a compiled program, of each chip it runs on. Its operations and traffic are the compiler's, which
    counts the body of a loop once; so where its `text` has loops they are at least that many."""
    flops, traffic = counted.get("flops"), counted.get("bytes accessed")
    parts = {
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "aliased_bytes": memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
    }
    peak = sum(parts.values()) - 2 * parts["aliased_bytes"]
    return {
        "fits": True,
        "peak_memory_bytes": peak,
        "flops": flops,
        "bytes_accessed": traffic,
        "arithmetic_intensity": flops / traffic if flops and traffic else None,
        "loops": text.count(" while("),
        "collectives": dict(sorted(Counter(_COLLECTIVE.findall(text)).items())),
        **parts,
    }


_COLLECTIVE = re.compile(
    r" (all-gather|all-reduce|all-to-all|collective-broadcast|collective-permute|ragged-all-to-all|reduce-scatter)"
    r"(?:-start)?\("
)


_USED = re.compile(r"Used ([\d.]+)([KMGT]?) of |required for [\w ]+ \(([\d.]+)([KMGT]?)\) exceeds")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def does_not_fit(message: str) -> Row:
    """The row of a program that its compiler refused because the chip has not enough memory for it; its peak is what
    the compiler says it would take, None where it does not."""
    found = _USED.search(message)
    used = round(float(found[1] or found[3]) * _UNITS[found[2] or found[4] or ""]) if found else None
    return {"fits": False, "peak_memory_bytes": used, "refused": " ".join(message.split())[:500]}


Effort = Literal["full", "least"]
EFFORTS: dict[str, Effort] = {"smoke": "least", "small": "least", "paper": "full"}
"""How much the compiler optimizes. "least" takes about half the time, counts the same operations and lays out memory
more wastefully: of programs whose size says nothing about the paper's, it is enough to know that they compile."""
COMPILATIONS = {"smoke": 0, "small": 0, "paper": 4}
"""How many programs of a cell are compiled besides its training step, if nothing else is asked for: of the paper's
recipes the evaluation, and longer inputs until one does not fit."""


class Compiler(Protocol):
    """What is asked of `suite/hardware/jax.py`: lowered programs of recipes and layers, and what they need compiled."""

    name: str
    devices: list[Any]

    def training(self, recipe: Recipe) -> Any: ...
    def layer(self, config: Config, precision: str) -> Any: ...
    def key(self, lowered: Any) -> str: ...
    def compiled(self, lowered: Any) -> Row: ...


class Cached:
    """Compiles each distinct program once: what is known of it lies in a folder, by the text of the program."""

    def __init__(self, compiler: Compiler, folder: Path, fresh: bool, say: Callable[[str], None]) -> None:
        self.compiler, self.folder, self.fresh, self.say = compiler, folder, fresh, say

    def row(self, words: dict[str, Any], lowered: Any) -> Row:
        """The row of a lowered program, which `words` name."""
        key = self.compiler.key(lowered)
        told = " ".join(word if isinstance(word, str) else f"{name} {word}" for name, word in words.items())
        path = self.folder / f"{key}.json"
        with _alone(path):
            found = None if self.fresh else _read(path)
            if found is None:
                before = time.process_time()
                found = self.compiler.compiled(lowered)
                told += f": compiled in {time.process_time() - before:.1f} s of processor time"
                atomic.write_bytes(path, json.dumps(found, indent=1, sort_keys=True).encode())
        peak = found["peak_memory_bytes"]
        size = "" if peak is None else f", {peak / 2**20:,.1f} MiB at its peak"
        self.say(f"program {told}, {'fits' if found['fits'] else 'does not fit'}{size}")
        return {**found, **words, "key": key}


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from the program of a file meanwhile: they wait for what is known of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> Row | None:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"fits", "peak_memory_bytes"} <= found.keys() else None


@dataclasses.dataclass(frozen=True)
class Found:
    """What was compiled of a cell: a row for every program, and for every family of them the longest input that fits.

    `headline` is the row whose numbers stand for the cell.
    """

    compiler: str
    rows: list[Row]
    longest: list[Row]
    headline: Row
    parameter_count: int | None = None


def programs(cell: Cell, cached: Cached, compilations: int) -> Found:
    """Compile the programs of a cell: the training step, and at most `compilations` more, the evaluation first, then
    the training step of longer inputs to find the longest that fits.

    Layers are compiled forward and backward, which holds what the other modes do, at the longest of their lengths that
    fits; where there are `compilations`, in every mode at every length.
    """
    memory = PROFILES[cell.hardware].memory
    assert memory is not None
    if cell.recipe is None:
        return _of_layers(SpeedSettings.from_dict(cell.settings), cached, memory, compilations)
    recipe, training = cell.recipe, cached.compiler.training(cell.recipe)
    length, chips = input_length(recipe), {"chips": len(cached.compiler.devices)}

    def step(length: int) -> Row:
        words = {"program": "training step", "batch": recipe.batch_size, "length": length, **chips}
        return cached.row(words, training.step(length))

    first = step(length)
    rows = [first]
    if compilations:
        batch, evaluated = recipe.evaluation_batch_size, input_length(recipe, evaluation=True)
        words = {"program": "evaluation", "batch": batch, "length": evaluated, **chips}
        rows.append(cached.row(words, training.evaluation()))
    found, more = longest(step, first, memory, max(0, compilations - 1))
    rows += more
    return Found(cached.compiler.name, rows, [{"program": "training step", **found}], first, training.parameter_count)


def _of_layers(settings: SpeedSettings, cached: Cached, memory: float, compilations: int) -> Found:
    rows, found, most = [], [], max(settings.modes, key=_HEADLINES.index)
    for name, config in settings.layers.items():
        layer = cached.compiler.layer(config, settings.matmul_precision)
        for mode in settings.modes if compilations else (most,):

            def program(length: int, layer=layer, mode=mode, name=name) -> Row:
                words = {"layer": name, "program": mode, "batch": settings.batch_size, "length": length}
                return cached.row(words, layer.program(mode, settings.batch_size, length))

            own: list[Row] = []
            for length in settings.lengths if compilations else reversed(settings.lengths):
                own.append(program(length))
                if own[-1]["fits"] == (not compilations):
                    break
            own.sort(key=lambda row: row["length"])
            fits, refused = [row for row in own if row["fits"]], [row for row in own if not row["fits"]]
            more = 0 if refused or mode == "streaming step" else max(0, compilations - 1)
            reached, further = longest(program, (fits or own)[-1], memory, more)
            if refused:
                reached |= {"shortest_refused": refused[0]["length"], "bound": "memory"}
            rows += own + further
            found.append({"layer": name, "program": mode, **reached})
    own = [row for row in rows if (row["layer"], row["program"]) == (list(settings.layers)[-1], most)]
    headline = max((row for row in own if row["fits"]), key=lambda row: row["length"], default=own[0])
    return Found(cached.compiler.name, rows, found, headline)


_HEADLINES = ("streaming step", "forward", "forward and backward")


def longest(program: Callable[[int], Row], first: Row, memory: float, compilations: int) -> tuple[Row, list[Row]]:
    """The longest input that fits among the length of `first` times powers of two, and the rows compiled to find it.

    `bound` says why no longer one is named: "memory", the next power does not fit; "model", it refuses longer inputs;
    "compiler", it failed on them; "compilations", no more were allowed, so longer ones may fit.
    """
    length, peak = first["length"], first["peak_memory_bytes"]
    if not first["fits"]:
        return {"longest_length": None, "shortest_refused": length, "bound": "memory", "reason": ""}, []
    rows, low, high, bound, reason = [], 0, None, "compilations", ""
    guess = max(1, math.floor(math.log2(memory / max(peak, 1))))
    while len(rows) < compilations and (high is None or high - low > 1):
        power = guess if high is None else (low + high) // 2
        try:
            rows.append(program(length * 2**power))
        except (ConfigError, RuntimeError) as error:
            bound, reason = ("model" if isinstance(error, ConfigError) else "compiler"), str(error)[:300]
            names = {name: first[name] for name in ("layer", "program", "batch", "chips") if name in first}
            rows.append({**names, "length": length * 2**power, "fits": None, "refused": reason})
            high = power
            continue
        if rows[-1]["fits"]:
            low, guess = power, power + 1
        else:
            high, bound, reason = power, "memory", ""
    if high is None or high - low > 1:
        bound, reason = "compilations", ""
    refused = None if high is None else length * 2**high
    return {"longest_length": length * 2**low, "shortest_refused": refused, "bound": bound, "reason": reason}, rows


def input_length(recipe: Recipe, evaluation: bool = False) -> int:
    """Positions of an input of a recipe's training step or evaluation."""
    return abstract_batch(recipe, 1, evaluation=evaluation).inputs.shape[1]


def same_program(cell: Cell) -> str:
    """What cells share whose programs are the same for sure: everything but seed, data, rates and how long a text is
    read, as a hash."""
    what: dict[str, Any] = {"framework": cell.framework, "hardware": cell.hardware, "settings": cell.settings}
    if cell.recipe is not None:
        recipe, optimizer = cell.recipe, cell.recipe.optimizer.to_dict()
        del optimizer["schedule"]
        optimizer["groups"] = {name: {**group, "rate": 0} for name, group in optimizer["groups"].items()}
        batches = (
            abstract_batch(recipe, recipe.batch_size),
            abstract_batch(recipe, recipe.evaluation_batch_size, evaluation=True),
        )
        shapes = [[[list(a.shape), str(a.dtype)] for a in vars(batch).values()] for batch in batches]
        language = recipe.language and {"carried": recipe.language.carried, "evaluation": recipe.language.evaluation}
        what |= {"model": recipe.model.to_dict(), "optimizer": optimizer, "batches": shapes, "language": language}
        what["matmul_precision"] = recipe.matmul_precision
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]
