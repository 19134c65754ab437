from __future__ import annotations

import numpy as np

from recoder.cli.sparklines import log_histogram, sparkline, time_histogram


def test_bars_grow_with_their_counts_and_only_zero_has_none():
    assert sparkline([0, 1, 4, 8]) == "·▁▄█"
    assert sparkline([0, 1, 10_000]) == "·▁█"
    assert sparkline([0, 0]) == "··"
    assert sparkline([]) == ""


def test_counts_fall_into_bins_of_doubling_width():
    assert log_histogram(np.array([1, 2, 3, 4, 7, 8])).tolist() == [1, 2, 2, 1]


def test_times_fall_into_parts_of_equal_length():
    assert time_histogram(np.array([0, 1, 2, 3, 100]), 4).tolist() == [4, 0, 0, 1]
    assert time_histogram(np.array([5, 5]), 3).sum() == 2
