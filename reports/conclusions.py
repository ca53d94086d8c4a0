"""What the records of a report allow to be concluded, and of how many seeds or runs: computed, never written down."""

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from reports import frames, speed, tables
from reports.blocks import Span, Spans
from reports.frames import FRAMEWORKS, Entry, Group
from reports.records import Record
from reports.speed import SpeedRun
from reports.statistics import Sample, mean_interval, summarize
from reports.verdicts import signed

WITH_GRADIENTS = "forward and backward"


def learned(groups: Sequence[Group]) -> Iterator[Spans]:
    """Which models learn more than the frequencies of classes or tokens; a line for each task and profile."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for group in groups:
        told = _bits(group) if group.benchmark in frames.LANGUAGE else _classes(group)
        if told:
            found.setdefault((group.task, group.profile, told[0]), []).append(f"{group.title} {told[1]}")
    for (task, profile, claim), values in found.items():
        yield [Span(f"{task}, profile {profile}: {claim}:"), Span("; ".join(values) + ".")]


def _classes(group: Group) -> tuple[str, str] | None:
    """Whether every seed lies above the majority class by the Wilson interval of its test split, and the means."""
    entries = [entry for entry in group.entries.values() if entry.summary]
    if group.majority is None or not entries or not group.unit:
        return None
    low = [value for value in frames.seeds(group)["low"] if value is not None and value > group.majority]
    above = len(low) == sum(len(entry.values) for entry in entries)
    verb = "every seed lies above" if above else "not every seed lies above"
    claim = f"{verb} the majority class ({group.majority:.2f} %)"
    return claim, ", ".join(f"{tables.title(e.framework)} {mean_text(e)}" for e in entries)


def _bits(group: Group) -> tuple[str, str] | None:
    """Whether every seed needs fewer bits than a model that knows only how often each token occurs, and the values."""
    measured = [record for record in group.records if record.status == "measured"]
    pairs = [(record.metrics.get("bits_per_byte"), record.metrics.get("unigram_bits_per_byte")) for record in measured]
    known = [(own, other) for own, other in pairs if own is not None and other is not None]
    if not known:
        return None
    verb = "every seed needs" if all(own < other for own, other in known) else "not every seed needs"
    claim = f"{verb} fewer bits per byte than token frequencies ({known[0][1]:.3f})"
    return claim, ", ".join(f"{own:.3f}" for own, _ in known)


def mean_text(entry: Entry) -> str:
    """Mean and number of seeds."""
    return f"{entry.summary.mean:.2f} % (n = {entry.summary.n})" if entry.summary else "–"


def twins(groups: Sequence[Group]) -> Iterator[Spans]:
    """How far the twins' final values lie apart where they share several seeds; one seed allows no conclusion."""
    alone = []
    for group in groups:
        sample = difference(group)
        interval = mean_interval(sample) if sample else None
        if sample and interval:
            unit = " points" if group.unit else ""
            mean, low, high = (signed(value, group.decimals) for value in (sample.mean, *interval))
            told = f"{group.title} on {group.task}, profile {group.profile}: JAX − PyTorch is {mean}{unit} "
            told += f"over {sample.n} shared seeds, 95 % interval {low} to {high}: "
            yield [Span(told + ("no difference is shown." if interval[0] <= 0 <= interval[1] else "they differ."))]
        elif sample:
            alone.append(f"{group.title} on {group.task} ({group.profile})")
    if alone:
        many = f"{len(alone)} pairs of twins share" if len(alone) > 1 else "A pair of twins shares"
        told = f"{many} one seed only, which allows no conclusion about their difference: {', '.join(alone)}."
        yield [Span(told)]


def difference(group: Group) -> Sample | None:
    """JAX − PyTorch over the seeds that both measured."""
    by_seed = [
        {
            r.cell.seed: frames.shown(r.metrics.get(group.metric), group.metric)
            for r in group.entries[name].with_status("measured")
        }
        for name in FRAMEWORKS
    ]
    pairs = [(by_seed[0][seed], by_seed[1][seed]) for seed in sorted(set(by_seed[0]) & set(by_seed[1]))]
    found = [a - b for a, b in pairs if a is not None and b is not None]
    return summarize(found) if found else None


def speeds(records: Sequence[Record]) -> Iterator[Spans]:
    """Of each run of layer speed: which layers are faster or slower than its first one at the longest length, in the
    first mode and with the backward pass; its page has the others."""
    for run in speed.runs(records):
        modes = [mode for place, mode in enumerate(run.modes) if not place or mode == WITH_GRADIENTS]
        told = " ".join(filter(None, (_against_first(run, mode) for mode in modes)))
        if told:
            unfinished = "" if run.record.status == "measured" else f" The run did not end ({run.record.status})."
            place = Span(run.title, f"speed.*#{run.anchor}")
            many = f"{len(run.records)} runs, one for each layer," if len(run.records) > 1 else "One run"
            yield [place, Span(f"{told} {many} on one machine.{unfinished}")]


def _against_first(run: SpeedRun, mode: str) -> str:
    """Layers by how their times, 20 % to 80 % of the turns, lie to those of the first layer."""
    rows = [row for row in run.points.to_dict("records") if row["mode"] == mode]
    own = {row["length"]: row for row in rows if row["layer"] == run.layers[0]}
    others = [row for row in rows if row["layer"] != run.layers[0] and row["length"] in own]
    longest = max((row["length"] for row in others), default=0)
    found: dict[str, list[str]] = {}
    for row in others:
        if row["length"] != longest:
            continue
        first = own[longest]
        word = "faster" if row["ms_p80"] < first["ms_p20"] else "slower" if row["ms_p20"] > first["ms_p80"] else "equal"
        share = _share(run, row["layer"], longest)
        active = f", {100 * share:.0f} % of tokens active" if share is not None else ""
        within = row["ratio_to_first"]  # of the turns, as the page of speed has it
        ratio = within if math.isfinite(within) else row["ms_p50"] / first["ms_p50"]
        found.setdefault(word, []).append(f"{row['layer']} ({ratio:.2f} times its time{active})")
    words = {"faster": "faster than", "slower": "slower than", "equal": "not told apart from"}
    parts = [f"{words[word]} {run.layers[0]}: {', '.join(found[word])}" for word in words if word in found]
    start = mode[:1].upper() + mode[1:] or "Time"
    return f"{start} at {longest:,} positions, {'; '.join(parts)}." if parts else ""


def _share(run: SpeedRun, layer: str, length: int) -> float | None:
    """The measured share of active tokens of a layer that chooses some."""
    rows = [row for record in run.records for row in record.tables[speed.TABLE]]
    rows = [row for row in rows if (row.get("layer"), row.get("length")) == (layer, length)]
    found = [share for row in rows if (share := frames.shown(row.get("active_share"), "")) is not None]
    return found[0] if found else None


def lengths(groups: Sequence[Group]) -> Iterator[Spans]:
    """What reading more tokens than in training does to the trained language models; a line per task and lengths, means
    over the seeds of an architecture that go the same way."""
    found: dict[tuple[str, str, float, float], dict[str, dict[str, list[tuple[float, float]]]]] = {}
    for group in groups:
        for record in group.records:
            told = _extrapolation(record)
            if told:
                trained, longest, before, after = told
                direction = "fall" if after < before else "rise" if after > before else "stay"
                name = f"{group.title} {tables.title(record.cell.framework)}"
                key = (group.task, group.profile, trained, longest)
                models = found.setdefault(key, {}).setdefault(direction, {})
                models.setdefault(name, []).append((before, after))
    for (task, profile, trained, longest), directions in found.items():
        told = "; ".join(
            f"{direction} for {', '.join(_change(name, seeds) for name, seeds in models.items())}"
            for direction, models in directions.items()
        )
        number = sum(len(seeds) for models in directions.values() for seeds in models.values())
        caveat = f"{number} trained models, one per seed" if number > 1 else "one trained model, one seed"
        start = f"{task}, profile {profile}: trained at {trained:,.0f} tokens and read to {longest:,.0f}, bits per byte"
        yield [Span(f"{start} {told}. Of {caveat}, not of architectures in general.")]


def _change(name: str, seeds: Sequence[tuple[float, float]]) -> str:
    before, after = (sum(values) / len(seeds) for values in zip(*seeds, strict=True))
    count = f", {len(seeds)} seeds" if len(seeds) > 1 else ""
    return f"{name} ({before:.3f} → {after:.3f}{count})"


def _extrapolation(record: Record) -> tuple[float, float, float, float] | None:
    """The length of training, the longest one that was read, and the bits per byte at both."""
    language = record.recipe.get("language")
    trained = language.get("segment") if isinstance(language, dict) else None
    points = {}
    for row in record.tables.get("perplexity_by_length", []):
        length, bits = (frames.shown(row.get(name), "") for name in ("length", "bits_per_byte"))
        if length is not None and bits is not None:
            points[length] = bits
    if record.status != "measured" or not isinstance(trained, int) or trained not in points or max(points) <= trained:
        return None
    return trained, max(points), points[trained], points[max(points)]


def activation(groups: Sequence[Group]) -> Iterator[Spans]:
    """What share of the tokens the layers of each trained model let through that choose some."""
    for group in groups:
        tables_of = [frames.activation(record) for record in group.records if record.status == "measured"]
        means = [list(frame["y"]) for frame in tables_of if len(frame)]
        if means:
            every = [share for shares in means for share in shares]
            seeds = f"{len(means)} trained model{'s' * (len(means) > 1)}"
            told = (
                f"{group.title} on {group.task}, profile {group.profile}: layers process {fmean(every):.0f} % of the "
            )
            yield [Span(f"{told}tokens on average, from {min(every):.0f} to {max(every):.0f} % by layer ({seeds}).")]
