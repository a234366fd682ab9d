"""Suites that come with ftgate, named ``builtin:NAME`` in a policy."""

from __future__ import annotations

from pathlib import Path

from ftgate.errors import ConfigurationError

PREFIX = "builtin:"
FOLDER = Path(__file__).resolve().parent.parent / "suites"


def builtin_suites() -> tuple[str, ...]:
    """The names of all suites that come with ftgate, with their prefix. A suite is a data file that has a card."""
    return tuple(sorted(f"{PREFIX}{card.stem}" for card in FOLDER.glob("*.md") if card.with_suffix(".jsonl").is_file()))


def dataset_path(dataset: str, folder: Path, field: str) -> Path:
    """Where the data file that a policy calls ``dataset`` lies: a builtin suite, or a file relative to ``folder``.

    Raises ConfigurationError naming ``field`` when there is no such builtin suite.
    """
    if not dataset.startswith(PREFIX):
        return folder / dataset
    if dataset not in builtin_suites():
        raise ConfigurationError(
            f"{field}: unknown builtin suite {dataset!r}",
            hint=f"known are {', '.join(builtin_suites())}; or give a file of your own, relative to the policy",
        )
    return FOLDER / f"{dataset.removeprefix(PREFIX)}.jsonl"
