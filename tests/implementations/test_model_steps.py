"""Training steps of models, compiled: one graph without a break in PyTorch, one trace in JAX, numbers as eager.

In processes of their own: the checks of annotations here break `torch.compile`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMON = """
import json, sys, warnings
import numpy as np
warnings.simplefilter("error")
from implementations.catalog import model_class
from implementations.common.initializers import Keys
from implementations.models.config import EncoderDecoderConfig, LanguageModelConfig
from implementations.s5.config import S5Config
from implementations.transformer.config import TransformerConfig

framework, name = sys.argv[1:]
s5 = S5Config(d_model=8, ssm_size=8, dropout=0.1)
full = TransformerConfig(d_model=8, heads=2, head_width=4, d_ff=16, positions="rotary")
window = full.replace(causal=True, attention="window", window=4, dropout=0.1)
base = {"input_kind": "tokens", "input_size": 11, "checkpoint": True, "compute_dtype": "bfloat16"}
decoder = full.replace(causal=True, d_ff=0, positions="learned", max_length=16)
config = {
    "language model": LanguageModelConfig(
        window, 2, placed=((1, s5),), embedding="adaptive", output="adaptive_tied", cutoffs=(4,), final_norm="rms",
        loss_block=4, **base),
    "encoder-decoder": EncoderDecoderConfig(
        full, 1, decoder_layer=decoder, decoder_depth=1, cross=full.replace(positions="none"), **base),
}[name]
rng = np.random.default_rng(0)
steps = [rng.integers(0, 11, (3, 2, 9)) for _ in range(3)]
model = model_class(config, framework)(config, Keys(0))
"""
TORCH = """
import torch
from torch._dynamo.testing import CompileCounterWithBackend

def loss(inputs, outputs, targets, state, seed):
    if name == "encoder-decoder":
        return model.losses(inputs, outputs, targets, training=True, dropout_seed=seed).sum(), state
    found, state = model.losses(inputs, targets, state, training=True, dropout_seed=seed)
    return found.sum(), state

def train(function):
    state = model.initial_state(2) if name == "language model" else None
    found = []
    for i, arrays in enumerate(steps):
        value, state = function(*map(torch.tensor, arrays), state, torch.tensor(i))
        gradients = torch.autograd.grad(value, list(model.parameters()), allow_unused=True)
        state = torch.utils._pytree.tree_map(lambda leaf: None if leaf is None else leaf.detach(), state)
        found.append([value.item(), *(0.0 if g is None else g.abs().sum().item() for g in gradients)])
    return found

counter = CompileCounterWithBackend("aot_eager")
eager, fast = train(loss), train(torch.compile(loss, backend=counter, fullgraph=True))
print(json.dumps([counter.frame_count, eager, fast]))
"""
JAX = """
import jax, jax.numpy as jnp
from flax import nnx

graph, parameters = nnx.split(model)
traces = 0

def loss(parameters, inputs, outputs, targets, state, seed):
    model = nnx.merge(graph, parameters)
    if name == "encoder-decoder":
        return model.losses(inputs, outputs, targets, training=True, dropout_seed=seed).sum(), state
    found, state = model.losses(inputs, targets, state, training=True, dropout_seed=seed)
    return found.sum(), state

def step(*arguments):
    global traces
    traces += 1
    return jax.value_and_grad(loss, has_aux=True)(*arguments)

def train(function):
    state = model.initial_state(2) if name == "language model" else None
    found = []
    for i, arrays in enumerate(steps):
        (value, state), gradients = function(parameters, *map(jnp.asarray, arrays), state, jnp.uint32(i))
        found.append([float(value), *(float(jnp.abs(g).sum()) for g in jax.tree.leaves(gradients))])
    return found

fast = train(jax.jit(step))
compiled = traces
print(json.dumps([compiled, train(step), fast]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["jax", "torch"])
@pytest.mark.parametrize("name", ["language model", "encoder-decoder"])
def test_a_training_step_is_compiled_once_and_whole(framework, name):
    command = [sys.executable, "-c", COMMON + (JAX if framework == "jax" else TORCH), framework, name]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    count, eager, fast = json.loads(found.stdout.splitlines()[-1])
    assert count == 1
    assert len(eager) == 3
    for mine, theirs in zip(fast, eager, strict=True):
        assert mine[0] == pytest.approx(theirs[0], rel=2e-2)
        assert mine[1:] == pytest.approx(theirs[1:], rel=0.1, abs=0.1)
