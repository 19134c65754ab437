from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from html_tables import read_html
from recoder.metrics import NDCG, Comparison, Coverage, Recall
from recoder.metrics.comparison import PairedDifference, mean_of_known, standard_error


@pytest.mark.parametrize("num_users", [2, 5, 400])
def test_paired_difference_equals_scipy(num_users):
    generator = np.random.default_rng(num_users)
    first, second = generator.random(num_users) + 0.1, generator.random(num_users)
    paired = PairedDifference.of(first, second)
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert paired.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (paired.low, paired.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert paired.difference == pytest.approx(first.mean() - second.mean(), rel=1e-9)
    assert paired.stderr == pytest.approx(stats.sem(first - second), rel=1e-12)


def test_users_that_do_not_differ_give_p_one():
    values = np.array([0.1, 0.5, 0.9])
    assert PairedDifference.of(values, values) == PairedDifference(0.0, 0.0, 0.0, 0.0, 1.0)


def test_users_that_all_differ_alike_give_p_zero():
    paired = PairedDifference.of(np.ones(4), np.full(4, 0.5))
    assert paired == PairedDifference(0.5, 0.0, 0.5, 0.5, 0.0)


def test_of_one_user_only_the_difference_is_known():
    paired = PairedDifference.of(np.array([0.75]), np.array([0.5]))
    assert paired.difference == 0.25
    assert all(math.isnan(v) for v in (paired.stderr, paired.low, paired.high, paired.p_value))


def test_users_without_a_value_in_either_are_left_out():
    first, second = np.array([1.0, math.nan, 3.0, 8.0, 0.0]), np.array([0.0, 5.0, 1.0, math.nan, 0.5])
    known = [0, 2, 4]
    assert PairedDifference.of(first, second) == PairedDifference.of(first[known], second[known])


def test_without_any_user_nothing_is_known():
    nothing = PairedDifference.of(np.array([math.nan, 1.0]), np.array([1.0, math.nan]))
    assert all(map(math.isnan, vars(nothing).values()))


def test_mean_and_standard_error_are_over_the_values_that_are_there():
    values = np.array([1.0, math.nan, 2.0, 3.0])
    assert mean_of_known(values) == 2
    assert standard_error(values) == standard_error(np.array([1.0, 2.0, 3.0]))
    assert math.isnan(mean_of_known(np.array([math.nan])))


def test_standard_error_is_that_of_the_mean():
    assert standard_error(np.array([1.0, 2.0, 3.0])) == pytest.approx(1 / math.sqrt(3))
    assert math.isnan(standard_error(np.array([1.0])))


def test_printed_and_in_a_notebook_a_comparison_is_a_table():
    comparison = Comparison(
        {
            Recall(20): PairedDifference(0.01, 0.004, 0.002, 0.018, 0.0123),
            NDCG(100): PairedDifference(-0.5, 0.25, -1.0, 0.0, 1e-9),
            Coverage(5): PairedDifference(0.25, math.nan, math.nan, math.nan, math.nan),
        }
    )
    assert str(comparison).splitlines() == [
        "metric      difference  ± stderr       95 % interval      p",
        "Recall@20      +0.0100  ± 0.0040  [+0.0020, +0.0180]  0.012",
        "NDCG@100       -0.5000  ± 0.2500  [-1.0000, +0.0000]  1e-09",
        "Coverage@5     +0.2500",
    ]
    assert read_html(comparison._repr_html_()).rows == [
        ["metric", "difference", "± stderr", "95 % interval", "p"],
        ["Recall@20", "+0.0100", "± 0.0040", "[+0.0020, +0.0180]", "0.012"],
        ["NDCG@100", "-0.5000", "± 0.2500", "[-1.0000, +0.0000]", "1e-09"],
        ["Coverage@5", "+0.2500", "", "", ""],
    ]
