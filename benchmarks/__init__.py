"""Measurements for people: of speed (``make bench``) and of error rates (``python -m benchmarks.error_rates``)."""
