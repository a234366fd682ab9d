"""What ``ftgate check`` prints: the models and suites that a run would use, all checked, nothing loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from rich.console import Console
from rich.table import Table

from ftgate.domain import Model, Suite
from ftgate.report.escape import terminal


class Training(Protocol):
    """The part of the training data that is shown."""

    @property
    def source(self) -> str:
        """Where it was read."""
        ...

    @property
    def rows(self) -> int:
        """How many rows could be used."""
        ...


def print_preflight(
    name: str,
    models: Sequence[Model | None],
    suites: Mapping[str, Suite],
    training: Training | None,
    console: Console,
) -> None:
    """Two tables, models and data, and a line that says a run would start."""
    roles = Table("role", "reference", "kind", "digest", title="models", title_justify="left")
    for role, model in zip(("base", "candidate", "judge"), models, strict=False):
        if model is not None:
            kinds = {"adapter": f"adapter, rank {model.lora_rank}", "endpoint": "endpoint", "full": "full weights"}
            roles.add_row(role, terminal(model.reference, 60), kinds[model.kind], model.digest[:19] or "unknown")
    data = Table("data", "file", "rows", "sha256", title="data", title_justify="left")
    for suite_name, suite in suites.items():
        data.add_row(suite_name, terminal(suite.source, 60), str(len(suite.items)), suite.sha256[:12])
    if training is not None:
        data.add_row("training data", terminal(training.source, 60), str(training.rows), "")
    console.print(roles)
    console.print(data)
    console.print(f"{terminal(name, 100)}: ready to run", highlight=False)
