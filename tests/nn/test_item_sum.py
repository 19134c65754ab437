from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from recoder.nn.item_sum import ItemSum
from recoder.nn.noise import seed_step
from recoder.nn.tables import FactorTable
from recoder.ops.rows import SparseRows


def random_dense(num_rows, num_cols, seed=0):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(num_rows, num_cols, generator=generator, dtype=torch.float64) + 0.1
    dense[torch.rand(num_rows, num_cols, generator=generator) < 0.5] = 0
    dense[num_rows // 2] = 0  # a user without items
    return dense


def item_sum(num_items, num_factors, noise_prob=0.0, sparse=False):
    return ItemSum(FactorTable(num_items, num_factors, name="items", seed=1, sparse=sparse), noise_prob).double()


@pytest.mark.parametrize(("num_users", "num_items", "num_factors"), [(6, 9, 4), (1, 1, 1), (5, 1, 3), (2, 8, 1)])
@pytest.mark.parametrize("sparse", [False, True])
def test_sum_is_a_dense_layer_of_the_l2_normalised_row(num_users, num_items, num_factors, sparse):
    layer = item_sum(num_items, num_factors, sparse=sparse)
    dense = random_dense(num_users, num_items)
    expected = F.normalize(dense, p=2, dim=1) @ layer.table.weight
    torch.testing.assert_close(layer(SparseRows.from_dense(dense), None, None), expected, rtol=1e-12, atol=1e-14)


def test_user_without_items_sums_to_zero():
    layer = item_sum(5, 3)
    sums = layer(SparseRows.from_dense(torch.zeros(2, 5, dtype=torch.float64)), None, None)
    assert torch.equal(sums, torch.zeros(2, 3, dtype=torch.float64))


def test_items_name_the_columns():
    layer = item_sum(9, 4)
    items = torch.tensor([7, 0, 3])
    dense = random_dense(4, 3)
    expected = F.normalize(dense, p=2, dim=1) @ layer.table.weight[items]
    torch.testing.assert_close(layer(SparseRows.from_dense(dense), None, items), expected, rtol=1e-12, atol=1e-14)


def test_scale_of_a_row_does_not_matter():
    layer = item_sum(9, 4)
    dense = random_dense(4, 9)
    scaled = dense * torch.tensor([[0.001], [1.0], [7.0], [1e6]], dtype=torch.float64)
    first, second = (layer(SparseRows.from_dense(x), None, None) for x in (dense, scaled))
    torch.testing.assert_close(first, second, rtol=1e-12, atol=0)


def test_row_is_normalised_before_the_noise():
    layer = item_sum(40, 4, noise_prob=0.5)
    dense, users = random_dense(6, 40), torch.tensor([5, 1, 9, 30, 2, 8])
    rows = SparseRows.from_dense(dense)
    seed_step(layer, 3)
    normalised = F.normalize(dense, p=2, dim=1)
    noisy = layer.noise(SparseRows.from_dense(normalised), users, None).to_dense()
    assert 0.3 < float((noisy[dense != 0] == 0).double().mean()) < 0.7
    scales_B1 = layer.noise.scales((dense != 0).sum(dim=1, dtype=torch.float64)).unsqueeze(1)
    expected = scales_B1 * noisy @ layer.table.weight
    torch.testing.assert_close(layer(rows, users, None), expected, rtol=1e-12, atol=1e-14)


def test_user_of_one_item_is_read_with_noise_as_without_or_not_at_all():
    layer, users = item_sum(40, 4, noise_prob=0.5), torch.arange(40)
    seed_step(layer, 3)
    rows = SparseRows.from_dense(torch.eye(40, dtype=torch.float64) * 3)
    noisy = layer(rows, users, None)
    kept = noisy.any(dim=1)
    assert 5 < int(kept.sum()) < 35
    assert torch.equal(noisy[kept], layer.eval()(rows, users, None)[kept])


def test_noise_of_a_user_is_the_same_in_any_batch_and_any_columns():
    layer = item_sum(40, 4, noise_prob=0.5)
    seed_step(layer, 3)
    dense, users = random_dense(6, 40), torch.tensor([5, 1, 9, 30, 2, 8])
    whole = layer(SparseRows.from_dense(dense), users, None)
    order = torch.tensor([4, 0, 2])
    items = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    part = layer(SparseRows.from_dense(dense[order][:, items]), users[order], items)
    torch.testing.assert_close(part, whole[order], rtol=1e-12, atol=1e-14)


def test_gradients_of_values_and_table_are_those_of_finite_differences():
    layer = item_sum(5, 3)
    pattern = SparseRows.from_dense(random_dense(4, 5))

    def sums(values, weight):
        return torch.func.functional_call(layer, {"table.weight": weight}, (pattern.with_values(values), None, None))

    values = pattern.values.clone().requires_grad_()
    assert torch.autograd.gradcheck(sums, (values, layer.table.weight.detach().requires_grad_()))
