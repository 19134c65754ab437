"""The command line of the speed benchmark."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from benchmarks.speed.data import FULL, QUICK, DataFolder
from benchmarks.speed.environments import RIVALS
from benchmarks.speed.lines import line_of, plot_points
from benchmarks.speed.machine import BF16_FLAGS, current_commit, describe_machine, has_bf16
from benchmarks.speed.measure import measured
from benchmarks.speed.page import render_page, table_text
from benchmarks.speed.plots import draw
from benchmarks.speed.sides import Starter, starter
from benchmarks.speed.store import Store, source_hash
from benchmarks.speed.table import Table, make_table
from benchmarks.speed.works import Measurement, Side
from recoder._files import atomic_write

__all__ = ["main"]

PROJECT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what is missing, prints the table, writes the page of what there is, and returns the exit status."""
    options = _parser().parse_args(arguments)
    sizes = QUICK if options.quick else FULL
    table = make_table(sizes)
    chosen = _chosen(table, options.only)
    if not chosen:
        names = ", ".join(measurement.name for measurement in table.measurements)
        print(f"--only {' '.join(options.only)} names no measurement; there are {names}", file=sys.stderr)
        return 2
    out = options.out / "quick" if options.quick else options.out
    machine = describe_machine()
    measured_by = {
        "machine": machine,
        "source": source_hash(),
        "threads": options.threads,
        "sizes": asdict(sizes),
        "versions": {name: version(name) for name in ("torch", "numpy", "scipy")},
        "rivals": [asdict(rival) for rival in RIVALS.values()],
    }
    store = Store(out / "speed.json", measured_by)
    if options.fresh:
        store.forget()
    start = starter(out, DataFolder(out / "data", sizes), environments=options.out / "envs", threads=options.threads)
    stopped = False
    try:
        for number, measurement in enumerate(chosen, start=1):
            label = f"[{number}/{len(chosen)}] {measurement.name}"
            if options.only or _is_missing(measurement, store, _rounds(measurement, options)):
                _measure(measurement, store, start, options, label)
            else:
                _progress(f"{label}: kept\n")
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on with the first measurement that is missing", file=sys.stderr)
        stopped = True
    found = ((item.name, store.find(item, _rounds(item, options))) for item in chosen)
    results = {name: sides for name, sides in found if sides is not None}
    print(table_text(table.rows, results))
    if options.only or stopped:  # a page of part of it would take the place of the whole
        return 130 if stopped else 0
    page, images = (out / "RESULTS.md", out) if options.quick else (options.page, options.images)
    for plot in table.plots:
        points = plot_points(plot, results)
        if points:
            draw(plot, points, images / f"{plot.name}.png")
    text = render_page(
        table,
        results,
        machine={**machine, "commit": current_commit(_WRITTEN)},
        threads=options.threads,
        sizes=sizes,
        rounds=options.repeats,
        images=os.path.relpath(images, page.parent),
    )
    with atomic_write(page) as path:
        path.write_text(text, encoding="utf-8")
    print(f"wrote {page}")
    for row in table.rows:
        if row.measurement in results and line_of(row, results[row.measurement]).is_reached is False:
            print(f"not reached: {row.work}", file=sys.stderr)
    return 0


_WRITTEN = ("benchmarks/RESULTS.md", "docs/images")
"""By the benchmark itself."""


def _rounds(measurement: Measurement, options: argparse.Namespace) -> int:
    return int(max(options.repeats - 5 + measurement.rounds, 1))


def _is_missing(measurement: Measurement, store: Store, rounds: int) -> bool:
    """Whether it was not measured in as many rounds, or a side failed; one that makes no sense here did not."""
    sides = store.find(measurement, rounds)
    if sides is None:
        return True
    return any("error" in sides[name] and _why_not(side) is None for name, side in measurement.sides.items())


def _why_not(side: Side) -> str | None:
    """Returns why a side makes no sense on this machine; None: it does."""
    if getattr(side.task, "precision", "fp32") == "bf16" and not has_bf16(describe_machine()):
        return f"this processor has none of {', '.join(BF16_FLAGS)}"
    return None


def _measure(measurement: Measurement, store: Store, start: Starter, options: argparse.Namespace, label: str) -> None:
    rounds = _rounds(measurement, options)
    sides = measured(
        measurement, start, rounds=rounds, why_not=_why_not, report=lambda text: _progress(f"{label}: {text}")
    )
    store.keep(measurement, sides)
    _progress(f"{label}: done\n")


def _chosen(table: Table, only: Sequence[str]) -> list[Measurement]:
    """Returns the measurements of these names, or whose name starts with one and a dash; all if there are none."""
    return [
        measurement
        for measurement in table.measurements
        if not only or any(f"{measurement.name}-".startswith(f"{name}-") for name in only)
    ]


def _progress(text: str) -> None:
    """Overwrites the line of progress; where that cannot be, only what ends in a line break is printed."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text.endswith("\n"):
        print(text, end="", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks speed", description="Measures speed beside the rivals.")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="measure only these, anew, and print their lines"
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds; slow works have 2 less (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny data, to try the program; the numbers mean nothing")
    parser.add_argument("--fresh", action="store_true", help="forget the results of an earlier run")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each side")
    for name, default, what in (
        ("--out", PROJECT / "benchmarks" / "out", "folder of results, data and environments"),
        ("--page", PROJECT / "benchmarks" / "RESULTS.md", "page to write, after a whole run"),
        ("--images", PROJECT / "docs" / "images", "folder of its pictures"),
    ):
        parser.add_argument(name, type=Path, default=default, help=what)
    return parser
