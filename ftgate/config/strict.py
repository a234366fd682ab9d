"""Reads YAML into frozen, closed pydantic classes, with errors that name the file, the field and the value."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer
from yaml.composer import ComposerError

from ftgate.errors import ConfigurationError

ModelT = TypeVar("ModelT", bound=BaseModel)


MOST_BYTES = 1_000_000
"""The size limit of a configuration file."""
NEVER_SHOWN = frozenset({"api_key_env", "endpoint"})
"""Fields where people put a key by mistake: errors do not quote their values."""
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 80, 80


class _Loader(yaml.SafeLoader):
    """Safe YAML that rejects duplicate fields: otherwise the second of two limits would silently win."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise ComposerError(None, None, f"field {key.value[:80]!a} is given twice", key.start_mark)
                seen.add(key.value)
        return node


class Section(BaseModel):
    """A part of a configuration file: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True)


class GrownSection(Section):
    """A section whose fields ``later`` came after its first release.

    They are left out while they have their default, so that fingerprints, records and journals from before them hold.
    """

    later: ClassVar[frozenset[str]]

    @model_serializer(mode="wrap")
    def _as_before(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        defaults = {name: type(self).model_fields[name].default for name in self.later}
        return {
            name: value
            for name, value in fields(self).items()
            if name not in self.later or getattr(self, name) != defaults[name]
        }


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """The YAML mapping in ``path``. Raises ConfigurationError if it is missing, unreadable or not a mapping."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode("utf-8")
    except FileNotFoundError:
        raise ConfigurationError(f"{what}: no such file: {path}", hint="check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{what}: cannot read {path}: {error}", hint="it must be a UTF-8 text file") from None
    if len(content) > MOST_BYTES:
        raise ConfigurationError(f"{what}: {path} is longer than {MOST_BYTES:,} bytes", hint="check the path")
    try:
        value = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or error
        raise ConfigurationError(f"{what}: {path}{line}: not valid YAML: {problem}", hint="fix that line") from None
    if not isinstance(value, dict):
        raise ConfigurationError(
            f"{what}: {path}: expected a mapping of fields, found {type(value).__name__}",
            hint="see `ftgate schema` for the fields",
        )
    return value


def validate(model: type[ModelT], value: Mapping[str, Any], source: str) -> ModelT:
    """``value`` as a ``model``. Raises one ConfigurationError that names every problem by file, field and value."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = [_one_problem(entry, model) for entry in _distinct_problems(error.errors(), value)]
        raise ConfigurationError(
            f"{source}: " + "; ".join(problems), hint="fix the field; `ftgate schema` prints every field and its range"
        ) from None


def _distinct_problems(entries: Sequence[Any], value: Mapping[str, Any]) -> list[Any]:
    """``entries`` at the fields of ``value``, without what only says that it is no other kind of a field either."""
    entries = [{**entry, "whole": entry["loc"], "loc": _location(entry, value)} for entry in entries]
    places = [entry["loc"] for entry in entries]
    return [
        entry
        for entry in entries
        if not any(len(place) > len(entry["loc"]) and place[: len(entry["loc"])] == entry["loc"] for place in places)
        and not (entry["type"] == _no_kind_of(entry["input"]) and places.count(entry["loc"]) > 1)
    ]


def _no_kind_of(value: Any) -> str:
    """The type of problem that says nothing about ``value``, where a field may be a section or one of some words."""
    return "literal_error" if isinstance(value, Mapping) else "model_type"


def _location(entry: Any, value: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where ``entry`` lies in ``value``, without the names that pydantic gives to the kinds a field may have."""
    current: Any = value
    place: list[Any] = []
    for number, part in enumerate(entry["loc"], 1):
        inside = part in current if isinstance(current, Mapping) else isinstance(part, int)
        if inside or (entry["type"] == "missing" and number == len(entry["loc"])):
            place.append(part)
            current = current[part] if inside and isinstance(current, Mapping | list) else None
    return tuple(place)


def _one_problem(entry: Any, model: type[BaseModel]) -> str:
    field = ".".join(str(part) for part in entry["loc"]) or "(top level)"
    if entry["type"] == "extra_forbidden":
        allowed = ", ".join(sorted(_fields_at(model, entry["loc"][:-1])))
        return f"{field}: unknown field" + (f" (known here: {allowed})" if allowed else "")
    if entry["type"] == "missing":
        return f"{field}: missing"
    problem = entry["msg"].removeprefix("Value error, ")
    if NEVER_SHOWN.intersection(entry["whole"]):
        return f"{field}: {problem}"
    shown = _SHORT.repr(entry["input"])  # a few YAML aliases can expand to more text than fits into memory
    return f"{field}: {problem} (got {shown if len(shown) <= 80 else shown[:77] + '...'})"


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The fields of the section at ``location``; empty if the location cannot be followed."""
    current: Any = model
    for part in location:
        fields = getattr(current, "model_fields", {})
        if part not in fields:
            return []
        current = fields[part].annotation
        options = [a for a in getattr(current, "__args__", ()) if hasattr(a, "model_fields")]
        current = current if hasattr(current, "model_fields") else (options[0] if options else None)
    return [field.alias or name for name, field in getattr(current, "model_fields", {}).items()]
