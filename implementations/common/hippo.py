"""HiPPO-LegS and its diagonalised normal part (Gu et al. 2020; S5, arXiv 2208.04933, section 2.3 and appendix B.1)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Complex, Float
from scipy.linalg import block_diag

from implementations.common.initializers import Keys, normal

Array = np.ndarray


def legs(size: int) -> Float[Array, "P P"]:
    """The HiPPO-LegS matrix: -sqrt((2n+1)(2k+1)) below the diagonal, -(n+1) on it, 0 above."""
    root = np.sqrt(1.0 + 2.0 * np.arange(size))
    return -(np.tril(np.outer(root, root)) - np.diag(np.arange(size)))


def normal_part(size: int) -> tuple[Complex[Array, " P"], Complex[Array, "P P"]]:
    """Eigenvalues (ascending imaginary part) and unitary eigenvectors of HiPPO-N = LegS + q q^T, q_n = sqrt(n + 1/2).

    All real parts are -1/2. The unit phase of an eigenvector is free: here its first component is real and positive,
    so that initial values do not depend on the linear algebra library.
    """
    q = np.sqrt(np.arange(size) + 0.5)
    normal = legs(size) + np.outer(q, q)
    imaginary, vectors = np.linalg.eigh(-1j * normal)
    vectors = vectors * (np.abs(vectors[0]) / vectors[0])
    return np.mean(np.diagonal(normal)) + 1j * imaginary, vectors


def normal_blocks(
    size: int, blocks: int, conj_sym: bool
) -> tuple[Complex[Array, " P"], Complex[Array, "F P"], Complex[Array, "P F"]]:
    """`blocks` copies of HiPPO-N of size `size / blocks`: eigenvalues, V and V^-1, both block-diagonal.

    With `conj_sym` only the half with negative imaginary parts is kept: P = size / 2 columns against F = size rows.
    """
    eigenvalues, vectors = normal_part(size // blocks)
    if conj_sym:
        kept = size // blocks // 2
        eigenvalues, vectors = eigenvalues[:kept], vectors[:, :kept]
    v, v_inverse = (np.asarray(block_diag(*[block] * blocks)) for block in (vectors, vectors.conj().T))
    return np.tile(eigenvalues, blocks), v, v_inverse


def diagonal(
    kind: Literal["lin", "inv", "antisymmetric"], size: int, conj_sym: bool, keys: Keys
) -> Complex[Array, " P"]:
    """Eigenvalues to stand in place of HiPPO-N's, of the whole state: real parts are -1/2, imaginary parts ascend and
    come in pairs of both signs; of an odd size one is zero. With `conj_sym` the first half of them.

    "lin": pi n, and "inv": size/pi (size/(2n+1) - 1), for n below size/2 (S4D-Lin and S4D-Inv, arXiv 2206.11893).
    "antisymmetric": those of (G - G^T) / sqrt(2), G normal of variance 1.
    """
    n = np.arange(size // 2)
    if kind == "antisymmetric":
        drawn = normal(keys, (size, size))
        imaginary = np.linalg.eigvalsh(-1j * (drawn - drawn.T) / np.sqrt(2.0))
    else:
        half = np.pi * n if kind == "lin" else size / np.pi * (size / (2 * n + 1) - 1)
        imaginary = np.sort(np.concatenate([-half, half, np.zeros(size % 2)]))
    return -0.5 + 1j * (imaginary[: size // 2] if conj_sym else imaginary)
