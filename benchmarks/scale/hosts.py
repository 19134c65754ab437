"""Processes on hosts of their own, with links of a certain speed between them, beside the cost model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.scale.calibration import WORKS, fitted_link, fitted_machine, largest_misfit, measured_alone, works_of
from benchmarks.scale.model import Grid, Link, Machine, Work, costs
from benchmarks.scale.namespaces import DEVICE, Cable, address_of, hosts, why_not
from benchmarks.scale.running import run
from benchmarks.scale.worker import make_data
from benchmarks.speed.lines import markdown_table, number_text
from benchmarks.synthetic import ML20M_LIKE, Shape

__all__ = ["MACHINE_HEADINGS", "machine_cells", "measure"]

PARALLEL = ("items", "users")
CABLES = {
    2: (Cable(), Cable(1_000), Cable(200), Cable(50), Cable(delay_ms=1.0), Cable(200, delay_ms=5.0)),
    3: (Cable(), Cable(200)),
}
"""By the number of hosts."""

_SECTION = """\
## Hosts with a link between them, beside a cost model

A process with one thread on each of several hosts: network namespaces of this machine, with addresses of their own.
What each host sends is limited by `tc tbf`, or kept by a relay for some time, or neither. Steps of an autoencoder with
one hidden layer; {batch} users a step, adam, {users:,} users and {items:,} items made up in the shape of MovieLens 20M,
about {candidates:,.0f} candidates in a sampled step.

The model's constants come from other runs than the steps that it predicts. Those of the machine are fitted to steps of
as many processes, each alone, all at once, with one thread each; the model's error on these is {fit:.0f} % at most:

{machines}
Those of a link are fitted to sums of 4 bytes to 4 MiB over it, taken by the same processes after their training:

{links}
Milliseconds of a step; in brackets the part that the model gives to the exchanges; and the error of the prediction.

{steps}
{summary}
"""

_NONE = """\
## Hosts with a link between them, beside a cost model

Not measured here: {reason}.
"""


def measure(folder: Path, quick: bool) -> str:
    """Returns the section on hosts that differ."""
    reason = why_not()
    if reason is not None:
        return _NONE.format(reason=reason)
    shape = Shape(1_500, 1_000) if quick else Shape(8_000, ML20M_LIKE.num_items)
    batch, factors = (100, (8, 16)) if quick else (500, (32, 100, 200))
    cables = {2: (Cable(200, delay_ms=1.0),)} if quick else CABLES
    data = folder / "interactions.npz"
    make_data(data, shape)
    works = works_of(data, batch)
    tried = [(name, replace(work, factors=number)) for name, work in works.items() for number in factors]
    tries = [{**WORKS[name], "factors": work.factors} for name, work in tried]
    task = {"data": str(data), "users": shape.num_users, "batch": batch, "threads": 1, "tries": tries}
    misfits: list[float] = []
    machines: list[tuple[str, ...]] = []
    links: list[tuple[str, ...]] = []
    steps: list[tuple[str, ...]] = []
    errors: list[float] = []
    for number, of_number in cables.items():
        alone = measured_alone(task, number=number, rounds=1)
        seconds = [(work, took) for (_, work), took in zip(tried, alone, strict=True)]
        machine = fitted_machine(seconds)
        misfits.append(largest_misfit(machine, seconds))
        machines.append((str(number), *machine_cells(machine)))
        for cable in of_number:
            link, found = _over(cable, task, number)
            links.append((str(number), str(cable), f"{1e3 * link.latency_s:.2f}", f"{link.bytes_per_s * 8 / 1e6:,.0f}"))
            for parallel in PARALLEL:
                for (name, work), of_work in zip(tried, found[parallel], strict=True):
                    error, row = _compared(work, Grid.of(parallel, number), machine, link, of_work)
                    errors.append(abs(error))
                    steps.append((str(number), str(cable), parallel, name, str(work.factors), *row))
            print(links[-1], *steps[-2 * len(tried) :], sep="\n", file=sys.stderr, flush=True)
    return _SECTION.format(
        batch=batch,
        users=shape.num_users,
        items=shape.num_items,
        candidates=next(iter(works.values())).candidates,
        fit=100 * max(misfits),
        machines=markdown_table(MACHINE_HEADINGS, machines),
        links=markdown_table(("hosts", "limits", "latency, ms", "Mbit/s"), links, num_text_columns=2),
        steps=markdown_table(_STEP_HEADINGS, steps, num_text_columns=4),
        summary=_summary(errors),
    )


MACHINE_HEADINGS = ("processes", "products, GFLOP/s", "scores, million/s", "rows, GB/s", "not shared, ms")
_STEP_HEADINGS = (
    "hosts",
    "limits",
    "parallel",
    "work",
    "factors",
    "numbers sent",
    "of the model",
    "measured",
    "predicted",
    "error",
)


def machine_cells(machine: Machine) -> tuple[str, ...]:
    """Returns the constants of a machine, in the units of the headings."""
    speeds = (machine.product_flops / 1e9, machine.scores / 1e6, machine.row_bytes / 1e9, 1e3 * machine.step_s)
    return tuple(number_text(speed) for speed in speeds)


def _over(cable: Cable, task: Mapping[str, Any], number: int) -> tuple[Link, dict[str, list[dict[str, Any]]]]:
    """Returns the link, and what was measured of each try in each mode."""
    tries = [{**tried, "parallel": parallel} for parallel in PARALLEL for tried in task["tries"]]
    with hosts(number, cable) as places:
        found = run(
            "benchmarks.scale.worker",
            {**task, "tries": tries},
            number,
            address=address_of(0),
            places=places,
            settings=[{"GLOO_SOCKET_IFNAME": DEVICE}] * number,
        )
    half = len(task["tries"])
    return fitted_link(found["link"], number), {"items": found["tries"][:half], "users": found["tries"][half:]}


def _compared(
    work: Work, grid: Grid, machine: Machine, link: Link, found: Mapping[str, Any]
) -> tuple[float, tuple[str, ...]]:
    """Returns the relative error of the prediction, and the cells of a line."""
    expected = costs(work, grid)
    predicted = expected.seconds(machine, link)
    error = predicted / found["step_s"] - 1
    cells = (
        f"{found['sent']:,.0f}",
        f"{expected.numbers_sent:,.0f}",
        f"{1e3 * found['step_s']:.1f}",
        f"{1e3 * predicted:.1f} ({1e3 * expected.exchange_s(link):.1f})",
        f"{100 * error:+.0f} %",
    )
    return error, cells


def _summary(errors: Sequence[float]) -> str:
    ordered = sorted(errors)
    middle, ninth = ordered[len(ordered) // 2], ordered[len(ordered) * 9 // 10]
    return (
        f"Half of the {len(ordered)} predictions are within {100 * middle:.0f} % of what was measured, "
        f"nine tenths within {100 * ninth:.0f} %."
    )
