"""The command line of the scale benchmark, and its page, to which every part adds a section."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scale import carried, costs, hosts, kills, large
from benchmarks.scale.running import PROJECT, run
from benchmarks.scale.worker import make_data
from benchmarks.speed.lines import markdown_table
from benchmarks.speed.machine import measured_on
from benchmarks.synthetic import ML20M_LIKE, Shape
from recoder._files import atomic_write

__all__ = ["PARTS", "main"]

ROUNDS = 3
SIDES = {"one": (1, None, 2), "items": (2, "items", 1), "users": (2, "users", 1)}
"""Processes, what they share, and threads of each."""

WORKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("autoencoder, logistic, sampled", {"model": "autoencoder", "loss": "logistic", "sampling": True}),
    ("autoencoder, multinomial, sampled", {"model": "autoencoder", "loss": "logloss", "sampling": True}),
    ("autoencoder, logistic, all items", {"model": "autoencoder", "loss": "logistic", "sampling": False}),
    ("autoencoder, mse, all items (Gram)", {"model": "autoencoder", "loss": "mse", "sampling": False}),
    ("factorization, logistic, sampled", {"model": "factorization", "loss": "logistic", "sampling": True}),
)

VARIANTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("moments in bf16", {"state": "bf16"}),
    ("row-wise Adagrad", {"optimizer": "rowwise_adagrad"}),
)
"""Of the giant: what less memory is needed with."""

_PAGE = """\
# Scale

Written by `python -m benchmarks scale`; not edited by hand. Each part was measured at the commit that stands below it.

"""

_MODEL_BEGINS = "<!-- the cost model -->\n"
"""Where the documentation divides the page."""

_THROUGHPUT = """\
## Two processes with a thread each, beside one with two

Seconds of a training step, medians of {rounds} rounds in which the sides take turns; in brackets the throughput as a
part of that of one process. Batches of {batch} users, {factors} factors, adam, {users:,} users and {items:,} items made
up in the shape of MovieLens 20M; all processes on this machine.

{table}"""

_GIANT = """\
## Millions of items in one process

An autoencoder with 64 factors, sparse rows, adam, the logistic loss, sampled candidates; 500 users a step, each with 40
of 100,000 items that are spread over the catalogue, so that the steps have as many candidates. "The same, loaded" goes
on in a new process from the file that the one before it wrote. Medians of the steps; memory is the most that was
resident, and of that what the system cannot drop.

{table}"""


def measure_throughput(folder: Path, quick: bool) -> str:
    """Returns the section on two processes beside one."""
    shape = Shape(3_000, 2_000) if quick else Shape(20_000, ML20M_LIKE.num_items)
    works, rounds = (WORKS[:1], 1) if quick else (WORKS, ROUNDS)
    sizes = {"factors": 8, "batch": 100} if quick else {"factors": 200, "batch": 500}
    table = _throughput(folder, shape, works, rounds, sizes)
    return _THROUGHPUT.format(rounds=rounds, users=shape.num_users, items=shape.num_items, table=table, **sizes)


def measure_giant(folder: Path, quick: bool) -> str:
    """Returns the section on millions of items."""
    sizes = (100_000, 200_000) if quick else (100_000, 10_000_000)
    rounds, steps, variants = (1, 10, VARIANTS[:1]) if quick else (ROUNDS, 60, VARIANTS)
    return _GIANT.format(table=_giant(folder, sizes, rounds, variants, {"steps": steps, "threads": 2}))


PARTS: dict[str, Callable[[Path, bool], str]] = {
    "throughput": measure_throughput,
    "costs": costs.measure,
    "giant": measure_giant,
    "large": large.measure,
    "kills": kills.measure,
    "hosts": hosts.measure,
    "model": carried.measure,
}
"""What measures a section of the page, in their order: given a folder for its files, and whether to be quick."""

_WRITTEN = ("benchmarks/SCALE.md", "benchmarks/scale/results", "docs/images")
"""By the benchmark itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the sections, writes the page of these and earlier ones, and returns the exit status."""
    options = _parser().parse_args(arguments)
    page, results = _places(options)
    for name in options.only or PARTS:
        with tempfile.TemporaryDirectory(prefix=f"recoder-{name}-", dir=options.folder) as folder:
            section = f"{PARTS[name](Path(folder), options.quick).rstrip()}\n\n{measured_on(written=_WRITTEN)}\n"
        print(section, flush=True)
        with atomic_write(results / f"{name}.md") as path:
            path.write_text(section, encoding="utf-8")
    with atomic_write(page) as path:
        path.write_text(_page(results), encoding="utf-8")
    print(f"wrote {page}", file=sys.stderr)
    return 0


def _places(options: argparse.Namespace) -> tuple[Path, Path]:
    """Returns the page and the folder of the sections; numbers of tiny sizes are not put where they are published."""
    benchmarks = PROJECT / "benchmarks"
    page, results = benchmarks / "SCALE.md", benchmarks / "scale" / "results"
    if options.quick:
        out = benchmarks / "out" / "quick"
        page, results = out / "SCALE.md", out / "scale"
    return options.page or page, options.results or results


def _page(results: Path) -> str:
    sections = []
    for name in PARTS:
        path = results / f"{name}.md"
        sections += [_MODEL_BEGINS] if name == "hosts" else []
        sections += [path.read_text(encoding="utf-8")] if path.exists() else []
    return _PAGE + "\n".join(sections)


def _throughput(
    folder: Path, shape: Shape, works: Sequence[tuple[str, dict[str, Any]]], rounds: int, sizes: dict[str, int]
) -> str:
    data = folder / "interactions.npz"
    make_data(data, shape)
    base = {"data": str(data), "users": shape.num_users, **sizes}
    rows = []
    for name, work in works:
        found: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(rounds):
            for side, (number, parallel, threads) in SIDES.items():
                task = {**base, **work, "parallel": parallel, "threads": threads}
                found[side].append(run("benchmarks.scale.worker", task, number)["step_s"])
        medians = {side: statistics.median(seconds) for side, seconds in found.items()}
        shared = [f"{1e3 * medians[side]:.1f} ms ({medians['one'] / medians[side]:.2f})" for side in ("items", "users")]
        rows.append((name, f"{1e3 * medians['one']:.1f} ms", *shared))
        print(rows[-1], file=sys.stderr, flush=True)
    return markdown_table(("work", "one process", "items", "users"), rows, num_text_columns=1)


def _giant(
    folder: Path,
    sizes: tuple[int, int],
    rounds: int,
    variants: Sequence[tuple[str, Mapping[str, str]]],
    base: Mapping[str, Any],
) -> str:
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for number in range(rounds):
        for size in sizes:
            saves = {"save": str(folder / "giant")} if number == rounds - 1 and size == sizes[1] else {}
            found[size].append(run("benchmarks.scale.giant", {**base, "items": size, **saves}))
    saved = found[sizes[1]][-1]["saved"]
    loaded = run("benchmarks.scale.giant", {**base, "items": sizes[1], "load": saved})
    rows = [_giant_row(f"{size:,} items", found[size]) for size in sizes]
    rows.append(_giant_row("the same, loaded", [loaded]))
    for name, options in variants:
        task = {**base, "items": sizes[1], "save": str(folder / "giant"), **options}
        rows.append(_giant_row(f"{sizes[1]:,} items, {name}", [run("benchmarks.scale.giant", task)]))
    ratio = statistics.median(a["step_s"] / b["step_s"] for a, b in zip(found[sizes[1]], found[sizes[0]], strict=True))
    headings = ("what", "step, ms", "saving, s", "loading, s", "file, GiB", "memory, GiB", "not droppable, GiB")
    table = markdown_table(headings, rows, num_text_columns=1)
    return f"{table}\nThe step over {sizes[1]:,} items takes {ratio:.2f} times that over {sizes[0]:,}.\n"


def _giant_row(name: str, runs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    step = statistics.median(run["step_s"] for run in runs)
    last = runs[-1]
    saving = f"{last['save_s']:.1f}" if last["saved"] else "-"
    loading = f"{last['load_s']:.1f}" if last["load_s"] > _LEAST_SECONDS else "-"
    size = f"{last['file_gib']:.2f}" if last["saved"] else "-"
    peaks = (max(run[key] for run in runs) for key in ("peak_gib", "peak_anonymous_gib"))
    return (name, f"{1e3 * step:.1f}", saving, loading, size, *(f"{peak:.2f}" for peak in peaks))


_LEAST_SECONDS = 1e-3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks scale",
        description="Measures training in several processes, on many items and on hosts that differ.",
    )
    add = parser.add_argument
    add("--only", action="append", choices=PARTS, help="a part, may be repeated; the page keeps the others")
    add("--folder", type=Path, default=None, help="for files of up to 15 GiB (default: the system's temporary one)")
    add(
        "--quick",
        action="store_true",
        help="tiny sizes, to try the program; by default written to benchmarks/out/quick",
    )
    add("--page", type=Path, help="page to write (default: benchmarks/SCALE.md)")
    add("--results", type=Path, help="where each part's section is kept (default: benchmarks/scale/results)")
    return parser
