"""The picture of a data set: time of training against quality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.contestants import CONTESTANTS, Contestant
from benchmarks.quality.judging import MAIN_METRIC
from benchmarks.quality.summary import Point, front_of

__all__ = ["draw"]

# colours that differ for colour-blind readers too (Okabe & Ito): one for ours, one for each rival
_COLOURS = {"ours": "#0072B2", "implicit": "#D55E00", "irspack": "#CC79A7", "recoder-0.4.0": "#E69F00"}
_OTHER_COLOUR = "#555555"
_MARKS = "osD^vP*XhdpH<>8"
_PLACES = {contestant.name: place for place, contestant in enumerate(CONTESTANTS)}
"""By which a contestant has the same mark on every data set."""
_LOWEST_SHOWN = 0.6  # of the best: what is lower stands at the lower edge, or else nobody could tell the others apart
_QUICKEST_SHOWN = 1 / 30  # of the quickest that is not low: what is quicker stands at the left edge
_LABEL_DECADES = 0.25  # labels that are nearer to one another stand one above the other


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
    axes.set_xscale("log")
    left, floor = _corner(points)
    right = max(point.seconds for point in points) * 1.6
    highest = max(point.quality for point in points)
    axes.set_xlim(left / 1.25, right)
    axes.set_ylim(floor - 0.06 * (highest - floor), highest + 0.08 * (highest - floor))
    _draw_front(axes, [point for point in points if point.contestant.is_ours], "front of Recoder", "-", right)
    _draw_front(axes, [point for point in points if not point.contestant.is_ours], "front of the others", "--", right)
    for number, contestant in enumerate(dict.fromkeys(point.contestant for point in points)):
        colour = _COLOURS.get(contestant.environment, _OTHER_COLOUR)
        mark = _MARKS[_PLACES.get(contestant.name, number) % len(_MARKS)]
        for point in points:
            if point.contestant == contestant:
                alpha, size = (1.0, 8.0) if (contestant, point.point) in chosen else (0.4, 5.0)
                place = [max(point.seconds, left)], [max(point.quality, floor)]
                axes.plot(*place, mark, color=colour, alpha=alpha, markersize=size, mew=0, zorder=3)
        axes.plot([], [], mark, color=colour, label=contestant.name, markersize=6)
    _label_low_points(axes, points, left, floor)
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 3) if right < 1e3 * left else (1,)))
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


def _corner(points: Sequence[Point]) -> tuple[float, float]:
    """Returns the seconds and the quality that stand at the left and the lower edge."""
    floor = _LOWEST_SHOWN * max(point.quality for point in points)
    quickest = min(point.seconds for point in points if point.quality >= floor)
    shown = [point.seconds for point in points if point.seconds >= quickest * _QUICKEST_SHOWN]
    return min(shown) / 1.6, floor


def _draw_front(axes: Any, points: list[Point], label: str, line: str, right: float) -> None:
    """Draws what is reached by a time of training: from the quickest point to the right edge."""
    front = front_of(points)
    if front:
        seconds = [*(point.seconds for point in front), right]
        quality = [*(point.quality for point in front), front[-1].quality]
        colour = _COLOURS["ours"] if front[0].contestant.is_ours else "#888888"
        axes.step(seconds, quality, where="post", color=colour, linestyle=line, linewidth=1.4, alpha=0.8, label=label)


def _label_low_points(axes: Any, points: Sequence[Point], left: float, floor: float) -> None:
    """Writes the values of the points at the lower edge over them."""
    last, level = -math.inf, 0
    for point in sorted((point for point in points if point.quality < floor), key=lambda point: point.seconds):
        x = max(point.seconds, left)
        level = level + 1 if math.log10(x) - last < _LABEL_DECADES else 0
        last = math.log10(x)
        axes.annotate(
            f"{point.quality:.3f} ↓",
            (x, floor),
            xytext=(-5, 7 + 9 * level),
            textcoords="offset points",
            fontsize=7.5,
            color=_COLOURS.get(point.contestant.environment, _OTHER_COLOUR),
        )
