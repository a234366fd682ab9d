"""One measurement in one run: its questions, answers, scores and decision."""

from __future__ import annotations

from collections.abc import Sequence

from ftgate.datasets.lm_eval import harness_score, score_missing
from ftgate.domain import Answer, Item, Pair, Question, Side, digest_of
from ftgate.engines.base import Ask
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.decide import add_details, decide_measurement, excluded_sample
from ftgate.gate.judge_labels import labelled_items
from ftgate.gate.result import Result
from ftgate.jobs.prepare import Job
from ftgate.judge.grading import AskJudge, Grades, Judge
from ftgate.judge.known_answers import known_answers
from ftgate.judge.refusals import LabelJudge, Labelled, known_labels
from ftgate.measurements.base import Evidence, JudgeValidation, Measurement, failures, judge_unfit
from ftgate.measurements.deployed import as_deployed, seeded
from ftgate.measurements.gated_slices import gated, shared_levels
from ftgate.measurements.looks import Look, items_at, looks, planned_share, sample
from ftgate.measurements.tail_map import TailMap
from ftgate.models.generation import generation_of
from ftgate.scoring.refusals import LABELS as LABELS_OF_ANSWERS
from ftgate.scoring.rules import interleaved, score_pairs, without_scores
from ftgate.scoring.scorer_facts import JUDGED, LABELS
from ftgate.scoring.scores import PairedScores
from ftgate.scoring.task_requests import HARNESS
from ftgate.scoring.text import UnscorableError
from ftgate.scoring.trace import OPEN
from ftgate.stats.seeding import generator


class MeasurementRun:
    """One measurement in one run.

    ``judge`` grades what no rule scores; ``tail_map`` holds the distances, for a measurement that uses them. The state
    is the answers so far, and ``result``, the outcome of the latest look.
    """

    def __init__(
        self,
        measurement: Measurement,
        job: Job,
        models: CachedEngine,
        judge: CachedEngine | None = None,
        tail_map: TailMap | None = None,
    ) -> None:
        self.measurement = measurement
        self.name = measurement.name
        self.suite = job.suites[measurement.name]
        self.looks = looks(job.policy.evidence, planned_share(measurement, job.clean_size(self.name)))
        self.result: Result | None = None
        self.judge_validation: JudgeValidation | None = None
        self._job = job
        self._models = models
        self._judge_engine = judge
        self.tail_map = tail_map if measurement.distances is not None else None
        self._grades: Grades = {}
        self._labels: Labelled = {}
        self._generation = generation_of(job.policy.engine, job.candidate)
        self._answered: dict[str, Pair] = {}
        self._scored: PairedScores | None = None

    def questions(self, item: Item, side: Side = "base") -> tuple[Question, ...]:
        """The questions about ``item`` for one of the models; each one that samples has its own seed."""
        return seeded(as_deployed(self.measurement.plan(item, side), self._generation), self._job.seed)

    def both_questions(self, item: Item) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
        """The questions for the base and for the candidate: the same, unless one of them gives more answers."""
        base, candidate = self.measurement.answer_counts
        questions = self.questions(item)
        return questions, questions if base == candidate else self.questions(item, "candidate")

    def every_item(self) -> tuple[Item, ...]:
        """The items of all looks, and the contaminated ones that are shown but do not count."""
        return (*self.suite.items, *excluded_sample(self._job, self.name))

    def control_items(self) -> tuple[Item, ...]:
        """Some items of the first look, for the A/A test."""
        return sample(self.suite, self._job.seed)

    def due(self) -> Look | None:
        """The next look; None once the measurement is settled or all looks are done."""
        if self.result is None:
            return self.looks[0]
        done = self.result.look.number
        return None if self.result.settled or done == len(self.looks) else self.looks[done]

    def unanswered(self) -> tuple[Item, ...]:
        """The items of the next look that were not asked yet."""
        return tuple(item for item in self.next_items() if item.id not in self._answered)

    def next_items(self) -> tuple[Item, ...]:
        """All items up to the next look. The contaminated ones are asked with the first look."""
        return self._items(self._next_look())

    def items_to_come(self) -> list[tuple[Item, ...]]:
        """The items that each look after the next one adds."""
        rest = self.looks[self._next_look().number - 1 :]
        at = [self._items(look) for look in rest]
        asked = [{item.id for item in items} for items in at]
        return [
            tuple(item for item in items if item.id not in before) for items, before in zip(at[1:], asked, strict=False)
        ]

    def add(self, pair: Pair) -> None:
        """Store both models' answers to one item."""
        self._answered[pair.item.id] = pair

    def decide(self) -> None:
        """Score the items of the next look, estimate and decide; the outcome is ``result``."""
        look = self._next_look()
        pairs = tuple(self._answered[item.id] for item in self._items(look))
        scored = self.score(pairs, self._scored)
        scores = list(zip(scored.base.tolist(), scored.candidate.tolist(), strict=True))
        self._models.journal.add_scores(self.name, [item.id for item in scored.items], scores)
        self.result = self._result_of(look, pairs, scored)
        self._scored = scored
        if not self._all_answered(pairs):
            self._answered, self._scored = {}, None

    def corrupted(self, pairs: Sequence[Pair], share: float = 1.0) -> Result:
        """The result on ``pairs``, corrupted on purpose, at ``share`` of alpha. The state does not change."""
        end = Look(1, 1, 1.0, self._job.policy.evidence.alpha * share)
        return self._result_of(end, tuple(pairs), self.score(pairs))

    def score(self, pairs: Sequence[Pair], earlier: PairedScores | None = None) -> PairedScores:
        """Both models' scores for ``pairs``, by the judge or by rule; those in ``earlier`` are reused.

        A judge that failed its test is asked nothing: what it would grade has no score.
        """
        measurement = self.measurement
        parts = [earlier] if earlier is not None else []
        done = {item.id for part in parts for item in part.items}
        new = [measurement.scored_part(pair) for pair in pairs if pair.item.id not in done]
        by_judge = [pair for pair in new if measurement.scored_by(pair.item) in JUDGED]
        by_rule = [pair for pair in new if measurement.scored_by(pair.item) not in JUDGED]
        parts += [score_pairs(measurement.scored_by, by_rule, {HARNESS: self._harness_rule})] if by_rule else []
        if by_judge and self.judge_unfit:
            parts.append(without_scores(by_judge))
        elif by_judge:
            judge = self._label_judge if measurement.answer_scorer == LABELS else self._judge
            parts.append(judge("grade answers").score(by_judge))
        return interleaved([pair.item for pair in pairs], parts)

    @property
    def judge_unfit(self) -> str | None:
        """Why the judge may not count here; None if it may, is not needed, or was not tested yet."""
        return judge_unfit(self.judge_validation)

    def test_judge(self) -> None:
        """Validate the judge on this suite, if it grades any of it."""
        rng = generator(self._job.seed, f"{self.name} fitness")
        if self.measurement.answer_scorer == LABELS:
            self.judge_validation = self._label_judge("test judge").validate(known_labels(), rng)
        elif self.measurement.judges(self.suite.items):
            items = (*self.suite.items, *self._job.excluded_items.get(self.name, ()))
            settings = self._job.policy.judge
            assert settings is not None, "a job with a judged measurement always has a judge"
            examples = known_answers(self.measurement.dataset) if settings.known_answers else ()
            self.judge_validation = self._judge("test judge").validate(items, rng, examples)

    def grades_of(self, item: Item, answer: Answer) -> dict[str, float]:
        """What the judge gave an answer: each criterion, or the probability of each label; empty if it gave nothing."""
        key = (item.id, answer.text)
        if key in self._labels and (shares := self._labels[key].shares) is not None:
            return dict(zip(LABELS_OF_ANSWERS, shares, strict=True))
        return dict(self._grades[key].criteria) if key in self._grades and answer.error is None else {}

    def add_details(self) -> None:
        """Add what the report shows beside the decision; called once, at the end."""
        assert self.result is not None, "details come after the last look"
        self.result = add_details(self._job, self.measurement, self.result)

    def _harness_rule(self, item: Item, answer: Answer) -> float:
        """The harness's own score, kept in the journal: deciding again needs neither the harness nor the task.

        As with answers, a failure is kept apart: only a decision without an engine takes it for the result.
        """
        request = item.request
        assert request is not None, "only documents of a task are scored by the harness"
        if answer.trace == OPEN:
            return 0.0
        scored = [request.task, request.metric, request.filter, request.document, request.harness, answer.text]
        key, journal = digest_of(["score by lm-eval", *scored]), self._models.journal

        def compute() -> float:
            failed = journal.failure(key) if self._models.replays else None
            if failed is not None:
                raise UnscorableError(str(failed.error))
            if self._models.replays:
                raise score_missing(self.measurement.dataset, request.task)
            return harness_score(self.measurement.dataset, request, answer.text)

        try:
            return float(journal.fact(key, compute))
        except UnscorableError as problem:
            journal.add_failure(key, str(problem))
            raise

    def _next_look(self) -> Look:
        look = self.due()
        assert look is not None, "only a measurement that is due is asked and decided"
        return look

    def _items(self, look: Look) -> tuple[Item, ...]:
        return (*items_at(look, self.suite, self._job.seed), *excluded_sample(self._job, self.name))

    def _all_answered(self, pairs: Sequence[Pair]) -> bool:
        """Whether no answer failed. Otherwise the next look asks for all of ``pairs`` again.

        That retries the failed answers; the others come from the journal.
        """
        return not any(failures(pair) for pair in pairs)

    def _result_of(self, look: Look, pairs: tuple[Pair, ...], scored: PairedScores) -> Result:
        rules = self._job.policy.evidence
        planned = planned_share(self.measurement, self._job.clean_size(self.name))
        evidence = Evidence(
            pairs=pairs,
            scored=scored,
            alpha=look.alpha,
            draws=rules.draws,
            tail=self.tail_map,
            judge_validation=self.judge_validation,
            overall_alpha=rules.alpha,
            last=look.last,
            not_asked=round(look.fraction * self._job.not_asked.get(self.name, 0)),
            labelled=labelled_items(self._job, self.measurement, pairs),
            shared=shared_levels(rules, planned, look, len(gated(self.measurement))),
            early=look.fraction < planned,
        )
        return decide_measurement(self._job, self.measurement, evidence, look)

    def _judge(self, phase: str) -> Judge:
        settings = self._job.policy.judge
        assert settings is not None, "a job with a judged measurement always has a judge"
        return Judge(self._asker(phase), self.name, self._grades, item_first=settings.item_first)

    def _label_judge(self, phase: str) -> LabelJudge:
        return LabelJudge(self._asker(phase), self.name, self._labels)

    def _asker(self, phase: str) -> AskJudge:
        engine, model = self._judge_engine, self._job.judge
        assert engine is not None, "a job with a judged measurement always has a judge"
        assert model is not None, "and its weights"
        engine.require([model])
        return lambda questions: engine.ask([Ask(model, q) for q in questions], phase)
