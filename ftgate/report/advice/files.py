"""The reader's own files, for advice that says where to change something. The text is not escaped yet."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ftgate.report import numbers
from ftgate.report.escape import as_code
from ftgate.report.schema import Report, mapping

LONGEST = 80
MOST_SHOWN = 30
"""Characters of a path in a sentence: a longer one would break in the middle of a word on a phone."""
OF_MEASUREMENT = ("min_gain", "n", "n_max", "max_tokens", "form: sampled")
"""Fields of a measurement's section of the policy that advice names."""
OF_POLICY = ("engine.dtype", "incumbent.block_drop", "judge")
_SUITE = re.compile(r"\bthe suite\b(?!')")
_FIELD = re.compile("|".join(f"`{re.escape(field)}`" for field in (*OF_MEASUREMENT, *OF_POLICY)))


@dataclass(frozen=True, slots=True)
class ReadersFiles:
    """Where policy, manifest and one measurement's suite stand; empty where a report does not tell."""

    name: str
    policy: str
    manifest: str
    suite: str
    rows: int = 0
    """Of the suite; 0 if a report does not tell."""

    def speak(self, step: str) -> str:
        """``step`` with its first field of the policy and its first mention of suite and manifest as the reader's."""
        if self.policy:
            step = _FIELD.sub(self._field, step, count=1)
        if self.manifest:
            step = step.replace("the manifest", f"the manifest ({path_as_code(self.manifest)})", 1)
        if not self.suite:
            return step
        return _SUITE.sub(lambda match: f"{match[0]} ({path_as_code(self.suite)})", step, count=1)

    def _field(self, match: re.Match[str]) -> str:
        field = match[0].strip("`")
        # What has no suite asks nothing of its own: its fields are those of the measurements that do.
        whole = field if field in OF_POLICY or not self.suite else f"measurements.{self.name}.{field}"
        return f"{as_code(whole)} in {path_as_code(self.policy)}"


def path_as_code(path: str) -> str:
    """``path`` as code; of a long one its last folders and its name: ``…/manifests/support-bot.yaml``."""
    shown, parts = path, path.split("/")
    while len(shown) > MOST_SHOWN and len(parts) > 1:
        parts = parts[1:]
        shown = "/".join(["…", *parts])
    return as_code(shown)


def files_of(report: Report, name: str) -> ReadersFiles:
    """The files that the report's provenance names. Anything but a short text counts as missing."""
    facts = report.provenance
    suite = mapping(mapping(facts.get("suites")).get(name))
    policy, manifest = _path(facts.get("policy")), _path(facts.get("manifest"))
    return ReadersFiles(
        name, policy, manifest, _path(suite.get("source")), int(numbers.finite(suite.get("items")) or 0)
    )


def _path(value: object) -> str:
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST else ""
