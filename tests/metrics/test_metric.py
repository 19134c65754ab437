from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from recoder.errors import ConfigError
from recoder.metrics import NDCG, AveragePrecision, Metric, Recall, average_precision, dcg, ndcg, recall


class Tagged(Metric):
    def __init__(self, metric_name: str, tag: str) -> None:
        super().__init__(metric_name)
        self.tag = tag


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (Recall(20), "Recall@20"),
        (Recall(20, normalize=False), "Recall@20(normalize=False)"),
        (NDCG(k=100), "NDCG@100"),
        (AveragePrecision(10), "AP@10"),
        (AveragePrecision(10, normalize=False), "AP@10(normalize=False)"),
        (Metric("mine"), "mine"),
    ],
)
def test_metric_is_named_by_its_parameters(metric, name):
    assert metric.metric_name == name
    assert str(metric) == repr(metric) == name


def test_equal_class_and_parameters_are_one_key():
    keys = {Recall(5), Recall(5, True), Recall(np.int64(5)), NDCG(5), NDCG(5)}
    assert len(keys) == 2
    assert {Recall(5): 1}[Recall(k=5)] == 1
    assert pickle.loads(pickle.dumps(NDCG(5))) == NDCG(5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Recall(5), Recall(6)),
        (Recall(5), Recall(5, normalize=False)),
        (Recall(5), NDCG(5)),
        (Recall(5), "Recall@5"),
        (Metric("mine"), Metric("yours")),
        (Metric("mine"), Tagged("mine", "a")),
        (Tagged("mine", "a"), Tagged("mine", "b")),
    ],
)
def test_different_class_name_or_parameters_differ(one, other):
    assert one != other


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


def test_empty_target_is_nan_but_its_dcg_is_zero():
    for metric in (Recall(3), NDCG(3), AveragePrecision(3)):
        assert math.isnan(metric.evaluate([1, 2], []))
    assert dcg([1, 2], [], 3) == 0.0


def test_repeated_recommendation_counts_once():
    assert recall([7, 7], [7, 8], 2) == 1 / 2
    assert ndcg([7, 7], [7], 2) == 1.0
    assert average_precision([7, 7, 8], [7, 8], 3) == (1 + 2 / 3) / 2


def test_values_are_python_floats():
    assert type(Recall(2).evaluate([1], [1])) is float
    assert type(dcg([1], [1], 1)) is float


@pytest.mark.parametrize("make", [Recall, NDCG, AveragePrecision, lambda k: dcg([1], [1], k)])
def test_cutoff_below_one_is_an_error(make):
    with pytest.raises(ConfigError, match="k is 0"):
        make(0)


def test_metric_without_evaluate_says_so():
    with pytest.raises(NotImplementedError, match=r"Metric does not implement evaluate\(x, y\)"):
        Metric("mine").evaluate([1], [1])
