"""The starter policy and manifest with what is known filled in, comments kept. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from ftgate.datasets.builtin import PREFIX

_SECTION = re.compile(r"  (?:# )?(?P<name>target|forgetting|tail|calibration|safety|tools): +(?P<fields>\{.*\})")
_TOP = re.compile(
    r"(?:# )?(?P<name>judge|engine|artifacts|base|candidate|training_data): +(?P<fields>\{.*\})(?P<rest>.*)"
)
_MANIFESTS = re.compile(r"^manifests: (?P<globs>\[.*\])$", re.MULTILINE)
_NAME = re.compile(r"^name: .*$", re.MULTILINE)
_NOT_LIMITS = frozenset(("dataset", "scorer", "n", "n_max", "rotations"))
"""Fields of the starter's sections that are about its own suites."""
_COLUMN = 13
"""Where the values of sections begin."""

Fields = Mapping[str, Any]


def policy_text(
    starter: str, measurements: Mapping[str, Fields], missing: Mapping[str, str], top: Mapping[str, Fields | None]
) -> str:
    """The policy ``starter`` with the sections ``measurements``, under the starter's limits.

    Those in ``missing`` are commented out, with the reason in front. ``top`` has sections beside the measurements; None
    comments one out. Everything else stays as it is.
    """
    lines = []
    for line in starter.splitlines():
        section = _SECTION.fullmatch(line)
        if section is None:
            lines.append(_top_line(line, top))
        elif section["name"] in measurements:
            limits = {k: v for k, v in yaml.safe_load(section["fields"]).items() if k not in _NOT_LIMITS}
            fields = {**measurements[section["name"]], **limits}
            if not str(fields.get("dataset")).startswith(PREFIX) and lines[-1].startswith("  # "):
                lines[-1] = lines[-1].partition("? ")[0].removesuffix("?") + "?"  # the rest is about other data
            lines.append(f"  {section['name'] + ':':<{_COLUMN}}{flow(fields)}")
        elif section["name"] in missing:
            lines += [f"  # Not yet: {missing[section['name']]}.", _commented(line, "  ")]
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def manifest_text(starter: str, name: str, sources: Mapping[str, Fields | None]) -> str:
    """The manifest ``starter`` with ``name``, unless it is empty, and ``sources`` by role; None comments one out."""
    text = _NAME.sub(lambda _: f"name: {flow(name)}", starter) if name else starter
    return "\n".join(_top_line(line, sources) for line in text.splitlines()) + "\n"


def with_globs(policy: str, globs: Iterable[str]) -> str:
    """The policy ``policy``, whose manifests are those that ``globs`` match as well."""
    match = _MANIFESTS.search(policy)
    if match is None:
        return policy
    listed = list(dict.fromkeys([*yaml.safe_load(match["globs"]), *globs]))
    return f"{policy[: match.start('globs')]}{json.dumps(listed, ensure_ascii=False)}{policy[match.end('globs') :]}"


def flow(value: Any) -> str:
    """A value as YAML in one line, such as ``{dataset: ../evals/target.jsonl, scorer: choice}``."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf)
    return text.removesuffix("...\n").strip(" \n")


def siblings(allowed: Iterable[str]) -> list[str]:
    """Globs that allow ``allowed`` and what lies beside them, so that the next candidate is allowed as well."""
    return list(dict.fromkeys(f"{reference.rpartition('/')[0]}/*" for reference in allowed))


def _top_line(line: str, top: Mapping[str, Fields | None]) -> str:
    match = _TOP.fullmatch(line)
    if match is None or match["name"] not in top:
        return line
    fields = top[match["name"]]
    if fields is None:
        return _commented(line, "")
    width = _COLUMN - 2 if match["name"] in ("judge", "engine", "artifacts") else _COLUMN + 2
    return f"{match['name'] + ':':<{width}}{flow(fields)}{match['rest']}"


def _commented(line: str, indent: str) -> str:
    rest = line.removeprefix(indent)
    return line if rest.startswith("#") else f"{indent}# {rest}"
