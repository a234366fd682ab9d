"""The inputs of a plan: the sizes of the policy's suites, and the results of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ftgate.config.manifest import read_manifest
from ftgate.config.policy import Policy, read_policy
from ftgate.domain import SIDES, FloatArray, Question, Suite
from ftgate.errors import ConfigurationError, Problems
from ftgate.jobs.checked_report import read_report
from ftgate.jobs.journal_lines import read_lines
from ftgate.jobs.prepare import Resolvers, local_resolver, sampled_suite
from ftgate.judge import refusals
from ftgate.judge.grading import FIRST_RETESTS, PROBES_OF_A_KIND, REPLIES, RETESTS
from ftgate.judge.rubric import DIGITS
from ftgate.measurements.base import Measurement
from ftgate.measurements.free_form import FreeFormMeasurement
from ftgate.measurements.gated_slices import WHOLE_SHARE, gated, slice_powers
from ftgate.measurements.looks import HEAD_ITEMS, looks, planned_share, sample
from ftgate.measurements.pilot import Pilot, never_passes
from ftgate.measurements.registry import read_measurements
from ftgate.measurements.shortage import shortage
from ftgate.planning.plan import EarlierRun, Plan, PowerEstimate, Workload, estimate_power
from ftgate.planning.simulate import Schedule
from ftgate.report.schema import MeasurementReport, Report
from ftgate.scoring.scorer_facts import JUDGED, LABELS
from ftgate.stats.resampling import effective_clusters

ASKING = ("pilot", "answer questions", "base against itself", "ask the base twice")
"""Phases of a run; the last has another name since."""
JUDGING = ("grade answers", "test judge")


@dataclass(frozen=True, slots=True)
class EarlierReport:
    """An earlier run: its report, the scores of each measurement by item, and how many questions it asked."""

    report: Report
    scores: Mapping[str, Mapping[str, tuple[float, float]]]
    model_questions: int
    judge_questions: int

    def each(self, phases: Sequence[str], count: int) -> float | None:
        """Seconds per question in these phases; None if the run did not time any."""
        seconds = [self.report.timing[p] for p in phases if p in self.report.timing]
        return sum(seconds) / count if seconds and count else None


def alike(manifests: Sequence[Path]) -> list[list[Path]]:
    """The manifests in groups with the same plan: it depends only on whether they name training data and an incumbent.

    Without manifests one empty group. Raises all that is wrong with them at once.
    """
    groups: dict[tuple[bool, bool], list[Path]] = {}
    problems = Problems()
    for path in manifests:
        with problems.noted():
            manifest = read_manifest(path)
            kind = (manifest.training_data is not None, manifest.incumbent is not None)
            groups.setdefault(kind, []).append(path)
    problems.raise_any()
    return list(groups.values()) or [[]]


def plan_run(
    policy_path: Path,
    manifest_path: Path | None,
    earlier_run: Path | None,
    resolvers: Resolvers = local_resolver,
    pilots: Mapping[str, Pilot] | None = None,
) -> Plan:
    """Read policy, suites and, if given, manifest and earlier run, and estimate the power of a run.

    Loads no model; the resolver from ``resolvers`` fetches remote suites. ``pilots`` hold the base's first answers by
    measurement, if it was asked. Raises ConfigurationError (or DatasetError) naming what is wrong, where, and what to
    do, and DownloadError if fetching fails.
    """
    policy = read_policy(policy_path)
    measurements = read_measurements(policy.measurements, f"policy {policy_path}")
    manifest = read_manifest(manifest_path) if manifest_path is not None else None
    trained = manifest is None or manifest.training_data is not None
    with_incumbent = manifest is not None and policy.incumbent_of(manifest) is not None
    resolver = resolvers(policy, policy_path.parent)
    seed = policy.evidence.seed
    suites = {m.name: sampled_suite(m, resolver, seed) for m in measurements}
    earlier = read_earlier(earlier_run) if earlier_run is not None else None
    works = {
        m.name: _workload(m, suites[m.name], policy, trained, earlier, (pilots or {}).get(m.name)) for m in measurements
    }
    asked = {m.name: _first(suites[m.name], works[m.name].asked) for m in measurements}
    controls = sum(len(m.plan(i)) for m in measurements for i in sample(asked[m.name], seed))
    each = earlier.each(ASKING, earlier.model_questions) if earlier else None
    to_incumbent = sum(len(m.plan(i)) for m in measurements for i in asked[m.name].items if with_incumbent)
    return Plan(
        against_incumbent=_against_incumbent(works, suites, policy) if with_incumbent else (),
        incumbent_questions=to_incumbent,
        prospects=tuple(
            estimate_power(works[m.name], _passing(_schedule(policy, m, suites[m.name]), m, suites[m.name]), seed)
            for m in measurements
        ),
        control_questions=controls,
        control_seconds=None if each is None else controls * each,
        other_seconds=_other_seconds(earlier),
        alpha=policy.evidence.alpha,
        early_stopping="none" if len(looks(policy.evidence)) == 1 else policy.evidence.early_stopping,
        learned_from=str(earlier_run) if earlier_run is not None else None,
        continuations=len(SIDES) * sum(len(q.options) for m in measurements for q in _continued(m, asked[m.name])),
    )


def _against_incumbent(
    works: Mapping[str, Workload], suites: Mapping[str, Suite], policy: Policy
) -> tuple[PowerEstimate, ...]:
    """The power of each comparison with the incumbent, of whose scores nothing is known."""
    rivals = [
        replace(w, block_drop=policy.incumbent.block_drop, past=None, pilot=None, slices=(), blocks=None)
        for w in works.values()
    ]
    return tuple(
        estimate_power(
            rival, _schedule(policy, rival.measurement, suites[rival.measurement.name]), policy.evidence.seed
        )
        for rival in rivals
        if rival.facts.change != "ece"
    )


def _continued(m: Measurement, suite: Suite) -> list[Question]:
    asked = (m.plan(item) for item in suite.items if item.request is not None)
    return [question for questions in asked for question in questions if question.continued]


def read_earlier(directory: Path) -> EarlierReport:
    """The run in ``directory``. Raises ConfigurationError without report or journal, StoreError if that is damaged."""
    report = read_report(directory / "report.json")
    journal = directory / "answers.jsonl"
    if not journal.is_file():
        raise ConfigurationError(f"no journal: {journal}", hint="--out names the output folder of an earlier run")
    scores: dict[str, dict[str, tuple[float, float]]] = {}
    model_questions = judge_questions = 0
    for record in read_lines(journal)[0]:
        if record["type"] == "score":
            pair = (float(record["base"]), float(record["candidate"]))
            scores.setdefault(record["measurement"], {})[record["item"]] = pair
        elif record["type"] == "answer" and record["options"] in (list(DIGITS), list(refusals.LETTERS)):
            judge_questions += 1
        elif record["type"] == "answer":
            model_questions += 1
    return EarlierReport(report, scores, model_questions, judge_questions)


def write_picture(drawing: bytes, path: Path) -> None:
    """Write ``drawing`` to ``path``. Raises ConfigurationError if that fails."""
    try:
        path.write_bytes(drawing)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}", hint="give another --plot") from None


def _first(suite: Suite, size: int | None) -> Suite:
    return Suite(suite.name, suite.items[:size], suite.sha256, suite.source)


def _schedule(policy: Policy, m: Measurement, suite: Suite, share: float = 1.0) -> Schedule:
    """The looks of a run, at ``share`` of alpha."""
    # A plan is about intervals, whatever the rule.
    rules = policy.evidence.model_copy(update={"alpha": share * policy.evidence.alpha})
    planned = looks(rules, planned_share(m, len(suite.items)))
    return Schedule(tuple(x.fraction for x in planned), tuple(x.alpha for x in planned), rules.alpha)


def _passing(schedule: Schedule, m: Measurement, suite: Suite) -> Schedule:
    """The looks of ``schedule`` that can pass: where slices gate, none before all planned items."""
    planned = planned_share(m, len(suite.items)) if gated(m) else 0.0
    looks_on = sum(fraction < planned for fraction in schedule.fractions)
    return Schedule(schedule.fractions[looks_on:], schedule.levels[looks_on:], schedule.alpha)


def _workload(
    m: Measurement, suite: Suite, policy: Policy, trained: bool, earlier: EarlierReport | None, pilot: Pilot | None
) -> Workload:
    earlier_result = earlier.report.measurements.get(m.name) if earlier else None
    compared = _compared(m, suite, trained, earlier_result)
    clustered = m.clustered and any(item.cluster for item in suite.items)
    clusters = effective_clusters([item.cluster for item in suite.items])
    units = max(1, round(clusters * compared / len(suite.items))) if clustered else compared
    lacking = shortage(m, suite.items, policy.evidence.alpha, trained=trained)
    asked = compared + min(len(suite.items) - compared, HEAD_ITEMS)
    asked_share = asked / len(suite.items)
    free_form = _free_form(m, suite)
    judged_items = round(asked_share * sum(m.scored_by(item) in JUDGED for item in suite.items))
    workload = Workload(
        measurement=m,
        rows=len(suite.items),
        compared=compared,
        units=units,
        asked=asked,
        pilot=pilot,
        shortage=(str(lacking) if lacking is not None else never_passes(m, pilot)) or None,
        questions=sum(round(asked_share * sum(len(m.plan(item, side)) for item in suite.items)) for side in SIDES),
        graded=bool(m.grader(suite.items)),
        judge_questions=_judge_questions(m, judged_items, policy),
        seconds=earlier.each(ASKING, earlier.model_questions) if earlier else None,
        judge_seconds=earlier.each(JUDGING, earlier.judge_questions) if earlier else None,
        past=_earlier_run(m, suite, clustered, earlier, earlier_result) if earlier and earlier_result else None,
        answers=m.answer_counts if free_form else (1, 1),
        free_form=free_form,
    )
    base = workload.assumed_base
    if earlier_result is not None and earlier_result.base is not None:
        base = earlier_result.base
    powers = slice_powers(m, suite.items, policy.evidence, base, trained=trained)
    part = WHOLE_SHARE if powers else m.power_facts().block_share
    blocks = _schedule(policy, m, suite, part) if part < 1 else None
    return replace(workload, slices=tuple(powers), blocks=blocks)


def _judge_questions(m: Measurement, judged_items: int, policy: Policy) -> int:
    """How many questions the judge is asked at most about the answers of both models, and to test it."""
    if not judged_items:
        return 0
    answers = sum(m.answer_counts) * judged_items
    if m.answer_scorer == LABELS:
        return refusals.REPLIES * (answers + refusals.MOST_TESTS)
    tests = (5 if policy.judge is None or policy.judge.known_answers else 3) * PROBES_OF_A_KIND
    return REPLIES * (answers + tests + FIRST_RETESTS + RETESTS)


def _free_form(m: Measurement, suite: Suite) -> float:
    """The share of the rows to which several answers can be averaged."""
    if not isinstance(m, FreeFormMeasurement):
        return 0.0
    return sum(m.asks_text(item) for item in suite.items) / len(suite.items)


def _answers_averaged(earlier_result: MeasurementReport) -> tuple[int, int]:
    """How many answers of base and candidate the earlier run averaged."""
    answers = earlier_result.details.get("answers")
    if not isinstance(answers, Mapping):
        return 1, 1
    base, candidate = (answers.get(side) for side in SIDES)
    return (base, candidate) if isinstance(base, int) and isinstance(candidate, int) else (1, 1)


def _compared(m: Measurement, suite: Suite, trained: bool, earlier_result: MeasurementReport | None) -> int:
    """How many items decide: by the share in the earlier run, else as the measurement estimates."""
    share = m.share_that_decided(earlier_result.details) if earlier_result else None
    return m.items_that_decide(suite.items, trained=trained) if share is None else round(len(suite.items) * share)


def _earlier_run(
    m: Measurement, suite: Suite, clustered: bool, earlier: EarlierReport, earlier_result: MeasurementReport
) -> EarlierRun | None:
    error, factor = (earlier_result.details.get(key) for key in ("standard_error", "pass_factor"))
    if m.power_facts().change == "ece":
        if not error or not earlier_result.n:
            return None
        earlier_run = EarlierRun(earlier_result.n, rise_error=float(error))
        return replace(earlier_run, pass_factor=float(factor)) if factor else earlier_run
    base, candidate = _scores(m, suite, clustered, earlier, earlier_result)
    if len(base) < 2:
        return None
    judge_validation = (earlier.report.controls.get("judge_fitness") or {}).get(m.name) or {}
    floor = float(judge_validation.get("floor") or 0.0) if judge_validation.get("fit") else 0.0
    return EarlierRun(earlier_result.n, base, candidate, floor, answers=_answers_averaged(earlier_result))


def _scores(
    m: Measurement, suite: Suite, clustered: bool, earlier: EarlierReport, earlier_result: MeasurementReport
) -> tuple[FloatArray, FloatArray]:
    """Scores of the compared items; those of all items if only a part decides and a judge grades."""
    in_part = m.share_that_decided(earlier_result.details) is not None
    right_or_wrong = not m.grader(suite.items) and _answers_averaged(earlier_result) == (1, 1)
    if in_part and right_or_wrong and not clustered and earlier_result.base is not None:
        lost, gained = int(earlier_result.details.get("worse", 0)), int(earlier_result.details.get("better", 0))
        right_for_both = round(earlier_result.base * earlier_result.n) - lost
        cells = [(1.0, 1.0)] * right_for_both + [(1.0, 0.0)] * lost + [(0.0, 1.0)] * gained
        table = np.array(cells + [(0.0, 0.0)] * (earlier_result.n - len(cells)))
        return table[:, 0], table[:, 1]
    scores = earlier.scores.get(m.name, {})
    table = np.array(list(scores.values()), dtype=np.float64).reshape(len(scores), 2)
    if not clustered:
        return table[:, 0], table[:, 1]
    names = {item.id: item.cluster or f"item {item.id}" for item in suite.items}
    groups: dict[str, list[int]] = {}
    for i, item in enumerate(scores):
        groups.setdefault(names.get(item, f"item {item}"), []).append(i)
    size = len(scores) / max(len(groups), 1)
    sums = np.array([table[group].sum(axis=0) / size for group in groups.values()]).reshape(len(groups), 2)
    return sums[:, 0], sums[:, 1]


def _other_seconds(earlier: EarlierReport | None) -> float | None:
    if earlier is None:
        return None
    return sum(s for phase, s in earlier.report.timing.items() if phase not in (*ASKING, *JUDGING))
