"""Layer speed: what is selected, who has its turn when, and what is not timed."""

import dataclasses
import importlib
import json

import numpy as np
import pytest

from implementations.common.config import ConfigError
from implementations.ema.config import EMAConfig
from implementations.ops.attention import METHODS
from reports import records, speed
from suite.hardware.profiles import PROFILES
from suite.launch import result
from suite.matrix import Cell, Selection, cells
from suite.speed import measure
from suite.speed.config import (
    MODES,
    SpeedSettings,
    block_transformers,
    layer_speed,
    listed,
    recurrent_transformers,
    seqboat_activity,
    window_kernels,
)
from suite.speed.program import Program

LAYER = EMAConfig(d_model=4, state_size=2)
TINY = SpeedSettings(layers={"first": LAYER, "second": LAYER}, shortest=4, longest=16, rounds=2, block_seconds=1e-9)


class Exhausted(Exception):
    """What the device of these tests raises when a layer asks for too much."""


@dataclasses.dataclass
class Bench:
    """A layer that notes its calls and runs out of memory beyond `most` positions."""

    name: str
    calls: list[str]
    most: int = 1_000
    wrong: float = 0.0

    def __post_init__(self):
        from implementations import parameters
        from implementations.common.initializers import Keys
        from implementations.ema.torch import MultiHeadEMA

        self.layer = MultiHeadEMA(LAYER, Keys(0))
        self.values = parameters.get_parameters(self.layer)

    def place(self, x):
        return x

    def outputs(self, x):
        import torch

        return self.layer(torch.from_numpy(x))[0].detach().numpy() + self.wrong

    def activity(self, x):
        return 0.25

    def program(self, mode, x):
        if x.shape[1] > self.most:
            raise Exhausted("no room")
        return Program(lambda: self.calls.append(self.name), 1.5, 10, 2e6, 4e6, False)

    def wait(self, results):
        self.calls.append("|")


def measured(first=None, second=None, settings=TINY, stop=lambda: None):
    calls: list[str] = []
    made = iter([Bench("a", calls, **(first or {})), Bench("b", calls, **(second or {}))])
    return calls, measure.measure(
        settings,
        lambda config: next(made),
        lambda e: isinstance(e, Exhausted),
        PROFILES["h200"],
        lambda line: None,
        stop,
    )


def test_a_selection_has_a_cell_for_every_architecture_and_framework():
    found = cells(Selection(tasks=("speed.layer",)))
    assert {cell.architecture for cell in found} == set(listed()) - {"transformer"}
    assert all(cell.alone and cell.recipe is None and "Slide" in cell.settings["layers"] for cell in found)
    again = [Cell.from_dict(json.loads(json.dumps(cell.to_dict()))) for cell in found]
    assert [cell.id for cell in again] == [cell.id for cell in found]
    assert len({cell.id for cell in found}) == len(found)
    longer = cells(Selection(tasks=("speed.layer",), overrides=("longest=1024",)))
    assert not {cell.id for cell in longer} & {cell.id for cell in found}


def test_the_figure_of_the_block_state_paper_is_a_preset():
    settings = block_transformers("block_state", "paper")
    assert settings is not None
    assert list(settings.layers) == ["Slide", "BRECT", "BST:SH:S4", "BST:MH:S4", "BST:MF:S4"]
    assert (settings.lengths[0], settings.lengths[-1], settings.d_model) == (512, 65_536, 512)
    for layer in settings.layers.values():
        assert (layer.window, layer.heads) == (128, 16)
    assert settings.layers["BST:SH:S4"].state_size == 16
    assert SpeedSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert layer_speed("transformer", "paper") is None


@pytest.mark.parametrize(("profile", "width", "window"), [("paper", 1024, 512), ("smoke", 64, 32)])
def test_the_layers_of_the_block_recurrent_paper_are_a_preset(profile, width, window):
    settings = recurrent_transformers("block_recurrent", profile)
    assert settings is not None
    layers = settings.layers
    assert {name: layer.window // window for name, layer in layers.items()} == {
        "Slide": 1, "XL:512": 1, "XL:2048": 4, "BRECT": 1
    }  # fmt: skip
    assert [layer.attention for layer in list(layers.values())[:3]] == ["window", "xl", "xl"]
    assert (settings.d_model, layers["BRECT"].states) == (width, window)
    assert {layer.dropout for layer in layers.values()} == {0.0}
    assert recurrent_transformers("block_state", "paper") is None


def test_every_kernel_of_the_window_is_timed_on_one_layer():
    settings = window_kernels("transformer", "paper")
    assert settings is not None
    assert {name: layer.method for name, layer in settings.layers.items()} == {n: n for n in METHODS if n != "auto"}
    assert len({layer.replace(method="auto") for layer in settings.layers.values()}) == 1
    assert window_kernels("mega", "smoke") is None


def test_the_window_is_recorded_where_the_layer_beside_it_can_be():
    names = [name for name in listed() if name != "transformer"]
    recorded = {name: settings.recorded for name in names if (settings := layer_speed(name, "paper")) is not None}
    assert recorded == {name: name != "seqboat" for name in names}


def test_a_program_in_jax_also_gives_the_state_after_the_segment():
    bench = importlib.import_module("suite.speed.jax").Bench(LAYER, "cpu", "float32")
    x = bench.place(measure.draw(2, 5, 4))
    _, state = bench.layer(x)
    for mode in MODES:
        _, after = bench.program(mode, x).run()
        assert after.shape == state.shape
        assert mode == "streaming step" or np.allclose(after, state, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", listed())
def test_no_gradient_moves_more_bytes_per_position_of_a_longer_input(name):
    bench = importlib.import_module("suite.speed.torch").Bench(listed()[name](16, 2, 8), "cpu", "float32")
    moved = [
        bench.program("forward and backward", bench.place(measure.draw(1, length, 16))).traffic / length
        for length in (128, 256)
    ]
    assert moved[1] < 1.01 * moved[0]  # S4's filters, of one length each, take less


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_seqboat_is_timed_with_fewer_and_fewer_active_tokens(framework):
    settings = seqboat_activity("seqboat", "smoke")
    assert settings is not None
    twin = importlib.import_module(f"suite.speed.{framework}")
    x, shares = measure.draw(1, 512, settings.d_model), []
    for config in settings.layers.values():
        bench = twin.Bench(config, "cpu", "float32")
        shares.append(bench.activity(bench.place(x)))
    assert shares[0] is None
    assert not settings.recorded
    np.testing.assert_allclose(shares[1:], [0.75, 0.50, 0.25, 0.10], atol=0.04)
    assert seqboat_activity("mega", "smoke") is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"modes": ("sideways",)}, "modes"),
        ({"longest": 2}, "longest"),
        ({"rounds": 0}, "rounds"),
        ({"layers": {}}, "layers"),
        ({"layers": {"a": LAYER, "b": LAYER.replace(d_model=8)}}, "d_model"),
    ],
)
def test_wrong_settings_are_named(change, named):
    with pytest.raises(ConfigError, match=named):
        TINY.replace(**change)


def test_layers_take_turns_and_every_turn_waits():
    calls, (gates, rows, stopped) = measured(settings=TINY.replace(longest=4, modes=("forward",)))
    preparation, warm_up, rounds = "a|b|", "aaa|a|" + "bbb|b|", "a|b|" * 2
    assert "".join(calls) == preparation + warm_up + rounds
    assert not stopped
    assert all(gate["passed"] for gate in gates)
    assert [(row["layer"], row["status"]) for row in rows] == [("first", "measured"), ("second", "measured")]
    assert rows[0]["active_share"] == 0.25
    assert rows[0]["ratio_to_first"] == 1.0
    assert rows[0]["ms_p20"] <= rows[0]["ms_p50"] <= rows[0]["ms_p80"]
    assert rows[0]["roofline_share"] == pytest.approx(4e6 / 4.8e12 / (rows[0]["ms_p50"] / 1e3))


def test_a_layer_that_fails_the_gate_is_not_timed_and_fails_the_cell():
    _, (gates, rows, stopped) = measured(second={"wrong": 1e-2})
    assert [gate["passed"] for gate in gates] == [True, False]
    assert {row["layer"] for row in rows} == {"first"}
    cell = dataclasses.replace(cells(Selection(tasks=("speed.s5",)))[0], settings=TINY.to_dict())
    record = result.speed(cell, gates, rows, stopped, {})
    assert record.status == "failed"
    assert "second" in record.reason


def test_out_of_memory_ends_a_layer_and_not_the_others():
    _, (_, rows, _) = measured(second={"most": 4}, settings=TINY.replace(modes=("forward",)))
    status = {(row["layer"], row["length"]): row["status"] for row in rows}
    assert status["second", 8] == "out of memory"
    assert status["second", 16] == "not tried: out of memory"
    assert status["first", 16] == "measured"
    assert next(row for row in rows if row["status"] == "out of memory")["ms_p50"] is None


def test_other_errors_are_not_taken_for_memory():
    calls: list[str] = []

    def broken(config):
        bench = Bench("a", calls)
        bench.place = lambda x: 1 / 0
        bench.outputs = lambda x: Bench("b", calls).outputs(x)
        return bench

    with pytest.raises(ZeroDivisionError):
        measure.measure(TINY, broken, lambda e: isinstance(e, Exhausted), PROFILES["cpu"], lambda line: None)


def test_an_error_keeps_what_was_timed():
    said: list[str] = []

    class Broken(Bench):
        def program(self, mode, x):
            if mode == "forward and backward":
                raise RuntimeError("no recording of it")
            return super().program(mode, x)

    calls: list[str] = []
    settings = TINY.replace(modes=("forward", "forward and backward"))
    _, rows, reason = measure.measure(
        settings, lambda config: Broken("a", calls), lambda e: False, PROFILES["cpu"], said.append
    )
    assert {(row["mode"], row["length"]) for row in rows} == {("forward", 4), ("forward", 8), ("forward", 16)}
    assert reason == "forward and backward at 4 positions failed: RuntimeError: no recording of it"
    assert any("Traceback" in line for line in said)


def test_a_stop_keeps_what_was_timed_and_is_no_measured_record():
    reasons = iter([None, None, "stopped by the time limit"])
    _, (gates, rows, stopped) = measured(stop=lambda: next(reasons))
    assert {row["length"] for row in rows} == {4, 8}
    cell = dataclasses.replace(cells(Selection(tasks=("speed.s5",)))[0], settings=TINY.to_dict())
    record = result.speed(cell, gates, rows, stopped, {})
    assert (record.status, record.reason) == ("failed", "stopped by the time limit")
    assert record.tables["layer_speed"] == rows


def test_growth_is_the_exponent_of_the_longest_lengths():
    rows = [
        {"mode": "forward", "layer": "x", "length": n, "ms_p50": 5.0 if n < 8 else 1e-3 * n**2}
        for n in (2, 4, 8, 16, 32, 64)
    ]
    (found,) = measure.slopes([*rows, {"mode": "forward", "layer": "y", "length": 2, "ms_p50": None}])
    assert found["exponent"] == pytest.approx(2.0)
    assert (found["from_length"], found["to_length"]) == (8, 64)
    assert measure.FIT_POINTS == speed.GROWTH_POINTS  # the page and the record fit the same points


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_a_cell_times_a_real_layer_in_every_mode(framework, tmp_path):
    from suite import run

    arguments = ["--tasks", "speed.layer", "--architectures", "ema", "--frameworks", framework, "--hardware", "cpu"]
    changes = ["--set", "shortest=8", "--set", "longest=16", "--set", "rounds=2"]
    assert run.main([*arguments, *changes, "--out", str(tmp_path)]) == 0
    (record,) = records.read_all(tmp_path)
    rows = record.tables["layer_speed"]
    assert {(row["mode"], row["length"], row["layer"]) for row in rows} == {
        (mode, length, layer) for mode in MODES for length in (8, 16) for layer in ("Slide", "ema")
    }
    assert all(row["status"] == "measured" and row["ms_p50"] > 0 for row in rows)
    assert all(np.isfinite(row["ratio_to_first"]) for row in rows)
    products = {row["length"]: row["operations"] for row in rows if (row["layer"], row["mode"]) == ("Slide", "forward")}
    assert products[16] > 1.5 * products[8] > 2 * 8 * 3 * 64 * 64  # at least its three projections
    moved = {(row["mode"], row["length"], row["layer"]): row["traffic_bytes"] for row in rows}
    for layer in ("Slide", "ema"):
        assert all(moved[mode, 8, layer] < moved[mode, 16, layer] for mode in MODES[:2]), moved
        assert 0 < moved["forward", 16, layer] < moved["forward and backward", 16, layer]
    assert all(gate["passed"] for gate in record.tables["gate"])


def test_matrix_products_count_as_often_as_they_run():
    import jax
    import jax.numpy as jnp

    from suite.speed.jax import matrix_products

    def counted(function):
        return matrix_products(jax.make_jaxpr(function)(jnp.ones((4, 8)), jnp.ones((8, 8))).jaxpr)

    once = 2 * 4 * 8 * 8
    assert counted(lambda x, w: jnp.tanh(x @ w)) == once
    assert counted(jax.jit(lambda x, w: x @ w @ w)) == 2 * once
    assert counted(jax.grad(lambda x, w: jax.checkpoint(lambda y: jnp.sin(y @ w))(x).sum(), (0, 1))) >= 3 * once
    assert counted(lambda x, w: jax.lax.scan(lambda y, _: (y @ w, None), x, None, length=5)[0]) == 5 * once
    assert counted(lambda x, w: jax.lax.fori_loop(0, x[0, 0].astype(int), lambda _, y: y @ w, x)) is None
    assert counted(lambda x, w: jax.lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x @ w)) is None
    assert counted(lambda x, w: jax.lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: -x @ w)) == once
    assert counted(lambda x, w: jax.lax.conv(x[None], jnp.ones((5, 4, 3)), (1,), "VALID")) == 2 * 5 * 6 * 4 * 3


def test_bytes_of_operations_are_counted_one_by_one():
    import torch

    from suite.speed.torch import Traffic

    x, w, row = torch.ones(6, 4), torch.ones(4, 5, dtype=torch.float64), torch.ones(1, 4)
    cases = {
        "product": (lambda: x.double() @ w, (96 + 192) + (192 + 160 + 240)),
        "views": (lambda: x.reshape(4, 6).T[1:].unsqueeze(0).expand(3, 5, 4).detach(), 0),
        "a view that is copied": (lambda: x.T.contiguous(), 96 + 96),
        "broadcast": (lambda: x + row.expand(6, 4), 96 + 16 + 96),
        "in place": (lambda: torch.empty(6, 4).mul_(x), 96 + 96 + 96),
        "complex": (lambda: torch.view_as_real(torch.fft.fft(x)), None),
    }
    for name, (run, expected) in cases.items():
        with Traffic() as traffic:
            run()
        assert traffic.bytes == expected or (expected is None and traffic.bytes >= 96 + 192), name


def test_the_backward_pass_moves_bytes_too():
    import torch

    from suite.speed.torch import Traffic

    x = torch.ones(8, requires_grad=True)
    with Traffic() as traffic:
        y = (x * x).sum()
    assert traffic.bytes == (32 + 32 + 32) + (32 + 4)
    with traffic:
        y.backward()
    assert traffic.bytes >= 132 + 2 * (32 + 32 + 32)


def test_a_kernel_into_which_no_counter_looks_has_operations_and_no_bytes():
    from suite.speed.torch import Bench

    settings = window_kernels("transformer", "smoke")
    assert settings is not None
    x = measure.draw(1, 64, settings.d_model)
    found = {}
    for name in ("einsum", "fused", "flex"):
        bench = Bench(settings.layers[name], "cpu", "float32")
        found[name] = bench.program("forward", bench.place(x))
    assert found["flex"].operations
    assert found["flex"].traffic is None
    assert found["einsum"].traffic > found["fused"].traffic > 0
    row = measure.roofline(found["flex"], 1.0, PROFILES["h200"], "float32")
    assert row["traffic_bytes"] is None
    assert row["roofline_share"] == found["flex"].operations / PROFILES["h200"].float32
