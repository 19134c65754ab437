from __future__ import annotations

import pytest
import torch

from recoder.errors import ConfigError, DataTypeError, NotInitializedError, ShapeError
from recoder.nn import FactorizationModel
from recoder.nn.base import checked_scores, dot_scores, not_initialized


class Averages(FactorizationModel):
    """User factors are sums over two groups of items, so the right answer is known."""

    def user_factors(self, input, users=None, items=None):
        self.calls = (users, items)
        dense = input.to_dense()
        return torch.stack([dense[:, ::2].sum(dim=1), dense[:, 1::2].sum(dim=1)], dim=1)

    def item_factors(self, items=None):
        weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])
        bias = torch.tensor([0.0, 10.0, 20.0])
        return (weight, bias) if items is None else (weight[items], bias[items])


class OwnForward(FactorizationModel):
    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        return input


class Both(Averages):
    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs)


class OnlyUsers(FactorizationModel):
    def user_factors(self, input, users=None, items=None):
        return input.to_dense()


class Solved(Averages):
    def solve(self, interactions):
        pass


X = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])


def test_forward_is_the_product_of_factors_plus_the_bias():
    assert Averages()(X).tolist() == [[4, 12, 34], [0, 10, 20]]


def test_target_items_select_what_is_scored():
    assert Averages()(X, target_items=torch.tensor([2, 0])).tolist() == [[34, 4], [20, 0]]


def test_users_and_items_of_the_input_reach_the_model():
    model, users, items = Averages(), torch.tensor([5, 6]), torch.tensor([2, 1, 0])
    model(X, users, items)
    assert model.calls[0] is users
    assert model.calls[1] is items


def test_input_users_alone_stand_for_users_without_interactions():
    assert Averages()(None, input_users=torch.tensor([3, 3, 3])).tolist() == [[0, 10, 20]] * 3


def test_a_score_without_input_and_users_is_an_error():
    with pytest.raises(ConfigError, match="input_users"):
        Averages()(None)


@pytest.mark.parametrize(
    ("model", "is_factorized"),
    [(Averages, True), (OwnForward, False), (Both, False), (OnlyUsers, False), (FactorizationModel, False)],
)
def test_a_model_is_factorized_if_it_gives_both_factors_and_leaves_forward_alone(model, is_factorized):
    assert model().is_factorized is is_factorized


def test_a_model_is_solved_if_it_implements_solve():
    assert Solved().is_solved
    assert not Averages().is_solved


def test_dot_scores_work_without_bias():
    factors, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [5.0, 6.0]])
    assert dot_scores(factors, weight, None).tolist() == [[11, 17]]
    assert dot_scores(factors, weight, torch.tensor([1.0, -1.0])).tolist() == [[12, 16]]


@pytest.mark.parametrize(
    "call",
    [
        lambda model: model.init_model(num_items=1, num_users=1),
        lambda model: model.model_params(),
        lambda model: model.load_model_params({}),
        lambda model: model.solve(None),
        lambda model: model.item_factors(),
        lambda model: model(X),
    ],
)
def test_what_a_subclass_does_not_implement_says_so(call):
    with pytest.raises(NotImplementedError, match="FactorizationModel"):
        call(FactorizationModel())


@pytest.mark.parametrize("layer", [torch.nn.Embedding(3, 2), torch.nn.Parameter(torch.ones(2)), torch.ones(1), 0.1])
def test_a_layer_with_the_name_of_a_method_is_refused(layer):
    class Own(FactorizationModel):
        def init_model(self, num_items=None, num_users=None):
            self.item_factors = layer

    with pytest.raises(DataTypeError, match=r"Own.item_factors .* is a method of FactorizationModel; give"):
        Own().init_model(3)
    other = FactorizationModel()
    other.own_factors = layer
    assert other.own_factors is layer


def test_no_penalty_by_default():
    assert FactorizationModel().penalty() is None


@pytest.mark.parametrize("scores", [torch.ones(2, 3), torch.ones(3, 2), torch.ones(2, 2, 1), [[1.0, 2.0]], None])
def test_scores_of_another_shape_are_an_error(scores):
    good = torch.ones(2, 2)
    assert checked_scores(OwnForward(), good, 2, 2) is good
    with pytest.raises(ShapeError, match=r"OwnForward.forward returned .* must return a tensor of shape \(2, 2\)"):
        checked_scores(OwnForward(), scores, 2, 2)


def test_error_of_a_model_without_parameters_names_it():
    assert isinstance(not_initialized(Averages()), NotInitializedError)
    assert "Averages" in str(not_initialized(Averages()))
