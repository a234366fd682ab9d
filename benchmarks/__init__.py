"""Benchmarks: speed (``make bench``) and error rates (``python -m benchmarks.error_rates``)."""

import os

# Without answers of earlier runs, unless a benchmark is about them: most count what is asked, and how long that takes.
os.environ.setdefault("FTGATE_ANSWERS", "off")
