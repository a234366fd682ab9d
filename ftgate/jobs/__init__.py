"""Jobs: everything that a run needs, read and checked before any weights are loaded."""
