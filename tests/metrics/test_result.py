from __future__ import annotations

import math
import pickle
from collections.abc import Mapping

import numpy as np
import pytest

from recoder.errors import ConfigError, DataError, EmptyDataError, ShapeError
from recoder.metrics import NDCG, EvaluationResult, Recall


def result(users=(0, 2, 5), **changes) -> EvaluationResult:
    values = {Recall(2): [0.0, 0.5, 1.0], NDCG(3): [0.25, 0.25, 1.0]}
    return EvaluationResult({**values, **changes.get("values", {})}, list(users))


def test_result_maps_metrics_to_one_value_for_each_user():
    found = result()
    assert isinstance(found, Mapping)
    assert list(found) == [Recall(2), NDCG(3)]
    assert found["NDCG@3"] is found[NDCG(3)]
    assert found[NDCG(3)].dtype == np.float64
    assert found.users.dtype == np.int64
    assert found.users.tolist() == [0, 2, 5]


def test_mean_and_standard_error_are_over_the_users():
    found = result()
    assert found.mean["Recall@2"] == found.mean[Recall(2)] == 0.5
    assert found.stderr["Recall@2"] == found.stderr[Recall(2)] == pytest.approx(0.5 / math.sqrt(3))


def test_standard_error_of_one_user_is_nan():
    found = EvaluationResult({Recall(2): [0.5]}, [3])
    assert found.mean["Recall@2"] == 0.5
    assert math.isnan(found.stderr["Recall@2"])


def test_comparison_is_of_the_metrics_that_both_have():
    other = EvaluationResult({NDCG(3): [0.25, 0.0, 0.75], Recall(9): [1, 1, 1]}, [0, 2, 5])
    comparison = result().compare(other)
    assert list(comparison) == [NDCG(3)]
    assert comparison["NDCG@3"].difference == pytest.approx(0.5 / 3)
    assert other.compare(result())["NDCG@3"].difference == pytest.approx(-0.5 / 3)


def test_comparison_with_itself_is_even():
    for paired in result().compare(result()).values():
        assert (paired.difference, paired.p_value) == (0.0, 1.0)


def test_comparison_of_other_users_is_an_error_that_counts_them():
    with pytest.raises(DataError, match="2 users are in only one of them"):
        result().compare(result(users=(0, 2, 6)))
    with pytest.raises(DataError, match="another order"):
        result().compare(result(users=(0, 5, 2)))


def test_comparison_without_a_common_metric_is_an_error():
    with pytest.raises(ConfigError, match="share no metric"):
        result().compare(EvaluationResult({NDCG(9): [1, 1, 1]}, [0, 2, 5]))


def test_results_are_equal_by_content():
    assert result() == result()
    assert result() == pickle.loads(pickle.dumps(result()))
    assert result() != result(users=(0, 2, 6))
    assert result() != result(values={NDCG(3): [0.25, 0.25, 0.75]})
    assert result() != EvaluationResult({Recall(2): [0.0, 0.5, 1.0]}, [0, 2, 5])
    assert result() != "result"
    unknown = {NDCG(3): [math.nan, 0, 0]}
    assert result(values=unknown) == result(values=unknown)


def test_printed_result_is_a_table():
    assert str(result()).splitlines() == [
        "metric      mean  ± stderr  users",
        "Recall@2  0.5000  ± 0.2887      3",
        "NDCG@3    0.5000  ± 0.2500      3",
    ]
    assert repr(result()) == "EvaluationResult(3 users, Recall@2, NDCG@3)"


def test_values_must_fit_the_users():
    with pytest.raises(ShapeError, match=r"Recall@2.*\(2,\)"):
        EvaluationResult({Recall(2): [1.0, 0.0]}, [0, 1, 2])
    with pytest.raises(EmptyDataError):
        EvaluationResult({Recall(2): []}, [])
