from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import ShapeError
from recoder.model import Recoder
from recoder.nn import EASE, DynamicAutoencoder


@pytest.fixture(scope="module", params=["factors", "scores", "scores of many users"])
def trained(request):
    rng = np.random.default_rng(1)
    matrix = sparse.csr_matrix((rng.random((30, 17)) < 0.3).astype(np.float32))
    made = (
        Recoder(DynamicAutoencoder([6]), optimizer_type="adam", seed=1)
        if request.param == "factors"
        else Recoder(EASE())
    )
    # fewer users than items are solved for over the users
    made.train(RecommendationDataset(matrix[:12] if request.param == "scores of many users" else matrix))
    return made, UsersInteractions(np.arange(30), matrix)


@given(st.lists(st.integers(0, 16), min_size=1, max_size=17, unique=True), st.booleans(), st.integers(1, 20))
def test_the_best_of_some_items_are_those_of_the_dense_scores(trained, items, exclude_seen, k):
    recoder, users = trained
    chosen = np.sort(np.array(items))
    ids, scores = recoder.scorer().best(users, k, exclude_seen=exclude_seen, items=chosen)
    dense = recoder.predict(users).numpy().copy()
    if exclude_seen:
        dense[users.interactions_matrix.nonzero()] = -np.inf
    for row in range(30):
        order = chosen[np.argsort(-dense[row, chosen], kind="stable")][:k]
        expected = order[np.isfinite(dense[row, order])]
        found = ids[row][ids[row] >= 0]
        np.testing.assert_allclose(dense[row, found], dense[row, expected], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(scores[row][ids[row] >= 0], dense[row, expected], rtol=1e-5, atol=1e-6)
        assert set(found) <= set(items)


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 16)), max_size=40, unique=True))
def test_scores_of_pairs_are_those_of_the_dense_scores(trained, pairs):
    recoder, users = trained
    rows, items = (np.array([pair[n] for pair in sorted(pairs)], dtype=np.int64) for n in (0, 1))
    found = recoder.scorer().at(users, rows, items)
    np.testing.assert_allclose(found, recoder.predict(users).numpy()[rows, items], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 11, 4096])
def test_users_may_be_scored_in_blocks(trained, monkeypatch, at_once):
    recoder, users = trained
    rows, items = np.repeat(np.arange(30), 3), np.tile([0, 5, 16], 30)
    whole, best = recoder.predict(users).numpy(), recoder.ranked(users, 5)
    monkeypatch.setattr("recoder.recommender.scoring.BLOCK_SCORES", 17 * 4)
    monkeypatch.setattr("recoder.recommender.scoring._USERS_AT_ONCE", at_once)
    np.testing.assert_allclose(recoder.predict(users).numpy(), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(recoder.scorer().at(users, rows, items), whole[rows, items], rtol=1e-5, atol=1e-6)
    assert np.array_equal(recoder.ranked(users, 5), best)


class OneBlockTooFew(EASE):
    def score_blocks(self, input, users, users_per_block):
        yield from list(super().score_blocks(input, users, users_per_block))[:-1]


def test_scores_that_are_missing_are_an_error_that_says_so(monkeypatch):
    matrix = sparse.csr_matrix(np.eye(30, 17, dtype=np.float32))
    recoder = Recoder(OneBlockTooFew())
    recoder.train(RecommendationDataset(matrix))
    monkeypatch.setattr("recoder.recommender.scoring.BLOCK_SCORES", 17 * 4)
    with pytest.raises(ShapeError, match=r"OneBlockTooFew\.score_blocks returned NoneType for 2 users and 17 target"):
        recoder.ranked(UsersInteractions(np.arange(30), matrix), 3)


def test_user_factors_are_the_models_own(trained):
    recoder, users = trained
    if not recoder.model.is_factorized:
        pytest.skip("no factors")
    factors = torch.cat(list(recoder.scorer().user_factors(users)))
    weight, bias = recoder.model.item_factors()
    scores = (factors @ weight.T + bias).detach().numpy()
    np.testing.assert_allclose(scores, recoder.predict(users).numpy(), rtol=1e-4, atol=1e-5)
