"""The catalog: names, twins, and one clear sentence where a framework or a name is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from implementations import catalog
from implementations.common.config import Config
from implementations.common.initializers import Keys
from implementations.models.config import ClassifierConfig, DualEncoderConfig
from implementations.s5.config import S5Config

ROOT = Path(__file__).parents[2]


def test_every_architecture_has_a_room_with_both_twins():
    assert catalog.names()
    for name in catalog.names():
        architecture = catalog.get(name)
        assert issubclass(architecture.config, Config)
        assert architecture.config.architecture == name
        assert architecture.paper.startswith("arXiv:")
        twins = [catalog.layer_class(name, framework) for framework in catalog.FRAMEWORKS]
        assert {twin.__name__ for twin in twins} == {architecture.layer}
        assert [twin.__module__ for twin in twins] == [f"{architecture.room}.{f}" for f in catalog.FRAMEWORKS]


def test_models_by_their_configs():
    given = {"layer": S5Config(d_model=2, ssm_size=2), "depth": 1, "input_kind": "tokens", "input_size": 2}
    for cls, name in ((ClassifierConfig, "Classifier"), (DualEncoderConfig, "DualEncoder")):
        config = cls(classes=2, **given)
        for framework in catalog.FRAMEWORKS:
            model = catalog.model_class(config, framework)(config, Keys(0))
            assert type(model).__name__ == name
            assert type(model).__module__ == f"implementations.models.{framework}"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: catalog.get("S5"), "unknown architecture 'S5': "),
        (lambda: catalog.get("s5x"), "unknown architecture 's5x': did you mean 's5'[?] known: "),
        (lambda: catalog.layer_class("s5", "pytorch"), "unknown framework 'pytorch': did you mean 'torch'"),
        (lambda: catalog.layer_class("s5", "tensorflow"), "unknown framework 'tensorflow': known: jax, torch"),
        (lambda: catalog.require_framework("jaxx"), "unknown framework 'jaxx': did you mean 'jax'"),
    ],
)
def test_unknown_names(call, message):
    with pytest.raises(catalog.UnknownName, match=f"^{message}") as caught:
        call()
    assert isinstance(caught.value, KeyError)


HIDDEN = """
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec
PathFinder.find_spec = lambda name, *more: None if name.partition(".")[0] == {hidden!r} else find_spec(name, *more)

from implementations import catalog
from implementations.common.initializers import Keys
from implementations.models.config import ClassifierConfig
from implementations.s5.config import S5Config

config = ClassifierConfig(S5Config(d_model=2, ssm_size=2), 1, "tokens", 2, 2)
catalog.model_class(config, {present!r})(config, Keys(0))
for call in (lambda: catalog.layer_class("s5", {missing!r}), lambda: catalog.model_class(config, {missing!r})):
    try:
        call()
    except catalog.MissingFramework as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("missing", "present", "hidden"), [("jax", "torch", "jax"), ("jax", "torch", "flax"), ("torch", "jax", "torch")]
)
def test_a_missing_framework_names_its_extra_and_leaves_the_other_alone(missing, present, hidden):
    script = HIDDEN.format(hidden=hidden, present=present, missing=missing)
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    sentence = f"{hidden} is not installed; the {missing} twins need it: pip install 'longseq-bench[{missing}]'"
    assert found.stdout.splitlines() == [sentence] * 2
