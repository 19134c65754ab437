"""Prints the exact version of every package of this environment, as pip constraints."""

from __future__ import annotations

import re
from importlib.metadata import distributions

OWN_OR_BUNDLED = {"recsys-recoder", "pip", "setuptools"}  # ourselves, and what comes with an environment
HEADER = """\
# The exact versions that the scripts install and the tests run with; they need Python 3.11 or newer.
# Made by scripts/lock from the ranges in pyproject.toml; not edited by hand."""


def main() -> None:
    """Prints the header, then one sorted ``name==version`` a line."""
    versions = {}
    for package in distributions():
        name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
        # a local suffix such as +cpu names one build of a version
        versions[name] = package.version.split("+")[0]
    print(HEADER)
    for name in sorted(versions.keys() - OWN_OR_BUNDLED):
        print(f"{name}=={versions[name]}")


main()
