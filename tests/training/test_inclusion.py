from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import sparse

from recoder.data import RecommendationDataLoader, RecommendationDataset
from recoder.errors import ConfigError
from recoder.losses import make_loss
from recoder.model import Recoder
from recoder.nn import MatrixFactorization
from recoder.nn.base import draw_parameters
from recoder.training.inclusion import log_inclusion, log_inclusion_of
from recoder.training.step import BatchLoss
from support import train_config

COUNTS = [400, 100, 20, 4, 1, 0]


def matrix():
    """400 users, of whom so many have each item, spread evenly."""
    dense = np.zeros((400, len(COUNTS)), np.float32)
    for item, count in enumerate(COUNTS):
        dense[np.linspace(0, 399, count).astype(int), item] = 1
    return sparse.csr_matrix(dense)


def loader(**kwargs):
    return RecommendationDataLoader(RecommendationDataset(matrix()), 10, True, 20, seed=1, **kwargs)


@pytest.mark.parametrize("num_uniform", [0, 2])
def test_it_is_how_often_items_are_candidates(num_uniform):
    made = loader(num_uniform_negatives=num_uniform)
    times = np.zeros(len(COUNTS))
    for epoch in range(1, 31):
        for batch, _ in list(made.epoch(epoch))[::2]:  # two batches of each super-batch
            times[batch.items.numpy()] += 1
    expected = np.exp(log_inclusion_of(made).numpy())
    # 600 super-batches, drawn without replacement; nobody has the last item, which is only drawn uniformly
    known = slice(None) if num_uniform else slice(-1)
    np.testing.assert_allclose(times[known] / 600, expected[known], atol=0.05)


def test_it_is_the_formula_and_finite():
    left_out = np.array([math.comb(400 - count, 20) / math.comb(400, 20) for count in COUNTS])
    expected = np.log(1 - left_out * (1 - 1 / 6) ** 3)
    np.testing.assert_allclose(log_inclusion(matrix(), 20, 3).numpy(), expected, rtol=1e-5)
    assert torch.isfinite(log_inclusion(matrix(), 1, 0)).all()


@pytest.mark.parametrize("num_users", [400, 1000])
def test_where_all_users_are_sampled_every_item_that_somebody_has_is_a_candidate(num_users):
    torch.testing.assert_close(log_inclusion(matrix(), num_users, 0), torch.zeros(len(COUNTS)), atol=1e-6, rtol=0)


class Computed(MatrixFactorization):
    """Item factors that are no parameters."""

    def item_factors(self, items=None):
        weight, bias = super().item_factors(items)
        return 1.0 * weight, 1.0 * bias


class WithoutBias(MatrixFactorization):
    def item_factors(self, items=None):
        return self.items.rows(items), None


class Dense(MatrixFactorization):
    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        factors, (weight, bias) = self.user_factors(None, input_users), self.item_factors(target_items)
        return factors @ weight.T + bias


@pytest.mark.parametrize("name", ["logistic", "logloss"])
@pytest.mark.parametrize("make", [MatrixFactorization, Computed, WithoutBias, Dense])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_a_step_is_that_of_scores_from_which_it_is_subtracted(make, name, is_sparse):
    model, loss = make(4, sparse=is_sparse), make_loss(name, None)
    draw_parameters(model, num_items=len(COUNTS), num_users=400, seed=0)
    lowered_by = torch.linspace(-3, 0, len(COUNTS))
    batch, _ = next(iter(loader(num_uniform_negatives=1)))
    value = BatchLoss(model, loss, lowered_by=lowered_by).backward(batch, None)
    gradients = {name: p.grad.to_dense() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    weight, bias = model.item_factors(batch.items)
    scores = model.user_factors(batch.rows, batch.users) @ weight.T - lowered_by[batch.items]
    expected = loss(scores if bias is None else scores + bias, batch.rows.to_dense()) / len(batch)
    expected.backward()
    torch.testing.assert_close(value, expected.detach())
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad.to_dense(), msg=name)


def test_the_value_of_a_loss_is_not_lowered():
    model, loss = MatrixFactorization(4), make_loss("logloss", None)
    draw_parameters(model, num_items=len(COUNTS), num_users=400, seed=0)
    batch, _ = next(iter(loader()))
    lowered = BatchLoss(model, loss, lowered_by=torch.linspace(-3, 0, len(COUNTS)))
    assert lowered.value(batch, None) == BatchLoss(model, loss).value(batch, None)


@pytest.mark.parametrize("is_corrected", [True, False])
def test_the_log_odds_of_the_whole_catalogue_are_what_sampling_teaches_only_if_corrected(is_corrected):
    made, counts = loader(), np.array(COUNTS[1:5])
    model = MatrixFactorization(1)
    draw_parameters(model, num_items=len(COUNTS), num_users=400, seed=0)
    with torch.no_grad():
        model.items.weight.zero_()
        model.items.bias[1:5] = torch.from_numpy(np.log(counts / (400 - counts)))
    lowered_by = log_inclusion_of(made) if is_corrected else None
    batch_loss = BatchLoss(model, make_loss("logistic", None), lowered_by=lowered_by)
    for epoch in range(1, 11):
        for pair in made.epoch(epoch):
            batch_loss.backward(*pair)
    # of each interaction: -1 from it, +1 from all that were sampled where the bias is right
    unbalanced = model.items.bias.grad.to_dense()[1:5].numpy() * 10 / (10 * counts)
    assert np.abs(unbalanced).max() < 0.2 if is_corrected else unbalanced[-1] < -0.8


def test_it_needs_sampling_and_a_loss_of_log_odds():
    with pytest.raises(ConfigError, match="logq_correction is True but negative_sampling is False"):
        train_config(logq_correction=True)
    with pytest.raises(ConfigError, match="logq_correction is for"):
        Recoder(MatrixFactorization(2), loss="mse").train(
            RecommendationDataset(matrix()), negative_sampling=True, logq_correction=True
        )
