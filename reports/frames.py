"""Pandas frames from records and published numbers, and the result groups that pages are made of.

A group holds every seed and framework of one task, architecture, profile, recipe and protocol. Values of different
groups are never averaged. Hardware is shown and not grouped by: it changes last digits, not what is measured.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
import pandas as pd

from reports import consistency, names
from reports.published import Number, PaperNumbers, Published
from reports.records import UNENDED, Record, text
from reports.statistics import Sample, summarize, wilson_interval
from reports.verdicts import Verdict, judge, within_table

FRAMEWORKS = ("jax", "torch")
FRAMEWORK_TITLE = {"jax": "JAX", "torch": "PyTorch"}
PROFILES = ("paper", "small", "smoke")
EQUIVALENCE = "equivalence"
LANGUAGE = ("lm", "length")
"""Benchmarks whose published numbers stand beside ours only where text, tokenizer and evaluation are the same."""
RUNGS = {
    "0": "parameter paths and shapes are a bijection",
    "1": "initial values identical, distributed as the authors draw them",
    "2": "operations against the float64 oracle",
    "3": "forward",
    "4": "gradients",
    "5": "optimizer steps",
    "6": "modes: parallel, segment, step; eager, compiled; padding, batch size",
    "7": "causality",
    "8": "metrics from the same code on the same logits",
    "9": "golden values of the authors' code",
    "10": "training: same distribution of final metrics",
}


@dataclass(frozen=True)
class Entry:
    """One framework's seeds of a group: the headline values in the displayed unit and what became of each seed."""

    framework: str
    records: tuple[Record, ...]
    values: tuple[float, ...]
    summary: Sample | None
    verdict: Verdict

    def with_status(self, status: str) -> tuple[Record, ...]:
        """The records of one status."""
        return tuple(record for record in self.records if record.status == status)


VARIANTS = {
    "block_state": ("variant", "kernel"),
    "block_recurrent": ("gate", "configuration"),
    "transformer": ("attention",),
}
"""Fields of a layer's config that name its variant."""


@dataclass(frozen=True)
class Group:
    """One row of the result table."""

    benchmark: str
    task: str
    architecture: str
    profile: str
    metric: str
    recipe: str
    protocol: dict[str, Any]
    entries: dict[str, Entry]
    reference: tuple[PaperNumbers, Number] | None

    @property
    def records(self) -> tuple[Record, ...]:
        """All records of the group, by framework and seed."""
        return tuple(record for entry in self.entries.values() for record in entry.records)

    @property
    def variant(self) -> str:
        """What sets the layers apart from others of their architecture, in the words of their config."""
        return variant(self.records[0]) if self.records else ""

    @property
    def title(self) -> str:
        """The architecture with its variant."""
        return f"{self.architecture} ({self.variant})" if self.variant else self.architecture

    @property
    def unit(self) -> str:
        """The displayed unit of the headline metric."""
        return unit_of(self.metric)

    @property
    def decimals(self) -> int:
        """How many decimals of the headline metric are shown: enough to tell models apart."""
        return 2 if self.unit else 5 if self.metric.endswith("mse") else 3

    @property
    def majority(self) -> float | None:
        """Accuracy of always answering the most frequent class, in the displayed unit."""
        found = [shown(record.metrics.get("majority_accuracy"), self.metric) for record in self.records]
        return next((value for value in found if value is not None), None)

    @property
    def hardware(self) -> tuple[str, ...]:
        """The hardware of all seeds."""
        return tuple(sorted({record.cell.hardware for record in self.records}))

    @property
    def differences(self) -> tuple[str, ...]:
        """Sentences that say how the protocol differs from the published one."""
        found = self.protocol.get("differences")
        return tuple(str(item) for item in found) if isinstance(found, list) else ()

    @property
    def protocol_name(self) -> str:
        """The published protocol that is followed, else the protocol's own name."""
        return text(self.protocol.get("comparable_to") or self.protocol.get("name"))


def variant(record: Record) -> str:
    """What sets the layers of a record apart from others of their architecture, in the words of their config."""
    model = record.recipe.get("model")
    layer: Any = model.get("layer") if isinstance(model, dict) else None
    if not isinstance(layer, dict):
        return ""
    said = [text(layer.get(name)) for name in VARIANTS.get(text(layer.get("architecture")), ())]
    return ":".join(filter(None, said))


def unit_of(metric: str) -> str:
    """Accuracies are shown in percent, everything else as it is."""
    return "%" if metric.endswith("accuracy") else ""


def shown(value: Any, metric: str) -> float | None:
    """A finite metric in its displayed unit, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return 100.0 * value if unit_of(metric) else float(value)


def headline(record: Record) -> str:
    """Name of the metric that stands for a record; a `metric` of the protocol that is a sentence names none."""
    name = text(record.protocol.get("metric"))
    return name if re.fullmatch(r"[a-z][a-zA-Z0-9_]{0,60}", name) else "test_accuracy"


def kind(record: Record) -> Literal["result", "equivalence", "ablation", "compiled", "other"]:
    """Where a record is shown: in the result table, on the parity ladder, in a study, on the page of hardware, or with
    its own tables only."""
    if record.cell.factor:
        return "ablation"
    if "parity" in record.tables or record.cell.benchmark == EQUIVALENCE:
        return "equivalence"
    if record.status in ("compiled", "not run"):  # a place without a number in the result table
        return "compiled" if "layers" in record.recipe else "result"
    return "other" if record.tables and headline(record) not in record.metrics else "result"


ADDED_TO_MODELS: dict[str, Any] = {"placed": {}, "checkpoint": False, "compute_dtype": "float32"}
"""Fields that recipes' models were given after records had been measured, with the value that changes nothing."""


def fingerprint(value: dict[str, Any]) -> str:
    """Eight hexadecimal digits that two equal dictionaries share, leaving out `source`, which decides no number, and
    `ADDED_TO_MODELS`."""
    kept = {key: value[key] for key in value if key != "source"}
    if isinstance(kept.get("model"), dict):
        model: dict[str, Any] = kept["model"]
        kept["model"] = {k: v for k, v in model.items() if k not in ADDED_TO_MODELS or v != ADDED_TO_MODELS[k]}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]


OF_TRAINING = ("differences", "comparable_to", "published_tables", "not_comparable", "step_loss", "training")
"""Of a protocol, what tells how a model was trained and beside what it may stand, not what it was asked."""


def examination(protocol: dict[str, Any]) -> str:
    """Eight hexadecimal digits that two protocols share where they ask the same of a model, however it was trained:
    the same data, split, selection and metric."""
    return fingerprint({name: value for name, value in protocol.items() if name not in OF_TRAINING})


def machine(record: Record) -> str:
    """The device that ran a cell in words: its GPUs, else its processor, else the name of the hardware profile."""
    found = record.provenance.get("hardware")
    found = found if isinstance(found, dict) else {}
    gpus = found.get("gpus")
    names = [text(gpu.get("name")) for gpu in gpus if isinstance(gpu, dict)] if isinstance(gpus, list) else []
    cpu = text(found.get("cpu"))
    cores = f", {found['cores']} cores" if isinstance(found.get("cores"), int) else ""
    if record.status in ("compiled", "not run"):
        return f"{record.cell.hardware} (absent)"
    if record.cell.hardware == "cpu" or not names:
        return f"{record.cell.hardware} ({cpu}{cores})" if cpu else record.cell.hardware
    return f"{record.cell.hardware} ({', '.join(sorted(set(names)))})"


def groups(records: Iterable[Record], published: Published, shown_as: str = "result") -> list[Group]:
    """The rows of the result table: those with measured values first, then by task, architecture and profile."""
    members: dict[tuple[str, ...], list[Record]] = {}
    # Records of runs first: one that failed before it knew its protocol joins the seeds that it was meant for.
    known: dict[tuple[str, ...], str] = {}
    states = ("measured", "not finished")
    for record in sorted(records, key=lambda r: (r.status != states[0], r.status not in states, r.cell.id)):
        if kind(record) != shown_as:
            continue
        cell = record.cell
        key = (cell.benchmark, cell.task, cell.architecture, cell.profile, headline(record), fingerprint(record.recipe))
        protocol = fingerprint(record.protocol)
        known.setdefault(key, protocol)
        if record.status != "measured":
            protocol = known[key]
        members.setdefault((*key, protocol), []).append(record)
    order = {profile: str(index) for index, profile in enumerate(PROFILES)}
    keys = sorted(members, key=lambda key: (*key[:3], order.get(key[3], key[3]), *key[3:]))
    found = _corrected([_group(key, members[key], published) for key in keys])
    return sorted(found, key=lambda group: not any(entry.values for entry in group.entries.values()))


def _corrected(found: list[Group]) -> list[Group]:
    """The groups with verdicts that hold beside each other: Holm's rule over every verdict of a benchmark."""
    for benchmark in {group.benchmark for group in found}:
        places = [(i, name) for i, group in enumerate(found) if group.benchmark == benchmark for name in group.entries]
        for (i, name), verdict in zip(
            places, within_table([found[i].entries[name].verdict for i, name in places]), strict=True
        ):
            entries = {**found[i].entries, name: replace(found[i].entries[name], verdict=verdict)}
            found[i] = replace(found[i], entries=entries)
    return found


def _group(key: tuple[str, ...], records: list[Record], published: Published) -> Group:
    benchmark, task, architecture, profile, metric, recipe, _ = key
    protocol = records[0].protocol
    reference = published.reference(task, architecture, text(protocol.get("published_row")))
    entries = {}
    for name in (*FRAMEWORKS, *sorted({r.cell.framework for r in records} - set(FRAMEWORKS))):
        mine = tuple(sorted((r for r in records if r.cell.framework == name), key=lambda r: (r.cell.seed, r.cell.id)))
        done = [shown(r.metrics.get(metric), metric) for r in mine if r.status == "measured"]
        values = tuple(value for value in done if value is not None)
        number, judged, judged_values = reference[1] if reference else None, metric.removeprefix("test_"), values
        if benchmark in LANGUAGE and number and (in_bits := bits_per_token(number)):
            number, judged, judged_values = in_bits, in_bits.metric, bits(mine)
        verdict = judge(
            judged_values,
            number,
            benchmark=benchmark,
            metric=judged,
            profile=profile,
            comparable_to=text(protocol.get("comparable_to")),
            failed=len(done) - len(values) + sum(r.status in UNENDED for r in mine),
            redrawn=redrawn(protocol),
            why=text(protocol.get("not_comparable")),
            contradiction=contradiction(mine),
        )
        entries[name] = Entry(name, mine, values, summarize(values) if values else None, verdict)
    if benchmark in LANGUAGE and reference and not followed(protocol, reference[1]):
        reference = None
    return Group(benchmark, task, architecture, profile, metric, recipe, protocol, entries, reference)


def contradiction(records: Iterable[Record]) -> str:
    """The first sentence in which one of some records contradicts itself, after its cell; empty where none does."""
    told = (f"record {r.cell.id} contradicts itself: {said}" for r in records for said in consistency.contradictions(r))
    return next(told, "")


def bits_per_token(number: Number) -> Number | None:
    """A published number of a language model in bits per token, or None where it is of something else."""
    if number.metric == "bits_per_token" or number.value is None:
        return number
    if number.metric != "token_perplexity" or number.value <= 0:
        return None
    std = None if number.std is None else number.std / (number.value * math.log(2))
    value = math.log2(number.value)
    return msgspec.structs.replace(number, metric="bits_per_token", unit="bits/token", value=value, std=std)


def bits(records: Sequence[Record]) -> tuple[float, ...]:
    """Bits per token of the test split of every record that was measured."""
    nats = [shown(r.metrics.get("nll_nats_per_token"), "") for r in records if r.status == "measured"]
    return tuple(value / math.log(2) for value in nats if value is not None)


def redrawn(protocol: dict[str, Any]) -> int:
    """How many test examples a protocol has where its data are generated, not those of the release; else 0."""
    count = protocol.get("test_count")
    return count if protocol.get("source") == "generated" and isinstance(count, int) and count > 0 else 0


def followed(protocol: dict[str, Any], number: Number) -> bool:
    """Whether a record's protocol is the one by which a number was published; no where neither says."""
    ours = text(protocol.get("comparable_to"))
    return ours != "" and ours == number.protocol


def seeds(group: Group) -> pd.DataFrame:
    """One row per seed of a group: values in the displayed unit with the Wilson interval of the finite test split."""
    rows = []
    for record in group.records:
        done = record.status == "measured"
        value = shown(record.metrics.get(group.metric), group.metric) if done else None
        count = record.predictions.count if record.predictions else record.protocol.get("test_count")
        low = high = None
        fraction = value / 100 if value is not None and group.unit else None
        if fraction is not None and 0 <= fraction <= 1 and isinstance(count, int) and count > 0:
            low, high = (100 * bound for bound in wilson_interval(fraction, count))
        rows.append(
            {
                "record": record,
                "framework": record.cell.framework,
                "seed": record.cell.seed,
                "status": record.status,
                "value": value,
                "low": low,
                "high": high,
                "validation": shown(record.metrics.get("validation_accuracy"), "accuracy") if done else None,
                "hardware": record.cell.hardware,
            }
        )
    return pd.DataFrame(rows)


def reached(record: Record, metric: str) -> tuple[float, int, int] | None:
    """What a run that was stopped had reached: the metric at its selected epoch, how many epochs it has, and of how
    many; None where it does not say."""
    value, epochs = shown(record.metrics.get(metric), metric), record.recipe.get("epochs")
    if record.status != "not finished" or value is None or not isinstance(epochs, int):
        return None
    return value, len(record.curves.get("epoch", [])), epochs


def curve(record: Record, axis: str, name: str, metric: str = "") -> pd.DataFrame:
    """Finite points (x, y) of one curve; y in the displayed unit of `metric`."""
    x, y = record.curves.get(axis, []), record.curves.get(name, [])
    points = [(a, shown(b, metric)) for a, b in zip(x, y, strict=False) if shown(a, "") is not None]
    frame = pd.DataFrame([point for point in points if point[1] is not None], columns=["x", "y"], dtype="float64")
    kept = frame.loc[frame.abs().max(axis=1) < 1e30]
    return kept.sort_values(by="x", kind="stable", ignore_index=True)


def activation(record: Record) -> pd.DataFrame:
    """Points (x, y, low, high): layer, mean share of active tokens and its quantiles in %, where all are numbers."""
    columns = {"x": "layer", "y": "mean", "low": "p05", "high": "p95"}
    rows = [
        [shown(row.get(name), "") for name in columns.values()] for row in record.tables.get("activation_rates", [])
    ]
    frame = pd.DataFrame([row for row in rows if None not in row], columns=list(columns), dtype="float64")
    frame[["y", "low", "high"]] *= 100
    return frame.loc[frame.abs().max(axis=1) < 1e30].sort_values(by="x", kind="stable", ignore_index=True)


def thin(frame: pd.DataFrame, points: int = 300) -> pd.DataFrame:
    """At most `points` rows, each the mean of neighbouring rows."""
    if len(frame) <= points:
        return frame
    size = -(-len(frame) // points)
    return pd.DataFrame(frame.groupby(frame.index // size, sort=True).mean())


def twin_difference(group: Group) -> dict[int, pd.DataFrame]:
    """Per seed that both frameworks ran: |train loss of JAX - of PyTorch| at equal steps, as points (x, y)."""
    found, sides = {}, []
    for name in FRAMEWORKS:
        curves = [(record.cell.seed, curve(record, "step", "step_loss")) for record in group.entries[name].records]
        sides.append({seed: points.drop_duplicates("x") for seed, points in curves if len(points)})
    for seed in sorted(set(sides[0]) & set(sides[1])):
        both = sides[0][seed].merge(sides[1][seed], on="x")
        if len(both):
            found[seed] = pd.DataFrame({"x": both["x"], "y": (both["y_x"] - both["y_y"]).abs()})
    return found


def parity(records: Sequence[Record], architecture: str) -> pd.DataFrame:
    """All checks of the parity ladder of one architecture, by rung, with the record that measured them."""
    columns = ["rung", "check", "case", "dtype", "error_jax", "error_torch", "error_between", "tolerance", "passed"]
    rows = [
        {**{name: row.get(name) for name in columns}, "rung": text(row.get("rung")), "record": record}
        for record in records
        if record.cell.architecture == architecture
        for row in record.tables.get("parity", [])
    ]
    frame = pd.DataFrame(rows, columns=[*columns, "record"], dtype="object")
    order = [(len(row["rung"]), *(text(row[name]) for name in columns[:4]), row["record"].cell.id) for row in rows]
    return frame.iloc[sorted(range(len(rows)), key=order.__getitem__)].reset_index(drop=True)


def leaves(values: Any, path: str = "") -> list[tuple[str, str]]:
    """Dotted names and texts of an open-ended dictionary, sorted by name."""
    if isinstance(values, dict) and values:
        return [leaf for key in sorted(values) for leaf in leaves(values[key], f"{path}.{key}" if path else str(key))]
    if isinstance(values, list) and values and all(isinstance(value, dict) for value in values):
        return [leaf for index, value in enumerate(values) for leaf in leaves(value, f"{path}.{index}")]
    if isinstance(values, list):
        return [(path, ", ".join(text(value) for value in values) or "–")]
    return [(path, text(values) or "–")]


def metric_text(name: str, value: float | None) -> str:
    """A metric with its unit."""
    number = shown(value, name)
    if number is None:
        return "not finite"
    if unit_of(name):
        return f"{number:.2f} %"
    if name.endswith("_bytes"):
        return names.amount(number)
    return f"{number:,.0f}" if number.is_integer() else f"{number:.6g}"
