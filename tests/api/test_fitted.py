from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from scipy import sparse

import recoder
from recoder.api import explaining
from recoder.data import HeldOut, IdMap, Interactions, RecommendationDataset, UsersInteractions
from recoder.errors import (
    ConfigError,
    DataError,
    DataTypeError,
    DivergedError,
    EmptyDataError,
    NotInitializedError,
    ShapeError,
    UnknownIdError,
)
from recoder.metrics import NDCG, Metric, Recall
from recoder.model import Recoder
from recoder.nn import EASE, DynamicAutoencoder, FactorizationModel, MatrixFactorization
from recoder.recipes import recipe
from recoder.recommender.scoring import ModelScorer
from recoder.training import EarlyStopping

PERSONAL = ["autoencoder", "als", "ease"]


def number(raw_id: str) -> int:
    return int(raw_id[1:])


@pytest.mark.parametrize("name", PERSONAL)
def test_users_get_the_items_of_their_own_kind_that_they_lack(fitted, frame, name):
    answer = fitted[name].recommend(users=["u3", "u10"], k=3)
    assert list(answer.columns) == ["user_id", "item_id", "score", "rank"]
    assert answer["user_id"].tolist() == ["u3"] * 3 + ["u10"] * 3
    assert answer["rank"].tolist() == [1, 2, 3] * 2
    for user, of_user in answer.groupby("user_id"):
        seen = set(frame.loc[frame["who"] == user, "what"])
        assert not seen & set(of_user["item_id"])
        assert {number(item) % 2 for item in of_user["item_id"]} == {number(user) % 2}
        assert of_user["score"].is_monotonic_decreasing


@pytest.mark.parametrize("name", [*PERSONAL, "popularity"])
def test_answers_are_those_of_the_recoder(fitted, films, name):
    model = fitted[name]
    rows = films.user_ids.indices(["u7", "u8"])
    lists = model.recoder.recommend(UsersInteractions(rows, films.matrix[rows]), 4)
    answer = model.recommend(users=["u7", "u8"], k=4)
    expected = [films.item_ids.raw_ids(items) for items in lists]
    assert [group["item_id"].tolist() for _, group in answer.groupby("user_id", sort=False)] == expected
    scores = model.recoder.predict(UsersInteractions(rows, films.matrix[rows])).numpy()
    at = scores[np.repeat([0, 1], 4), np.concatenate(lists)]
    np.testing.assert_allclose(answer["score"], at, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PERSONAL)
def test_a_history_is_answered_as_the_user_who_has_it(fitted, frame, name):
    model = fitted[name]
    history = frame.loc[frame["who"] == "u5", "what"]
    by_user = model.recommend(users=["u5"], k=5)
    by_history = model.recommend(histories=[history], k=5)
    by_name = model.recommend(histories={"new": history.tolist()}, k=5)
    weighted = model.recommend(histories=[dict.fromkeys(history, 1.0)], k=5)
    for other in (by_history, by_name, weighted):
        assert other["item_id"].tolist() == by_user["item_id"].tolist()
        np.testing.assert_allclose(other["score"], by_user["score"], rtol=1e-5)
    assert by_history["user_id"].tolist() == [0] * 5
    assert by_name["user_id"].tolist() == ["new"] * 5


def test_histories_may_be_interactions(fitted, films):
    some = films.select_users(np.arange(3)).drop_empty()
    answer = fitted["ease"].recommend(histories=some, k=2)
    expected = fitted["ease"].recommend(users=films.user_ids.raw_ids([0, 1, 2]), k=2)
    pd.testing.assert_frame_equal(answer, expected)


def test_held_out_users_may_be_histories(films):
    train, _, test = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    model = recoder.fit(train, "ease")
    answer = model.recommend(histories=test, k=3)
    assert answer["user_id"].drop_duplicates().tolist() == test.user_ids.raw_ids(np.arange(9))
    pd.testing.assert_frame_equal(answer, model.recommend(histories=test.history, k=3))
    seen = test.history.matrix.toarray()
    for user, item in zip(answer["user_id"], answer["item_id"], strict=True):
        assert not seen[test.user_ids.indices([user]), test.item_ids.indices([item])].any()


def test_ids_of_the_library_are_lists_of_ids(fitted, films):
    model = fitted["ease"]
    assert model.user_ids == films.user_ids
    pd.testing.assert_frame_equal(model.recommend(users=model.user_ids, k=2), model.recommend(k=2))
    everything = model.recommend(users=["u1"], candidates=model.item_ids, k=3)
    pd.testing.assert_frame_equal(everything, model.recommend(users=["u1"], k=3))


@pytest.mark.parametrize("name", [*PERSONAL, "popularity"])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_few_items_left_out_are_dropped_from_longer_lists_with_the_same_answer(fitted, monkeypatch, name, exclude_seen):
    question = {"users": ["u0", "u7", "u9"], "k": 20, "exclude_seen": exclude_seen, "exclude": ["m1", "m2", "m23"]}
    asked = []
    best = ModelScorer.best

    def noted(self, users, k, *, items=None, **settings):
        asked.append((len(users), k, items is None))
        return best(self, users, k, items=items, **settings)

    monkeypatch.setattr(ModelScorer, "best", noted)
    few = fitted[name].recommend(**question)
    assert asked[0] == (3, 23, True)
    # with more users it is chosen among the others
    users = [f"u{number}" for number in range(9)]
    many = fitted[name].recommend(**(question | {"users": [*question["users"], *users]}))
    assert (12, 20, False) in asked
    pd.testing.assert_frame_equal(few, many.head(len(few)))
    by_history = fitted[name].recommend(histories=[[], ["m3"]], k=24, exclude=["m3", "m0"])
    assert not {"m3", "m0"} & set(by_history["item_id"])
    assert by_history["user_id"].value_counts().to_dict() == {0: 22, 1: 22}
    assert not {"m1", "m2", "m23"} & set(few["item_id"])
    assert len(fitted[name].recommend(users=["u0"], k=24, exclude_seen=False, exclude=[])) == 24


def test_many_pairs_of_few_users_do_not_copy_their_histories(fitted, films, monkeypatch):
    taken = []
    rows_of = type(films.matrix).__getitem__

    def counted(matrix, key):
        found = rows_of(matrix, key)
        taken.append(found.shape[0] if hasattr(found, "shape") and len(found.shape) == 2 else 1)
        return found

    monkeypatch.setattr(type(films.matrix), "__getitem__", counted)
    pairs = fitted["ease"].score(["u1", "u2"] * 500, ["m1", "m2"] * 500)
    assert len(pairs) == 1000
    assert max(taken) == 2


def test_weights_of_a_history_count(fitted):
    light = fitted["ease"].recommend(histories=[{"m1": 1.0, "m2": 0.1}], k=4)
    heavy = fitted["ease"].recommend(histories=[{"m1": 0.1, "m2": 1.0}], k=4)
    assert number(light["item_id"][0]) % 2 == 1
    assert number(heavy["item_id"][0]) % 2 == 0


def test_an_item_that_a_history_names_twice_counts_once(fitted):
    once = fitted["ease"].recommend(histories=[["m1", "m3"]], k=3)
    twice = fitted["ease"].recommend(histories=[["m1", "m3", "m1"]], k=3)
    pd.testing.assert_frame_equal(once, twice)
    beside_weights = fitted["ease"].recommend(histories=[["m1", "m3", "m1"], {"m2": 2.0}], k=3)
    pd.testing.assert_frame_equal(beside_weights[beside_weights["user_id"] == 0], once)


@pytest.mark.parametrize("name", [*PERSONAL, "popularity"])
def test_candidates_and_exclude_choose_among_the_items(fitted, films, name):
    model = fitted[name]
    everything = model.recommend(users=["u0"], k=24, exclude_seen=False)
    assert len(everything) == 24
    chosen = model.recommend(users=["u0"], k=24, exclude_seen=False, candidates=["m3", "m0", "m9"], exclude=["m9"])
    expected = everything[everything["item_id"].isin(["m0", "m3"])].reset_index(drop=True)
    assert chosen["item_id"].tolist() == expected["item_id"].tolist()
    np.testing.assert_allclose(chosen["score"], expected["score"], rtol=1e-5, atol=1e-6)
    seen = set(films.item_ids.raw_ids(films.matrix[films.user_ids.indices(["u0"])[0]].indices))
    unseen = model.recommend(users=["u0"], k=24, candidates=[*sorted(seen), "m1"])
    assert unseen["item_id"].tolist() == ["m1"]


def test_lists_are_shorter_where_the_catalogue_ends(fitted):
    answer = fitted["ease"].recommend(users=["u0"], k=1000)
    assert len(answer) == 24 - 9


def test_all_users_are_answered_where_none_is_named(fitted, films):
    answer = fitted["als"].recommend(k=1)
    assert answer["user_id"].tolist() == films.user_ids.ids.to_pylist()


@pytest.mark.parametrize("name", PERSONAL)
def test_who_has_no_history_gets_what_is_popular(fitted, films, name):
    answer = fitted[name].recommend(histories=[[], ["m1"]], k=3)
    counts = films.matrix.getnnz(axis=0)
    best = np.argsort(-counts, kind="stable")[:3]
    nobody = answer[answer["user_id"] == 0]
    assert nobody["item_id"].tolist() == films.item_ids.raw_ids(best)
    np.testing.assert_allclose(nobody["score"], counts[best] / 60)
    restricted = fitted[name].recommend(histories=[[]], k=30, candidates=["m1", "m2"])
    assert set(restricted["item_id"]) == {"m1", "m2"}


def test_titles_stand_beside_the_ids_where_asked_for(fitted):
    answer = fitted["ease"].recommend(users=["u0"], k=2, titles=True)
    assert answer["title"].tolist() == ["Title of " + item for item in answer["item_id"]]


def test_unknown_ids_are_said_or_dropped(fitted):
    model = fitted["ease"]
    with pytest.raises(UnknownIdError, match=r"1 of 2 users .* among the 60 known .such as 'x', a known one is 'u0"):
        model.recommend(users=["u1", "x"])
    assert set(model.recommend(users=["u1", "x"], unknown="drop")["user_id"]) == {"u1"}
    with pytest.raises(UnknownIdError, match="not among the 24 known"):
        model.recommend(histories=[["m1", "y"]])
    dropped = model.recommend(histories=[["m1", "y"]], unknown="drop", k=3)
    pd.testing.assert_frame_equal(dropped, model.recommend(histories=[["m1"]], k=3))
    with pytest.raises(ConfigError, match='must be "error" or "drop"'):
        model.recommend(histories=[["m1"]], unknown="ignore")


@pytest.mark.parametrize("name", PERSONAL)
def test_where_all_that_is_asked_for_is_dropped_the_answer_has_no_rows(fitted, name):
    model = fitted[name]
    for question, ids in (
        (lambda ids: model.recommend(users=ids, k=3, titles=True, unknown="drop"), ["u1"]),
        (lambda ids: model.similar_users(ids, k=3, unknown="drop"), ["u1"]),
        (lambda ids: model.similar_items(ids, k=3, titles=True, unknown="drop"), ["m1"]),
    ):
        some, none = question(ids), question(["x", "y"])
        assert len(some) == 3
        assert len(none) == 0
        assert none.dtypes.to_dict() == some.dtypes.to_dict()


def test_wrong_questions_are_said(fitted):
    model = fitted["ease"]
    for question, error, words in (
        ({"users": "u1"}, DataTypeError, "users is a list, not the single 'u1'"),
        ({"users": []}, EmptyDataError, "users is empty; pass at least one id"),
        ({"users": [], "unknown": "drop"}, EmptyDataError, "users is empty"),
        ({"users": ["u1"], "histories": [["m1"]]}, ConfigError, "users or histories, not both"),
        ({"users": ["u1"], "k": 0}, ConfigError, "k is 0"),
        ({"histories": ["m1"]}, DataTypeError, r"histories=\[\[item"),
        ({"histories": []}, EmptyDataError, "histories is empty"),
        ({"histories": [["m2"], {"m3": 1, "m1": -1.0}]}, DataError, "history of 1 gives 'm1' the weight -1.0"),
        ({"histories": {"new": {"m1": float("nan")}}}, DataError, "history of 'new' gives 'm1' the weight nan"),
        ({"histories": [{"m1": 1e300}]}, DataError, "the weight 1e.300; a weight is a finite number"),
        (
            {"histories": [{"m1": 0.0, "m2": 1.0}]},
            DataError,
            "'m1' the weight 0.0; a weight is a finite number above 0",
        ),
        ({"histories": [{"m1": 1e-60}]}, DataError, "the weight 1e-60; .* above 0, as a float32"),
        ({"users": np.array([True])}, DataTypeError, "among the users stands True.* of a mask"),
        ({"histories": [[7]], "unknown": "drop"}, DataTypeError, "stands 7, which cannot be known: ids are strings"),
        ({"histories": [{"m1": [1.0]}]}, DataTypeError, "a weight of a history is no number"),
        ({"users": [["u1", "u2"]]}, DataTypeError, r"among the users stands \['u1', 'u2'\].* flat list"),
        ({"users": np.array([["u1"]])}, DataTypeError, r"among the users stands \['u1'\]"),
        ({"users": [("u1", ["u2"])]}, DataTypeError, r"among the users stands \('u1', \['u2'\]\)"),
        ({"histories": [[["m1"]]]}, DataTypeError, r"among the items stands \['m1'\].* a known one is 'm"),
        ({"histories": [[["m1"]]], "unknown": "drop"}, DataTypeError, r"among the items stands \['m1'\]"),
        ({"unknown": "ignore"}, ConfigError, "unknown is 'ignore'"),
        ({"exclude": ["y"]}, UnknownIdError, "1 of 1 items of exclude are not among the 24 known"),
        ({"histories": [{"m1": "much"}]}, DataTypeError, "a weight of a history is no number"),
        ({"users": ["u1"], "candidates": []}, EmptyDataError, "leave no item"),
        ({"users": ["u1"], "exclude": "m1"}, DataTypeError, "exclude is a list"),
    ):
        with pytest.raises(error, match=words):
            model.recommend(**question)


@pytest.mark.parametrize("name", [*PERSONAL, "popularity"])
def test_scores_are_of_pairs_in_their_order(fitted, films, name):
    model = fitted[name]
    users, items = ["u4", "u1", "u4", "u4"], ["m2", "m1", "m5", "m2"]
    answer = model.score(users, items)
    assert answer["user_id"].tolist() == users
    assert answer["item_id"].tolist() == items
    rows = films.user_ids.indices(users)
    dense = model.recoder.predict(UsersInteractions(rows, films.matrix[rows])).numpy()
    np.testing.assert_allclose(
        answer["score"], dense[np.arange(4), films.item_ids.indices(items)], rtol=1e-5, atol=1e-6
    )
    with pytest.raises(ShapeError, match="4 users and 1 items"):
        model.score(users, ["m1"])
    with pytest.raises(UnknownIdError, match=r"1 of 1 items are not .* a known one is 'm\d+'\); pass only known ones$"):
        model.score(["u1"], ["y"])


@pytest.mark.parametrize("name", PERSONAL)
def test_similar_items_are_of_the_same_kind(fitted, name):
    answer = fitted[name].similar_items(["m4", "m7"], k=3, titles=True)
    assert list(answer.columns) == ["item_id", "similar_item_id", "score", "rank", "title"]
    assert len(answer) == 6
    assert (answer["item_id"] != answer["similar_item_id"]).all()
    same = [number(a) % 2 == number(b) % 2 for a, b in zip(answer["item_id"], answer["similar_item_id"], strict=True)]
    assert all(same)
    few = fitted[name].similar_items(["m4"], k=5, candidates=["m4", "m1", "m6"])
    assert few["similar_item_id"].tolist() == ["m6", "m1"]


def test_similar_items_are_by_the_cosine_of_factors(fitted, films):
    factors = fitted["als"].recoder.model.item_factors()[0].detach().numpy()
    units = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    col = films.item_ids.indices(["m4"])[0]
    cosines = units @ units[col]
    cosines[col] = -np.inf
    answer = fitted["als"].similar_items(["m4"], k=23)
    assert answer["similar_item_id"].tolist() == films.item_ids.raw_ids(np.argsort(-cosines, kind="stable")[:23])
    np.testing.assert_allclose(answer["score"], np.sort(cosines)[::-1][:23], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PERSONAL)
def test_similar_users_are_of_the_same_kind(fitted, name):
    answer = fitted[name].similar_users(["u4", "u7"], k=5)
    assert list(answer.columns) == ["user_id", "similar_user_id", "score", "rank"]
    assert len(answer) == 10
    assert (answer["user_id"] != answer["similar_user_id"]).all()
    assert all(
        number(a) % 2 == number(b) % 2 for a, b in zip(answer["user_id"], answer["similar_user_id"], strict=True)
    )


@pytest.mark.parametrize("name", [*PERSONAL, "popularity"])
def test_a_training_user_without_a_history_is_answered_the_same_by_every_question(frame, name):
    cold = pd.DataFrame({"who": ["cold", "cool"], "what": ["m1", "m2"], "stars": 0.0})
    films = recoder.Interactions.from_frame(pd.concat([frame, cold]), user="who", item="what", weight="stars")
    settings = {"autoencoder": {"num_epochs": 2}, "als": {"embedding_size": 8}}.get(name, {})
    model = recoder.fit(films.binarize(), name, seed=3, **settings)
    recommended = model.recommend(["cold"], k=24).set_index("item_id")["score"]
    items = recommended.index.tolist()
    assert len(items) == 24
    scored = model.score(["cold", "u1"] * 24, np.repeat(items, 2).tolist())
    np.testing.assert_array_equal(scored["score"][::2], recommended)
    of_others = model.score(["u1"] * 24, items)["score"]
    np.testing.assert_allclose(scored["score"][1::2], of_others, rtol=1e-6)
    with pytest.raises(EmptyDataError, match="no history"):
        model.explain(user="cold", item="m1")
    if name in PERSONAL:
        similar = model.similar_users(["cold", "u4"], k=100)
        assert set(similar["user_id"]) == {"u4"}
        assert set(similar["similar_user_id"]) == {f"u{user}" for user in range(60)} - {"u4"}
        assert len(similar) == 59


def test_what_is_the_same_for_all_has_no_neighbours(fitted):
    with pytest.raises(ConfigError, match="items of a Popularity are not similar"):
        fitted["popularity"].similar_items(["m1"])
    with pytest.raises(ConfigError, match="users of a Popularity are not similar"):
        fitted["popularity"].similar_users(["u1"])


@pytest.mark.parametrize("name", PERSONAL)
def test_explanations_are_scores_with_each_interaction_left_out(fitted, frame, name):
    model = fitted[name]
    history = frame.loc[frame["who"] == "u6", "what"].tolist()
    answer = model.explain(user="u6", item="m2", titles=True)
    assert sorted(answer["item_id"]) == sorted(history)
    assert answer["score_drop"].is_monotonic_decreasing

    def score(items: list[str]) -> float:
        everything = model.recommend(histories=[items], k=24, exclude_seen=False)
        return float(everything.set_index("item_id")["score"]["m2"])

    for left_out in history:
        drop = score(history) - score([item for item in history if item != left_out])
        told = answer.set_index("item_id")["score_drop"][left_out]
        np.testing.assert_allclose(told, drop, rtol=1e-3, atol=1e-5)
    same = model.explain(history=history, item="m2")
    np.testing.assert_allclose(same["score_drop"], answer["score_drop"], rtol=1e-4, atol=1e-6)


def test_long_histories_are_explained_some_at_a_time(fitted, monkeypatch):
    expected = fitted["ease"].explain("u0", "m1")
    monkeypatch.setattr(explaining, "_MOST_ENTRIES", 20)  # two of nine items at a time
    pd.testing.assert_frame_equal(fitted["ease"].explain("u0", "m1"), expected)


def test_explain_says_what_it_needs(fitted, films):
    with pytest.raises(ConfigError, match="either a user or a history"):
        fitted["ease"].explain(item="m1")
    with pytest.raises(EmptyDataError, match="no history"):
        fitted["ease"].explain(history=[], item="m1")
    with pytest.raises(UnknownIdError, match=r"1 of 1 items are not among the 24 known .*; pass only known ones"):
        fitted["ease"].explain(user="u1", item="y")
    with pytest.raises(DataTypeError, match=r"among the users stands \['u1'\]"):
        fitted["ease"].explain(user=["u1"], item="m1")
    with pytest.raises(DataTypeError, match=r"among the items stands \['m1'\]"):
        fitted["ease"].explain(user="u1", item=["m1"])
    looked_up = recoder.fit(films, MatrixFactorization(4), optimizer_type="adam", loss="logistic", seed=1)
    with pytest.raises(ConfigError, match="looks users up"):
        looked_up.explain(user="u1", item="m1")
    with pytest.raises(ConfigError, match="fold_in=True"):
        looked_up.recommend(histories=[["m1"]])
    assert len(looked_up.recommend(users=["u1"], k=3)) == 3


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda frame: frame, pd.DataFrame),
        (pl.from_pandas, pl.DataFrame),
        (lambda frame: pl.from_pandas(frame).lazy(), pl.DataFrame),
        (lambda frame: pa.Table.from_pandas(frame, preserve_index=False), pa.Table),
    ],
    ids=["pandas", "polars", "lazy polars", "pyarrow"],
)
def test_answers_come_in_the_library_that_the_data_came_in(frame, make, kind, tmp_path):
    data = recoder.Interactions.from_frame(make(frame), user="who", item="what")
    model = recoder.fit(data, "ease")
    answers = (
        model.recommend(users=["u1"]),
        model.score(["u1"], ["m1"]),
        model.similar_items(["m1"]),
        model.explain(user="u1", item="m2"),
        data.to_frame(),
    )
    assert {type(answer) for answer in answers} == {kind}
    again = recoder.load(model.save(tmp_path / "a.model"))
    assert type(again.recommend(histories=[["m1"]])) is kind
    assert type(recoder.load(tmp_path / "a.model", library="polars").recommend(histories=[["m1"]])) is pl.DataFrame


def test_a_duckdb_relation_is_answered_by_pyarrow_tables(frame):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        data = recoder.Interactions.from_frame(connection.from_df(frame), user="who", item="what")
    assert isinstance(recoder.fit(data, "ease").recommend(users=["u1"]), pa.Table)


def test_ids_may_be_columns_of_a_frame(fitted, frame):
    users = frame["who"].drop_duplicates().head(3)
    expected = fitted["ease"].recommend(users=users.tolist(), k=2)
    for column in (users, pl.Series(users.tolist()), pa.array(users.tolist()), np.array(users.tolist()), iter(users)):
        pd.testing.assert_frame_equal(fitted["ease"].recommend(users=column, k=2), expected)


def test_evaluation_names_the_users_and_is_remembered(films):
    train, valid, test = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    model = recoder.fit(train, "ease", l2=1.0, valid=valid)
    result = model.evaluate(test, [NDCG(5), Recall(5)])
    expected = model.recoder.evaluate(test.dataset, 5, [NDCG(5), Recall(5)])
    np.testing.assert_array_equal(result["NDCG@5"], expected["NDCG@5"])
    assert result.user_ids == IdMap(test.user_ids.ids.take(pa.array(expected.users)))
    (kept,) = model.about.metrics
    assert kept["users"] == len(result.users)
    assert kept["metrics"]["NDCG@5"] == {"mean": result.mean["NDCG@5"], "stderr": result.stderr["NDCG@5"]}
    assert [str(metric) for metric in model.evaluate(test)] == ["Recall@20", "Recall@50", "NDCG@100"]


def test_a_metric_that_does_not_say_how_far_it_looks_needs_k(films):
    class Length(Metric):
        def evaluate(self, x, y):
            return float(len(x))

    train, _, test = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    model = recoder.fit(train, "popularity")
    with pytest.raises(ConfigError, match="length does not say how many recommendations it looks at; pass k"):
        model.evaluate(test, [Length("length")])
    assert model.evaluate(test, [Length("length")], k=3).mean["length"] == 3
    with pytest.raises(ConfigError, match="NDCG@5 looks at 5 recommendations, but k is 3"):
        model.evaluate(test, [NDCG(5)], k=3)


def test_evaluation_puts_columns_of_another_order_right(films):
    train, _, test = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    order = np.random.default_rng(0).permutation(train.num_items)
    model = recoder.fit(train, "ease", l2=1.0)
    shuffled = recoder.fit(train.select_items(order), "ease", l2=1.0)
    np.testing.assert_allclose(
        shuffled.evaluate(test, [NDCG(3)])["NDCG@3"], model.evaluate(test, [NDCG(3)])["NDCG@3"], atol=1e-6
    )


def test_unknown_items_of_test_users_are_an_error_or_dropped(films):
    train, _, test = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    lacking = train.select_items(np.arange(1, train.num_items))
    model = recoder.fit(lacking, "ease", l2=1.0)
    with pytest.raises(UnknownIdError, match=r'1 of 22 items of test users are not .* pass unknown="drop"'):
        model.evaluate(test, [NDCG(3)])
    told = model.evaluate(test, [NDCG(3)], unknown="drop")
    history, target = test.dataset.interactions_matrix[:, 1:], test.dataset.target_interactions_matrix[:, 1:]
    cut = HeldOut(RecommendationDataset(history, target), test.user_ids, lacking.item_ids)
    expected = model.evaluate(cut, [NDCG(3)])
    assert told.user_ids == expected.user_ids
    np.testing.assert_array_equal(told["NDCG@3"], expected["NDCG@3"])
    unused = test.item_ids.ids[:1].to_pylist()[0]
    assert unused not in model.item_ids
    nobody_has_it = HeldOut(
        RecommendationDataset(*(sparse.hstack([sparse.csr_matrix((9, 1)), part]) for part in (history, target))),
        test.user_ids,
        test.item_ids,
    )
    np.testing.assert_array_equal(model.evaluate(nobody_has_it, [NDCG(3)])["NDCG@3"], expected["NDCG@3"])


def test_unknown_test_users_are_an_error_or_dropped(films):
    train, test = films.split("last", k=2)
    model = recoder.fit(train.select_users(np.arange(50)), "ease", l2=1.0)
    later = Interactions(test.dataset.target_interactions_matrix, test.user_ids, test.item_ids)
    with pytest.raises(UnknownIdError, match="10 of 60 test users are not among the 50 known"):
        model.evaluate(later)
    told = model.evaluate(later, [NDCG(3)], unknown="drop")
    expected = model.evaluate(later.select_users(np.arange(50)), [NDCG(3)])
    np.testing.assert_array_equal(told["NDCG@3"], expected["NDCG@3"])
    assert told.user_ids == expected.user_ids
    with pytest.raises(EmptyDataError, match="no user of test is known"):
        model.evaluate(later.select_users(np.arange(50, 60)), unknown="drop")
    with pytest.raises(ConfigError, match="unknown is 'ignore'"):
        model.evaluate(later, unknown="ignore")
    with pytest.raises(DataTypeError, match=r"metrics is NDCG@3; pass a list of metrics"):
        model.evaluate(later, NDCG(3))


def test_known_users_are_judged_by_interactions_that_came_later(films):
    train, test = films.split("last", k=2)
    later = films.select_interactions(
        np.asarray(~np.isin(films.times, train.times)) if films.times is not None else np.ones(0, bool)
    )
    model = recoder.fit(train, "ease", l2=1.0)
    told = model.evaluate(later, [Recall(5)])
    expected = model.evaluate(test, [Recall(5)])
    assert told.user_ids == expected.user_ids
    np.testing.assert_array_equal(told["Recall@5"], expected["Recall@5"])
    stranger = recoder.Interactions(later.matrix, IdMap([f"x{n}" for n in range(60)]), later.item_ids)
    with pytest.raises(UnknownIdError, match="not among the 60 known"):
        model.evaluate(stranger)
    with pytest.raises(DataTypeError, match="pass held-out users"):
        model.evaluate(test.dataset)


def test_what_is_in_the_histories_is_not_looked_for(films, caplog):
    train, test = films.split("last", k=2)
    model = recoder.fit(train, "ease", l2=1.0)
    with caplog.at_level("INFO", logger="recoder.data"):
        told = model.evaluate(films, [Recall(5)])
    assert f"{train.matrix.nnz} of 448 interactions to judge by are in the users' histories" in caplog.text
    np.testing.assert_array_equal(told["Recall@5"], model.evaluate(test, [Recall(5)])["Recall@5"])
    with pytest.raises(EmptyDataError, match="have all of its items in their histories"):
        model.evaluate(train)


def test_who_has_no_history_is_judged_by_what_is_popular(films):
    train, _, test = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    model = recoder.fit(train, "ease", l2=1.0)
    nobody = RecommendationDataset(
        sparse.csr_matrix(test.dataset.interactions_matrix.shape, dtype=np.float32),
        test.dataset.target_interactions_matrix,
    )
    told = model.evaluate(HeldOut(nobody, test.user_ids, test.item_ids), [Recall(5)])
    popular = recoder.fit(train, "popularity").evaluate(HeldOut(nobody, test.user_ids, test.item_ids), [Recall(5)])
    np.testing.assert_array_equal(told["Recall@5"], popular["Recall@5"])


class TestModelsThatLookUsersUp:
    @pytest.fixture
    def parts(self, films):
        return films.split("last", k=2)

    @pytest.fixture
    def model(self, parts):
        return recoder.fit(parts.train, "als", fold_in=False, embedding_size=8, seed=3)

    def test_users_are_judged_by_their_own_factors_in_any_order(self, parts, model):
        test = parts.test
        expected = model.evaluate(test, [NDCG(5)])
        value_of = dict(zip(expected.user_ids.ids.to_pylist(), expected["NDCG@5"], strict=True))
        order = np.random.default_rng(0).permutation(60)[:40]
        matrices = test.dataset.interactions_matrix[order], test.dataset.target_interactions_matrix[order]
        some = HeldOut(RecommendationDataset(*matrices), IdMap(test.user_ids.raw_ids(order)), test.item_ids)
        for asked in (some, Interactions(matrices[1], some.user_ids, some.item_ids)):
            told = model.evaluate(asked, [NDCG(5)])
            names = told.user_ids.ids.to_pylist()
            assert names == [name for name in some.user_ids.ids.to_pylist() if name in value_of]
            np.testing.assert_array_equal(told["NDCG@5"], [value_of[name] for name in names])

    def test_users_who_were_not_in_training_are_an_error_or_dropped(self, parts, model):
        test = parts.test
        names = ["stranger", *test.user_ids.ids.to_pylist()[1:]]
        strange = HeldOut(test.dataset, IdMap(names), test.item_ids)
        with pytest.raises(UnknownIdError, match="stranger"):
            model.evaluate(strange, [NDCG(5)])
        told = model.evaluate(strange, [NDCG(5)], unknown="drop")
        np.testing.assert_array_equal(told["NDCG@5"], model.evaluate(test, [NDCG(5)])["NDCG@5"][1:])
        nobody = HeldOut(test.dataset, IdMap([f"x{n}" for n in range(60)]), test.item_ids)
        with pytest.raises(EmptyDataError, match="none of test was in training"):
            model.evaluate(nobody, [NDCG(5)], unknown="drop")

    def test_validation_is_by_their_own_factors_too(self, parts, films):
        train, test = parts
        order = np.arange(60)[::-2]
        matrices = test.dataset.interactions_matrix[order], test.dataset.target_interactions_matrix[order]
        valid = HeldOut(RecommendationDataset(*matrices), IdMap(test.user_ids.raw_ids(order)), test.item_ids)
        model = recoder.fit(
            train, "als", valid=valid, metrics=[NDCG(5)], fold_in=False, embedding_size=8, num_epochs=2, seed=3
        )
        expected = model.evaluate(valid, [NDCG(5)]).mean["NDCG@5"]
        assert model.recoder.history[-1].metrics["NDCG@5"] == pytest.approx(expected)
        strangers = HeldOut(valid.dataset, IdMap([f"x{n}" for n in range(30)]), valid.item_ids)
        with pytest.raises(UnknownIdError, match="x0"):
            recoder.fit(train, "als", valid=strangers, fold_in=False, embedding_size=8, num_epochs=2)


def test_validation_is_by_what_the_histories_do_not_hold(films):
    train, test = films.split("random", seed=1)
    history, target = (
        matrix.copy() for matrix in (test.dataset.interactions_matrix, test.dataset.target_interactions_matrix)
    )
    valid = HeldOut(RecommendationDataset(history, history + target), test.user_ids, test.item_ids)
    for name in ("ease", "als"):
        model = recoder.fit(train, name, valid=valid, metrics=["NDCG@5"], seed=3)
        expected = model.evaluate(test, ["NDCG@5"]).mean["NDCG@5"]
        assert model.history[-1].metrics["NDCG@5"] == pytest.approx(expected)


def test_forgotten_users_are_gone(films):
    for name in ("autoencoder", "als", "ease"):
        model = recoder.fit(films, name, seed=3, num_epochs=2) if name != "ease" else recoder.fit(films, name)
        before = model.recommend(users=["u5"], k=3)
        said = model.forget(["u1", "u4"])
        assert "dropped 2 of 60 users" in said
        with pytest.raises(UnknownIdError):
            model.recommend(users=["u1"])
        assert model.interactions.num_users == 58
        assert model.about.num_users == 58
        if name == "ease":
            assert "keep nothing of them" in said
        else:
            assert "still reflect them" in said
            pd.testing.assert_frame_equal(model.recommend(users=["u5"], k=3), before)
            assert len(model.recoder.history) == 2
    with pytest.raises(EmptyDataError, match="all 58 users"):
        model.forget(model.interactions.user_ids.ids)


def test_nobody_is_forgotten_where_a_file_names_no_users(fitted, films, tmp_path):
    few = recoder.fit(films.select_users(np.arange(9)), "ease")
    for model, words in (
        (fitted["autoencoder"], r"names no users, .* DynamicAutoencoder reflects them: .*interactions=True"),
        (fitted["ease"], "the EASE reflects them"),
        (few, "the EASE still holds their interactions"),
    ):
        loaded = recoder.load(model.save(tmp_path / "a.model"))
        with pytest.raises(NotInitializedError, match=words):
            loaded.forget(["u1"])


def test_forgetting_drops_the_rows_of_factors(films):
    model = recoder.fit(films, MatrixFactorization(4), optimizer_type="adam", loss="logistic", seed=1)
    before = model.recoder.model.users.weight.detach().numpy().copy()
    row = films.user_ids.indices(["u4"])[0]
    expected = model.recommend(users=["u9"], k=3)
    model.forget(["u4"])
    after = model.recoder.model.users.weight.detach().numpy()
    np.testing.assert_array_equal(after, np.delete(before, row, axis=0))
    pd.testing.assert_frame_equal(model.recommend(users=["u9"], k=3), expected)


def test_a_model_of_ones_own_is_trained_with_settings_of_all_three(films):
    model = DynamicAutoencoder([8])
    fitted_model = recoder.fit(
        films, model, optimizer_type="adam", loss="logistic", lr=0.01, num_epochs=3, batch_size=20
    )
    assert fitted_model.recoder.model is model
    assert fitted_model.recoder.optimizer_type == "adam"
    assert len(fitted_model.recoder.history) == 3
    assert "DynamicAutoencoder" in repr(fitted_model)


def test_fit_says_what_is_wrong(films, frame):
    _train, valid, _ = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    for call, error, words in (
        (lambda: recoder.fit(frame), DataTypeError, "make them first, as in Interactions.from_frame"),
        (lambda: recoder.fit(films, "easy"), ConfigError, "no recipe 'easy'"),
        (lambda: recoder.fit(films, 3), DataTypeError, "model is a int; pass the name of a recipe"),
        (lambda: recoder.fit(films, hidden=[3]), ConfigError, "the recipe has no hidden; it has"),
        (lambda: recoder.fit(films, "ease", lr=1.0), ConfigError, "the recipe has no lr"),
        (lambda: recoder.fit(films, valid=valid.dataset), DataTypeError, "pass held-out users"),
        (lambda: recoder.fit(films.select_items(np.arange(20)), valid=valid), ShapeError, "over other items"),
        (lambda: recoder.fit(films, metrics=[NDCG(3)]), ConfigError, "valid is None"),
    ):
        with pytest.raises(error, match=words):
            call()


def test_validation_is_reported_after_each_epoch(films):
    train, valid, _ = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    model = recoder.fit(train, valid=valid, metrics=[NDCG(5)], num_epochs=3, num_uniform_negatives=0, seed=1)
    assert [sorted(record.metrics) for record in model.recoder.history] == [["NDCG@5"]] * 3


def test_a_history_tells_of_a_learning_rate_only_where_there_are_steps(fitted):
    told = {name for name, model in fitted.items() if "lr" in repr(model.recoder.history)}
    assert told == {"autoencoder"}
    assert fitted["ease"].recoder.history[0].lr == 0


def test_the_same_seed_gives_the_same_model(films):
    answers = [recoder.fit(films, num_epochs=2, seed=9).recommend(users=["u1"], k=5) for _ in range(2)]
    pd.testing.assert_frame_equal(*answers)
    drawn = recoder.fit(films, num_epochs=2)
    again = recoder.fit(films, num_epochs=2, seed=drawn.recoder.seed)
    pd.testing.assert_frame_equal(drawn.recommend(k=2), again.recommend(k=2))


def test_questions_do_not_change_the_model(fitted, films):
    model = fitted["autoencoder"]
    before = copy.deepcopy(model.recoder.model.state_dict())
    model.recommend(k=3)
    model.similar_items(["m1"])
    model.explain(user="u1", item="m2")
    after = model.recoder.model.state_dict()
    assert all((before[name] == after[name]).all() for name in before)
    assert model.interactions is films


def test_users_cannot_be_asked_for_where_there_are_no_histories(fitted, tmp_path):
    for name in PERSONAL:
        bare = recoder.load(fitted[name].save(tmp_path / name))
        for question in (bare.recommend, lambda model=bare: model.recommend(users=["u1"])):
            with pytest.raises(NotInitializedError, match=r"histories=.*interactions=True"):
                question()


def test_frames_are_no_histories_and_the_index_of_a_series_names_the_users(fitted, frame):
    for whole in (frame[["who", "what"]], pl.DataFrame({"who": ["a"], "what": ["m1"]}), pa.table({"what": ["m1"]})):
        for name in ("histories", "users"):
            with pytest.raises(DataTypeError, match=f"{name} is a data frame; pass one column of it"):
                fitted["ease"].recommend(**{name: whole})
        with pytest.raises(DataTypeError, match="exclude is a data frame"):
            fitted["ease"].recommend(histories=[["m1"]], exclude=whole, unknown="drop")
    lists = frame.groupby("who")["what"].agg(list)
    answer = fitted["ease"].recommend(histories=lists, k=2)
    expected = fitted["ease"].recommend(histories=lists.to_dict(), k=2)
    pd.testing.assert_frame_equal(answer, expected)
    assert set(answer["user_id"]) == set(frame["who"])
    with pytest.raises(DataError, match="repeat"):
        fitted["ease"].recommend(histories=pd.concat([lists, lists]), k=2)


def test_a_file_of_a_recoder_knows_how_many_users_it_learnt_from(films, tmp_path):
    trained = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", seed=1)
    trained.train(RecommendationDataset(films.matrix), num_epochs=1)
    loaded = recoder.load(trained.save_state(tmp_path / "a", interactions=films, histories=True))
    expected = recoder.fit(films, DynamicAutoencoder([4]), num_epochs=1).recommend(histories=[[]], k=3)
    np.testing.assert_array_equal(loaded.recommend(histories=[[]], k=3)["score"], expected["score"])
    assert "60 users" in repr(loaded)


def test_items_that_no_history_holds_need_not_be_known(fitted, films):
    wider = Interactions(
        sparse.csr_matrix((films.matrix.data, films.matrix.indices, films.matrix.indptr), (films.num_users, 25)),
        films.user_ids,
        IdMap([*films.item_ids.ids.to_pylist(), "unknown"]),
    )
    answer = fitted["ease"].recommend(histories=wider, k=2)
    expected = fitted["ease"].recommend(histories=films, k=2)
    np.testing.assert_array_equal(answer["item_id"], expected["item_id"])


def test_targets_that_are_in_the_histories_are_not_to_be_found(films, caplog):
    train, _, test = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    model = recoder.fit(train, "ease", l2=1.0)
    history, target = test.dataset.interactions_matrix, test.dataset.target_interactions_matrix
    both = HeldOut(RecommendationDataset(history, history + target), test.user_ids, test.item_ids)
    with caplog.at_level("INFO", "recoder"):
        told = model.evaluate(both, [NDCG(3)])
    np.testing.assert_array_equal(told["NDCG@3"], model.evaluate(test, [NDCG(3)])["NDCG@3"])
    assert f"{history.nnz} of {history.nnz + target.nnz} interactions to judge by are in the users" in caplog.text


@pytest.mark.parametrize("name", PERSONAL)
def test_threads_that_ask_one_loaded_model_at_once_get_what_one_thread_gets(fitted, tmp_path, name):
    model = recoder.load(fitted[name].save(tmp_path / "a.model", interactions=True))

    def answers(first):
        users = [f"u{number}" for number in range(first, first + 15)]
        return [
            model.recommend(users=users, k=4),
            model.recommend(histories=[["m1", "m5"], ["m2"]], k=3),
            model.score(users, ["m3"] * 15),
            model.similar_items(["m3", "m4"], k=5),
            model.similar_users(users, k=5),
            model.explain(users[0], "m3"),
        ]

    firsts = [0, 15, 30, 45]
    expected = {first: answers(first) for first in firsts}
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(answers, firsts * 5))
    for first, of_thread in zip(firsts * 5, found, strict=True):
        for one, other in zip(of_thread, expected[first], strict=True):
            pd.testing.assert_frame_equal(one, other)


def test_metrics_are_named_and_the_history_is_at_hand(films):
    train, valid, test = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    model = recoder.fit(train, valid=valid, metrics=["NDCG@5"], num_epochs=2, seed=4)
    assert [list(epoch.metrics) for epoch in model.history] == [["NDCG@5"]] * 2
    assert model.evaluate(test, ["NDCG@5"]) == model.evaluate(test, [NDCG(5)])


def test_titles_that_are_not_there_are_missed_before_anything_is_ranked(films, monkeypatch, tmp_path):
    untitled = recoder.Interactions(films.matrix, films.user_ids, films.item_ids)
    model = recoder.fit(untitled, "ease")
    monkeypatch.setattr(recoder.FittedModel, "answering", None)
    monkeypatch.setattr("recoder.api.fitted.score_drops", None)
    monkeypatch.setattr("recoder.api.fitted.similar_items", None)
    for ask in (
        lambda: model.recommend(titles=True),
        lambda: model.recommend_to_file(tmp_path / "a.csv", titles=True),
        lambda: model.similar_items(["m1"], titles=True),
        lambda: model.explain("u1", "m1", titles=True),
    ):
        with pytest.raises(ConfigError, match="titles=True, but there are none"):
            ask()


def test_similar_items_may_leave_some_out(fitted):
    model = fitted["ease"]
    first, *others = model.similar_items(["m1"], 4)["similar_item_id"]
    assert list(model.similar_items(["m1"], 3, exclude=[first])["similar_item_id"]) == others


def test_several_processes_do_not_share_what_answers(films):
    with pytest.raises(ConfigError, match=r"parallel is 'items', but what fit returns answers in one process"):
        recoder.fit(films, "autoencoder", parallel="items")


def test_what_is_no_interactions_is_told_how_to_become_them(films):
    with pytest.raises(DataTypeError, match=r"not csr_matrix; .*Interactions\.from_matrix\(matrix\)"):
        recoder.fit(films.matrix, "ease")
    with pytest.raises(DataTypeError, match=r"model is EASE; pass .*an object of a"):
        recoder.fit(films, EASE)


def test_a_closed_form_without_histories_forgets_nobody(films, tmp_path):
    made = Recoder(EASE(l2=1.0), seed=1)
    made.train(RecommendationDataset(films.matrix))
    loaded = recoder.load(made.save_state(tmp_path / "a", interactions=films))
    with pytest.raises(NotInitializedError, match=r"this model's file holds none; save it with interactions=True"):
        loaded.forget(["u1"])


def test_which_epoch_was_the_best_stays_when_users_are_forgotten(films, tmp_path):
    train, valid, _ = films.split("strong", seed=1, num_valid_users=8, num_test_users=9, min_interactions=4)
    rule = EarlyStopping("NDCG@5", patience=1)
    model = recoder.fit(train, valid=valid, metrics=["NDCG@5"], num_epochs=9, seed=4, early_stopping=rule, lr=0.3)
    best = model.history.best_epoch
    assert best is not None
    model.forget([train.user_ids.raw_ids([0])[0]])
    assert recoder.load(model.save(tmp_path / "a.model")).history.best_epoch == best


@pytest.mark.parametrize("name", ["ease", "edlae", "als"])
def test_who_has_only_what_says_nothing_gets_what_is_popular(films, name):
    lonely = sparse.csr_matrix(([1.0], ([0], [0])), shape=(1, 1), dtype=np.float32)
    alone = Interactions(lonely, IdMap(["alone"]), IdMap(["nobody else has it"]))
    together = films.merge(alone)
    cold = Interactions(together.matrix, together.user_ids, together.item_ids, library="pandas")
    model = recoder.fit(cold, name, **({"embedding_size": 8} if name == "als" else {}))
    popular = model.recommend(histories=[[]], k=5)["item_id"].tolist()
    for asked in ({"users": ["alone"]}, {"histories": [["nobody else has it"]]}):
        told = model.recommend(k=5, **asked)
        if name == "als":  # whose factors are not 0
            assert len(told) == 5
            continue
        assert told["item_id"].tolist() == popular
        assert "nobody else has it" not in told["item_id"].tolist()
        everything = model.recommend(k=100, exclude_seen=False, **asked)["item_id"].tolist()
        assert len(everything) == together.num_items
    if name != "als":
        assert len(model.similar_items(["nobody else has it"], k=5)) == 0
    few = model.recommend(users=["alone"], candidates=["m1", "m2", "nobody else has it"], k=5)
    assert sorted(few["item_id"]) == ["m1", "m2"]


class LooksUp(MatrixFactorization):
    """Users are looked up, and there are no factors to tell."""

    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        users, items = self.users.weight[input_users], self.items.weight
        return users @ (items if target_items is None else items[target_items]).T

    user_factors = FactorizationModel.user_factors
    item_factors = FactorizationModel.item_factors


def test_a_model_without_factors_that_looks_users_up_has_no_similar_items(films, tmp_path):
    model = recoder.fit(films, LooksUp(4), optimizer_type="adam", loss="mse", num_epochs=1, seed=1)
    assert not model.recoder.model.is_factorized
    with pytest.raises(ConfigError, match="which items are similar does not follow"):
        model.similar_items(["m1"])
    assert len(model.similar_users(["u1"], k=3)) == 3
    bare = recoder.load(model.save(tmp_path / "a.model"), model=LooksUp(4))
    with pytest.raises(NotInitializedError):
        bare.similar_users(["u1"], k=3)


@pytest.mark.parametrize("name", ["ease", "edlae"])
def test_what_somebody_gets_does_not_depend_on_how_much_is_asked_for(name):
    # who has a has no b, and the other way round: each speaks against the other; nobody has c beside another
    rows = [[1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]
    matrix = sparse.csr_matrix(np.array(rows, dtype=np.float32))
    data = Interactions(matrix, IdMap(range(6)), IdMap(["a", "b", "c", "d"]), library="pandas")
    model = recoder.fit(data, name)
    lists = [model.recommend(histories=[["a"]], candidates=["b", "c"], k=k) for k in (1, 2)]
    assert [each["item_id"].tolist() for each in lists] == [["c"], ["c", "b"]]
    assert lists[0]["score"].tolist() == lists[1]["score"].tolist()[:1] == [0.0]
    neighbours = [model.similar_items(["a"], candidates=["b", "c"], k=k)["similar_item_id"].tolist() for k in (1, 2)]
    assert neighbours == [["c"], ["c", "b"]]


@pytest.mark.parametrize("name", ["als", "autoencoder", "ease"])
def test_an_item_that_nobody_has_is_similar_to_none(films, name):
    wider = sparse.hstack([films.matrix, sparse.csr_matrix((films.num_users, 1), dtype=np.float32)]).tocsr()
    ids = IdMap([*films.item_ids.ids.to_pylist(), "nobody has it"])
    data = Interactions(wider, films.user_ids, ids, library="pandas")
    small = {"als": {"embedding_size": 4}, "autoencoder": {"hidden_layers": [4], "num_epochs": 1}}
    model = recoder.fit(data, name, seed=1, **small.get(name, {}))
    assert len(model.similar_items(["nobody has it"], k=3)) == 0
    everything = model.similar_items(["m1"], k=1000)["similar_item_id"].tolist()
    assert sorted([*everything, "m1"]) == sorted(films.item_ids.ids.to_pylist())


def test_a_score_that_is_none_is_an_error(films):
    model = recoder.fit(films, MatrixFactorization(2), optimizer_type="adam", seed=1)
    with torch.no_grad():
        model.recoder.model.items.weight[0] = float("nan")
    with pytest.raises(DivergedError, match="1 of 1 scores are NaN"):
        model.score(["u4"], model.item_ids.raw_ids([0]))


def test_metrics_that_are_asked_for_win_over_those_of_a_recipe(films):
    train, valid, _ = films.split("strong", seed=1, num_valid_users=5, num_test_users=1)
    by = recipe("autoencoder").but(metrics=["NDCG@10"], eval_freq=1, hidden_layers=[4], num_epochs=1)
    assert list(recoder.fit(train, by, valid=valid).history[0].metrics) == ["NDCG@10"]
    assert list(recoder.fit(train, by, valid=valid, metrics=["Recall@5"]).history[0].metrics) == ["Recall@5"]
