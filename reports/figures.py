"""Figures as deterministic inline SVG that reads on light and dark: transparent, axes in currentColor, text as text."""

import io
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis, YAxis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter, FixedLocator, LogLocator, MaxNLocator, NullFormatter

from reports import frames
from reports.ablations import Family
from reports.blocks import Figure
from reports.frames import FRAMEWORK_TITLE, FRAMEWORKS, Group
from reports.records import Record
from reports.render import slug
from reports.statistics import Effect

INK = "#0a0b0c"  # stands for currentColor until the SVG is written
# At least 3:1 against white and against the dark background of templates/style.css.
COLOURS = {"jax": "#2f7fd1", "torch": "#d2622a"}
LAYERS = ("#7f8891", "#d2622a", "#2f7fd1", "#3d9150", "#9065cf", "#b5832a", "#c2527f", "#2a9199")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
OTHER, PUBLISHED, MAJORITY = "#3d9150", "#9065cf", "#7f8891"
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "longseq-bench",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


def of_group(group: Group) -> list[Figure]:
    """Every figure of one row of the result table for which there are data."""
    name = slug(
        f"{group.task}-{group.architecture}-{group.profile}-{group.recipe}-{frames.fingerprint(group.protocol)}"
    )
    made = [
        train_loss(group.records, f"{name}-loss"),
        validation(group, group.records, f"{name}-accuracy"),
        twin_difference(group, f"{name}-difference"),
        seed_dots(group, f"{name}-seeds"),
        activation(group.records, f"{name}-activation"),
    ]
    return [figure for figure in made if figure]


def of_record(record: Record, group: Group) -> list[Figure]:
    """The learning curves of one record."""
    name = slug(f"cell-{record.cell.id}")
    made = [train_loss([record], f"{name}-loss"), validation(group, [record], f"{name}-accuracy")]
    made.append(activation([record], f"{name}-activation"))
    return [figure for figure in made if figure]


def train_loss(records: Sequence[Record], name: str) -> Figure | None:
    """Training loss per step, or per epoch where no steps were kept; twins overlaid."""
    per_step = any(record.curves.get("step_loss") for record in records)
    axis, key = ("step", "step_loss") if per_step else ("epoch", "train_loss")
    curves = _curves(records, axis, key)
    if not curves:
        return None

    def draw(axes: Axes) -> None:
        _overlay(axes, curves)
        axes.set(xlabel=axis, ylabel="training loss")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        _legend(axes)

    caption = f"Training loss per {axis}." + (" Neighbouring steps are averaged." if per_step else "")
    return Figure(name, _svg(draw, name), caption, f"Line chart, training loss per {axis}. {_last(curves, '')}")


def validation(group: Group, records: Sequence[Record], name: str) -> Figure | None:
    """Validation accuracy per epoch with the majority class and the published value; the test accuracy where a protocol
    has no validation split."""
    split = "validation" if any(record.curves.get("validation_accuracy") for record in records) else "test"
    curves = _curves(records, "epoch", f"{split}_accuracy", "accuracy")
    if not curves:
        return None
    published = group.reference[1].value if group.reference and group.unit == "%" else None
    known = [("majority class", group.majority, MAJORITY, ":"), ("published (test)", published, PUBLISHED, "-.")]
    lines = [(label, value, colour, style) for label, value, colour, style in known if value is not None]

    def draw(axes: Axes) -> None:
        _overlay(axes, curves, marker="o")
        for label, value, colour, style in lines:
            axes.axhline(value, color=colour, linestyle=style, linewidth=1.4, label=label)
        axes.set(xlabel="epoch", ylabel=f"{split} accuracy, %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes)

    said = " ".join(f"{label[0].upper()}{label[1:]}: {value:.2f} %." for label, value, _, _ in lines)
    alt = f"Line chart, {split} accuracy per epoch. {_last(curves, ' %')} {said}".strip()
    why = "" if split == "validation" else " There is no validation split."
    return Figure(name, _svg(draw, name), f"{split.capitalize()} accuracy per epoch.{why}", alt)


def twin_difference(group: Group, name: str) -> Figure | None:
    """How far the training losses of the twins lie apart at each step, one line per seed, logarithmic."""
    found = {seed: points.loc[points["y"] > 0] for seed, points in frames.twin_difference(group).items()}
    found = {seed: points for seed, points in found.items() if len(points)}
    if not found:
        return None

    def draw(axes: Axes) -> None:
        for index, (seed, points) in enumerate(found.items()):
            shown = frames.thin(points.reset_index(drop=True))
            style = {
                "alpha": max(0.35, 1 - 0.2 * index),
                "linewidth": 1.2,
                "label": f"seed {seed}" if index < 4 else "",
            }
            axes.plot(shown["x"], shown["y"], color=PUBLISHED, **style)
        axes.set(xlabel="step", ylabel="|JAX − PyTorch| training loss", yscale="log")
        _log_ticks(axes.yaxis)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        _legend(axes)

    largest = max(points["y"].max() for points in found.values())
    caption = "Distance of the twins' training losses; bit-equal steps are left out."
    alt = f"Line chart on a log scale, absolute difference of the training losses per step, at most {largest:.1e}."
    return Figure(name, _svg(draw, name), caption, alt)


def seed_dots(group: Group, name: str) -> Figure | None:
    """Every seed's headline value against the published value and its standard deviation; one value needs no figure."""
    entries = [entry for entry in group.entries.values() if entry.values]
    if sum(len(entry.values) for entry in entries) < 2:
        return None
    number = group.reference[1] if group.reference and group.reference[1].unit == group.unit else None

    def draw(axes: Axes) -> None:
        for row, entry in enumerate(entries):
            colour = COLOURS.get(entry.framework, OTHER)
            axes.plot(entry.values, [row] * len(entry.values), "o", color=colour, alpha=0.75, markersize=6, zorder=3)
        if number and number.value is not None:
            axes.axvline(number.value, color=PUBLISHED, linestyle="-.", linewidth=1.4, label="published")
            if number.std:
                low, high = number.value - number.std, number.value + number.std
                axes.axvspan(low, high, color=PUBLISHED, alpha=0.22, linewidth=0, label="± its std")
        axes.set_yticks(range(len(entries)), [_label(entry.framework) for entry in entries])
        axes.set_ylim(len(entries) - 0.4, -0.6)
        axes.set_xlabel(f"{_plain(group.metric.replace('_', ' '))}{', %' if group.unit else ''}")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.6g}")  # whole numbers, not what is left of an offset
        _legend(axes)

    digits = group.decimals
    told = "; ".join(
        f"{_label(e.framework)}: {', '.join(f'{value:.{digits}f}' for value in e.values)}" for e in entries
    )
    against = f" Published: {number.value:.{digits}f}." if number and number.value is not None else ""
    alt = f"Dot plot, one dot per seed. {told}.{against}"
    return Figure(name, _svg(draw, name, height=1.1 + 0.42 * len(entries)), "One dot per seed.", alt)


def layer_speed(points: pd.DataFrame, name: str, title: str) -> Figure:
    """Time against length, both logarithmic, one line per layer: the median and the band between the quantiles.

    `points` has the columns layer, length, ms_p20, ms_p50, ms_p80 of one mode, its layers in the order of the legend.
    """
    layers = list(dict.fromkeys(points["layer"]))

    def draw(axes: Axes) -> None:
        for index, layer in enumerate(layers):
            shown = points.loc[points["layer"] == layer].sort_values(by="length")
            colour, marker = LAYERS[index % len(LAYERS)], MARKERS[index % len(MARKERS)]
            axes.plot(
                shown["length"], shown["ms_p50"], color=colour, marker=marker, markersize=3.6, linewidth=1.4,
                label=_plain(layer) if index < 10 else "",
            )  # fmt: skip
            axes.fill_between(shown["length"], shown["ms_p20"], shown["ms_p80"], color=colour, alpha=0.2, linewidth=0)
        lengths = sorted(set(points["length"]))
        axes.set(xlabel="length, positions", ylabel="time, ms", xscale="log", yscale="log")
        named = lengths[:: -(-len(lengths) // 7)]
        axes.set_xticks(named, [f"{length:,}" for length in named])
        axes.xaxis.set_minor_formatter(NullFormatter())
        _log_ticks(axes.yaxis)
        _legend(axes)

    longest = points.loc[points["length"] == points["length"].max()]
    told = "; ".join(f"{_plain(row['layer'])} {row['ms_p50']:.3g} ms" for row in longest.to_dict("records"))
    caption = f"{title}: median time of one layer, shaded from the 20 % to the 80 % quantile of the turns."
    alt = f"Line chart on two log scales, time of one layer against length. At {longest['length'].max():,}: {told}."
    return Figure(name, _svg(draw, name, height=3.3), caption, alt)


def activation(records: Sequence[Record], name: str) -> Figure | None:
    """What share of its tokens each layer activates: the mean over test sequences, and a band of nine in ten."""
    found = [(record, frames.activation(record)) for record in records]
    curves = [(record, points) for record, points in found if len(points)]
    if not curves:
        return None

    def draw(axes: Axes) -> None:
        for record, points in curves:
            colour = COLOURS.get(record.cell.framework, OTHER)
            axes.fill_between(points["x"], points["low"], points["high"], color=colour, alpha=0.15, linewidth=0)
        _overlay(axes, curves, marker="o")
        axes.set(xlabel="layer", ylabel="active tokens, %", ylim=(0, 100))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _legend(axes)

    means = [f"{_label(r.cell.framework)} seed {r.cell.seed} {points['y'].mean():.1f} %" for r, points in curves]
    caption = "Active tokens by layer after the last update: mean and central 90 % of the test sequences."
    alt = f"Line chart with bands, share of active tokens by layer. Means over the layers: {', '.join(means[:8])}."
    return Figure(name, _svg(draw, name), caption, alt)


def effects(family: Family, name: str) -> Figure | None:
    """The paired effect of every level with its interval; zero is the base."""
    shown = [(level.name, level.effect) for level in family.levels if level.effect]
    if not shown:
        return None
    unit = " points" if family.unit else ""

    def draw(axes: Axes) -> None:
        colour = COLOURS.get(family.framework, OTHER)
        axes.axvline(0.0, color=MAJORITY, linestyle=":", linewidth=1.4, label="base")
        for row, (_, effect) in enumerate(shown):
            if effect.low is not None and effect.high is not None:
                axes.plot([effect.low, effect.high], [row, row], color=colour, linewidth=2.4, solid_capstyle="butt")
            filled = colour if effect.n > 1 else "none"
            axes.plot([effect.difference], [row], "o", color=colour, markerfacecolor=filled, markersize=6.5, zorder=3)
        axes.set_yticks(range(len(shown)), [_plain(level) for level, _ in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        low, high = axes.get_xlim()
        if family.unit:
            axes.set_xlim(min(low, -0.5), max(high, 0.5))
        axes.set_xlabel(f"level − base, {_plain(family.metric.replace('_', ' '))}{unit}")
        widest = max(len(_plain(level)) for level, _ in shown)
        axes.figure.subplots_adjust(left=min(0.45, 0.05 + 0.0135 * widest))
        _legend(axes)

    said = "; ".join(f"{_plain(level)} {effect.difference:+.4g}{_bounds(effect)}" for level, effect in shown)
    alt = f"Dot plot of effects against the base, {_label(family.framework)}. {said}."
    caption = f"{_label(family.framework)}: effect with its 95 % interval over seeds; hollow where there is one seed."
    return Figure(name, _svg(draw, name, height=1.1 + 0.34 * len(shown)), caption, alt)


def _bounds(effect: Effect) -> str:
    return "" if effect.low is None else f" ({effect.low:+.4g} to {effect.high:+.4g}, n = {effect.n})"


def standalone(svg: str) -> bytes:
    """The same SVG as a file of its own, which follows the reader's colour scheme."""
    style = "<style>svg{color:#1d2329}@media (prefers-color-scheme:dark){svg{color:#e3e7ea}}</style>"
    return (re.sub(r"(<svg[^>]*>)", rf"\1{style}", svg, count=1) + "\n").encode("utf-8")


def _curves(records: Sequence[Record], axis: str, key: str, metric: str = "") -> list[tuple[Record, pd.DataFrame]]:
    found = [(record, frames.curve(record, axis, key, metric)) for record in records]
    return [(record, points) for record, points in found if len(points)]


def _overlay(axes: Axes, curves: Sequence[tuple[Record, pd.DataFrame]], marker: str = "") -> None:
    """JAX as a broad line, PyTorch dashed on top, so that equal curves show both; one legend entry per framework."""
    named: set[str] = set()
    for record, points in curves:
        framework = record.cell.framework
        shown = frames.thin(points)
        front = framework != FRAMEWORKS[0]
        axes.plot(
            shown["x"],
            shown["y"],
            color=COLOURS.get(framework, OTHER),
            linewidth=1.4 if front else 3.0,
            linestyle=(0, (4, 2)) if front else "-",
            alpha=0.95 if front else 0.6,
            marker=marker if len(shown) <= 60 else "",
            markersize=3.0,
            label="" if framework in named else _label(framework),
        )
        named.add(framework)


def _legend(axes: Axes) -> None:
    """Above the axes, where it hides nothing: in one line if that is not wider than the figure."""
    labels = axes.get_legend_handles_labels()[1]
    if not labels:
        return
    widths = [3.4 + 0.55 * len(label) for label in labels]  # in letters m, the sign before a label included
    columns = len(labels) if sum(widths) <= 42 else max(1, int(42 / max(widths)))
    lines = -(-len(labels) // columns)
    if lines > 1:
        canvas: Any = axes.figure
        canvas.subplots_adjust(top=1 - (0.13 + 0.17 * lines) / canvas.get_figheight())
    spacing = {"handlelength": 1.7, "columnspacing": 1.2, "handletextpad": 0.5, "borderaxespad": 0.2}
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, **spacing)


def _log_ticks(axis: Axis) -> None:
    """Labels of a logarithmic axis: at 1, 2 and 5 of each decade, or in even steps where it has less than that."""
    low, high = axis.get_view_interval()
    if high >= 8 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 1e3 * low else (1.0,)))
    else:
        axis.set_major_locator(FixedLocator([v for v in MaxNLocator(5).tick_values(low, high) if low <= v <= high]))
    axis.set_major_formatter(lambda value, _: _short(value))
    axis.set_minor_formatter(NullFormatter())
    widest = max((len(_short(value)) for value in axis.get_majorticklocs() if low <= value <= high), default=0)
    if isinstance(axis, YAxis) and widest > 5:
        canvas: Any = axis.figure
        canvas.subplots_adjust(left=(0.72 + 0.075 * (widest - 5)) / canvas.get_figwidth())


def _short(value: float) -> str:
    return f"{value / 1e3:.6g}k" if value >= 1e4 else f"{value:.6g}" if value >= 1e-3 else f"{value:.2g}"


def _length_ticks(axis: Axis) -> None:
    """Labels of a logarithmic axis of lengths: powers of two, and not more than have room."""
    low, high = (math.log2(value) for value in axis.get_view_interval())
    powers = range(math.ceil(low), math.floor(high) + 1)
    axis.set_major_locator(FixedLocator([2.0**power for power in powers[:: -(-len(powers) // 7) or 1]]))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_minor_formatter(NullFormatter())


def _last(curves: Sequence[tuple[Record, pd.DataFrame]], unit: str) -> str:
    parts = [f"{_label(r.cell.framework)} seed {r.cell.seed} {points['y'].iloc[-1]:.4g}{unit}" for r, points in curves]
    more = f" and {len(parts) - 8} more" if len(parts) > 8 else ""
    return f"Last values: {', '.join(parts[:8])}{more}."


def _label(framework: str) -> str:
    return FRAMEWORK_TITLE.get(framework, _plain(framework))


def _plain(value: str) -> str:
    """Text that every font has and no parser reads."""
    return re.sub(r"^_|[^A-Za-z0-9 .,:;+=%()/_-]", "?", value)[:40]


def _svg(draw: Callable[[Axes], None], name: str, height: float = 2.9) -> str:
    with matplotlib.rc_context(rc=SETTINGS):
        width = 5.2
        canvas = Canvas(figsize=(width, height))
        left, right, bottom, top = 0.72 / width, 1 - 0.12 / width, 0.48 / height, 1 - 0.3 / height
        canvas.subplots_adjust(left, bottom, right, top)
        FigureCanvasSVG(canvas)
        canvas.patch.set_visible(False)
        axes = canvas.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", svg).replace(INK, "currentColor")
    # Several figures share a page: their ids must not meet.
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
