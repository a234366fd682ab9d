"""From a reference to a local snapshot that is safe to load."""
