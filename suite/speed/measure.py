"""Timing in turns: the gate, the rounds, the quantiles, and how cost grows with length. No framework is named here."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from implementations.common.config import Config
from suite.hardware.profiles import Hardware
from suite.speed.config import SpeedSettings, reference
from suite.speed.program import Program

Row = dict[str, Any]

GATE = {"float32": 1e-4, "tf32": 2e-2}
"""Largest error of an output, relative to the largest output of the oracle, that a layer may have to be timed."""
GATE_LENGTH = 37
"""Positions of the gate's input, behind those of a window."""
WARM_UP_CALLS = 3
MOST_CALLS = 200
FIT_POINTS = 4
"""The slope of cost against length is that of the last so many lengths, where fixed costs matter least."""


def draw(batch: int, length: int, d_model: int, seed: int = 0) -> np.ndarray:
    """A standard normal input (B, L, D)."""
    return np.random.default_rng([seed, length]).standard_normal((batch, length, d_model), np.float32)


def gate(name: str, config: Config, bench: Any, precision: str) -> Row:
    """The error of a layer on this very device and in this arithmetic against its float64 oracle."""
    x = draw(2, GATE_LENGTH + (getattr(config, "window", None) or 0), bench.layer.config.d_model)
    values = {path: np.asarray(value, np.float64) for path, value in bench.values.items()}
    expected, _ = reference(config)(config, values, x.astype(np.float64))
    error = float(np.abs(bench.outputs(bench.place(x)) - expected).max() / np.abs(expected).max())
    return {"layer": name, "error": error, "tolerance": GATE[precision], "passed": error <= GATE[precision]}


def calls_per_turn(settings: SpeedSettings, seconds: float) -> int:
    """How many calls fill a turn."""
    if seconds > settings.time_limit:
        return 1
    return int(np.clip(np.ceil(settings.block_seconds / max(seconds, 1e-9)), 1, MOST_CALLS))


def seconds_of(bench: Any, program: Program, calls: int) -> float:
    """Seconds per call of a block that ends with a synchronisation."""
    start = time.perf_counter()
    results = None
    for _ in range(calls):
        results = program.run()
    bench.wait(results)
    return (time.perf_counter() - start) / calls


def in_turns(benches: dict[str, Any], programs: dict[str, Program], settings: SpeedSettings) -> dict[str, list[float]]:
    """Seconds per call of every layer in every round."""
    calls = {}
    for name, program in programs.items():
        seconds_of(benches[name], program, WARM_UP_CALLS)
        calls[name] = calls_per_turn(settings, seconds_of(benches[name], program, 1))
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(settings.rounds):
        for name, program in programs.items():
            seconds[name].append(seconds_of(benches[name], program, calls[name]))
    return seconds


def roofline(program: Program, seconds: float, hardware: Hardware, precision: str) -> Row:
    """Operations and traffic beside what the hardware can do; None where either is unknown."""
    peak = hardware.tf32 if precision == "tf32" else hardware.float32
    bounds = []
    if program.operations is not None and peak:
        bounds.append(program.operations / peak)
    if program.traffic is not None and hardware.bandwidth:
        bounds.append(program.traffic / hardware.bandwidth)
    return {
        "operations": program.operations,
        "traffic_bytes": program.traffic,
        "roofline_share": max(bounds) / seconds if bounds else None,
    }


def row(
    name: str, mode: str, length: int, settings: SpeedSettings, program: Program,
    own: list[float], base: list[float] | None, hardware: Hardware, active: float | None = None,
) -> Row:  # fmt: skip
    """One line of the table; the ratio is the median over rounds of the ratio within a round."""
    low, middle, high = np.quantile(own, [0.2, 0.5, 0.8]).tolist()
    tokens = settings.batch_size * (1 if mode == "streaming step" else length)
    return {
        "mode": mode,
        "length": length,
        "layer": name,
        "status": "measured",
        "ms_p20": low * 1e3,
        "ms_p50": middle * 1e3,
        "ms_p80": high * 1e3,
        "ratio_to_first": None if base is None else float(np.median(np.array(own) / np.array(base))),
        "tokens_per_second": tokens / middle,
        "active_share": active,
        "compile_seconds": program.compile_seconds,
        "memory_bytes": program.memory,
        **roofline(program, middle, hardware, settings.matmul_precision),
    }


def measure(
    settings: SpeedSettings,
    make: Callable[[Config], Any],
    out_of_memory: Callable[[Exception], bool],
    hardware: Hardware,
    say: Callable[[str], None],
    stop: Callable[[], str | None] = lambda: None,
) -> tuple[list[Row], list[Row], str]:
    """The gate's table, the table of times, and why it ended early (empty where it did not).

    A layer that fails the gate is not timed. One that needs more memory than there is, or more than `time_limit` for a
    call, is not tried at longer lengths; its rows say so. Another error ends the measurement; what was timed is kept.
    """
    benches = {name: make(config) for name, config in settings.layers.items()}
    gates = [gate(name, config, benches[name], settings.matmul_precision) for name, config in settings.layers.items()]
    for found in gates:
        say(f"gate {found['layer']}: error {found['error']:.1e}, tolerance {found['tolerance']:.0e}")
    passed = [found["layer"] for found in gates if found["passed"]]
    rows: list[Row] = []
    for mode in settings.modes:
        left = dict.fromkeys(passed, "")
        for length in settings.lengths:
            reason = stop()
            if reason:
                return gates, rows, reason
            x = draw(settings.batch_size, length, settings.d_model)
            try:
                rows += _at_length(settings, mode, length, x, benches, left, out_of_memory, hardware)
            except Exception as error:
                if not rows:
                    raise
                say("".join(traceback.format_exception(error)))
                return gates, rows, f"{mode} at {length} positions failed: {type(error).__name__}: {error}"
            for one in rows[-len(left) :]:
                say(" ".join(_words(one)))
    return gates, rows, ""


def _words(one: Row) -> Iterator[str]:
    yield f"{one['mode']}, {one['length']} positions, {one['layer']}: {one['status']}"
    if one["ms_p50"] is not None:
        yield f"{one['ms_p50']:.3f} ms, ratio {one['ratio_to_first']:.2f}" if one["ratio_to_first"] else ""


def _at_length(settings, mode, length, x, benches, left, out_of_memory, hardware) -> list[Row]:
    programs: dict[str, Program] = {}
    for name in left:
        if left[name]:
            continue
        try:
            programs[name] = benches[name].program(mode, benches[name].place(x))
            benches[name].wait(programs[name].run())
        except Exception as error:
            if not out_of_memory(error):
                raise
            programs.pop(name, None)
            left[name] = "out of memory"
    seconds = in_turns(benches, programs, settings)
    base = seconds.get(next(iter(settings.layers)))
    rows = []
    for name in left:
        if name in programs:
            active = benches[name].activity(benches[name].place(x))
            rows.append(row(name, mode, length, settings, programs[name], seconds[name], base, hardware, active))
            if np.median(seconds[name]) > settings.time_limit:
                left[name] = "not tried: slower than the time limit at half the length"
        else:
            rows.append(_absent(name, mode, length, left[name]))
            left[name] = f"not tried: {left[name].removeprefix('not tried: ')}"
    return rows


def _absent(name: str, mode: str, length: int, status: str) -> Row:
    numbers = ("ms_p20", "ms_p50", "ms_p80", "ratio_to_first", "tokens_per_second", "active_share",
               "compile_seconds", "memory_bytes", "operations", "traffic_bytes", "roofline_share")  # fmt: skip
    return {"mode": mode, "length": length, "layer": name, "status": status, **dict.fromkeys(numbers)}


def slopes(rows: list[Row]) -> list[Row]:
    """How cost grows with length: the exponent of a power law through the last `FIT_POINTS` medians of each layer."""
    found = []
    for mode, name in dict.fromkeys((one["mode"], one["layer"]) for one in rows):
        own = [r for r in rows if (r["mode"], r["layer"]) == (mode, name) and r["ms_p50"] is not None][-FIT_POINTS:]
        if len(own) < 2:
            continue
        lengths, times = np.log([r["length"] for r in own]), np.log([r["ms_p50"] for r in own])
        found.append(
            {
                "mode": mode,
                "layer": name,
                "exponent": float(np.polyfit(lengths, times, 1)[0]),
                "from_length": own[0]["length"],
                "to_length": own[-1]["length"],
            }
        )
    return found
