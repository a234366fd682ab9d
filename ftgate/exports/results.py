"""What a run's folder holds for others: the report, every item, and the report's numbers by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from ftgate.errors import ConfigurationError
from ftgate.jobs.checked_report import read_report
from ftgate.report.items import ItemRow, read_items
from ftgate.report.schema import MeasurementReport, Report, mapping

FILES = ("report.json", "report.html", "comment.md")
"""What a reader of the results may want to open, of those that the folder has."""
_FACTS = ("policy_sha256", "manifest_sha256", "device", "seed", "started")


@dataclass(frozen=True)
class Results:
    """The results of a run in ``folder``."""

    folder: Path
    report: Report

    @cached_property
    def items(self) -> list[ItemRow]:
        """Every item with both answers; none if the folder has no ``items.jsonl.gz``."""
        return read_items(self.folder)

    @property
    def measured(self) -> Mapping[str, MeasurementReport]:
        """The measurements with an estimate."""
        return {
            name: part
            for name, part in self.report.measurements.items()
            if part.status not in ("not_applicable", "error")
        }

    @property
    def numbers(self) -> dict[str, float]:
        """``NAME/base``, ``NAME/candidate``, ``NAME/change``, ``NAME/low``, ``NAME/high`` and ``NAME/n``, where known.

        A change is in the measurement's own unit; ``low`` and ``high`` are the ends of its interval. With an incumbent
        there are ``NAME/incumbent`` and ``NAME/change_from_incumbent``, too.
        """
        values: dict[str, float | None] = {}
        for name, part in self.report.measurements.items():
            values |= {f"{name}/base": part.base, f"{name}/candidate": part.candidate, f"{name}/change": part.change}
            values |= {f"{name}/low": part.interval[0], f"{name}/high": part.interval[1], f"{name}/n": float(part.n)}
            if part.incumbent is not None:
                values |= {f"{name}/incumbent": part.incumbent.score}
                values |= {f"{name}/change_from_incumbent": part.incumbent.change}
        return {key: value for key, value in values.items() if value is not None}

    @property
    def facts(self) -> dict[str, str]:
        """What was compared, in short texts: the models with their digests, policy, engine and device."""
        provenance = self.report.provenance
        values: dict[str, Any] = {"name": self.report.name, "verdict": self.report.verdict}
        for role in ("base", "candidate", "incumbent", "judge"):
            model = mapping(provenance.get(role))
            values |= {role: model.get("reference"), f"{role}_digest": model.get("digest")}
        values |= {key: provenance.get(key) for key in _FACTS}
        values["engine"] = mapping(provenance.get("engine")).get("kind")
        return {key: str(value) for key, value in values.items() if value not in (None, "")}

    @property
    def files(self) -> list[Path]:
        """The files for people that the folder has."""
        return [self.folder / name for name in FILES if (self.folder / name).is_file()]

    def suite(self, measurement: str) -> Mapping[str, Any]:
        """Source, digest and number of items of a measurement's suite, as far as the report says so."""
        return mapping(mapping(self.report.provenance.get("suites")).get(measurement))


def read_results(folder: Path) -> Results:
    """The results in ``folder``. Raises ConfigurationError if there is no valid report."""
    return Results(folder, read_report(folder / "report.json"))


def library(module: str, extra: str) -> ModuleType:
    """The module of an optional library. Raises ConfigurationError, naming the extra that brings it."""
    from importlib import import_module

    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise ConfigurationError(f"{module} is not installed", hint=f'pip install "finetune-gate[{extra}]"') from None
