from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from recoder.data import RecommendationDataset
from recoder.errors import ConfigError
from recoder.losses import LogisticLoss, MSELoss, MultinomialNLLLoss
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, FactorizationModel, MatrixFactorization
from recoder.training.popularity import popularity_biases

USERS, ITEMS = 400, 5


def matrix(seed=0):
    rng = np.random.default_rng(seed)
    return sparse.csr_matrix((rng.random((USERS, ITEMS)) < [0.9, 0.5, 0.3, 0.1, 0.02]).astype(np.float32))


@pytest.mark.parametrize(
    "loss", [LogisticLoss("sum"), MultinomialNLLLoss("sum"), MSELoss(reduction="sum"), MSELoss(4.0, "sum")]
)
def test_biases_are_those_that_minimise_the_loss(loss):
    target = torch.from_numpy(matrix().toarray()).double()
    biases = torch.from_numpy(popularity_biases(loss, matrix())).requires_grad_()
    loss(biases.expand_as(target), target).backward()
    # half an interaction more moves the minimum by about that
    assert biases.grad.abs().max() <= (1e-4 if isinstance(loss, MSELoss) else 1.5)


@pytest.mark.parametrize("loss", [LogisticLoss("sum"), MultinomialNLLLoss("sum"), MSELoss(reduction="sum")])
def test_items_that_nobody_or_everybody_has_get_finite_biases(loss):
    extreme = sparse.csr_matrix(np.tile(np.array([1, 0, 1], np.float32), (4, 1)))
    biases = popularity_biases(loss, extreme)
    assert np.isfinite(biases).all()
    assert biases[1] < biases[0] == biases[2]


def test_other_losses_are_an_error():
    with pytest.raises(ConfigError, match="what biases suit L1Loss"):
        popularity_biases(nn.L1Loss(reduction="sum"), matrix())


@pytest.mark.parametrize("make", [lambda: DynamicAutoencoder([4]), lambda: MatrixFactorization(4, sparse=True)])
def test_training_starts_from_them(make):
    recoder = Recoder(make(), optimizer_type="adam", loss="logloss", seed=1)
    recoder.train(RecommendationDataset(matrix()), lr=0, popularity_bias=True)
    expected = popularity_biases(MultinomialNLLLoss("sum"), matrix())
    np.testing.assert_allclose(recoder.model.items.bias.detach().numpy(), expected, rtol=1e-6)


def test_where_there_is_a_target_its_popularity_counts():
    recoder = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="mse", seed=1)
    recoder.train(RecommendationDataset(matrix(1), matrix(2)), lr=0, popularity_bias=True)
    np.testing.assert_allclose(recoder.model.items.bias.detach().numpy(), matrix(2).toarray().mean(axis=0), rtol=1e-5)


def test_items_beyond_the_data_have_the_bias_of_unpopular_ones():
    recoder = Recoder(DynamicAutoencoder([4]), num_items=ITEMS + 2, optimizer_type="adam", loss="logistic", seed=1)
    recoder.train(RecommendationDataset(matrix()), lr=0, popularity_bias=True)
    biases = recoder.model.items.bias.detach()
    assert biases[-1] == biases[-2] < biases[:-2].min()


def test_training_that_goes_on_keeps_what_was_learnt(tmp_path):
    data = RecommendationDataset(matrix())
    plain = Recoder(DynamicAutoencoder([4]), optimizer_type="adam", loss="logistic", seed=1)
    plain.train(data, num_epochs=1)
    learnt = plain.model.items.bias.detach().clone()
    loaded = Recoder(DynamicAutoencoder([4]))
    loaded.init_from_model_file(plain.save_state(tmp_path / "x"))
    for recoder in (plain, loaded):
        recoder.train(data, lr=0, num_epochs=2, popularity_bias=True)
        assert torch.equal(recoder.model.items.bias.detach(), learnt)


class WithoutBias(MatrixFactorization):
    def item_factors(self, items=None):
        return super().item_factors(items)[0], None


class OnlyForward(FactorizationModel):
    def init_model(self, num_items=None, num_users=None):
        self.levels = nn.Parameter(torch.zeros(num_items))

    def model_params(self):
        return {}

    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        return self.levels.expand(len(input), -1)


@pytest.mark.parametrize("make", [lambda: WithoutBias(4), OnlyForward])
def test_a_model_without_item_biases_is_an_error_each_time_it_is_asked(make):
    recoder = Recoder(make(), optimizer_type="adam", seed=1)
    for _ in range(2):
        with pytest.raises(ConfigError, match="has no item biases of its own"):
            recoder.train(RecommendationDataset(matrix()), popularity_bias=True)
    recoder.train(RecommendationDataset(matrix()))
