from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from recoder.data import UsersInteractions
from recoder.embedding import (
    AnnoyEmbeddingsIndex,
    EmbeddingsIndex,
    ExactEmbeddingsIndex,
    MemCacheEmbeddingsIndex,
    VoyagerEmbeddingsIndex,
)
from recoder.errors import ConfigError, UnknownIdError
from recoder.recommender import SimilarityRecommender
from recoder.recommender import similarity as module

ITEMS, USERS = 60, 25
EMBEDDINGS = np.random.default_rng(0).standard_normal((ITEMS, 5)).astype(np.float32)


def exact(embeddings: Any = EMBEDDINGS, id_map: Any = None, **settings: Any) -> ExactEmbeddingsIndex:
    index = ExactEmbeddingsIndex(embeddings, id_map, **settings)
    index.build()
    return index


def histories(users: int = USERS, items: int = ITEMS, density: float = 0.15, seed: int = 1) -> UsersInteractions:
    rng = np.random.default_rng(seed)
    matrix = sparse.csr_matrix((rng.random((users, items)) < density) * rng.integers(1, 6, (users, items)))
    return UsersInteractions(np.arange(users), matrix)


def double_loop(index: EmbeddingsIndex, users_hist: UsersInteractions, n: int, scale: float) -> Any:
    """What the class documents of a list of any length, said by loops over users, items and neighbours."""
    lists = []
    for row in users_hist.interactions_matrix:
        scores: defaultdict[int, float] = defaultdict(float)
        for item in sorted(row.indices.tolist()):
            for neighbour in index.get_nns_by_id(item, n):
                scores[neighbour] += max(index.get_similarity(item, neighbour), 0.0) ** scale
        seen = set(row.indices.tolist())
        candidates = [item for item, score in scores.items() if item not in seen and score > 0]
        lists.append(sorted(candidates, key=lambda item: (-scores[item], item)))
    return lists


class OnlyTheDocumentedMethods(EmbeddingsIndex):
    def __init__(self, inner: EmbeddingsIndex) -> None:
        self.inner = inner

    def get_embedding(self, embedding_id: Any) -> Any:
        raise AssertionError("not needed")

    def get_nns_by_embedding(self, embedding: Any, n: int) -> Any:
        raise AssertionError("not needed")

    def get_nns_by_id(self, embedding_id: Any, n: int) -> Any:
        return self.inner.get_nns_by_id(embedding_id, n)

    def get_similarity(self, id1: Any, id2: Any) -> float:
        return self.inner.get_similarity(id1, id2)


@pytest.mark.parametrize("n", [1, 2, 7, 100])
@pytest.mark.parametrize("scale", [1, 3, 0.5])
def test_equals_the_double_loop(n: int, scale: float) -> None:
    index = exact()
    expected = double_loop(index, histories(), n, scale)
    for k in (1, 5, 100):
        lists = [ranked[:k] for ranked in expected]
        assert SimilarityRecommender(index, k, n, scale).recommend(histories()) == lists
    if n > 1:
        assert any(expected)


@pytest.mark.parametrize("block_scores", [1, 3 * ITEMS])
def test_the_size_of_a_block_does_not_matter(block_scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = SimilarityRecommender(exact(), 8, 9).recommend(histories())
    monkeypatch.setattr(module, "_BLOCK_SCORES", block_scores)
    assert SimilarityRecommender(exact(), 8, 9).recommend(histories()) == expected


def test_every_index_gives_the_same_lists() -> None:
    names = {f"item {row}": row for row in np.random.default_rng(2).permutation(ITEMS).tolist()}
    expected = SimilarityRecommender(exact(), 8, 9).recommend(histories())
    voyager, annoy = VoyagerEmbeddingsIndex(EMBEDDINGS, names), AnnoyEmbeddingsIndex(EMBEDDINGS, search_k=10_000)
    voyager.build()
    annoy.build()
    for index in (
        exact(id_map=names),
        exact(include_distances=True),
        MemCacheEmbeddingsIndex(exact(id_map=names)),
        OnlyTheDocumentedMethods(exact()),
        OnlyTheDocumentedMethods(exact(include_distances=True)),
        MemCacheEmbeddingsIndex(OnlyTheDocumentedMethods(exact())),
        voyager,
        annoy,
    ):
        recommender = SimilarityRecommender(index, 8, 9)
        assert recommender.recommend(histories()) == expected
        assert recommender.recommend(histories()) == expected


def test_permuting_users_permutes_the_lists() -> None:
    users_hist = histories()
    recommender = SimilarityRecommender(exact(), 6, 8, 2)
    order = np.random.default_rng(3).permutation(USERS)
    permuted = UsersInteractions(users_hist.users[order], users_hist.interactions_matrix[order])
    lists = recommender.recommend(users_hist)
    assert recommender.recommend(permuted) == [lists[user] for user in order]


def test_a_batch_is_the_same_as_one_by_one() -> None:
    users_hist = histories()
    recommender = SimilarityRecommender(exact(), 6, 8, 2)
    singles = [UsersInteractions([user], users_hist.interactions_matrix[user]) for user in range(USERS)]
    lists = recommender.recommend(users_hist)
    assert recommender.recommend(singles) == lists
    assert [recommender.recommend(single)[0] for single in singles] == lists


def test_the_values_of_interactions_do_not_weigh_in() -> None:
    users_hist = histories()
    ones = UsersInteractions(users_hist.users, users_hist.interactions_matrix.sign())
    recommender = SimilarityRecommender(exact(), 6, 8)
    assert recommender.recommend(ones) == recommender.recommend(users_hist)


def test_on_two_bundles_each_user_gets_the_rest_of_their_own() -> None:
    # items 0 to 9 point one way, 10 to 19 the other: nobody is shown anything of the other bundle
    embeddings = np.repeat([[1.0, 0.0], [-1.0, 0.0]], 10, axis=0)
    matrix = sparse.csr_matrix(np.eye(20)[[0, 15]] + np.eye(20)[[3, 11]])
    lists = SimilarityRecommender(exact(embeddings), 50, 20).recommend(UsersInteractions([0, 1], matrix))
    assert lists == [[1, 2, 4, 5, 6, 7, 8, 9], [10, 12, 13, 14, 16, 17, 18, 19]]


def test_a_larger_scale_lets_the_most_similar_decide() -> None:
    # item 3 is near to item 0 alone; item 4 is halfway to all three
    angle = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.9, 0.43, 0.0], [1, 1, 1]])
    users_hist = UsersInteractions([0], sparse.csr_matrix([[1.0, 1, 1, 0, 0]]))
    assert SimilarityRecommender(exact(angle), 1, 5, 1).recommend(users_hist) == [[4]]
    assert SimilarityRecommender(exact(angle), 1, 5, 8).recommend(users_hist) == [[3]]


def test_a_score_that_vanishes_is_no_score() -> None:
    embeddings = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])  # 0.7 ** 5000 is 0 in float64
    users_hist = UsersInteractions([0], sparse.csr_matrix([[1.0, 0, 0]]))
    assert SimilarityRecommender(exact(embeddings), 3, 3, 5000).recommend(users_hist) == [[2]]


def test_with_one_neighbour_there_is_nothing_to_recommend() -> None:
    assert SimilarityRecommender(exact(), 5).recommend(histories()) == [[]] * USERS


def test_one_neighbour_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    SimilarityRecommender(exact(), 5, 2)
    assert not caplog.records
    SimilarityRecommender(exact(), 5)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("recoder.recommender", "WARNING")
    assert "pass n > 1" in record.getMessage()


def test_an_empty_history_and_a_full_one_give_empty_lists() -> None:
    matrix = sparse.csr_matrix(np.array([np.zeros(ITEMS), np.ones(ITEMS)]))
    recommender = SimilarityRecommender(exact(), 5, 10)
    assert recommender.recommend(UsersInteractions([0, 1], matrix)) == [[], []]
    assert recommender.recommend(UsersInteractions([0], matrix[:1])) == [[]]


def test_ranked_pads_short_lists() -> None:
    recommender = SimilarityRecommender(exact(), 40, 3)
    ranked = recommender.ranked(histories())
    assert ranked.dtype == np.int64
    assert ranked.shape == (USERS, 40)
    assert [row[row >= 0].tolist() for row in ranked] == recommender.recommend(histories())
    assert (ranked == -1).any()


def test_items_that_are_newer_than_the_histories_can_be_recommended() -> None:
    embeddings = np.vstack([EMBEDDINGS, EMBEDDINGS[0]])
    users_hist = UsersInteractions([0], sparse.csr_matrix(np.eye(ITEMS)[:1]))
    assert SimilarityRecommender(exact(embeddings), 1, 2).recommend(users_hist) == [[ITEMS]]


def test_an_item_beyond_the_index_is_an_error() -> None:
    index = exact(EMBEDDINGS[:10])
    users_hist = UsersInteractions([0], sparse.csr_matrix(np.eye(ITEMS)[[12]]))
    with pytest.raises(UnknownIdError, match="item 12 is outside this index's 10 embeddings"):
        SimilarityRecommender(index, 1, 2).recommend(users_hist)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0,), "num_recommendations is 0"),
        ((5, 0), "n is 0"),
        ((5, 2, 0), "scale is 0"),
        ((5, 2, -1), "scale is -1"),
        ((5, 2, float("nan")), "scale is nan"),
        ((5, 2, float("inf")), "scale is inf"),
        (("5",), "num_recommendations is '5'; it must be a whole number of at least 1"),
        ((2.5,), "num_recommendations is 2.5; it must be a whole number of at least 1"),
        ((5, 2.5), "n is 2.5; it must be a whole number of at least 1"),
        ((5, True), "n is True; it must be a whole number of at least 1"),
        ((5, 2, "a"), "scale is 'a'; it must be a finite number above 0"),
        ((5, 2, True), "scale is True; it must be a finite number above 0"),
        ((5, 2, None), "scale is None; it must be a finite number above 0"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SimilarityRecommender(exact(), *arguments)
