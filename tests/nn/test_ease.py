from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from recoder import _memory
from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import (
    ConfigError,
    DivergedError,
    FileFormatError,
    NotEnoughMemoryError,
    NotInitializedError,
    UnknownIdError,
)
from recoder.model import Recoder
from recoder.nn import EASE, Popularity, ease_weights
from recoder.ops import closed_form
from recoder.ops.rows import SparseRows


def random_interactions(num_users, num_items, seed, *, density=0.25):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 4, (num_users, num_items)) * (rng.random((num_users, num_items)) < density)
    return sparse.csr_matrix(values.astype(np.float32))


def by_the_formula(matrix, l2, dropout_prob=0.0, discount=0.0):
    """Steck 2019, equation 8, with the penalties of Steck 2020, in float64."""
    dense = matrix.toarray().astype(np.float64)
    gram = dense.T @ dense
    penalties = l2 + dropout_prob / (1 - dropout_prob) * np.diag(gram)
    inverse = np.linalg.inv(gram + np.diag(penalties))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights / np.maximum((dense > 0).sum(axis=0), 1) ** discount


def solved(matrix, **params):
    model = EASE(**params)
    model.init_model(num_items=matrix.shape[1])
    model.solve(matrix)
    return model.eval()


@given(
    num_users=st.integers(1, 40),
    num_items=st.integers(1, 40),
    l2=st.sampled_from([3.0, 20.0, 200.0]),
    dropout_prob=st.sampled_from([0.0, 0.3, 0.8]),
    discount=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=100, deadline=None)
def test_scores_are_those_of_the_formula_whichever_side_is_inverted(
    num_users, num_items, l2, dropout_prob, discount, seed
):
    matrix = random_interactions(num_users, num_items, seed)
    model = solved(matrix, l2=l2, dropout_prob=dropout_prob, popularity_discount=discount)
    scores = model(torch.from_numpy(matrix.toarray()))
    expected = matrix.toarray() @ by_the_formula(matrix, l2, dropout_prob, discount)
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_it_inverts_the_smaller_of_the_two_matrices():
    wide, tall = random_interactions(8, 30, 0), random_interactions(60, 12, 0)
    assert solved(wide).solution.inverse.shape[0] <= 8
    assert solved(tall).solution.weights.shape == (12, 12)


class TestOverUsers:
    """Histories that were in training, and many at once, are scored in other ways."""

    @pytest.fixture(params=[0, 0.5, 10**9], ids=["sums", "either", "products"])
    def way(self, request, monkeypatch):
        monkeypatch.setattr(ease_weights, "_PRODUCTS_FOR_A_SUM", request.param)
        monkeypatch.setattr(ease_weights, "_AT_ONCE", 7)
        monkeypatch.setattr(ease_weights, "_WEIGHTS_AT_ONCE", 90)

    @pytest.mark.usefixtures("way")
    @pytest.mark.parametrize("users_per_block", [1, 2, 5, 100])
    @pytest.mark.parametrize("dropout_prob", [0.0, 0.3])
    def test_scores_are_those_of_the_formula(self, dropout_prob, users_per_block):
        matrix = random_interactions(20, 60, 2)
        model = solved(matrix, l2=3.0, dropout_prob=dropout_prob)
        dense = matrix.toarray()
        mixed = np.vstack([dense[:3], dense[3:5] * 2, dense[5:7], np.zeros((1, 60), np.float32), dense[9:]])
        blocks = list(model.score_blocks(SparseRows.from_scipy(sparse.csr_matrix(mixed)), None, users_per_block))
        assert [len(block) for block in blocks[:-1]] == [users_per_block] * (len(blocks) - 1)
        expected = mixed @ by_the_formula(matrix, 3.0, dropout_prob)
        np.testing.assert_allclose(torch.cat(blocks).numpy(), expected, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(model(torch.from_numpy(mixed)).numpy(), expected, rtol=1e-3, atol=1e-4)

    def test_histories_of_training_need_no_product(self, monkeypatch):
        matrix = random_interactions(20, 60, 2)
        model = solved(matrix, l2=3.0)
        monkeypatch.setattr(ease_weights.UserWeights, "_weights_of_new", lambda *_: pytest.fail("none of them is new"))
        some = matrix.toarray()[[19, 3, 3, 0]]
        some[3] = 0
        expected = some @ by_the_formula(matrix, 3.0)
        np.testing.assert_allclose(model(torch.from_numpy(some)).numpy(), expected, rtol=1e-3, atol=1e-4)
        model = copy.deepcopy(model)  # with what was derived
        np.testing.assert_allclose(model(torch.from_numpy(some)).numpy(), expected, rtol=1e-3, atol=1e-4)

    def test_equal_histories_of_training_are_scored_alike(self):
        matrix = random_interactions(20, 60, 2)
        matrix = sparse.vstack([matrix, matrix[:2]]).tocsr()
        scores = solved(matrix, l2=3.0)(torch.from_numpy(matrix.toarray()))
        expected = matrix.toarray() @ by_the_formula(matrix, 3.0)
        np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool])
    def test_the_input_may_be_of_any_dtype(self, dtype):
        matrix = random_interactions(20, 60, 2).sign()
        model = solved(matrix, l2=3.0)
        dense = torch.from_numpy(matrix.toarray())
        other = dense.roll(1, dims=1)
        for histories in (dense, other):
            assert torch.equal(model(histories.to(dtype)), model(histories))

    @pytest.mark.parametrize("is_known", [True, False])
    def test_gradients_in_the_input_are_those_of_the_formula(self, is_known):
        matrix = random_interactions(20, 60, 2)
        dense = torch.from_numpy(matrix.toarray()[:2]).mul_(1.0 if is_known else 1.5).requires_grad_()
        solved(matrix, l2=3.0)(dense)[:, 7].sum().backward()
        expected = by_the_formula(matrix, 3.0)[:, 7] * (dense.detach().numpy() != 0)
        np.testing.assert_allclose(dense.grad.numpy(), expected, rtol=1e-3, atol=1e-4)

    def test_a_forward_of_ones_own_is_used(self):
        class Boosted(EASE):
            def forward(self, *args, **kwargs):
                return super().forward(*args, **kwargs) + torch.arange(60.0)

        matrix = random_interactions(20, 60, 2)
        recoder = Recoder(Boosted(3.0), seed=0)
        recoder.train(RecommendationDataset(matrix))
        users = UsersInteractions(np.arange(20), matrix)
        expected = matrix.toarray() @ by_the_formula(matrix, 3.0) + np.arange(60)
        np.testing.assert_allclose(recoder.predict(users).numpy(), expected, rtol=1e-3, atol=1e-4)


def test_users_with_one_interaction_make_it_no_larger():
    several = random_interactions(6, 30, 1)
    lonely = sparse.csr_matrix((np.ones(20), (np.arange(20), np.arange(20))), shape=(20, 30), dtype=np.float32)
    both = sparse.vstack([several, lonely]).tocsr()
    assert len(solved(both).solution.inverse) == (np.diff(several.indptr) > 1).sum()
    scores = solved(both, l2=2.0)(torch.from_numpy(both.toarray()))
    np.testing.assert_allclose(scores.numpy(), both.toarray() @ by_the_formula(both, 2.0), rtol=1e-4, atol=1e-5)


def test_where_nobody_has_two_interactions_scores_are_zero_and_nothing_is_printed(capfd):
    matrix = sparse.csr_matrix(np.eye(5, 9, dtype=np.float32))
    scores = solved(matrix)(torch.from_numpy(matrix.toarray()))
    assert not scores.any()
    assert capfd.readouterr() == ("", "")


def test_dropout_gives_the_weights_that_are_best_on_average_over_what_is_dropped():
    """The gradient of the expected error is zero in every weight that is free to move."""
    matrix = random_interactions(30, 6, 3)
    prob, l2 = 0.4, 1.5
    weights = solved(matrix, l2=l2, dropout_prob=prob).solution.weights.double().requires_grad_()
    rng = np.random.default_rng(0)
    dense = torch.from_numpy(matrix.toarray()).double()
    kept = torch.from_numpy(rng.random((40_000, 1, 6)) >= prob).double()
    # Steck 2020 scales nothing up: the input that is left is divided by 1 - prob in the end, which its penalty holds
    mean = dense / 1.0
    variance = prob / (1 - prob) * dense.square()
    error = (mean - mean @ weights).square().sum() + (variance @ weights.square()).sum() + l2 * weights.square().sum()
    error.backward()
    free = weights.grad.clone().fill_diagonal_(0)
    assert free.abs().max() < 1e-3 * weights.grad.abs().max()
    # and that is what dropping gives: kept / (1 - prob) has this mean and this variance
    noisy = kept / (1 - prob)
    assert abs(float(noisy.mean()) - 1) < 0.01
    assert abs(float(noisy.var()) - prob / (1 - prob)) < 0.01


def test_values_too_large_for_float32_are_refused_where_users_are_fewer():
    rng = np.random.default_rng(0)
    plays = sparse.csr_matrix(1.0 * (rng.random((60, 200)) < 0.2))
    plays.data[plays.indptr[:-1]] = 1_000  # one item of each user
    with pytest.raises(DivergedError, match=r"as large as 1000 .*binarize.*l2"):
        solved(plays.astype(np.float32), l2=100.0)
    model = solved(plays.log1p().astype(np.float32), l2=100.0)
    expected = plays.log1p().toarray() @ by_the_formula(plays.log1p(), 100.0)
    np.testing.assert_allclose(model(torch.from_numpy(plays.log1p().toarray()).float()), expected, rtol=1e-2, atol=1e-2)


def test_counts_beyond_the_whole_numbers_of_float32_are_counted():
    """Sums of ones in float32 stay at 2^24."""
    column = np.ones((20_001, 1), np.float32)
    column[0] = 4096  # whose square is 2^24
    rows = sparse.csr_matrix(np.hstack([column, column]).T)
    np.testing.assert_array_equal(closed_form._gram(rows).numpy(), np.full((2, 2), 2**24 + 20_000))


def test_first_scores_without_gradients_leave_later_ones_theirs():
    rng = np.random.default_rng(0)
    model = EASE(l2=1.0)
    model.init_model(num_items=30, num_users=8)
    model.solve(sparse.csr_matrix((rng.random((8, 30)) < 0.4).astype(np.float32)))
    assert model.keeps_interactions
    x = torch.from_numpy((rng.random((2, 30)) < 0.4).astype(np.float32))
    with torch.inference_mode():
        before = model(x)
    asked = x.clone().requires_grad_()
    scores = model(asked)
    torch.testing.assert_close(scores.detach(), before)
    scores.sum().backward()
    assert asked.grad is not None
    assert asked.grad.any()


def test_a_discount_moves_recommendations_to_rarer_items():
    matrix = random_interactions(80, 20, 5)
    counts = matrix.getnnz(axis=0)

    def mean_popularity(discount):
        recoder = Recoder(EASE(l2=5, popularity_discount=discount), seed=0)
        recoder.train(RecommendationDataset(matrix))
        return counts[recoder.ranked(UsersInteractions(np.arange(80), matrix), 5)].mean()

    assert mean_popularity(0.5) < mean_popularity(0.0)


def test_a_file_brings_either_solution_back(tmp_path):
    for matrix in (random_interactions(10, 30, 0), random_interactions(40, 12, 0)):
        histories = UsersInteractions(np.arange(matrix.shape[0]), matrix)
        recoder = Recoder(EASE(l2=3, dropout_prob=0.2, popularity_discount=0.1), seed=0)
        recoder.train(RecommendationDataset(matrix))
        loaded = Recoder(EASE(), seed=1)
        loaded.init_from_model_file(recoder.save_state(tmp_path / "ease"))
        assert loaded.model.model_params() == recoder.model.model_params()
        assert torch.equal(loaded.predict(histories), recoder.predict(histories))


def test_work_that_would_not_fit_is_refused_with_an_estimate(monkeypatch):
    matrix = random_interactions(30, 40, 0)
    model = EASE()
    model.init_model(num_items=40)
    monkeypatch.setattr(_memory, "available_bytes", lambda: 1 << 20)
    with pytest.raises(NotEnoughMemoryError, match=r"EASE for 40 items and \d+ users .* needs about 0\.3 GiB"):
        model.solve(matrix)
    assert model.solution is None


def test_what_training_needs_is_the_square_of_the_smaller_side():
    assert EASE.bytes_needed(100_000, 200_000) == pytest.approx(4e10, rel=0.01)
    assert EASE.bytes_needed(200_000, 100_000) == EASE.bytes_needed(100_000, 200_000)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"l2": 0}, "without a penalty"),
        ({"l2": -1}, "l2 is -1"),
        ({"dropout_prob": 1.0}, r"it must lie in \[0, 1\)"),
        ({"popularity_discount": float("nan")}, "popularity_discount is nan"),
    ],
)
def test_arguments_out_of_range_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        EASE(**params)


def test_before_init_model_there_are_no_scores():
    with pytest.raises(NotInitializedError):
        EASE()(torch.zeros(1, 3))
    with pytest.raises(ConfigError, match="num_items is None"):
        EASE().init_model()


def test_it_needs_interactions():
    with pytest.raises(ConfigError, match="pass them"):
        solved(random_interactions(4, 4, 0))(None, torch.arange(2))


@pytest.mark.parametrize("at_once", [1, 7, 64, 1 << 20])
def test_pairs_are_summed_whatever_the_number_at_once(at_once, monkeypatch):
    matrix = random_interactions(12, 40, 2)
    monkeypatch.setattr(closed_form, "_PAIRS_AT_ONCE", at_once)
    scores = solved(matrix, l2=3.0)(torch.from_numpy(matrix.toarray()))
    np.testing.assert_allclose(scores.numpy(), matrix.toarray() @ by_the_formula(matrix, 3.0), rtol=1e-3, atol=1e-3)


def test_the_last_item_counts_where_pairs_fill_their_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    inverse = torch.from_numpy(rng.normal(size=(300, 300)).astype(np.float32))
    columns = [np.sort(rng.permutation(300)[:4]) for _ in range(8)]
    ones = sparse.csc_matrix((np.ones(32), np.concatenate(columns), np.arange(0, 33, 4)), shape=(300, 8))
    monkeypatch.setattr(closed_form, "_PAIRS_AT_ONCE", 32)  # of two items
    expected = [inverse.numpy()[np.ix_(column, column)].sum() for column in columns]
    np.testing.assert_allclose(closed_form._quadratic_forms(inverse, ones), expected, rtol=1e-5)


def test_nobody_with_two_interactions_leaves_zeros_that_a_file_brings_back(tmp_path):
    alone = sparse.eye(8, 20, format="csr", dtype=np.float32)
    recoder = Recoder(EASE(), seed=0)
    recoder.train(RecommendationDataset(alone))
    loaded = Recoder(EASE())
    loaded.init_from_model_file(recoder.save_state(tmp_path / "ease"))
    assert not loaded.predict(UsersInteractions(np.arange(8), alone)).any()


def test_init_model_forgets_the_solution():
    model = solved(random_interactions(8, 30, 0))
    model.init_model(num_items=30)
    assert not model(torch.ones(1, 30)).any()
    assert model.model_params()["solved"] is None


@pytest.mark.parametrize("width", [20, 200_000])
def test_more_items_than_the_model_has_are_refused(width):
    matrix = sparse.csr_matrix((np.ones(4), ([0, 0, 1, 1], [0, width - 1, 1, 2])), shape=(8, width), dtype=np.float32)
    recoder = Recoder(EASE(), num_items=10, item_based=False, seed=0)
    with pytest.raises(UnknownIdError, match=f"{width} items, the model 10"):
        recoder.train(RecommendationDataset(matrix))
    model = EASE()
    model.init_model(num_items=10)
    with pytest.raises(UnknownIdError, match="make it with num_items"):
        model.solve(matrix)


@pytest.mark.parametrize(
    "damage",
    [
        lambda solution: solution.offsets.__setitem__(3, -(10**9)),
        lambda solution: solution.offsets.copy_(solution.offsets.flip(0)),
        lambda solution: solution.items.__setitem__(0, 30),
        lambda solution: solution.items.__setitem__(0, -1),
    ],
)
def test_interactions_of_a_file_that_are_no_rows_are_refused(damage, tmp_path):
    recoder = Recoder(EASE(), seed=0)
    recoder.train(RecommendationDataset(random_interactions(10, 30, 0)))
    damage(recoder.model.solution)
    path = recoder.save_state(tmp_path / "ease")
    with pytest.raises(FileFormatError, match="no rows of items"):
        Recoder(EASE()).init_from_model_file(path)


@pytest.mark.parametrize("model", [EASE(), Popularity()])
def test_targets_to_train_with_are_not_looked_at_with_a_warning(model, caplog):
    matrix = sparse.csr_matrix(np.eye(4, dtype=np.float32))
    Recoder(model).train(RecommendationDataset(matrix, matrix))
    assert "the targets of train_dataset are not looked at" in caplog.text


@pytest.mark.parametrize("size", [1, 5, 1023, 1024, 2100])
def test_both_ways_to_invert_give_the_inverse(size):
    rows = torch.randn(size, 40, generator=torch.Generator().manual_seed(size))
    matrix = rows @ rows.T + 50 * torch.eye(size)
    for invert in (closed_form._invert_by_torch, closed_form._invert_by_scipy):
        inverse = matrix.clone()
        assert invert(inverse)
        torch.testing.assert_close(inverse, inverse.mT, rtol=0, atol=0)
        torch.testing.assert_close(inverse @ matrix, torch.eye(size), rtol=0, atol=1e-4)
        assert not invert(-matrix)


def test_where_threads_are_limited_pytorch_inverts(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(closed_form, "_THREADS_AT_FIRST", torch.get_num_threads())
    assert closed_form._suits_scipy(1000)
    assert not closed_form._suits_scipy(50_000)
    monkeypatch.setattr(closed_form, "_THREADS_AT_FIRST", torch.get_num_threads() + 1)
    assert not closed_form._suits_scipy(1000)
    monkeypatch.setattr(closed_form, "_THREADS_AT_FIRST", 1)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert not closed_form._suits_scipy(1000)
