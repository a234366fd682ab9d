"""What a snapshot on disk holds: whether it is safe, whole, and fits its base."""
