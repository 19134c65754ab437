from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from scipy import stats
from torch import nn

from recoder._random import derive_seed
from recoder.nn.tables import FactorTable, factor_tables, row_gradients, tables_with_row_gradients


def test_weights_are_uniform_within_the_xavier_bound_of_the_whole_table():
    weight = FactorTable(5000, 40, name="items", seed=1).weight.detach()
    bound = math.sqrt(6 / (5000 + 40))
    reference = torch.nn.init.xavier_uniform_(torch.empty(5000, 40), generator=torch.Generator().manual_seed(0))
    assert weight.abs().max() <= bound
    assert weight.abs().max() == pytest.approx(float(reference.abs().max()), rel=1e-3)
    assert stats.kstest(weight.flatten().numpy(), "uniform", args=(-bound, 2 * bound)).pvalue > 0.001


def test_biases_are_zero_and_only_there_when_asked_for():
    assert FactorTable(7, 3, name="items", seed=1).bias is None
    assert FactorTable(7, 3, name="items", seed=1, bias=True).bias.tolist() == [0] * 7


@pytest.mark.parametrize("num_rows", [1, 4095, 4096, 4097, 8192, 9000])
def test_each_block_of_4096_rows_can_be_made_alone(num_rows):
    weight = FactorTable(num_rows, 3, name="users", seed=11).weight.detach()
    bound = math.sqrt(6 / (num_rows + 3))
    for block, start in reversed(list(enumerate(range(0, num_rows, 4096)))):
        generator = torch.Generator().manual_seed(derive_seed(11, "users", block))
        alone = torch.empty(min(4096, num_rows - start), 3).uniform_(-bound, bound, generator=generator)
        assert torch.equal(weight[start : start + 4096], alone)


def test_weights_follow_from_seed_and_name_and_not_from_the_global_generator():
    def weight(seed, name):
        torch.rand(3)
        return FactorTable(20, 4, name=name, seed=seed).weight.detach()

    assert torch.equal(weight(1, "items"), weight(1, "items"))
    assert not torch.equal(weight(1, "items"), weight(2, "items"))
    assert not torch.equal(weight(1, "items"), weight(1, "users"))


def test_making_a_table_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    FactorTable(5000, 4, name="items", seed=1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("sparse", [False, True])
def test_rows_and_biases_are_those_of_the_ids(sparse):
    table = FactorTable(6, 2, name="items", seed=1, bias=True, sparse=sparse)
    table.bias.data = torch.arange(6.0)
    ids = torch.tensor([4, 0, 4])
    assert torch.equal(table.rows(ids), table.weight[ids])
    assert table.biases(ids).tolist() == [4, 0, 4]
    assert table.rows() is table.weight
    assert table.biases() is table.bias
    assert FactorTable(6, 2, name="items", seed=1).biases(ids) is None


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_hold_the_rows_that_were_asked_for(sparse):
    table = FactorTable(6, 2, name="items", seed=1, bias=True, sparse=sparse)
    ids = torch.tensor([4, 0, 4])
    (table.rows(ids).sum() + table.biases(ids).sum()).backward()
    counts = torch.tensor([1.0, 0, 0, 0, 2, 0])
    assert table.weight.grad.is_sparse is sparse
    assert table.bias.grad.is_sparse is sparse
    if sparse:
        assert table.weight.grad.coalesce().indices().tolist() == [[0, 4]]
        assert table.bias.grad.coalesce().indices().tolist() == [[0, 4]]
    assert torch.equal(table.weight.grad.to_dense(), counts[:, None].expand(6, 2))
    assert torch.equal(table.bias.grad.to_dense(), counts)


def test_repr_tells_sizes_and_gradients():
    assert repr(FactorTable(6, 2, name="items", seed=1, sparse=True)) == "FactorTable(6, 2, bias=False, sparse=True)"


def test_tables_give_gradients_by_rows_for_a_while_and_then_as_before():
    dense, sparse = (FactorTable(6, 2, name="items", seed=1, bias=True, sparse=sparse) for sparse in (False, True))
    model = nn.ModuleList([dense, sparse])
    ids = torch.tensor([4, 1])

    def layouts():
        model.zero_grad()
        for table in (dense, sparse):
            (table.rows(ids).sum() + table.biases(ids).sum()).backward()
        gradients = {table: table.weight.grad.is_sparse and table.bias.grad.is_sparse for table in (dense, sparse)}
        assert tables_with_row_gradients(model) == {
            p for table, by_rows in gradients.items() for p in table.parameters() if by_rows
        }
        return list(gradients.values())

    assert layouts() == [False, True]

    def interrupted():
        with row_gradients(factor_tables(model)):
            assert layouts() == [True, True]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert layouts() == [False, True]


def test_a_copy_of_a_table_that_is_being_trained_is_as_the_table_was_made():
    table = FactorTable(5, 3, name="t", seed=1)
    with row_gradients([table]):
        for copied in (copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
            copied.rows(torch.tensor([1])).sum().backward()
            assert not copied.weight.grad.is_sparse
        assert table.row_gradients


def test_modules_of_torch_say_themselves_whether_their_gradients_are_by_rows():
    model = nn.ModuleList([nn.Embedding(3, 2, sparse=True), nn.EmbeddingBag(3, 2), nn.Linear(3, 2)])
    assert tables_with_row_gradients(model) == {model[0].weight}
