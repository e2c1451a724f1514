"""Measurements of one question each, run as ``python -m benchmarks.studies.NAME``."""
