"""``python -m benchmarks NAME``: runs a benchmark from the project's root; ``NAME --help`` tells its options."""

from __future__ import annotations

import importlib
import sys

MAINS = {
    "speed": "benchmarks.speed.cli",
    "phases": "benchmarks.speed.phases",
    "latency": "benchmarks.speed.latency",
    "precision": "benchmarks.speed.precision",
    "real_data": "benchmarks.real_data",
    "quality": "benchmarks.quality.cli",
    "choices": "benchmarks.choices.cli",
    "papers": "benchmarks.papers.cli",
    "scale": "benchmarks.scale.cli",
}


def main(arguments: list[str]) -> int:
    """Hands over to the named benchmark and returns its exit status."""
    if not arguments or arguments[0] not in MAINS:
        print(f"usage: python -m benchmarks {{{','.join(MAINS)}}} ...", file=sys.stderr)
        return 2
    status: int = importlib.import_module(MAINS[arguments[0]]).main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
