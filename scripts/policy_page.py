"""docs/policy.md: every field of the policy and the manifest, from the JSON Schemas that `ftgate schema` prints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftgate.cli.schema import schema_of

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "policy.md"
STARTER = ROOT / "ftgate" / "starter"
HEADER = """# Policy and manifest

<!-- Made by `make reference` from the fields' docstrings in ftgate/config and ftgate/measurements; do not edit. -->

Two YAML files with two owners. The **policy** holds the limits and says what may be loaded. ftgate reads it from the
base branch, so a pull request cannot loosen the gate that judges it. The **manifest** names the models; a pull request
changes it. Unknown fields are errors. `ftgate schema policy` and `ftgate schema manifest` print the same fields as JSON
Schema, for editors.

`ftgate init` writes these files to start from:

"""
EXAMPLES = (("policy.yml", ".github/ftgate.yml"), ("manifest.yaml", "models/my-model.yaml"))
COLUMNS = "| field | type | default | meaning |\n|---|---|---|---|\n"
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "null": "none"}
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}

Schema = Mapping[str, Any]


def page() -> str:
    """The whole page."""
    parts = [HEADER]
    for name, path in EXAMPLES:
        parts.append(f"```yaml\n# {path}\n{(STARTER / name).read_text(encoding='utf-8')}```\n\n")
    for kind in ("policy", "manifest"):
        schema = json.loads(schema_of(kind))
        definitions = schema["$defs"]
        parts.append(f"## The {kind}\n\n{table(schema, definitions)}\n")
        for title, section in sections(schema):
            parts.append(f"### {title}\n\n{text(section)}\n\n{table(section, definitions)}\n")
    return "".join(parts).rstrip() + "\n"


def sections(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Every section below the top level with its heading; one that several fields hold stands once, under all names."""
    headings: dict[str, list[str]] = {}

    def collect(properties: Schema, above: str) -> None:
        for name, field in properties.items():
            for reference in references(field):
                below = f"{above}{name}" if values(field) is None else f"{above}{name}.*"
                headings.setdefault(reference, []).append(f"`{below}`")
                collect(schema["$defs"][reference]["properties"], f"{below}.")
            collect(field.get("properties", {}), f"{above}{name}.")

    collect(schema["properties"], "")
    for reference, names in headings.items():
        yield ", ".join(names), schema["$defs"][reference]


def references(field: Schema) -> list[str]:
    """The sections that a field may hold, itself or under keys of the user's own."""
    return [option["$ref"].rpartition("/")[2] for option in options(values(field) or field) if "$ref" in option]


def options(field: Schema) -> list[Schema]:
    """What a field may hold, one entry for each kind."""
    return field.get("anyOf", [field])


def values(field: Schema) -> Schema | None:
    """What a field holds under keys of the user's own; None for any other field."""
    return None if "properties" in field else field.get("additionalProperties") or None


def table(section: Schema, definitions: Schema) -> str:
    """One row for each field. A field without a text of its own has that of the section that it holds."""
    rows = []
    for name, field in section["properties"].items():
        about = [field, *(definitions[reference] for reference in references(field))]
        meaning = next(found for found in map(text, about) if found)
        given = "**required**" if name in section.get("required", []) else default(field)
        rows.append(f"| `{name}` | {kind(field)} | {given} | {meaning} |\n")
    return COLUMNS + "".join(rows)


def kind(field: Schema) -> str:
    """What a field may hold, in words."""
    first, *others = (one_kind(option) for option in options(field) if option.get("type") != "null")
    return " or ".join([first, *(other.removeprefix("only ") for other in others)])


def one_kind(option: Schema) -> str:
    """One of the things that a field may hold, in words, with its range."""
    if "$ref" in option or "properties" in option:
        return "section (below)"
    if option.get("type") == "object":
        return "sections by tag (below)"
    if "enum" in option:
        return "one of " + ", ".join(code(value) for value in option["enum"])
    if "const" in option:
        return f"only {code(option['const'])}"
    if option["type"] == "array":
        return f"list of {one_kind(option['items']).removeprefix('only ')}"
    words = [TYPES[option["type"]], *(f"{BOUNDS[key]} {option[key]:,}" for key in BOUNDS if key in option)]
    if "maxLength" in option:
        words.append(f"at most {option['maxLength']} characters")
    if "pattern" in option:
        words.append(f"matching {code(option['pattern'])}")
    return ", ".join(words)


def default(field: Schema) -> str:
    """The value that a field has when it is left out."""
    value = field.get("default")
    if value is None:
        return "none"
    return "see below" if isinstance(value, dict) else code(value)


def code(value: Any) -> str:
    """A value as YAML would have it; a pipe in it must not end the table's cell."""
    shown = value if isinstance(value, str) else json.dumps(value)
    return f"`{shown}`".replace("|", "\\|")


def text(field: Schema) -> str:
    """The description in one line, the paths of other pages as links."""
    found = " ".join(field.get("description", "").split()).replace("|", "\\|")
    return re.sub(r"docs/([a-z-]+)\.md", r"[\1](\1.md)", found)
