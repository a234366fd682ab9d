"""docs/policy.md: every field of the policy and the manifest, as the schemas have them."""

from __future__ import annotations

import json
import re

import pytest

from ftgate.cli.schema import schema_of
from scripts import policy_page

PAGE = policy_page.PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_schemas_give() -> None:
    assert policy_page.page() == PAGE, "run `make reference`"


@pytest.mark.parametrize("kind", ["policy", "manifest"])
def test_every_field_has_a_row_with_a_meaning(kind: str) -> None:
    schema = json.loads(schema_of(kind))
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", PAGE, re.MULTILINE))
    for section in (schema, *schema["$defs"].values()):
        for name in section["properties"]:
            assert rows[name].strip(), name


def test_ranges_choices_and_defaults_are_in_words() -> None:
    field = {"type": "integer", "minimum": 1, "exclusiveMaximum": 2000, "default": 5}
    assert (policy_page.kind(field), policy_page.default(field)) == ("whole number, at least 1, below 2,000", "`5`")
    either = {"anyOf": [{"enum": ["a", "b|c"]}, {"$ref": "#/$defs/Source"}, {"type": "null"}], "default": None}
    assert policy_page.kind(either) == "one of `a`, `b\\|c` or section (below)"
    assert policy_page.default(either) == "none"
    assert policy_page.kind({"type": "array", "items": {"const": "safetensors"}}) == "list of `safetensors`"
