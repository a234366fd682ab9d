"""The schema of report.json. Keys are stable; new ones may be added."""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ftgate.domain import Estimate, Finding, Slice, Tier
from ftgate.errors import ConfigurationError
from ftgate.files import remedy_for, write_whole
from ftgate.report.seal import SEAL, seal_of
from ftgate.verdict import SMOKE_TEST

SCHEMA_VERSION = "1.0"
DECIDE_AGAIN = "decide it again from its answers: ftgate decide FOLDER; or run `ftgate run` again"
"""What to do about a report that no run wrote so."""
Number = float | None
"""A number, or null for a missing one."""
Count = Annotated[int, Field(ge=0)]
Level = Annotated[float, Field(ge=0.5, le=1)]
"""Of a two-sided interval: a policy's one-sided error is at most a quarter."""
Status = Literal["pass", "warn", "block", "inconclusive", "error", "not_applicable"]


class _ReportModel(BaseModel):
    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)


class SliceReport(_ReportModel):
    """The result on a subset of a measurement's items."""

    name: str
    n: Count
    base: Number
    candidate: Number
    change: Number
    interval: tuple[Number, Number] | None = None
    status: str = ""
    limit: Number = None
    """Where the slice gates: the relative drop beyond which it blocks. Its interval is then that of the decision."""


class ExampleReport(_ReportModel):
    """One item on which the two models differ, with both answers."""

    item: str
    prompt: str
    reference: str | None
    base_answer: str
    candidate_answer: str
    base_score: Number
    """In [0, 1]. Of a measurement of confidence it is 1 where the answer is right, else 1 minus the confidence."""
    candidate_score: Number
    options: list[str] = Field(default_factory=list)
    """Those of a multiple-choice item, in its order."""


class IncumbentReport(_ReportModel):
    """One measurement against the incumbent, the model that is deployed today."""

    status: Status
    score: Number
    """The incumbent's."""
    candidate: Number
    """The candidate's, on the same items."""
    change: Number
    unit: str
    """As in the measurement itself, except for the target task: there it is a drop, and positive is worse."""
    worse: Literal["up", "down"]
    interval: tuple[Number, Number]
    """The bound that a block rests on is corrected for the number of comparisons."""
    level: Level
    """Confidence level of the two-sided interval, before that correction."""
    n: Count
    limit: float
    reason: str
    cut_short_by: str | None = None
    """The measurement whose block ended the run before this comparison was decided."""
    regressions: list[ExampleReport] = Field(default_factory=list)
    """As those of the measurement, with the incumbent's answer and score in the base's place."""
    improvements: list[ExampleReport] = Field(default_factory=list)
    clearly_worse: Count | None = None
    """How many items lost at least 20 points against the incumbent. Null in older reports."""
    clearly_better: Count | None = None


class MeasurementReport(_ReportModel):
    """One measurement: estimate, interval and decision."""

    status: Status
    kind: str = ""
    """What kind of measurement it is; empty in reports from before measurements had names: that of its name."""
    tier: Tier = "blocking"
    """What ``block`` does to the verdict: it blocks, it holds (supporting), or nothing (advisory)."""
    base: Number
    candidate: Number
    change: Number
    """Negative is worse for target; positive is worse for the others. ``unit`` says what it is."""
    unit: str
    worse: Literal["up", "down"]
    """Which direction of ``change`` harms."""
    interval: tuple[Number, Number]
    level: Level
    """Confidence level of the two-sided interval."""
    n: Count
    method: str
    limits: dict[str, float]
    reason: str
    least_n: Count | None = None
    """With fewer items than this it cannot pass. Null in older reports."""
    rows: Count | None = None
    """How many rows of the suite the ``n`` items are a part of, where only some decide; null where all do."""
    needed_n: Count | None = None
    """About how many items (where there are ``rows``: rows) would settle an inconclusive result."""
    cut_short_by: str | None = None
    """The measurement whose block ended the run before this one was decided."""
    leaning: Literal["likely to fail", "suspect", "underpowered"] | None = None
    """Which way an inconclusive result points; null if there is no estimate."""
    slices: list[SliceReport] = Field(default_factory=list)
    regressions: list[ExampleReport] = Field(default_factory=list)
    improvements: list[ExampleReport] = Field(default_factory=list)
    regressed: Count = 0
    """How many items got worse in total; ``regressions`` lists the worst."""
    improved: Count = 0
    clearly_worse: Count | None = None
    """How many items lost at least 20 points: ``regressions`` are from these. Null in older reports."""
    clearly_better: Count | None = None
    details: dict[str, Any] = Field(default_factory=dict)
    incumbent: IncumbentReport | None = Field(default=None, exclude_if=lambda value: value is None)
    """The comparison with the model that is deployed today; absent where there is none."""

    @property
    def blocks(self) -> bool:
        """Whether it blocks the candidate."""
        return self.status == "block" and self.tier == "blocking"

    @property
    def gates(self) -> bool:
        """Whether it can change the verdict."""
        return self.tier != "advisory"


class ChecklistEntry(_ReportModel):
    """One line of the checklist."""

    item: str
    ok: bool | None
    """None: not checked in this run."""
    evidence: str


class StoppingReport(_ReportModel):
    """Where the run stopped, and how many questions that saved."""

    rule: str
    looks: dict[str, Annotated[int, Field(ge=1)]]
    """The look at which each measurement ended, counted from 1."""
    of: Annotated[int, Field(ge=1)]
    """How many looks were planned."""
    questions_asked: Count
    """To base, candidate and incumbent together."""
    questions_saved: Count
    """Of the questions planned for ``n`` items."""
    questions_added: Count = 0
    """Beyond the planned ones, because ``n`` items left the result undecided (``n_max``)."""


class Report(_ReportModel):
    """The whole of report.json."""

    schema_version: str = SCHEMA_VERSION
    verdict: Literal["allow", "block", "hold"]
    reasons: list[str]
    notes: list[str] = Field(default_factory=list)
    """What a reader must know about how the two models were run and asked, shown beside the verdict."""
    name: str
    measurements: dict[str, MeasurementReport]
    checklist: list[ChecklistEntry]
    controls: dict[str, Any]
    provenance: dict[str, Any]
    timing: dict[str, float]
    """Seconds spent in each phase."""
    engine_starts: Count
    """Engines started for base and candidate, without the judge's."""
    stopping: StoppingReport | None = None

    @property
    def smoke_test(self) -> bool:
        """Whether the run had too few items on purpose (`--limit`, evidence.smoke_test): a note says so."""
        return any(note.startswith(SMOKE_TEST.partition(",")[0]) for note in self.notes)


@dataclass(frozen=True, slots=True)
class Changes:
    """How many items got worse and better, at all and by 20 points or more, and those that changed most."""

    regressed: int
    improved: int
    clearly_worse: int
    clearly_better: int
    regressions: list[ExampleReport]
    improvements: list[ExampleReport]


def measurement_report(
    finding: Finding, changes: Changes, rival: tuple[Finding, Changes] | None = None
) -> MeasurementReport:
    """A finding in the schema of report.json; NaN and infinity become null. ``rival`` is that against the incumbent."""
    estimate = finding.estimate
    limits = {"block" if estimate.worse == "up" else "min_gain": estimate.limit}
    if estimate.warn_limit is not None:
        limits["warn"] = estimate.warn_limit
    return MeasurementReport(
        status=finding.status.value,
        kind=finding.kind or estimate.measurement,
        tier=finding.tier,
        base=number(estimate.base),
        candidate=number(estimate.candidate),
        change=number(estimate.change),
        unit=estimate.unit,
        worse=estimate.worse,
        interval=(number(estimate.interval[0]), number(estimate.interval[1])),
        level=estimate.level,
        n=estimate.n,
        method=estimate.method,
        limits=limits,
        reason=finding.reason,
        least_n=estimate.least_n,
        rows=estimate.rows,
        needed_n=estimate.needed_n if finding.status == "inconclusive" else None,
        cut_short_by=finding.cut_short_by,
        leaning=finding.leaning.value if finding.leaning and finding.status == "inconclusive" else None,
        slices=[_slice(s) for s in _with_gates(estimate)],
        regressions=changes.regressions,
        improvements=changes.improvements,
        regressed=changes.regressed,
        improved=changes.improved,
        clearly_worse=changes.clearly_worse,
        clearly_better=changes.clearly_better,
        details=plain(estimate.details),
        incumbent=_against_incumbent(*rival) if rival is not None else None,
    )


def _against_incumbent(finding: Finding, changes: Changes) -> IncumbentReport:
    estimate = finding.estimate
    return IncumbentReport(
        status=finding.status.value,
        score=number(estimate.base),
        candidate=number(estimate.candidate),
        change=number(estimate.change),
        unit=estimate.unit,
        worse=estimate.worse,
        interval=(number(estimate.interval[0]), number(estimate.interval[1])),
        level=estimate.level,
        n=estimate.n,
        limit=estimate.limit,
        reason=finding.reason,
        cut_short_by=finding.cut_short_by,
        regressions=changes.regressions,
        improvements=changes.improvements,
        clearly_worse=changes.clearly_worse,
        clearly_better=changes.clearly_better,
    )


def number(value: float) -> Number:
    """``value``, or None if it is not finite, which JSON cannot express."""
    return float(value) if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """``value`` with every non-finite number replaced by None, recursively."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return number(value) if isinstance(value, float) else value


def write_report(report: Report, path: Path, items: bytes | None = None) -> None:
    """Write report.json atomically, with its seal; ``items`` is the content of the file of items beside it."""
    document = plain(report.model_dump(mode="json"))
    document[SEAL] = seal_of(document, items)
    write_whole(path, json.dumps(document, indent=2, ensure_ascii=True) + "\n")


def parse_report(path: Path | str) -> Report:
    """The report in ``path``, a file or the output folder of a run. Raises ConfigurationError if it is not valid.

    :func:`ftgate.report.reading.read_report` looks whether it contradicts itself, too.
    """
    path = Path(path)
    if path.is_dir():
        path /= "report.json"
    try:
        return Report.model_validate_json(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigurationError(f"no report at {path}", hint="run `ftgate run` or `ftgate decide` first") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", hint=remedy_for(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise _not_json(path, str(first["ctx"]["error"])) from None
        where = ".".join(str(part) for part in first["loc"]) or "(top level)"
        raise ConfigurationError(
            f"{path}: {where}: {first['msg']}", hint="run `ftgate run` or `ftgate decide` again"
        ) from None


def _not_json(path: Path, problem: str) -> ConfigurationError:
    """That the file is no JSON, from where on, and what to do; ``problem`` is in the parser's words."""
    what, _, place = problem.partition(" at line ")
    line, _, column = place.partition(" column ")
    ends = "the file was cut off: it ends here, in the middle of the report"
    text = "the file is empty" if not path.stat().st_size else ends if what.startswith("EOF") else f"no JSON: {what}"
    return ConfigurationError(f"{path}, line {line or 1}, column {column or 1}: {text}", hint=DECIDE_AGAIN)


def _slice(part: Slice) -> SliceReport:
    interval = (number(part.interval[0]), number(part.interval[1])) if part.interval is not None else None
    return SliceReport(
        name=part.name,
        n=part.n,
        base=number(part.base),
        candidate=number(part.candidate),
        change=number(part.change),
        interval=interval,
        status=part.status,
        limit=part.limit,
    )


def _with_gates(estimate: Estimate) -> list[Slice]:
    """The slices, of which those that gate are shown with the numbers that decided, first."""
    shown = {part.name: part.status for part in estimate.slices}
    gates = []
    for part in estimate.gates:
        lost = part.interval is not None and part.limit is not None and part.interval[0] > part.limit
        gates.append(replace(part, status="beyond" if lost else "worse" if shown.get(part.name) else ""))
    names = {part.name for part in gates}
    return [*gates, *(part for part in estimate.slices if part.name not in names)]


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` where it is a mapping, otherwise an empty one: a report's provenance holds whatever its file does."""
    return value if isinstance(value, Mapping) else {}
