"""What a layer-speed cell measures: contenders, lengths and modes, and the presets of the papers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from implementations import catalog
from implementations.block_state.config import BlockStateConfig
from implementations.common.config import Config, ConfigError
from implementations.common.conventions import MatmulPrecision
from suite.recipes import block_recurrent as recipes
from suite.recipes import transformer as transformers
from suite.recipes.base import Profile

Mode = Literal["forward", "forward and backward", "streaming step"]
MODES: tuple[Mode, ...] = ("forward", "forward and backward", "streaming step")
STRIDE = 2
"""Each length is so many times the one before it."""


@dataclass(frozen=True)
class SpeedSettings(Config):
    """Layers timed in turn in one process.

    layers: name -> layer config; the first is the baseline that ratios refer to. shortest, longest: lengths are
    shortest, twice that, and so on up to longest. batch_size: sequences per call, the same at every length. modes: see
    `MODES`; the streaming step feeds one token to the state after a sequence of the length. rounds: how often every
    layer has its turn; a turn is a block of calls of at least `block_seconds` that ends with a synchronisation.
    time_limit: a layer whose call takes longer than so many seconds is measured once per turn, and at no longer length.
    recorded: PyTorch replays a layer on a CUDA device as one recorded graph, where it can be; JAX compiles it always.
    """

    architecture: ClassVar[str | None] = None
    LATER: ClassVar[tuple[tuple[str, ...], ...]] = (("recorded",),)

    layers: dict[str, Any]
    shortest: int
    longest: int
    batch_size: int = 1
    modes: tuple[str, ...] = MODES
    rounds: int = 10
    block_seconds: float = 0.02
    time_limit: float = 5.0
    matmul_precision: MatmulPrecision = "float32"
    recorded: bool = True

    def validate(self) -> None:
        self.require(len(self.layers) >= 1, "layers", "expected at least one layer by name")
        for field in ("shortest", "batch_size", "rounds"):
            self.require(getattr(self, field) >= 1, field, "expected at least 1")
        self.require(self.longest >= self.shortest, "longest", f"expected at least shortest = {self.shortest}")
        known = bool(self.modes) and set(self.modes) <= set(MODES)
        self.require(known, "modes", f"expected some of {', '.join(map(repr, MODES))}")
        self.require(self.block_seconds > 0 and self.time_limit > 0, "block_seconds", "expected positive seconds")
        widths = {layer.d_model for layer in self.layers.values()}
        self.require(len(widths) == 1, "layers", f"expected one d_model for all, found {sorted(widths)}")

    @property
    def lengths(self) -> list[int]:
        """Every length, ascending."""
        found = [self.shortest]
        while found[-1] * STRIDE <= self.longest:
            found.append(found[-1] * STRIDE)
        return found

    @property
    def d_model(self) -> int:
        """The width of every layer."""
        return next(iter(self.layers.values())).d_model

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        values = dict(values)
        layers = values.get("layers")
        if isinstance(layers, dict):
            values["layers"] = {name: _layer(name, layer) for name, layer in layers.items()}
        return super().from_dict(values)


def _layer(name: str, values: Any) -> Config:
    if not isinstance(values, dict):
        return values
    if "architecture" not in values:
        raise ConfigError(f"SpeedSettings.layers.{name} has no 'architecture'")
    return catalog.get(values["architecture"]).config.from_dict(values)


def _config(architecture: str, **values: Any) -> Config:
    return catalog.get(architecture).config.from_dict(values)


def block_state(d_model: int, heads: int, window: int, variant: str = "SH", kernel: str = "s4") -> BlockStateConfig:
    """A Block-State layer of the figure: S4 of state size 16, or unstructured filters as long as the input."""
    return BlockStateConfig.from_dict(
        {"d_model": d_model, "heads": heads, "head_width": d_model // heads, "d_ff": 4 * d_model, "window": window,
         "variant": variant, "kernel": kernel, "state_size": 16},
    )  # fmt: skip


def slide(d_model: int, heads: int, window: int) -> Config:
    """The sliding-window Transformer layer that the papers compare with: the baseline of every comparison."""
    return block_state(d_model, heads, window).sliding


def block_recurrent(d_model: int, heads: int, window: int) -> Config:
    """A Block-Recurrent layer with as many states as a window has tokens."""
    return _config(
        "block_recurrent", d_model=d_model, heads=heads, head_width=d_model // heads, d_ff=4 * d_model, window=window,
        states=window,
    )  # fmt: skip


def feedback(d_model: int, heads: int, window: int) -> Config:
    """The least stack with feedback: a Block-Recurrent layer, and one that reads its states; two layers, not one."""
    recurrent = block_recurrent(d_model, heads, window).to_dict()
    return _config("block_recurrent_feedback", recurrent=recurrent, depth=2, recurrent_layers=[0])


def listed() -> dict[str, Callable[[int, int, int], Config]]:
    """Layer of an architecture as a function of (d_model, heads, window), causal; one entry per architecture here.

    `spade_stack` has none: its bottom layer is that of `spade`, and those above attend in a sliding window only.
    """
    return {
        "s5": lambda d, heads, window: _config("s5", d_model=d, ssm_size=d, blocks=heads, activation="half_glu1"),
        "s4": lambda d, heads, window: _config("s4", d_model=d, state_size=16),
        "s4d": lambda d, heads, window: _config("s4d", d_model=d, state_size=16),
        "ema": lambda d, heads, window: _config("ema", d_model=d, state_size=16),
        "mega": lambda d, heads, window: _config(
            "mega", d_model=d, query_size=d // 4, value_size=2 * d, feedforward_size=2 * d, bidirectional=False,
            chunk_size=window,
        ),
        "transformer": slide,
        "block_recurrent": block_recurrent,
        "block_recurrent_feedback": feedback,
        "block_state": block_state,
        "spade": lambda d, heads, window: _config(
            "spade", d_model=d, heads=heads, d_ff=4 * d, causal=True, window=window, s4_state_size=16
        ),
        "seqboat": lambda d, heads, window: _config(
            "seqboat", d_model=d, query_size=d // 4, value_size=2 * d, bidirectional=False, window=window
        ),
    }  # fmt: skip


SIZES: dict[Profile, dict[str, Any]] = {
    "smoke": {"shortest": 64, "longest": 512, "rounds": 3},
    "small": {"shortest": 512, "longest": 8_192, "rounds": 5},
    "paper": {"shortest": 512, "longest": 65_536, "rounds": 10},
}
"""Lengths and rounds of a profile; the widths below are those of the paper in each of them but smoke."""


def _width(profile: Profile) -> tuple[int, int, int]:
    """d_model, heads and window: the setting of the Block-State Transformer's layer-speed figure (512, 16, 128)."""
    return (64, 4, 16) if profile == "smoke" else (512, 16, 128)


def layer_speed(architecture: str, profile: Profile) -> SpeedSettings | None:
    """One layer of an architecture beside the sliding-window Transformer; None for that Transformer itself.

    Beside a layer that chooses its tokens, and so cannot be recorded, the sliding window is not recorded either.
    """
    make = listed().get(architecture)
    if make is None or architecture == "transformer":
        return None
    d_model, heads, window = _width(profile)
    layer = make(d_model, heads, window)
    layers = {"Slide": slide(d_model, heads, window), architecture: layer}
    return SpeedSettings(layers=layers, recorded=not getattr(layer, "chooses_tokens", False), **SIZES[profile])


def block_transformers(architecture: str, profile: Profile) -> SpeedSettings | None:
    """The layer-speed figure of the Block-State Transformer's paper (arXiv 2306.09539): W 128, N 16, D 512."""
    if architecture != "block_state":
        return None
    size = _width(profile)
    layers = {
        "Slide": slide(*size),
        "BRECT": block_recurrent(*size),
        "BST:SH:S4": block_state(*size, variant="SH"),
        "BST:MH:S4": block_state(*size, variant="MH"),
        "BST:MF:S4": block_state(*size, variant="MF"),
    }
    return SpeedSettings(layers=layers, **SIZES[profile])


def recurrent_transformers(architecture: str, profile: Profile) -> SpeedSettings | None:
    """The layers of the Block-Recurrent Transformer's table 1 (arXiv 2203.07852): the recurrent layer and the sliding
    window of 512 around it, beside Transformer-XL with windows of 512 and 2,048; smoke has a sixteenth of every width.
    """
    if architecture != "block_recurrent":
        return None
    recurrent: Any = recipes.recurrent()
    layers: dict[str, Any] = {
        "Slide": transformers.slide(),
        "XL:512": transformers.xl(512),
        "XL:2048": transformers.xl(2048),
        "BRECT": recurrent,
    }
    layers = {name: layer.replace(dropout=0.0) for name, layer in layers.items()}
    if profile == "smoke":
        narrow = {"d_model": 64, "heads": 4, "head_width": 16, "d_ff": 256}
        layers = {name: layer.replace(**narrow, window=layer.window // 16) for name, layer in layers.items()}
        layers["BRECT"] = layers["BRECT"].replace(states=recurrent.states // 16)
    return SpeedSettings(layers=layers, **SIZES[profile])


def s5_and_s4(architecture: str, profile: Profile) -> SpeedSettings | None:
    """S5 beside S4 and S4D at equal width and gating (arXiv 2208.04933, runtime comparison).

    S5 has one state as wide as the layer, in blocks of the size of the states that S4 has of each feature.
    """
    if architecture != "s5":
        return None
    d, _, _ = _width(profile)
    n = 64 if profile != "smoke" else 16
    layers = {
        "S4": _config("s4", d_model=d, state_size=n),
        "S4D": _config("s4d", d_model=d, state_size=n),
        "S5": _config("s5", d_model=d, ssm_size=d, blocks=d // n, activation="full_glu"),
    }
    return SpeedSettings(layers=layers, **SIZES[profile])


ACT_BIASES: dict[int, tuple[float, ...]] = {64: (-0.104, -0.033, 0.029, 0.087), 512: (-0.397, -0.142, 0.122, 0.351)}
"""By d_model: biases with which an initial SeqBoat layer has about 75, 50, 25 and 10 % of normal inputs active."""


def seqboat_activity(architecture: str, profile: Profile) -> SpeedSettings | None:
    """SeqBoat with fewer and fewer active tokens, beside the same layer with every token active (arXiv 2306.11197:
    the attention's work falls with the activation rate). The share that is active stands in every row.
    """
    if architecture != "seqboat":
        return None
    d, heads, window = _width(profile)
    layer: Any = listed()["seqboat"](d, heads, window)
    layers = {"every token": layer.replace(always_act=True)}
    for share, bias in zip((75, 50, 25, 10), ACT_BIASES[d], strict=True):
        layers[f"about {share} %"] = layer.replace(act_bias=bias)
    return SpeedSettings(layers=layers, recorded=False, **SIZES[profile])


def window_kernels(architecture: str, profile: Profile) -> SpeedSettings | None:
    """The sliding-window Transformer layer with each kernel of its attention (`implementations.ops.attention`).

    What "auto" takes on a GPU is decided from this comparison.
    """
    if architecture != "transformer":
        return None
    layer: Any = slide(*_width(profile))
    layers = {method: layer.replace(method=method) for method in ("einsum", "fused", "flex")}
    return SpeedSettings(layers=layers, **SIZES[profile])


def reference(config: Config) -> Callable[..., tuple[Any, Any]]:
    """The float64 oracle of a layer."""
    return importlib.import_module(f"{catalog.get(str(config.architecture)).room}.reference").layer
