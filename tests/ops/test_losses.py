from __future__ import annotations

import pytest
import torch

from recoder.losses import MSELoss, MultinomialNLLLoss
from recoder.ops import losses
from recoder.ops.rows import SparseRows

# users, candidate items
SHAPES = [(6, 9), (1, 1), (5, 1), (1, 8), (4, 0), (0, 3), (0, 0)]


def random_problem(num_users, num_items, seed=0):
    """Logits, and a target with values within (0, 1] of which some rows are empty."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(num_users, num_items, generator=generator, dtype=torch.float64)
    target = torch.rand(num_users, num_items, generator=generator, dtype=torch.float64) + 1e-3
    target[torch.rand(num_users, num_items, generator=generator) < 0.6] = 0
    target[: num_users // 3] = 0
    return logits, target.clamp(max=1)


def logistic_reference(logits, target):
    return torch.nn.BCEWithLogitsLoss(reduction="sum")(logits, target)


def mse(confidence):
    def fused(logits, target):
        return losses.squared_error(logits, target, confidence=confidence)

    def reference(logits, target):
        return MSELoss(confidence, reduction="sum")(logits, 3 * target)

    return fused, reference, 3.0


CASES = {
    "mse": mse(0.0),
    "mse with confidence": mse(2.5),
    "logistic": (losses.logistic, logistic_reference, 1.0),
    "multinomial": (losses.multinomial, MultinomialNLLLoss(reduction="sum"), 1.0),
}


@pytest.mark.parametrize(("num_users", "num_items"), SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_loss_of_a_sparse_target_equals_the_documented_dense_one(name, num_users, num_items):
    fused, reference, scale = CASES[name]
    logits, target = random_problem(num_users, num_items)
    value = fused(logits, SparseRows.from_dense(scale * target))
    assert value.dim() == 0
    torch.testing.assert_close(value, reference(logits, target), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("num_users", "num_items"), SHAPES)
@pytest.mark.parametrize("name", CASES)
def test_gradient_equals_that_of_the_documented_dense_loss(name, num_users, num_items):
    fused, reference, scale = CASES[name]
    logits, target = random_problem(num_users, num_items, seed=1)
    first, second = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    fused(first, SparseRows.from_dense(scale * target)).backward()
    reference(second, target).backward()
    torch.testing.assert_close(first.grad, second.grad, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("num_users", "num_items"), [(6, 9), (1, 1), (5, 1), (4, 0)])
@pytest.mark.parametrize("name", CASES)
def test_gradient_is_that_of_finite_differences(name, num_users, num_items):
    fused, _, scale = CASES[name]
    logits, target = random_problem(num_users, num_items, seed=2)
    rows = SparseRows.from_dense(scale * target)
    assert torch.autograd.gradcheck(lambda x: fused(x, rows), (logits.requires_grad_(),))


@pytest.mark.parametrize("name", CASES)
def test_no_interactions_leave_the_loss_of_zeros(name):
    fused, reference, _ = CASES[name]
    logits, _ = random_problem(4, 5)
    zeros = torch.zeros(4, 5, dtype=torch.float64)
    torch.testing.assert_close(fused(logits, SparseRows.from_dense(zeros)), reference(logits, zeros))


@pytest.mark.parametrize("name", CASES)
def test_large_logits_stay_finite(name):
    fused, reference, scale = CASES[name]
    logits = torch.tensor([[200.0, -200.0, 0.0], [-200.0, -200.0, 200.0]], requires_grad=True)
    target = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    value = fused(logits, SparseRows.from_dense(scale * target))
    torch.testing.assert_close(value, reference(logits, target))
    value.backward()
    assert logits.grad.isfinite().all()


def test_targets_of_float32_serve_logits_of_float64():
    logits, target = random_problem(6, 9)
    rows = SparseRows.from_dense(target.float())
    for fused, reference, _ in (CASES["logistic"], CASES["multinomial"]):
        torch.testing.assert_close(fused(logits, rows), reference(logits, target.float().double()))
