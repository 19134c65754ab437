from __future__ import annotations

import logging

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recoder.data import HeldOut, IdMap, Interactions, RecommendationDataset
from recoder.errors import ConfigError, DataError, DataTypeError, EmptyDataError, ShapeError, UnknownIdError
from recoder.metrics import (
    MRR,
    NDCG,
    AveragePopularity,
    AveragePrecision,
    Coverage,
    EvaluationResult,
    Gini,
    HitRate,
    IntraListDiversity,
    Metric,
    Novelty,
    Precision,
    Recall,
    RecommenderEvaluator,
    RPrecision,
    compare,
    evaluate_frame,
)
from recoder.metrics import frames as module
from recoder.recommender.base import Recommender

# ann finds 1 of 2, bob 1 of 1 at the second rank, cyd gets nothing; dan is not asked for
LISTS = {"user_id": ["ann", "bob", "ann", "dan", "bob"], "item_id": [7, 5, 9, 7, 8]}
TEST = {"user_id": ["bob", "ann", "ann", "cyd", "ann"], "item_id": [8, 7, 4, 7, 7]}
CATALOGUE = IdMap([9, 8, 7, 5, 4, 1])
HITS = [Recall(2), NDCG(2), AveragePrecision(2), Precision(2), HitRate(1), MRR(2), RPrecision(2)]


class Length(Metric):
    def evaluate(self, x, y) -> float:
        assert all(type(item) is int for item in (*x, *y))
        return 10.0 * len(x) + len(y)


def of(lists=LISTS, test=TEST, metrics=HITS, **options):
    test = pl.DataFrame(test) if isinstance(test, dict) else test
    return evaluate_frame(pl.DataFrame(lists), test, metrics, **options)


def by_user(result, name) -> dict:
    return dict(zip(result.user_ids.ids.to_pylist(), result[name].tolist(), strict=True))


def test_values_belong_to_the_users_in_test_in_order_of_first_appearance():
    result = of()
    assert result.user_ids.ids.to_pylist() == ["bob", "ann", "cyd"]
    assert result.users.tolist() == [0, 1, 2]
    assert by_user(result, "Recall@2") == {"bob": 1, "ann": 1 / 2, "cyd": 0}
    assert by_user(result, "MRR@2") == {"bob": 1 / 2, "ann": 1, "cyd": 0}
    assert by_user(result, "HitRate@1") == {"bob": 0, "ann": 1, "cyd": 0}


def test_users_on_one_side_only_are_counted_in_the_log(caplog):
    with caplog.at_level(logging.INFO, "recoder.metrics"):
        of()
    assert caplog.messages == [
        "1 of 3 users with recommendations are not in test; left out",
        "1 of 3 users in test have no recommendations",
    ]


@pytest.mark.parametrize(
    "make", [pl.DataFrame, pl.LazyFrame, pd.DataFrame, pa.table, lambda columns: duckdb.from_arrow(pa.table(columns))]
)
def test_any_kind_of_data_frame_is_read(make):
    assert evaluate_frame(make(LISTS), make(TEST), HITS) == of()


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("rank", [2, 2, 1, 1, 1]),
        ("rank", [0.5, 7.0, -1.0, 0.0, 3.0]),
        ("score", [1, 1, 2, 9, 2]),
        ("score", [-9.0, -np.inf, -1.5, 0.0, -3.0]),
        ("score", np.array([0, 0, 2**64 - 1, 1, 3], dtype=np.uint64)),
        ("score", [-(2**63), 1, 2**63 - 1, 1, 2]),
    ],
)
def test_lists_are_ordered_by_the_column_that_says_so(column, values):
    result = of({**LISTS, "by": values}, **{column: "by"})
    # both lists are turned round
    assert by_user(result, "MRR@2") == {"bob": 1, "ann": 1 / 2, "cyd": 0}


@pytest.mark.parametrize("column", ["rank", "score"])
@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float64])
@pytest.mark.parametrize("num_chunks", [1, 3])
def test_equal_ranks_and_scores_keep_the_order_of_the_rows(column, dtype, num_chunks):
    generator = np.random.default_rng(0)
    users, keys = generator.integers(0, 40, 30_000), generator.integers(-3, 4, 30_000).astype(dtype)
    items = np.arange(30_000)
    sorted_rows = np.lexsort((items, keys if column == "rank" else -keys, users))
    frame = pa.table({"user_id": users, "item_id": items, "by": keys})
    chunked = pa.concat_tables([frame.slice(at * 10_000, 30_000 // num_chunks) for at in range(num_chunks)])
    seen = {}

    class Spy(Metric):
        def evaluate(self, x, y) -> float:
            seen[y[0]] = x
            return 0.0

    test = pa.table({"user_id": np.arange(40), "item_id": np.array([items[users == user][0] for user in range(40)])})
    catalogue = IdMap(items)
    evaluate_frame(chunked, test, [Spy("spy")], item_ids=catalogue, **{column: "by"})
    expected = [items[sorted_rows][users[sorted_rows] == user].tolist() for user in range(40)]
    assert [seen[item] for item in test["item_id"].to_pylist()] == expected


def test_repeated_recommendation_counts_once_where_it_first_stands(caplog):
    lists = {"user_id": ["bob"] * 4, "item_id": [3, 3, 8, 8]}
    with caplog.at_level(logging.WARNING, "recoder.metrics"):
        result = of(lists, metrics=[MRR(4), Precision(4), Length("length")])
    assert caplog.messages == ["2 recommendations repeat an item further up in the same list; they count as no hits"]
    assert by_user(result, "MRR@4")["bob"] == 1 / 3
    assert by_user(result, "Precision@4")["bob"] == 1 / 4


def test_lists_that_are_all_too_short_are_said_in_a_warning(caplog):
    with caplog.at_level(logging.WARNING, "recoder.metrics"):
        result = of(metrics=[Recall(2), NDCG(3), Precision(50)])
    assert caplog.messages == ["the longest list holds 2 items; NDCG@3, Precision@50 would look at more"]
    assert by_user(result, "Precision@50")["ann"] == 1 / 50


def test_custom_metrics_get_the_whole_lists():
    assert by_user(of(metrics=[Recall(1), Length("length")]), "length") == {"bob": 21, "ann": 22, "cyd": 1}


@pytest.mark.parametrize("users_at_once", [1, 2, 100])
def test_metrics_of_lists_and_of_the_catalogue_go_by_item_ids(users_at_once, monkeypatch):
    monkeypatch.setattr(module, "_USERS_AT_ONCE", users_at_once)
    popularity = [9, 8, 7, 5, 4, 1]  # as the ids are called
    metrics = [*HITS, Coverage(2), Gini(2), AveragePopularity(2, popularity), Novelty(1, popularity)]
    result = of(metrics=metrics, item_ids=CATALOGUE)
    np.testing.assert_array_equal(result["ARP@2"], [6.5, 8, np.nan])
    assert result.mean["ARP@2"] == 7.25
    assert result.mean["Coverage@2"] == 4 / 6
    assert result.mean["Gini@2"] == Gini(2).from_counts(np.array([1, 1, 1, 1, 0, 0]))
    for metric in HITS:
        np.testing.assert_array_equal(result[metric], of()[metric])


class Fixed(Recommender):
    def __init__(self, table: list[list[int]]) -> None:
        self.table = table

    def recommend(self, users_hist) -> list[list[int]]:
        return [self.table[user] for user in users_hist.users]


@given(st.integers(0, 2**32 - 1), st.sampled_from(["rows", "rank", "score"]), st.booleans())
def test_result_equals_the_evaluators_on_the_same_lists(seed, order, as_text):
    generator = np.random.default_rng(seed)
    num_users, num_items = 12, 9
    relevant = generator.random((num_users, num_items)) < 0.3
    relevant[0, 0] = True
    target = sparse.csr_matrix(relevant)
    table = [generator.integers(0, num_items, generator.integers(0, 7)).tolist() for _ in range(num_users)]
    table[0] = [0, 3]
    metrics = [*(kind(3) for kind in (Recall, NDCG, AveragePrecision, Precision, HitRate, MRR, RPrecision))]
    popularity, vectors = generator.integers(1, 9, num_items), generator.normal(size=(num_items, 2))
    metrics += [Coverage(4), Gini(4), Novelty(4, popularity), IntraListDiversity(5, vectors), Length("length")]
    expected = RecommenderEvaluator(Fixed(table), metrics).evaluate(
        RecommendationDataset(sparse.csr_matrix((num_users, num_items)), target), batch_size=5
    )

    name = (lambda ids: np.array([f"i{i}" for i in ids])) if as_text else (lambda ids: np.array(ids) * 7 - 20)
    rows = [(user, item, rank) for user, items in enumerate(table) for rank, item in enumerate(items)]
    if order != "rows":
        generator.shuffle(rows)
    users, items, ranks = np.array(rows).T
    frame = pa.table(
        {"who": name(users), "what": name(items), "at": -ranks if order == "score" else ranks, "other": users}
    )
    options = {"user": "who", "item": "what", "item_ids": IdMap(name(range(num_items)))}
    options |= {} if order == "rows" else {order: "at"}

    truth = Interactions(target, IdMap(name(range(num_users))), options["item_ids"])
    found = evaluate_frame(frame, truth, metrics, **options)
    assert found.users.tolist() == expected.users.tolist()
    assert found.user_ids.ids.to_pylist() == name(found.users).tolist()
    pairs = target.tocoo()
    of_frame = evaluate_frame(frame, pa.table({"who": name(pairs.row), "what": name(pairs.col)}), metrics, **options)
    for result in (found, of_frame):
        assert list(result.mean) == list(expected.mean)
        for metric in expected:
            np.testing.assert_array_equal(result[metric], expected[metric])
        np.testing.assert_array_equal(list(result.mean.values()), list(expected.mean.values()))
    named = EvaluationResult(dict(expected), expected.users, user_ids=found.user_ids)
    assert compare(found, named)["NDCG@3"].difference == 0


def test_results_on_the_same_test_are_compared_and_others_refused():
    other = of({**LISTS, "item_id": [1, 1, 2, 2, 3]})
    assert compare(of(), other)["Recall@2"].difference == 0.5
    with pytest.raises(DataError, match="2 users are in only one of them"):
        compare(of(), of(test={"user_id": ["bob", "ann", "eve"], "item_id": [8, 7, 7]}))


@pytest.mark.parametrize("metric", [Coverage(2), Novelty(2, [1, 2])])
def test_metric_that_needs_a_catalogue_says_so(metric):
    with pytest.raises(ConfigError, match=f"{metric} is about a catalogue.*pass item_ids"):
        of(metrics=[metric])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rank": "a", "score": "b"}, ConfigError, "rank is 'a' and score is 'b'"),
        ({"rank": "place"}, ConfigError, "no column 'place'"),
        ({"rank": "user_id"}, DataTypeError, "column 'user_id' holds .*string.*; lists are ordered by numbers"),
        ({"lists": {**LISTS, "by": [1.0, np.nan, 1, 1, 1]}, "score": "by"}, DataError, "1 missing values"),
        ({"user": "who"}, ConfigError, "no column 'who'"),
        ({"metrics": []}, ConfigError, "metrics is empty"),
        ({"metrics": NDCG(2)}, DataTypeError, "pass a list of metrics"),
        ({"lists": {"user_id": [], "item_id": []}}, EmptyDataError, "no rows"),
        ({"test": {**TEST, "user_id": [1, 2, 3, 4, 5]}}, DataTypeError, "user ids are large_string, but int64 in test"),
        ({"test": {**TEST, "item_id": list("abcde")}}, DataTypeError, "item ids are int64, but large_string in test"),
        ({"test": {**TEST, "user_id": ["x"] * 5}}, DataError, r"none of the 3 users .* 1 in test \(such as 'ann' and"),
        ({"item_ids": IdMap([7, 4, 8])}, UnknownIdError, r"2 items that are recommended \(such as 5\)"),
        ({"item_ids": IdMap([7, 5, 9, 8])}, UnknownIdError, r"1 items that are in test \(such as 4\)"),
        ({"item_ids": [7, 4, 8, 5, 9]}, DataTypeError, "item_ids is a list; pass the item_ids of Interactions"),
        ({"item_ids": IdMap(["7"])}, DataTypeError, "item ids are int64, but large_string in item_ids"),
        ({"item_ids": CATALOGUE, "metrics": [Novelty(2, [1, 2])]}, ShapeError, "made for 2 items, but 6 can be"),
    ],
)
def test_input_that_cannot_be_judged_is_an_error(changes, error, message):
    with pytest.raises(error, match=message):
        of(**changes)


def test_interactions_without_any_are_an_error():
    nothing = Interactions(sparse.csr_matrix((2, 1)), IdMap(["ann", "bob"]), IdMap([7]))
    with pytest.raises(EmptyDataError, match="test holds no interactions"):
        of(test=nothing)


def test_the_targets_of_held_out_users_are_what_is_relevant():
    given = sparse.csr_matrix(np.array([[1, 0, 0], [0, 1, 0]], np.float32))
    wanted = sparse.csr_matrix(np.array([[0, 1, 1], [1, 0, 0]], np.float32))
    held_out = HeldOut(RecommendationDataset(given, wanted), IdMap(["ann", "bob"]), IdMap([9, 7, 4]))
    lists = pl.DataFrame({"user_id": ["ann", "bob", "bob"], "item_id": [7, 7, 9]})
    result = evaluate_frame(lists, held_out, ["Recall@2"])
    assert by_user(result, "Recall@2") == {"ann": 0.5, "bob": 1.0}
    with pytest.raises(ConfigError, match="these users have no targets"):
        evaluate_frame(lists, HeldOut(RecommendationDataset(given), held_out.user_ids, held_out.item_ids), ["Recall@2"])


def test_user_of_interactions_without_a_target_is_left_out(caplog):
    matrix = sparse.csr_matrix([[0, 0], [0, 1], [1, 1]])
    test = Interactions(matrix, IdMap(["bob", "cyd", "ann"]), IdMap([4, 7]))
    with caplog.at_level(logging.INFO, "recoder.metrics"):
        result = of(test=test)
    assert result.users.tolist() == [1, 2]
    assert by_user(result, "Recall@2") == {"cyd": 0, "ann": 1 / 2}
    assert caplog.messages[0] == "2 of 3 users with recommendations are not in test; left out"


def test_scores_may_be_float16():
    lists = pa.table({"user_id": [1, 1, 1], "item_id": [1, 2, 3], "score": pa.array(np.float16([0.1, 0.9, 0.5]))})
    test = pa.table({"user_id": [1], "item_id": [2]})
    assert evaluate_frame(lists, test, [HitRate(1)], score="score").mean[HitRate(1)] == 1


def test_strange_items_of_users_who_are_left_out_do_not_matter():
    lists = {"user_id": [1, 77], "item_id": [1, 555]}
    test = {"user_id": [1], "item_id": [1]}
    assert of(lists, test, [HitRate(1)], item_ids=IdMap([1, 2])).mean[HitRate(1)] == 1


def test_results_are_not_compared_where_only_one_has_raw_ids():
    with_ids = of(metrics=[HitRate(1)])
    without = EvaluationResult(dict(with_ids), with_ids.users)
    with pytest.raises(DataError, match="cannot be matched; give both ids"):
        compare(with_ids, without)
    again = EvaluationResult(dict(without), without.users, user_ids=with_ids.user_ids)
    assert compare(with_ids, again)[HitRate(1)].stderr == 0
