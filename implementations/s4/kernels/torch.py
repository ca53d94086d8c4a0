"""Kernels of S4 and S4D in PyTorch; `jax.py` beside it is its twin.

Diagonal (S4D, arXiv 2206.11893, section 3): powers of a = A_bar, a^(J i + j) = a^(J i) a^j, so that no array of all
positions and all states is ever made.

Diagonal plus low rank (S4, arXiv 2111.00396, appendix C): A = Lambda - P P^*, bilinear. At a root of unity w the
generating function of the first n values is 2 C~ (g - f step A)^-1 step B with g = 2 (1 - w), f = 1 + w and
C~ = C (I - A_bar^n), by Woodbury a few Cauchy sums over Lambda; written so, nothing is singular at w = -1. Dense
powers of A_bar are real: A acts on pairs as a real (N, N) matrix, the low-rank part mixes each pair with its conjugate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from implementations.common.torch import einsum, ending
from implementations.ops.scan.torch import exponential, multiply
from implementations.s4.kernels import block
from implementations.s5.torch import conjugate, reciprocal


def powers(log_a: Float[Tensor, "D M 2"], count: int, stride: int = 1) -> Float[Tensor, "k D M 2"]:
    """a^(stride k) for k below `count`, from the logarithm of a."""
    exponents = stride * torch.arange(count, device=log_a.device)
    return exponential(exponents[:, None, None, None] * log_a)


def vandermonde(
    c: Float[Tensor, "*b D M 2"], log_a: Float[Tensor, "D M 2"], length: int
) -> Float[Tensor, "*b D {length}"]:
    """2 Re(sum over m of c_m a_m^l) for l below `length`."""
    width = block(length)
    low, high = powers(log_a, width), powers(log_a, -(-length // width), width)
    left = multiply(c[..., None, :, :, :], high)
    found = 2 * einsum("...idmc,jdmc->...dij", left, conjugate(low))
    return rearrange(found, "... i j -> ... (i j)")[..., :length]


def blocks(u: Float[Tensor, "B L D"], width: int) -> Float[Tensor, "B i j D"]:
    """Blocks of `width` positions, filled up with zeros before the first."""
    u = torch.nn.functional.pad(u, (0, 0, -u.shape[1] % width, 0))
    return rearrange(u, "b (i j) d -> b i j d", j=width)


def iterate(
    advance: Callable[[Tensor, Tensor], Tensor], u: Float[Tensor, "B L D"], state: Float[Tensor, "B D M 2"]
) -> Float[Tensor, "B L D M 2"]:
    """All states of a recurrence, one position after the other."""

    states = []
    for u_t in torch.movedim(u, 1, 0):
        state = advance(u_t, state)
        states.append(state)
    return torch.stack(states, 1)


def half_turns(nodes: int, like: Float[Tensor, "*shape"]) -> Float[Tensor, "F 2"]:
    """exp(i pi k / nodes) for k up to nodes / 2, computed in float64."""
    half = math.pi / nodes * torch.arange(nodes // 2 + 1, dtype=torch.float64, device=like.device)
    return torch.stack([torch.cos(half), torch.sin(half)], -1).to(like.dtype)


class Diagonal:
    """An SSM per feature with a diagonal A_bar, given by its logarithm (D, M, 2); B_bar (D, M, 2); C (K, D, M, 2)."""

    def __init__(
        self, log_A_bar: Float[Tensor, "D M 2"], B_bar: Float[Tensor, "D M 2"], C: Float[Tensor, "K D M 2"]
    ) -> None:
        self.log_A_bar, self.B_bar, self.C = log_A_bar, B_bar, C

    def kernel(self, length: int) -> Float[Tensor, "K D {length}"]:
        """The response to a unit impulse."""
        return vandermonde(multiply(self.C, self.B_bar), self.log_A_bar, length)

    def response(self, state: Float[Tensor, "B D M 2"], length: int) -> Float[Tensor, "B K D {length}"]:
        """The outputs that a state before the first position causes by itself."""
        first = multiply(exponential(self.log_A_bar), state)
        return vandermonde(multiply(self.C, first[:, None]), self.log_A_bar, length)

    def last_state(
        self,
        u: Float[Tensor, "B L D"],
        state: Float[Tensor, "B D M 2"] | None,
        padding: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B D M 2"]:
        """The state after a segment, or where the `padding` at its end begins."""
        length = u.shape[1]
        u = ending(u, padding, length)
        width = block(length)
        u = blocks(u, width)
        low, high = powers(self.log_A_bar, width), powers(self.log_A_bar, u.shape[1], width)
        ends = einsum("bijd,jdmc->bidmc", u, torch.flip(low, (0,)))
        x = multiply(self.B_bar, multiply(ends, torch.flip(high, (0,))).sum(1))
        if state is None:
            return x
        left = length if padding is None else (length - padding)[:, None, None, None]
        return x + multiply(exponential(left * self.log_A_bar), state)

    def block_states(
        self, u: Float[Tensor, "B n W D"], state: Float[Tensor, "B D M 2"] | None, lead: Int[Tensor, " B"] | None
    ) -> Float[Tensor, "B n D M 2"]:
        """The states after each block of positions; `state` is that at position `lead` of the first block."""
        width = u.shape[2]
        low = powers(self.log_A_bar, width)
        x = multiply(self.B_bar, einsum("bijd,jdmc->bidmc", u, torch.flip(low, (0,))))
        if state is not None:
            assert lead is not None
            ahead = exponential((width - lead)[:, None, None, None] * self.log_A_bar)
            x = torch.cat([x[:, :1] + multiply(ahead, state)[:, None], x[:, 1:]], 1)
        step = 1
        while step < x.shape[1]:
            moved = multiply(exponential(step * width * self.log_A_bar), x[:, :-step])
            x, step = torch.cat([x[:, :step], x[:, step:] + moved], 1), 2 * step
        return x

    def advance(self, u: Float[Tensor, "B D"], state: Float[Tensor, "B D M 2"]) -> Float[Tensor, "B D M 2"]:
        """The state one position later."""
        return multiply(exponential(self.log_A_bar), state) + self.B_bar * u[..., None, None]

    def read(self, x: Float[Tensor, "B L D M 2"]) -> Float[Tensor, "B L K D"]:
        """The outputs of states."""
        return 2 * einsum("bldmc,kdmc->blkd", x, conjugate(self.C))


def flat(x: Float[Tensor, "*b M 2"]) -> Float[Tensor, "*b N"]:
    """Pairs as a real vector."""
    return rearrange(x, "... m i -> ... (m i)")


def paired(x: Float[Tensor, "*b N"]) -> Float[Tensor, "*b M 2"]:
    """The inverse of `flat`."""
    return rearrange(x, "... (m i) -> ... m i", i=2)


def apply(matrix: Float[Tensor, "D N N"], x: Float[Tensor, "*b D N"]) -> Float[Tensor, "*b D N"]:
    """The matrix times vectors."""
    return einsum("dnm,...dm->...dn", matrix, x)


def product(left: Float[Tensor, "D N N"], right: Float[Tensor, "D N N"]) -> Float[Tensor, "D N N"]:
    """The product of two matrices."""
    return einsum("dnk,dkm->dnm", left, right)


def transpose(matrix: Float[Tensor, "D N N"]) -> Float[Tensor, "D N N"]:
    """The transposed matrix."""
    return rearrange(matrix, "d n m -> d m n")


def apply_power(matrix: Float[Tensor, "D N N"], x: Float[Tensor, "*b D N"], exponent: int) -> Float[Tensor, "*b D N"]:
    """matrix^exponent times vectors, by repeated squaring."""
    while exponent:
        if exponent % 2:
            x = apply(matrix, x)
        exponent //= 2
        if exponent:
            matrix = product(matrix, matrix)
    return x


def apply_powers(
    matrix: Float[Tensor, "D N N"], x: Float[Tensor, "B D N"], exponents: Int[Tensor, " B"], largest: int
) -> Float[Tensor, "B D N"]:
    """matrix^exponent times vectors, with an exponent of 0 to `largest` for each sequence."""
    bit = 1
    while bit <= largest:
        x = torch.where((exponents // bit % 2 == 1)[:, None, None], apply(matrix, x), x)
        matrix, bit = product(matrix, matrix), 2 * bit
    return x


def matrix_power(matrix: Float[Tensor, "D N N"], exponent: int) -> Float[Tensor, "D N N"]:
    """matrix^exponent for an exponent of at least 1."""
    if exponent == 1:
        return matrix
    half = matrix_power(product(matrix, matrix), exponent // 2)
    return product(half, matrix) if exponent % 2 else half


def krylov(matrix: Float[Tensor, "D N N"], x: Float[Tensor, "*b D N"], count: int) -> Float[Tensor, "k *b D N"]:
    """matrix^k x for k below `count`, by doubling."""
    found = x[None]
    while found.shape[0] < count:
        found = torch.cat([found, apply(matrix, found)], 0)
        if found.shape[0] < count:
            matrix = product(matrix, matrix)
    return found[:count]


class DiagonalPlusLowRank:
    """An SSM per feature with A = Lambda - P P^*, discretised by the bilinear rule.

    Lambda, P, B (D, M, 2); C (K, D, M, 2); step (D, 1) or (D, M). With `truncated_length` l, C holds C~ for l
    positions of the unscaled step. `rescale` scales the step.
    """

    def __init__(self, Lambda, P, B, C, step, truncated_length: int | None, rescale: float) -> None:
        self.Lambda, self.P, self.B, self.C = Lambda, P, B, C
        self.unscaled, self.step = step, rescale * step
        self.truncated_length, self.rescale = truncated_length, rescale

    def kernel(self, length: int) -> Float[Tensor, "K D {length}"]:
        """The response to a unit impulse."""
        if self.truncated_length is None:
            matrix = self.matrix(self.step)
            row = self._row(self.C)
            return self._cauchy(self._of_row(row - apply_power(transpose(matrix), row, length)), length)
        covered, row = self.truncated_length, self._row(self.C)
        while round(self.rescale * length) > covered:
            row = row + apply_power(transpose(self.matrix(self.unscaled)), row, covered)
            covered = 2 * covered
        return self._cauchy(self._of_row(row), round(covered / self.rescale))[..., :length]

    def _cauchy(self, C, nodes: int):
        """The first `nodes` values of the kernel from C~: its generating function at roots of unity, transformed."""
        turn = half_turns(nodes, C)
        F, G = 2 * turn[:, 0], 4 * turn[:, 1]
        step = self.step[..., None]
        Lambda = step * self.Lambda
        real, imaginary = Lambda[..., :1], Lambda[..., 1:]
        denominator = torch.stack(
            [
                (real * F) ** 2 + (imaginary * F - G) * (imaginary * F + G),
                -2 * real * F * G,
            ],
            -1,
        )
        inverse = reciprocal(denominator)
        left = torch.cat([C, conjugate(self.P)[None]], 0)
        right = step * torch.stack([self.B, self.P], 0)
        v = multiply(left[:, None], right[None])
        sum_b = G[:, None] * einsum("xydm,dmfc->xydfc", 2 * v[..., 0], inverse)
        sum_a = F[:, None] * einsum("xydm,dmfc->xydfc", 2 * (v * Lambda).sum(-1), inverse)
        r = torch.stack([-sum_b[..., 1], sum_b[..., 0]], -1) - sum_a
        low_rank = F[:, None] * r[-1, 1]
        low_rank = torch.stack([1 + low_rank[..., 0], low_rank[..., 1]], -1)
        correction = multiply(multiply(r[:-1, 1], r[-1, 0]), F[:, None] * reciprocal(low_rank))
        values = 2 * multiply(turn, r[:-1, 0] - correction)
        return torch.fft.irfft(torch.complex(values[..., 0], values[..., 1]), nodes, dim=-1)

    def response(self, state: Float[Tensor, "B D M 2"], length: int) -> Float[Tensor, "B K D {length}"]:
        """The outputs that a state before the first position causes by itself."""
        width = block(length)
        matrix = self.matrix(self.step)
        columns = krylov(matrix, apply(matrix, flat(state)), width)
        rows = krylov(transpose(matrix_power(matrix, width)), self._output_row(), -(-length // width))
        found = einsum("ikdn,jbdn->bkdij", rows, columns)
        return rearrange(found, "b k d i j -> b k d (i j)")[..., :length]

    def last_state(
        self,
        u: Float[Tensor, "B L D"],
        state: Float[Tensor, "B D M 2"] | None,
        padding: Int[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B D M 2"]:
        """The state after a segment, or where the `padding` at its end begins."""
        length = u.shape[1]
        u = ending(u, padding, length)
        width = block(length)
        matrix = self.matrix(self.step)
        columns = krylov(matrix, flat(self._backward(2 * self.B, self.step)), width)
        ends = einsum("bijd,jdn->bidn", blocks(u, width), torch.flip(columns, (0,)))
        power = matrix_power(matrix, width)
        while ends.shape[1] > 1:
            if ends.shape[1] % 2:
                ends = torch.cat([torch.zeros_like(ends[:, :1]), ends], 1)
            ends = ends[:, 1::2] + apply(power, ends[:, 0::2])
            power = product(power, power)
        x = paired(ends[:, 0])
        if state is None:
            return x
        if padding is None:
            return x + paired(apply_power(matrix, flat(state), length))
        return x + paired(apply_powers(matrix, flat(state), length - padding, length))

    def block_states(
        self, u: Float[Tensor, "B n W D"], state: Float[Tensor, "B D M 2"] | None, lead: Int[Tensor, " B"] | None
    ) -> Float[Tensor, "B n D M 2"]:
        """The states after each block of positions; `state` is that at position `lead` of the first block."""
        width = u.shape[2]
        matrix = self.matrix(self.step)
        columns = krylov(matrix, flat(self._backward(2 * self.B, self.step)), width)
        x = einsum("bijd,jdn->bidn", u, torch.flip(columns, (0,)))
        if state is not None:
            assert lead is not None
            ahead = apply_powers(matrix, flat(state), width - lead, width)
            x = torch.cat([x[:, :1] + ahead[:, None], x[:, 1:]], 1)
        power, step = matrix_power(matrix, width), 1
        while step < x.shape[1]:
            x = torch.cat([x[:, :step], x[:, step:] + apply(power, x[:, :-step])], 1)
            power, step = product(power, power), 2 * step
        return paired(x)

    def advance(self, u: Float[Tensor, "B D"], state: Float[Tensor, "B D M 2"]) -> Float[Tensor, "B D M 2"]:
        """The state one position later, with work linear in the size of the state."""
        return self._backward(self._forward(state, self.step) + 2 * self.B * u[..., None, None], self.step)

    def read(self, x: Float[Tensor, "B L D M 2"]) -> Float[Tensor, "B L K D"]:
        """The outputs of states."""
        return einsum("bldn,kdn->blkd", flat(x), self._output_row())

    def matrix(self, step: Float[Tensor, "D S"]) -> Float[Tensor, "D N N"]:
        """A_bar as a real matrix on pairs."""
        size = 2 * self.P.shape[1]
        basis = paired(torch.eye(size, dtype=self.P.dtype, device=self.P.device))[:, None]
        return rearrange(flat(self._backward(self._forward(basis, step), step)), "m d n -> d n m")

    def _forward(self, x, step):
        """(2 / step + A) x."""
        projection = 2 * (self.P * x).sum((-2, -1))[..., None, None]
        return 2 / step[..., None] * x + multiply(self.Lambda, x) - self.P * projection

    def _backward(self, x, step):
        """(2 / step - A)^-1 x, by Woodbury."""
        half = 2 / step[..., None]
        inverse = reciprocal(torch.cat([half - self.Lambda[..., :1], -self.Lambda[..., 1:]], -1))
        x, P = multiply(inverse, x), multiply(inverse, self.P)
        scale = (self.P * x).sum((-2, -1)) / (0.5 + (self.P * P).sum((-2, -1)))
        return x - P * scale[..., None, None]

    def _row(self, C):
        """The real row vectors that give 2 Re(C x)."""
        return flat(2 * conjugate(C))

    def _of_row(self, row):
        """The inverse of `_row`."""
        return conjugate(paired(row)) / 2

    def _output_row(self):
        """The rows of C, from those of C~ where these are the parameter."""
        row = self._row(self.C)
        if self.truncated_length is None:
            return row
        identity = torch.eye(row.shape[-1], dtype=row.dtype, device=row.device)
        basis = identity[:, None].expand(row.shape[-1], *row.shape[1:])
        power = apply_power(self.matrix(self.unscaled), basis, self.truncated_length)
        return rearrange(
            torch.linalg.solve(identity - rearrange(power, "m d n -> d m n"), rearrange(row, "k d n -> d n k")),
            "d n k -> k d n",
        )
