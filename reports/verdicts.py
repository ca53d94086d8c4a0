"""What may be concluded: the rules that turn measured seeds and a published number into a verdict.

Only runs of the paper's own recipe (profile `paper`) under a protocol that follows the published one are judged, and
always all of their seeds. Everything else is `not comparable` and says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reports.published import Number
from reports.statistics import POWER, Sample, equivalence, required_runs, summarize

Status = Literal["measured", "compiled", "published", "failed", "no data", "not run"]
Kind = Literal["reproduced", "above", "below", "underpowered", "not comparable"]

STATUS_MEANING: dict[str, str] = {
    "measured": "the cell was run to its end here; its record has every number",
    "compiled": "the program was compiled for absent hardware; memory and FLOPs are estimates, never a time",
    "published": "printed in a paper and transcribed; not run here",
    "failed": "the cell was started and did not end; its record has the reason and the end of its log",
    "no data": "the data set is not on the machine that ran the selection",
    "not run": "nobody asked for this cell yet; the command that runs it is given",
}

VERDICT_MEANING: dict[str, str] = {
    "reproduced": "the 90 % interval of the difference to the published mean lies inside the margin",
    "above": "the whole interval lies above the margin",
    "below": "the whole interval lies below the margin",
    "underpowered": "the interval crosses a margin, or there is one seed only; the seeds that would decide are named",
    "not comparable": "another recipe or protocol, failed seeds or an unchecked transcription; the reason is named",
}

# The equivalence margin per benchmark in the published unit: how far means may lie apart and still count as the same.
MARGINS: dict[str, tuple[float, str]] = {"lra": (1.5, "%")}

# A printed std needs two runs or more; where the paper does not say how many, it counts as the fewest.
UNSTATED_RUNS = 2
TOO_CLOSE = "too close to the margin to decide with any number of seeds here, the published mean is too uncertain"


@dataclass(frozen=True)
class Verdict:
    """A verdict and the one sentence that gives its reason."""

    kind: Kind
    reason: str
    needs: int | None = None

    @property
    def label(self) -> str:
        """The verdict as it is printed."""
        return f"{self.kind} (needs n ≥ {self.needs})" if self.needs else self.kind


def signed(value: float) -> str:
    """A difference with its sign and two decimals."""
    return f"{value:+.2f}".replace("-", "−")


def judge(
    values: Sequence[float],
    number: Number | None,
    *,
    benchmark: str,
    metric: str,
    profile: str,
    comparable_to: str,
    failed: int = 0,
) -> Verdict:
    """Judge the values of all seeds, in the published unit, against one published number."""
    reason = _not_comparable(values, number, benchmark, metric, profile, comparable_to, failed)
    if reason or number is None or number.value is None:
        return Verdict("not comparable", reason or "there is no published number of this task and architecture")
    margin, unit = MARGINS[benchmark]
    published = Sample(number.value, number.std, number.n or UNSTATED_RUNS)
    measured = summarize(values)
    if measured.std is None:
        return _single_seed(measured, published, margin, unit)
    result = equivalence(measured, published, margin)
    what = (
        f"difference {signed(result.difference)}, 90 % interval {signed(result.low)} to {signed(result.high)}, "
        f"margin ±{margin:g} {unit}, n = {measured.n}"
    )
    if result.outcome == "undecided":
        needs = required_runs(measured.std, published, margin, result.difference)
        more = "" if needs else f"; {TOO_CLOSE}"
        return Verdict("underpowered", what + more, needs and max(needs, measured.n + 1))
    kinds: dict[str, Kind] = {"equivalent": "reproduced", "above": "above", "below": "below"}
    return Verdict(kinds[result.outcome], what)


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
    if benchmark not in MARGINS or MARGINS[benchmark][1] != number.unit:
        return f"no margin is stated for benchmark {benchmark} in {number.unit}"
    if number.metric != metric:
        return f"metric {metric} is not the published one ({number.metric})"
    if failed:
        return f"{failed} of {failed + len(values)} seeds failed, the rest would be a selection; run them again"
    return ""


def _single_seed(measured: Sample, published: Sample, margin: float, unit: str) -> Verdict:
    difference = measured.mean - published.mean
    what = f"one seed, difference {signed(difference)}, margin ±{margin:g} {unit}"
    if published.std is None:
        return Verdict("underpowered", what + "; no std is published to plan with", 2)
    needs = required_runs(published.std, published, margin, difference)
    if needs is None:
        return Verdict(
            "underpowered", what + "; the difference is too close to the margin to plan with the published std"
        )
    return Verdict("underpowered", f"{what}; n planned with the published std and {100 * POWER:g} % power", needs)
