"""Rules of update: both frameworks against the equations in NumPy, against optax, and through the backends."""

import functools
from typing import Any

import numpy as np
import pytest

from suite.equivalence.updates import backend as made
from suite.equivalence.updates import batch
from suite.recipes import recipes
from suite.recipes.base import Recipe, apply_overrides
from suite.training.optimizer import Group, OptimizerSpec, Schedule

FRAMEWORKS = ("jax", "torch")
SHAPES = {
    "tall": (9, 6), "wide": (5, 8), "square": (5, 5), "narrow": (9, 3), "cube": (7, 2, 5), "vector": (6,), "scalar": (),
    "idle": (6, 6), "small": (5, 6),
}  # fmt: skip
SCHEDULE = Schedule(warmup_steps=3, total_steps=12, decay="rsqrt", warmup_from=0.0)
GROUPS = {"regular": Group(0.7, 0.01), "slow": Group(0.05)}
SPEC = OptimizerSpec(GROUPS, {"cube": "slow"}, SCHEDULE, factored_from=5)
SPECS = {
    "adam": SPEC,
    "radam": SPEC.replace(algorithm="radam", b2=0.98),
    "adafactor": SPEC.replace(algorithm="adafactor"),
    "adafactor-plain": SPEC.replace(algorithm="adafactor", b1=0.0, clip_rms=None, decay_exponent=0.5),
    "nesterov": SPEC.replace(algorithm="nesterov", b1=0.99),
}
STEPS = 12

Arrays = dict[str, np.ndarray]


def beginnings(dtype: Any = np.float64) -> Arrays:
    """Parameters; those of "small" are smaller than what scales Adafactor's updates at least."""
    rng = np.random.default_rng(1)
    found = {path: rng.standard_normal(shape) for path, shape in SHAPES.items()}
    return {path: (1e-5 * a if path == "small" else a).astype(dtype) for path, a in found.items()}


def gradients(step: int, dtype: Any = np.float64) -> Arrays:
    """Gradients of sizes from 1e-6 to 1e2; "idle" has none."""
    rng = np.random.default_rng([2, step])
    scale = {path: 10.0 ** rng.uniform(-6, 2) for path in SHAPES}
    return {
        path: np.asarray(rng.standard_normal(shape) * (0.0 if path == "idle" else scale[path]), dtype)
        for path, shape in SHAPES.items()
    }


def in_jax(spec: OptimizerSpec, dtype: Any = np.float64) -> Arrays:
    from suite.equivalence.jax import quick
    from suite.training.updates import jax as updates

    jax = pytest.importorskip("jax")
    update = jax.jit(functools.partial(updates.update, spec), compiler_options=quick())
    parameters = {path: jax.device_put(a) for path, a in beginnings(dtype).items()}
    moments = updates.start(spec, parameters)
    for step in range(STEPS):
        rates, constants = (
            {name: np.asarray(value, dtype) for name, value in told.items()}
            for told in (spec.rates(step), spec.constants(step))
        )
        parameters, moments = update(parameters, gradients(step, dtype), moments, rates, constants)
    named = {f"{name}.{path}": a for name, arrays in moments.items() for path, a in arrays.items()}
    return {name: np.asarray(a) for name, a in {**parameters, **named}.items()}


def in_torch(spec: OptimizerSpec, dtype: Any = np.float64) -> Arrays:
    torch = pytest.importorskip("torch")
    from suite.training.updates import torch as updates

    parameters = {path: torch.nn.Parameter(torch.from_numpy(a.copy())) for path, a in beginnings(dtype).items()}
    optimizer = updates.start(spec, parameters)
    moments = updates.moments(spec, optimizer, parameters)  # changed in place, as a recorded step needs them
    for step in range(STEPS):
        for path, g in gradients(step, dtype).items():
            parameters[path].grad = torch.from_numpy(g)
        updates.tell(optimizer, spec.rates(step), spec.constants(step))
        optimizer.step()
    named = {f"{name}.{path}": t for name, tensors in moments.items() for path, t in tensors.items()}
    return {name: t.detach().numpy() for name, t in {**parameters, **named}.items()}


def rms(a: np.ndarray) -> float:
    return float(np.sqrt((a * a).mean()))


def expected(spec: OptimizerSpec) -> Arrays:
    """The parameters by the equations of `suite/training/optimizer.py`, second moments of Adafactor written out."""
    found = {}
    for path, p in beginnings().items():
        group = spec.group_of(path)
        axes = {"tall": (1, 0), "wide": (0, 1), "square": (0, 1), "cube": (2, 0), "small": (0, 1), "idle": (0, 1)}
        m, v, r, c = (np.zeros_like(p) for _ in range(4))
        for step in range(STEPS):
            g, t, rate, decay = gradients(step)[path], step + 1, spec.rates(step)[group], GROUPS[group].weight_decay
            if spec.algorithm == "adam":
                m, v = spec.b1 * m + (1 - spec.b1) * g, spec.b2 * v + (1 - spec.b2) * g**2
                change = rate * m / (1 - spec.b1**t) / (np.sqrt(v / (1 - spec.b2**t)) + spec.eps)
            elif spec.algorithm == "radam":
                m, v = spec.b1 * m + (1 - spec.b1) * g, spec.b2 * v + (1 - spec.b2) * g**2
                most, corrected = 2 / (1 - spec.b2) - 1, 1 - spec.b2**t
                now = most - 2 * t * spec.b2**t / corrected
                change = rate * m / (1 - spec.b1**t)
                if now >= 5:
                    share = (now - 4) / (most - 4) * (now - 2) / now * most / (most - 2)
                    change = change * np.sqrt(corrected * share) / (np.sqrt(v) + spec.eps)
                assert (now >= 5) == (t >= 6)
            elif spec.algorithm == "nesterov":
                m = spec.b1 * m + g
                change = rate * (g + spec.b1 * m)
            else:
                d, square = 1 - t**-spec.decay_exponent, g**2 + 1e-30
                if path in axes:
                    short, long = axes[path]
                    r = d * r + (1 - d) * square.mean(long, keepdims=True) * np.ones_like(p)
                    c = d * c + (1 - d) * square.mean(short, keepdims=True) * np.ones_like(p)
                    v = r * c / r.mean(short, keepdims=True)
                else:
                    v = d * v + (1 - d) * square
                u = g / np.sqrt(v)
                u = u if spec.clip_rms is None else u / max(1.0, rms(u) / spec.clip_rms)
                m = spec.b1 * m + (1 - spec.b1) * rate * max(rms(p), 1e-3) * u
                change = m
            p = p - change - rate * decay * p
        found[path] = p
    return found


@pytest.mark.parametrize("name", SPECS)
def test_updates_are_the_equations_in_both_frameworks(name):
    spec, wanted = SPECS[name], expected(SPECS[name])
    found = in_jax(spec), in_torch(spec)
    assert found[0].keys() == found[1].keys()
    for path, array in found[0].items():
        assert array.shape == found[1][path].shape, path
        np.testing.assert_allclose(array, found[1][path], rtol=1e-9, atol=1e-13, err_msg=path)
        if path in wanted:
            np.testing.assert_allclose(array, wanted[path], rtol=1e-9, atol=1e-13, err_msg=path)
    if name == "adafactor":
        for one in (in_jax(spec, np.float32), in_torch(spec, np.float32)):
            for path, p in wanted.items():
                assert one[path].dtype == np.float32
                np.testing.assert_allclose(one[path], p, rtol=2e-4, atol=2e-5 * rms(p), err_msg=path)


def test_adafactor_is_optaxs():
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    from suite.equivalence.jax import quick

    spec = SPECS["adafactor"].replace(groups={"regular": Group(0.7)}, rule={})
    rates = jax.numpy.array([spec.rates(step)["regular"] for step in range(STEPS)])
    rule = optax.adafactor(lambda count: rates[count], min_dim_size_to_factor=5, momentum=0.9)
    update = jax.jit(rule.update, compiler_options=quick())
    parameters = {path: jax.device_put(a) for path, a in beginnings().items()}
    state = jax.jit(rule.init, compiler_options=quick())(parameters)
    for step in range(STEPS):
        changes, state = update(gradients(step), state, parameters)
        parameters = {path: p + changes[path] for path, p in parameters.items()}
    found = in_jax(spec)
    for path, p in parameters.items():
        # optax counts its steps, and so decays, in 32 bits.
        np.testing.assert_allclose(found[path], p, rtol=1e-5, atol=1e-7, err_msg=path)


def tiny(algorithm: str) -> Recipe:
    """A Transformer on ListOps with a feed-forward part whose second moments are two means."""
    recipe: Any = recipes("transformer")["lra.listops"]("smoke")
    sizes = ("d_model=8", "heads=1", "head_width=8", "d_ff=16")
    return apply_overrides(
        recipe,
        (*(f"model.layer.{size}" for size in sizes), "model.depth=1", "data.settings.train=40", "batch_size=4",
         f"optimizer.algorithm={algorithm}", "optimizer.factored_from=8"),
    )  # fmt: skip


@pytest.mark.parametrize("algorithm", ["adafactor", "nesterov"])
def test_backends_train_alike_and_carry_on_bit_for_bit(algorithm):
    recipe, found = tiny(algorithm), {}

    def train(backend: Any, steps: range) -> np.ndarray:
        return backend.losses([backend.train_step(batch(recipe, s), recipe.optimizer.rates(s), s) for s in steps])

    for framework in FRAMEWORKS:
        pytest.importorskip(framework)
        backend = made(framework, recipe)
        train(backend, range(3))
        saved = backend.state()
        losses = train(backend, range(3, 6))
        found[framework] = backend.state()
        backend.load_state(saved)
        np.testing.assert_array_equal(train(backend, range(3, 6)), losses)
        for name, array in found[framework].items():
            np.testing.assert_array_equal(backend.state()[name], array, err_msg=name)
    one, other = (found[framework] for framework in FRAMEWORKS)
    assert one.keys() == other.keys()
    kinds = {name.partition(".")[0] for name in one if "moment" in name}
    means = {"second_moment", "second_moment_rows", "second_moment_columns"} if algorithm == "adafactor" else set()
    assert kinds == {"first_moment", *means}
    for name, array in one.items():
        # Adafactor makes steps of full size of any gradient: a key's bias has none but rounding.
        if not name.endswith("key.bias"):
            np.testing.assert_allclose(other[name], array, rtol=1e-6, atol=1e-9, err_msg=name)
