from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from scipy import sparse

from recoder.data import Interactions, RecommendationDataset, strong_generalization
from recoder.errors import ConfigError
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.recipes import RECIPES, recipe


@pytest.fixture(scope="module")
def split():
    # users and items of eight tastes, and items that are more popular than others
    rng = np.random.default_rng(0)
    fits = rng.integers(8, size=700)[:, None] == rng.integers(8, size=200)
    popular = rng.permutation(np.linspace(0.4, 1.6, 200))
    matrix = sparse.csr_matrix((rng.random(fits.shape) < np.where(fits, 0.4, 0.03) * popular).astype(np.float32))
    interactions = Interactions.from_matrix(matrix)
    return strong_generalization(interactions, num_valid_users=100, num_test_users=100, seed=0)


# as they are, but smaller where that saves time
SMALLER = {
    "multvae": {"hidden_layers": [64, 32]},
    "recvae": {"hidden_size": 64, "latent_size": 32},
    "elsa": {"embedding_size": 32},
    "als": {"embedding_size": 32},
}


def test_every_recipe_is_clearly_better_than_popularity_on_new_users(split):
    train, test = RecommendationDataset(split.train.matrix), split.test.dataset
    baseline = recipe("popularity").fit(train, seed=0).evaluate(test, 20, [NDCG(20)])
    for name in RECIPES:
        if name == "popularity":
            continue
        result = recipe(name).but(**SMALLER.get(name, {})).fit(train, seed=0).evaluate(test, 20, [NDCG(20)])
        paired = result.compare(baseline)[NDCG(20)]
        assert paired.low > 0, f"{name}: {paired}"


def test_a_recipe_is_repeatable_and_changed_by_name(split):
    train = RecommendationDataset(split.train.matrix)
    changed = recipe("als").but(num_epochs=2, embedding_size=8)
    first, second = changed.fit(train, seed=3), changed.fit(train, seed=3)
    users = split.test.dataset[np.arange(50)][0]
    np.testing.assert_array_equal(first.ranked(users, 10), second.ranked(users, 10))
    assert len(first.history) == 2
    assert first.model.embedding_size == 8
    assert recipe("als").train["num_epochs"] != 2  # the recipe itself stays


@pytest.mark.parametrize(
    ("name", "num_users", "batch_size"),
    [
        ("autoencoder", 50, 100),
        ("autoencoder", 12_000, 240),
        ("autoencoder", 12_049, 240),
        ("autoencoder", 60_000, 500),
        ("elsa", 4, 1),
        ("elsa", 50, 8),
        ("elsa", 12_000, 2_000),
        ("elsa", 90_000, 10_000),
    ],
)
def test_batches_are_a_share_of_the_users_within_limits(name, num_users, batch_size, monkeypatch):
    seen = {}

    @functools.wraps(Recoder.train)
    def remember(self, train_dataset, val_dataset=None, **arguments):
        seen.update(arguments)

    monkeypatch.setattr("recoder.recipes.Recoder.train", remember)
    data = RecommendationDataset(sparse.eye(num_users, 30, format="csr", dtype=np.float32))
    chosen = recipe(name).but(num_epochs=3)
    chosen.fit(data, seed=0)
    assert seen["batch_size"] == batch_size
    assert chosen.steps_per_epoch(num_users) == math.ceil(num_users / batch_size)
    chosen.but(batch_size=7).fit(data, seed=0, eval_freq=0)
    assert seen["batch_size"] == 7
    assert seen["eval_freq"] == 0


def test_unknown_names_are_said():
    with pytest.raises(ConfigError, match="there is no recipe 'easy'; choose one of popularity, autoencoder"):
        recipe("easy")
    with pytest.raises(
        ConfigError, match=r"the recipe has no lr; it has dropout_prob, eval_.*, l2, popularity_discount"
    ):
        recipe("ease").but(lr=0.1)
