from __future__ import annotations

import math
import pickle
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from html_tables import read_html
from recoder.data import IdMap
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError, ShapeError, UnknownIdError
from recoder.metrics import NDCG, Coverage, EvaluationResult, Gini, Metric, Recall, compare


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


def with_catalogue(**changes) -> EvaluationResult:
    parts = {"catalogue": {Coverage(2): 0.75, Gini(2): 0.5}, "user_ids": IdMap(["ann", "bob", "cyd"]), **changes}
    return EvaluationResult({Recall(2): [0.0, math.nan, 1.0]}, [0, 1, 2], **parts)


def test_users_who_do_not_count_are_in_no_mean():
    found = with_catalogue()
    assert found.mean["Recall@2"] == 0.5
    assert found.stderr["Recall@2"] == 0.5
    nobody = EvaluationResult({Recall(2): [math.nan, math.nan]}, [0, 1])
    assert math.isnan(nobody.mean["Recall@2"])
    assert math.isnan(nobody.stderr["Recall@2"])


def test_number_of_all_lists_stands_in_the_mean_and_has_no_standard_error():
    found = with_catalogue()
    assert found.mean[Coverage(2)] == found.mean["Coverage@2"] == 0.75
    assert math.isnan(found.stderr[Coverage(2)])
    assert list(found) == [Recall(2)]
    assert list(found.mean) == list(found.stderr) == [Recall(2), Coverage(2), Gini(2)]


@pytest.mark.parametrize("key", [Coverage(2), "Coverage@2"])
def test_number_of_all_lists_has_no_values_of_users(key):
    found = with_catalogue()
    assert key not in found
    with pytest.raises(UnknownIdError, match=r"Coverage@2 is a number of all lists together.*result\.mean"):
        found[key]
    with pytest.raises(UnknownIdError, match="there is no metric Coverage@2 here"):
        result()[key]


def test_raw_ids_lead_to_the_values_and_back():
    found = with_catalogue()
    assert found["Recall@2"][found.user_ids.indices(["cyd", "ann"])].tolist() == [1.0, 0.0]
    assert found.user_ids.raw_ids(found.users[1:]) == ["bob", "cyd"]
    with pytest.raises(ShapeError, match="2 user_ids for 3 users"):
        with_catalogue(user_ids=IdMap(["ann", "bob"]))


def test_printed_result_counts_the_users_of_each_metric():
    assert str(with_catalogue()).splitlines() == [
        "metric        mean  ± stderr  users",
        "Recall@2    0.5000  ± 0.5000      2",
        "Coverage@2  0.7500                3",
        "Gini@2      0.5000                3",
    ]
    assert repr(with_catalogue()) == "EvaluationResult(3 users, Recall@2, Coverage@2, Gini@2)"


def test_results_differ_by_their_catalogue_and_raw_ids():
    assert with_catalogue() == with_catalogue() == pickle.loads(pickle.dumps(with_catalogue()))
    assert with_catalogue() != with_catalogue(catalogue={Coverage(2): 0.75, Gini(2): 0.25})
    assert with_catalogue() != with_catalogue(catalogue={})
    assert with_catalogue() != with_catalogue(user_ids=None)


def test_compare_is_the_method_as_a_function():
    other = EvaluationResult({NDCG(3): [0.25, 0.0, 0.75], Recall(2): [1, 1, 1]}, [0, 2, 5])
    assert dict(compare(result(), other)) == dict(result().compare(other))
    assert list(compare(result(), other)) == [Recall(2), NDCG(3)]
    with pytest.raises(DataTypeError, match="not dict"):
        compare(result(), {})


def test_of_a_number_of_all_lists_there_is_only_the_difference():
    paired = compare(with_catalogue(), with_catalogue(catalogue={Coverage(2): 0.5}))
    assert list(paired) == [Recall(2), Coverage(2)]
    assert paired[Coverage(2)].difference == 0.25
    assert all(math.isnan(value) for name, value in vars(paired[Coverage(2)]).items() if name != "difference")


def test_results_under_other_raw_ids_are_not_compared():
    with pytest.raises(DataError, match="2 users are in only one of them"):
        compare(with_catalogue(), with_catalogue(user_ids=IdMap(["ann", "bob", "dan"])))
    with pytest.raises(DataError, match="another order"):
        compare(with_catalogue(), with_catalogue(user_ids=IdMap(["bob", "ann", "cyd"])))
    with pytest.raises(DataError, match="give both ids"):
        compare(with_catalogue(), with_catalogue(user_ids=None))


class Named(Metric):
    def evaluate(self, x, y):
        return 0.0


def test_in_a_notebook_a_result_is_the_same_table_and_markup_in_a_name_stays_text():
    assert read_html(with_catalogue()._repr_html_()).rows == [
        ["metric", "mean", "± stderr", "users"],
        ["Recall@2", "0.5000", "± 0.5000", "2"],
        ["Coverage@2", "0.7500", "", "3"],
        ["Gini@2", "0.5000", "", "3"],
    ]
    named = EvaluationResult({Named("<b>own</b>"): [0.0, 1.0]}, [0, 1])
    assert read_html(named._repr_html_()).rows[1][0] == "<b>own</b>"


def test_values_of_users_become_a_data_frame():
    result = EvaluationResult({NDCG(5): [0.5, 1.0], Recall(3): [0.0, np.nan]}, users=[4, 2])
    assert result.to_frame("pyarrow").to_pydict().keys() == {"user_id", "NDCG@5", "Recall@3"}
    frame = result.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame["user_id"].tolist() == [4, 2]
    np.testing.assert_array_equal(frame[["NDCG@5", "Recall@3"]], [[0.5, 0.0], [1.0, np.nan]])
    named = result.with_user_ids(IdMap(["ann", "bob"])).to_frame("polars")
    assert named["user_id"].to_list() == ["ann", "bob"]
    with pytest.raises(ConfigError, match="no data frames of 'excel'"):
        result.to_frame("excel")
