"""Suites that come with ftgate as data: one JSON lines file and one data card (Markdown) for each.

``NAME-answers.jsonl`` holds, for each row of the suite NAME by its ``id``, answers that are known to be ``right`` and
answers that are known to be ``wrong``: lists of texts, none of them the row's reference.
"""
