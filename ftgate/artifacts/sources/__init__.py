"""Artifact sources, one module each. To add one, write a class and add it to ``registry.py``."""
