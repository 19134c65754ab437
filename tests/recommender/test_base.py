from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import DataTypeError, ShapeError
from recoder.recommender import Recommender
from recoder.recommender.base import Histories, as_lists, merge_histories


def interactions(first_user: int, rows: list[list[float]]) -> UsersInteractions:
    return UsersInteractions(np.arange(first_user, first_user + len(rows)), sparse.csr_matrix(rows))


class Fixed(Recommender):
    def __init__(self, lists: list[list[int]]) -> None:
        self.lists = lists

    def recommend(self, users_hist: Histories) -> list[list[int]]:
        return self.lists


def test_the_base_class_says_what_a_subclass_must_do() -> None:
    class Forgetful(Recommender):
        pass

    with pytest.raises(NotImplementedError, match="Forgetful does not implement recommend"):
        Forgetful().recommend([])


def test_ranked_is_the_lists_padded_to_the_longest() -> None:
    ranked = Fixed([[3, 1], [], [2, 0, 4]]).ranked(interactions(0, [[1, 0, 0, 0, 0]] * 3))
    assert ranked.dtype == np.int64
    assert ranked.tolist() == [[3, 1, -1], [-1, -1, -1], [2, 0, 4]]


def test_ranked_of_nobody_and_of_nothing_is_empty() -> None:
    one = interactions(0, [[1.0]])
    assert Fixed([]).ranked(one).shape == (0, 0)
    assert Fixed([[]]).ranked(one).shape == (1, 0)


def test_merged_histories_stand_one_after_the_other() -> None:
    merged = merge_histories([interactions(7, [[1, 0, 2]]), interactions(2, [[0, 3, 0], [0, 0, 4]])])
    assert merged.users.tolist() == [7, 2, 3]
    assert merged.interactions_matrix.toarray().tolist() == [[1, 0, 2], [0, 3, 0], [0, 0, 4]]
    assert merged.interactions_matrix.dtype == np.float32


def test_one_history_is_taken_as_it_is() -> None:
    one = interactions(0, [[1, 0]])
    assert merge_histories(one) is one


def test_histories_over_other_catalogues_are_an_error() -> None:
    with pytest.raises(ShapeError, match=r"\[2, 3\]"):
        merge_histories([interactions(0, [[1, 0]]), interactions(1, [[1, 0, 0]])])
    with pytest.raises(ShapeError, match="at least one"):
        merge_histories([])


@pytest.mark.parametrize("highest", [5, 1_000_000])
def test_lists_of_an_array_are_python_integers_without_padding(highest: int) -> None:
    lists = as_lists(np.array([[highest, 0, 2], [-1, -1, -1], [1, -1, -1]]))
    assert lists == [[highest, 0, 2], [], [1]]
    assert {type(item) for items in lists for item in items} == {int}


def test_lists_of_empty_arrays_are_empty() -> None:
    assert as_lists(np.empty((0, 5), dtype=np.int64)) == []
    assert as_lists(np.empty((2, 0), dtype=np.int64)) == [[], []]


def test_a_data_sets_pair_is_no_list_of_histories() -> None:
    matrix = sparse.csr_matrix(np.eye(3, dtype=np.float32))
    for target in (matrix, None):
        with pytest.raises(DataTypeError, match=r"holds a tuple; .*is a pair, \(input, target\)"):
            merge_histories(RecommendationDataset(matrix, target)[[0, 1]])
