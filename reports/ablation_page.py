"""The page of one ablation study: what each factor is, its levels against the base, and their effects as a figure;
and which factors nobody ran."""

from collections.abc import Iterator, Sequence

from reports import factors, figures, frames, tables
from reports.ablations import Family, Level, Study
from reports.blocks import (
    Block,
    Cell,
    Code,
    Column,
    Figures,
    Heading,
    Items,
    Page,
    Paragraph,
    Row,
    Span,
    Table,
    chip,
    number,
    plain,
)
from reports.render import slug
from reports.statistics import ALPHA, Effect
from reports.verdicts import p_text, signed

RULES = (
    "One factor is changed at a time; the unchanged recipe, the base, is shared by all factors.",
    "An effect is the mean over seeds of level minus base, both run with the same seed: the same initial values where "
    "shapes agree, and the same batches. Its interval is Student's t at 95 % of these differences, not corrected for "
    "the number of levels. With one seed there is no interval, and where a seed failed no effect.",
    "p is that of the paired t-test, corrected by Holm's rule for all levels of the factor in one framework: taking "
    "what is at most 0.05 for real is wrong anywhere in such a family with a probability of at most 5 %.",
    "Same examples: the two trained models of the first shared seed on the test split, McNemar's exact test and a "
    "bootstrap interval. It tells whether these two models differ, not whether the recipes do.",
    "Time: median update relative to the base on the same machine; cells that ran beside others share its cores.",
    "Tables of different factors, frameworks, profiles or hardware are not to be ranked against each other.",
)


def path(study: Study) -> str:
    """Page of a study."""
    return tables.task_path(study.task)


def every(found: Sequence[Study]) -> list[Study]:
    """The studies of some records, and one without a record of each architecture that has none."""
    ran = {study.architecture for study in found}
    names = dict.fromkeys(factor.architecture for factor in factors.shipped())
    return [*found, *(Study(f"ablation.{name}", name, {}) for name in names if name not in ran)]


def study_page(study: Study) -> Page:
    """One study: every factor with its levels, then those that nobody ran."""
    families = [family for of_factor in study.factors.values() for family in of_factor]
    ran = ", ".join(sorted({f"profile {family.profile} on {family.hardware}" for family in families}))
    told = f"{len(study.factors)} factor{'s' * (len(study.factors) > 1)}, one changed at a time; {ran}."
    lead = (
        Span(study.architecture, tables.architecture_path(study.architecture), "strong"),
        Span("·"),
        *((Span(told),) if families else (chip("not run"), Span("What the papers vary, and how to run it here."))),
    )
    blocks: list[Block] = [Paragraph(lead, "lead"), Items(tuple((Span(rule),) for rule in RULES), "How to read it")]
    for name, of_factor in study.factors.items():
        blocks += factor_blocks(study, name, of_factor)
    blocks += missing_blocks(study)
    trail = (Span("Results", "index.*"), Span("/ ablation"))
    return Page(path(study)[:-2], f"Ablations of {study.architecture}", "results", tuple(blocks), trail)


def missing_blocks(study: Study) -> Iterator[Block]:
    """The factors of the architecture without a record: what each is, and the command that runs it."""
    own = [factor for factor in factors.shipped() if factor.architecture == study.architecture]
    rows = []
    for factor in own:
        if factor.name in study.factors:
            continue
        published = f"on {factor.published_on}" if factor.published_on else ""
        chosen = {"benchmarks": "ablation", "factors": factor.name, "seeds": ("0", "1", "2"), "profile": "small"}
        cells = (
            Cell((Span(factor.title, "", "strong"), Span(factor.name, "", "quiet", line=True))),
            plain(factor.meaning),
            plain(", ".join(factor.levels)),
            Cell((Span(factor.paper or "–"), Span(published, "", "quiet", line=bool(published)))),
            plain(tables.run_command(**chosen), style="code"),
        )
        rows.append(Row(cells, slug(f"factor-{factor.name}").replace("_", "-")))
    if rows:
        columns = (
            Column("Factor"),
            Column("What is changed", grow=True),
            Column("Levels", grow=True),
            Column("Paper", grow=True),
            Column("Command", grow=True),
        )
        yield Heading("Not run here", anchor="not-run")
        yield Table("Factors without a record", columns, tuple(rows))


def factor_blocks(study: Study, name: str, families: tuple[Family, ...]) -> Iterator[Block]:
    """A factor: what it is, where it was published, and a table and a figure for each family."""
    facts = families[0].facts
    yield Heading(frames.text(facts.get("title")) or name, anchor=slug(f"factor-{name}"))
    said = {
        "Factor": name,
        "What is changed": frames.text(facts.get("meaning")),
        "Paper": frames.text(facts.get("paper")),
        "Published on": frames.text(facts.get("published_on")),
        "Changed here": ", ".join(sorted({frames.text(family.facts.get("task")) for family in families})),
    }
    rows = tuple(Row((plain(key), plain(value))) for key, value in said.items() if value)
    yield Table(f"Factor {name}", (Column("Property"), Column("Value", grow=True)), rows, style="facts")
    if said["Published on"] and said["Published on"] != said["Changed here"]:
        told = "The paper's study is on another task: its numbers are not comparable with these."
        yield Paragraph((chip("not comparable"), Span(told)), "note")
    for family in families:
        yield level_table(family)
        drawn = figures.effects(family, slug(_name(family)))
        if drawn:
            yield Figures((drawn,))
    for family in families:
        if not all(level.pairs for level in family.levels):
            task = frames.text(family.facts.get("task"))
            command = tables.run_command(
                benchmarks="ablation",
                factors=name,
                architectures=study.architecture,
                frameworks=family.framework,
                seeds=("0", "1", "2"),
                profile=family.profile,
                **({"on": task} if task else {}),
            )
            where = f"{tables.title(family.framework)}, profile {family.profile}"
            yield Code(command, f"To run what is missing: {where}")


def _name(family: Family) -> str:
    base = family.base.records[0] if family.base.records else None
    recipe = frames.fingerprint(base.recipe) if base else "none"
    return f"ablation-{family.factor}-{family.framework}-{family.profile}-{family.hardware}-{recipe}"


def level_table(family: Family) -> Table:
    """The base and the levels of a family."""
    unit = ", points" if family.unit else ""
    columns = (
        Column("Level"),
        Column("Recipe, base → level", grow=True),
        Column(f"{family.metric.replace('_', ' ')}{', %' if family.unit else ''}"),
        Column(f"Effect{unit}, 95 % interval"),
        Column("Holm p", numeric=True),
        Column("Same examples", grow=True),
        Column("Parameters", numeric=True),
        Column("Time / base", numeric=True),
    )
    rows = [_row(family, family.base)] + [_row(family, level) for level in family.levels]
    where = f"{tables.title(family.framework)}, profile {family.profile}, {family.hardware}"
    followed = frames.text((family.base.records or family.levels[0].records)[0].protocol.get("name"))
    where += f", protocol {followed}" if followed else ""
    return Table(f"{family.factor}: levels against the base; {where}", columns, tuple(rows))


def _row(family: Family, level: Level) -> Row:
    base = level is family.base
    count = level.parameters
    return Row(
        (
            Cell((Span(level_name(family, level), "", "strong"),)),
            plain(base_values(family) if base else changes_text(level.changes)),
            value_cell(family, level),
            plain("–", style="quiet") if base else effect_cell(family, level),
            p_cell(level),
            examples_cell(level),
            plain("–", style="quiet") if count is None else Cell((Span(f"{count:,.0f}"),), count),
            number(1.0 if base and level.values else level.seconds_ratio),
        )
    )


def level_name(family: Family, level: Level) -> str:
    """A level by its name; the base by that of the level that it is at."""
    if level is not family.base:
        return level.name
    own = frames.text(family.facts.get("base_level"))
    return f"{own} (base)" if own and own != "base" else "base"


def changes_text(changes: dict[str, str]) -> str:
    """The changed values, or where many are changed the parts of the recipe that they lie in."""
    if len(changes) <= 4:
        told = (f"{name.removeprefix('model.').removeprefix('layer.')}: {change}" for name, change in changes.items())
        return "; ".join(told) or "–"
    parts = sorted({".".join(name.split(".")[: 3 if name.startswith("model.placed") else 2]) for name in changes})
    return f"{len(changes)} fields of {', '.join(parts)}"


def base_values(family: Family) -> str:
    """The base's values of what the levels change, where these are few."""
    found: dict[str, str] = {}
    for level in family.levels:
        if len(level.changes) <= 4:
            found |= {name: change.partition(" → ")[0] for name, change in level.changes.items() if " → " in change}
    told = (f"{name.removeprefix('model.').removeprefix('layer.')}: {value}" for name, value in found.items())
    return "; ".join(told) or "the unchanged recipe"


def difference(family: Family, value: float) -> str:
    """A difference with its sign, in the digits of its unit: points have two, losses four."""
    return f"{value:+.{2 if family.unit else 4}f}".replace("-", "−")


def value_cell(family: Family, level: Level) -> Cell:
    """Mean and spread over seeds, each seed linked to its record, and a chip for what has no value."""
    spans: list[Span] = []
    summary = level.summary
    if summary:
        digits = 2 if family.unit else 4
        spread = "" if summary.std is None else f" ± {summary.std:.{digits}f}"
        spans.append(Span(f"{summary.mean:.{digits}f}{spread}", "", "value"))
        done = [record for record in level.records if record.status == "measured"]
        spans.append(Span(f"n = {summary.n}, seed{'s' if len(done) > 1 else ''}", "", "quiet", line=True))
        spans += [Span(str(record.cell.seed), tables.cell_path(record), "quiet") for record in done]
    spans += [chip(record.status, href=tables.cell_path(record)) for record in level.unfinished]
    return Cell(tuple(spans) or (chip("not run"),), summary.mean if summary else "")


def effect_cell(family: Family, level: Level) -> Cell:
    """The paired effect with its interval, or the reason why there is none."""
    effect = level.effect
    if effect is None:
        return Cell((Span("no pair: a seed failed or the base is not run", "", "quiet"),), "")
    told = Span(interval_text(family, effect), "", "quiet", line=True)
    return Cell((Span(difference(family, effect.difference), "", "value"), told), effect.difference)


def interval_text(family: Family, effect: Effect) -> str:
    """The interval of an effect in words."""
    if effect.n == 1:
        return "one seed: no interval"
    if effect.low is None or effect.high is None:
        return f"all differences are equal: no interval, n = {effect.n}"
    return f"{difference(family, effect.low)} to {difference(family, effect.high)}, n = {effect.n}"


def p_cell(level: Level) -> Cell:
    """The corrected p-value."""
    if level.p is None:
        return Cell((Span("–", "", "quiet"),))
    return Cell((Span(p_text(level.p).removeprefix("= ")),), level.p)


def examples_cell(level: Level) -> Cell:
    """The first pair of models on the same examples."""
    found = level.examples
    if found is None:
        return plain("–", style="quiet")
    own = level.pairs[0][0]
    low, high = signed(100 * found.low), signed(100 * found.high)
    told = (
        f"{low} to {high}, McNemar p {p_text(found.p)}; only the level right {found.only_first}, only the base "
        f"{found.only_second} of {found.count}"
    )
    spans = (Span(f"seed {own.cell.seed}: {signed(100 * found.difference)}"), Span(told, "", "quiet", line=True))
    return Cell(spans, found.difference)


def summary_table(studies: list[Study]) -> Table:
    """Every level of every study on one line, for the terminal."""
    columns = (Column("Factor"), Column("Level"), Column("Run"), Column("Value"), Column("Effect"), Column("Holm p"))
    rows = [
        Row(
            (
                plain(family.factor),
                plain(level_name(family, level)),
                plain(f"{family.framework}, {family.profile}, {family.hardware}"),
                value_cell(family, level),
                plain("–") if level is family.base else effect_cell(family, level),
                p_cell(level),
            )
        )
        for study in studies
        for families in study.factors.values()
        for family in families
        for level in (family.base, *family.levels)
    ]
    return Table("Ablations", columns, tuple(rows))


def conclusions(studies: list[Study]) -> list[tuple[Span, ...]]:
    """A line for each family with tests: which levels differ from the base."""
    found = []
    for family in (family for study in studies for families in study.factors.values() for family in families):
        tested = [level for level in family.levels if level.p is not None]
        apart = [level for level in tested if level.p is not None and level.p <= ALPHA]
        if tested:
            where = f"{tables.title(family.framework)}, profile {family.profile}, {family.hardware}"
            names = ", ".join(f"{x.name} {difference(family, x.effect.difference)}" for x in apart if x.effect)
            told = (
                f"Ablation {family.factor} ({where}): {len(apart)} of {len(tested)} tested levels differ from the base"
            )
            found.append((Span(f"{told} (Holm p ≤ {ALPHA:g}){': ' * bool(names)}{names}."),))
    return found


def links(studies: list[Study]) -> list[tuple[Span, ...]]:
    """A line for each study on the overview."""
    return [
        (
            Span("Ablations"),
            Span(f"of {s.architecture}", path(s)),
            *((Span(", ".join(s.factors)),) if s.factors else ()),
        )
        for s in studies
    ]
