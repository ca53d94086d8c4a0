"""Cells for a TPU that is not here, and what its compiler may say of a program."""

from suite.matrix import Selection, cells


def chosen(task="lra.listops", architecture="s5", framework="jax", seed=0, profile="smoke", overrides=()):
    """A cell for a TPU v4."""
    (found,) = cells(
        Selection(
            tasks=(task,), architectures=(architecture,), frameworks=(framework,), seeds=(seed,), profile=profile,
            hardware="tpu-v4", overrides=tuple(overrides),
        )
    )  # fmt: skip
    return found


def row_of(length, fits=True, peak=2**20):
    return {"program": "training step", "length": length, "fits": fits, "peak_memory_bytes": peak}
