"""Models on disk: whether a snapshot is safe, complete, and fits its base."""
