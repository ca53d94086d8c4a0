"""Programs that need the same of a chip have one text; those that may not, have another."""

from types import SimpleNamespace

import pytest

from suite.hardware.program_text import without_numbers
from suite.launch.cell import run_compiler


def program(first, second="0.3", kind="f32"):
    """The text of a program with two single numbers."""
    return f"""
    %cst = stablehlo.constant dense<{first}> : tensor<{kind}>
    %0 = stablehlo.compare GT, %arg0, %cst : tensor<8xf32>
    %cst_0 = stablehlo.constant dense<{second}> : tensor<f32>
"""


@pytest.mark.parametrize("other", ["8.500000e-01", "-1.000000e-05", "0.100000001", "1.300000e+00"])
def test_a_number_that_only_results_depend_on_leaves_the_text(other):
    assert without_numbers(program(other)) == without_numbers(program("0.899999976"))


@pytest.mark.parametrize(
    "other",
    [
        *("0.000000e+00", "1.000000e+00", "-1.000000e+00", "2.000000e+00", "5.000000e-01", "7.500000e-01"),
        *("1.250000e-01", "3.000000e+00", "0x7F800000", "0xFFC00000"),
    ],
)
def test_a_number_that_a_compiler_has_instructions_for_stays(other):
    assert without_numbers(program(other)) != without_numbers(program("0.9"))
    assert f"dense<{other}>" in without_numbers(program(other))


def test_which_numbers_are_equal_and_their_types_and_shapes_stay():
    apart, alike = without_numbers(program("0.9", "0.3")), without_numbers(program("0.3", "0.3"))
    assert apart != alike == without_numbers(program("0.7", "0.7"))
    assert without_numbers(program("0.9", kind="bf16")) != apart
    for number, kind in (("20001", "i32"), ('"0x3F"', "4xf32"), ("0.9", "4xf32")):
        assert f"dense<{number}>" in without_numbers(program(number, kind=kind))


def test_such_programs_are_one_to_the_compiler():
    jax = pytest.importorskip("jax")
    from suite.hardware.jax import Compiler

    compiler = Compiler("tpu-v4", devices=jax.devices("cpu")[:1])
    first, same, other = (SimpleNamespace(as_text=lambda n=n: program(n)) for n in ("0.9", "0.85", "1.0"))
    assert compiler.key(first) == compiler.key(same) != compiler.key(other)


LEAST = {"xla_optimization_level": "EFFORT_O0", "xla_tpu_enable_deduplicated_calls": "true"}


@pytest.mark.parametrize(("effort", "options"), [("full", None), ("least", LEAST)])
def test_the_compiler_is_told_how_much_to_optimize_and_programs_keep_apart(effort, options):
    jax = pytest.importorskip("jax")
    from suite.hardware.jax import Compiler

    made = Compiler("tpu-v4", devices=jax.devices("cpu")[:1], effort=effort)
    other = Compiler("tpu-v4", devices=jax.devices("cpu")[:1], effort="full" if effort == "least" else "least")
    told = []
    lowered = SimpleNamespace(as_text=lambda: program("1.0"), compile=lambda **given: told.append(given) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.compiled(lowered)
    assert told == [{"compiler_options": options}]
    assert made.key(lowered) != other.key(lowered)


class Told(Exception):
    """In place of a compiler."""


@pytest.mark.parametrize(("profile", "effort"), [("smoke", "least"), ("small", "least"), ("paper", "full")])
def test_the_profile_of_a_cell_decides_how_much_is_optimized(monkeypatch, tmp_path, profile, effort):
    pytest.importorskip("jax")

    def compiler(hardware, chips, **options):
        raise Told(hardware, chips, options)

    monkeypatch.setattr("suite.hardware.jax.Compiler", compiler)
    spec = SimpleNamespace(devices=2, out=tmp_path)
    with pytest.raises(Told) as found:
        run_compiler(SimpleNamespace(framework="jax", hardware="tpu-v4", profile=profile), spec)  # pyright: ignore[reportArgumentType]
    assert found.value.args == ("tpu-v4", 2, {"effort": effort})
