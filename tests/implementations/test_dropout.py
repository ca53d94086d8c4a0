"""Dropout in the layers: every one that is there drops, the same ones in both frameworks."""

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest
from test_layer_contract import MEGA, SPADE, STREAMING, layer, make

from implementations.common.config import Config

LENGTH = 7


def dropping(config: Any) -> Any:
    """The config with every dropout that its layer takes, those of its parts included."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Config):
            changes[field.name] = dropping(value)
        elif field.name.endswith("dropout") and isinstance(value, float):
            plain = config.architecture == "spade" and config.attention != "mega"
            changes[field.name] = 0.0 if plain and field.name == "attention_dropout" else 0.25
    return config.replace(**changes)


CONFIGS = {name: dropping(config) for name, config in STREAMING.items()}
CONFIGS["spade, mega"] = dropping(SPADE.replace(attention="mega", mega_query_size=2, mega_value_size=3))
CONFIGS["mega, both sides"] = dropping(MEGA.replace(bidirectional=True, chunk_size=None))
CONFIGS["seqboat, both sides"] = CONFIGS["seqboat"].replace(bidirectional=True)
CONFIGS = {name: config for name, config in CONFIGS.items() if config != STREAMING.get(name)}


def drawn(monkeypatch: pytest.MonkeyPatch, framework: str, found: Any) -> set[int]:
    """The sites for which a layer draws words in training."""
    sites: set[int] = set()
    common = importlib.import_module(f"implementations.common.{framework}")
    name = "random_words" if framework == "jax" else "words_at"
    draw = getattr(common, name)

    def recorded(seed: Any, site: int, *given: Any) -> Any:
        sites.add(site)
        return draw(seed, site, *given)

    monkeypatch.setattr(common, name, recorded)
    x = make(framework, np.ones((2, LENGTH, 4), np.float32))
    if framework == "jax":
        cell = importlib.import_module("implementations.block_recurrent.cell.jax")
        monkeypatch.setattr(cell, name, recorded)
        importlib.import_module("jax").eval_shape(lambda x: found(x, training=True, dropout_seed=7)[0], x)
    else:
        found(x, training=True, dropout_seed=7)
    return sites


@pytest.mark.parametrize("name", [name for name in CONFIGS if "," not in name or "both" in name or "SH" in name])
def test_every_dropout_is_drawn_and_alike_in_both_frameworks(monkeypatch, name):
    found = layer("torch", CONFIGS[name])
    sites = drawn(monkeypatch, "torch", found)
    assert sites == {part.site for part in found.modules() if getattr(part, "rate", 0)}
    assert sites == drawn(monkeypatch, "jax", layer("jax", CONFIGS[name]))


@pytest.mark.parametrize("name", [name for name in CONFIGS if "both" not in name])
def test_more_positions_leave_what_is_dropped_of_the_others_alone(name):
    """Which is so only where every mask is laid over the axes that it was drawn for."""
    found = layer("torch", CONFIGS[name])
    x = make("torch", np.random.default_rng(0).standard_normal((2, 2 * LENGTH, 4)).astype(np.float32))
    whole, part = (found(u, training=True, dropout_seed=7)[0].detach() for u in (x, x[:, :LENGTH]))
    np.testing.assert_allclose(whole[:, :LENGTH], part, rtol=0, atol=1e-5)
