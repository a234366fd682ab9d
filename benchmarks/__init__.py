"""Measurements of speed, for people: ``make bench`` runs all of them."""
