from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from recoder.errors import ConfigError, DataTypeError
from recoder.metrics import (
    MRR,
    NDCG,
    AveragePopularity,
    AveragePrecision,
    CatalogueMetric,
    Coverage,
    CutoffMetric,
    Gini,
    HitRate,
    IntraListDiversity,
    ListMetric,
    Metric,
    Novelty,
    Precision,
    Recall,
    RPrecision,
)


class Tagged(Metric):
    def __init__(self, metric_name: str, tag: str) -> None:
        super().__init__(metric_name)
        self.tag = tag


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (Precision(5), "Precision@5"),
        (HitRate(5), "HitRate@5"),
        (MRR(5), "MRR@5"),
        (RPrecision(5), "RPrecision@5"),
        (Coverage(5), "Coverage@5"),
        (Gini(5), "Gini@5"),
        (Novelty(5, [1, 2]), "Novelty@5"),
        (AveragePopularity(5, [1, 2]), "ARP@5"),
        (IntraListDiversity(5, [[1.0]]), "ILD@5"),
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
    for metric in (NDCG(5), IntraListDiversity(5, np.eye(3))):
        assert pickle.loads(pickle.dumps(metric)) == metric
    assert {AveragePopularity(5, [1, 2]): 1}[AveragePopularity(5, np.array([1.0, 2.0]))] == 1


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
        (Novelty(5, [1, 2]), Novelty(5, [1, 3])),
        (Novelty(5, [1, 2]), Novelty(5, [1, 2, 0])),
        (Tagged("mine", np.array(["a"])), Tagged("mine", "b")),
        (HitRate(5), MRR(5)),
    ],
)
def test_different_class_name_or_parameters_differ(one, other):
    assert one != other


class Highest(ListMetric):
    """The highest item of the list, which is handed over as it is."""

    def from_lists(self, ranked_BC):
        assert ranked_BC.dtype == np.int64
        return ranked_BC.max(axis=1, initial=-1).astype(float) + 0.01 * (ranked_BC == -1).sum(axis=1)


def test_list_metric_judges_the_first_k_whatever_is_relevant():
    metric = Highest("highest", 3)
    assert metric.evaluate([4, 2, 7, 9], []) == metric.evaluate([4, 2, 7, 9], [9]) == 7
    assert metric.evaluate([4], []) == 4
    assert metric.evaluate([], []) == -1
    for kind in (np.array, torch.tensor, tuple):
        assert metric.evaluate(kind([4, 2, 7, 9]), []) == 7


def test_list_metric_sees_a_repeat_as_a_rank_without_an_item():
    assert Highest("highest", 3).evaluate([4, 4, 2, 9], []) == 4.01


def test_list_metric_needs_whole_numbers():
    with pytest.raises(DataTypeError, match="catalogue indices"):
        Highest("highest", 3).evaluate(["a", "b"], [])


def test_catalogue_metric_has_no_value_for_one_user():
    with pytest.raises(ConfigError, match=r"Coverage@5 is a number of all users' lists together"):
        Coverage(5).evaluate([1], [1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Metric("mine").evaluate([1], [1]), r"Metric does not implement evaluate\(x, y\)"),
        (lambda: CutoffMetric("mine", 1).evaluate([1], [1]), "CutoffMetric does not implement from_hits"),
        (lambda: ListMetric("mine", 1).evaluate([1], [1]), "ListMetric does not implement from_lists"),
        (lambda: CatalogueMetric("mine", 1).from_counts(np.ones(1)), "CatalogueMetric does not implement from_counts"),
    ],
)
def test_metric_without_its_method_says_so(call, message):
    with pytest.raises(NotImplementedError, match=message):
        call()


@pytest.mark.parametrize("kind", [CutoffMetric, ListMetric, CatalogueMetric])
def test_cutoff_of_a_metric_is_a_whole_number_of_at_least_one(kind):
    with pytest.raises(ConfigError, match="k is 0"):
        kind("mine", 0)
    with pytest.raises(DataTypeError, match=r"k is 2\.5"):
        kind("mine", 2.5)
