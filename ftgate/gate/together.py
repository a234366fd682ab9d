"""Several candidates in one process: they share the engines, what the base answered, and the judge with its tests.

One candidate follows the other, each with its own journal and report, as if it were alone. What an earlier one asked of
the base and of the judge is taken from that one's journal, or from the answers that runs share. The engine of a base
starts once. It has room for the adapters of one candidate, which leave it when the next one comes. Where models and
judge do not fit on a device together, all candidates are asked first, and the judge takes their place once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ftgate.domain import Model
from ftgate.engines.base import Engine
from ftgate.engines.registry import open_judge, open_models
from ftgate.errors import ArtifactError, ChangedError, ConfigurationError, ControlError
from ftgate.gate.evaluate import participating, require_journal, runnable_job, write_results
from ftgate.gate.flow import Participants, ask_before_judge, run_gate
from ftgate.gate.zero_delta import zero_adapter
from ftgate.jobs.prepare import Job
from ftgate.progress import Progress
from ftgate.report.schema import Report

ENGINES_GO_ON = (ArtifactError, ChangedError, ConfigurationError, ControlError)
"""Errors that lie with a candidate. After any other the engines start anew: they may have been left in any state."""
Act = Callable[[Job, Participants], Report | None]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate to be judged: its job, the folder of its run, and the adapter of zeros in its shape."""

    job: Job
    out: Path
    zero: Model | None = None

    @property
    def models(self) -> list[Model]:
        """The models that its run asks, the base first."""
        return [model for model in (*self.job.models, self.zero) if model is not None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a candidate: its report, or the error for which it has none.

    ``out`` is the folder of its run; None if it never had one.
    """

    name: str
    out: Path | None = None
    report: Report | None = None
    error: Exception | None = None


def evaluate_together(
    candidates: Sequence[Candidate], progress: Progress, *, reuse: Sequence[Path] = ()
) -> Iterator[Outcome]:
    """Judge ``candidates``, all under one policy, and yield what becomes of each; those of one base in a row.

    An error of one is its outcome, and nothing of the others is lost. After an interruption the same call resumes.
    """
    journals = [require_journal(folder) for folder in reuse]
    with ExitStack() as stack:
        ready: list[Candidate] = []
        for candidate in candidates:
            try:
                job = runnable_job(candidate.job, candidate.out, progress)
                ready.append(replace(candidate, job=job, zero=zero_adapter(job.candidate, job.policy.engine, stack)))
            except Exception as error:
                yield Outcome(candidate.job.name, candidate.out, error=error)
        bases = [each.job.base for each in ready]
        ready.sort(key=lambda each: bases.index(each.job.base))
        together = _Together(ready, journals, progress)
        stack.callback(together.close)
        yield from together.outcomes()


class _Together:
    """The engines of ``candidates``, which are opened for the first of them and closed in the end."""

    def __init__(self, candidates: Sequence[Candidate], reuse: Sequence[Path], progress: Progress) -> None:
        self._candidates, self._reuse, self._progress = candidates, reuse, progress
        self._of_models: dict[Model | None, Engine] = {}
        self._of_judge: Engine | None = None
        self._journals: list[Path] = []
        self._probes: dict[Any, Any] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """Ask all candidates first where that saves starts of the judge, then judge one after the other."""
        failed: dict[Path, Exception] = {}
        if any(self._judge_takes_the_place_of(candidate) for candidate in self._candidates):
            for number, candidate in enumerate(self._candidates, start=1):
                self._note(number, "asked before the judge starts")
                _, error = self._act(candidate, ask_before_judge)
                failed |= {candidate.out: error} if error is not None else {}
        for number, candidate in enumerate(self._candidates, start=1):
            report, error = None, failed.get(candidate.out)
            if error is None:
                self._note(number, "judged")
                self._progress.seconds.clear()
                report, error = self._act(candidate, partial(_judged, candidate.out))
            yield Outcome(candidate.job.name, candidate.out, report, error)

    def close(self) -> None:
        """Close the engines; those of the next candidate are opened anew."""
        engines = [*self._of_models.values(), *([self._of_judge] if self._of_judge is not None else [])]
        self._of_models, self._of_judge = {}, None
        for engine in engines:
            with suppress(Exception):  # it may be the one that failed
                engine.close()

    def _act(self, candidate: Candidate, act: Act) -> tuple[Report | None, Exception | None]:
        """What ``act`` returns for ``candidate``, or its error. Its adapters leave the engine in any case."""
        try:
            with self._participants(candidate) as participants:
                return act(candidate.job, participants), None
        except Exception as error:
            if not isinstance(error, ENGINES_GO_ON):
                self.close()
            return None, error
        finally:
            if (engine := self._of_models.get(self._key(candidate))) is not None:
                engine.release(candidate.models[1:])
            if (journal := candidate.out / "answers.jsonl").exists():
                self._journals.append(journal)

    @contextmanager
    def _participants(self, candidate: Candidate) -> Iterator[Participants]:
        """Models and judge, with what the first and the latest candidate asked: more is in the store."""
        asked = [*self._reuse, *self._journals[:1], *self._journals[-1:]]
        reuse = [path for path in dict.fromkeys(asked) if path.parent != candidate.out]
        engines = self._engines(candidate)
        opened = participating(candidate.job, candidate.out, self._progress, engines, reuse=reuse, zero=candidate.zero)
        with opened as participants:
            participants.models.probes = self._probes
            yield participants

    def _engines(self, candidate: Candidate) -> tuple[Engine | None, Engine | None]:
        """Those of models and judge; None for one that a server runs, which each candidate asks by itself."""
        job, key = candidate.job, self._key(candidate)
        settings, judge = job.policy.engine, job.policy.judge
        if settings.kind != "openai" and key not in self._of_models:
            models = (job.base, job.candidate, job.deployed.compared)
            engine = open_models(settings, models, candidate.out / "engine.log", _forget)
            for each in self._candidates:
                if self._key(each) == key:
                    engine.reserve(each.models)
            self._of_models[key] = engine
        if self._of_judge is None and job.judge is not None and judge is not None and judge.endpoint is None:
            self._of_judge = open_judge(judge, settings, candidate.out / "judge-engine.log", _forget)
            self._of_judge.reserve([job.judge])
        return self._of_models.get(key), self._of_judge

    def _key(self, candidate: Candidate) -> Model | None:
        """The base whose engines are the candidate's, if each base has its own; otherwise all share one."""
        return candidate.job.base if candidate.job.policy.engine.differ else None

    def _judge_takes_the_place_of(self, candidate: Candidate) -> bool:
        engines = [engine for engine in self._engines(candidate) if engine is not None]
        return len(engines) == 2 and all(engine.yields_device for engine in engines)

    def _note(self, number: int, what: str) -> None:
        if len(self._candidates) > 1:
            name = self._candidates[number - 1].job.name
            self._progress.note(f"{name} ({number} of {len(self._candidates)}) is {what}")


def _judged(out: Path, job: Job, participants: Participants) -> Report:
    report, items = run_gate(job, participants)
    return write_results(report, out, items)


def _forget(_: str, compute: Callable[[], Any]) -> Any:
    """Stands for the journal, which remembers facts about servers: there is none here."""
    return compute()
