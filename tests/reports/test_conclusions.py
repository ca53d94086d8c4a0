"""What the overview concludes: computed from records, with its number of seeds, and nothing from one seed alone."""

from typing import Any

import pytest
from report_records import make_record

from reports import conclusions, frames, published, tables
from reports.records import Record
from reports.verdicts import digits_beside, signed


def groups(found: list[Record]) -> list[frames.Group]:
    """The groups of some records."""
    return frames.groups(found, published.shipped())


def texts(lines: Any) -> list[str]:
    """Lines in words."""
    return [" ".join(span.text for span in line) for line in lines]


def timed(first: tuple[float, float, float], other: tuple[float, float, float], **changes: Any) -> Record:
    """Times of two layers at two lengths; at the shorter one the other is slower."""
    at = {("a", 128): (1.0, 1.0, 1.0), ("b", 128): (9.0, 9.0, 9.0), ("a", 512): first, ("b", 512): other}
    rows = [
        {"layer": layer, "mode": "forward", "length": length, "active_share": 0.25 if layer == "b" else None}
        | dict(zip(("ms_p20", "ms_p50", "ms_p80"), times, strict=True))
        for (layer, length), times in at.items()
    ]
    return make_record(benchmark="speed", task="speed.a", metrics={}, tables={"layer_speed": rows}, **changes)


@pytest.mark.parametrize(
    ("other", "word"),
    [
        ((1.0, 1.1, 1.9), "faster than a: b (0.37 times its time, 25 % of tokens active)"),
        ((4.1, 6.0, 7.0), "slower than a: b (2.00 times its time, 25 % of tokens active)"),
        ((3.0, 3.3, 4.5), "not told apart from a: b (1.10 times its time, 25 % of tokens active)"),
    ],
)
def test_layers_are_told_apart_only_where_their_quantiles_are(other: tuple[float, float, float], word: str) -> None:
    (line,) = texts(conclusions.speeds([timed((2.0, 3.0, 4.0), other)]))
    assert f"Forward at 512 positions, {word}. One run on one machine." in line
    (line,) = texts(conclusions.speeds([timed((2.0, 3.0, 4.0), other, status="failed")]))
    assert "The run did not end" in line


def test_the_ratio_is_that_of_the_page_of_speed() -> None:
    record = timed((2.0, 3.0, 4.0), (1.0, 1.1, 1.9))
    record.tables["layer_speed"][-1]["ratio_to_first"] = 0.4
    (line,) = texts(conclusions.speeds([record]))
    assert "b (0.40 times its time" in line


def test_the_backward_pass_is_told_where_it_was_measured() -> None:
    record = timed((2.0, 3.0, 4.0), (1.0, 1.1, 1.9))
    rows = record.tables["layer_speed"]
    rows += [row | {"mode": "streaming step"} for row in rows]
    rows += [row | {"mode": "forward and backward", "ratio_to_first": 3.5} for row in rows[:4]]
    for row in rows[8:]:
        row |= {name: 10.0 for name in ("ms_p20", "ms_p50", "ms_p80") if row["layer"] == "b"}
    (line,) = texts(conclusions.speeds([record]))
    assert "Forward at 512 positions, faster than a: b (0.37 times its time" in line
    assert "Forward and backward at 512 positions, slower than a: b (3.50 times its time" in line
    assert "treaming" not in line


def test_one_shared_seed_allows_no_conclusion() -> None:
    one = [make_record(f, 0, 0.38 + 0.01 * (f == "jax")) for f in ("jax", "torch")]
    more = [make_record(f, s, 0.5 + 0.001 * s, architecture="s4") for f in ("jax", "torch") for s in (0, 1, 2)]
    first, second = texts(conclusions.twins(groups([*one, *more])))
    assert "over 3 shared seeds, 95 % interval" in first
    assert first.endswith("no difference is shown.")
    assert second.endswith(
        "one seed only, which allows no conclusion about their difference: s5 on lra.listops (smoke)."
    )
    apart = [make_record(f, s, 0.5 + 0.1 * (f == "jax") + 0.001 * s) for f in ("jax", "torch") for s in (0, 1, 2)]
    (line,) = texts(conclusions.twins(groups(apart)))
    assert line.endswith("they differ.")


def test_length_generalization_is_told_of_the_models_that_were_trained() -> None:
    def model(name: str, seed: int, *bits: float) -> Record:
        rows = [{"length": length, "bits_per_byte": value} for length, value in zip((512, 4096), bits, strict=True)]
        return make_record(
            "jax", seed, benchmark="length", task="length.pg19", architecture=name, predictions=None,
            tables={"perplexity_by_length": rows}, recipe={"language": {"segment": 512}},
            metrics={"bits_per_byte": bits[1]}, protocol={"name": "x", "metric": "bits_per_byte"},
        )  # fmt: skip

    (line,) = texts(conclusions.lengths(groups([model("s5", 0, 2.25, 2.2), model("s4", 0, 2.0, 2.5)])))
    assert "trained at 512 tokens and read to 4,096, bits per byte" in line
    assert "rise for s4 JAX (2.000 → 2.500)" in line
    assert "fall for s5 JAX (2.250 → 2.200)" in line
    assert line.endswith("Of 2 trained models, one per seed, not of architectures in general.")
    seeds = [model("s5", 0, 2.25, 2.2), model("s5", 1, 2.35, 2.1), model("s5", 2, 2.0, 2.1)]
    (line,) = texts(conclusions.lengths(groups(seeds)))
    assert "fall for s5 JAX (2.300 → 2.150, 2 seeds); rise for s5 JAX (2.000 → 2.100). Of 3 trained models" in line
    (line,) = texts(conclusions.lengths(groups([model("s5", 0, 2.25, 2.2)])))
    assert line.endswith("Of one trained model, one seed, not of architectures in general.")


def test_activation_is_told_with_its_models() -> None:
    rates = [{"layer": layer, "mean": mean, "p05": 0.1, "p95": 0.9} for layer, mean in enumerate((0.2, 0.6))]
    found = [make_record("jax", s, architecture="seqboat", tables={"activation_rates": rates}) for s in (0, 1)]
    (line,) = texts(conclusions.activation(groups(found)))
    assert line.endswith("40 % of the tokens on average, from 20 to 60 % by layer (2 trained models).")
    assert list(conclusions.activation(groups([make_record()]))) == []


def test_values_have_as_many_decimals_as_tell_models_apart() -> None:
    found = [
        make_record(metrics={"test_accuracy": 0.61171}),
        make_record(metrics={"bits_per_byte": 2.13292}, task="lm.book", protocol={"metric": "bits_per_byte"}),
        make_record(metrics={"test_mse": 0.003412}, task="pendulum.regression", protocol={"metric": "test_mse"}),
    ]
    shown = {g.task: tables.entry_cell(g.entries["jax"], g).spans[0].text for g in groups(found)}
    assert shown == {"lra.listops": "61.17", "lm.book": "2.133", "pendulum.regression": "0.00341"}
    assert signed(-0.0042, digits_beside(0.01)) == "−0.004"
    assert signed(-0.98, digits_beside(1.5)) == "−0.98"
