"""One training step of the S5 ListOps recipe beside the authors' own code, on one GPU in one run.

    git clone https://github.com/lindermanlab/S5 && git -C S5 checkout 3c18fdb
    python -m suite.tasks.authors_s5 --authors S5 --out runs

Their code is imported as it is; three names that newer JAX and Flax dropped are given back from outside. They are timed
on `train_step` alone with the batch already on the device and one-hot; ours is timed on `Backend.train_step`, the
transfer of the batch included. Implementations take turns, block by block; a block ends with a synchronisation.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np

from reports.records import Cell, Record, write
from suite import provenance
from suite.hardware import detect
from suite.hardware.profiles import PROFILES
from suite.recipes.base import Recipe
from suite.recipes.s5 import lra_listops
from suite.training.optimizer import OptConfig, s5_rule

LENGTH = 2048
TOKENS = 20
"""Width of the authors' one-hot tokens of ListOps."""
REVISION = "lindermanlab/S5@3c18fdb"


@dataclasses.dataclass(frozen=True)
class Contender:
    """One implementation: `step` starts an update, `wait` returns when all started ones are done."""

    name: str
    framework: str
    precision: str
    step: Callable[[], Any]
    wait: Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Random tokens of the lengths that ListOps has."""

    inputs: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


def random_batch(size: int, length: int = LENGTH) -> Batch:
    """Fresh random tokens, padded with 0; the time of a step does not depend on their values."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(length // 4, length - 47, size=size).astype(np.int32)
    inputs = rng.integers(3, 18, size=(size, length)).astype(np.uint8)
    inputs[np.arange(length) >= lengths[:, None]] = 0
    return Batch(inputs, lengths, rng.integers(0, 10, size=size).astype(np.int32))


def opt_config(recipe: Recipe) -> str:
    """The authors' name of a recipe's groups of parameters."""
    return next(name for name in get_args(OptConfig) if s5_rule(name) == recipe.optimizer.rule)


def authors_training(checkout: Path, recipe: Recipe, size: int, length: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """The authors' `train_helpers` module, model and training state, put together as their `train.py` does."""
    import flax
    import jax
    import jax.numpy as jnp
    from jax.scipy.linalg import block_diag

    if not (checkout / "s5" / "ssm.py").is_file():
        raise SystemExit(f"{checkout} holds no s5/ssm.py: give --authors a checkout of {REVISION}")
    sys.path.insert(0, str(checkout))
    jnp.DeviceArray = jax.Array  # type: ignore[attr-defined]
    jax.tree_leaves = jax.tree_util.tree_leaves  # type: ignore[attr-defined]
    flax.config.update("flax_return_frozendict", True)
    from s5 import train_helpers  # type: ignore[import-not-found]
    from s5.seq_model import BatchClassificationModel  # type: ignore[import-not-found]
    from s5.ssm import init_S5SSM  # type: ignore[import-not-found]
    from s5.ssm_init import make_DPLR_HiPPO  # type: ignore[import-not-found]
    from s5.train_helpers import create_train_state  # type: ignore[import-not-found]

    layer: Any = recipe.model.layer  # type: ignore[attr-defined]
    groups, tokens = recipe.optimizer.groups, recipe.model.input_kind == "tokens"
    in_dim = TOKENS if tokens else recipe.model.input_size
    kept = layer.ssm_size // layer.blocks // 2
    eigenvalues, _, _, v, _ = make_DPLR_HiPPO(layer.ssm_size // layer.blocks)
    eigenvalues, v = jnp.tile(eigenvalues[:kept], layer.blocks), v[:, :kept]
    ssm = init_S5SSM(
        H=layer.d_model, P=layer.kept_states, Lambda_re_init=eigenvalues.real, Lambda_im_init=eigenvalues.imag,
        V=block_diag(*[v] * layer.blocks), Vinv=block_diag(*[v.conj().T] * layer.blocks), C_init=layer.C_init,
        discretization=layer.discretization, dt_min=layer.dt_min, dt_max=layer.dt_max, conj_sym=layer.conj_sym,
        clip_eigs=layer.clip_eigs, bidirectional=layer.bidirectional,
    )  # fmt: skip
    model = functools.partial(
        BatchClassificationModel, ssm=ssm, d_output=recipe.model.classes, d_model=layer.d_model,  # type: ignore[attr-defined]
        n_layers=recipe.model.depth, padded=tokens, activation=layer.activation, dropout=layer.dropout, mode="pool",  # type: ignore[attr-defined]
        prenorm=layer.prenorm, batchnorm=True, bn_momentum=layer.bn_momentum,
    )  # fmt: skip
    state = create_train_state(
        model, jax.random.PRNGKey(seed), tokens, False, in_dim=in_dim, bsz=size, seq_len=length,
        weight_decay=groups["regular"].weight_decay, batchnorm=True, opt_config=opt_config(recipe),
        ssm_lr=groups["ssm"].rate, lr=groups["regular"].rate, dt_global=False,
    )  # fmt: skip
    return train_helpers, model, state


def authors(checkout: Path, recipe: Recipe, batch: Batch) -> Contender:
    """The authors' `train_step` on a batch that lies on the device already."""
    import jax
    import jax.numpy as jnp

    size, length = batch.inputs.shape
    helpers, model, state = authors_training(checkout, recipe, size, length)
    inputs = jax.nn.one_hot(jnp.asarray(batch.inputs), TOKENS), jnp.asarray(batch.lengths).astype(float)
    labels, timesteps = jnp.asarray(batch.labels).astype(float), jnp.ones((size, length))
    training, key, held = model(training=True), jax.random.PRNGKey(1), [state, None]

    def step() -> None:
        held[:] = helpers.train_step(held[0], key, inputs, labels, timesteps, training, True)

    return Contender("authors", "jax", "JAX default", step, lambda: jax.block_until_ready(held[1]))


def ours(framework: str, recipe: Recipe, batch: Batch, kind: str = "gpu") -> Contender:
    """This project's backend in a framework, on a device of that kind."""
    if framework == "jax":
        from suite.training.jax import Backend
    else:
        from suite.training.torch import Backend
    backend = Backend(recipe, 0, kind)
    rates = recipe.optimizer.rates(1)
    return Contender(
        "longseq-bench", framework, recipe.matmul_precision,
        lambda: backend.train_step(batch, rates, 0), backend.synchronize,
    )  # fmt: skip


def interleaved(contenders: list[Contender], rounds: int, steps: int) -> tuple[list[list[float]], list[float]]:
    """Seconds per step of every contender in every round, and the seconds that its first step took."""
    first = []
    for contender in contenders:
        start = time.perf_counter()
        contender.step()
        contender.wait()
        first.append(time.perf_counter() - start)
        for _ in range(5):
            contender.step()
        contender.wait()
    seconds: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for own, contender in zip(seconds, contenders, strict=True):
            start = time.perf_counter()
            for _ in range(steps):
                contender.step()
            contender.wait()
            own.append((time.perf_counter() - start) / steps)
    return seconds, first


def device_time(contender: Contender, steps: int = 3) -> dict[str, float]:
    """What a GPU does in a step, by the CUDA profiler: kernels, busy time, share of matrix products."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    if not torch.cuda.is_available():
        return {}
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            contender.step()
        contender.wait()
        torch.cuda.synchronize()
    events = profiler.key_averages()
    busy = sum(event.self_device_time_total for event in events)
    products = sum(e.self_device_time_total for e in events if "gemm" in e.key.lower() or "cutlass" in e.key.lower())
    return {
        "kernels_per_step": sum(event.count for event in events) / steps,
        "device_busy_ms": busy / steps / 1e3,
        "matrix_product_share": products / max(busy, 1e-9),
    }


def rows(contenders: list[Contender], seconds: list[list[float]], first: list[float]) -> list[dict[str, Any]]:
    """The table of the record; `ratio_to_authors` is the median over rounds of the ratio within a round."""
    table = []
    for contender, own, start in zip(contenders, seconds, first, strict=True):
        low, middle, high = np.quantile(own, [0.2, 0.5, 0.8]) * 1e3
        table.append(
            {
                "implementation": contender.name,
                "framework": contender.framework,
                "matmul_precision": contender.precision,
                "step_ms_p20": low,
                "step_ms_p50": middle,
                "step_ms_p80": high,
                "ratio_to_authors": float(np.median(np.array(own) / np.array(seconds[0]))),
                "first_step_s": start,
                **device_time(contender),
            }
        )
    return table


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m suite.tasks.authors_s5", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--authors", type=Path, required=True, help=f"a checkout of {REVISION}")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="runs folder that takes the record")
    parser.add_argument("--hardware", default="auto", help="name of the hardware profile in the record")
    parser.add_argument("--precisions", nargs="+", default=["float32", "tf32"], choices=["float32", "tf32"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10, help="steps per block")
    options = parser.parse_args(arguments)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        hardware = detect.attached(options.hardware)
    except detect.HardwareError as error:
        print(error, file=sys.stderr)
        return 2
    kind = PROFILES[hardware].kind
    recipe = lra_listops("paper")
    batch = random_batch(recipe.batch_size)
    contenders = [authors(options.authors, recipe, batch)]
    for precision in options.precisions:
        for framework in ("jax", "torch"):
            contenders.append(ours(framework, recipe.replace(matmul_precision=precision), batch, kind))
    seconds, first = interleaved(contenders, options.rounds, options.steps)
    table = rows(contenders, seconds, first)
    for row in table:
        print({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
    write(record(table, recipe, options, hardware), options.out)
    return 0


def record(table: list[dict[str, Any]], recipe: Recipe, options: argparse.Namespace, hardware: str) -> Record:
    """The measurement as a record of the benchmark `speed`."""
    cell = Cell(
        id=f"speed-authors-s5-{hardware}", benchmark="speed", task="speed.train_step", architecture="s5",
        framework="jax+torch", seed=0, profile="paper", hardware=hardware,
    )  # fmt: skip
    protocol = {
        "name": "training step of lra.listops, batch 50 x 2048, implementations in turn",
        "rounds": options.rounds,
        "steps_per_block": options.steps,
        "authors": f"{REVISION}, train_step alone, batch on the device; JAX's default precision on a GPU is tf32",
        "ours": "Backend.train_step with the transfer of the batch",
    }
    command = f"python -m suite.tasks.authors_s5 --authors S5 --rounds {options.rounds} --steps {options.steps}"
    return Record(
        cell=cell, status="measured", recipe=recipe.to_dict(), protocol=protocol, tables={"train_step": table},
        provenance=provenance.collect([]) | {"command": command},
    )  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
