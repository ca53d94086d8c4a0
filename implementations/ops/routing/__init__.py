"""Compressing a sequence to its selected tokens and putting results back in their places.

`order` sorts the positions of each row, selected ones first, in their order; `compress` takes the first of them,
`extract` puts them back. How many are taken, the capacity, must be known before the arrays are made:

- PyTorch counts: the capacity is the largest number of selected tokens in the batch; compiled, the whole length.
- JAX's shapes are static. `at_capacity` compiles the work for a few capacities, each half of the next, up to the whole
  length, and `jax.lax.switch` runs the smallest that holds the largest row. This is differentiable, traced once, and
  drops nothing at any activation; what is done falls with it, in steps. A loop over the blocks in use would follow it
  more closely, but runs blocks one after the other and has no reverse derivative. `torch.compile` does as JAX does.

Slots beyond a row's tokens are zero and results do not depend on how many there are. A capacity that a caller chose too
small does not drop tokens silently: the row comes out as NaN.
"""


def capacities(length: int, steps: int) -> tuple[int, ...]:
    """At most `steps` capacities for rows of `length` tokens, each half of the next, the last the whole length."""
    return tuple(sorted({max(-(-length // 2**i), 1) for i in range(steps)}))
