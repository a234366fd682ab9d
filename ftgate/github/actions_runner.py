"""What a job writes for the Actions runner: outputs, the summary page, and annotations on lines of files."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftgate.report.escape import plain_line

SUMMARY_LIMIT = 1_000_000
"""Bytes. GitHub drops a summary above 1 MiB."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotation on one line of a manifest."""

    path: str
    line: int
    title: str
    message: str
    failure: bool

    def as_check_annotation(self) -> dict[str, str | int]:
        """As the Checks API takes it."""
        return {
            "path": self.path,
            "start_line": self.line,
            "end_line": self.line,
            "annotation_level": "failure" if self.failure else "warning",
            "title": plain_line(self.title, 200),
            "message": plain_line(self.message, 2000),
        }

    def as_workflow_command(self) -> str:
        """As a workflow command: a line of the log that the runner turns into an annotation."""
        where = f"file={_property(self.path)},line={self.line},title={_property(plain_line(self.title))}"
        return f"::{'error' if self.failure else 'warning'} {where}::{_data(plain_line(self.message, 1000))}"


def output_lines(values: Mapping[str, str]) -> str:
    """``values`` in the format of GITHUB_OUTPUT. Each delimiter is random, so that no value can contain its own."""
    lines = []
    for name, value in values.items():
        delimiter = f"ftgate_{secrets.token_hex(16)}"
        lines.append(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")
    return "".join(lines)


@dataclass(frozen=True, slots=True)
class ActionsFiles:
    """The runner's files; None if there is no such file, as outside of Actions."""

    outputs: Path | None = None
    summary: Path | None = None

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> ActionsFiles:
        """The files that the runner names in the environment."""
        output, summary = env.get("GITHUB_OUTPUT"), env.get("GITHUB_STEP_SUMMARY")
        return cls(Path(output) if output else None, Path(summary) if summary else None)

    def set_outputs(self, values: Mapping[str, str]) -> None:
        """Set outputs for later steps and jobs."""
        _append(self.outputs, output_lines(values))

    def write_summary(self, text: str) -> None:
        """Show ``text`` on the job's page, or a note instead if it is too long."""
        fits = len(text.encode()) <= SUMMARY_LIMIT
        _append(self.summary, text if fits else "The summary is too long to show here; see the artifacts.\n")


def workflow_commands(annotations: Sequence[Annotation]) -> str:
    """The annotations as lines for the log, for a token that may not create check runs."""
    return "\n".join(a.as_workflow_command() for a in annotations)


def _append(path: Path | None, text: str) -> None:
    if path is not None:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
