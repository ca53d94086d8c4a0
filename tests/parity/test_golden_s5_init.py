"""Rung 9 for S5's initial values: HiPPO against the authors' arrays, draws against the statistics of theirs."""

import numpy as np
import pytest
from golden import Golden, files

from implementations.common.hippo import legs, normal_blocks, normal_part
from implementations.common.initializers import Keys
from implementations.s5.config import S5Config, initial_ssm


def close(found: np.ndarray, expected: np.ndarray, what: str, tolerance: float = 1e-9) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=what)


@files("s5_init", "hippo_*")
def test_hippo(golden):
    size = golden.hyper["N"]
    file = golden.arrays
    close(legs(size), file["output/A_hippo"], "LegS")
    eigenvalues, vectors = normal_part(size)
    close(eigenvalues, file["output/Lambda"], "eigenvalues, ascending in the imaginary part")
    close(vectors @ np.diag(eigenvalues) @ vectors.conj().T, file["extra/VLVh"], "V Lambda V^H")
    close(vectors.conj().T @ vectors, np.eye(size), "unitary", 1e-12)
    negative = vectors[:, : size // 2]
    close(negative @ negative.conj().T, file["extra/proj_neg"], "the half with negative imaginary parts")
    p = vectors.conj().T @ file["output/P_real"]
    b = vectors.conj().T @ file["output/B_orig"]
    close(np.abs(p), file["extra/absP"], "|V^H P|")
    close(np.abs(b), file["extra/absB"], "|V^H B|")
    close(p * b.conj(), file["extra/PconjB"], "the phases of both are one")


@files("s5_init", "blocks_*")
def test_blocks(golden):
    hyper, file = golden.hyper, golden.arrays
    eigenvalues, v, v_inverse = normal_blocks(hyper["ssm_size_base"], hyper["blocks"], hyper["conj_sym"])
    close(eigenvalues, file["output/Lambda"], "eigenvalues")
    assert v.shape == file["output/V"].shape
    assert v_inverse.shape == file["output/Vinv"].shape
    close(v @ v_inverse, file["extra/VVinv"], "V V^-1")
    close(np.abs(v), np.abs(file["output/V"]), "|V|")
    close(np.abs(v_inverse), np.abs(file["output/Vinv"]), "|V^-1|")


SEEDS = 32
SIGMAS = 5.0


def draws(golden: Golden, which: str, direction: str) -> dict[str, list[np.ndarray]]:
    """Our initial values of an SSM over some seeds, by leaf."""
    hyper = golden.hyper
    config = S5Config(
        d_model=hyper["H"],
        ssm_size=hyper["ssm_size_base"],
        blocks=hyper["blocks"],
        conj_sym=hyper["conj_sym"],
        bidirectional=direction == "bi",
        C_init=which,  # pyright: ignore[reportArgumentType]
        dt_min=hyper["dt_min"],
        dt_max=hyper["dt_max"],
    )
    found = [initial_ssm(config, Keys(seed, "float64")) for seed in range(SEEDS)]
    return {leaf: [values[leaf] for values in found] for leaf in found[0]}


@pytest.mark.parametrize("direction", ["uni", "bi"])
@pytest.mark.parametrize("which", ["complex_normal", "lecun_normal", "trunc_standard_normal"])
@files("s5_init", "init_stats_*")
def test_initial_values_are_distributed_as_the_authors_draw_them(golden, which, direction):
    theirs = {
        n.rpartition("/")[2]: s for n, s in golden.hyper["stats"].items() if n.startswith(f"{which}/{direction}/")
    }
    ours = draws(golden, which, direction)
    assert ours.keys() == theirs.keys()
    for leaf, statistics in theirs.items():
        values, n = np.stack(ours[leaf]), statistics["n"]
        assert list(values.shape[1:]) == statistics["shape"], leaf
        if leaf.startswith("Lambda"):
            for name in ("mean", "std", "min", "max"):
                close(getattr(values, name)(), statistics[name], f"{leaf} {name}")
            continue
        # The standard errors of mean and deviation of independent normal values, of both samples together; those of
        # the deviations of a uniform or a truncated distribution are smaller. Without conjugate symmetry each value of
        # B comes twice, as a pair.
        independent = 1 if golden.hyper["conj_sym"] else 0.5
        spread = SIGMAS * statistics["std"] * np.sqrt((1 / n + 1 / values.size) / independent)
        close(values.mean(), statistics["mean"], f"{leaf} mean", spread)
        close(values.std(), statistics["std"], f"{leaf} deviation", spread / np.sqrt(2))
        # The largest of n normal values lies near sqrt(2 log n) deviations: ours may not reach 1.5 times theirs.
        assert values.max() < 1.5 * statistics["max"] + 1e-12 or leaf == "log_step"
        if leaf == "log_step":
            assert values.min() >= np.log(golden.hyper["dt_min"])
            assert values.max() <= np.log(golden.hyper["dt_max"])
