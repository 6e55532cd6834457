"""Measurements: each is run with ``python -m benchmarks.NAME``, and prints what it finds."""
