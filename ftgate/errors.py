"""Every way in which ftgate itself can fail, with what the reader of a log can do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class FtgateError(Exception):
    """A failure that a person can act on.

    ``message`` says what was wrong and where (the value, the file and line, or the field); ``hint`` says what to do.
    The command line prints both and exits with ``exit_code``; it never prints a traceback for one of these.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message


class ConfigurationError(FtgateError):
    """The policy, the manifest, a suite or a command-line option cannot be used as written. Exit code 2."""

    exit_code = 2


class SeveralError(ConfigurationError):
    """Several problems that were found in one go. Leaves with 2 if any of them is a matter of configuration."""

    def __init__(self, problems: Sequence[FtgateError]) -> None:
        lines = [f"{n}. {p.message}" + (f"\nwhat to do: {p.hint}" if p.hint else "") for n, p in enumerate(problems, 1)]
        super().__init__(
            f"{len(problems)} problems:\n  " + "\n  ".join(line.replace("\n", "\n     ") for line in lines)
        )
        self.problems = tuple(problems)
        self.exit_code = min(problem.exit_code for problem in problems)


class Problems:
    """Collects what is wrong, so that a person learns all of it at once."""

    def __init__(self) -> None:
        self.found: list[FtgateError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note the error that ends the body, if one does, and go on after it."""
        try:
            yield
        except SeveralError as several:
            self.found += several.problems
        except FtgateError as error:
            if error.message not in [earlier.message for earlier in self.found]:
                self.found.append(error)

    def raise_any(self) -> None:
        """Raise what was noted: one error as itself, several as one."""
        if len(self.found) == 1:
            raise self.found[0] from None
        if self.found:
            raise SeveralError(self.found) from None


class DatasetError(ConfigurationError):
    """A suite or training file is missing, unreadable or holds a bad row. Exit code 2."""


class ArtifactError(ConfigurationError):
    """A model snapshot is missing, unsafe to load, or does not fit the base. Exit code 2."""


class DownloadError(FtgateError):
    """A file could not be fetched or kept: network, server or disk. Exit code 3: this says nothing about the model."""


class EngineError(FtgateError):
    """The inference engine could not start or could not answer. Exit code 3: this says nothing about the model."""


class ControlError(FtgateError):
    """A control that must hold before any verdict did not hold. Exit code 3."""


class StoreError(FtgateError):
    """The journal of answers cannot be read or belongs to another run. Exit code 3."""


class PublishError(FtgateError):
    """The platform could not be reached, or refused what the publisher needs. Exit code 3."""
