"""JSON Schemas of the files that people and programs read and write."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import BaseModel

from ftgate.config.manifest import Manifest
from ftgate.config.policy import Policy
from ftgate.github.audit.record import Record
from ftgate.measurements.base import AnyMeasurement
from ftgate.measurements.registry import MEASUREMENTS, NAME_PATTERN, every_kind
from ftgate.report.schema import Report

KIND = "What is measured. Needed only in a section whose name is none of the kinds."


FILES = {
    "policy": "limits, suites and judge: .github/ftgate.yml",
    "manifest": "the models that a change names: models/*.yaml",
    "report": "what a run writes: report.json",
    "ledger": "a line of the audit trail: ledger.jsonl",
}


def schema_of(kind: str) -> str:
    """The JSON Schema (draft 2020-12) of one of ``FILES``, as indented JSON."""
    return _schema_of(kind, every_kind())


@cache
def _schema_of(kind: str, measurements: tuple[type[AnyMeasurement], ...]) -> str:
    models: dict[str, type[BaseModel]] = {"policy": Policy, "manifest": Manifest, "report": Report, "ledger": Record}
    model = models[kind]
    schema = model.model_json_schema(mode="serialization" if kind == "report" else "validation")
    if kind == "policy":
        _name_measurements(schema, measurements)
    if kind == "ledger":
        schema = _line_of(schema)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2)


def _line_of(record: dict[str, Any]) -> dict[str, Any]:
    """The schema of a line that holds a ``record``."""
    definitions = {**record.pop("$defs", {}), "Record": record}
    texts = {
        "previous": "SHA-256 of the line before it; empty in the first.",
        "late": "When it was appended, if it could not be written at its own time.",
    }
    return {
        "$defs": definitions,
        "title": "LedgerLine",
        "description": "One line of ledger.jsonl, in canonical JSON: sorted keys and no spaces.",
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "Counts the lines."},
            "record": {"$ref": "#/$defs/Record"},
            **{name: {"type": "string", "description": text} for name, text in texts.items()},
        },
        "required": ["n", "previous", "record"],
        "additionalProperties": False,
    }


def _name_measurements(schema: dict[str, Any], measurements: tuple[type[AnyMeasurement], ...]) -> None:
    """Add each measurement's own schema; the policy's model itself only has a mapping."""
    properties: dict[str, Any] = {}
    definitions = schema.setdefault("$defs", {})
    for measurement in measurements:
        section = measurement.model_json_schema()
        definitions.update(section.pop("$defs", {}))
        section["properties"] = {"kind": {"const": measurement.kind, "description": KIND}, **section["properties"]}
        definitions[measurement.__name__] = section
        properties[measurement.kind] = {"$ref": f"#/$defs/{measurement.__name__}"}
    schema["properties"]["measurements"] = {
        "type": "object",
        "description": Policy.model_fields["measurements"].description,
        "properties": properties,
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": {
            "required": ["kind"],
            "anyOf": [{"$ref": f"#/$defs/{measurement.__name__}"} for measurement in MEASUREMENTS],
        },
        "minProperties": 1,
    }
