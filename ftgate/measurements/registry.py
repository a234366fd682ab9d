"""The lists of measurements. To add one, write its file and add the class here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ftgate.config.strict import validate
from ftgate.errors import ConfigurationError
from ftgate.measurements.base import AnyMeasurement, Measurement
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.derived import DerivedMeasurement
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.form import Form
from ftgate.measurements.tail import Tail
from ftgate.measurements.target import Target

MEASUREMENTS: tuple[type[Measurement], ...] = (Target, Forgetting, Tail, Calibration)
"""Those that ask questions. A policy has a section for each one that it wants."""
DERIVED: tuple[type[DerivedMeasurement], ...] = (Form,)
"""Those that ask nothing. They are on unless a policy switches them off."""


def every_kind() -> tuple[type[AnyMeasurement], ...]:
    """All measurement classes in the order of reports."""
    return (*MEASUREMENTS, *DERIVED)


def kind_of(name: str) -> type[AnyMeasurement] | None:
    """The measurement class of this name; None if there is none, as for a report of another version."""
    return next((kind for kind in every_kind() if kind.name == name), None)


def in_order(names: Collection[str]) -> list[str]:
    """``names`` in the order of reports, with unknown ones at the end."""
    ordered = [kind.name for kind in every_kind() if kind.name in names]
    return [*ordered, *sorted(set(names) - set(ordered))]


def read_measurements(sections: Mapping[str, Mapping[str, Any]], where: str) -> tuple[Measurement, ...]:
    """The policy's measurements that ask questions, in the order of the list.

    Raises ConfigurationError naming file, field and value, and if there is none.
    """
    known_names = [kind.name for kind in every_kind()]
    for name in sections:
        if name not in known_names:
            raise ConfigurationError(
                f"{where}: measurements.{name}: unknown measurement", hint=f"known are {', '.join(known_names)}"
            )
    asking = [m for m in MEASUREMENTS if m.name in sections]
    if not asking:
        raise ConfigurationError(
            f"{where}: measurements: none of them asks any questions",
            hint=f"add one of {', '.join(m.name for m in MEASUREMENTS)}",
        )
    return tuple(validate(m, sections[m.name], f"{where}: measurements.{m.name}") for m in asking)


def read_derived(sections: Mapping[str, Mapping[str, Any]], where: str) -> tuple[DerivedMeasurement, ...]:
    """The measurements that ask nothing, as far as they are not switched off. Raises as :func:`read_measurements`."""
    derived = (validate(m, sections.get(m.name, {}), f"{where}: measurements.{m.name}") for m in DERIVED)
    return tuple(m for m in derived if m.enabled)
