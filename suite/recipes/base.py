"""What a run is made of: model, optimizer, data and the rules of training, in one frozen and serializable object."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Self, TypeVar

from implementations.common.config import Config, ConfigError, nearest
from implementations.common.conventions import MatmulPrecision
from implementations.models.config import EncoderDecoderConfig, LanguageModelConfig, ModelConfig, config_from_dict
from suite.data.catalog import DATA_SETS
from suite.data.span_corruption import BYTE_SENTINELS, counts
from suite.training.optimizer import OptimizerSpec

C = TypeVar("C", bound=Config)
Profile = Literal["smoke", "small", "paper"]
PROFILES: tuple[Profile, ...] = ("smoke", "small", "paper")
RESAMPLED = ("s5", "s4", "s4d")
"""Architectures whose time steps can be rescaled."""
Selection = Literal[
    "best validation accuracy", "least validation error", "best validation loss", "best test accuracy", "last epoch"
]


@dataclasses.dataclass(frozen=True)
class DataSpec(Config):
    """A prepared data set by name, with the settings it is prepared with; `train` counts the training examples of
    labelled data."""

    name: str
    settings: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class LanguageTraining(Config):
    """How a language model is trained and evaluated.

    updates: between two evaluations, of which there are `Recipe.epochs`. segment: tokens of a training segment.
    carried: documents in order, the states carried from segment to segment without their gradient (truncated
    backpropagation through time) and emptied where a document starts; else windows of the token stream by themselves,
    each from empty states. shuffle: the documents in a new order in every round through them.
    evaluation: "carried", documents from their first token, states carried over segments of `evaluation_segment`
    tokens; "strided", windows of so many tokens by themselves, of which only the last `stride` count.
    lengths: the test split is also read with the states emptied after every so many tokens of a document.
    """

    LATER: ClassVar[tuple[tuple[str, ...], ...]] = (("lengths",),)

    updates: int
    segment: int
    evaluation_segment: int
    carried: bool = True
    shuffle: bool = True
    evaluation: Literal["carried", "strided"] = "carried"
    stride: int | None = None
    lengths: tuple[int, ...] = ()

    def validate(self) -> None:
        for name in ("updates", "segment", "evaluation_segment"):
            self.require(getattr(self, name) >= 1, name, "expected at least 1")
        rising = all(type(length) is int for length in self.lengths) and list(self.lengths) == sorted(set(self.lengths))
        segment = self.evaluation_segment
        fit = all(length >= 1 and (length < segment or length % segment == 0) for length in self.lengths)
        rule = f"expected rising numbers, above evaluation_segment = {segment} only multiples of it"
        self.require(rising and fit, "lengths", rule)
        streams = self.evaluation == "carried" or not self.lengths
        self.require(streams, "lengths", "expected none where evaluation is 'strided'")
        if self.evaluation == "carried":
            self.require(self.stride is None, "stride", "expected None where evaluation is 'carried'")
        else:
            fits = self.stride is not None and 1 <= self.stride <= self.evaluation_segment
            self.require(fits, "stride", f"expected 1 to evaluation_segment = {self.evaluation_segment}")


@dataclasses.dataclass(frozen=True)
class Generation(Config):
    """How an encoder-decoder learns to write the second sequence of a pair from the first, and how it writes.

    input_length, target_length: tokens behind which the sequences are cut; a cut one has no end token. beams,
    length_penalty: of the search for what is written, of at most target_length tokens (`EncoderDecoder.generate`).
    """

    input_length: int
    target_length: int
    beams: int = 1
    length_penalty: float = 0.0

    def validate(self) -> None:
        for name in ("input_length", "target_length", "beams"):
            self.require(getattr(self, name) >= 1, name, "expected at least 1")
        self.require(self.length_penalty >= 0, "length_penalty", "expected at least 0")


@dataclasses.dataclass(frozen=True)
class SpanCorruption(Config):
    """How an encoder-decoder is trained beforehand: it writes the spans that a window of bytes has lost.

    updates: between two evaluations, of which there are `Recipe.epochs`. length: bytes of a window, of which a share
    `noise_density` is lost in spans of `mean_span_length` bytes on average; each becomes a sentinel. evaluated: how
    many windows of a split an evaluation reads, at equal distances, None for all.
    """

    updates: int
    length: int
    noise_density: float = 0.15
    mean_span_length: float = 20.0
    evaluated: int | None = None

    def validate(self) -> None:
        self.require(self.updates >= 1, "updates", "expected at least 1")
        self.require(self.length >= 2, "length", "expected at least 2")
        self.require(0 < self.noise_density < 1, "noise_density", "expected 0 < noise_density < 1")
        self.require(self.mean_span_length >= 1, "mean_span_length", "expected at least 1")
        self.require(self.evaluated is None or self.evaluated >= 1, "evaluated", "expected at least 1, or None")
        spans = self.counts[1]
        rule = f"expected longer spans: a window loses {spans}, and there are {BYTE_SENTINELS} sentinels"
        self.require(spans <= BYTE_SENTINELS, "mean_span_length", rule)

    @property
    def counts(self) -> tuple[int, int]:
        """Bytes and spans that a window loses."""
        return counts(self.length, self.noise_density, self.mean_span_length)

    @property
    def lengths(self) -> tuple[int, int]:
        """Tokens that the encoder reads and that the decoder writes, sentinels and ends counted."""
        noise, spans = self.counts
        return self.length - noise + spans + 1, noise + spans + 1


@dataclasses.dataclass(frozen=True)
class Recipe(Config):
    """Everything that decides the numbers of a training run except the framework and the seed.

    `source` says where each published number comes from and is no part of a cell's identity; `compile` lets the PyTorch
    backend use `torch.compile` on a GPU (JAX always compiles). Where `resampling` is k > 1, the trained model is also
    evaluated on every k-th position, with the time steps of its SSMs k times as long (S5, section 4.2). `language` is
    there where a language model is trained; its epochs are stretches of `language.updates` updates. `generation` is
    there where an encoder-decoder learns to write one sequence from another, `span_corruption` where it is trained
    beforehand; its epochs are stretches of so many updates too. `initial_weights` is the sha256 of a file of weights
    that the run starts from in place of drawn ones (`suite/training/weights.py`), empty for none.
    """

    LATER: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("resampling",),
        ("language",),
        ("generation",),
        ("span_corruption",),
        ("initial_weights",),
    )

    model: ModelConfig
    optimizer: OptimizerSpec
    batch_size: int
    epochs: int
    data: DataSpec
    selection: Selection = "best validation accuracy"
    matmul_precision: MatmulPrecision = "float32"
    evaluation_batch_size: int = 50
    compile: bool = True
    resampling: int = 1
    source: dict[str, str] = dataclasses.field(default_factory=dict)
    language: LanguageTraining | None = None
    generation: Generation | None = None
    span_corruption: SpanCorruption | None = None
    initial_weights: str = ""

    def validate(self) -> None:
        for name in ("batch_size", "epochs", "evaluation_batch_size", "resampling"):
            self.require(getattr(self, name) >= 1, name, "expected at least 1")
        named = re.fullmatch("([0-9a-f]{64})?", self.initial_weights) is not None
        self.require(named, "initial_weights", "expected the sha256 of a file of weights, or nothing")
        if self.language is not None:
            self._validate_language(self.language)
            return
        if self.span_corruption is not None:
            self._validate_span_corruption(self.span_corruption)
            return
        train = self.data.settings.get("train")
        if not isinstance(train, int) or train < 1:
            raise ConfigError(f"DataSpec.settings is {self.data.settings}: expected a positive integer under 'train'")
        self._validate_generation()
        self.require(self.batch_size <= train, "batch_size", f"expected at most the {train} training examples")
        rescales = all(layer.architecture in RESAMPLED for layer in self.model.layers)
        rule = f"expected 1, or layers of {' or '.join(RESAMPLED)}"
        self.require(self.resampling == 1 or rescales, "resampling", rule)
        selects = "validation" not in self.selection or self.data.settings.get("validation", 1) > 0
        self.require(selects, "selection", "expected another rule where data.settings.validation is 0")

    def _validate_generation(self) -> None:
        """The rules of selection, and the model that writes."""
        by_loss = self.selection == "best validation loss"
        if self.generation is None:
            self.require(not by_loss, "selection", "expected a rule by accuracy, or the last epoch")
            reads = getattr(self.model, "classes", 1) > 0
            self.require(reads, "generation", "expected one for a model without classes, which writes")
            return
        self.require(isinstance(self.model, EncoderDecoderConfig), "model", "expected an encoder-decoder")
        ruled = by_loss or self.selection == "last epoch"
        self.require(ruled, "selection", "expected 'best validation loss' or 'last epoch'")

    def _validate_span_corruption(self, spans: SpanCorruption) -> None:
        model = self.model
        self.require(self.generation is None, "generation", "expected None beside span_corruption")
        if not isinstance(model, EncoderDecoderConfig):
            self._fail("model", "expected an encoder-decoder")
        self.require(self.selection == "last epoch", "selection", "expected 'last epoch': the weights kept are its")
        written = spans.lengths[1]
        longest = getattr(model.decoder_layer, "max_length", 0) if model.decoder_positions == "learned" else written
        rule = f"expected windows that lose less: {written} tokens are written, decoder_layer.max_length is {longest}"
        self.require(written <= longest, "span_corruption", rule)

    def _validate_language(self, language: LanguageTraining) -> None:
        self.require(isinstance(self.model, LanguageModelConfig), "model", "expected a language model")
        rules = ("best validation loss", "last epoch")
        self.require(self.selection in rules, "selection", f"expected one of {', '.join(map(repr, rules))}")
        grows = any(getattr(layer, "attention", None) == "full" for layer in self.model.layers)
        carries = language.carried or language.evaluation == "carried"
        rule = "expected carried false and a strided evaluation: the states of full attention grow without end"
        self.require(not (grows and carries), "language", rule)

    @property
    def kind(self) -> str:
        """Where its loop and backends are in `suite.training`: "" or the name of a folder with a dot behind it."""
        kinds = {"language.": self.language, "generation.": self.generation, "pretraining.": self.span_corruption}
        return next((kind for kind, how in kinds.items() if how is not None), "")

    @property
    def steps_per_epoch(self) -> int:
        """Updates per epoch; the remainder of a shuffled epoch is dropped, as the S5 authors do."""
        if self.language is not None:
            return self.language.updates
        if self.span_corruption is not None:
            return self.span_corruption.updates
        return self.data.settings["train"] // self.batch_size

    @property
    def total_steps(self) -> int:
        """Updates of the whole run."""
        return self.steps_per_epoch * self.epochs

    def rescaled(self, warmup: Literal["epochs", "share"] = "epochs", **changes: Any) -> Self:
        """A copy with changes, whose schedule spans the new run: its warm-up keeps its number of epochs, or its share
        of all updates."""
        new, schedule = self.replace(**changes), self.optimizer.schedule
        if warmup == "share":
            steps = round(schedule.warmup_steps / schedule.total_steps * new.total_steps)
        else:
            steps = round(schedule.warmup_steps * new.steps_per_epoch / self.steps_per_epoch)
        schedule = new.optimizer.schedule.replace(warmup_steps=steps, total_steps=new.total_steps)
        return new.replace(optimizer=new.optimizer.replace(schedule=schedule))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        values = dict(values)
        parts = {"model": config_from_dict, "language": LanguageTraining.from_dict, "generation": Generation.from_dict}
        parts["span_corruption"] = SpanCorruption.from_dict
        for name, build in parts.items():
            if isinstance(values.get(name), dict):
                values[name] = build(values[name])
        return super().from_dict(values)


def _overridden(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with overrides applied, also of settings of its data set that it leaves at their defaults."""
    data_set = DATA_SETS.get(recipe.data.name)
    if data_set is None:
        return override_settings(recipe, overrides)
    defaults = {f.name: f.default for f in dataclasses.fields(data_set.settings)}
    whole = recipe.data.replace(settings={**defaults, **recipe.data.settings})
    new = override_settings(recipe.replace(data=whole), overrides)
    kept = {k: v for k, v in new.data.settings.items() if k in recipe.data.settings or v != defaults[k]}
    return new.replace(data=new.data.replace(settings=kept))


def apply_overrides(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with `path=value` texts applied, e.g. `model.layer.dropout=0.1`; raises ConfigError.

    Changed epochs, batch size or counts stretch the schedule along, unless its own numbers of steps are set.
    """
    new = _overridden(recipe, overrides)
    own_steps = ("optimizer.schedule.warmup_steps", "optimizer.schedule.total_steps")
    if any(text.partition("=")[0].strip() in own_steps for text in overrides) or new == recipe:
        return new
    return recipe.rescaled(**{f.name: getattr(new, f.name) for f in dataclasses.fields(new)})


def require_fit(recipe: Recipe) -> None:
    """Raise ConfigError, naming layer and data, where sequences of labelled data are longer than a layer takes."""
    data_set = DATA_SETS.get(recipe.data.name)
    if data_set is None or recipe.kind:
        return
    found = ((getattr(layer, "longest", None), type(layer).__name__) for layer in recipe.model.layers)
    limits = [(most, name) for most, name in found if most is not None]
    if not limits:
        return
    least, name = min(limits)
    longest = data_set.settings.from_dict(recipe.data.settings).protocol()["maximum_length"]
    if longest > least:
        of = f"the sequences of {data_set.settings.TITLE} have {longest:,}"
        raise ConfigError(f"{name} takes at most {least:,} positions: {of}")


def override_settings(config: C, overrides: Sequence[str]) -> C:
    """A config with `path=value` texts applied; raises ConfigError."""
    values = copy.deepcopy(config.to_dict(complete=True))
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text!r}: expected path=value, for example epochs=3")
        *parents, leaf = path.strip().split(".")
        node = values
        for name in [*parents, leaf]:
            if not isinstance(node, dict) or name not in node:
                known = node if isinstance(node, dict) else ()
                raise ConfigError(f"--set {text!r}: there is no {name!r} to set: {nearest(name, known)}")
            node, parent = node[name], node
        parent[leaf] = _parse(text, value.strip(), node)
    return type(config).from_dict(values)


def _parse(text: str, value: str, current: Any) -> Any:
    if isinstance(current, str):
        return value
    try:
        parsed = json.loads({"True": "true", "False": "false", "None": "null"}.get(value, value))
    except json.JSONDecodeError:
        parsed = value
    if current is None or parsed is None:
        return parsed
    if isinstance(current, float) and isinstance(parsed, int) and not isinstance(parsed, bool):
        return float(parsed)
    if type(parsed) is not type(current):
        raise ConfigError(f"--set {text!r}: expected {type(current).__name__}, like the present {current!r}")
    return parsed


def differences(recipe: Recipe, published: Recipe) -> list[str]:
    """One sentence for every value in which a recipe departs from the published one, or from that of the profile paper
    where this project made it ("all" among its sources).

    The released data are those of the paper, also where the recipe generates others in their place.
    """
    ours, theirs = (dict(_leaves(r.to_dict())) for r in (recipe, published))
    if recipe.data.settings.get("source") == "released":
        theirs["data.settings.source"] = "released"
    known, printed = ({k: v for k, v in _leaves(r.to_dict(complete=True)) if v != ""} for r in (recipe, published))
    whose = "in profile paper" if "all" in published.source else "published"
    return [
        f"{path} is {known.get(path, 'absent')}, {whose} {printed.get(path, 'absent')}"
        for path in sorted(ours | theirs)
        if ours.get(path) != theirs.get(path) and not path.startswith(("source.", "compile", "evaluation_batch_size"))
    ]


def _leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, values
