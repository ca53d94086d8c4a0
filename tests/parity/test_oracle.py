"""Every room against its own oracle in NumPy, in each framework: one small case a variant, padded, behind a state.

The ladders climb higher and are run by a session of their own; what they would find first is found here in seconds.
"""

import importlib
from typing import Any

import numpy as np
import pytest

from implementations import catalog
from implementations.block_recurrent.config import BlockRecurrentConfig, FeedbackConfig
from implementations.block_state.config import BlockStateConfig
from implementations.ema.config import EMAConfig
from implementations.mega.config import MegaConfig
from implementations.parameters import get_parameters, get_statistics
from implementations.s4.config import S4Config, S4DConfig
from implementations.seqboat.config import SeqBoatConfig
from implementations.spade.config import SpadeConfig, SpadeStackConfig
from implementations.transformer.config import TransformerConfig
from suite.equivalence.cases import draw_state, flatten, nest

D: dict[str, Any] = {"d_model": 4}
HEADS: dict[str, Any] = {**D, "heads": 2, "head_width": 2, "d_ff": 5}
STEPS: dict[str, Any] = {"dt_min": 0.1, "dt_max": 0.5}
MEGA = MegaConfig(**D, query_size=4, value_size=3, feedforward_size=5, state_size=2, max_positions=40)
BOAT = SeqBoatConfig(**D, query_size=4, value_size=3, state_size=4, window=3, max_positions=6, capacities=1)
STATE = BlockStateConfig(**HEADS, **STEPS, window=3, state_size=4, filter_length=6, context_states=2, max_distance=20)
RECURRENT = BlockRecurrentConfig(**HEADS, window=3, states=2, buckets=4, max_distance=8)
SPADE = SpadeConfig(**D, heads=2, d_ff=5, window=3, s4_state_size=4, s4_dt_min=0.1, s4_dt_max=0.5)
UPPER = SPADE.replace(causal=True, global_branch=False, attention="chunk", neighbours=True)
CONFIGS: dict[str, Any] = {
    "s4": S4Config(**D, **STEPS, state_size=4, bidirectional=True, channels=2),
    "s4, causal": S4Config(**D, **STEPS, state_size=4, truncated_length=16, norm="batch", output="linear", n_ssm=2),
    "s4d": S4DConfig(**D, **STEPS, state_size=4, bidirectional=True, reverse_offset=0, initialization="lin"),
    "ema": EMAConfig(**D, state_size=2, bidirectional=True, truncation=3, activation="silu"),
    "mega": MEGA.replace(attention="laplace", norm="batch", prenorm=True),
    "mega, chunks": MEGA.replace(attention="relu2", bias="rotary", bidirectional=False, chunk_size=4),
    "mega, long chunks": MEGA.replace(attention="relu2", bidirectional=False, chunk_size=9),
    "mega, whole": MEGA.replace(attention="relu2", bidirectional=False),
    "mega, softmax": MEGA.replace(bidirectional=False),
    "transformer": TransformerConfig(**HEADS, attention="window", window=3, positions="t5", max_distance=20),
    "transformer, xl": TransformerConfig(
        **HEADS, attention="xl", window=3, causal=True, positions="simple", qk_norm=True, attend_start=True
    ),
    "transformer, full": TransformerConfig(**HEADS, causal=True, positions="rotary", prenorm=False),
    "block_state, SH": STATE.replace(kernel="unstructured"),
    "block_state, MF": STATE.replace(variant="MF", attend_previous_window=False, attend_start=False),
    "block_state, MH": STATE.replace(variant="MH", include_self=True, qk_norm=False),
    "block_recurrent, skip": RECURRENT.replace(read_previous=False, qk_norm=False),
    "block_recurrent": RECURRENT.replace(gate="lstm", configuration="dual", tanh="lstm", z_bias=True),
    "block_recurrent_feedback": FeedbackConfig(recurrent=RECURRENT, depth=2, recurrent_layers=(1,)),
    "spade": SPADE.replace(attention="mega", mega_query_size=4, mega_value_size=3, s4_output="glu"),
    "spade, add": SPADE.replace(combine="add", combine_weight=0.3, causal=True, attention="chunk"),
    "spade, stack": SPADE.replace(combine="stack", s4_output="linear", prenorm=False),
    "spade_stack": SpadeStackConfig(bottom=SPADE.replace(causal=True), upper=UPPER, share_bias=False),
    "seqboat": BOAT.replace(attention="laplace", norm="scale"),
    "seqboat, causal": BOAT.replace(window=None, bidirectional=False, attention="relu2", bias="rotary"),
    "seqboat, s4d": BOAT.replace(mixer="s4d", bidirectional=False, bias="local"),
}
COMPILED = [name for name in CONFIGS if "," not in name] + [
    *("s4, causal", "mega, chunks", "mega, long chunks", "mega, whole", "transformer, xl", "transformer, full"),
    *("block_state, SH", "block_state, MF", "spade, add", "seqboat, causal", "seqboat, s4d"),
]
"""What JAX runs too: a variant of every room, and those whose state, bias or counting no other one has."""
MASK = np.arange(7) < np.array([7, 4, 0])[:, None]


def test_every_room_is_here():
    for names in (CONFIGS, COMPILED):
        assert {CONFIGS[name].architecture for name in names} == set(catalog.names()) - {"s5"}


@pytest.mark.parametrize(
    ("framework", "name"),
    [("torch", name) for name in CONFIGS] + [("jax", name) for name in COMPILED],
)
def test_a_padded_segment_behind_a_state(framework, name):
    """JAX, which compiles, leaves some variants out: that the twins agree on these is held elsewhere."""
    config = CONFIGS[name]
    found = importlib.import_module(f"suite.equivalence.{framework}").Twin.layer(config, 3, "float64")
    rng = np.random.default_rng(1)
    moved = {
        path: value + 0.2 * rng.standard_normal(value.shape) for path, value in get_parameters(found.module).items()
    }
    statistics = {path: rng.uniform(0.5, 1.5, s.shape) for path, s in get_statistics(found.module).items()}
    found.set(moved, statistics)
    arrays = {"x": rng.standard_normal((3, 7, 4)), "mask": MASK}
    if config.causal:
        arrays |= draw_state(config, rng, 3)
    outputs = found.call(arrays).outputs
    given = {"statistics": statistics or None, **nest(arrays)}
    y, state = importlib.import_module(f"{catalog.get(config.architecture).room}.reference").layer(
        config, moved, **given
    )
    np.testing.assert_allclose(outputs.pop("y")[MASK], y[MASK], rtol=0, atol=1e-9)
    expected = flatten(state, "state")
    assert outputs.keys() == expected.keys()
    for path, leaf in expected.items():
        np.testing.assert_allclose(outputs[path], leaf, rtol=0, atol=1e-9, err_msg=path)
