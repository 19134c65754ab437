"""How well the model recommends to held-out users, beside most-popular. Sizes: U users."""

from __future__ import annotations

import math

import numpy as np

from recoder.api.fitted import FittedModel
from recoder.metrics import EvaluationResult
from recoder.report.charts import Bars, bar_chart, interval_chart
from recoder.report.judged import ACCURACY, MAIN_METRIC, Interval, Judged
from recoder.report.parts import MODEL, POPULAR, Cell, Figure, Section, Table, Tile, plain, span

__all__ = ["accuracy_section", "activity_section", "remembered_section"]

_GROUPS = 4
_LEGEND = ((MODEL, "this model"), (POPULAR, "most popular"))


def accuracy_section(test: Judged | None, valid: Judged | None) -> Section:
    """Returns the metrics of test users, and those of validation users below; one of them may be missing."""
    parts = {"test": test, "validation": valid}
    judged = {name: part for name, part in parts.items() if part is not None}
    name, main = next(iter(judged.items()))
    tiles = [_main_tile(main.result)]
    if main.popular is not None:
        paired = main.result.compare(main.popular)[MAIN_METRIC]
        tiles.append(
            Tile(
                "over most popular",
                f"{paired.difference:+.4f}",
                f"95 %: {_range(paired.low, paired.high) or 'not known'}",
            )
        )
    tiles.append(Tile(f"{name} users", plain(len(main.result.users)), "with something to find"))
    lead = (
        "The users' histories are known to the model, and it is judged by the items that were held back. Differences "
        "are paired by user."
    )
    tables = [_table(name, part) for name, part in judged.items()]
    return Section("accuracy", "Accuracy", lead, tiles, [_intervals(main)], tables)


def remembered_section(model: FittedModel) -> Section | None:
    """Returns the last evaluation that the model's file remembers; None if there is none."""
    for told in reversed(model.about.metrics):
        rows = [
            (name, [_cell(Interval.around(number["mean"], _known(number["stderr"]), told["users"]))])
            for name, number in told["metrics"].items()
            if number["mean"] is not None
        ]
        if rows:
            lead = (
                f"As evaluated earlier, over {plain(told['users'])} users; no test users were passed to this report, "
                "so there is nothing to compare it with."
            )
            table = Table("Earlier evaluation", ["metric", "mean and 95 % interval"], rows)
            return Section("accuracy", "Accuracy", lead, tables=[table])
    return None


def activity_section(judged: Judged) -> Section | None:
    """Returns the main metric by the length of a user's history; None where all are equally long."""
    lengths_U = np.diff(judged.held_out.dataset.interactions_matrix.indptr)[judged.result.users]
    edges = np.unique(np.quantile(lengths_U, np.arange(1, _GROUPS) / _GROUPS, method="lower"))
    groups_U = np.searchsorted(edges, lengths_U, side="left")
    groups = np.unique(groups_U)
    if len(groups) < 2:
        return None
    of_groups = [lengths_U[groups_U == group] for group in groups]
    names = [span(int(lengths.min()), int(lengths.max())) for lengths in of_groups]
    compared = [(MODEL, "this model", judged.result)]
    if judged.popular is not None:
        compared.append((POPULAR, "most popular", judged.popular))
    intervals = [[Interval.of(result[MAIN_METRIC][groups_U == group]) for group in groups] for _, _, result in compared]
    rows = [
        (name, [Cell(plain(int((groups_U == group).sum()))), *(_cell(of_group[place]) for of_group in intervals)])
        for place, (name, group) in enumerate(zip(names, groups, strict=True))
    ]
    svg = bar_chart(
        names,
        [_bars(colour, name, of_group) for (colour, name, _), of_group in zip(compared, intervals, strict=True)],
        description=f"{MAIN_METRIC} by length of the history: "
        + ", ".join(f"{name} {interval.mean:.4f}" for name, interval in zip(names, intervals[0], strict=True)),
        y_label=MAIN_METRIC,
        x_label="items in the history",
    )
    figure = Figure(
        f"{MAIN_METRIC} by length of the history",
        svg,
        "Lines are 95 % intervals.",
        _LEGEND[: len(compared)],
    )
    head = ["items in the history", "users", *(name for _, name, _ in compared)]
    lead = "Users in up to four groups, by how much of them is known; equal lengths are in one group."
    table = Table("Mean and 95 % interval", head, rows)
    return Section("activity", "Users with short and long histories", lead, (), [figure], [table])


def _main_tile(result: EvaluationResult) -> Tile:
    interval = Interval.of(result[MAIN_METRIC])
    return Tile(MAIN_METRIC, f"{interval.mean:.4f}", f"95 %: {interval.text or 'not known'}")


def _table(name: str, judged: Judged) -> Table:
    popular = judged.popular
    paired = None if popular is None else judged.result.compare(popular)
    head = ["metric", "this model", *([] if popular is None else ["most popular", "difference"])]
    rows = []
    for metric in ACCURACY:
        cells = [_cell(Interval.of(judged.result[metric]))]
        if popular is not None and paired is not None:
            of_pair = paired[metric]
            difference = Cell(f"{of_pair.difference:+.4f}", _range(of_pair.low, of_pair.high))
            cells += [_cell(Interval.of(popular[metric])), difference]
        rows.append((metric.metric_name, cells))
    users = plain(len(judged.result.users))
    return Table(f"{users} {name} users: mean and 95 % interval", head, rows)


def _intervals(judged: Judged) -> Figure:
    compared = [(MODEL, judged.result), *([] if judged.popular is None else [(POPULAR, judged.popular)])]
    rows = []
    for metric in ACCURACY:
        marks = [(colour, Interval.of(result[metric])) for colour, result in compared]
        rows.append((metric.metric_name, [(colour, i.mean, i.low, i.high) for colour, i in marks]))
    said = ", ".join(f"{name} {marks[0][1]:.4f}" for name, marks in rows)
    svg = interval_chart(rows, description=f"Means of this model: {said}")
    return Figure("Means and 95 % intervals", svg, legend=_LEGEND[: len(compared)])


def _bars(colour: int, name: str, intervals: list[Interval]) -> Bars:
    lows, highs = [i.low for i in intervals], [i.mean if math.isnan(i.high) else i.high for i in intervals]
    return Bars(colour, name, [i.mean for i in intervals], lows, highs)


def _cell(interval: Interval) -> Cell:
    return Cell(f"{interval.mean:.4f}", interval.text)


def _range(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{low:+.4f} to {high:+.4f}"


def _known(number: float | None) -> float:
    return math.nan if number is None else number
