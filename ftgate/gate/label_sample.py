"""Draws answers of a run for people to grade: both models' answers to random items, without the models' names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ftgate.domain import Item, Pair
from ftgate.engines.base import Ask
from ftgate.errors import ConfigurationError
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.decide import exclude_contaminated, find_overlaps
from ftgate.gate.evaluate import stored_run
from ftgate.gate.flow import tail_map_of
from ftgate.gate.judge_labels import random_order
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.jobs.prepare import Job
from ftgate.judge.labels import Label
from ftgate.measurements.base import Measurement, failures
from ftgate.progress import SilentProgress
from ftgate.scoring.scorer_facts import JUDGE, LABELS
from ftgate.stats.seeding import generator


@dataclass(frozen=True, slots=True)
class LabelSample:
    """Answers to ``items`` items of ``measurement``; ``others`` are the other measurements that a judge graded."""

    measurement: str
    items: int
    labels: tuple[Label, ...]
    others: tuple[str, ...]


def sample_answers(directory: Path, name: str | None, count: int, seed: int) -> LabelSample:
    """Both models' answers to the first ``count`` judged items, in the random order of the run in ``directory``.

    The two answers to an item follow each other, in an order that ``seed`` draws; equal ones are one row. Grades that
    the run's policy already had are filled in. Contaminated items, and those that decide nothing, are left out. Raises
    ConfigurationError if there is no run, or a judge graded nothing in it.
    """
    with stored_run(directory, None, SilentProgress()) as (job, participants):
        tail_map = tail_map_of(job, participants)
        job = exclude_contaminated(job, find_overlaps(job, participants.models))
        graded = [m for m in job.measurements if m.answer_scorer != LABELS]
        judged = [m for m in graded if m.judges(job.suites[m.name].items)]
        measurement = _chosen(judged, name, directory)
        items = job.suites[measurement.name].items
        decides = measurement.decides(items, tail_map if measurement.distances is not None else None)
        wanted = [i for i, d in zip(items, decides, strict=True) if d and measurement.scored_by(i) == JUDGE]
        run = MeasurementRun(measurement, job, participants.models, participants.judge, tail_map)
        pairs = list(_answered(run, job, participants.models, wanted, count))
    if not pairs:
        raise ConfigurationError(f"{directory} has no answers by both models", hint="run `ftgate run` to its end first")
    grades = {} if job.labels is None else job.labels.grades
    rng = generator(seed, f"{measurement.name} judge sample")
    labels = tuple(label for pair in pairs for label in _rows(measurement.scored_part(pair), grades, rng))
    return LabelSample(measurement.name, len(pairs), labels, tuple(m.name for m in judged if m is not measurement))


def _chosen(judged: Sequence[Measurement], name: str | None, directory: Path) -> Measurement:
    chosen = [m for m in judged if name in (None, m.name)]
    if not chosen:
        graded = ", ".join(m.name for m in judged) or "nothing"
        raise ConfigurationError(
            f"{directory}: a judge graded {graded}" + (f", not {name}" if name else ""),
            hint="name a measurement that a judge graded: --measurement forgetting",
        )
    return chosen[0]


def _answered(run: MeasurementRun, job: Job, models: CachedEngine, items: Sequence[Item], count: int) -> Iterator[Pair]:
    """The first ``count`` of ``items``, in the run's random order, that both models answered."""
    drawn = 0
    for i in random_order(job, run.name, [item.id for item in items]):
        if drawn == count:
            return
        questions = run.both_questions(items[i])
        sides = zip((job.base, job.candidate), questions, strict=True)
        try:
            base, candidate = (tuple(models.ask([Ask(model, q) for q in qs], "read answers")) for model, qs in sides)
        except ConfigurationError:  # not asked: the run stopped early
            continue
        pair = Pair(items[i], base, candidate)
        if not failures(pair):
            drawn += 1
            yield pair


def _rows(pair: Pair, grades: dict[str, float], rng: np.random.Generator) -> Iterator[Label]:
    """The first answer of each model, in random order; one row if the two are equal."""
    texts = [pair.base[0].text, pair.candidate[0].text]
    if rng.random() < 0.5:
        texts.reverse()
    for text in dict.fromkeys(texts):
        label = Label(pair.item, text, None)
        yield Label(pair.item, text, grades.get(label.key))
