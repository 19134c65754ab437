"""The JSON file that results are kept in as they come, so that an interrupted run goes on."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.speed.works import Measurement
from recoder._files import atomic_write

__all__ = ["Store", "source_hash"]

FORMAT = 1
PROJECT = Path(__file__).parents[2]
MEASURED_FILES = ("src/recoder/**/*.py", "src/recoder/**/*.[ch]", "hatch_build.py", "benchmarks/speed/workers/*.py")


class Store:
    """Results by the measurement's name.

    Args:
        path: the file; a missing one is an empty store.
        measured_by: what results depend on: machine, code, versions and sizes; those of anything else are not kept.
    """

    def __init__(self, path: Path, measured_by: Mapping[str, Any]) -> None:
        self._path = path
        self._measured_by = json.loads(json.dumps(measured_by))
        self._results: dict[str, Any] = {}
        if path.exists():
            held = json.loads(path.read_text(encoding="utf-8"))
            if held.get("format") == FORMAT and held.get("measured by") == self._measured_by:
                self._results = held["measurements"]

    def find(self, measurement: Measurement, rounds: int) -> dict[str, Any] | None:
        """Returns the sides' results, if they were measured with these settings, by this code and on this machine.

        Args:
            measurement: what was measured.
            rounds: results of fewer do not count.
        """
        result = self._results.get(measurement.name)
        if result is None or result["settings"] != json.loads(json.dumps(measurement.settings())):
            return None
        sides: dict[str, Any] = result["sides"]
        has_fewer = any(len(side["values"]) < rounds for side in sides.values() if "values" in side)
        return None if has_fewer else sides

    def keep(self, measurement: Measurement, sides: dict[str, Any]) -> None:
        """Writes the sides' results into the file at once."""
        self._results[measurement.name] = {"settings": measurement.settings(), "sides": sides}
        content = {"format": FORMAT, "measured by": self._measured_by, "measurements": self._results}
        with atomic_write(self._path) as path:
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def forget(self) -> None:
        """Leaves out all that was there; the file changes with the next result."""
        self._results = {}


def source_hash(patterns: Iterable[str] = MEASURED_FILES, *, without: Iterable[str] = ()) -> str:
    """Returns a hash of what runs in the files of these patterns; by default of what is measured and what measures it.

    Comments, docstrings and the layout of Python's sources do not count, so that they can be mended without measuring
    everything anew. Files that ``without`` names are left out.
    """
    digest = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(PROJECT.glob(pattern)):
            name = path.relative_to(PROJECT).as_posix()
            if name in without:
                continue
            digest.update(name.encode())
            digest.update(_what_runs(path))
    return digest.hexdigest()[:16]


def _what_runs(path: Path) -> bytes:
    """Returns what a file comes to when it runs: of Python's the syntax tree without its docstrings."""
    source = path.read_bytes()
    return _without_docstrings(source) if path.suffix == ".py" else source


@cache
def _without_docstrings(source: bytes) -> bytes:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [each for each in body if not _is_text_alone(each)]  # type: ignore[attr-defined]  # it has one
    return ast.dump(tree).encode()


def _is_text_alone(statement: ast.AST) -> bool:
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Constant):
        return False
    return isinstance(statement.value.value, str)
