"""Benchmarks: speed (``make bench``) and error rates (``python -m benchmarks.error_rates``)."""
