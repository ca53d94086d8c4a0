"""Relative biases: a matrix by its diagonals, and a gradient that is not added up one number at a time."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
import torch
from flax import nnx
from torch.utils._python_dispatch import TorchDispatchMode

from implementations import catalog
from implementations.block_recurrent.config import BlockRecurrentConfig
from implementations.block_state.config import BlockStateConfig
from implementations.common.config import Config
from implementations.common.initializers import Keys
from implementations.mega.config import MegaConfig
from implementations.ops.attention.jax import diagonals as jax_diagonals
from implementations.ops.attention.torch import diagonals as torch_diagonals
from implementations.seqboat.config import SeqBoatConfig
from implementations.spade.config import SpadeConfig
from implementations.transformer.config import TransformerConfig
from suite.speed.jax import programs_within

WINDOW, LENGTH = 32, 96
WIDTHS: dict[str, Any] = {"d_model": 4, "heads": 2, "head_width": 2, "d_ff": 4}
SLIDE = TransformerConfig(causal=True, positions="t5", attention="window", window=WINDOW, **WIDTHS)
STATE = BlockStateConfig(window=WINDOW, kernel="s4d", state_size=4, **WIDTHS)
SPADE = SpadeConfig(d_model=4, heads=2, d_ff=4, window=WINDOW, causal=True, s4_state_size=4)
MEGA = MegaConfig(d_model=4, query_size=2, value_size=3, feedforward_size=4, state_size=2, bidirectional=False)
BOAT = SeqBoatConfig(d_model=4, query_size=2, value_size=3, state_size=2, window=WINDOW, bias="local")
LAYERS: dict[str, Config] = {
    "full": SLIDE.replace(attention="full", window=None),
    "both sides": SLIDE.replace(causal=False),
    "sliding window": SLIDE,
    "XL": SLIDE.replace(attention="xl"),
    "clipped distances": SLIDE.replace(positions="simple", max_distance=16),
    "block_recurrent": BlockRecurrentConfig(window=WINDOW, states=2, **WIDTHS),
    "block_state": STATE,
    "block_state, own window": STATE.replace(attend_previous_window=False, attend_start=False),
    "spade": SPADE,
    "spade, chunks": SPADE.replace(attention="chunk"),
    "mega, whole": MEGA.replace(bias="simple"),
    "mega, chunks": MEGA.replace(bias="simple", chunk_size=WINDOW),
    "seqboat": BOAT,
}


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 1), (4, 7), (8, 8)])
def test_diagonals_are_what_indexing_by_distance_gives(shape):
    """Values and gradients, with a batch axis, against the plain index."""
    queries, keys = shape
    rng = np.random.default_rng(0)
    values, weights = rng.standard_normal((2, queries + keys - 1)), rng.standard_normal((2, queries, keys))
    index = np.arange(keys) - np.arange(queries)[:, None] + queries - 1
    summed = np.zeros_like(values)
    np.add.at(summed, (slice(None), index), weights)

    given = torch.tensor(values, requires_grad=True)
    found = torch_diagonals(given, queries)
    found.backward(torch.tensor(weights))
    assert np.array_equal(found.detach().numpy(), values[:, index])
    assert given.grad is not None
    assert np.allclose(given.grad.numpy(), summed)

    with jax.enable_x64(True):
        made, back = jax.vjp(lambda x: jax_diagonals(x, queries), jax.numpy.asarray(values))
        (gradient,) = back(jax.numpy.asarray(weights))
        assert np.array_equal(np.asarray(made), values[:, index])
        assert np.allclose(np.asarray(gradient), summed)


def jax_additions(config: Any) -> Iterator[int]:
    """How many numbers each scatter of the layer's gradient adds to something."""
    layer = catalog.layer_class(config.architecture, "jax")(config, Keys(0))
    graph, trained, rest = nnx.split(layer, nnx.Param, ...)
    x = jax.numpy.ones((1, LENGTH, config.d_model), "float32")

    def loss(trained):
        return nnx.merge(graph, trained, rest)(x)[0].sum()

    def scatters(program):
        for equation in program.eqns:
            if equation.primitive.name.startswith("scatter-add"):
                yield math.prod(equation.invars[2].aval.shape)
            for inner in programs_within(equation.params):
                yield from scatters(inner)

    yield from scatters(jax.make_jaxpr(jax.grad(loss))(trained).jaxpr)


def torch_additions(config: Any) -> Iterator[int]:
    """The same for the operations that PyTorch's gradient runs."""
    found = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            name = func.__name__.split(".")[0]
            if name in ("index_put", "index_put_", "_index_put_impl_"):
                found.append(args[2].numel())
            if name in ("index_add", "index_add_", "scatter_add", "scatter_add_", "embedding_dense_backward"):
                found.append(args[0 if name.startswith("embedding") else 3].numel())
            return func(*args, **(kwargs or {}))

    layer = catalog.layer_class(config.architecture, "torch")(config, Keys(0))
    y = layer(torch.ones(1, LENGTH, config.d_model))[0].sum()
    with Watch():
        y.backward()
    yield from found


ADDITIONS = {"jax": jax_additions, "torch": torch_additions}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("framework", ADDITIONS)
def test_the_gradient_of_a_bias_is_not_added_up_one_query_and_key_at_a_time(framework, name):
    """What an indexed table would be given: a number per head, query and key for each of its few entries."""
    config: Any = LAYERS[name]
    side = LENGTH if name in ("full", "mega, whole") else WINDOW
    assert max(ADDITIONS[framework](config), default=0) <= getattr(config, "heads", 1) * side * side // 2
