"""Lines of the table, from what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.speed.works import Plot, Row

__all__ = ["HEADINGS", "SHOWN_UNITS", "Line", "in_unit", "line_of", "markdown_table", "number_text", "plot_points"]

HEADINGS = ("work", "ours", "theirs", "ratio", "of single rounds", "required", "reached")

Sides = Mapping[str, Mapping[str, Any]]

_UNITS: dict[str, Callable[[float, int], float]] = {
    "ms": lambda value, per: value * 1e3,
    "s": lambda value, per: value,
    "MiB": lambda value, per: value,
    "us/user": lambda value, per: value / per * 1e6,
    "users/s": lambda value, per: per / value,
}
SHOWN_UNITS = {"us/user": "µs/user"}


@dataclass(frozen=True)
class Line:
    """A line of the table in words, and whether the requirement is reached; None: there is none, or no result."""

    cells: tuple[str, ...]
    is_reached: bool | None
    is_measured: bool


def in_unit(value: float, unit: str, per: int = 1) -> float:
    """Returns a measured value, of ``per`` users, in a unit."""
    return _UNITS[unit](value, per)


def line_of(row: Row, sides: Sides) -> Line:
    """Returns the line of a row.

    The ratio is that of the medians; beside it stand the smallest and the largest ratio of a round, in which both
    took their turn.
    """
    ours = sides[row.ours]
    theirs = None if row.theirs is None else sides[row.theirs]
    wanted = _requirement(row)
    texts = [_value_text(ours, row.unit, row.per[0]), "-"]
    if theirs is not None:
        texts[1] = _value_text(theirs, row.unit, row.per[1])
    failed = [side["error"] for side in (ours, theirs) if side is not None and "error" in side]
    if failed:
        return Line((row.work, *texts, "-", "-", wanted, f"not measured: {failed[0]}"), None, False)
    if theirs is None:
        reached = None if row.at_most is None else statistics.median(ours["values"]) <= row.at_most
        return Line((row.work, *texts, "-", "-", wanted, _yes_or_no(reached)), reached, True)
    per_user = [[value / per for value in side["values"]] for side, per in zip((ours, theirs), row.per, strict=True)]
    upper, lower = per_user if row.is_quotient else reversed(per_user)
    ratio = statistics.median(upper) / statistics.median(lower)
    of_rounds = [above / below for above, below in zip(upper, lower, strict=True)]
    reached = None
    if row.at_least is not None:
        reached = ratio >= row.at_least
    elif row.at_most is not None:
        reached = ratio <= row.at_most
    spread = f"{min(of_rounds):.2f} to {max(of_rounds):.2f}"
    return Line((row.work, *texts, f"{ratio:.2f}", spread, wanted, _yes_or_no(reached)), reached, True)


def plot_points(plot: Plot, results: Mapping[str, Sides]) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Returns, for each curve, median, smallest and largest value by place; what was not measured is left out."""
    curves: dict[str, dict[int, tuple[float, float, float]]] = {}
    for curve in plot.curves:
        for place, (measurement, name) in curve.points.items():
            side = results.get(measurement, {}).get(name, {})
            if side.get("values"):
                values = [in_unit(value, plot.unit, plot.users) for value in side["values"]]
                curves.setdefault(curve.label, {})[place] = (statistics.median(values), min(values), max(values))
    return curves


def markdown_table(headings: tuple[str, ...], rows: list[tuple[str, ...]], num_text_columns: int = 1) -> str:
    """Returns a Markdown table; the columns after the first ones are aligned to the right."""
    rule = ["---"] * num_text_columns + ["--:"] * (len(headings) - num_text_columns)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (headings, tuple(rule), *rows))


def number_text(value: float) -> str:
    """Returns three digits that count."""
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _value_text(side: Mapping[str, Any], unit: str, per: int) -> str:
    if "error" in side:
        return "-"
    return f"{number_text(in_unit(statistics.median(side['values']), unit, per))} {SHOWN_UNITS.get(unit, unit)}"


def _requirement(row: Row) -> str:
    if row.at_least is not None:
        return f"at least {row.at_least:g}"
    if row.at_most is None:
        return "-"
    return f"at most {row.at_most:g}" + ("" if row.is_quotient else f" {row.unit}")


def _yes_or_no(reached: bool | None) -> str:
    return {True: "yes", False: "**no**", None: "-"}[reached]
