"""The program ``ftgate``, which is also ``python -m ftgate``."""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

from ftgate.cli.ending import end, end_on_signals, exit_code_of


def entry() -> NoReturn:
    """Run the command line, ended so that only a verdict exits with the code of a verdict."""
    # Hundreds of thousands of answers live as long as the process, so garbage collection among them only costs time.
    gc.set_threshold(100_000, 20, 20)
    end_on_signals()
    end(exit_code_of(_main))


def _main() -> NoReturn:
    try:
        from ftgate.cli.main import main  # takes a third of a second, in which a signal may come as well
    except KeyboardInterrupt:
        sys.stderr.write("ftgate: interrupted before it began\n")
        raise
    main()


if __name__ == "__main__":
    entry()
