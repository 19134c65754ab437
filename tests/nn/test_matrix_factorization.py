from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy import sparse

from recoder.data import RecommendationDataset, UsersInteractions
from recoder.errors import ConfigError, DataError, NotInitializedError, UnknownIdError
from recoder.model import Recoder
from recoder.nn import MatrixFactorization
from recoder.nn.base import draw_parameters
from recoder.nn.folding import Objective
from recoder.nn.noise import seed_step
from recoder.ops.rows import SparseRows

NUM_USERS, NUM_ITEMS, SIZE = 12, 9, 4
USERS = torch.tensor([11, 0, 5, 5])


@pytest.fixture(autouse=True)
def own_random_state():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def make_model(**params):
    model = MatrixFactorization(SIZE, **params)
    model.init_model(num_items=NUM_ITEMS, num_users=NUM_USERS)
    model.items.bias.data.uniform_(-1, 1)
    return model.double()


@pytest.mark.parametrize("activation_type", ["none", "tanh", "sigmoid"])
@pytest.mark.parametrize("sparse", [False, True])
def test_score_is_the_product_of_the_activated_user_row_and_the_item_row_plus_the_item_bias(activation_type, sparse):
    model = make_model(activation_type=activation_type, sparse=sparse).requires_grad_(False)
    act = (lambda x: x) if activation_type == "none" else getattr(torch, activation_type)
    expected = [
        [float(act(model.users.weight[u]) @ model.items.weight[i] + model.items.bias[i]) for i in range(NUM_ITEMS)]
        for u in USERS.tolist()
    ]
    scores = model(None, input_users=USERS)
    torch.testing.assert_close(scores, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("sparse", [False, True])
def test_target_items_select_columns(sparse):
    model = make_model(sparse=sparse)
    items = torch.tensor([8, 2, 2, 0])
    whole = model(None, input_users=USERS)
    part = model(None, input_users=USERS, target_items=items)
    torch.testing.assert_close(part, whole[:, items], rtol=1e-12, atol=1e-13)


def test_interactions_are_not_read():
    model = make_model()
    x = torch.rand(len(USERS), NUM_ITEMS)
    assert torch.equal(model(x, input_users=USERS), model(None, input_users=USERS))


def test_dropout_comes_after_the_activation():
    model = make_model(activation_type="sigmoid", dropout_prob=0.5)
    seed_step(model, 5)
    mask = model._dropout(torch.ones(len(USERS), SIZE, dtype=torch.float64))
    assert set(mask.unique().tolist()) == {0, 2}
    factors = torch.sigmoid(model.users.weight[USERS]) * mask
    expected = factors @ model.items.weight.T + model.items.bias
    torch.testing.assert_close(model(None, input_users=USERS), expected, rtol=1e-12, atol=1e-13)


def test_evaluation_ignores_dropout():
    model = make_model(dropout_prob=0.5).eval()
    expected = model.users.weight[USERS] @ model.items.weight.T + model.items.bias
    torch.testing.assert_close(model(None, input_users=USERS), expected, rtol=1e-12, atol=1e-13)


def test_only_items_have_a_bias():
    shapes = {name: tuple(parameter.shape) for name, parameter in make_model().named_parameters()}
    assert shapes == {"users.weight": (12, 4), "items.weight": (9, 4), "items.bias": (9,)}


def test_weights_start_xavier_uniform_and_the_bias_at_zero():
    model = MatrixFactorization(50)
    model.init_model(num_items=300, num_users=500)
    assert not model.items.bias.any()
    for table, num_rows in ((model.users, 500), (model.items, 300)):
        assert float(table.weight.detach().abs().max()) == pytest.approx(math.sqrt(6 / (num_rows + 50)), rel=1e-3)


def test_same_seed_of_torch_gives_the_same_weights():
    def weights(seed):
        torch.manual_seed(seed)
        model = MatrixFactorization(SIZE)
        model.init_model(num_items=NUM_USERS, num_users=NUM_USERS)
        assert not torch.equal(model.users.weight, model.items.weight)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_are_sparse_only_where_asked_for(sparse):
    model = make_model(sparse=sparse)
    items = torch.tensor([8, 2])
    model(None, input_users=USERS, target_items=items).sum().backward()
    touched = {"users.weight": [0, 5, 11], "items.weight": [2, 8], "items.bias": [2, 8]}
    for name, parameter in model.named_parameters():
        assert parameter.grad.is_sparse is sparse
        if sparse:
            assert parameter.grad.coalesce().indices()[0].tolist() == touched[name]


def test_model_params_build_the_same_model_and_sparse_stays():
    model = make_model(activation_type="tanh", dropout_prob=0.25)
    other = MatrixFactorization(1, sparse=True)
    other.load_model_params(model.model_params())
    other.init_model(num_items=NUM_ITEMS, num_users=NUM_USERS)
    other.double().load_state_dict(model.state_dict())
    assert other.sparse is True
    assert other.model_params() == model.model_params()
    assert torch.equal(other.eval()(None, USERS), model.eval()(None, USERS))


def test_values_that_are_no_probabilities_are_not_folded_in_with_the_logistic_loss():
    rows = SparseRows.from_dense(torch.tensor([[1.0, 3.0, 0.0]]))
    table_ND = torch.randn(3, 2)
    with pytest.raises(DataError, match=r"has the value 3, .* 0 to 1"):
        Objective("logistic").minimised(table_ND, None, rows)
    assert Objective("mse").minimised(table_ND, None, rows).shape == (1, 2)


@pytest.mark.parametrize("loss", ["mse", "logistic", "logloss"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_users_fold_in_whatever_the_type_of_their_interactions(loss, dtype):
    model = MatrixFactorization(SIZE, fold_in=True).eval()
    model.init_model(num_items=NUM_ITEMS, num_users=NUM_USERS)
    model.objective = Objective(loss, confidence=5.0 if loss == "mse" else 0.0, l2=0.1)
    input = torch.randint(0, 2, (4, NUM_ITEMS))
    assert input.any()
    assert torch.equal(model(input.to(dtype)), model(input.to(torch.float32)))


def test_users_are_looked_up_and_not_folded_in():
    assert MatrixFactorization(SIZE).folds_in_users is False
    assert MatrixFactorization(SIZE).is_factorized


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0,), "embedding_size is 0"),
        ((4, "nope"), "unknown activation 'nope'"),
        ((4, "none", 1), "dropout probability is 1"),
    ],
)
def test_arguments_out_of_range_are_errors(arguments, words):
    with pytest.raises(ConfigError, match=words):
        MatrixFactorization(*arguments)


@pytest.mark.parametrize(("num_items", "num_users"), [(None, 5), (5, None), (0, 5), (5, 0)])
def test_a_model_of_no_items_or_users_is_an_error(num_items, num_users):
    with pytest.raises(ConfigError, match=f"num_items is {num_items} and num_users {num_users}"):
        MatrixFactorization(SIZE).init_model(num_items=num_items, num_users=num_users)


def test_scores_without_users_are_an_error():
    with pytest.raises(ConfigError, match="input_users"):
        make_model()(torch.ones(2, NUM_ITEMS))


def test_calls_before_init_model_are_errors():
    model = MatrixFactorization(SIZE)
    with pytest.raises(NotInitializedError, match="init_model"):
        model(None, input_users=USERS)
    with pytest.raises(NotInitializedError, match="init_model"):
        model.item_factors()


def test_what_folding_in_keeps_of_the_items_is_of_the_items_as_they_are():
    model = make_model(fold_in=True).eval()
    rows = SparseRows.from_dense(torch.eye(NUM_ITEMS, dtype=torch.float64)[:3])

    def anew():
        again = copy.deepcopy(model)
        assert again._gram is None
        return again.user_factors(rows)

    def changes():
        yield
        with torch.no_grad():
            model.items.weight.mul_(1.5)
        yield
        model.load_state_dict({name: 2 * tensor for name, tensor in model.state_dict().items()})
        yield
        model.items.weight = torch.nn.Parameter(model.items.weight.detach() + 1)
        yield
        model.float().double()
        yield
        model.init_model(num_items=NUM_ITEMS, num_users=NUM_USERS)
        model.double()
        yield

    found = []
    for _ in changes():
        found.append(model.user_factors(rows))
        kept = model._gram
        torch.testing.assert_close(found[-1], anew(), rtol=0, atol=0)
        torch.testing.assert_close(model.user_factors(rows), found[-1], rtol=0, atol=0)
        assert model._gram is kept
    assert not torch.allclose(found[0], found[1])


def test_sweeps_make_what_folding_in_keeps_of_the_items_anew():
    matrix = sparse.random(30, NUM_ITEMS, 0.4, "csr", np.float32, np.random.default_rng(0))
    recoder = Recoder(MatrixFactorization(SIZE, fold_in=True), optimizer_type="als", seed=1)
    for num_epochs in (1, 2):
        recoder.train(RecommendationDataset(matrix), num_epochs=num_epochs, weight_decay=1.0)
        users = UsersInteractions(np.arange(30), matrix)
        scores = recoder.predict(users)
        recoder.model._gram = None
        torch.testing.assert_close(recoder.predict(users), scores, rtol=0, atol=0)


def test_ids_below_zero_are_refused_where_users_are_folded_in():
    model = MatrixFactorization(1, fold_in=True)
    draw_parameters(model, num_items=4, num_users=3, seed=0)
    with pytest.raises(UnknownIdError, match="item id -1 is negative"):
        model.eval()(torch.ones(1, 2), input_items=torch.tensor([-1, 3]))
