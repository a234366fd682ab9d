"""The gate from Python: what `ftgate run` does, as a function."""
