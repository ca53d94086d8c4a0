"""S4 on the Long Range Arena: the authors' recipes, and what smoke and small make of them.

Gu, Goel and Re 2022 (arXiv 2111.00396); the numbers are those of the second version (S4-LegS of arXiv 2206.12037, over
86 % on average), `configs/experiment/lra/s4-*.yaml` at state-spaces/s4@e757cef. The trained parameter is
C~ = C (I - A_bar^l) for the longest sequence l, as in the authors' kernel (`truncated_length`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from implementations.models.config import ModelConfig
from implementations.s4.config import BankConfig, S4Config
from suite.recipes import language, lra
from suite.recipes.base import Profile, Recipe, Selection
from suite.training.optimizer import Group, OptimizerSpec, Schedule

REPOSITORY = "state-spaces/s4@e757cef"

FIXED_RATE = ("A_real", "A_imag", "P", "B")
"""What the authors train at a rate of its own and without decay; log_step loses its decay, C and D keep it."""

SOURCE = {
    "data": f"{REPOSITORY} src/dataloaders/lra.py; counts of the Long Range Arena release",
    "model.layer": f"{REPOSITORY} configs/model/s4.yaml, configs/model/layer/s4.yaml",
    "model.layer.dt_transform": "exp, as when the numbers were published; layer/s4.yaml now says softplus",
    "model.layer.truncated_length": f"{REPOSITORY} src/models/sequence/kernels/ssm.py:SSMKernelDPLR._setup_C",
    "model.layer.mask_padding": f"{REPOSITORY} src/models/sequence/backbones/model.py: padding runs through the layers",
    "optimizer.rule": f"{REPOSITORY} src/models/sequence/kernels/ssm.py:register, layer/s4.yaml: wd 0.0",
    "optimizer.schedule": f"{REPOSITORY} src/utils/optim/schedulers.py:CosineWarmup",
    "selection": f"{REPOSITORY} configs/pipeline: train.monitor val/accuracy",
    "not expressed": (
        "tokens are embedded by a linear map of one-hot vectors with bias, lecun-normal, where the authors draw an "
        "embedding of deviation 1; a stack with pre-norm has no norm at its end; the running variance is biased"
    ),
}


@dataclasses.dataclass(frozen=True)
class Published:
    """One configuration file, under its own names; `lr_dt` None trains the time steps at the rate of the rest."""

    file: str
    d_model: int
    d_state: int
    n_ssm: int | None
    prenorm: bool
    batch_size: int
    lr: float
    max_epochs: int
    num_training_steps: int
    num_warmup_steps: int
    lr_dt: float | None = None
    lr_ssm: float = 0.001
    dropout: float = 0.0
    dt_min: float = 0.001
    n_layers: int = 6
    weight_decay: float = 0.05

    def shared(self) -> dict[str, Any]:
        """The fields of the layer that S4 and S4D share."""
        return {
            "d_model": self.d_model,
            "state_size": self.d_state,
            "n_ssm": self.n_ssm,
            "dt_min": self.dt_min,
            "dt_max": 0.1,
            "bidirectional": True,
            "output": "glu",
            "norm": "batch",
            "prenorm": self.prenorm,
            "dropout": self.dropout,
            "bn_momentum": 0.9,
            "mask_padding": False,
        }

    def optimizer(self) -> OptimizerSpec:
        """AdamW; the parameters of the SSM at their own rate and without decay."""
        own = Group(self.lr_ssm, 0.0)
        steps = Group(self.lr if self.lr_dt is None else self.lr_dt, 0.0)
        return OptimizerSpec(
            groups={"regular": Group(self.lr, self.weight_decay), "ssm": own, "step": steps},
            rule=dict.fromkeys((f"ssm.{name}" for name in FIXED_RATE), "ssm") | {"ssm.log_step": "step"},
            schedule=Schedule(
                warmup_steps=self.num_warmup_steps,
                total_steps=self.num_training_steps,
                decay="cosine_after_warmup",
            ),
        )

    def recipe(self, task: lra.Task, layer: BankConfig, source: dict[str, str]) -> Recipe:
        """The training run of the file with layers of that config."""
        selection: Selection = "best test accuracy" if task == "text" else "best validation accuracy"
        recipe = Recipe(
            model=lra.model(task, layer, self.n_layers),
            optimizer=self.optimizer(),
            batch_size=self.batch_size,
            evaluation_batch_size=self.batch_size,
            epochs=self.max_epochs,
            data=lra.data(task),
            selection=selection,
            source={
                "model, optimizer, batch_size, epochs": f"{REPOSITORY} configs/experiment/lra/{self.file}",
                **SOURCE,
                **source,
            },
        )
        return lra.derived(recipe) if task == "path256" else recipe


PUBLISHED: dict[lra.Task, Published] = {
    "listops": Published("s4-listops.yaml", 256, 4, 1, False, 32, 0.01, 40, 120_000, 12_000),
    "text": Published("s4-imdb.yaml", 256, 4, 1, True, 16, 0.01, 32, 50_000, 5_000),
    "retrieval": Published("s4-aan.yaml", 256, 4, 1, True, 64, 0.01, 20, 50_000, 5_000),
    "image": Published("s4-cifar.yaml", 512, 64, 1, False, 50, 0.01, 200, 180_000, 18_000, 0.001, dropout=0.1),
    "pathfinder": Published("s4-pathfinder.yaml", 256, 64, None, True, 64, 0.004, 200, 500_000, 50_000, 0.001),
    "pathx": Published("s4-pathx.yaml", 256, 64, None, True, 16, 0.001, 50, 500_000, 50_000, 0.001, dt_min=0.0001),
}
PUBLISHED["path256"] = dataclasses.replace(PUBLISHED["pathx"], dt_min=PUBLISHED["pathx"].dt_min / 4)

# The one place where smoke and small depart from the paper; lengths as in S5's smoke recipe of ListOps.
SMOKE_LISTOPS = lra.Scaling(
    6_000, 1_000, 8, 50, 2, {"d_model": 32, "state_size": 4, "truncated_length": 128}, lengths=(20, 128)
)
SMOKE = lra.Scaling(1_000, 250, 2, 25, 2, {"d_model": 32, "state_size": 8, "n_ssm": 1})
SCALINGS: dict[tuple[lra.Task, Profile], lra.Scaling] = {
    ("listops", "smoke"): SMOKE_LISTOPS,
    **lra.long({"d_model": 16, "state_size": 8, "n_ssm": 1}, {"d_model": 64, "state_size": 16, "n_ssm": 1}),
}
SMALL = lra.Scaling(20_000, 2_000, 8, 50, 4, {"d_model": 64, "state_size": 16, "n_ssm": 1})


def published(task: lra.Task, profile: Profile = "paper") -> Recipe:
    """The recipe of a task in a profile."""
    numbers = PUBLISHED[task]
    recipe = numbers.recipe(task, S4Config(truncated_length=lra.LENGTH[task], **numbers.shared()), {})
    return lra.profiled(recipe, profile, *lra.of(SCALINGS, task, SMALL, SMOKE))


def lra_listops(profile: Profile = "paper") -> Recipe:
    """ListOps, s4-listops.yaml."""
    return published("listops", profile)


def lra_text(profile: Profile = "paper") -> Recipe:
    """Text (IMDb reviews by characters), s4-imdb.yaml; no validation split, the authors select on the test set."""
    return published("text", profile)


def lra_retrieval(profile: Profile = "paper") -> Recipe:
    """Retrieval (AAN pairs by characters), s4-aan.yaml; the schedule is longer than the run, as in the file."""
    return published("retrieval", profile)


def lra_image(profile: Profile = "paper") -> Recipe:
    """Image (CIFAR-10 in grey), s4-cifar.yaml."""
    return published("image", profile)


def lra_pathfinder(profile: Profile = "paper") -> Recipe:
    """Pathfinder, s4-pathfinder.yaml."""
    return published("pathfinder", profile)


def lra_pathx(profile: Profile = "paper") -> Recipe:
    """Path-X, s4-pathx.yaml."""
    return published("pathx", profile)


def lra_path256(profile: Profile = "paper") -> Recipe:
    """Path-256, from s4-pathx.yaml."""
    return published("path256", profile)


RECIPES: dict[str, Callable[[Profile], Recipe]] = {
    "lra.listops": lra_listops,
    "lra.text": lra_text,
    "lra.retrieval": lra_retrieval,
    "lra.image": lra_image,
    "lra.pathfinder": lra_pathfinder,
    "lra.pathx": lra_pathx,
    "lra.path256": lra_path256,
}


def operations_per_token(model: ModelConfig) -> float:
    """Floating-point operations of one forward pass per position: convolutions, mixing of the features and encoder.

    The kernels are made once per pass, whatever the batch is, and are not counted.
    """
    layer = lra.layer_of(model)
    assert isinstance(layer, BankConfig)
    D, K = layer.d_model, layer.channels
    mixing = {"glu": 4, "linear": 2, "none": 0}[layer.output] * K * D * D
    return model.depth * (lra.FFT_OPERATIONS * (1 + K) / 2 * D + mixing + 30 * D) + 2 * model.input_size * D


def language_layers(size: language.Size) -> language.Layers:
    """Layers that look back only, for language modelling; a recipe of this project."""
    d_model, state_size, depth = {"smoke": (96, 16, 4), "small": (672, 64, 4)}[size]
    layer = S4Config(d_model=d_model, state_size=state_size, dropout=language.SCALES[size].dropout)
    return language.Layers(layer, depth, rule=tuple(f"ssm.{name}" for name in (*FIXED_RATE, "log_step")))


LANGUAGE_RECIPES = language.recipes(language_layers)
