"""Discretised state space models as kernels, as responses to a state, and as steps; complex numbers are pairs.

x_t = A_bar x_{t-1} + B_bar u_t,  y_t = 2 Re(C x_t), with one state of each conjugate pair kept.
"""


def block(length: int) -> int:
    """A power of two near the square root: positions are counted as block i, offset j."""
    return 1 << (((length - 1).bit_length() + 1) // 2)
