"""The picture of a data set: time of training against quality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.contestants import Contestant
from benchmarks.quality.judging import MAIN_METRIC
from benchmarks.quality.summary import Point, front_of

__all__ = ["draw"]

# colours that differ for colour-blind readers too (Okabe & Ito): one for ours, one for each rival
_COLOURS = {"ours": "#0072B2", "implicit": "#D55E00", "irspack": "#CC79A7", "recoder-0.4.0": "#E69F00"}
_OTHER_COLOUR = "#555555"
_MARKS = "osD^vP*XhdpH<>8"
_LOWEST_SHOWN = 0.6  # of the best: what is lower stands at the edges, or else nobody could tell the others apart


def draw(title: str, points: Sequence[Point], chosen: Sequence[tuple[Contestant, int]], path: Path) -> None:
    """Writes a PNG: every point, those with the chosen settings large, and the fronts of ours and of the rivals.

    Args:
        title: over the picture.
        points: all that were measured with the tuning seed, at least one.
        chosen: contestants with the point that was chosen for each.
        path: the file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(8.6, 4.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    floor = _LOWEST_SHOWN * max(point.quality for point in points)
    seconds = [point.seconds for point in points if point.quality >= floor]
    corner = (min(seconds) / 1.6, floor)
    axes.set_xscale("log")
    for is_ours, line, colour in ((True, "-", _COLOURS["ours"]), (False, "--", "#888888")):
        _draw_front(axes, [point for point in points if point.contestant.is_ours == is_ours], floor, line, colour)
    for number, contestant in enumerate(dict.fromkeys(point.contestant for point in points)):
        colour = _COLOURS.get(contestant.environment, _OTHER_COLOUR)
        mark = _MARKS[number % len(_MARKS)]
        for point in points:
            if point.contestant == contestant:
                _draw_point(axes, point, corner, mark, colour, is_chosen=(contestant, point.point) in chosen)
        axes.plot([], [], mark, color=colour, label=contestant.name, markersize=6)
    latest = max(point.seconds for point in points)
    axes.set_xlim(corner[0] / 1.25, latest * 1.6)
    highest = max(point.quality for point in points)
    axes.set_ylim(floor - 0.06 * (highest - floor), highest + 0.08 * (highest - floor))
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 3) if latest < 1e3 * corner[0] else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("training, seconds")
    axes.set_ylabel(f"{MAIN_METRIC.metric_name}, test users")
    axes.set_title(title, fontsize=10.5, loc="left")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    # no time of writing and no version in the file: the same numbers give the same file
    figure.savefig(path, metadata={"Software": None})


def _draw_front(axes: Any, points: list[Point], floor: float, line: str, colour: str) -> None:
    front = [point for point in front_of(points) if point.quality >= floor]
    if not front:
        return
    is_ours = front[0].contestant.is_ours
    label = "front of Recoder" if is_ours else "front of the others"
    axes.step(
        [point.seconds for point in front],
        [point.quality for point in front],
        where="post",
        color=colour,
        linestyle=line,
        linewidth=1.4,
        alpha=0.8,
        label=label,
    )


def _draw_point(
    axes: Any, point: Point, corner: tuple[float, float], mark: str, colour: str, *, is_chosen: bool
) -> None:
    alpha, size = (1.0, 8.0) if is_chosen else (0.4, 5.0)
    x, y = max(point.seconds, corner[0]), max(point.quality, corner[1])
    axes.plot([x], [y], mark, color=colour, alpha=alpha, markersize=size, mew=0, zorder=3)
    if point.quality < corner[1]:
        axes.annotate(
            f"{point.quality:.3f} ↓",
            (x, y),
            xytext=(-5, 7),
            textcoords="offset points",
            ha="left",
            fontsize=7.5,
            color=colour,
        )
