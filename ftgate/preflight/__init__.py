"""What would stop a run, found out before one starts."""
