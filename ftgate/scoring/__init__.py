"""Rule-based scoring: from an answer to a score in [0, 1]."""
