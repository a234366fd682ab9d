"""The judge: its questions, its grades, and the test it must pass to count."""
