from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from recoder.metrics import NDCG, Comparison, Recall
from recoder.metrics.comparison import PairedDifference, standard_error


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


def test_standard_error_is_that_of_the_mean():
    assert standard_error(np.array([1.0, 2.0, 3.0])) == pytest.approx(1 / math.sqrt(3))
    assert math.isnan(standard_error(np.array([1.0])))


def test_printed_comparison_is_a_table():
    comparison = Comparison(
        {
            Recall(20): PairedDifference(0.01, 0.004, 0.002, 0.018, 0.0123),
            NDCG(100): PairedDifference(-0.5, 0.25, -1.0, 0.0, 1e-9),
        }
    )
    assert str(comparison).splitlines() == [
        "metric     difference  ± stderr       95 % interval      p",
        "Recall@20     +0.0100  ± 0.0040  [+0.0020, +0.0180]  0.012",
        "NDCG@100      -0.5000  ± 0.2500  [-1.0000, +0.0000]  1e-09",
    ]
