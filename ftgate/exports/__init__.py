"""A run's results in the formats of other tools, written by the libraries of those tools.

Everything is taken from the run's folder, so that a run can be exported at any time after it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftgate.config.policy import ExportName
from ftgate.errors import ConfigurationError, FtgateError
from ftgate.exports.cards import write_eval_results, write_model_card
from ftgate.exports.inspect_logs import write_inspect_logs
from ftgate.exports.junit import write_junit
from ftgate.exports.results import Results, read_results
from ftgate.exports.trackers import log_to_mlflow, log_to_wandb

__all__ = ["EXPORTS", "Export", "export", "export_all", "read_results"]


@dataclass(frozen=True, slots=True)
class Export:
    """One format. ``write`` returns where the results went, in words."""

    write: Callable[[Results, Path], str]
    default: str = ""
    """The name in the run's folder that it writes to; empty if the results go to a server."""


EXPORTS: Mapping[ExportName, Export] = {
    "junit": Export(write_junit, "junit.xml"),
    "model-card": Export(write_model_card, "model-card.md"),
    "eval-results": Export(write_eval_results, "eval-results.yaml"),
    "inspect": Export(write_inspect_logs, "inspect"),
    "mlflow": Export(lambda results, _: log_to_mlflow(results)),
    "wandb": Export(lambda results, _: log_to_wandb(results)),
}


def export(folder: Path, target: ExportName, out: Path | None = None) -> str:
    """Write the results of the run in ``folder`` in the format ``target``, a key of ``EXPORTS``.

    ``out`` is the file (for ``inspect``: the folder) to write; by default one in ``folder``. Returns where the results
    went. Raises ConfigurationError without a report, with an ``out`` that a server has no use for, or if what the
    format needs is missing; and what the run's folder holds stays as it is.
    """
    form = EXPORTS[target]
    if out is not None and not form.default:
        raise ConfigurationError(
            f"--out {out}: {target} keeps results on its server or in a folder of its own", hint="leave --out out"
        )
    return form.write(read_results(folder), out or folder / form.default)


def export_all(folder: Path, targets: Sequence[ExportName]) -> Iterator[str]:
    """Write the results in every format of ``targets``, and say for each where they went, or why they did not.

    A policy's exports come after the verdict, which a failed one does not change.
    """
    for target in targets:
        try:
            yield f"{target}: {export(folder, target)}"
        except Exception as error:  # other people's libraries and servers, each with exceptions of its own
            yield f"warning: {target}: {_reason(error)}"
            yield f"the verdict stands; ftgate export {folder} --to {target}"


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, FtgateError) else f"{type(error).__name__}: {error}"
