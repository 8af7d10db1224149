"""Measurements: ``python -m benchmarks --help``.

Times of one run are compared with each other, never with another day's.
"""
