"""A job: everything a run needs, read and checked before any weight is loaded."""
