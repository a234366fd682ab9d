"""ftgate: a merge gate for fine-tuned language models."""

from __future__ import annotations

TYPE_CHECKING = False  # nothing is imported yet: `python -m` looks into the current folder first
if TYPE_CHECKING:
    from typing import Any

    from ftgate.api.evaluate import evaluate as evaluate
    from ftgate.errors import FtgateError as FtgateError
    from ftgate.jobs.checked_report import read_report as read_report
    from ftgate.report.schema import Report as Report

__version__ = "0.1.0"
__all__ = ["FtgateError", "Report", "__version__", "evaluate", "read_report"]
_WHERE = {
    "evaluate": "ftgate.api.evaluate",
    "FtgateError": "ftgate.errors",
    "Report": "ftgate.report.schema",
    "read_report": "ftgate.jobs.checked_report",
}


def __getattr__(name: str) -> Any:
    """Import what is used, when it is used: the command line starts without it."""
    from importlib import import_module

    if name not in _WHERE:
        raise AttributeError(f"module 'ftgate' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
