from __future__ import annotations

import pytest
import torch
from torch import nn

from recoder.errors import ConfigError
from recoder.training.clipping import clipped
from recoder.training.optimizers import ModelOptimizer
from support import train_config


def gradients(seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.tensor([[4, 0, 4, 1]])  # one row twice, none in order
    rows = torch.sparse_coo_tensor(ids, torch.randn(4, 3, generator=generator), (6, 3), check_invariants=False)
    biases = torch.sparse_coo_tensor(ids, torch.randn(4, generator=generator), (6,), check_invariants=False)
    return [torch.randn(5, 2, generator=generator), rows, biases]


def dense(some):
    return [gradient.to_dense() if gradient.is_sparse else gradient.clone() for gradient in some]


def by_torch(max_norm):
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in dense(gradients())]
    for parameter, gradient in zip(parameters, dense(gradients()), strict=True):
        parameter.grad = gradient
    nn.utils.clip_grad_norm_(parameters, max_norm)
    return [parameter.grad for parameter in parameters]


@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 2.5])
def test_dense_and_sparse_gradients_together_are_clipped_as_torch_clips_dense_ones(max_norm):
    for ours, theirs in zip(dense(clipped(gradients(), max_norm)), by_torch(max_norm), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


def test_gradients_within_the_norm_stay_to_the_last_bit():
    for after, before in zip(dense(clipped(gradients(), 1e3)), dense(gradients()), strict=True):
        assert torch.equal(after, before)


def test_zeros_stay_zeros():
    (clipped_zeros,) = clipped([torch.zeros(3)], 1.0)
    assert torch.equal(clipped_zeros, torch.zeros(3))


def test_sparse_gradients_stay_sparse():
    assert [gradient.is_sparse for gradient in clipped(gradients(), 1.0)] == [False, True, True]


def test_an_optimizer_step_follows_the_clipped_gradient_and_decays_by_all_of_it():
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    model.weight.grad = torch.tensor([[30.0, 40.0]])
    ModelOptimizer(model, "sgd", weight_decay=0.5, max_norm=5.0).step(lr=0.1)
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[1 - 0.1 * 3.5, 1 - 0.1 * 4.5]]))


@pytest.mark.parametrize("norm", [0, -1, float("nan"), "large"])
def test_the_norm_is_above_0(norm):
    with pytest.raises(ConfigError, match=f"max_grad_norm is {norm!r}"):
        train_config(max_grad_norm=norm)
