from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from recoder.data import BatchCollator, UsersInteractions
from recoder.errors import ShapeError
from recoder.losses import make_loss
from recoder.nn import DynamicAutoencoder, FactorizationModel
from recoder.ops.rows import SparseRows
from recoder.training.step import BatchLoss

NUM_USERS, NUM_ITEMS = 6, 11
LOSSES = {
    "mse": make_loss("mse", {"confidence": 2}),
    "logistic": make_loss("logistic", None),
    "logloss": make_loss("logloss", None),
    "own": nn.HuberLoss(reduction="sum"),
}


def batches(seed, negative_sampling, batch_size=4):
    generator = np.random.default_rng(seed)
    matrix = sparse.random(NUM_USERS, NUM_ITEMS, 0.25, "csr", np.float32, generator)
    return BatchCollator(batch_size, negative_sampling).collate(UsersInteractions(np.arange(NUM_USERS), matrix))


def autoencoder():
    model = DynamicAutoencoder([4])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.init_model(num_items=NUM_ITEMS)
    return model


class Plain(FactorizationModel):
    """The same scores as an autoencoder's, but with only the documented ``forward``."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.calls = []

    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        self.calls.append((input, input_users, input_items, target_users, target_items))
        return self.inner(input, input_users, input_items, target_users, target_items)


def dense(batch):
    return batch.rows.to_dense()


@pytest.mark.parametrize("negative_sampling", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_is_the_sum_of_the_documented_one_over_all_entries(name, negative_sampling):
    model, loss = autoencoder(), LOSSES[name]
    for batch in batches(0, negative_sampling):
        expected = loss(model(dense(batch), batch.users, batch.items, target_items=batch.items), dense(batch))
        torch.testing.assert_close(BatchLoss(model, loss)(batch, None), expected)


@pytest.mark.parametrize("negative_sampling", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_a_target_is_predicted_from_the_interactions(name, negative_sampling):
    model, loss = autoencoder(), LOSSES[name]
    for batch, target in zip(batches(0, negative_sampling), batches(1, negative_sampling), strict=True):
        expected = loss(model(dense(batch), batch.users, batch.items, target_items=target.items), dense(target))
        torch.testing.assert_close(BatchLoss(model, loss)(batch, target), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_a_model_with_only_forward_has_the_same_loss_and_gradient(name):
    factorized, plain = autoencoder(), Plain(autoencoder())
    for batch, target in zip(batches(0, True), batches(1, True), strict=True):
        losses = [BatchLoss(model, LOSSES[name])(batch, target) for model in (factorized, plain)]
        torch.testing.assert_close(*losses)
        for loss in losses:
            loss.backward()
    for ours, theirs in zip(factorized.parameters(), plain.inner.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def test_forward_is_called_as_documented():
    plain = Plain(autoencoder())
    (batch, _), (target, _) = batches(0, True), batches(1, True)
    BatchLoss(plain, LOSSES["mse"])(batch, target)
    ((input, input_users, input_items, target_users, target_items),) = plain.calls
    assert torch.equal(input, dense(batch))
    assert torch.equal(input_users, batch.users)
    assert torch.equal(input_items, batch.items)
    assert torch.equal(target_users, target.users)
    assert torch.equal(target_items, target.items)


@pytest.mark.parametrize("name", ["mse", "logistic", "logloss"])
def test_a_factorized_model_with_a_loss_of_the_library_makes_nothing_dense_of_the_interactions(name, monkeypatch):
    def refuse(rows):
        raise AssertionError("a dense tensor was made")

    batch, _ = batches(0, True)
    loss = BatchLoss(autoencoder(), LOSSES[name])
    monkeypatch.setattr(SparseRows, "to_dense", refuse)
    assert loss(batch, None).isfinite()


def test_scores_of_another_shape_are_an_error():
    class Wrong(Plain):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)[:, :-1]

    batch, _ = batches(0, False)
    with pytest.raises(ShapeError, match=r"Wrong.forward returned \(4, 10\) for 4 users and 11 target items"):
        BatchLoss(Wrong(autoencoder()), LOSSES["mse"])(batch, None)
