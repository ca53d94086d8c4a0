"""Rung 2 for the scan: every algorithm against the float64 oracle, around powers of two and around the block length."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from implementations.ops.scan import CHUNK, PORTABLE
from implementations.ops.scan.reference import linear_recurrence as oracle
from suite.equivalence.cases import normal, single
from suite.equivalence.rows import Rows, rounded

Array = np.ndarray
Arrays = dict[str, Array]

LENGTHS = (1, 2, 7, 8, 9, 21, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 1)
LONG = (CHUNK**2 - 1, CHUNK**2, CHUNK**2 + 1)
"""The chunked form recurs: more than CHUNK blocks need blocks of blocks."""

IN_FLOAT32 = (1, 9, CHUNK + 1, CHUNK**2 + 1)


def climb(rows: Rows, seed: int) -> None:
    """The rows of rung 2 for the scan."""
    for length in (*LENGTHS, *LONG):
        _climb(rows, np.random.default_rng([seed, length]), length)


def _climb(rows: Rows, rng: np.random.Generator, length: int) -> None:
    long = length > max(LENGTHS)
    arrays = _arrays(rng, length)
    jobs = _jobs(long)
    expected = _expected(arrays, jobs)
    case = f"length {length}"
    for dtype in ("float64", "float32") if length in IN_FLOAT32 else ("float64",):
        jax, torch = (_run(framework, jobs, arrays, dtype) for framework in ("jax", "torch"))
        for form in dict.fromkeys(name.partition(",")[0] for name in jobs):
            names = [name for name in jobs if name.startswith(form)]
            own = [{name: found[name] for name in names} for found in (jax, torch)]
            if dtype == "float64":
                rows.compare(2, f"scan, {form}", case, own, {name: expected[name] for name in names})
            else:

                def exact(rng: np.random.Generator | None, names: list[str] = names) -> Arrays:
                    return _expected(rounded(arrays, rng), {name: jobs[name] for name in names})

                rows.compare_float32(2, f"scan, {form}", case, own, exact, rng)


def _arrays(rng: np.random.Generator, length: int) -> Arrays:
    """Two sequences of three states; the slowest forgets over about 200 positions."""
    log_a = np.stack([-np.array([0.005, 0.05, 0.5]), rng.uniform(-1.5, 1.5, 3)], -1)
    decay = np.exp(rng.uniform(-0.5, -0.005, (2, length, 3)) + 1j * rng.uniform(-1.5, 1.5, (2, length, 3)))
    return {
        "log_a": single(log_a),
        "b": normal(rng, (2, length, 3, 2)),
        "initial": normal(rng, (2, 3, 2)),
        "a_re": single(np.real(decay)),
        "a_im": single(np.imag(decay)),
    }


def _jobs(long: bool) -> dict[str, dict[str, Any]]:
    """What is computed, by name; long sequences only by the forms whose depth depends on the length."""
    jobs: dict[str, dict[str, Any]] = {}
    for method in PORTABLE:
        for initial in (False, True):
            text = "from a state" if initial else "from zero"
            jobs[f"{method}, {text}"] = {"method": method, "initial": initial}
        jobs[f"{method}, from both ends"] = {"method": method, "both": True}
    for real in (False, True):
        for reverse in (False, True):
            text = f"{'real' if real else 'complex'}, from the {'right' if reverse else 'left'}"
            jobs[f"varying, {text}"] = {"real": real, "initial": not real, "reverse": reverse}
    return {n: j for n, j in jobs.items() if not long or j.get("method") in ("chunked", "convolution")}


def _complex(pairs: Array) -> Array:
    return pairs[..., 0] + 1j * pairs[..., 1]


def _expected(arrays: Arrays, jobs: dict[str, dict[str, Any]]) -> Arrays:
    b, initial = _complex(arrays["b"]), _complex(arrays["initial"])
    found = {}
    for name, job in jobs.items():
        state = initial if job.get("initial") else None
        if "method" in job:
            a = np.broadcast_to(np.exp(_complex(arrays["log_a"])), b.shape)
            found[name] = oracle(a, b, state)
            if "both" in job:
                found[name] = np.concatenate([found[name], oracle(a, b, reverse=True)], -1)
        elif job["real"]:
            found[name] = oracle(arrays["a_re"], arrays["b"][..., 0], None, job["reverse"])
        else:
            found[name] = oracle(arrays["a_re"] + 1j * arrays["a_im"], b, state, job["reverse"])
    return found


def _compute(scan: Any, complex_of: Any, jobs: dict[str, dict[str, Any]], arrays: dict[str, Any]) -> dict[str, Any]:
    """All jobs in one framework, whose scan module and constructor of complex numbers are given."""
    b, initial = arrays["b"], arrays["initial"]
    found = {}
    for name, job in jobs.items():
        if "both" in job:
            found[name] = scan.both_directions(arrays["log_a"], b, job["method"])
        elif "method" in job:
            state = initial if job["initial"] else None
            found[name] = scan.invariant_recurrence(arrays["log_a"], b, state, job["method"])
        elif job["real"]:
            found[name] = scan.linear_recurrence(arrays["a_re"], b[..., 0], None, job["reverse"])
        else:
            a, state = complex_of(arrays["a_re"], arrays["a_im"]), complex_of(initial[..., 0], initial[..., 1])
            found[name] = scan.linear_recurrence(a, complex_of(b[..., 0], b[..., 1]), state, job["reverse"])
    return found


def _run(framework: str, jobs: dict[str, dict[str, Any]], arrays: Arrays, dtype: str) -> Arrays:
    if framework == "jax":
        import jax

        from implementations.ops.scan import jax as scan
        from suite.equivalence.jax import quick

        function = jax.jit(partial(_compute, scan, jax.lax.complex, jobs), compiler_options=quick())
        found = function({name: value.astype(dtype) for name, value in arrays.items()})
    else:
        import torch

        from implementations.ops.scan import torch as scan
        from suite.equivalence.torch import DEVICE

        given = {name: torch.tensor(value.astype(dtype), device=DEVICE) for name, value in arrays.items()}
        found = {name: value.cpu() for name, value in _compute(scan, torch.complex, jobs, given).items()}
    out = {name: np.asarray(value) for name, value in found.items()}
    return {name: _complex(value) if "method" in jobs[name] else value for name, value in out.items()}
