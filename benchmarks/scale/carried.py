"""The cost model carried to more machines, larger catalogues and faster links than can be measured here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.scale.calibration import WORKS, fitted_machine, largest_misfit, measured_alone, works_of
from benchmarks.scale.hosts import MACHINE_HEADINGS, machine_cells
from benchmarks.scale.model import Grid, Link, Machine, Work, costs
from benchmarks.scale.running import PROJECT
from benchmarks.scale.worker import make_data
from benchmarks.speed.lines import markdown_table, number_text
from benchmarks.synthetic import ML20M_LIKE, Shape

__all__ = ["measure"]

MODES = ("items", "users", "items+users")
NUMBERS = (1, 2, 4, 8, 16, 32, 64)
CATALOGUES = (1_000_000, 10_000_000, 100_000_000)
LINKS = {"10 Gbit/s, 50 µs": Link(50e-6, 10e9 / 8), "100 Gbit/s, 20 µs": Link(20e-6, 100e9 / 8)}
SAMPLED = Work(users=500, factors=200, items=CATALOGUES[-1], candidates=15_000, interactions=30_000)
"""With as many users as the steps that the constants are fitted to: what is not shared depends on them."""
FASTER = 16

_SECTION = """\
## The model carried on

**Computed, not measured**, but for the constants of this machine, fitted to steps of one process with as many threads
as it has cores; the model's error on these is {fit:.0f} % at most:

{machine}
Assumed: machines like this one, whose links carry 10 Gbit/s with 50 µs from one to the other, or 100 Gbit/s with
20 µs; steps of {users:,} users, all together, with {interactions:,} interactions with {candidates:,} different items;
{factors} factors, adam. The grid of `"items+users"` has as many columns as rows, or twice as many.

GiB of parameters and optimizer state on each machine; the data, and what a step needs, come on top:

{memory}
Thousands of numbers that each process hands to exchanges in a sampled step, whatever the catalogue:

{payload}
Users a second, logistic loss of the sampled candidates, whatever the catalogue:

{sampled}
The same if each machine computed {faster} times as fast, but took as long for what is not shared:

{fast}
![Users a second by the number of machines]({picture})

Seconds of a step with the squared error of all items (Gram), `parallel="items"`, 10 Gbit/s:

{gram}"""


def measure(folder: Path, quick: bool) -> str:
    """Returns the section on what was not measured, and draws its picture."""
    machine, misfit = _this_machine(folder, quick)
    faster = _faster(machine)
    picture = (folder if quick else PROJECT / "docs" / "images") / "scaling.png"
    draw({"Machines like this one": machine, f"Machines {FASTER} times as fast": faster}, picture)
    headings = ("processes", *map(str, NUMBERS))
    return _SECTION.format(
        machine=markdown_table(MACHINE_HEADINGS, [("1", *machine_cells(machine))]),
        fit=100 * misfit,
        users=SAMPLED.users,
        interactions=SAMPLED.interactions,
        candidates=SAMPLED.candidates,
        factors=SAMPLED.factors,
        memory=markdown_table(("items, parallel", *headings[1:]), _memory_rows()),
        payload=markdown_table(("parallel", *headings[1:]), _payload_rows()),
        sampled=markdown_table(("parallel, link", *headings[1:]), _speed_rows(machine)),
        faster=FASTER,
        fast=markdown_table(("parallel, link", *headings[1:]), _speed_rows(faster)),
        picture="../docs/images/scaling.png",
        gram=markdown_table(("items", *headings[1:]), _gram_rows(machine)),
    )


def _this_machine(folder: Path, quick: bool) -> tuple[Machine, float]:
    """Returns the machine and the largest relative error of its fit."""
    shape = Shape(1_500, 1_000) if quick else Shape(8_000, ML20M_LIKE.num_items)
    batch, factors = (100, (8, 16)) if quick else (500, (32, 100, 200))
    data = folder / "interactions.npz"
    make_data(data, shape)
    tried = [(name, replace(work, factors=f)) for name, work in works_of(data, batch).items() for f in factors]
    tries = [{**WORKS[name], "factors": work.factors} for name, work in tried]
    threads = len(os.sched_getaffinity(0))
    task = {"data": str(data), "users": shape.num_users, "batch": batch, "threads": threads, "tries": tries}
    alone = measured_alone(task, number=1, rounds=1 if quick else 3)
    seconds = [(work, took) for (_, work), took in zip(tried, alone, strict=True)]
    machine = fitted_machine(seconds)
    return machine, largest_misfit(machine, seconds)


def _faster(machine: Machine) -> Machine:
    speeds = (machine.product_flops, machine.scores, machine.row_bytes)
    return Machine(*(FASTER * speed for speed in speeds), machine.step_s)


def _memory_rows() -> list[tuple[str, ...]]:
    return [
        (f"{items:,}, {mode}", *(number_text(_memory_gib(items, mode, number)) for number in NUMBERS))
        for items in CATALOGUES
        for mode in MODES
    ]


def _memory_gib(items: int, mode: str, number: int) -> float:
    return costs(replace(SAMPLED, items=items), Grid.of(mode, number)).memory_bytes / 2**30


def _payload_rows() -> list[tuple[str, ...]]:
    return [
        (mode, *(number_text(costs(SAMPLED, Grid.of(mode, number)).numbers_sent / 1e3) for number in NUMBERS))
        for mode in MODES
    ]


def _speed_rows(machine: Machine) -> list[tuple[str, ...]]:
    return [
        (f"{mode}, {name}", *(number_text(speed) for speed in users_per_s(machine, link, mode)))
        for mode in MODES
        for name, link in LINKS.items()
    ]


def users_per_s(machine: Machine, link: Link, mode: str, numbers: Sequence[int] = NUMBERS) -> list[float]:
    """Returns the users a second of so many machines, in sampled steps."""
    return [SAMPLED.users / costs(SAMPLED, Grid.of(mode, number)).seconds(machine, link) for number in numbers]


def _gram_rows(machine: Machine) -> list[tuple[str, ...]]:
    link = next(iter(LINKS.values()))
    rows = []
    for items in CATALOGUES:
        work = replace(SAMPLED, items=items, is_gram=True)
        seconds = (costs(work, Grid.of("items", number)).seconds(machine, link) for number in NUMBERS)
        rows.append((f"{items:,}", *map(number_text, seconds)))
    return rows


def draw(machines: Mapping[str, Machine], path: Path) -> None:
    """Writes a PNG: users a second by the number of machines, for each mode and link, a panel for each machine."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.0), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    # colours that differ for colour-blind readers too (Okabe & Ito), each with a mark of its own
    colours = dict(zip(MODES, (("#0072B2", "o"), ("#D55E00", "^"), ("#009E73", "s")), strict=True))
    for axes, (title, machine) in zip(figure.subplots(1, len(machines)), machines.items(), strict=True):
        for (name, link), line in zip(LINKS.items(), ("-", ":"), strict=True):
            for mode, (colour, mark) in colours.items():
                speeds = users_per_s(machine, link, mode)
                label = f"{mode}, {name}"
                axes.plot(NUMBERS, speeds, color=colour, marker=mark, linestyle=line, markersize=4.5, label=label)
        one = users_per_s(machine, link, MODES[0], [1])[0]
        axes.plot(NUMBERS, [one * n for n in NUMBERS], color="#999999", linewidth=0.8, label="as many times as fast")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(NUMBERS, [str(number) for number in NUMBERS])
        axes.set_xlabel("machines")
        axes.set_title(title, fontsize=10.5, loc="left")
        axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("users a second (computed)")
    figure.axes[0].legend(frameon=False, fontsize=7.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    # no time of writing and no version in the file: the same numbers give the same file
    figure.savefig(path, metadata={"Software": None})
