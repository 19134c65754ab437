"""Trains every kind of model on real data, and writes ``docs/real-data.md``.

    python -m benchmarks real_data --data DIR

Each run's numbers are kept in a JSON file; what is there already, of the same code, is not run again, so an interrupted
benchmark goes on where it stopped. Exits with 1 if a run does not beat most-popular by more than two standard errors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.real_data_design import RUNS, Recipe, Run, recipe_of
from benchmarks.real_data_page import in_standard_errors, render_page
from benchmarks.real_data_runner import DATA_SETS, Protocol, environment, read_data_set, run_once
from benchmarks.speed.machine import current_commit
from benchmarks.speed.store import source_hash
from recoder._files import atomic_write
from recoder.data import Interactions

__all__ = ["main", "result_path", "results_of_all"]

REQUIRED_STANDARD_ERRORS = 2

_CODE = (
    *(f"src/recoder/{folder}/**/*.py" for folder in ("data", "metrics", "nn", "ops", "recommender", "training")),
    "src/recoder/ops/**/*.[ch]",
    *(f"src/recoder/{name}.py" for name in ("_files", "_random", "losses", "model")),
    "hatch_build.py",
    "benchmarks/real_data_runner.py",
)
"""What a run runs."""

_WRITTEN = ("docs/real-data.md",)
"""By the benchmark itself."""

Read = Callable[[str], Interactions]
Choose = Callable[[Run], Recipe]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is missing, writes the page, and returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.data is None or not options.data.is_dir():
        print(
            f"--data (default: RECODER_DATA_DIR) is {options.data}; name the folder of the data sets", file=sys.stderr
        )
        return 2
    # torch says once, at the first sparse tensor, that it does not check them
    warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
    try:
        results = results_of_all(RUNS, lambda name: read_data_set(options.data, name), out=options.out)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the first run that is missing", file=sys.stderr)
        return 130
    with atomic_write(options.page) as path:
        path.write_text(render_page(results), encoding="utf-8")
    print(f"wrote {options.page}")
    behind = [name for name, result in results.items() if in_standard_errors(result) <= REQUIRED_STANDARD_ERRORS]
    for name in behind:
        print(f"not {REQUIRED_STANDARD_ERRORS} standard errors above most popular: {name}", file=sys.stderr)
    return 1 if behind else 0


def results_of_all(
    runs: Sequence[Run],
    read: Read,
    *,
    out: Path,
    recipe_for: Choose = recipe_of,
    protocol: Protocol | None = None,
) -> dict[str, dict[str, Any]]:
    """Returns the result of every run by its name, in order; runs those that have no file yet.

    Args:
        runs: what to run.
        read: returns the interactions of a data set.
        out: folder of the JSON files; made if it is missing.
        recipe_for: returns how a run's model is trained.
        protocol: what all runs share. None: the default.
    """
    protocol = protocol or Protocol()
    results = {}
    for number, run in enumerate(runs, start=1):
        recipe = recipe_for(run)
        path = result_path(out, run, recipe, protocol)
        found = path.exists()
        if not found:
            print(f"[{number}/{len(runs)}] {run.name}: running", flush=True)
            _measure(run, recipe, protocol, read(run.data_set), path)
        results[run.name] = json.loads(path.read_text(encoding="utf-8"))
        print(f"[{number}/{len(runs)}] {run.name}: {_summary(results[run.name])}{' (kept)' * found}", flush=True)
    return results


def result_path(out: Path, run: Run, recipe: Recipe, protocol: Protocol) -> Path:
    """Returns the file of a run's result: its name holds a hash of all settings and of the code that runs.

    So with other settings, or other code, it is another file.
    """
    described = json.dumps(_settings(run, recipe, protocol), sort_keys=True)
    return out / f"{run.name}-{hashlib.sha256(described.encode()).hexdigest()[:12]}.json"


def _measure(run: Run, recipe: Recipe, protocol: Protocol, interactions: Interactions, path: Path) -> None:
    started = time.perf_counter()
    measured = run_once(run, recipe, protocol, interactions)
    result = {
        "settings": _settings(run, recipe, protocol),
        "environment": environment() | {"commit": current_commit(_WRITTEN)},
        "measured": measured | {"total_seconds": time.perf_counter() - started},
    }
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _settings(run: Run, recipe: Recipe, protocol: Protocol) -> dict[str, Any]:
    return {"run": asdict(run), "recipe": asdict(recipe), "protocol": asdict(protocol), "code": _hash_of_code()}


@cache
def _hash_of_code() -> str:
    return source_hash(_CODE)


def _summary(result: dict[str, Any]) -> str:
    measured = result["measured"]
    return (
        f"{measured['total_seconds']:.0f} s, NDCG@100 {measured['ndcg'][0]:.4f}, most popular "
        f"{measured['popular'][0]:.4f}, {in_standard_errors(result):+.1f} standard errors"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks real_data", description=(__doc__ or "").splitlines()[0])
    named = os.environ.get("RECODER_DATA_DIR")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path(named) if named else None,
        help=f"folder with the data sets {', '.join(DATA_SETS)} (default: RECODER_DATA_DIR)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("benchmarks/out"), help="folder of results (default: %(default)s)"
    )
    parser.add_argument(
        "--page", type=Path, default=Path("docs/real-data.md"), help="page to write (default: %(default)s)"
    )
    return parser
