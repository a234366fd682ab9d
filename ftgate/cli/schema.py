"""JSON Schemas of the files that people and programs read and write."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from ftgate.config.manifest import Manifest
from ftgate.config.policy import Policy
from ftgate.measurements.registry import every_kind
from ftgate.report.schema import Report


def schema_of(kind: str) -> str:
    """The JSON Schema (draft 2020-12) of ``policy``, ``manifest`` or ``report``, as indented JSON."""
    models: dict[str, type[BaseModel]] = {"policy": Policy, "manifest": Manifest, "report": Report}
    model = models[kind]
    schema = model.model_json_schema(mode="serialization" if kind == "report" else "validation")
    if kind == "policy":
        _name_measurements(schema)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2)


def _name_measurements(schema: dict[str, Any]) -> None:
    """Add each measurement's own schema; the policy's model itself only has a mapping."""
    properties: dict[str, Any] = {}
    definitions = schema.setdefault("$defs", {})
    for measurement in every_kind():
        section = measurement.model_json_schema()
        definitions.update(section.pop("$defs", {}))
        definitions[measurement.__name__] = section
        properties[measurement.name] = {"$ref": f"#/$defs/{measurement.__name__}"}
    schema["properties"]["measurements"] = {
        "type": "object",
        "description": Policy.model_fields["measurements"].description,
        "properties": properties,
        "additionalProperties": False,
        "minProperties": 1,
    }
