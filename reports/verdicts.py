"""What may be concluded: the rules that turn measured seeds and a published number into a verdict.

Only runs of the paper's own recipe (profile `paper`) under a protocol that follows the published one are judged, and
always all of their seeds. Everything else is `not comparable` and says why.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scipy import stats

from reports import margins
from reports.published import Number
from reports.statistics import ALPHA, POWER, Comparison, Sample, equivalence, holm, required_runs, summarize

Status = Literal["measured", "compiled", "published", "not finished", "failed", "no data", "not run"]
Kind = Literal["reproduced", "above", "below", "underpowered", "not comparable"]

STATUS_MEANING: dict[str, str] = {
    "measured": "the cell was run to its end here; its record has every number",
    "compiled": "its programs were compiled for absent hardware; memory and FLOPs are the compiler's, never a time",
    "published": "printed in a paper and transcribed; not run here",
    "not finished": "the training was stopped before its end; its record has what it had reached, without a verdict",
    "failed": "the cell was started and did not end; its record has the reason and the end of its log",
    "no data": "the data set is not on the machine that ran the selection",
    "not run": "nobody ran this cell here; its record says why, or the command that runs it is given",
}

VERDICT_MEANING: dict[str, str] = {
    "reproduced": "the 90 % interval of the difference to the published mean lies inside the margin",
    "above": "the whole interval lies above the margin",
    "below": "the whole interval lies below the margin",
    "underpowered": "the seeds so far do not decide; how many would, if any number can, is said",
    "not comparable": "another recipe or protocol, failed seeds, a record that contradicts itself or an unchecked "
    "transcription; the reason is named",
}

KINDS: dict[str, Kind] = {"equivalent": "reproduced", "above": "above", "below": "below"}
NO_SPREAD = "The paper prints no spread of its runs, so that no number of seeds here would decide"

# A printed std needs two runs or more; where the paper does not say how many, it counts as the fewest.
UNSTATED_RUNS = 2
MOST_RUNS = 1000


@dataclass(frozen=True)
class Tested:
    """What a verdict was tested on: measured seeds, the published number, the margin and the p of its claim.

    `stated` is whether the paper says how many runs its number stands on.
    """

    measured: Sample
    published: Sample
    margin: float
    unit: str
    stated: bool
    p: float = 1.0

    @property
    def difference(self) -> float:
        """Measured less published mean."""
        return self.measured.mean - self.published.mean

    @property
    def side(self) -> str:
        """Where the difference lies."""
        return "inside" if abs(self.difference) < self.margin else "outside"


@dataclass(frozen=True)
class Verdict:
    """A verdict and the sentences that give its reason; `needs` is how many seeds in all would decide."""

    kind: Kind
    reason: str
    needs: int | None = None
    tested: Tested | None = None

    @property
    def label(self) -> str:
        """The verdict as it is printed."""
        return f"{self.kind} (needs n ≥ {self.needs})" if self.needs else self.kind

    @property
    def short(self) -> str:
        """The first sentence of the reason."""
        return self.reason.partition(". ")[0]


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def digits_beside(margin: float) -> int:
    """How many decimals of a difference are told beside a margin: those that show where in it the difference lies."""
    return 2 if margin >= 0.1 else 3


def judge(
    values: Sequence[float],
    number: Number | None,
    *,
    benchmark: str,
    metric: str,
    profile: str,
    comparable_to: str,
    failed: int = 0,
    redrawn: int = 0,
    why: str = "",
    contradiction: str = "",
) -> Verdict:
    """Judge the values of all seeds, accuracies in percent, against one published number.

    `redrawn` counts the test examples where they are another draw from the published distribution, as generated data
    are: the reason then says what such a draw does. `why` is what runs of the paper's profile say themselves of why
    they are compared with nothing. `contradiction` is what a record says against itself: no number of it stands then.
    """
    if contradiction:
        return Verdict("not comparable", contradiction)
    found = _judged(values, number, benchmark, metric, profile, comparable_to, failed)
    if why and values and profile == "paper" and found.kind == "not comparable":
        return replace(found, reason=why)
    if not redrawn or found.kind == "not comparable":
        return found
    return replace(found, reason=f"{found.reason}. {draw(summarize(values).mean, redrawn, metric)}")


def draw(value: float, count: int, metric: str = "accuracy") -> str:
    """What two draws of so many test examples do to the difference of accuracies in percent; no interval holds it. Of
    another metric, that nobody measured it."""
    told = f"Beside the seeds there is the draw: these {count:,} test examples are not the published ones, and "
    if not metric.endswith("accuracy"):
        return f"{told}how far two draws of as many lie apart in {metric} was not measured"
    share = min(max(value / 100, 0.0), 1.0)
    one = 100 * math.sqrt(share * (1 - share) / count)
    return (
        f"{told}two draws of as many differ by {math.sqrt(2) * one:.2f} points (standard deviation), whatever is run "
        "on them"
    )


def _judged(
    values: Sequence[float],
    number: Number | None,
    benchmark: str,
    metric: str,
    profile: str,
    comparable_to: str,
    failed: int,
) -> Verdict:
    reason = _not_comparable(values, number, benchmark, metric, profile, comparable_to, failed)
    if reason or number is None or number.value is None:
        return Verdict("not comparable", reason or "there is no published number of this task and architecture")
    stated = margins.margin(benchmark, number)
    if stated is None:
        raise ValueError("a number without a stated margin is not comparable")
    margin, unit = stated.of(number), number.unit
    published = Sample(number.value, number.std, number.n or UNSTATED_RUNS)
    measured = summarize([margins.scale(number) * value for value in values])
    tested = Tested(measured, published, margin, unit, number.n is not None)
    if measured.std is None:
        return _single_seed(tested)
    result = equivalence(measured, published, margin)
    if published.std is None:
        return _without_spread(tested, result)
    difference, low, high = (signed(x, digits_beside(margin)) for x in (result.difference, result.low, result.high))
    what = f"difference {difference}, 90 % interval {low} to {high}, margin ±{margin:.3g} {unit}, n = {measured.n}"
    tested = replace(tested, p=result.p)
    if result.outcome == "undecided":
        needs, told = _more_seeds(tested, ALPHA)
        return Verdict("underpowered", f"{what}. The interval reaches across the margin. {told}", needs, tested)
    return Verdict(KINDS[result.outcome], what, None, tested)


def _without_spread(tested: Tested, result: Comparison) -> Verdict:
    """No verdict, as the test would stand on the published spread; what it would say if that were ours, as told."""
    assumed = KINDS.get(result.outcome, "underpowered")
    difference = signed(tested.difference, digits_beside(tested.margin))
    return Verdict(
        "underpowered",
        f"difference {difference}, {tested.side} the margin of ±{tested.margin:.3g} {tested.unit}, "
        f"n = {tested.measured.n}. {NO_SPREAD}. Only under the assumption that its runs spread as ours do "
        f"(std {tested.measured.std:.2g}) it would be “{assumed}”",
    )


def within_table(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of one table, each of which must hold beside the others by Holm's rule."""
    tested = [verdict.tested for verdict in verdicts if verdict.tested]
    if len(tested) < 2:
        return list(verdicts)
    adjusted = iter(holm([test.p for test in tested]).tolist())
    return [_corrected(v, next(adjusted), len(tested)) if v.tested else v for v in verdicts]


def _corrected(verdict: Verdict, p: float, count: int) -> Verdict:
    """The verdict with its adjusted p; one that holds alone and not among `count` is underpowered."""
    if verdict.kind == "underpowered" or verdict.tested is None:
        return verdict
    among = f"p {p_text(verdict.tested.p)}, beside the other verdicts, {count} in all, {p_text(p)} (Holm)"
    if p <= ALPHA:
        return replace(verdict, reason=f"{verdict.reason}; {among}")
    needs, told = _more_seeds(verdict.tested, ALPHA / count)
    return Verdict(
        "underpowered",
        f"{verdict.reason}; {among}: alone it would be “{verdict.kind}”, beside the others that may be chance. {told}",
        needs,
        verdict.tested,
    )


def p_text(p: float) -> str:
    """A p-value with two digits that say something."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def _more_seeds(tested: Tested, alpha: float) -> tuple[int | None, str]:
    """How many seeds in all would decide, and that in a sentence; None where no number of them would."""
    measured = tested.measured
    if measured.std is None:
        raise ValueError("planning more seeds needs the spread of at least two")
    needs = required_runs(measured.std, tested.published, tested.margin, tested.difference, alpha, MOST_RUNS)
    if needs is None:
        return None, _no_number_decides(tested)
    needs = max(needs, measured.n + 1)
    return needs, (
        f"{seeds(needs - measured.n)}, {needs} in all, would decide with {100 * POWER:g} % probability "
        "if the difference and the spread seen so far are the true ones"
    )


def seeds(more: int) -> str:
    """A number of seeds to run."""
    return f"{more} more seed{'s' if more > 1 else ''}"


def _no_number_decides(tested: Tested) -> str:
    """Why more seeds here would not help: the published mean is too uncertain, or the difference sits on the margin."""
    published, unit = tested.published, "points" if tested.unit == "%" else tested.unit
    gap, digits = abs(abs(tested.difference) - tested.margin), digits_beside(tested.margin)
    where = f"the difference lies {gap:.{digits}f} {unit} {tested.side} the margin"
    if published.std is None or published.n < 2:
        return f"No number of seeds here would decide: {where}, and the paper prints no spread of several runs"
    half = float(stats.t.ppf(1 - ALPHA, published.n - 1)) * published.std / math.sqrt(published.n)
    if half <= gap:
        return f"More than {MOST_RUNS:,} seeds would be needed: {where}"
    runs = f"{published.n} runs" + ("" if tested.stated else " (as many as a std needs; the paper does not say)")
    return (
        f"No number of seeds here would decide: {where}, and the published mean itself, from {runs} with a std of "
        f"{published.std:g}, is only known to ±{half:.{digits}f} {unit}"
    )


def _not_comparable(
    values: Sequence[float],
    number: Number | None,
    benchmark: str,
    metric: str,
    profile: str,
    protocol: str,
    failed: int,
) -> str:
    """Why no verdict may be given, or an empty string."""
    if not values:
        return "no seed has finished"
    if profile != "paper":
        return f"profile {profile} is not the paper's recipe"
    if number is None or number.value is None:
        return "there is no published number of this task and architecture"
    if number.transcription == "unverified":
        return "the published number is transcribed without its table at hand (†)"
    if not number.protocol or protocol != number.protocol:
        ours = f"protocol {protocol}" if protocol else "this protocol"
        return f"{ours} does not follow the published one ({number.protocol or 'not recorded'})"
    if margins.margin(benchmark, number) is None:
        return f"no margin is stated for {number.metric} of benchmark {benchmark} in {number.unit}"
    if number.metric != metric:
        return f"metric {metric} is not the published one ({number.metric})"
    if failed:
        of = f"{failed} of {failed + len(values)} seeds"
        return f"{of} failed or did not end, the rest would be a selection; run them again"
    return ""


def _single_seed(tested: Tested) -> Verdict:
    """One seed shows no spread, so nothing is tested; the published spread plans how many seeds would."""
    published, margin = tested.published, tested.margin
    what = (
        f"difference {signed(tested.difference, digits_beside(margin))}, {tested.side} the margin of ±{margin:.3g} "
        f"{tested.unit}. One seed shows no spread to test with"
    )
    if published.std is None:
        return Verdict("underpowered", f"{what}. {NO_SPREAD}")
    needs = required_runs(published.std, published, margin, tested.difference, most=MOST_RUNS)
    if needs is None:
        return Verdict("underpowered", f"{what}. {_no_number_decides(tested)}")
    planned = f"{seeds(needs - 1)}, {needs} in all, would decide with {100 * POWER:g} % probability"
    return Verdict("underpowered", f"{what}. If the spread is the published {published.std:g}, {planned}", needs)
