from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, DataTypeError
from recoder.metrics import Recall, RecommenderEvaluator
from recoder.model import Recoder
from recoder.nn import Popularity
from recoder.ops.rows import SparseRows
from recoder.ops.topk import top_k
from recoder.recommender import InferenceRecommender
from recoder.recommender.base import Histories, merge_histories, ranked_by

ITEMS = 6


class Descending:
    """Scores item ``i`` by ``-i``: everyone's best item is the lowest that they have not seen."""

    def ranked(self, users_interactions: UsersInteractions, num_recommendations: int) -> npt.NDArray[np.int64]:
        seen = SparseRows.from_dense(torch.from_numpy(users_interactions.interactions_matrix.toarray()))
        scores = -torch.arange(ITEMS, dtype=torch.float32).repeat(seen.num_rows, 1)
        return top_k(scores, num_recommendations, seen)[0].numpy()


def histories(*seen: list[int]) -> UsersInteractions:
    dense = np.zeros((len(seen), ITEMS))
    for row, items in zip(dense, seen, strict=True):
        row[items] = 1
    return UsersInteractions(np.arange(len(seen)), sparse.csr_matrix(dense))


def test_recommends_the_best_unseen_items() -> None:
    lists = InferenceRecommender(Descending(), 3).recommend(histories([0, 2], [], [5]))
    assert lists == [[1, 3, 4], [0, 1, 2], [0, 1, 2]]


def test_a_subclass_that_changes_the_lists_changes_what_is_evaluated() -> None:
    class WithoutOne(InferenceRecommender):
        def recommend(self, users_hist: Histories) -> list[list[int]]:
            return [[item for item in items if item != 1] for items in super().recommend(users_hist)]

    recommender = WithoutOne(Descending(), 3)
    assert recommender.recommend(histories([0, 2], [], [5])) == [[3, 4], [0, 2], [0, 2]]
    assert ranked_by(recommender, histories([0, 2], [])).tolist() == [[3, 4], [0, 2]]
    target = histories([1], [2])
    users = RecommendationDataset(histories([0, 2], []).interactions_matrix, target.interactions_matrix)
    result = RecommenderEvaluator(recommender, [Recall(2)]).evaluate(users)
    assert result["Recall@2"].tolist() == [0.0, 1.0]


def test_lists_may_be_made_of_the_arrays_and_the_more_derived_of_both_counts() -> None:
    class Reversed(InferenceRecommender):
        def recommend(self, users_hist: Histories) -> list[list[int]]:
            return [row[::-1] for row in self.ranked(merge_histories(users_hist)).tolist()]

    class Again(Reversed):
        def ranked(self, users_hist: UsersInteractions) -> npt.NDArray[np.int64]:
            return super().ranked(users_hist)[:, :2]

    assert Reversed(Descending(), 3).recommend(histories([0])) == [[3, 2, 1]]
    assert ranked_by(Reversed(Descending(), 3), histories([0])).tolist() == [[3, 2, 1]]
    assert Again(Descending(), 3).recommend(histories([0])) == [[2, 1]]
    assert ranked_by(Again(Descending(), 3), histories([0])).tolist() == [[1, 2]]


def test_arrays_that_a_recoder_changes_are_its_lists_too() -> None:
    class Shorter(Recoder):
        def ranked(self, users_interactions: UsersInteractions, num_recommendations: int) -> npt.NDArray[np.int64]:
            return super().ranked(users_interactions, num_recommendations)[:, :1]

    recoder = Shorter(Popularity())
    recoder.train(RecommendationDataset(histories([0, 2], [0, 1], [1, 0]).interactions_matrix))
    assert recoder.recommend(histories([]), 3) == [[0]]


def test_a_recoder_that_changes_the_lists_changes_what_is_evaluated() -> None:
    class WithoutOne(Recoder):
        def recommend(self, users_interactions: Histories, num_recommendations: int) -> list[list[int]]:
            lists = super().recommend(users_interactions, num_recommendations)
            return [[item for item in items if item != 1] for items in lists]

    users = histories([0, 2], [0, 1], [1, 0])
    recoder = WithoutOne(Popularity())
    recoder.train(RecommendationDataset(users.interactions_matrix))
    assert recoder.recommend(histories([]), 3) == [[0, 2]]
    assert InferenceRecommender(recoder, 3).recommend(histories([])) == [[0, 2]]
    judged = RecommendationDataset(histories([2]).interactions_matrix, histories([1]).interactions_matrix)
    assert recoder.evaluate(judged, 3, [Recall(3)])["Recall@3"].tolist() == [0.0]


def test_lists_are_shorter_where_fewer_items_are_unseen() -> None:
    recommender = InferenceRecommender(Descending(), 4)
    users_hist = histories([0, 1, 2, 3, 4], list(range(ITEMS)), [1])
    assert recommender.recommend(users_hist) == [[5], [], [0, 2, 3, 4]]
    assert recommender.ranked(users_hist).tolist() == [[5, -1, -1, -1], [-1] * 4, [0, 2, 3, 4]]


def test_a_list_of_histories_is_the_same_as_one() -> None:
    recommender = InferenceRecommender(Descending(), 2)
    parts = [histories([0]), histories([1], [0, 1])]
    assert recommender.recommend(parts) == recommender.recommend(histories([0], [1], [0, 1]))


def test_more_than_the_catalogue_gives_the_whole_of_it() -> None:
    assert InferenceRecommender(Descending(), 100).recommend(histories([3])) == [[0, 1, 2, 4, 5]]


@pytest.mark.parametrize("number", [0, -3])
def test_fewer_than_one_recommendation_is_an_error(number: int) -> None:
    with pytest.raises(ConfigError, match=f"num_recommendations is {number}"):
        InferenceRecommender(Descending(), number)


def test_what_cannot_rank_is_refused_at_once() -> None:
    with pytest.raises(DataTypeError, match="model is a list, which has no method ranked"):
        InferenceRecommender([], 3)
