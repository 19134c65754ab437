"""Recommendations for any number of users in a file are those of ``recommend``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from scipy import sparse

import recoder
from recoder.data import IdMap, Interactions
from recoder.errors import ConfigError, DataTypeError, EmptyDataError, NotInitializedError, UnknownIdError

USERS, ITEMS = 60, 30


@pytest.fixture(scope="module")
def plays() -> Interactions:
    rng = np.random.default_rng(0)
    dense = (rng.random((USERS, ITEMS)) < 0.2).astype(np.float32)
    dense[[7, 8]] = 0
    titles = tuple(f"song {item}" for item in range(ITEMS))
    users, items = IdMap([f"u{user}" for user in range(USERS)]), IdMap(np.arange(ITEMS) * 10)
    return Interactions(sparse.csr_matrix(dense), users, items, titles, library="pyarrow")


@pytest.fixture(scope="module")
def fitted(plays: Interactions) -> recoder.FittedModel:
    return recoder.fit(plays, "autoencoder", num_epochs=1, hidden_layers=[4], seed=0)


@pytest.mark.parametrize("at_once", [1, 7, 60, 1000])
@pytest.mark.parametrize(
    "options", [{}, {"exclude_seen": False, "titles": True}, {"candidates": [20, 10, 50], "exclude": [50]}]
)
def test_rows_are_those_of_recommend(
    fitted: recoder.FittedModel, at_once: int, options: dict[str, Any], tmp_path: Path
) -> None:
    number = fitted.recommend_to_file(tmp_path / "lists.parquet", 3, users_at_once=at_once, **options)
    written, expected = pq.read_table(tmp_path / "lists.parquet"), fitted.recommend(k=3, **options)
    assert number == len(written)
    assert written.drop_columns("score").equals(expected.drop_columns("score"))
    np.testing.assert_allclose(written["score"], expected["score"], rtol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["lists.parquet"]


def test_histories_may_be_of_others_and_of_unknown_items(
    fitted: recoder.FittedModel, plays: Interactions, tmp_path: Path
) -> None:
    guests = Interactions(
        sparse.csr_matrix(np.array([[1, 1], [0, 1], [1, 0]], np.float32)), IdMap([5, 6, 7]), IdMap([20, 999])
    )
    with pytest.raises(UnknownIdError, match="999"):
        fitted.recommend_to_file(tmp_path / "a.parquet", histories=guests)
    fitted.recommend_to_file(tmp_path / "a.parquet", histories=guests, unknown="drop", users_at_once=2)
    written, expected = pq.read_table(tmp_path / "a.parquet"), fitted.recommend(histories=guests, unknown="drop")
    assert written.drop_columns("score").equals(expected.drop_columns("score"))


def test_a_file_without_histories_recommends_to_those_that_are_passed(
    fitted: recoder.FittedModel, plays: Interactions, tmp_path: Path
) -> None:
    again = recoder.load(fitted.save(tmp_path / "a.model"))
    with pytest.raises(NotInitializedError, match="holds no histories"):
        again.recommend_to_file(tmp_path / "a.parquet")
    assert again.recommend_to_file(tmp_path / "a.parquet", 2, histories=plays) == 2 * USERS


def test_the_ending_says_in_what_form(fitted: recoder.FittedModel, tmp_path: Path) -> None:
    assert fitted.recommend_to_file(tmp_path / "a.parquet", 2) == fitted.recommend_to_file(tmp_path / "a.csv", 2)
    written, read = pq.read_table(tmp_path / "a.parquet"), csv.read_csv(tmp_path / "a.csv")
    for name in ("user_id", "item_id", "rank"):
        assert read[name].to_pylist() == written[name].to_pylist()
    np.testing.assert_allclose(read["score"], written["score"], rtol=1e-6)
    with pytest.raises(ConfigError, match=r"ends in \.txt; files are written as \.parquet"):
        fitted.recommend_to_file(tmp_path / "a.txt")


def test_what_cannot_be_asked_is_refused_and_leaves_the_file(
    fitted: recoder.FittedModel, plays: Interactions, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    path.write_text("before")
    for error, options in [
        (ConfigError, {"k": 0}),
        (ConfigError, {"users_at_once": 0}),
        (ConfigError, {"unknown": "?"}),
        (DataTypeError, {"histories": [[20]]}),
        (EmptyDataError, {"candidates": []}),
        (UnknownIdError, {"exclude": [3]}),
    ]:
        with pytest.raises(error):
            fitted.recommend_to_file(path, **options)
    als = recoder.fit(plays, "als", num_epochs=1, fold_in=False)
    with pytest.raises(ConfigError, match="looks users up"):
        als.recommend_to_file(path, histories=plays)
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]
