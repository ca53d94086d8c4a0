"""Images pixel by pixel, speech sample by sample and a filmed pendulum: the published recipes of S5 and SeqBoat.

S5: Smith, Warrington and Linderman 2023 (arXiv 2208.04933), table 11 for the pixels, for which the authors released no
run scripts, and `bin/run_experiments/run_speech35.sh` at lindermanlab/S5@3c18fdb. SeqBoat: Ren et al. 2023 (arXiv
2306.11197), `experiment/run_sc.sh` at renll/SeqBoat@5a34aed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from implementations.models.config import ClassifierConfig, FilmRegressorConfig
from suite.recipes import lra, s5, seqboat
from suite.recipes.base import DataSpec, Profile, Recipe
from suite.training.optimizer import Group, OptimizerSpec, Schedule

TABLE = "arXiv 2208.04933, table 11; transcribed without the table at hand, and there is no run script"
PIXELS = {"train": 54_000, "validation": 6_000, "test": 10_000}
COLOURS = {"train": 45_000, "validation": 5_000, "test": 10_000}
SPEECH35 = {"words": 35, "train": 84_843, "validation": 9_981, "test": 11_005}
SPEECH10 = {"words": 10, "train": 24_482, "validation": 5_246, "test": 5_247}
"""34,975 clips that are one second long, 70 : 15 : 15."""


def _s5_layer(d_model: int, ssm_size: int, blocks: int) -> dict[str, Any]:
    return {"d_model": d_model, "ssm_size": ssm_size, "blocks": blocks}


# The one place where smoke and small depart from the papers; positions are never left out.
SCALINGS: dict[tuple[str, Profile], lra.Scaling] = {
    ("pixels", "smoke"): lra.Scaling(3_000, 500, 2, 50, 2, _s5_layer(32, 16, 2)),
    ("pixels", "small"): lra.Scaling(20_000, 2_000, 8, 50, 4, _s5_layer(64, 64, 4)),
    ("speech", "smoke"): lra.Scaling(1_000, 200, 2, 20, 2, _s5_layer(16, 16, 2)),
    ("speech", "small"): lra.Scaling(10_000, 1_000, 5, 20, 4, _s5_layer(48, 64, 8)),
    ("seqboat", "smoke"): lra.Scaling(200, 50, 2, 10, 2, {"d_model": 16, "query_size": 8, "value_size": 32}),
    ("seqboat", "small"): lra.Scaling(
        5_000, 500, 5, 20, 4, {"d_model": 32, "query_size": 16, "value_size": 64, "capacities": 2}
    ),
    ("pendulum", "smoke"): lra.Scaling(600, 200, 12, 20, 2, {}),
    ("pendulum", "small"): lra.Scaling(2_000, 1_000, 20, 32, 4, {}),
}


def scale(recipe: Recipe, kind: str, profile: Profile) -> Recipe:
    """The published recipe made smaller for a profile; a warm-up stated in epochs (S5) keeps their number, one stated
    in updates (SeqBoat) its share of the run."""
    if profile == "paper":
        return recipe
    warmup = "epochs" if recipe.optimizer.schedule.decay == "cosine" else "share"
    return lra.scaled(recipe, SCALINGS[kind, profile], warmup)


def _s5(numbers: s5.Published, data: DataSpec, channels: int, classes: int, source: dict[str, str]) -> Recipe:
    model = ClassifierConfig(
        layer=numbers.layer(), depth=numbers.n_layers, input_kind="values", input_size=channels, classes=classes
    )
    recipe = numbers.recipe(model, data)
    return recipe.replace(source={**recipe.source, **source})


def _pixels(profile: Profile, data: DataSpec, channels: int, **numbers: Any) -> Recipe:
    """A recipe of table 11; what the table does not say is as in the run script of LRA's Image."""
    published = s5.Published(script="", C_init="lecun_normal", bsz=50, warmup_end=1, ssm_lr_base=numbers.pop("ssm_lr"),
                             opt_config=numbers.pop("opt_config", "standard"), **numbers)  # fmt: skip
    unstated = "not stated; warm-up and initial values as in run_lra_cifar.sh"
    source = {
        "model, optimizer, batch_size, epochs": TABLE,
        "model.layer.C_init, optimizer.rule, optimizer.schedule.warmup_steps": unstated,
        "unconfirmed": "table 11 of arXiv 2208.04933 was not at hand and there is no run script; warm-up and initial "
        "values, which it does not state, are as in run_lra_cifar.sh",
        "data": f"{s5.REPOSITORY} s5/dataloaders/basic.py",
    }
    return scale(_s5(published, data, channels, 10, source), "pixels", profile)


def smnist(profile: Profile = "paper") -> Recipe:
    """sMNIST, 784 pixels in rows, by S5."""
    return _pixels(
        profile, DataSpec("mnist", {"permuted": False, **PIXELS}), 1, n_layers=4, d_model=96, ssm_size_base=128,
        blocks=1, p_dropout=0.1, ssm_lr=0.002, lr_factor=4, epochs=150, weight_decay=0.01,
    )  # fmt: skip


def psmnist(profile: Profile = "paper") -> Recipe:
    """psMNIST, the pixels in bit-reversed order, by S5."""
    return _pixels(
        profile, DataSpec("mnist", {"permuted": True, **PIXELS}), 1, n_layers=6, d_model=128, ssm_size_base=128,
        blocks=2, p_dropout=0.15, ssm_lr=0.001, lr_factor=4, epochs=150, weight_decay=0.01,
    )  # fmt: skip


def scifar(profile: Profile = "paper") -> Recipe:
    """sCIFAR, 1,024 pixels of three colours, by S5."""
    return _pixels(
        profile, DataSpec("cifar10", dict(COLOURS)), 3, n_layers=6, d_model=512, ssm_size_base=384, blocks=3,
        p_dropout=0.1, ssm_lr=0.001, lr_factor=4.5, epochs=250, weight_decay=0.07, opt_config="BfastandCdecay",
        clip_eigs=True,
    )  # fmt: skip


def speech35(profile: Profile = "paper") -> Recipe:
    """Speech Commands, 35 words at 16 kHz, by S5; 283,523 parameters. Evaluated at 8 kHz too, untrained there."""
    numbers = s5.Published(
        script="run_speech35.sh", n_layers=6, d_model=96, ssm_size_base=128, blocks=16, C_init="lecun_normal",
        opt_config="noBCdecay", ssm_lr_base=0.002, lr_factor=4, weight_decay=0.04, bsz=16, epochs=40, warmup_end=1,
        p_dropout=0.1,
    )  # fmt: skip
    source = {"data": f"{s5.REPOSITORY} s5/dataloaders/sc.py", "resampling": f"{s5.REPOSITORY} s5/train.py:train"}
    recipe = _s5(numbers, DataSpec("speech_commands", dict(SPEECH35)), 1, 35, source)
    return scale(recipe.replace(resampling=2), "speech", profile)


def speech10(profile: Profile = "paper") -> Recipe:
    """SC10, ten words at 16 kHz, by SeqBoat: 250,000 updates of 20; 290,080 parameters in the layers."""
    layer, depth = seqboat.speech_commands()
    data, batch_size, updates, warmup = DataSpec("speech_commands", dict(SPEECH10)), 20, 250_000, 10_000
    steps = data.settings["train"] // batch_size
    epochs = round(updates / steps)
    schedule = Schedule(warmup_steps=warmup, total_steps=epochs * steps, decay="linear", warmup_from=1e-7)
    optimizer = OptimizerSpec(groups={"regular": Group(0.01, 0.01)}, rule={}, schedule=schedule, b2=0.98, clip_norm=1.0)
    recipe = Recipe(
        model=ClassifierConfig(layer=layer, depth=depth, input_kind="values", input_size=1, classes=10),
        optimizer=optimizer,
        batch_size=batch_size,
        evaluation_batch_size=32,
        epochs=epochs,
        data=data,
        compile=False,  # PyTorch counts the active tokens at run time, which a recorded step cannot
        source={
            "model.layer, optimizer, batch_size, epochs, selection": f"{seqboat.REPOSITORY} experiment/run_sc.sh",
            "not expressed": seqboat.NOT_EXPRESSED,
            "optimizer": f"{seqboat.REPOSITORY} fairseq/optim/adam.py (its epsilon is not corrected for the bias)",
            "optimizer.schedule": f"{seqboat.REPOSITORY} fairseq/optim/lr_scheduler/linear_decay_schedule.py",
            "data": f"{seqboat.REPOSITORY} fairseq/data/audio/speech_commands_dataset.py",
        },
    )
    return scale(recipe, "seqboat", profile)


def pendulum(profile: Profile = "paper") -> Recipe:
    """The pendulum by S5, run_pendulum.sh on the branch `pendulum`. Overriding `model.time` gives S5-append and S5-drop
    (`ignore`) of the paper."""
    script = f"{s5.REPOSITORY}, branch pendulum, bin/run_experiments/run_pendulum.sh"
    numbers = s5.Published(
        script="", n_layers=4, d_model=30, ssm_size_base=16, blocks=8, C_init="trunc_standard_normal",
        activation_fn="half_glu2", opt_config="standard", ssm_lr_base=0.003, lr_factor=4, weight_decay=0.0, bsz=32,
        epochs=100, warmup_end=1, p_dropout=0.0, dt_min=0.01,
    )  # fmt: skip
    layer = numbers.layer().replace(norm="layer", prenorm=False, bidirectional=False)
    model = FilmRegressorConfig(layer=layer, depth=4, input_kind="values", input_size=577)
    data = DataSpec("pendulum", {"train": 2_000, "validation": 1_000, "test": 1_000})
    recipe = numbers.recipe(model, data, "least validation error")
    source = {
        "model, optimizer, batch_size, epochs": script,
        "model": "the same branch, s5/cru/util.py, s5/seq_model.py",
        "optimizer.rule": recipe.source["optimizer.rule, optimizer.norm_decay"],
        "optimizer.schedule": recipe.source["optimizer.schedule"],
        "data": "andrewwarrington/Continuous-Recurrent-Units@f6df8ae lib/pendulum_generation.py",
        "selection": "the same branch, s5/train_helpers.py:eval_step",
    }
    return scale(recipe.replace(evaluation_batch_size=50, source=source), "pendulum", profile)


RECIPES: dict[str, dict[str, Callable[[Profile], Recipe]]] = {
    "s5": {
        "pixels.smnist": smnist,
        "pixels.psmnist": psmnist,
        "pixels.scifar": scifar,
        "speech.sc35": speech35,
        "pendulum.regression": pendulum,
    },
    "seqboat": {"speech.sc10": speech10},
}
