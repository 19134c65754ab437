from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, NotInitializedError
from recoder.model import Recoder
from recoder.nn import ELSA
from recoder.ops.rows import SparseRows


def made(num_items=12, size=4, **params):
    torch.manual_seed(0)
    model = ELSA(size, **params)
    model.init_model(num_items=num_items)
    return model.double()


def random_dense(num_users, num_items, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(1, 4, (num_users, num_items), generator=generator).double()
    return values * (torch.rand(values.shape, generator=generator) < 0.4)


def dense_loss(weight, x, y):
    """Vančura et al. 2022: the squared distance of normalised scores from normalised interactions."""
    rows = F.normalize(weight, dim=1)
    scores = x @ rows @ rows.T - x
    return (F.normalize(scores, dim=1) - F.normalize(y, dim=1)).square().sum(dim=1).mean()


@given(
    num_users=st.integers(1, 8),
    num_items=st.integers(2, 15),
    size=st.integers(1, 6),
    other_target=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_the_loss_from_the_gram_matrix_is_that_of_the_dense_scores(num_users, num_items, size, other_target, seed):
    model = made(num_items, size)
    x = random_dense(num_users, num_items, seed)
    y = random_dense(num_users, num_items, seed + 1) if other_target else x
    # a user without interactions has no direction: there the dense form counts 1 or 0, the other 2
    x[:, 0], y[:, -1] = 1, 1
    input, target = SparseRows.from_dense(x), SparseRows.from_dense(y)
    loss = model.batch_loss(input, None, None, input if y is x else target, None)
    weight = model.table.weight.detach().clone().requires_grad_()
    expected = dense_loss(weight, x, y)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(model.table.weight.grad, weight.grad, rtol=1e-5, atol=1e-5)


def test_the_loss_over_some_items_is_that_of_their_columns():
    model, x = made(), random_dense(5, 7, 3)
    x[:, 0] = 1
    items = torch.tensor([11, 3, 4, 0, 9, 2, 1])
    rows = SparseRows.from_dense(x)
    loss = model.batch_loss(rows, None, items, rows, items.clone())
    torch.testing.assert_close(loss, dense_loss(model.table.weight[items], x, x))


def test_nobody_is_divided_by_the_length_of_nothing():
    model = made()
    rows = SparseRows.from_dense(torch.zeros(3, 12, dtype=torch.float64))
    loss = model.batch_loss(rows, None, None, rows, None)
    loss.backward()
    assert float(loss.detach()) == 2
    assert model.table.weight.grad.isfinite().all()


def test_scores_are_sums_of_cosines_of_items():
    model = made().eval()
    x = random_dense(4, 12, 1)
    rows = F.normalize(model.table.weight, dim=1)
    torch.testing.assert_close(model(x), x @ rows @ rows.T)


def test_it_learns_which_items_go_together_whatever_the_loss_of_the_recoder_is():
    # users of two kinds, each with most of the items of its kind
    dense = np.kron(np.eye(2), np.ones((20, 6))) * (np.random.default_rng(0).random((40, 12)) < 0.8)
    data = RecommendationDataset(sparse.csr_matrix(dense.astype(np.float32)))
    recoder = Recoder(ELSA(4), optimizer_type="adam", loss="logistic", seed=0)
    history = recoder.train(data, RecommendationDataset(data.interactions_matrix), lr=0.1, num_epochs=30, batch_size=20)
    assert history[-1].loss < 0.5 * history[0].loss
    assert history[-1].val_loss == pytest.approx(history[-1].loss, rel=0.05)
    # who has two items of a kind gets the others of that kind
    some = sparse.csr_matrix((np.ones(4), ([0, 0, 1, 1], [0, 1, 6, 7])), shape=(2, 12), dtype=np.float32)
    first, second = recoder.recommend(UsersInteractions(np.arange(2), some), 4)
    assert set(first) == {2, 3, 4, 5}
    assert set(second) == {8, 9, 10, 11}


def test_the_squares_that_cancel_are_never_rounded_to_bfloat16():
    model, dense = made().float(), random_dense(6, 12, 4).float()
    dense[:, 0] = 1
    rows = SparseRows.from_dense(dense)
    expected = model.batch_loss(rows, None, None, rows, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model.batch_loss(rows, None, None, rows, None), expected)


def test_a_correction_of_scores_is_refused():
    data = RecommendationDataset(sparse.csr_matrix(random_dense(30, 12, 0).float().numpy()))
    recoder = Recoder(ELSA(4), optimizer_type="adam", loss="logloss", seed=0)
    with pytest.raises(ConfigError, match="ELSA brings a loss of its own"):
        recoder.train(data, negative_sampling=True, logq_correction=True)


def test_input_and_target_over_different_samples_are_refused():
    model, rows = made(), SparseRows.from_dense(torch.ones(1, 2, dtype=torch.float64))
    with pytest.raises(ConfigError, match="leave negative_sampling out"):
        model.batch_loss(rows, None, torch.tensor([0, 1]), rows, torch.tensor([0, 2]))


def test_negative_sampling_is_refused_before_training():
    data = RecommendationDataset(sparse.csr_matrix(random_dense(30, 12, 0).float().numpy()))
    with pytest.raises(ConfigError, match="leave negative_sampling out"):
        Recoder(ELSA(4), optimizer_type="adam", seed=0).train(data, negative_sampling=True)


def test_bad_arguments_and_missing_parameters_are_said():
    with pytest.raises(ConfigError, match="embedding_size is 0"):
        ELSA(0)
    with pytest.raises(ConfigError, match=r"it must lie in \[0, 1\)"):
        ELSA(3, noise_prob=1)
    with pytest.raises(ConfigError, match="num_items is None"):
        ELSA().init_model()
    with pytest.raises(NotInitializedError):
        ELSA().item_factors()
