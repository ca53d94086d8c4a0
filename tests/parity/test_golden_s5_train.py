"""Rung 9 for training: twenty updates of the authors' optimizers, through the training backends, in float64."""

import numpy as np
from golden import Golden, files, model_config

from implementations.models.config import ClassifierConfig
from suite.equivalence.updates import Batch, backend
from suite.recipes.base import DataSpec, Recipe
from suite.training.optimizer import Schedule, s5_optimizer


def recipe_of(golden: Golden) -> Recipe:
    """The training run that a file describes."""
    hyper = golden.hyper
    steps = hyper["steps_per_epoch"]
    schedule = Schedule(
        warmup_steps=hyper["warmup_end"] * steps,
        total_steps=hyper["epochs"] * steps,
        lr_min=hyper["lr_min"],
        decay="cosine" if hyper["cosine_anneal"] else "constant",
        schedule_lag=True,
    )
    optimizer = s5_optimizer(
        hyper["opt_config"],
        ssm_lr=hyper["ssm_lr_base"],
        lr=hyper["lr"],
        weight_decay=hyper["weight_decay"],
        schedule=schedule,
        dt_global=hyper["dt_global"],
    ).replace(**hyper["adam"])
    model = model_config(hyper, "tokens")
    assert isinstance(model, ClassifierConfig)
    data = DataSpec("golden", {"train": steps * hyper["B"]})
    return Recipe(model=model, optimizer=optimizer, batch_size=hyper["B"], epochs=hyper["epochs"], data=data)


@files("s5_train")
def test_twenty_updates(golden, framework):
    recipe = recipe_of(golden)
    found = backend(framework, recipe)
    start = found.state()
    for part, prefix in (("parameters", "param"), ("statistics", "state_in")):
        given = {f"{part}.{path}": array for path, array in golden.ours(prefix).items()}
        assert given.keys() == {name for name in start if name.startswith(f"{part}.")}
        start |= given
    found.load_state(start)
    tokens, labels, lengths = (golden.arrays[f"input/{name}"] for name in ("tokens", "labels", "lengths"))
    handles = []
    for step in range(len(golden.arrays["output/loss"])):
        k = step % len(tokens)
        batch = Batch(tokens[k], lengths[k].astype(np.int64), labels[k])
        handles.append(found.train_step(batch, recipe.optimizer.rates(step), 0))
    np.testing.assert_allclose(found.losses(handles), golden.arrays["output/loss"], rtol=0, atol=1e-9)
    end = found.state()
    for part, prefix in (("parameters", "output_param"), ("statistics", "state_out")):
        expected = golden.ours(prefix)
        assert {f"{part}.{path}" for path in expected} == {name for name in end if name.startswith(f"{part}.")}
        for path, value in expected.items():
            assert np.abs(value - start[f"{part}.{path}"]).max() > 1e-6, path
            np.testing.assert_allclose(end[f"{part}.{path}"], value, rtol=0, atol=1e-9, err_msg=path)
