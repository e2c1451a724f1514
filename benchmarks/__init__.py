"""Measurements of quality and speed; each module says how to run it."""
