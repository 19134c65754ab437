from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoder.report.charts import Bars, Line, bar_chart, interval_chart, line_chart
from recoder.report.scales import Scale

NUMBERS = st.floats(-1e6, 1e6)


def test_a_scale_maps_its_ends_and_its_middle():
    across = Scale(2, 4, 10, 110)
    assert [across(2), across(3), across(4)] == [10, 60, 110]
    assert Scale(1, 100, 0, 10, is_log=True)(10) == pytest.approx(5)


@given(NUMBERS, st.floats(1e-3, 1e6))
def test_ticks_are_few_in_the_range_and_ascend(low, size):
    scale = Scale(low, low + size, 0, 100)
    ticks = scale.ticks(5)
    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    assert all(-0.1 <= scale(tick) <= 100.1 for tick in ticks)


def test_ticks_are_round():
    assert Scale(0, 0.43, 0, 1).ticks(5) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert Scale(1, 4, 0, 1).ticks(7, whole=True) == [1, 2, 3, 4]
    assert Scale(1, 5000, 0, 1, is_log=True).ticks(5) == [1, 10, 100, 1000]
    assert Scale(1, 40, 0, 1, is_log=True).ticks(5) == [1, 2, 5, 10, 20]


def test_bars_are_as_high_as_their_values():
    svg = bar_chart(["a", "b"], [Bars(0, "", [1.0, 4.0])], description="d", y_label="y")
    low, high = (float(height) for height in re.findall(r'<rect[^>]* height="([\d.]+)"', svg))
    assert high == pytest.approx(4 * low, abs=0.2)


def test_what_is_not_known_is_not_drawn():
    bars = bar_chart(
        ["a", "b"], [Bars(0, "", [math.nan, 1.0], [math.nan, 0.5], [math.nan, 2.0])], description="d", y_label="y"
    )
    assert bars.count("<rect") == 1
    line = line_chart([Line(0, [1, 2, 3], [1.0, math.nan, 2.0], [0.1] * 3)], description="d", x_label="x", y_label="y")
    assert re.search(r'class="line" d="([^"]*)"', line).group(1).count("L") == 1
    rows = interval_chart([("m", [(0, 0.5, math.nan, math.nan)])], description="d")
    assert "whisker" not in rows
    for svg in (bars, line, rows):
        assert "nan" not in svg.lower().replace("<title>m: 0.5000, nan to nan</title>", "")


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0, 5.0], [-3.0, -3.0]])
def test_values_that_are_all_equal_can_be_drawn(values):
    assert "nan" not in line_chart([Line(0, [1, 2], values)], description="d", x_label="x", y_label="y")
    assert "nan" not in bar_chart(["a", "b"], [Bars(0, "", [abs(v) for v in values])], description="d", y_label="y")


def test_names_in_a_chart_are_text():
    svg = bar_chart(["<a>"], [Bars(0, "<b>", [1.0])], description='"<d>"', y_label="<y>")
    assert "<a>" not in svg
    assert "<b>" not in svg
    assert 'aria-label="&quot;&lt;d&gt;&quot;"' in svg


def test_of_many_categories_only_some_are_named():
    names = [f"{n}00-{n}99" for n in range(1, 31)]
    svg = bar_chart(names, [Bars(0, "", [1.0] * 30)], description="d", y_label="y")
    assert 3 < sum(f">{name}<" in svg for name in names) < 15


def test_names_that_are_close_make_room_where_the_text_is_largest():
    def spare(names):
        svg = bar_chart(names, [Bars(0, "", [1.0] * len(names))], description="d", y_label="y")
        return [name for name in names if 'class="tick spare"' in svg.split(f">{name}<")[0].rsplit("<text", 1)[1]]

    assert spare(["1", "2", "3-4", "5-7", "8-10"]) == []
    names = [f"{n}0-{n}9" for n in range(1, 9)]
    assert spare(names) == names[1::2]


def test_curves_below_zero_are_in_the_picture():
    svg = line_chart([Line(0, [1, 2], [-3.0, -1.0])], description="d", x_label="x", y_label="y", from_zero=True)
    points = re.findall(r"[ML]([\d.]+) ([\d.]+)", re.search(r'class="line" d="([^"]*)"', svg).group(1))
    assert len(points) == 2
    assert all(0 <= float(y) <= 240 for _, y in points)
