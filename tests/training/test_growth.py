from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse

from recoder.data import RecommendationDataset
from recoder.errors import ConfigError, NotInitializedError
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization
from recoder.training import growth
from recoder.training.growth import NEIGHBOURS, Newcomers


def matrix(num_users=40, num_items=20, seed=0):
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix((rng.random((num_users, num_items)) < 0.3).astype(np.float32))


def test_newcomers_are_means_of_the_nearest_by_the_cosine():
    rows = matrix(60, 25).toarray().astype(np.float64)
    new = Newcomers(sparse.csr_matrix(rows), 50)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    table = torch.randn(50, 3)
    means, places = new.of(table)
    for mean, place in zip(means.numpy(), places.tolist(), strict=True):
        cosines = units[:50] @ units[50 + place]
        best = np.argsort(-cosines, kind="stable")[:NEIGHBOURS]
        expected = (cosines[best] / cosines[best].sum()) @ table.numpy()[best]
        np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-6)


def test_who_has_nothing_in_common_with_anybody_stays_as_drawn():
    rows = sparse.csr_matrix(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float32))
    means, places = Newcomers(rows, 2).of(torch.tensor([[1.0], [2.0]]))
    assert places.tolist() == [1]
    assert means.tolist() == [[1.0]]


def trained(model, **more):
    recoder = Recoder(model, optimizer_type="adam", loss="logistic", seed=4)
    recoder.train(RecommendationDataset(matrix()), num_epochs=2, lr=0.01, **more)
    return recoder


@pytest.mark.parametrize(
    "make",
    [
        lambda: DynamicAutoencoder([8, 4]),
        lambda: DynamicAutoencoder([8, 4], is_constrained=True),
        lambda: DynamicAutoencoder([8], sparse=True),
        lambda: MatrixFactorization(6),
        lambda: MatrixFactorization(6, sparse=True),
    ],
)
def test_an_extended_model_scores_what_is_known_as_before(make):
    recoder = trained(make(), popularity_bias=True)
    before = {name: tensor.clone() for name, tensor in recoder.model.state_dict().items()}
    data = RecommendationDataset(matrix(47, 26, seed=1))
    larger = recoder.extended(data)
    assert (larger.num_items, larger.num_users) == (26, 47)
    assert type(larger.model) is type(recoder.model)
    assert larger.model is not recoder.model
    assert getattr(larger.model, "sparse", None) == getattr(recoder.model, "sparse", None)
    users, _ = RecommendationDataset(matrix())[:40]
    torch.testing.assert_close(larger.predict(users)[:, :20], recoder.predict(users))
    after = recoder.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    larger.train(data, num_epochs=1)
    assert len(larger.history) == 1
    assert len(recoder.history) == 2


@pytest.mark.parametrize("options", [{"optimizer_type": "rowwise_adagrad"}, {"optimizer_state": "bf16"}])
@pytest.mark.parametrize("make", [lambda: DynamicAutoencoder([8]), lambda: MatrixFactorization(6, sparse=True)])
def test_an_extended_model_is_trained_by_the_same_optimizer(make, options):
    recoder = Recoder(make(), loss="logistic", seed=4, **{"optimizer_type": "adam", **options})
    recoder.train(RecommendationDataset(matrix()), num_epochs=1, lr=0.01)
    data = RecommendationDataset(matrix(47, 26, seed=1))
    larger = recoder.extended(data)
    larger.train(data, num_epochs=1, lr=0.01)
    assert (larger.optimizer_type, larger.optimizer_state) == (recoder.optimizer_type, recoder.optimizer_state)
    state = larger.file_content().optimizer["items.weight"]
    if "optimizer_state" in options:
        assert (state["exp_avg"].dtype, state["exp_avg"].shape[0]) == (torch.bfloat16, 26)
    else:
        assert state["sum"].shape == (26,)


class WithHiddenLayer(MatrixFactorization):
    """Has a table of users and one of items under other names, and a layer of as many rows."""

    def init_model(self, num_items=None, num_users=None):
        super().init_model(num_items, num_users)
        self.hidden = torch.nn.Linear(3, 20)
        self.names = torch.nn.ParameterDict(
            {"of items": torch.zeros(num_items, 2), "of users": torch.zeros(num_users, 2)}
        )


@pytest.mark.parametrize(("num_users", "num_items"), [(27, 26), (25, 26), (26, 26), (20, 26), (26, 20)])
@pytest.mark.parametrize(
    "make", [lambda: DynamicAutoencoder([8]), lambda: MatrixFactorization(6), lambda: WithHiddenLayer(6)]
)
def test_new_items_are_means_of_items_and_new_users_of_users_where_both_are_equally_many(make, num_users, num_items):
    recoder = Recoder(make(), optimizer_type="adam", loss="logistic", seed=4)
    recoder.train(RecommendationDataset(matrix(20, 20)), num_epochs=2, lr=0.01)
    rows = matrix(num_users, num_items, seed=1)
    larger = recoder.extended(RecommendationDataset(rows))
    tables, known = larger.model.state_dict(), recoder.model.state_dict()
    sides = {"users": rows, "items": sparse.csr_matrix(rows.T)}
    grown = [name for name in tables if len(tables[name]) > 20 and tables[name].dim() > 1]
    assert bool(grown) == (num_items > 20 or "users.weight" in tables)
    for name in grown:
        new = Newcomers(sides["users" if "users" in name else "items"], 20)
        means, places = new.of(known[name])
        assert len(places) > 0
        torch.testing.assert_close(tables[name][20 + places], means)


def test_new_biases_follow_popularity_where_the_others_did():
    data = RecommendationDataset(matrix(47, 26, seed=1))
    with_popularity = trained(DynamicAutoencoder([8]), popularity_bias=True).extended(data)
    without = trained(DynamicAutoencoder([8])).extended(data)
    assert (with_popularity.model.items.bias[20:] != 0).all()
    assert (without.model.items.bias[20:] == 0).all()


def test_new_biases_follow_popularity_however_often_the_model_was_trained_or_extended(tmp_path):
    recoder = trained(DynamicAutoencoder([8]), popularity_bias=True)
    recoder.train(RecommendationDataset(matrix()), num_epochs=3, lr=0.01)  # of a new model: not to be said again
    data = RecommendationDataset(matrix(47, 26, seed=1))
    loaded = Recoder(DynamicAutoencoder([8]))
    loaded.init_from_model_file(recoder.save_state(tmp_path / "a"))
    twice = recoder.extended(data).extended(RecommendationDataset(matrix(47, 30, seed=1)))
    for larger in (recoder.extended(data), loaded.extended(data), twice):
        assert (larger.model.items.bias[20:] != 0).all()


def test_a_model_cannot_shrink_by_extending():
    recoder = trained(DynamicAutoencoder([8]))
    with pytest.raises(ConfigError, match="19 items and 40 users are fewer than the 20 and 40"):
        recoder.extended(RecommendationDataset(matrix(40, 19)))
    with pytest.raises(NotInitializedError):
        Recoder(DynamicAutoencoder([8])).extended(RecommendationDataset(matrix()))


def test_a_model_that_grows_otherwise_than_by_rows_is_said():
    class Wide(FactorizationModel):
        def init_model(self, num_items=None, num_users=None):
            self.weight = torch.nn.Parameter(torch.zeros(3, num_items))

        def model_params(self):
            return {}

        def load_model_params(self, model_params):
            pass

        def user_factors(self, input, users=None, items=None):
            return self.weight.new_ones(input.num_rows, 3)

        def item_factors(self, items=None):
            weight = self.weight.T if items is None else self.weight.T[items]
            return weight, None

    recoder = trained(Wide())
    with pytest.raises(ConfigError, match=r"Wide cannot take in new items.*weight of shape \(3, 20\)"):
        recoder.extended(RecommendationDataset(matrix(40, 21)))


def test_without_some_users_the_others_keep_their_rows():
    recoder = trained(MatrixFactorization(6))
    smaller = recoder.without_users(np.array([3, 7, 3]))
    kept = np.delete(np.arange(40), [3, 7])
    torch.testing.assert_close(smaller.model.users.weight, recoder.model.users.weight[kept])
    torch.testing.assert_close(smaller.model.items.weight, recoder.model.items.weight)
    assert smaller.num_users == 38
    assert list(smaller.history) == list(recoder.history)
    before = list(recoder.history)
    smaller.train(RecommendationDataset(matrix(40, 20)[kept]), num_epochs=3)
    assert list(recoder.history) == before
    assert [record.epoch for record in smaller.history] == [1, 2, 3]


def test_who_is_near_is_looked_for_only_where_a_table_grows_by_them(monkeypatch):
    asked = []
    nearest = growth._largest_of_rows
    monkeypatch.setattr(
        growth, "_largest_of_rows", lambda rows, count: asked.append(rows.shape) or nearest(rows, count)
    )
    trained(DynamicAutoencoder([4])).extended(RecommendationDataset(matrix(60, 20)))
    assert asked == []
    monkeypatch.setattr(growth, "_ENTRIES_AT_ONCE", 100)
    trained(MatrixFactorization(4)).extended(RecommendationDataset(matrix(47, 20)))
    assert asked == [(2, 40)] * 3 + [(1, 40)]
