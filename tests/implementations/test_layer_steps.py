"""The state of each layer is of one kind: JAX need not trace a layer again where a segment follows another."""

import jax
import jax.numpy as jnp
import pytest
from test_layer_contract import STREAMING, layer, leaves

GROWS = {"mega, whole", "seqboat, whole", "transformer"}


@pytest.mark.parametrize("name", [name for name in STREAMING if name not in GROWS])
def test_a_state_has_the_shapes_and_dtypes_of_the_one_before(name):
    """Else JAX would trace every layer twice, and a scan over segments would refuse it."""
    found = layer("jax", STREAMING[name])
    x, mask = jnp.ones((2, 5, 4), jnp.float32), jnp.ones((2, 5), bool)
    before = found.initial_state(2)
    for given in ((x, before), (x, before, mask)):
        _, after = jax.eval_shape(found, *given)
        kinds = [{path: (leaf.shape, leaf.dtype) for path, leaf in leaves(s).items()} for s in (before, after)]
        assert kinds[0] == kinds[1]
