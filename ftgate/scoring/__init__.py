"""From an answer to a score in [0, 1], by rule."""
