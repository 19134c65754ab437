from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, DivergedError, UnknownIdError
from recoder.metrics import NDCG
from recoder.model import Recoder
from recoder.nn import DynamicAutoencoder, MatrixFactorization
from recoder.ops.least_squares import spectrum_of
from recoder.training import Callback


def interactions(num_users=30, num_items=20, seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 3, (num_users, num_items)) * (rng.random((num_users, num_items)) < 0.3)
    return sparse.csr_matrix(dense.astype(np.float32))


def recoder_of(model, confidence=3.0, seed=4):
    return Recoder(model, optimizer_type="als", loss="mse", loss_params={"confidence": confidence}, seed=seed)


def dense_objective(model, matrix, confidence, penalties_of_users, penalties_of_items):
    users, items = model.users.weight.detach().double(), model.items.weight.detach().double()
    target = torch.from_numpy(matrix.toarray()).double()
    error = ((1 + confidence * target) * (target - users @ items.T).square()).sum()
    decay = (penalties_of_users * users.square().sum(1)).sum() + (penalties_of_items * items.square().sum(1)).sum()
    return float(error + decay) / len(users)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_the_loss_of_an_epoch_is_the_objective_and_falls(power):
    matrix = interactions()
    recoder = recoder_of(MatrixFactorization(6, l2_power=power))
    history = recoder.train(RecommendationDataset(matrix), weight_decay=2.0, num_epochs=8)
    losses = [record.loss for record in history]
    assert all(after < before for before, after in pairwise(losses))

    def penalties(counts):
        return torch.from_numpy(2.0 * (np.maximum(counts, 1) / counts.mean()) ** power)

    expected = dense_objective(
        recoder.model, matrix, 3.0, penalties(np.diff(matrix.indptr)), penalties(matrix.getnnz(axis=0))
    )
    assert losses[-1] == pytest.approx(expected, rel=1e-5)


def test_at_the_end_each_side_is_the_exact_solution_for_the_other():
    matrix = interactions()
    recoder = recoder_of(MatrixFactorization(4))
    recoder.train(RecommendationDataset(matrix), weight_decay=1.5, num_epochs=300)
    users, items = (table.weight.detach().double() for table in (recoder.model.users, recoder.model.items))
    target = torch.from_numpy(matrix.toarray()).double()
    for found, other, rows in ((users, items, target), (items, users, target.T)):
        for row, y in zip(found, rows, strict=True):
            weights = 1 + 3.0 * y
            system = (other.T * weights) @ other + 1.5 * torch.eye(4, dtype=torch.float64)
            torch.testing.assert_close(row, torch.linalg.solve(system, (weights * y) @ other), rtol=1e-3, atol=1e-3)
    assert not recoder.model.items.bias.any()


def test_a_sweep_leaves_the_items_in_a_basis_in_which_users_are_folded_in_quickly():
    recoder = recoder_of(MatrixFactorization(6, fold_in=True))
    recoder.train(RecommendationDataset(interactions()), weight_decay=1.0, num_epochs=2)
    items = recoder.model.items.weight.detach()
    gram = items.T @ items
    assert spectrum_of(gram, 1.0) is not None
    assert gram.diagonal().min() < 0.5 * gram.diagonal().max()


def test_confidence_falls_with_the_popularity_of_the_item():
    matrix = interactions()
    recoder = recoder_of(MatrixFactorization(4, confidence_power=0.7, fold_in=True))
    recoder.train(RecommendationDataset(matrix), weight_decay=1.5, num_epochs=300)
    counts = matrix.getnnz(axis=0) + 10
    shares = torch.from_numpy((counts / counts.mean()) ** -0.7)
    items = recoder.model.items.weight.detach().double()
    target = torch.from_numpy(matrix.toarray()).double()
    for row, y in zip(recoder.model.users.weight.detach().double(), target, strict=True):
        weights = 1 + 3.0 * shares * y
        system = (items.T * weights) @ items + 1.5 * torch.eye(4, dtype=torch.float64)
        torch.testing.assert_close(row, torch.linalg.solve(system, (weights * y) @ items), rtol=1e-3, atol=1e-3)
    by_row = recoder.model.users.weight @ recoder.model.items.weight.T
    torch.testing.assert_close(folded(recoder, matrix), by_row.detach(), rtol=1e-2, atol=1e-2)


def test_users_beyond_the_data_get_no_factors():
    recoder = Recoder(MatrixFactorization(4), num_users=33, num_items=25, optimizer_type="als", loss="mse", seed=0)
    recoder.train(RecommendationDataset(interactions()), weight_decay=1.0, num_epochs=2)
    assert not recoder.model.users.weight[30:].any()
    assert recoder.model.users.weight[:30].any()


def test_a_run_that_goes_on_from_a_file_ends_with_the_same_weights(tmp_path):
    dataset = RecommendationDataset(interactions())
    whole = recoder_of(MatrixFactorization(5, fold_in=True, l2_power=0.5, confidence_power=0.3))
    whole.train(dataset, weight_decay=1.0, num_epochs=5)
    half = recoder_of(MatrixFactorization(5, fold_in=True, l2_power=0.5, confidence_power=0.3))
    half.train(dataset, weight_decay=1.0, num_epochs=2)
    loaded = Recoder(MatrixFactorization(1))
    loaded.init_from_model_file(half.save_state(tmp_path / "als"))
    loaded.train(dataset, weight_decay=1.0, num_epochs=5)
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], weight)
    assert loaded.model.model_params() == whole.model.model_params()


def test_it_reports_metrics_and_saves_as_any_other_training(tmp_path):
    matrix = interactions(60)
    known = sparse.csr_matrix(np.tril(matrix.toarray(), 5))
    validation = RecommendationDataset(known, (matrix - known).tocsr())
    recoder = recoder_of(MatrixFactorization(4, fold_in=True))
    history = recoder.train(
        RecommendationDataset(matrix),
        validation,
        weight_decay=1.0,
        num_epochs=2,
        eval_freq=1,
        metrics=[NDCG(5)],
        model_checkpoint_prefix=tmp_path / "als",
    )
    assert set(history[-1].metrics) == {"NDCG@5"}
    assert history[-1].val_loss is not None
    assert (tmp_path / "als_epoch_2.model").exists()


@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        (DynamicAutoencoder([3]), "mse", "not a DynamicAutoencoder"),
        (MatrixFactorization(3, activation_type="tanh"), "mse", "activation_type 'tanh'"),
        (MatrixFactorization(3, dropout_prob=0.5), "mse", "dropout_prob 0.5"),
        (MatrixFactorization(3), "logistic", "not LogisticLoss"),
        (MatrixFactorization(3), nn.MSELoss(reduction="sum"), "not MSELoss"),
    ],
)
def test_what_it_cannot_train_is_refused(model, loss, message):
    recoder = Recoder(model, optimizer_type="als", loss=loss, seed=0)
    with pytest.raises(ConfigError, match=message):
        recoder.train(RecommendationDataset((interactions() > 0).astype(np.float32)))
    assert not list(model.parameters())


def test_factors_that_are_not_numbers_end_it_and_are_not_saved(tmp_path):
    recoder = recoder_of(MatrixFactorization(4))
    with pytest.raises(DivergedError, match="a larger weight_decay"):
        recoder.train(RecommendationDataset(interactions() * 1e30), num_epochs=2)
    with pytest.raises(DivergedError):
        recoder.save_state(tmp_path / "als")


def test_biases_from_popularity_are_refused():
    with pytest.raises(ConfigError, match="leave popularity_bias out"):
        recoder_of(MatrixFactorization(4)).train(RecommendationDataset(interactions()), popularity_bias=True)


def test_targets_are_what_is_fitted():
    matrix, target = interactions(), interactions(seed=1)
    recoder = recoder_of(MatrixFactorization(4))
    recoder.train(RecommendationDataset(matrix, target), weight_decay=1.0, num_epochs=3)
    other = recoder_of(MatrixFactorization(4))
    other.train(RecommendationDataset(target), weight_decay=1.0, num_epochs=3)
    assert torch.equal(recoder.model.items.weight, other.model.items.weight)


def test_more_users_than_rows_are_refused_where_users_are_folded_in_too():
    recoder = Recoder(MatrixFactorization(4, fold_in=True), num_users=5, user_based=False, optimizer_type="als", seed=0)
    with pytest.raises(UnknownIdError, match="30 users, the model 5"):
        recoder.train(RecommendationDataset(interactions()))


def test_a_call_that_trains_nothing_changes_nothing():
    dataset = RecommendationDataset(interactions())
    recoder = recoder_of(MatrixFactorization(4, fold_in=True))
    recoder.train(dataset, num_epochs=3, weight_decay=3.0)
    before = folded(recoder, interactions())
    recoder.train(dataset, num_epochs=3)
    assert torch.equal(folded(recoder, interactions()), before)
    assert not recoder.model.training  # threads may score at once


@pytest.mark.parametrize("side", ["users", "items"])
def test_a_table_that_is_frozen_is_not_solved_for(side):
    recoder = recoder_of(MatrixFactorization(4))
    recoder.train(RecommendationDataset(interactions()), num_epochs=1)
    getattr(recoder.model, side).weight.requires_grad_(False)
    with pytest.raises(ConfigError, match=r"users.weight and items.weight, but one of them"):
        recoder.train(RecommendationDataset(interactions()), num_epochs=2)


def test_factors_of_float64_are_solved_for():
    torch.set_default_dtype(torch.float64)
    try:
        recoder = recoder_of(MatrixFactorization(4))
        losses = [record.loss for record in recoder.train(RecommendationDataset(interactions()), num_epochs=3)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert recoder.model.items.weight.dtype == torch.float64
    assert losses == sorted(losses, reverse=True)


def test_a_call_that_cannot_begin_changes_nothing():
    class FailsToStart(Callback):
        def on_train_start(self, run):
            raise OSError("no place for a log")

    recoder = recoder_of(MatrixFactorization(4, fold_in=True, confidence_power=0.3))
    recoder.train(RecommendationDataset(interactions()), num_epochs=3, weight_decay=3.0)
    before = {name: tensor.clone() for name, tensor in recoder.model.state_dict().items()}
    with pytest.raises(OSError, match="no place"):
        recoder.train(
            RecommendationDataset(interactions()[:20]), num_epochs=4, weight_decay=3.0, callbacks=[FailsToStart()]
        )
    for name, tensor in recoder.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_run_that_is_stopped_in_validation_goes_on_with_validation():
    dataset = RecommendationDataset(interactions())
    whole = recoder_of(MatrixFactorization(4))
    whole.train(dataset, weight_decay=1.0, num_epochs=3)

    class StopOnce(Callback):
        def on_epoch_end(self, report):
            if report.epoch == 2:
                raise KeyboardInterrupt

    stopped = recoder_of(MatrixFactorization(4))
    with pytest.raises(KeyboardInterrupt):
        stopped.train(dataset, weight_decay=1.0, num_epochs=3, callbacks=[StopOnce()])
    stopped.train(dataset, weight_decay=1.0, num_epochs=3)
    assert torch.equal(stopped.model.items.weight, whole.model.items.weight)
    assert [record.loss for record in stopped.history] == [record.loss for record in whole.history]


def folded(recoder, matrix):
    return recoder.predict(UsersInteractions(np.arange(matrix.shape[0]), matrix))


def test_folding_in_gives_training_users_their_own_factors():
    matrix = interactions()
    recoder = recoder_of(MatrixFactorization(4, fold_in=True, l2_power=0.7))
    recoder.train(RecommendationDataset(matrix), weight_decay=1.5, num_epochs=300)
    by_row = recoder.model.users.weight @ recoder.model.items.weight.T
    torch.testing.assert_close(folded(recoder, matrix), by_row.detach(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("loss", ["logistic", "logloss", "mse"])
def test_folding_in_minimises_the_loss_that_was_trained(loss):
    matrix = (interactions() > 0).astype(np.float32)
    new = (interactions(7, seed=5) > 0).astype(np.float32)
    recoder = Recoder(MatrixFactorization(4, fold_in=True), optimizer_type="adam", loss=loss, seed=0)
    recoder.train(RecommendationDataset(matrix), lr=0.05, weight_decay=0.01, num_epochs=30, batch_size=10)
    model, l2 = recoder.model, 0.01 / 2 * 30
    assert model.objective.l2 == pytest.approx(l2)
    from recoder.losses import make_loss

    module, target = make_loss(loss, None), torch.from_numpy(new.toarray())
    items, bias = model.items.weight.detach(), model.items.bias.detach()
    scores = folded(recoder, new)
    factors = torch.linalg.lstsq(items, (scores - bias).T).solution.T.requires_grad_()
    value = module(factors @ items.T + bias, target) + l2 * factors.square().sum()
    (gradient,) = torch.autograd.grad(value, factors)
    at_zero = torch.zeros_like(factors, requires_grad=True)
    (reference,) = torch.autograd.grad(module(at_zero @ items.T + bias, target), at_zero)
    assert gradient.norm() < 0.01 * reference.norm()


def test_new_users_can_be_evaluated_where_users_are_folded_in():
    recoder = recoder_of(MatrixFactorization(4, fold_in=True))
    recoder.train(RecommendationDataset(interactions(20)), weight_decay=1.0, num_epochs=3)
    new = interactions(50, seed=8)
    lists = recoder.recommend(UsersInteractions(np.arange(1000, 1050), new), 5)
    assert all(len(items) == 5 for items in lists)


def test_a_loss_of_ones_own_cannot_be_folded_in():
    recoder = Recoder(MatrixFactorization(3, fold_in=True), loss=nn.MSELoss(reduction="sum"), seed=0)
    with pytest.raises(ConfigError, match="fold_in=True needs the loss 'mse', or"):
        recoder.train(RecommendationDataset(interactions()))
