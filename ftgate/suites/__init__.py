"""Suites that come with ftgate as data: one JSON lines file and one data card (Markdown) for each."""
