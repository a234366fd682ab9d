"""Results for a model's page on the Hugging Face Hub: the metadata of its card, and ``.eval_results``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ftgate.errors import ConfigurationError
from ftgate.exports.results import Results
from ftgate.files import write_whole
from ftgate.report.escape import clean
from ftgate.report.schema import MeasurementReport

SOURCE = "ftgate"
_HUB = re.compile(r"hf://datasets/(?P<dataset>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?/(?P<file>.+)")


def write_model_card(results: Results, path: Path) -> str:
    """Write the results as ``model-index`` into the card at ``path``, which keeps the rest of what it says.

    Two results a measurement: the candidate's score and its change against the base, with the interval and the limit.
    Those of an earlier run of ftgate are replaced, results of others stay. Without a card there, a new one is made.
    Raises ConfigurationError for a file that is not a model card.
    """
    from huggingface_hub import ModelCard

    try:
        card = ModelCard.load(path) if path.exists() else ModelCard("---\n{}\n---\n")
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{path}: not a model card: {error}", hint="name a README.md with metadata between two lines of ---"
        ) from None
    data: Any = card.data
    theirs = [result for result in data.eval_results or [] if result.source_name != SOURCE]
    data.model_name = data.model_name or clean(results.report.name)
    data.eval_results = [*theirs, *_results(results)]
    write_whole(path, str(card) + "\n")
    return str(path)


def write_eval_results(results: Results, path: Path) -> str:
    """Write the candidate's scores on datasets of the Hub in the format of a model repository's ``.eval_results``.

    That format names a dataset of the Hub for each score, so other suites are left out. Raises ConfigurationError if
    none is left.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    entries = []
    for name, part in results.measured.items():
        dataset = _HUB.fullmatch(str(results.suite(name).get("source", "")))
        if dataset is None or part.candidate is None:
            continue
        entries.append(
            EvalResultEntry(
                dataset_id=dataset["dataset"],
                task_id=Path(dataset["file"]).stem,
                value=part.candidate,
                dataset_revision=dataset["revision"],
                date=results.facts.get("started"),
                notes=f"ftgate, {part.kind or name}: base {part.base:.4g}, n {part.n}"
                if part.base is not None
                else None,
            )
        )
    if not entries:
        raise ConfigurationError(
            "no suite of this run is a dataset of the Hugging Face Hub, and .eval_results holds no other",
            hint="use --to model-card, which holds results on any suite",
        )
    left_out = len(results.measured) - len(entries)
    write_whole(path, yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True))
    return f"{path}{f' ({left_out} measurements on other suites left out)' if left_out else ''}"


def _results(results: Results) -> list[Any]:
    return [result for name, part in results.measured.items() for result in _pair(results, name, part)]


def _pair(results: Results, name: str, part: MeasurementReport) -> list[Any]:
    """The candidate's score and its change against the base."""
    from huggingface_hub import EvalResult

    source = clean(str(results.suite(name).get("source", name)))
    common: dict[str, Any] = {
        "task_type": "text-generation",
        "task_name": clean(name),
        "dataset_type": source,
        "dataset_name": source,
        "source_name": SOURCE,
        "source_url": "https://pypi.org/project/finetune-gate/",
    }
    change = {"unit": clean(part.unit), "level": part.level, "interval": list(part.interval), "limits": part.limits}
    named: dict[str, Any] = {
        "metric_type": "change",
        "metric_name": f"change against {clean(results.facts.get('base', 'the base'))}",
    }
    values: list[tuple[float | None, dict[str, Any]]] = [
        (part.candidate, {"metric_type": "score", "metric_name": f"score, of {part.n} items"}),
        (part.change, named | {"metric_args": change}),
    ]
    return [EvalResult(**common, metric_value=value, **metric) for value, metric in values if value is not None]
