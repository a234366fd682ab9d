"""Advice on what to try next, from the report and the training recipe."""
