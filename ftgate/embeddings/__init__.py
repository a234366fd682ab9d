"""Texts as vectors, for distances."""
