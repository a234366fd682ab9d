"""Built-in suites, named ``builtin:NAME`` in a policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ftgate.errors import ConfigurationError

PREFIX = "builtin:"
FOLDER = Path(__file__).resolve().parent.parent / "suites"

PARTS: Mapping[str, tuple[str, ...]] = {
    "general-200": ("general-200.jsonl",),
    "general-easy-200": ("general-easy-200.jsonl",),
    "safety-250": ("safety-250.jsonl",),
    "tools-120": ("tools-120.jsonl",),
    "general-800": (
        "general-200.jsonl",
        "general-easy-200.jsonl",
        "general-800-main.jsonl",
        "general-800-multilingual.jsonl",
    ),
}
"""The files that each suite is made of, one after the other: one row stands in one file, whichever suites hold it."""


def builtin_suites() -> tuple[str, ...]:
    """The names of all built-in suites, with their prefix."""
    return tuple(sorted(f"{PREFIX}{name}" for name in PARTS))


def dataset_paths(dataset: str, folder: Path, field: str) -> tuple[Path, ...]:
    """Where the data that a policy calls ``dataset`` lies: the parts of a built-in suite, or a file under ``folder``.

    Raises ConfigurationError naming ``field`` when there is no such built-in suite, or a part of it is not installed.
    """
    if not dataset.startswith(PREFIX):
        return (folder / dataset,)
    if dataset not in builtin_suites():
        raise ConfigurationError(
            f"{field}: unknown built-in suite {dataset!r}",
            hint=f"use one of {', '.join(builtin_suites())}, or a file of your own, relative to the policy",
        )
    paths = tuple(FOLDER / part for part in PARTS[dataset.removeprefix(PREFIX)])
    if missing := [path.name for path in paths if not path.is_file()]:
        raise ConfigurationError(
            f"{field}: {dataset} lacks {', '.join(missing)}, which should lie in {FOLDER}",
            hint="install ftgate again: this copy of it is not whole",
        )
    return paths
