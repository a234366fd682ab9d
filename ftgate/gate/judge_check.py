"""How good a judge is: its agreement with people, and its fitness test, without a base or a candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ftgate.config.policy import Policy, read_policy
from ftgate.domain import Answer, Question
from ftgate.engines.base import Ask, Engine
from ftgate.engines.registry import open_judge
from ftgate.errors import ConfigurationError
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.journal import Journal
from ftgate.jobs.prepare import Resolvers, judge_of, local_resolver, sampled_suite
from ftgate.judge.agreement import Agreement, agreement
from ftgate.judge.grading import AskJudge, Judge
from ftgate.judge.known_answers import known_answers
from ftgate.judge.labels import Labels, labels_of, read_labels
from ftgate.judge.refusals import LabelJudge, known_labels
from ftgate.measurements.base import JudgeValidation
from ftgate.measurements.registry import read_measurements
from ftgate.progress import Progress
from ftgate.scoring.scorer_facts import JUDGE, LABELS
from ftgate.stats.seeding import generator


@dataclass(frozen=True, slots=True)
class JudgeCheck:
    """The ``agreement`` with people, and the fitness test by measurement; ``blank`` rows have no grade."""

    judge: str
    labels: str
    sha256: str
    blank: int
    agreement: Agreement
    fitness: Mapping[str, JudgeValidation]


def check_judge(
    policy_path: Path,
    labels_path: Path | None,
    out: Path,
    progress: Progress,
    resolvers: Resolvers = local_resolver,
    engine: Engine | None = None,
) -> JudgeCheck:
    """Have the policy's judge grade what people graded, and test it on each suite that it grades or labels.

    ``labels_path`` replaces the policy's ``judge.labels``. Its replies are kept in ``out``. An engine that is passed in
    is not closed. Raises ConfigurationError for a policy without a judge, labels or a suite to grade, and as
    :func:`~ftgate.judge.labels.read_labels`.
    """
    policy = read_policy(policy_path)
    labels = _labels(policy, policy_path, labels_path)
    resolver, seed = resolvers(policy, policy_path.parent), policy.evidence.seed
    asked = read_measurements(policy.measurements, f"policy {policy_path}")
    suites = {m.name: sampled_suite(m, resolver, seed) for m in asked if m.answer_scorer in (JUDGE, "auto")}
    judged = [m for m in asked if m.name in suites and m.judges(suites[m.name].items)]
    if not judged:
        raise ConfigurationError(f"policy {policy_path}: its judge grades nothing", hint="score one by judge")
    model = judge_of(policy.judge, policy_path, resolver, (), judged[0].name)
    settings = policy.judge
    assert settings is not None, "judge_of raises without one"
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(out / "answers.jsonl"))
        if engine is None:
            engine = open_judge(settings, policy.engine, out / "judge-engine.log", journal.fact)
            stack.callback(engine.close)
        cached = CachedEngine(engine, engine.info(), journal, progress)
        cached.require([model])

        def ask(questions: Sequence[Question]) -> list[Answer]:
            return cached.ask([Ask(model, q) for q in questions], "grade answers")

        judge = Judge(ask, item_first=settings.item_first)
        agreed = agreement(judge, labels)
        fitness = {}
        for m in judged:
            examples = known_answers(m.dataset) if settings.known_answers else ()
            rng = generator(seed, f"{m.name} fitness")
            fitness[m.name] = judge.validate(suites[m.name].items, rng, examples)
        fitness |= _label_tests(ask, [m.name for m in asked if m.answer_scorer == LABELS], seed)
    return JudgeCheck(model.reference, labels.source, labels.sha256, labels.blank, agreed, fitness)


def _labels(policy: Policy, policy_path: Path, labels_path: Path | None) -> Labels:
    """The labels in ``labels_path`` or, without it, those that the policy names. Raises ConfigurationError if none."""
    labels = read_labels(labels_path, str(labels_path)) if labels_path is not None else labels_of(policy, policy_path)
    if labels is None:
        raise ConfigurationError(
            f"policy {policy_path}: no judge.labels to check the judge on",
            hint="name the file with --labels; `ftgate judge sample` writes one to grade",
        )
    return labels


def _label_tests(ask: AskJudge, names: Sequence[str], seed: int) -> dict[str, JudgeValidation]:
    """The test of the judge that labels refusals, for each measurement of that kind."""
    return {name: LabelJudge(ask, name).validate(known_labels(), generator(seed, f"{name} fitness")) for name in names}
