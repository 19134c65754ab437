"""Charts as SVG, for pages that people read on a desk and on a phone, in light and in dark.

Drawn here and not by matplotlib, whose SVG shrinks its text with the picture and fixes its colours: these take their
colours from the page's style sheet, stay legible at 390 pixels, carry tooltips, and need no extra.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from recoder.report.scales import Scale

__all__ = ["Bars", "Line", "bar_chart", "interval_chart", "line_chart", "picture"]

WIDTH, HEIGHT = 400, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 388, 26, 196


@dataclass(frozen=True)
class Line:
    """A curve.

    Attributes:
        colour: its number.
        xs: ascending.
        ys: as many; NaN where there is nothing.
        errors: half the height of the band around it; None: no band.
    """

    colour: int
    xs: Sequence[float]
    ys: Sequence[float]
    errors: Sequence[float] | None = None


@dataclass(frozen=True)
class Bars:
    """A bar for each category.

    Attributes:
        colour: their number.
        name: what they are, for tooltips.
        heights: of the bars; NaN where there is none.
        lows: lower ends of their intervals; None: there are none.
        highs: upper ends.
    """

    colour: int
    name: str
    heights: Sequence[float]
    lows: Sequence[float] | None = None
    highs: Sequence[float] | None = None


def line_chart(
    lines: Sequence[Line],
    *,
    description: str,
    x_label: str,
    y_label: str,
    is_log: bool = False,
    from_zero: bool = False,
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Returns curves over an axis.

    Args:
        lines: at least one.
        description: for who cannot see it.
        x_label: below the axis.
        y_label: above the axis.
        is_log: both axes are logarithmic.
        from_zero: the vertical axis begins at 0, or below where a curve does.
        marks: places on the horizontal axis to mark by a vertical line, with what to write there.
    """
    xs = [x for line in lines for x in line.xs]
    edges = [
        edge
        for line in lines
        for y, error in zip(line.ys, line.errors or [0.0] * len(line.ys), strict=True)
        for edge in (y - _known(error), y + _known(error))
        if math.isfinite(edge)
    ]
    low = min(0.0, *edges) if from_zero else min(edges)
    across = Scale(min(xs), max(max(xs), min(xs) * 1.01 + 1e-9), _LEFT, _RIGHT, is_log)
    up = Scale(low, _above(low, max(edges)), _BOTTOM, _TOP, is_log)
    parts = [_frame(up, y_label, x_label), _x_ticks(across, whole=True)]
    for x, text in marks:
        parts.append(f'<path class="mark" d="M{across(x):.1f} {_TOP}V{_BOTTOM}"/>')
        parts.append(_text(across(x) - 4, _TOP + 9, text, "end"))
    parts += [_band(line, across, up) for line in lines if line.errors is not None]
    parts += [_curve(line, across, up) for line in lines]
    return picture(parts, description)


def bar_chart(
    categories: Sequence[str],
    series: Sequence[Bars],
    *,
    description: str,
    y_label: str,
    x_label: str = "",
    as_percent: bool = False,
) -> str:
    """Returns groups of bars, with their intervals where they have some.

    Args:
        categories: a name for each group.
        series: a bar for each group.
        description: for who cannot see it.
        y_label: above the axis.
        x_label: below the groups.
        as_percent: heights are shares, to be written in percent.
    """
    tops = [top for bars in series for top in (bars.highs or bars.heights) if math.isfinite(top)]
    up = Scale(0.0, _above(0.0, max(tops, default=1.0)), _BOTTOM, _TOP)
    group = (_RIGHT - _LEFT) / len(categories)
    width = min(34.0, 0.76 * group / len(series))
    parts = [_frame(up, y_label, x_label, as_percent=as_percent)]
    # of many names only some have room, and of these only every other one where the text is largest
    longest = max(len(name) for name in categories)
    every = math.ceil(longest * 6.4 / group)
    is_narrow = (longest + 1) * 7.8 > every * group
    for place, category in enumerate(categories):
        middle = _LEFT + group * (place + 0.5)
        for number, bars in enumerate(series):
            left = middle + width * (number - len(series) / 2)
            parts.append(_bar(bars, place, left, width, up, category, as_percent))
        if place % every == 0:
            kind = "tick spare" if is_narrow and place // every % 2 else "tick"
            parts.append(_text(middle, _BOTTOM + 15, category, "middle", kind))
    return picture(parts, description, height=HEIGHT if x_label else _BOTTOM + 24)


def interval_chart(rows: Sequence[tuple[str, Sequence[tuple[int, float, float, float]]]], *, description: str) -> str:
    """Returns means with their intervals, a row for each name.

    Args:
        rows: names, each with (colour, mean, low, high) of what is compared.
        description: for who cannot see it.
    """
    step, left = 34, 96
    bottom = 8 + step * len(rows)
    highest = max((high for _, marks in rows for *_, high in marks if math.isfinite(high)), default=1.0)
    across = Scale(0.0, _above(0.0, highest), left, _RIGHT)
    parts = []
    for tick in across.ticks(4):
        parts.append(f'<path class="grid" d="M{across(tick):.1f} 4V{bottom}"/>')
        parts.append(_text(across(tick), bottom + 15, f"{tick:g}", "middle"))
    for place, (name, marks) in enumerate(rows):
        middle = 8 + step * (place + 0.5)
        parts.append(_text(0, middle + 4, name, "start", "name"))
        for number, (colour, mean, low, high) in enumerate(marks):
            y = middle + 9 * (number - (len(marks) - 1) / 2)
            title = f"<title>{escape(name)}: {mean:.4f}, {low:.4f} to {high:.4f}</title>"
            whisker = f'<path class="whisker" d="M{across(max(0.0, low)):.1f} {y}H{across(high):.1f}"/>'
            dot = f'<circle class="dot" cx="{across(mean):.1f}" cy="{y}" r="4"/>'
            parts.append(f'<g class="s{colour}">{title}{whisker if math.isfinite(low) else ""}{dot}</g>')
    return picture(parts, description, height=bottom + 22)


def picture(parts: Iterable[str], description: str, *, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Returns a picture of these parts."""
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(description)}">'
        f"{''.join(part for part in parts if part)}</svg>"
    )


def _frame(up: Scale, y_label: str, x_label: str, *, as_percent: bool = False) -> str:
    parts = [_text(0, 12, y_label, "start"), _text(_RIGHT, HEIGHT - 8, x_label, "end")]
    for tick in up.ticks(5):
        y = up(tick)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        parts.append(_text(_LEFT - 6, y + 4, f"{100 * tick:g} %" if as_percent else _short(tick), "end"))
    return "".join(parts)


def _x_ticks(across: Scale, *, whole: bool) -> str:
    return "".join(_text(across(tick), _BOTTOM + 15, _short(tick), "middle") for tick in across.ticks(7, whole=whole))


def _curve(line: Line, across: Scale, up: Scale) -> str:
    places = [(across(x), up(y)) for x, y in zip(line.xs, line.ys, strict=True) if math.isfinite(y)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    end = f'<circle class="dot" cx="{places[-1][0]:.1f}" cy="{places[-1][1]:.1f}" r="3"/>' if places else ""
    return f'<g class="s{line.colour}"><path class="line" d="M{path}"/>{end}</g>'


def _band(line: Line, across: Scale, up: Scale) -> str:
    known = [
        (across(x), up(y - _known(error)), up(y + _known(error)))
        for x, y, error in zip(line.xs, line.ys, line.errors or (), strict=True)
        if math.isfinite(y)
    ]
    around = [(x, low) for x, low, _ in known] + [(x, high) for x, _, high in reversed(known)]
    return f'<path class="band s{line.colour}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in around)}Z"/>'


def _bar(bars: Bars, place: int, left: float, width: float, up: Scale, category: str, as_percent: bool) -> str:
    height = bars.heights[place]
    if not math.isfinite(height):
        return ""
    said = f"{100 * height:.3g} %" if as_percent else f"{height:,.4g}"
    title = f"<title>{escape(f'{category}, {bars.name}: {said}' if bars.name else f'{category}: {said}')}</title>"
    top = up(height)
    box = f'<rect class="bar" x="{left + 1:.1f}" y="{top:.1f}" width="{width - 2:.1f}" height="{_BOTTOM - top:.1f}"/>'
    whisker = ""
    if bars.lows is not None and bars.highs is not None and math.isfinite(bars.lows[place]):
        low, high = up(max(0.0, bars.lows[place])), up(bars.highs[place])
        whisker = f'<path class="over" d="M{left + width / 2:.1f} {low:.1f}V{high:.1f}"/>'
    return f'<g class="s{bars.colour}">{title}{box}{whisker}</g>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _short(tick: float) -> str:
    if abs(tick) >= 1e6:
        return f"{tick / 1e6:g}M"
    return f"{tick / 1e3:g}k" if abs(tick) >= 1e4 else f"{tick:g}"


def _above(low: float, high: float) -> float:
    """Returns an end of the axis that is above its beginning."""
    return high if high > low else low + max(1e-3, abs(low) * 0.1)


def _known(error: float) -> float:
    return error if math.isfinite(error) else 0.0
