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
from ftgate.engines.base import Engine, base_of
from ftgate.engines.registry import Remember
from ftgate.errors import ArtifactError, ChangedError, ConfigurationError, ControlError
from ftgate.gate.answer_store import open_store
from ftgate.gate.evaluate import (
    Engines,
    open_engine_of,
    open_judge_of,
    participating,
    require_journal,
    runnable_job,
    write_results,
)
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
    """Judge ``candidates``, all under one policy, and yield what becomes of each: base by base, adapters first.

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
        # Adapters first: where weights take turns, their base has not left yet.
        ready.sort(key=lambda each: (bases.index(each.job.base), base_of(each.job.candidate) != each.job.base))
        if ready:
            together = _Together(ready, journals, progress)
            stack.callback(together.close)
            yield from together.outcomes()


class _Together:
    """The engines of ``candidates``, all of which are opened before one starts: then no credentials are left."""

    def __init__(self, candidates: Sequence[Candidate], reuse: Sequence[Path], progress: Progress) -> None:
        self._candidates, self._reuse, self._progress = candidates, reuse, progress
        self._of_models: dict[Model | Path | None, Engine] = {}
        self._of_judge: Engine | None = None
        self._journals: list[Path] = []
        self._earlier: Participants | None = None
        self._fact: Remember = lambda _, compute: compute()
        self._policy = candidates[0].job.policy
        self._store = open_store(self._policy.artifacts, progress.note)

    def outcomes(self) -> Iterator[Outcome]:
        """Ask all candidates first where that saves starts of the judge, then judge one after the other."""
        failed: dict[Path, Exception] = {}
        engines = [self._engines(candidate) for candidate in self._candidates]
        if any(judge is not None and judge.yields_device and models.yields_device for models, judge in engines):
            for number, candidate in enumerate(self._candidates, start=1):
                self._note(number, "asked before the judge starts")
                _, error = self._act(candidate, ask_before_judge)
                failed |= {candidate.out: error} if error is not None else {}
        for number, candidate in enumerate(self._candidates, start=1):
            report, error = None, failed.get(candidate.out)
            if error is None:
                self._note(number, "judged")
                self._progress.seconds.clear()
                report, error = self._act(candidate, partial(_judged, candidate.out, self._progress.note))
            yield Outcome(candidate.job.name, candidate.out, report, error)

    def close(self, *, servers: bool = True) -> None:
        """Close the engines; without ``servers`` those of this machine, which open anew for the next candidate."""
        closing: list[Engine] = []
        if servers or self._policy.engine.kind != "openai":
            closing, self._of_models = [*self._of_models.values()], {}
        remote_judge = self._policy.judge is not None and self._policy.judge.endpoint is not None
        if self._of_judge is not None and (servers or not remote_judge):
            closing, self._of_judge = [*closing, self._of_judge], None
        for engine in closing:
            with suppress(Exception):  # it may be the one that failed
                engine.close()

    def _act(self, candidate: Candidate, act: Act) -> tuple[Report | None, Exception | None]:
        """What ``act`` returns for ``candidate``, or its error. Its adapters leave the engine in any case."""
        try:
            with self._participants(candidate) as participants:
                return act(candidate.job, participants), None
        except Exception as error:
            if not isinstance(error, ENGINES_GO_ON):
                self.close(servers=False)
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
        job, out, progress, zero = candidate.job, candidate.out, self._progress, candidate.zero

        def engines(remember: Remember) -> Engines:
            self._fact = remember
            return self._engines(candidate)

        with participating(job, out, progress, engines, self._store, reuse=reuse, zero=zero) as participants:
            if (earlier := self._earlier) is not None:
                participants.models.take_over(earlier.models)
                if participants.judge is not None and earlier.judge is not None:
                    participants.judge.take_over(earlier.judge)
            self._earlier = participants
            yield participants

    def _engines(self, candidate: Candidate) -> Engines:
        """Those of the models and the judge of ``candidate``; they are opened if they are not open."""
        job, out, key = candidate.job, candidate.out, self._key(candidate)
        if key not in self._of_models:
            self._of_models[key] = engine = open_engine_of(job, out, self._remember)
            for each in self._candidates:
                if self._key(each) == key:
                    engine.reserve(each.models)
        if self._of_judge is None and job.judge is not None:
            self._of_judge = open_judge_of(job, out, self._remember)
            if self._of_judge is not None:
                self._of_judge.reserve([job.judge])
        return self._of_models[key], self._of_judge

    def _remember(self, key: str, compute: Callable[[], Any]) -> Any:
        """A fact about a server, from the journal of the candidate whose turn it is."""
        return self._fact(key, compute)

    def _key(self, candidate: Candidate) -> Model | Path | None:
        """What distinguishes engines: nothing, if one runs all models; the base, or the candidate for its servers."""
        if self._policy.engine.kind == "openai":
            return candidate.out
        return candidate.job.base if self._policy.engine.differ else None

    def _note(self, number: int, what: str) -> None:
        if len(self._candidates) > 1:
            name = self._candidates[number - 1].job.name
            self._progress.note(f"{name} ({number} of {len(self._candidates)}) is {what}")


def _judged(out: Path, note: Callable[[str], None], job: Job, participants: Participants) -> Report:
    report, items = run_gate(job, participants)
    return write_results(report, out, items, note)
