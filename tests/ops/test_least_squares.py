from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoder.losses import LogisticLoss, MSELoss, MultinomialNLLLoss
from recoder.ops import least_squares as module
from recoder.ops.least_squares import diagonal_basis, improve, least_squares, newton, spectrum_of
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import Logistic, Multinomial


def problem(num_users, num_items, num_factors, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(num_items, num_factors, generator=generator, dtype=dtype)
    bias = torch.randn(num_items, generator=generator, dtype=dtype)
    target = torch.randint(1, 4, (num_users, num_items), generator=generator).to(dtype)
    target[torch.rand(target.shape, generator=generator) < 0.6] = 0
    target[0] = 0  # a user without interactions
    penalties = 0.3 + torch.rand(num_users, generator=generator, dtype=dtype)
    return table, bias, target, penalties


def exact(table, bias, target, penalties, confidence):
    """The linear system of each user, written down and solved."""
    found = []
    for y, penalty in zip(target, penalties, strict=True):
        weights = 1 + confidence * y
        matrix = (table.T * weights) @ table + penalty * torch.eye(table.shape[1], dtype=table.dtype)
        found.append(torch.linalg.solve(matrix, (weights * (y - bias)) @ table))
    return torch.stack(found)


@given(
    num_users=st.integers(1, 9),
    num_items=st.integers(1, 30),
    num_factors=st.integers(1, 12),
    confidence=st.sampled_from([0.0, 3.0]),
    with_bias=st.booleans(),
    single=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_as_many_steps_as_factors_solve_each_users_system(
    num_users, num_items, num_factors, confidence, with_bias, single, seed
):
    table, bias, target, penalties = problem(num_users, num_items, num_factors, seed)
    expected = exact(table, bias if with_bias else 0 * bias, target, penalties, confidence)
    dtype = torch.float32 if single else torch.float64  # the compiled kernel serves float32 alone
    table, bias, target, penalties = (tensor.to(dtype) for tensor in (table, bias, target, penalties))
    found = least_squares(
        torch.ones(num_users, num_factors, dtype=dtype),
        table,
        table.T @ table,
        SparseRows.from_dense(target),
        weights_Z=confidence * SparseRows.from_dense(target).values,
        penalties_B=penalties,
        steps=2 * num_factors,  # rounding costs some
        bias_N=bias if with_bias else None,
    )
    torch.testing.assert_close(found.double(), expected, rtol=2e-3 if single else 1e-6, atol=2e-3 if single else 1e-6)


def test_every_step_lowers_the_objective_of_every_user():
    table, _, target, penalties = problem(12, 40, 10, seed=3)
    rows, loss = SparseRows.from_dense(target), MSELoss(2.0, reduction="none")
    values = []
    for steps in range(6):
        found = least_squares(
            torch.zeros(12, 10, dtype=torch.float64),
            table,
            table.T @ table,
            rows,
            weights_Z=2.0 * rows.values,
            penalties_B=penalties,
            steps=steps,
        )
        values.append(loss(found @ table.T, target).sum(dim=1) + penalties * found.square().sum(dim=1))
    has_items = target.sum(dim=1) > 0
    for before, after in pairwise(values):
        assert (after[has_items] < before[has_items]).all()
        assert torch.equal(after[~has_items], before[~has_items])  # zero is the best from the start


def test_the_compiled_and_the_plain_form_agree(monkeypatch):
    table, _, target, penalties = problem(7, 300, 33, seed=1, dtype=torch.float32)
    rows = SparseRows.from_dense(target)

    def found():
        start = torch.zeros(7, 33)
        return least_squares(
            start, table, table.T @ table, rows, weights_Z=4.0 * rows.values, penalties_B=penalties, steps=5
        )

    compiled = found()
    monkeypatch.setattr(module, "serve", lambda *tensors: False)
    torch.testing.assert_close(compiled, found(), rtol=1e-4, atol=1e-5)


def turned(table, bias, target, penalties):
    """The same problem in a basis in which the Gram matrix is diagonal."""
    return table @ diagonal_basis(table.T @ table), bias, target, penalties


@given(
    num_users=st.integers(1, 9),
    num_items=st.integers(1, 30),
    num_factors=st.integers(1, 12),
    confidence=st.sampled_from([0.0, 3.0]),
    with_bias=st.booleans(),
    single=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=80, deadline=None)
def test_where_the_gram_matrix_is_diagonal_each_users_system_is_solved_too(
    num_users, num_items, num_factors, confidence, with_bias, single, seed
):
    table, bias, target, penalties = turned(*problem(num_users, num_items, num_factors, seed))
    expected = exact(table, bias if with_bias else 0 * bias, target, penalties, confidence)
    dtype = torch.float32 if single else torch.float64  # the compiled kernel serves float32 alone
    table, bias, target, penalties = (tensor.to(dtype) for tensor in (table, bias, target, penalties))
    rows = SparseRows.from_dense(target)
    found = torch.ones(num_users, num_factors, dtype=dtype)
    improve(
        found,
        table,
        table.T @ table,
        rows,
        weights_Z=confidence * rows.values,
        penalties_B=penalties,
        least_penalty=0.3,
        steps=3 * num_factors,  # rounding costs some
        bias_N=bias if with_bias else None,
    )
    torch.testing.assert_close(found.double(), expected, rtol=2e-3 if single else 1e-6, atol=2e-3 if single else 1e-6)


def test_a_preconditioner_needs_fewer_steps():
    table, *others = problem(20, 300, 16, seed=5)
    table, _, target, penalties = turned(table * torch.logspace(0, 2, 16, dtype=torch.float64), *others)
    target[:, 5:] = 0  # few interactions for a user
    rows = SparseRows.from_dense(target)
    expected = exact(table, torch.zeros(300, dtype=torch.float64), target, penalties, 3.0)
    arguments = {"weights_Z": 3.0 * rows.values, "penalties_B": penalties, "steps": 6}
    start, gram = torch.zeros(20, 16, dtype=torch.float64), table.T @ table
    with_it = least_squares(start, table, gram.diagonal(), rows, **arguments)
    torch.testing.assert_close(with_it, expected, rtol=1e-6, atol=1e-9)
    without_it = least_squares(start, table, gram, rows, **arguments)
    assert (without_it - expected).abs().max() > 1e-3 * expected.abs().max()


def test_the_compiled_and_the_plain_form_agree_where_the_gram_matrix_is_diagonal(monkeypatch):
    table, bias, target, penalties = turned(*problem(2100, 40, 33, seed=1, dtype=torch.float32))
    rows = SparseRows.from_dense(target)

    def found():
        start = torch.full((2100, 33), 0.1)
        weights = {"weights_Z": 4.0 * rows.values, "penalties_B": penalties}
        improve(start, table, table.T @ table, rows, **weights, least_penalty=0.3, steps=3, bias_N=bias)
        return start

    assert spectrum_of(table.T @ table, 0.3) is not None
    compiled = found()
    monkeypatch.setattr(module, "serve", lambda *tensors: False)
    torch.testing.assert_close(compiled, found(), rtol=1e-4, atol=1e-5)


def test_only_a_gram_matrix_that_is_diagonal_has_a_spectrum():
    table, *_ = problem(1, 50, 6, seed=0)
    gram = table.T @ table
    assert spectrum_of(gram, 0.0) is None
    basis = diagonal_basis(gram)
    diagonal = basis.T @ gram @ basis
    torch.testing.assert_close(spectrum_of(diagonal, 0.0), torch.linalg.eigvalsh(gram))
    diagonal[0, 5] = diagonal[5, 0] = 1e-3
    assert spectrum_of(diagonal, 0.0) is None
    assert spectrum_of(diagonal, 1e4) is not None  # beside so large a penalty it is
    assert (spectrum_of(torch.zeros(3, 3), 0.0) > 0).all()


def test_rows_may_be_narrower_than_the_table():
    table, _, target, penalties = problem(5, 20, 4, seed=2)
    narrow = target[:, :12]
    wide = torch.cat([narrow, torch.zeros(5, 8, dtype=torch.float64)], dim=1)
    rows = SparseRows.from_dense(narrow)
    arguments = {"weights_Z": rows.values, "penalties_B": penalties, "steps": 8}
    start, gram = torch.zeros(5, 4, dtype=torch.float64), table.T @ table
    of_narrow = least_squares(start, table, gram, rows, **arguments)
    torch.testing.assert_close(of_narrow, exact(table, torch.zeros(20).double(), wide, penalties, 1.0))


@pytest.mark.parametrize(
    ("loss", "reference"),
    [
        (Logistic(), LogisticLoss(reduction="sum")),
        (Multinomial(), MultinomialNLLLoss(reduction="sum")),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_newton_finds_where_the_gradient_is_zero(loss, reference, seed):
    num_factors = 5
    table, bias, target, penalties = problem(8, 30, num_factors, seed=seed)
    target = (target > 0).double() if isinstance(loss, Logistic) else target
    found = newton(loss, table, bias, SparseRows.from_dense(target), penalties_B=penalties).requires_grad_()

    def gradient(factors):
        value = reference(factors @ table.T + bias, target) + (penalties * factors.square().sum(dim=1)).sum()
        return torch.autograd.grad(value, factors)[0].norm(dim=1)

    at_zero = gradient(torch.zeros(8, num_factors, dtype=torch.float64, requires_grad=True))
    assert (gradient(found) <= 1.001e-4 * at_zero).all()


def test_newton_serves_each_user_by_itself():
    table, bias, target, penalties = problem(6, 25, 4, seed=9)
    rows = SparseRows.from_dense((target > 0).double())
    together = newton(Logistic(), table, bias, rows, penalties_B=penalties)
    for user in range(6):
        alone = newton(Logistic(), table, bias, rows.cut(user, user + 1), penalties_B=penalties[user : user + 1])
        torch.testing.assert_close(alone[0], together[user], rtol=5e-3, atol=5e-3)


def test_newton_does_not_overshoot_where_scores_are_large():
    table = torch.tensor([[30.0], [-30.0], [25.0]], dtype=torch.float64)
    rows = SparseRows.from_dense(torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64))
    found = newton(Logistic(), table, None, rows, penalties_B=torch.tensor([1e-3], dtype=torch.float64))

    def value(factor):
        scores = factor * table.squeeze(1)
        return float(torch.nn.functional.softplus(scores).sum() - scores[[0, 2]].sum() + 1e-3 * factor**2)

    least = min(value(factor) for factor in torch.linspace(0, 3, 3001, dtype=torch.float64))
    assert value(found.squeeze()) <= least + 1e-2 * value(torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_kernels_do_not_mind_the_default_dtype(dtype):
    table, bias, target, penalties = problem(40, 600, 32, 1, torch.float32)
    rows = SparseRows.from_dense(target)
    table = table @ diagonal_basis(table.T @ table)
    found = []
    for default in (torch.float32, dtype):
        torch.set_default_dtype(default)
        try:
            found.append(torch.zeros(40, 32, dtype=torch.float32))
            options = {"weights_Z": rows.values, "bias_N": bias, "penalties_B": penalties, "steps": 3}
            improve(found[-1], table, table.T @ table, rows, **options, least_penalty=float(penalties.min()))
        finally:
            torch.set_default_dtype(torch.float32)
    assert torch.equal(*found)
