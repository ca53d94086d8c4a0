"""Models: published parameter counts in both frameworks, and one clear sentence for inputs that do not fit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from implementations.catalog import FRAMEWORKS, model_class, names
from implementations.common.initializers import Keys
from implementations.models.config import ClassifierConfig
from implementations.parameters import get_parameters
from implementations.s5.config import S5Config
from suite.recipes.s5 import RECIPES

ROOT = Path(__file__).parents[2]

# specs of the authors' run scripts: one-hot inputs of 20, 98 and 1 channels.
COUNTS = {"lra.listops": 188_490, "lra.retrieval": 772_098, "lra.pathx": 694_018, "lra.pathfinder": 1_113_602}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("task", COUNTS)
def test_published_parameter_counts(task, framework):
    config = RECIPES[task]("paper").model
    found = get_parameters(model_class(config, framework)(config, Keys(0)))
    assert sum(value.size for value in found.values()) == COUNTS[task]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_parameter_count_of_speech_commands(framework):
    layer = S5Config(d_model=96, ssm_size=128, blocks=16, bidirectional=True, C_init="lecun_normal", norm="batch")
    config = ClassifierConfig(layer=layer, depth=6, input_kind="values", input_size=1, classes=35)
    found = get_parameters(model_class(config, framework)(config, Keys(0)))
    assert sum(value.size for value in found.values()) == 283_523
    assert sum(value.size for path, value in found.items() if path.startswith("layers")) == 279_936


WRONG = """
import json, sys
import numpy as np
from implementations.catalog import get, layer_class, model_class, names
from implementations.common.config import ConfigError
from implementations.common.initializers import Keys
from implementations.models.config import ClassifierConfig
from implementations.s5.config import S5Config

framework = sys.argv[1]
if framework == "jax":
    import jax.numpy as np_of
    tensor = np_of.asarray
else:
    import torch
    tensor = torch.tensor
layer = S5Config(d_model=4, ssm_size=4)
both = layer.replace(bidirectional=True)
tokens = ClassifierConfig(layer, 1, "tokens", 5, 3)
values = ClassifierConfig(layer, 1, "values", 5, 3)

def model(config, inputs, *others):
    return model_class(config, framework)(config, Keys(0))(tensor(inputs), *others)

def masked(name, mask):
    config = get(name).config.of_width(16)
    return layer_class(name, framework)(config, Keys(0))(tensor(np.zeros((2, 3, 16), f)), mask=tensor(mask))

def streamed(name, spoil=lambda state: state):
    config = get(name).config
    config = config.of_width(16, **config.of_width(16).streaming)
    layer = layer_class(name, framework)(config, Keys(0))
    return layer(tensor(np.zeros((2, 3, 16), f)), spoil(layer.initial_state(3)))

def call(config, *arguments, **named):
    given = [tensor(a) for a in arguments]
    return layer_class("s5", framework)(config, Keys(0))(*given, **named)

f = np.float32
x, state, steps = np.zeros((2, 3, 4), f), np.zeros((2, 2, 2), f), tensor(np.ones((2, 3), f))
found = {}
for name, wrong in {
    "layer width": lambda: call(layer, np.zeros((2, 3, 5), f)),
    "layer axes": lambda: call(layer, np.zeros((3, 4), f)),
    "state": lambda: call(both, x, state),
    "scan": lambda: call(layer, x, scan="fft"),
    "steps": lambda: call(layer, x, timesteps=steps, scan="chunked"),
    **{f"mask of {name}": lambda name=name: masked(name, np.ones((2, 4), bool)) for name in names()},
    **{f"state of {name}": lambda name=name: streamed(name) for name in names()},
    "state keys": lambda: streamed("transformer", lambda state: {"keys": state["keys"], "value": state["values"]}),
    "state kind": lambda: streamed("transformer", lambda state: list(state.values())),
    "state leaf": lambda: streamed("transformer", lambda state: {**state, "keys": None}),
    "mask kind": lambda: masked("s5", np.ones((2, 3), f)),
    "lengths": lambda: model(tokens, np.zeros((2, 3), np.int32), tensor(np.ones(3, np.int32))),
    "tokens axes": lambda: model(tokens, np.zeros((2, 3, 1), np.int32)),
    "tokens kind": lambda: model(tokens, np.zeros((2, 3), f)),
    "values axes": lambda: model(values, np.zeros((2, 3), f)),
    "values width": lambda: model(values, np.zeros((2, 3, 4), f)),
}.items():
    try:
        wrong()
    except ConfigError as error:
        found[name] = str(error)
print(json.dumps(found))
"""

STATES = {
    "s5": ("", "32, 2"),
    "s4": ("", "16, 32, 2"),
    "s4d": ("", "16, 32, 2"),
    "ema": ("", "16, 16"),
    "mega": ("['ema']", "16, 16"),
    "seqboat": ("['mixer']", "16, 16"),
    "transformer": ("['keys']", "0, 4, 32"),
    "spade": ("['s4']", "16, 32, 2"),
    "spade_stack": ("['layer0_s4']", "16, 32, 2"),
    "block_recurrent": ("['keys']", "128, 4, 32"),
    "block_recurrent_feedback": ("['layers']['0']['keys']", "64, 4, 32"),
    "block_state": ("['keys']", "64, 4, 32"),
}
"""The first leaf of every layer's state, and its shape behind the batch."""
MESSAGES = {
    "layer width": "x has shape (2, 3, 5): expected (B, L, D) with L at least 1 and D = d_model = 4",
    "layer axes": "x has shape (3, 4): expected (B, L, D) with L at least 1 and D = d_model = 4",
    "state": "S5Config.bidirectional is True: a layer that cannot stream takes no state; it streams with "
    "bidirectional=False",
    "scan": "scan method is 'fft': expected one of 'auto', 'associative', 'chunked', 'convolution', 'kernel'",
    "steps": "scan method is 'chunked': coefficients that change with the position need 'associative' or 'auto'",
    **{f"mask of {name}": "mask has shape (2, 4) of {bool}: expected booleans (B, L) = (2, 3)" for name in names()},
    **{
        f"state of {name}": f"state{leaf} has shape (3, {shape}): expected (2, {shape}), as `initial_state` makes it"
        for name, (leaf, shape) in STATES.items()
    },
    "state keys": "state has keys, value: expected a dictionary with keys, values, valid, as `initial_state` makes it",
    "state kind": "state is of list: expected a dictionary with keys, values, valid, as `initial_state` makes it",
    "state leaf": "state['keys'] is of NoneType: expected an array, as `initial_state` makes it",
    "mask kind": "mask has shape (2, 3) of {float32}: expected booleans (B, L) = (2, 3)",
    "lengths": "mask has shape (3, 3) of {bool}: expected booleans (B, L) = (2, 3)",
    "tokens axes": "inputs have shape (2, 3, 1) of {int32}: expected (B, L) integer tokens",
    "tokens kind": "inputs have shape (2, 3) of {float32}: expected (B, L) integer tokens",
    "values axes": "inputs have shape (2, 3): expected (B, L, 5) values",
    "values width": "inputs have shape (2, 3, 4): expected (B, L, 5) values",
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_wrong_inputs_are_one_sentence(framework):
    """In a process of its own: here the annotations would speak first."""
    command = [sys.executable, "-c", WRONG, framework]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    prefix = "torch." if framework == "torch" else ""
    kinds = {kind: f"{prefix}{kind}" for kind in ("int32", "float32", "bool")}
    expected = {name: message.format(**kinds) for name, message in MESSAGES.items()}
    assert json.loads(found.stdout) == expected


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_annotations_are_checked_here(framework):
    import importlib

    import jaxtyping
    import numpy as np

    module = importlib.import_module(f"implementations.common.{framework}")
    reference = importlib.import_module("implementations.ops.scan.reference")
    linear = module.Linear(2, 3, Keys(0))
    with pytest.raises(jaxtyping.TypeCheckError):
        linear(np.zeros((4, 2), np.float32))
    with pytest.raises(jaxtyping.TypeCheckError):
        reference.linear_recurrence(np.zeros((1, 3, 2)), np.zeros((1, 4, 2)))
