"""How costs grow with the catalogue, the batch and the factors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.speed.data import Sizes
from benchmarks.speed.tasks import OLD, floor_of, training
from benchmarks.speed.works import OURS, Curve, Measurement, Plot, Rank, Row, Side, Training

__all__ = ["Growth", "growth_of"]


@dataclass(frozen=True)
class Growth:
    """Measurements, and the lines and the plots that are made of them."""

    measurements: tuple[Measurement, ...]
    rows: tuple[Row, ...]
    plots: tuple[Plot, ...]


def growth_of(sizes: Sizes) -> Growth:
    """Returns all of them."""
    parts = [_by_items(sizes), _by_batch_size(sizes), _by_factors(sizes), _ranking_by_items(sizes)]
    return Growth(
        measurements=tuple(measurement for part in parts for measurement in part.measurements),
        rows=tuple(row for part in parts for row in part.rows),
        plots=tuple(plot for part in parts for plot in part.plots),
    )


def _by_items(sizes: Sizes) -> Growth:
    # rows of the optimizer's state are touched for the first time for long, the longer the larger the catalogue
    warm_up = 6 * sizes.warm_up
    tasks = {
        num_items: training(sizes, data=f"grown-{num_items}", sparse=True, warm_up=warm_up)
        for num_items in sizes.catalogues
    }
    measurement = Measurement("items", {str(number): Side(OURS, task) for number, task in tasks.items()})
    curve = Curve("fp32", {number: ("items", str(number)) for number in tasks})
    title = f"Step with sparse=True and about {sizes.candidates:,} sampled items"
    first, *_, last = tasks
    row = Row(
        f"step with `sparse=True`, about {sizes.candidates:,} sampled items: {last:,} items in the catalogue "
        f"against {first:,}",
        "items",
        str(last),
        str(first),
        at_most=1.3,
        is_quotient=True,
    )
    return Growth((measurement,), (row,), (Plot("speed-items", title, "items in the catalogue", "ms", (curve,)),))


def _by_batch_size(sizes: Sizes) -> Growth:
    largest_of_old = max(sizes.batch_sizes) // 2  # 0.4.0 needs a second or more for a larger one
    return _grown_steps(
        "batch",
        {size: training(sizes, batch_size=size) for size in sizes.batch_sizes},
        with_old=lambda task: task.batch_size <= largest_of_old,
        title="Step, logistic, negative sampling, against the batch",
        axis="users in a batch",
    )


def _by_factors(sizes: Sizes) -> Growth:
    return _grown_steps(
        "factors",
        {count: training(sizes, factors=count) for count in sizes.factor_counts},
        with_old=lambda task: True,
        title="Step, logistic, negative sampling, against the factors",
        axis="factors",
    )


def _grown_steps(
    name: str, tasks: dict[int, Training], *, with_old: Callable[[Training], bool], title: str, axis: str
) -> Growth:
    """One measurement for each place on the axis: there ours, 0.4.0 and the floor take turns."""
    measurements = []
    curves: dict[str, dict[int, tuple[str, str]]] = {}
    for place, task in tasks.items():
        bf16 = replace(task, precision="bf16")
        sides = {"fp32": Side(OURS, task), "bf16": Side(OURS, bf16), "floor fp32": Side(OURS, floor_of(task))}
        if with_old(task):
            sides["0.4.0"] = Side(OLD, task)
        measurements.append(Measurement(f"{name}-{place}", sides))
        for side in sides:
            curves.setdefault(side, {})[place] = (f"{name}-{place}", side)
    lines = tuple(Curve(label, points) for label, points in curves.items())
    return Growth(tuple(measurements), (), (Plot(f"speed-{name}", title, axis, "ms", lines),))


def _ranking_by_items(sizes: Sizes) -> Growth:
    users = min(sizes.ranked_users, 2_000)
    measurements = []
    curves: dict[str, dict[int, tuple[str, str]]] = {"fp32": {}, "bf16": {}}
    for num_items in sizes.catalogues:
        name = f"ranking-{num_items}"
        task = Rank(f"grown-{num_items}", users=users, factors=sizes.factors, count=min(100, sizes.candidates))
        sides = {precision: Side(OURS, replace(task, precision=precision)) for precision in curves}
        measurements.append(Measurement(name, sides))
        for side in sides:
            curves[side][num_items] = (name, side)
    lines = tuple(Curve(label, points) for label, points in curves.items())
    title = f"Recommend top {task.count} for {users:,} users in one call"
    plot = Plot("speed-ranking", title, "items in the catalogue", "users/s", lines, users=users)
    return Growth(tuple(measurements), (), (plot,))
