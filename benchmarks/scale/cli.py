"""The command line of the scale benchmark."""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.scale.worker import make_data
from benchmarks.speed.lines import markdown_table
from benchmarks.speed.machine import describe_machine
from benchmarks.synthetic import ML20M_LIKE, Shape
from recoder._files import atomic_write

__all__ = ["main"]

PROJECT = Path(__file__).parents[2]
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

_PAGE = """\
# Scale

Written by `python -m benchmarks scale`; not edited by hand.

## Two processes with a thread each, beside one with two

Seconds of a training step, medians of {rounds} rounds in which the sides take turns; in brackets the throughput as a
part of that of one process. Batches of {batch} users, {factors} factors, adam, {users:,} users and {items:,} items made
up in the shape of MovieLens 20M; all processes on this machine.

{throughput}
## Millions of items in one process

An autoencoder with 64 factors, sparse rows, adam, the logistic loss, sampled candidates; 500 users a step, each with 40
of 100,000 items that are spread over the catalogue, so that the steps have as many candidates. "The same, loaded" goes on
in a new process from the file that the one before it wrote. Medians of the steps; memory is the most that was resident,
and of that what the system cannot drop.

{giant}
## Measured on

{machine}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints the tables, writes the page, and returns the exit status."""
    options = _parser().parse_args(arguments)
    shape = Shape(3_000, 2_000) if options.quick else Shape(options.users, ML20M_LIKE.num_items)
    works = WORKS[:1] if options.quick else WORKS
    rounds = 1 if options.quick else ROUNDS
    sizes = (100_000, 200_000) if options.quick else (100_000, 10_000_000)
    with tempfile.TemporaryDirectory(prefix="recoder-scale-", dir=options.folder) as folder:
        throughput = _throughput(Path(folder), shape, works, rounds, options)
        giant = _giant(Path(folder), sizes, rounds)
    page = _PAGE.format(
        rounds=rounds,
        batch=options.batch,
        factors=options.factors,
        users=shape.num_users,
        items=shape.num_items,
        throughput=throughput,
        giant=giant,
        machine=markdown_table(
            ("what", "value"), [(k, str(v)) for k, v in describe_machine().items()], num_text_columns=2
        ),
    )
    print(page)
    with atomic_write(options.page) as path:
        path.write_text(page, encoding="utf-8")
    print(f"wrote {options.page}", file=sys.stderr)
    return 0


def _machine() -> str:
    described = [(name, str(value)) for name, value in describe_machine().items()]
    return markdown_table(("what", "value"), [*described, ("torch", torch.__version__)], num_text_columns=2)


def _throughput(
    folder: Path, shape: Shape, works: Sequence[tuple[str, dict[str, Any]]], rounds: int, options: argparse.Namespace
) -> str:
    data = folder / "interactions.npz"
    make_data(data, shape)
    base = {"data": str(data), "users": shape.num_users, "factors": options.factors, "batch": options.batch}
    rows = []
    for name, work in works:
        found: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(rounds):
            for side, (number, parallel, threads) in SIDES.items():
                task = {**base, **work, "parallel": parallel, "threads": threads}
                found[side].append(_run("benchmarks.scale.worker", task, number)["step_s"])
        medians = {side: statistics.median(seconds) for side, seconds in found.items()}
        shared = [f"{1e3 * medians[side]:.1f} ms ({medians['one'] / medians[side]:.2f})" for side in ("items", "users")]
        rows.append((name, f"{1e3 * medians['one']:.1f} ms", *shared))
        print(rows[-1], file=sys.stderr, flush=True)
    return markdown_table(("work", "one process", "items", "users"), rows, num_text_columns=1)


def _giant(folder: Path, sizes: tuple[int, int], rounds: int) -> str:
    found: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for number in range(rounds):
        for size in sizes:
            saves = {"save": str(folder / "giant")} if number == rounds - 1 and size == sizes[1] else {}
            found[size].append(_run("benchmarks.scale.giant", {"items": size, "threads": 2, **saves}))
    saved = found[sizes[1]][-1]["saved"]
    loaded = _run("benchmarks.scale.giant", {"items": sizes[1], "threads": 2, "load": saved})
    rows = [_giant_row(f"{size:,} items", found[size]) for size in sizes]
    rows.append(_giant_row("the same, loaded", [loaded]))
    for name, options in (
        ("moments in bf16", {"state": "bf16"}),
        ("row-wise Adagrad", {"optimizer": "rowwise_adagrad"}),
    ):
        task = {"items": sizes[1], "threads": 2, "save": str(folder / "giant"), **options}
        rows.append(_giant_row(f"{sizes[1]:,} items, {name}", [_run("benchmarks.scale.giant", task)]))
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


def _run(module: str, task: dict[str, Any], number: int = 1) -> dict[str, Any]:
    """Returns what the first of so many processes measured.

    Raises:
        RuntimeError: if one of them failed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment["PYTHONPATH"] = os.pathsep.join([str(PROJECT / "src"), str(PROJECT)])
    if number > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        environment["WORLD_SIZE"] = str(number)
    started = [
        subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(task)],
            cwd=PROJECT,
            env=environment | ({"RANK": str(rank)} if number > 1 else {}),
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(number)
    ]
    printed = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(f"{module} failed for {task}")
    found: dict[str, Any] = json.loads(printed[0].splitlines()[-1])
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks scale", description="Measures training in two processes, and on many items."
    )
    add = parser.add_argument
    add("--users", type=int, default=20_000, help="of the made-up data (default: %(default)s)")
    add("--factors", type=int, default=200, help="(default: %(default)s)")
    add("--batch", type=int, default=500, help="users of a step (default: %(default)s)")
    add("--folder", type=Path, default=None, help="for files of up to 15 GiB (default: the system's temporary one)")
    add("--quick", action="store_true", help="tiny sizes, to try the program")
    add("--page", type=Path, default=PROJECT / "benchmarks" / "SCALE.md", help="page to write")
    return parser
