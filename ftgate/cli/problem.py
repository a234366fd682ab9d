"""What a command that fails says: the problem, what to do, and where to read on."""

from __future__ import annotations

import tempfile
import traceback

import click

from ftgate.cli.ending import FAILED
from ftgate.cli.failure import FailureFile
from ftgate.errors import FtgateError
from ftgate.files import operating_system_error


def show_problem(error: Exception, failure_file: FailureFile | None = None, *, about: str = "") -> int:
    """Print what went wrong, ``about`` what if that is given, and write it into the file; returns the exit code."""
    if isinstance(error, OSError):
        error = operating_system_error(error)
    if isinstance(error, FtgateError):
        reason, code = error.message, error.exit_code
        hint = f"\n  what to do: {error.hint}" if error.hint else ""
        text = f"{error.message}{hint}\n  more: ftgate docs {error.code}"
    elif isinstance(error, MemoryError):
        reason, code = "out of memory", FAILED
        text = f"{reason}\n  what to do: free memory or raise its limit; answers so far are kept"
    else:
        reason, code = f"internal error: {type(error).__name__}: {error}", FAILED
        text = f"{reason}\n  what to do: {_write_traceback(error)}"
    if failure_file is not None:
        failure_file.write(reason)
    print_error(f"{about}: {text}" if about else text)
    return code


def print_error(text: str) -> None:
    """Print ``text`` as an error."""
    from ftgate.report.escape import plain_lines

    click.echo(f"ftgate: error: {plain_lines(text)}", err=True)


def _write_traceback(error: Exception) -> str:
    """Write the traceback of a bug to a file. Returns the hint that names it."""
    trace = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile("w", prefix="ftgate-traceback-", suffix=".txt", delete=False) as file:
            file.write(trace)
    except OSError:
        return f"this is a bug in ftgate; report it with these lines:\n{trace}"
    return f"this is a bug in ftgate; report it and attach {file.name}"
