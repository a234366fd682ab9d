"""The lists of measurements. To add one, write its file and add the class here."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from ftgate.config.strict import validate
from ftgate.errors import ConfigurationError
from ftgate.measurements.base import AnyMeasurement, Measurement
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.derived import DerivedMeasurement
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.form import Form
from ftgate.measurements.safety import Safety
from ftgate.measurements.tail import Tail
from ftgate.measurements.target import Target
from ftgate.measurements.tools import Tools

MEASUREMENTS: tuple[type[Measurement], ...] = (Target, Forgetting, Safety, Tools, Tail, Calibration)
"""Those that ask questions. A policy has a section for each one that it wants, or several under names of their own."""
DERIVED: tuple[type[DerivedMeasurement], ...] = (Form,)
"""Those that ask nothing. They are on unless a policy switches them off."""


NAME_PATTERN = "^[a-z][a-z0-9_-]{0,31}$"
"""What a measurement's own name may look like: names stand in files, seeds, tables and pictures."""
RESERVED = frozenset({"all", "base", "candidate", "incumbent", "judge"})
"""Names that mean something else in reports and policies."""
NEVER_GATED = ("long context", "social bias", "leaked training data", "speed")
"""What a fine-tune can break too, beside the kinds. A kind of the same name takes a word off this list."""

KindT = TypeVar("KindT", bound=AnyMeasurement)


def every_kind() -> tuple[type[AnyMeasurement], ...]:
    """All measurement classes in the order of reports."""
    return (*MEASUREMENTS, *DERIVED)


def kind_of(name: str) -> type[AnyMeasurement] | None:
    """The measurement class of this kind; None if there is none, as for a report of another version."""
    return next((kind for kind in every_kind() if kind.kind == name), None)


def not_gated(kinds: Collection[str]) -> list[str]:
    """What could be lost unseen where measurements of only these ``kinds`` gate, in words."""
    others = [kind.title.lower() for kind in every_kind() if kind.kind not in kinds]
    named = {word for kind in every_kind() for word in (kind.kind, kind.title.lower())}
    return [*others, *(word for word in NEVER_GATED if word not in named)]


def in_order(kinds: Mapping[str, str]) -> list[str]:
    """Measurements, given as the kind of each name, in the order of reports: by kind, that with its name first.

    Unknown kinds come at the end.
    """
    places = [kind.kind for kind in every_kind()]

    def place(name: str) -> tuple[int, str, bool, str]:
        kind = kinds[name] or name
        if kind not in places:
            return len(places), kind, name != kind, name
        return places.index(kind), "", name != kind, name

    return sorted(kinds, key=place)


def read_measurements(sections: Mapping[str, Mapping[str, Any]], where: str) -> tuple[Measurement, ...]:
    """The policy's measurements that ask questions, in the order of reports.

    Raises ConfigurationError naming file, field and value, if there is none, and if none of them can hold or block.
    """
    kinds = {name: _kind_named(name, section, where) for name, section in sections.items()}
    asking = [name for name in in_order(kinds) if kinds[name] in {m.kind for m in MEASUREMENTS}]
    if not asking:
        raise ConfigurationError(
            f"{where}: measurements: none of them asks any questions",
            hint=f"add one of {', '.join(m.kind for m in MEASUREMENTS)}",
        )
    read = tuple(_read(_class_of(kinds[name]), name, sections[name], where) for name in asking)
    if all(m.tier == "advisory" for m in read):
        raise ConfigurationError(
            f"{where}: measurements: every one that asks questions is advisory, so that nothing could hold or block",
            hint="leave tier out of at least one, or set it to supporting",
        )
    by_distance = [m.name for m in read if m.distances is not None]
    if len(by_distance) > 1:
        raise ConfigurationError(
            f"{where}: measurements: {' and '.join(by_distance)} are both of kind {kinds[by_distance[0]]}, and the "
            "distances from the training data are measured for one suite",
            hint="join their rows into one suite and tag them",
        )
    return read


def read_derived(sections: Mapping[str, Mapping[str, Any]], where: str) -> tuple[DerivedMeasurement, ...]:
    """The measurements that ask nothing, as far as they are not switched off. Raises as :func:`read_measurements`."""
    derived = (_read(m, m.kind, sections.get(m.kind, {}), where) for m in DERIVED)
    return tuple(m for m in derived if m.enabled)


def _read(kind: type[KindT], name: str, section: Mapping[str, Any], where: str) -> KindT:
    fields = {field: value for field, value in section.items() if field != "kind"}
    return validate(kind, fields, f"{where}: measurements.{name}").named(name)


def _class_of(kind: str) -> type[Measurement]:
    return next(m for m in MEASUREMENTS if m.kind == kind)


def _kind_named(name: str, section: Mapping[str, Any], where: str) -> str:
    """The kind of a policy's section. Raises ConfigurationError if name and kind do not go together."""
    place = f"{where}: measurements.{name[:80]}"
    kinds, asking = [kind.kind for kind in every_kind()], ", ".join(m.kind for m in MEASUREMENTS)
    kind = section.get("kind", name if name in kinds else None)
    if kind is None:
        hint = f"{_guess(name, kinds)}known are {', '.join(kinds)}; one with another name needs kind:"
        raise ConfigurationError(f"{place}: unknown measurement", hint=hint)
    if name in kinds:
        if kind != name:
            raise ConfigurationError(
                f"{place}: {name} is a kind itself, and kind says {kind!r:.80}",
                hint="choose another name, or leave kind out",
            )
        return name
    if kind not in kinds:
        raise ConfigurationError(
            f"{place}.kind: {kind!r:.80} is no kind", hint=f"{_guess(kind, kinds)}known are {asking}"
        )
    if kind not in [m.kind for m in MEASUREMENTS]:
        raise ConfigurationError(f"{place}.kind: {kind!r:.80} does not ask questions", hint=f"known are {asking}")
    if name in RESERVED or not re.fullmatch(NAME_PATTERN, name):
        raise ConfigurationError(
            f"{place}: not a name that a measurement may have",
            hint="a lowercase letter, then at most 31 lowercase letters, digits, - or _; "
            f"not {', '.join(sorted(RESERVED))}",
        )
    return str(kind)


def _guess(word: object, kinds: Sequence[str]) -> str:
    """Which of ``kinds`` was meant, to stand before a hint; nothing if none is near."""
    meant = difflib.get_close_matches(str(word).lower(), kinds, n=1)
    return f"did you mean {meant[0]}? " if meant else ""
