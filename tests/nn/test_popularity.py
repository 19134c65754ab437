from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, NotInitializedError
from recoder.model import Recoder
from recoder.nn import Popularity

# users of each item: 1, 3, 0, 2, 3; sums of values: 100, 3, 0, 2, 9
MATRIX = sparse.csr_matrix(
    np.array(
        [
            [100, 1, 0, 0, 3],
            [0, 1, 0, 1, 3],
            [0, 1, 0, 1, 3],
            [0, 0, 0, 0, 0],
        ],
        dtype=np.float32,
    )
)


@pytest.fixture(scope="module")
def recoder():
    recoder = Recoder(Popularity(), seed=0)
    recoder.train(RecommendationDataset(MATRIX))
    return recoder


def test_score_is_the_number_of_users_whatever_the_values(recoder):
    scores = recoder.predict(UsersInteractions([7, 9], sparse.csr_matrix(np.ones((2, 5)))))
    assert scores.tolist() == [[1, 3, 0, 2, 3]] * 2


def test_items_rank_by_users_and_ties_go_to_the_lower_id(recoder):
    nobody_seen = UsersInteractions([0], sparse.csr_matrix((1, 5), dtype=np.float32))
    assert recoder.recommend(nobody_seen, 5) == [[1, 4, 3, 0, 2]]


def test_items_that_a_user_has_are_left_out(recoder):
    assert recoder.recommend(UsersInteractions(np.arange(4), MATRIX), 5) == [[3, 2], [0, 2], [0, 2], [1, 4, 3, 0, 2]]


def test_training_again_counts_afresh(recoder):
    again = Recoder(Popularity(), seed=0)
    again.train(RecommendationDataset(MATRIX))
    again.train(RecommendationDataset(MATRIX[:2]), num_epochs=2)
    assert again.model.counts.tolist() == [1, 2, 0, 1, 2]


def test_catalogue_may_hold_more_items_than_the_data():
    model = Popularity()
    model.init_model(num_items=7)
    model.solve(MATRIX)
    assert model.counts.tolist() == [1, 3, 0, 2, 3, 0, 0]


def test_dense_input_of_whole_numbers_is_scored():
    model = Popularity()
    model.init_model(num_items=5)
    model.solve(MATRIX)
    assert model(torch.ones(2, 5, dtype=torch.int64), target_items=torch.tensor([4, 0])).tolist() == [[3, 1]] * 2


def test_popularity_is_solved_and_has_no_parameters_to_learn():
    model = Popularity()
    assert model.is_solved
    assert model.is_factorized
    assert list(model.parameters()) == []


@pytest.mark.parametrize("num_items", [None, 0])
def test_no_items_are_an_error(num_items):
    with pytest.raises(ConfigError, match="num_items"):
        Popularity().init_model(num_items=num_items)


def test_calls_before_init_model_are_errors():
    with pytest.raises(NotInitializedError):
        Popularity().solve(MATRIX)
    with pytest.raises(NotInitializedError):
        Popularity()(torch.ones(1, 5))
