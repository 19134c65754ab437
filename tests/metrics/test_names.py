from __future__ import annotations

import pytest

from recoder.errors import ConfigError, DataTypeError
from recoder.metrics import (
    MRR,
    NDCG,
    AveragePrecision,
    Coverage,
    Gini,
    HitRate,
    Precision,
    Recall,
    RPrecision,
)
from recoder.metrics.judging import distinct_metrics
from recoder.metrics.names import named_metric


@pytest.mark.parametrize(
    "metric",
    [
        *(make(7) for make in (Recall, NDCG, Precision, HitRate, MRR, AveragePrecision, RPrecision, Coverage, Gini)),
        NDCG(100),
    ],
    ids=str,
)
def test_a_metric_is_known_by_its_name(metric):
    assert named_metric(str(metric)) == metric


@pytest.mark.parametrize("name", ["NDCG", "NDCG@", "NDCG@0", "NDCG@x", "NDCG@-1", "ndcg@5", "Novelty@5", ""])
def test_what_is_no_name_is_refused_with_one_that_is(name):
    with pytest.raises(ConfigError, match="NDCG@100"):
        named_metric(name)


def test_names_and_metrics_stand_in_one_list():
    assert distinct_metrics(["NDCG@5", Recall(3), NDCG(5), "Recall@3"]) == [NDCG(5), Recall(3)]
    with pytest.raises(DataTypeError, match=r"metrics is 'NDCG@5'; pass a list"):
        distinct_metrics("NDCG@5")
    with pytest.raises(DataTypeError, match="names such as 'NDCG@100', not 5"):
        distinct_metrics([5])
