"""The names of records' entries in words, and their values with units: one table for every page."""

import re
from typing import Any

NAMES: dict[str, str] = {
    # metrics
    "test_accuracy": "test accuracy",
    "last_test_accuracy": "test accuracy after the last epoch",
    "last_validation_bits_per_byte": "validation, bits per byte after the last evaluation",
    "majority_accuracy": "accuracy of the majority class",
    "nll_nats_per_token": "negative log-likelihood, nats per token",
    "validation_nll_nats_per_token": "validation, negative log-likelihood, nats per token",
    "validation_bits_per_byte": "validation, bits per byte",
    "validation_token_perplexity": "validation, token perplexity",
    "validation_word_perplexity": "validation, word perplexity",
    "unigram_bits_per_byte": "bits per byte of token frequencies alone",
    "parameter_count": "parameters",
    "longest_length": "longest length",
    "longest_ratio": "ratio at the longest length",
    "flops": "floating-point operations",
    "bytes_accessed": "memory traffic",
    "arithmetic_intensity": "operations per byte",
    # timing
    "compile_seconds": "compile time",
    "step_seconds_p20": "time of an update, 20 % quantile",
    "step_seconds_p50": "time of an update, median",
    "step_seconds_p80": "time of an update, 80 % quantile",
    "step_seconds_definition": "what the time of an update is",
    "tokens_per_second_definition": "what tokens per second are",
    "energy_joules_definition": "what the energy is",
    "evaluation_seconds": "time of evaluations",
    "total_seconds": "whole time",
    "energy_joules": "energy",
    "peak_memory_bytes": "peak memory of the device",
    "process_peak_memory_bytes": "peak memory of the process",
    "memory_bytes": "memory",
    "dtype": "number format",
    "matmul_precision": "precision of matrix products",
    "starts": "times started",
    # tables
    "perplexity_by_length": "perplexity by length",
    "perplexity_by_position": "perplexity by position",
    "growth_with_length": "growth of the time with length",
    "gate": "gate: layers against the float64 oracle",
    "parity": "checks of the parity ladder",
    "train_step": "time of a training step",
    "activation_rates": "share of active tokens by layer",
    "layer_speed": "speed of layers",
    "longest_inputs": "longest inputs that fit",
    "programs": "compiled programs",
    # columns
    "error": "largest error",
    "error_jax": "error, JAX to oracle",
    "error_torch": "error, PyTorch to oracle",
    "error_between": "error, JAX to PyTorch",
    "from_length": "from length",
    "to_length": "to length",
    "position_from": "from position",
    "position_to": "to position",
    "targets": "tokens predicted",
    "ms_p20": "20 % quantile, ms",
    "ms_p50": "median, ms",
    "ms_p80": "80 % quantile, ms",
    "step_ms_p20": "step, 20 % quantile, ms",
    "step_ms_p50": "step, median, ms",
    "step_ms_p80": "step, 80 % quantile, ms",
    "device_busy_ms": "device busy, ms",
    "first_step_s": "first step, s",
    "ratio_to_first": "times the first layer",
    "ratio_to_authors": "times the authors' code",
    "roofline_share": "share of the roofline",
    "matrix_product_share": "share of matrix products",
    "active_share": "share of active tokens",
    "kernels_per_step": "kernels per step",
    "traffic_bytes": "memory traffic",
    "p05": "5 % quantile",
    "p95": "95 % quantile",
    # protocol and provenance
    "comparable_to": "follows the published protocol",
    "differences": "how it differs from the published one",
    "test_count": "test examples",
    "name": "name",
    "dirty": "uncommitted changes",
    "cpu": "processor",
    "gpus": "GPUs",
    "tpu": "TPU",
    "sha256": "SHA-256",
    "vocabulary_sha256": "SHA-256 of the vocabulary",
    "frameworks_loaded": "frameworks loaded",
}  # fmt: skip
"""Names that their own words do not tell; every other name is shown with spaces."""

DATA: dict[str, str] = {
    "pg19": "PG-19", "pg19_like": "books like PG-19", "lra_listops": "LRA ListOps", "listops": "ListOps",
    "lra_text": "LRA Text", "lra_retrieval": "LRA Retrieval", "lra_image": "LRA Image", "lra_pathx": "LRA Path-X",
    "lra_pathfinder": "LRA Pathfinder", "qmsum": "QMSum", "wikitext103": "WikiText-103", "smnist": "sMNIST",
    "psmnist": "psMNIST", "scifar": "sCIFAR", "local": "own copy of the texts", "bytes": "bytes as tokens",
    "generated": "generated data", "released": "released data", "unverified": "unverified data",
    "lra-s4-line": "LRA as in S4", "s5-pixels": "pixels as in S5", "s5-speech-commands": "Speech Commands as in S5",
    "s5-pendulum": "pendulum as in S5", "sc10-mega": "Speech Commands as in Mega",
}  # fmt: skip
"""Parts of the names of protocols: data sets, where they are from, tokenizers."""

UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
RATES = ("_share", "accuracy")


def words(key: str) -> str:
    """A name in words; one in capitals, as those of environment variables, stays as it is."""
    return NAMES.get(key) or (key if key.isupper() else key.replace("_", " "))


def title(key: str) -> str:
    """A name in words that begins with a capital."""
    found = words(key)
    return found[:1].upper() + found[1:]


def path(dotted: str) -> str:
    """A dotted name in words, each part by itself."""
    return NAMES.get(dotted) or " › ".join(words(part) for part in dotted.split("."))


def protocol(name: str) -> str:
    """The name of a protocol in words: its data, where they are from, and how they are cut into tokens."""
    return ", ".join(DATA.get(part, part.replace("_", " ")) for part in name.split("/"))


def value(key: str, found: Any) -> str | None:
    """A number with the unit that its name ends in, a truth value as yes or no; None for anything else."""
    if isinstance(found, bool):
        return "yes" if found else "no"
    if not isinstance(found, int | float) or not abs(found) < 1e30:
        return None
    if key.endswith("_bytes") or key == "bytes_accessed":
        return amount(found)
    if "_seconds" in key:
        return f"{1000 * found:,.2f} ms" if abs(found) < 1 else f"{found:,.2f} s"
    if key in ("operations", "flops"):
        return scaled(found)
    if key.endswith("_joules"):
        return f"{found / 3600:.4g} Wh"
    if key.endswith(RATES):
        return f"{100 * found:.2f} %"
    if isinstance(found, float) and not found.is_integer():
        return f"{found:,.0f}" if abs(found) >= 1e5 else f"{found:.4g}"
    return f"{found:,.0f}" if abs(found) < 1e15 else f"{found:.4g}"


def scaled(count: float) -> str:
    """A count in thousands, millions and so on."""
    size, unit = next(((size, unit) for size, unit in UNITS if abs(count) >= size), (1.0, ""))
    return f"{count / size:.4g} {unit}".rstrip()


def amount(count: float) -> str:
    """Bytes in MiB or GiB."""
    size, unit = (2**30, "GiB") if abs(count) >= 2**30 else (2**20, "MiB")
    return f"{count / size:,.1f} {unit}" if count >= 2**14 else f"{count:,.0f} bytes"


def text(dotted: str, found: str) -> str:
    """The text of one entry of a dictionary with its unit, where it is a number that has one."""
    key = dotted.rpartition(".")[2]
    if found in ("true", "false"):
        return "yes" if found == "true" else "no"
    plain = re.fullmatch(r"\d{1,18}(\.\d+)?", found)
    return value(key, float(found)) or found if plain and key.endswith("_bytes") else found
