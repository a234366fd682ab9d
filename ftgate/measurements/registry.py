"""The list of measurements. To add one, write its file and add the class here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ftgate.config.strict import validate
from ftgate.errors import ConfigurationError
from ftgate.measurements.base import Measurement
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.tail import Tail
from ftgate.measurements.target import Target

MEASUREMENTS: tuple[type[Measurement], ...] = (Target, Forgetting, Tail, Calibration)


def kind_of(name: str) -> type[Measurement] | None:
    """The measurement class of this name; None if there is none, as for a report of another version."""
    return next((kind for kind in MEASUREMENTS if kind.name == name), None)


def in_order(names: Collection[str]) -> list[str]:
    """``names`` in the order of reports, with unknown ones at the end."""
    ordered = [kind.name for kind in MEASUREMENTS if kind.name in names]
    return [*ordered, *sorted(set(names) - set(ordered))]


def read_measurements(sections: Mapping[str, Mapping[str, Any]], where: str) -> tuple[Measurement, ...]:
    """The policy's measurements in the order of the list. Raises ConfigurationError naming file, field and value."""
    by_name = {m.name: m for m in MEASUREMENTS}
    for name in sections:
        if name not in by_name:
            raise ConfigurationError(
                f"{where}: measurements.{name}: unknown measurement", hint=f"known are {', '.join(by_name)}"
            )
    return tuple(
        validate(m, sections[m.name], f"{where}: measurements.{m.name}") for m in MEASUREMENTS if m.name in sections
    )
