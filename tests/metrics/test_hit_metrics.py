from __future__ import annotations

import math

import pytest

from recoder.errors import ConfigError
from recoder.metrics import (
    MRR,
    NDCG,
    AveragePrecision,
    HitRate,
    Precision,
    Recall,
    RPrecision,
    average_precision,
    dcg,
    ndcg,
    recall,
)

KINDS = [Recall, NDCG, AveragePrecision, Precision, HitRate, MRR, RPrecision]


def test_module_functions_equal_the_classes_and_a_hand_count():
    x, y = [3, 1, 4, 5], [4, 3, 9]
    assert recall(x, y, 2) == Recall(2).evaluate(x, y) == 1 / 2
    assert recall(x, y, 2, normalize=False) == Recall(2, False).evaluate(x, y) == 1 / 3
    assert recall(x, y, 4, False) == 2 / 3
    assert average_precision(x, y, 4) == AveragePrecision(4).evaluate(x, y) == pytest.approx((1 + 2 / 3) / 3)
    assert average_precision(x, y, 2, normalize=False) == AveragePrecision(2, False).evaluate(x, y) == 1 / 3
    assert dcg(x, y, 4) == 1 + 1 / math.log2(4)
    assert ndcg(x, y, 4) == NDCG(4).evaluate(x, y)
    assert ndcg(x, y, 4) == pytest.approx(1.5 / (1 + 1 / math.log2(3) + 1 / 2))


def test_short_lists_are_judged_as_they_are():
    assert recall([3], [3, 1], 10) == 1 / 2
    assert average_precision([3], [3, 1], 10) == 1 / 2
    assert ndcg([], [3, 1], 10) == 0.0
    assert Precision(10).evaluate([3], [3, 1]) == 1 / 10
    assert RPrecision(10).evaluate([3], [3, 1]) == 1 / 2
    assert HitRate(10).evaluate([3], [3, 1]) == MRR(10).evaluate([3], [3, 1]) == 1.0
    assert all(kind(10).evaluate([], [3, 1]) == 0.0 for kind in KINDS)


def test_empty_target_is_nan_but_its_dcg_is_zero():
    for kind in KINDS:
        assert math.isnan(kind(3).evaluate([1, 2], []))
    assert dcg([1, 2], [], 3) == 0.0


def test_repeated_recommendation_counts_once():
    assert recall([7, 7], [7, 8], 2) == 1 / 2
    assert ndcg([7, 7], [7], 2) == 1.0
    assert average_precision([7, 7, 8], [7, 8], 3) == (1 + 2 / 3) / 2
    assert Precision(2).evaluate([7, 7], [7, 8]) == RPrecision(2).evaluate([7, 7, 8], [7, 8]) == 1 / 2


def test_values_are_python_floats():
    assert type(Recall(2).evaluate([1], [1])) is float
    assert type(dcg([1], [1], 1)) is float


@pytest.mark.parametrize("make", [*KINDS, lambda k: dcg([1], [1], k)])
def test_cutoff_below_one_is_an_error(make):
    with pytest.raises(ConfigError, match="k is 0"):
        make(0)


def test_precision_hit_rate_reciprocal_rank_and_r_precision_equal_a_hand_count():
    x, y = [8, 1, 4, 3, 5], [4, 3, 9]
    assert [Precision(k).evaluate(x, y) for k in (2, 3, 4, 8)] == [0, 1 / 3, 2 / 4, 2 / 8]
    assert [HitRate(k).evaluate(x, y) for k in (2, 3)] == [0, 1]
    assert [MRR(k).evaluate(x, y) for k in (2, 3, 5)] == [0, 1 / 3, 1 / 3]
    # the user's cut-off is 3, or k if that is less
    assert [RPrecision(k).evaluate(x, y) for k in (2, 3, 5)] == [0, 1 / 3, 1 / 3]
