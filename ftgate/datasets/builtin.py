"""Built-in suites, named ``builtin:NAME`` in a policy."""

from __future__ import annotations

from pathlib import Path

from ftgate.errors import ConfigurationError

PREFIX = "builtin:"
FOLDER = Path(__file__).resolve().parent.parent / "suites"


def builtin_suites() -> tuple[str, ...]:
    """The names of all built-in suites, with their prefix."""
    return tuple(sorted(f"{PREFIX}{path.stem}" for path in FOLDER.glob("*.jsonl")))


def dataset_path(dataset: str, folder: Path, field: str) -> Path:
    """The path of the data file ``dataset`` of a policy: a built-in suite, or a file relative to ``folder``.

    Raises ConfigurationError naming ``field`` for an unknown built-in suite.
    """
    if not dataset.startswith(PREFIX):
        return folder / dataset
    if dataset not in builtin_suites():
        raise ConfigurationError(
            f"{field}: unknown built-in suite {dataset!r}",
            hint=f"use one of {', '.join(builtin_suites())}, or a file of your own, relative to the policy",
        )
    return FOLDER / f"{dataset.removeprefix(PREFIX)}.jsonl"
