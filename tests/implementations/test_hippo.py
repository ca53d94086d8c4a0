"""HiPPO by its definitions; the authors' own arrays are compared in `tests/parity`."""

import numpy as np
import pytest

from implementations.common.hippo import diagonal, legs, normal_blocks, normal_part
from implementations.common.initializers import Keys


def test_legs_by_hand():
    expected = -np.array([[1, 0, 0], [np.sqrt(3), 2, 0], [np.sqrt(5), np.sqrt(15), 3]])
    np.testing.assert_allclose(legs(3), expected, rtol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 16, 63, 64])
def test_normal_part(size):
    eigenvalues, vectors = normal_part(size)
    q = np.sqrt(np.arange(size) + 0.5)
    normal = legs(size) + np.outer(q, q)
    np.testing.assert_allclose(normal @ normal.T, normal.T @ normal, atol=1e-9)
    np.testing.assert_allclose(vectors * eigenvalues @ vectors.conj().T, normal, atol=1e-11)
    np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(eigenvalues.real, -0.5, rtol=1e-12)
    assert (np.diff(eigenvalues.imag) > 0).all()
    np.testing.assert_allclose(eigenvalues.imag, -eigenvalues.imag[::-1], atol=1e-10)


@pytest.mark.parametrize("size", [2, 7, 8, 64])
def test_the_phase_of_an_eigenvector_is_fixed(size):
    first = normal_part(size)[1][0]
    assert (first.real > 0).all()
    np.testing.assert_allclose(first.imag, 0, atol=1e-14)


@pytest.mark.parametrize(("size", "blocks", "conj_sym"), [(16, 8, True), (16, 1, True), (12, 3, False), (9, 3, False)])
def test_blocks(size, blocks, conj_sym):
    eigenvalues, v, v_inverse = normal_blocks(size, blocks, conj_sym)
    kept = size // 2 if conj_sym else size
    assert (eigenvalues.shape, v.shape, v_inverse.shape) == ((kept,), (size, kept), (kept, size))
    np.testing.assert_allclose(v_inverse @ v, np.eye(kept), atol=1e-12)
    np.testing.assert_array_equal(v_inverse, v.conj().T)
    one = normal_part(size // blocks)[0][: kept // blocks]
    np.testing.assert_array_equal(eigenvalues.reshape(blocks, -1), np.tile(one, (blocks, 1)))
    outside = np.kron(np.eye(blocks), np.ones((size // blocks, kept // blocks))) == 0
    assert not v[outside].any()
    if conj_sym:
        assert (eigenvalues.imag < 0).all()


@pytest.mark.parametrize("kind", ["lin", "inv", "antisymmetric"])
@pytest.mark.parametrize(("size", "conj_sym"), [(16, True), (12, False), (9, False)])
def test_other_eigenvalues_are_ordered_as_those_of_hippo(kind, size, conj_sym):
    found = diagonal(kind, size, conj_sym, Keys(0))
    assert found.shape == (size // 2 if conj_sym else size,)
    np.testing.assert_array_equal(found.real, -0.5)
    assert (np.diff(found.imag) >= 0).all()
    if conj_sym:
        assert (found.imag <= 0).all()
    else:
        np.testing.assert_allclose(found.imag, -found.imag[::-1], atol=1e-12)


def test_other_eigenvalues_by_hand():
    lin = diagonal("lin", 4, False, Keys(0)).imag
    np.testing.assert_allclose(lin, [-np.pi, 0, 0, np.pi])
    inverse = diagonal("inv", 4, True, Keys(0)).imag
    np.testing.assert_allclose(inverse, [-12 / np.pi, -4 / (3 * np.pi)])
    drawn = [diagonal("antisymmetric", 64, False, Keys(seed)).imag for seed in range(30)]
    np.testing.assert_allclose(np.mean(np.square(drawn)), 63, rtol=0.05)
