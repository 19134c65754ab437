"""How training grows with the number of processes, of items and of interactions: ``python -m benchmarks scale``."""
