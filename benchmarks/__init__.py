"""Measurements: not part of the package, run by hand from the project's root."""
