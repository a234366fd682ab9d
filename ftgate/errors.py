"""The errors that ftgate raises. Each says what went wrong and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the command line. A failure of the gate has codes of its own, apart from BLOCK and HOLD."""

    ALLOW = 0
    BLOCK = 1
    USAGE = 2
    GATE_FAILED = 3
    HOLD = 4


class FtgateError(Exception):
    """An error that the user can act on.

    ``message`` says what was wrong and where (the value, the file and line, or the field); ``hint`` says what to do.
    The command line prints both, without a traceback, and exits with ``exit_code``; `ftgate docs CODE` prints the page
    about its ``code`` (docs/errors.md).
    """

    exit_code = 3
    code = "gate"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message


class ConfigurationError(FtgateError):
    """The policy, the manifest, a suite or a command-line option cannot be used as written. Exit code 2."""

    exit_code = 2
    code = "configuration"


class SeveralError(ConfigurationError):
    """Several problems, reported together. Exit code 2 if any of them is a configuration error."""

    code = "several"

    def __init__(self, problems: Sequence[FtgateError]) -> None:
        lines = [f"{n}. {p.message}" + (f"\nwhat to do: {p.hint}" if p.hint else "") for n, p in enumerate(problems, 1)]
        super().__init__(
            f"{len(problems)} problems:\n  " + "\n  ".join(line.replace("\n", "\n     ") for line in lines)
        )
        self.problems = tuple(problems)
        self.exit_code = min(problem.exit_code for problem in problems)


class Problems:
    """Collects errors, so that the user sees all of them at once."""

    def __init__(self) -> None:
        self.found: list[FtgateError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Collect an error that the body raises, and continue after the body."""
        try:
            yield
        except SeveralError as several:
            self.found += several.problems
        except FtgateError as error:
            if error.message not in [earlier.message for earlier in self.found]:
                self.found.append(error)

    def raise_any(self) -> None:
        """Raise what was collected: a single error as it is, several as a SeveralError."""
        if len(self.found) == 1:
            raise self.found[0] from None
        if self.found:
            raise SeveralError(self.found) from None


class DatasetError(ConfigurationError):
    """A suite or training file is missing, unreadable or holds a bad row. Exit code 2."""

    code = "dataset"


class ArtifactError(ConfigurationError):
    """A model snapshot is missing, unsafe to load, or does not fit the base. Exit code 2."""

    code = "artifact"


class DownloadError(FtgateError):
    """A file could not be fetched or stored: network, server or disk. Exit code 3; no verdict about the model."""

    code = "download"


class EngineError(FtgateError):
    """The inference engine could not start or could not answer. Exit code 3; no verdict about the model."""

    code = "engine"


class ControlError(FtgateError):
    """A control that every verdict depends on failed. Exit code 3."""

    code = "control"


class ChangedError(FtgateError):
    """A file of a model or of the data changed while a run was using it. Exit code 3; no verdict about the model."""

    code = "changed"


class StoreError(FtgateError):
    """A file of a run cannot be read or written: the journal, a report, a file system. Exit code 3."""

    code = "store"


class PublishError(FtgateError):
    """GitHub could not be reached, or refused a request of the publisher. Exit code 3."""

    code = "publish"
