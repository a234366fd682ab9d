"""The report of a run: its schema, and how it is shown as comment, page and terminal output."""
