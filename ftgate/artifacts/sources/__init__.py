"""Where files come from, one file per kind of place. A new one is a class here and its line in ``registry.py``."""
