"""The program ``ftgate``, which is also ``python -m ftgate``."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False  # nothing else is imported before the current folder is no longer looked into
if TYPE_CHECKING:
    from typing import NoReturn


def entry() -> NoReturn:
    """Run the command line, ended so that only a verdict exits with the code of a verdict."""
    pass_over_current_folder()
    from ftgate.cli.ending import end, end_on_signals, exit_code_of

    # Hundreds of thousands of answers live as long as the process, so garbage collection among them only costs time.
    gc.set_threshold(100_000, 20, 20)
    end_on_signals()
    end(exit_code_of(_main))


def pass_over_current_folder() -> None:
    """Import nothing from the current folder, here or in child processes, unless ftgate itself lies in it.

    ``python -m`` puts it first, and people have files such as ``json.py`` and ``datasets.py`` there. A script's own
    folder, which would stand there instead, holds no modules either.
    """
    if sys.flags.safe_path or __file__.startswith(f"{sys.path[0]}{os.sep}ftgate{os.sep}"):
        return
    del sys.path[0]
    os.environ["PYTHONSAFEPATH"] = "1"


def _main() -> NoReturn:
    try:
        from ftgate.cli.main import main  # takes a third of a second, in which a signal may come as well
    except KeyboardInterrupt:
        sys.stderr.write("ftgate: interrupted before it began\n")
        raise
    main()


if __name__ == "__main__":
    entry()
