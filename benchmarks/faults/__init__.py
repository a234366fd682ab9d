"""A fault campaign on ``ftgate run``: kills and damaged files; see ``python -m benchmarks.faults --help``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Before numpy loads: every run is a fork of this process, and threads of a library would not be copied with it.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
sys.path.append(str(Path(__file__).parents[2] / "tests"))  # the scripted models and servers of the tests
