"""Answers and scores as logs of Inspect, which its viewer opens: one for each measurement and model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ftgate.errors import ConfigurationError
from ftgate.exports.results import Results, library
from ftgate.report.items import AnswerSide, ItemRow

Side = Literal["base", "candidate", "incumbent"]
_UNSAFE = re.compile(r"[^\w.-]+")


def write_inspect_logs(results: Results, folder: Path) -> str:
    """Write NAME-base.eval and NAME-candidate.eval (with an incumbent, NAME-incumbent.eval) for each measurement.

    A sample has the item's prompt, reference and choices, the model's first answer, and its score from 0 to 1 where it
    counts. Raises ConfigurationError if inspect_ai is not installed or the run has no items.
    """
    log: Any = library("inspect_ai.log", "inspect")
    if not results.items:
        raise ConfigurationError(
            f"{results.folder}: no items.jsonl.gz, which holds the answers", hint="run `ftgate decide` on it again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    stems = file_stems(list(results.report.measurements))
    written: list[Path] = []
    for name, stem in stems.items():
        items = [item for item in results.items if item.measurement == name]
        sides: list[Side] = ["base", "candidate"]
        if any(item.incumbent is not None for item in items):
            sides.append("incumbent")
        for side in sides if items else []:
            written.append(folder / f"{stem}-{side}.eval")
            log.write_eval_log(_log(results, name, side, items), written[-1], format="eval")
    return f"{folder} ({len(written)} logs; inspect view --log-dir {folder})"


def file_stems(names: Sequence[str]) -> dict[str, str]:
    """A file name for each of ``names``, without what is unsafe in one. Equal ones get a number."""
    stems: dict[str, str] = {}
    for name in names:
        stem = _UNSAFE.sub("-", name)
        number = 1
        while (numbered := stem if number == 1 else f"{stem}-{number}").casefold() in map(str.casefold, stems.values()):
            number += 1
        stems[name] = numbered
    return stems


def _log(results: Results, name: str, side: Side, items: list[ItemRow]) -> Any:
    log: Any = library("inspect_ai.log", "inspect")
    samples = [sample for item in items if (sample := _sample(item, side)) is not None]
    scored = [sample.scores["ftgate"].value for sample in samples if sample.scores]
    metric = log.EvalMetric(name="mean", value=sum(scored) / len(scored)) if scored else None
    score = log.EvalScore(
        name="ftgate", scorer="ftgate", scored_samples=len(scored), metrics={"mean": metric} if metric else {}
    )
    facts = results.facts
    spec = log.EvalSpec(
        created=facts.get("started", "1970-01-01T00:00:00+00:00"),
        task=name,
        dataset=log.EvalDataset(name=str(results.suite(name).get("source", name)), samples=len(samples)),
        model=f"{facts.get('engine', 'ftgate')}/{facts.get(side, side)}",
        config=log.EvalConfig(),
        metadata={"verdict": results.report.verdict, "role": side, "status": results.report.measurements[name].status},
    )
    counts = log.EvalResults(total_samples=len(samples), completed_samples=len(samples), scores=[score])
    return log.EvalLog(status="success", eval=spec, results=counts, samples=samples)


def _sample(item: ItemRow, side: Side) -> Any:
    """The item as a sample with the answer of one model; None if that model was not asked."""
    model: Any = library("inspect_ai.model", "inspect")
    log: Any = library("inspect_ai.log", "inspect")
    given: AnswerSide | None = getattr(item, side)
    if given is None:
        return None
    roles = {"system": model.ChatMessageSystem, "assistant": model.ChatMessageAssistant}
    turns = [roles.get(role, model.ChatMessageUser)(content=text) for role, text in item.messages]
    text = given.answers[0].text if given.answers else ""
    counts = given.score is not None and item.outcome != "left out"
    return log.EvalSample(
        id=item.item,
        epoch=1,
        input=turns,
        choices=item.choices or None,
        target=item.reference or "",
        messages=[*turns, model.ChatMessageAssistant(content=text)],
        output=model.ModelOutput.from_content(model="model", content=text),
        scores={"ftgate": _score(given)} if counts else None,
        metadata={"tags": item.tags, "slices": item.slices, "outcome": item.outcome, "why": item.why}
        | ({} if item.distance is None else {"distance": item.distance}),
    )


def _score(given: AnswerSide) -> Any:
    scorer: Any = library("inspect_ai.scorer", "inspect")
    grades = "; ".join(f"{name}: {value:.3f}" for name, value in given.grades.items())
    return scorer.Score(value=given.score, explanation=grades or None)
