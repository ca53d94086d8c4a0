"""Products in bfloat16: near float32, and nothing but the products changes its dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from model_twins import build, call, make, numpy

from implementations.block_recurrent.config import BlockRecurrentConfig
from implementations.block_state.config import BlockStateConfig
from implementations.catalog import FRAMEWORKS
from implementations.common import jax as common_jax
from implementations.common import torch as common_torch
from implementations.common.config import ConfigError
from implementations.ema.config import EMAConfig
from implementations.mega.config import MegaConfig
from implementations.models.config import LanguageModelConfig
from implementations.s4.config import S4Config
from implementations.s5.config import S5Config
from implementations.seqboat.config import SeqBoatConfig
from implementations.spade.config import SpadeConfig
from implementations.transformer.config import TransformerConfig
from suite.equivalence.jax import quick

S5 = S5Config(d_model=8, ssm_size=8, dt_min=0.01, dt_max=0.3)
WINDOW = TransformerConfig(
    d_model=8, heads=2, head_width=4, d_ff=16, causal=True, attention="window", window=4, positions="t5"
)
CONFIG = LanguageModelConfig(WINDOW, 3, "tokens", 11, placed=((1, S5),), final_norm="rms", scale_logits=True)
TOKENS = np.random.default_rng(0).integers(0, 11, (2, 9))


def leaves(state):
    return [leaf for child in state.values() for leaf in leaves(child)] if isinstance(state, dict) else [state]


def gradients(framework, config):
    """The gradients of the summed losses by path, float32."""
    model = build(framework, config, "float32")
    given = make(framework, TOKENS), make(framework, np.roll(TOKENS, 1, 1))
    if framework == "torch":
        value = model.losses(*given, training=True)[0].sum()
        found = torch.autograd.grad(value, list(model.parameters()))
        return {name: numpy(g) for (name, _), g in zip(model.named_parameters(), found, strict=True)}
    graph, state = nnx.split(model)

    def loss(state):
        return nnx.merge(graph, state).losses(*given, training=True)[0].sum()

    found = jax.jit(jax.grad(loss), compiler_options=quick())(state)
    return {".".join(map(str, path)): numpy(v[...]) for path, v in nnx.to_flat_state(found)}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_outputs_are_near_and_everything_that_is_kept_stays_float32(framework):
    (exact, _), (found, state) = (
        call(build(framework, CONFIG.replace(compute_dtype=dtype), "float32"), "__call__", TOKENS)
        for dtype in ("float32", "bfloat16")
    )
    error = np.abs(found - exact).max() / np.abs(exact).max()
    assert 1e-4 < error < 3e-2, error
    assert found.dtype == np.float32
    assert {leaf.dtype.name for leaf in leaves(state)} == {"float32", "bool"}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_gradients_are_finite_float32_and_near(framework):
    exact, found, again = (
        gradients(framework, CONFIG.replace(**changes))
        for changes in ({}, {"compute_dtype": "bfloat16"}, {"compute_dtype": "bfloat16", "checkpoint": True})
    )
    for path, gradient in found.items():
        assert gradient.dtype == np.float32
        assert np.isfinite(gradient).all()
        assert np.abs(gradient - exact[path]).max() <= 0.1 * max(np.abs(exact[path]).max(), 0.1), path
        np.testing.assert_allclose(again[path], gradient, rtol=0, atol=2e-2 * np.abs(gradient).max(), err_msg=path)
    assert any((found[path] != exact[path]).any() for path in found)


def test_a_compiled_program_rounds_like_the_twin():
    """Operands and results of products, and those of their gradients: XLA leaves out conversions there and back."""
    rng = np.random.default_rng(0)
    x, k, last = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 64), (64, 32), (32, 8)))

    def chain(common, x, k, last):
        with common.compute_dtype("bfloat16"):
            h = common.product("ld,de->le", x, k)
            return common.product("ld,de->le", abs(h), last).sum()

    mine = jax.jit(jax.value_and_grad(lambda *given: chain(common_jax, *given), (0, 1, 2)))(x, k, last)
    given = [torch.tensor(value, requires_grad=True) for value in (x, k, last)]
    theirs = chain(common_torch, *given)
    theirs.backward()
    np.testing.assert_allclose(mine[0], theirs.item(), rtol=1e-5)
    for gradient, leaf in zip(mine[1], given, strict=True):
        # Sums in another order can lie on the other side of a bound between two values of bfloat16.
        assert (np.abs(gradient - numpy(leaf.grad)) > 1e-6 * np.abs(gradient)).mean() < 0.02


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("layer", [S5.replace(activation="gelu"), EMAConfig(d_model=8)], ids=["S5", "EMA"])
def test_recurrences_do_not_change_at_all(framework, layer):
    config = CONFIG.replace(layer=layer, placed=(), depth=2)
    (exact, before), (found, after) = (
        call(build(framework, config.replace(compute_dtype=dtype), "float32"), "__call__", TOKENS)
        for dtype in ("float32", "bfloat16")
    )
    np.testing.assert_array_equal(found, exact)
    for mine, theirs in zip(leaves(after), leaves(before), strict=True):
        np.testing.assert_array_equal(mine, theirs)


MEGA = CONFIG.replace(layer=MegaConfig(d_model=8, bidirectional=False), placed=(), depth=1)


SEQBOAT = MEGA.replace(layer=SeqBoatConfig(d_model=8, bidirectional=False, window=4, capacities=1))
BLOCK_STATE = MEGA.replace(
    layer=BlockStateConfig(d_model=8, heads=2, head_width=4, d_ff=16, window=4, kernel="s4d", state_size=4)
)


S4 = MEGA.replace(layer=S4Config(d_model=8, state_size=4))
SPADE = MEGA.replace(layer=SpadeConfig(d_model=8, heads=2, d_ff=16, window=4, causal=True, s4_state_size=4))
BLOCK_RECURRENT = MEGA.replace(
    layer=BlockRecurrentConfig(d_model=8, heads=2, head_width=4, d_ff=16, window=4, states=2, buckets=4, max_distance=8)
)


@pytest.mark.parametrize(
    ("config", "rounded"),
    # Linear maps, and two products in each attention: SeqBoat has three and one, Block-State nine and two of it, S4 the
    # one behind it, SPADE seven and one, Block-Recurrent fourteen and four, written once for all windows.
    [(CONFIG, 17), (MEGA, 7), (SEQBOAT, 5), (BLOCK_STATE, 13), (S4, 1), (SPADE, 9), (BLOCK_RECURRENT, 22)],
    ids=["Transformer", "Mega", "SeqBoat", "Block-State", "S4", "SPADE", "Block-Recurrent"],
)
def test_only_linear_maps_and_attention_are_rounded(config, rounded):
    """Every product of matrices in the compiled function with an operand in bfloat16, and the others."""
    graph, state = nnx.split(build("jax", config.replace(compute_dtype="bfloat16"), "float32"))
    given = state, jnp.asarray(TOKENS)
    text = str(jax.make_jaxpr(lambda state, x: nnx.merge(graph, state)(x)[0])(*given))
    kept = jax.eval_shape(lambda state, x: nnx.merge(graph, state)(x)[1], *given)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(kept)} <= {"float32", "bool", "int32"}
    products = [line for line in text.splitlines() if "dot_general" in line]
    low = [line for line in products if "bf16" in line.partition("=")[0]]
    assert len(low) == rounded
    assert len(low) < len(products)
    assert not [line for line in text.splitlines() if "bf16" in line and (" exp " in line or "reduce_sum" in line)]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_fused_attention_is_near_too(framework):
    config = CONFIG.replace(placed=(), depth=1, layer=WINDOW.replace(positions="rotary"))
    exact, found = (
        call(
            build(framework, config.replace(compute_dtype=dtype, layer=config.layer.replace(method=method)), "float32"),
            "__call__",
            TOKENS,
        )[0]
        for dtype, method in (("float32", "einsum"), ("bfloat16", "fused"))
    )
    assert found.dtype == np.float32
    assert 1e-4 < np.abs(found - exact).max() / np.abs(exact).max() < 3e-2


def test_an_unknown_dtype_is_named():
    with pytest.raises(ConfigError, match=r"compute_dtype is 'float16': expected one of 'float32', 'bfloat16'"):
        CONFIG.replace(compute_dtype="float16")
