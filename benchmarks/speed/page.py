"""``benchmarks/RESULTS.md``, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.speed.lines import (
    HEADINGS,
    SHOWN_UNITS,
    Sides,
    line_of,
    markdown_table,
    number_text,
    plot_points,
)
from benchmarks.speed.table import Table
from benchmarks.speed.works import Plot, Row

__all__ = ["render_page", "table_text"]

_INTRODUCTION = """\
# Speed

Written by `python -m benchmarks speed`; not edited by hand. `QUALITY.md` beside it has accuracy and training times on
real data sets, with plots, `SCALE.md` many processes and large catalogues.

- Same work on both sides, on the same machine, with the same number of threads; the documented classes and arguments of
  0.4.0 serve both. Where a line does not say otherwise: batches of {batch_size} users, {factors} factors, optimizer
  adam, interactions made up in the size and shape of MovieLens 20M ({num_users:,} users, {num_items:,} items).
- The sides of a line take turns in one run, each in a process of its own that stays alive: imports and warm-up are paid
  once, and what else the machine does meets all alike. Numbers are medians of {rounds} rounds or more (on a
  CUDA device: {few_rounds}); the ratio is that of the medians, beside it the smallest and the largest of a round.
- A step is the time from one call of the model to the next in a training run: data, forward, loss, backward, optimizer.
  The first {warm_up} steps of each round are left out, {sparse_warm_up} with sparse gradients; a round's number is the
  median of the next {steps}.
- The floor of a step is the three matrix products of its output layer alone (scores, and the gradients of both
  factors), as torch computes them here; items are rounded up to a multiple of 64, which is quickest.
- The ratio is theirs by ours: above 1, ours is faster. For memory, floors and growth it is ours by theirs.
- *Required* is the goal that this project set for a line; *reached* compares the median with it.
"""


def render_page(
    table: Table,
    results: Mapping[str, Sides],
    *,
    machine: Mapping[str, Any],
    threads: int,
    sizes: Any,
    rounds: int,
    images: str,
) -> str:
    """Returns the page in Markdown; ``images`` is the way from it to the folder of the pictures."""
    intro = _INTRODUCTION.format(
        batch_size=sizes.batch_size,
        factors=sizes.factors,
        num_users=sizes.shape.num_users,
        num_items=sizes.shape.num_items,
        rounds=rounds,
        few_rounds=max(rounds - 2, 1),
        warm_up=sizes.warm_up,
        sparse_warm_up=3 * sizes.warm_up,
        steps=sizes.steps,
    )
    parts = [
        intro,
        "## Against the rivals\n",
        table_text(table.rows, results),
        "## How cost grows\n",
        *(_growth_text(plot, results, images) for plot in table.plots),
        "## Measured on\n",
        _machine_text(machine, threads, results),
    ]
    return "\n".join(parts)


def table_text(rows: tuple[Row, ...], results: Mapping[str, Sides]) -> str:
    """Returns the table of those rows that have a result, a failed one included."""
    cells = [line_of(row, results[row.measurement]).cells for row in rows if row.measurement in results]
    return markdown_table(HEADINGS, cells)


def _growth_text(plot: Plot, results: Mapping[str, Sides], images: str) -> str:
    curves = plot_points(plot, results)
    if not curves:
        return f"### {plot.title}\n\nNot measured.\n"
    places = sorted({place for points in curves.values() for place in points})
    unit = SHOWN_UNITS.get(plot.unit, plot.unit)
    rows = [
        (f"{place:,}", *(number_text(points[place][0]) if place in points else "-" for points in curves.values()))
        for place in places
    ]
    table = markdown_table((plot.axis, *(f"{label}, {unit}" for label in curves)), rows, num_text_columns=0)
    return f"### {plot.title}\n\n![{plot.title}]({images}/{plot.name}.png)\n\n{table}"


def _machine_text(machine: Mapping[str, Any], threads: int, results: Mapping[str, Sides]) -> str:
    facts = {key: ", ".join(value) if isinstance(value, list) else str(value) for key, value in machine.items()}
    facts["threads of each side"] = str(threads)
    for sides in results.values():
        for name, side in sides.items():
            about = side.get("about", {})
            if "threads" in about:
                split = ", ".join(f"{key} {number}" for key, number in about["threads"].items())
                facts[f"threads of {name}"] = split
    for environment, found in _versions(results).items():
        facts[f"versions: {environment}"] = found
    return markdown_table(("what", "value"), [(key.replace("_", " "), value) for key, value in facts.items()], 2)


def _versions(results: Mapping[str, Sides]) -> dict[str, str]:
    """Returns each environment's packages in words, under the name of the first: the one that is measured."""
    found: dict[str, str] = {}
    for sides in results.values():
        for side in sides.values():
            versions = side.get("about", {}).get("versions", {})
            if versions:
                package, number = next(iter(versions.items()))
                rest = ", ".join(f"{other} {value}" for other, value in list(versions.items())[1:])
                found[f"{package} {number}"] = rest
    return found
