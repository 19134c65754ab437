"""The pictures of how costs grow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.speed.lines import SHOWN_UNITS
from benchmarks.speed.works import Plot

__all__ = ["draw"]

Points = Mapping[str, Mapping[int, tuple[float, float, float]]]

# colours that differ for colour-blind readers too (Okabe & Ito), each with a mark of its own
_STYLES = {
    "fp32": ("#0072B2", "o", "Recoder, fp32"),
    "bf16": ("#009E73", "s", "Recoder, bf16"),
    "0.4.0": ("#D55E00", "^", "0.4.0"),
    "floor fp32": ("#777777", "x", "the three products alone, fp32"),
}


def draw(plot: Plot, points: Points, path: Path) -> None:
    """Writes a PNG: medians as lines, smallest and largest as bars; places on a logarithmic axis."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = Figure(figsize=(6.4, 3.8), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for label, curve in points.items():
        colour, mark, legend = _STYLES[label]
        places = sorted(curve)
        middle = [curve[place][0] for place in places]
        bars = [[curve[place][0] - curve[place][1] for place in places]]
        bars.append([curve[place][2] - curve[place][0] for place in places])
        axes.errorbar(
            places,
            middle,
            yerr=bars,
            color=colour,
            marker=mark,
            linestyle=":" if "floor" in label else "-",
            linewidth=1.6,
            markersize=5,
            capsize=2.5,
            label=legend,
        )
    axes.set_xscale("log")
    all_places = sorted({place for curve in points.values() for place in curve})
    axes.set_xticks(all_places, [f"{place:,}" for place in all_places])
    _scale_values(axes, points)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    axes.grid(visible=True, color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(plot.axis)
    axes.set_ylabel(SHOWN_UNITS.get(plot.unit, plot.unit))
    axes.set_title(plot.title, fontsize=10.5, loc="left")
    axes.legend(frameon=False, fontsize=8.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    # no time of writing and no version in the file: the same numbers give the same file
    figure.savefig(path, metadata={"Software": None})


def _scale_values(axes: Any, points: Points) -> None:
    """Gives values that differ much a logarithmic axis, others one that starts at zero."""
    from matplotlib.ticker import LogLocator

    values = [value for curve in points.values() for triple in curve.values() for value in triple]
    low, high = min(values), max(values)
    if high > 4 * low:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.6, high * 1.6)
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    else:
        axes.set_ylim(0, high * 1.3)
