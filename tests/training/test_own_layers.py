"""Models whose layers do more than the library's: modules within modules, statistics, hooks, rules of rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from recoder.data import RecommendationDataset
from recoder.errors import ConfigError
from recoder.model import Recoder
from recoder.nn import FactorizationModel

USERS, ITEMS = 30, 12


def matrix(num_users=USERS, num_items=ITEMS, seed=0):
    rng = np.random.default_rng(seed)
    dense = (rng.random((num_users, num_items)) < 0.3).astype(np.float32)
    dense[:, 0] = 1
    return sparse.csr_matrix(dense)


class Tower(nn.Module):
    """A layer that is made by its owner's ``init_model``, in place."""

    def build(self, num_items, size):
        self.weight = nn.Parameter(torch.randn(num_items, size))


class Nested(FactorizationModel):
    """Modules that the constructor makes: one that is built later, and one with parameters of its own, used twice."""

    def __init__(self, size=4):
        super().__init__()
        self.size = size
        self.tower = Tower()
        self.hidden = nn.Linear(size, size)
        self.again = self.hidden
        self.drop = nn.Dropout(0.5)
        self.layers = [self.again, self.drop]  # a list of its own, which torch knows nothing of

    def init_model(self, num_items=None, num_users=None):
        self.tower.build(num_items, self.size)

    def model_params(self):
        return {"size": self.size}

    def load_model_params(self, model_params):
        self.size = model_params["size"]

    def user_factors(self, input, users=None, items=None):
        table = self.tower.weight if items is None else self.tower.weight[items]
        again, drop = self.layers
        return drop(again(torch.tanh(self.hidden(input.to_dense() @ table))))

    def item_factors(self, items=None):
        return (self.tower.weight if items is None else self.tower.weight[items]), None


def state_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal(state, before):
    assert state.keys() == before.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, before[name]), name


class TestModulesWithinModules:
    def trained(self):
        recoder = Recoder(Nested(), optimizer_type="adam", loss="logistic", seed=3)
        recoder.train(RecommendationDataset(matrix()), lr=0.05, num_epochs=2, batch_size=10)
        return recoder

    def test_extending_takes_over_what_was_learnt_and_leaves_the_model_as_it_is(self):
        recoder = self.trained()
        before = state_of(recoder.model)
        larger = recoder.extended(RecommendationDataset(matrix(USERS + 3, ITEMS + 2)))
        assert_equal(recoder.model.state_dict(), before)
        assert larger.model.tower.weight.shape == (ITEMS + 2, 4)
        torch.testing.assert_close(larger.model.tower.weight[:ITEMS], before["tower.weight"])
        torch.testing.assert_close(larger.model.hidden.weight, before["hidden.weight"])

    def test_training_the_extended_changes_nothing_of_the_first(self):
        recoder = self.trained()
        before = state_of(recoder.model)
        data = RecommendationDataset(matrix(USERS + 3, ITEMS + 2))
        larger = recoder.extended(data)
        larger.train(data, lr=0.05, num_epochs=1, batch_size=10)
        assert_equal(recoder.model.state_dict(), before)
        assert not torch.equal(larger.model.hidden.weight, before["hidden.weight"])
        assert not recoder.model.drop.training

    def test_a_module_that_is_used_twice_is_one_in_the_extended_too(self):
        larger = self.trained().extended(RecommendationDataset(matrix(USERS, ITEMS + 2)))
        assert larger.model.again is larger.model.hidden

    def test_layers_that_cannot_be_copied_are_made_anew(self):
        class Normed(Nested):
            def init_model(self, num_items=None, num_users=None):
                super().init_model(num_items, num_users)
                self.out = nn.utils.parametrizations.weight_norm(nn.Linear(self.size, self.size))

            def user_factors(self, input, users=None, items=None):
                return self.out(super().user_factors(input, users, items))

        recoder = Recoder(Normed(), optimizer_type="adam", loss="logistic", seed=3)
        recoder.train(RecommendationDataset(matrix()), lr=0.05, num_epochs=1, batch_size=10)
        larger = recoder.extended(RecommendationDataset(matrix(USERS, ITEMS + 2)))
        torch.testing.assert_close(larger.model.out.weight, recoder.model.out.weight)
        assert larger.model.layers[0] is larger.model.hidden is not recoder.model.hidden

    def test_users_can_be_left_out(self):
        recoder = self.trained()
        before = state_of(recoder.model)
        smaller = recoder.without_users(np.array([1, 2]))
        assert_equal(recoder.model.state_dict(), before)
        assert_equal(smaller.model.state_dict(), before)
        assert smaller.model.tower.weight is not recoder.model.tower.weight


class Normalized(FactorizationModel):
    """Items through a layer that keeps statistics in training and draws at random."""

    def init_model(self, num_items=None, num_users=None):
        self.items = nn.Embedding(num_items, 4)
        self.norm, self.drop = nn.BatchNorm1d(4), nn.Dropout(0.3)
        self.bias = nn.Parameter(torch.zeros(num_items))

    def model_params(self):
        return {}

    def load_model_params(self, model_params):
        pass

    def user_factors(self, input, users=None, items=None):
        weight = self.items.weight if items is None else self.items.weight[items]
        return input.to_dense() @ weight

    def item_factors(self, items=None):
        weight = self.items.weight if items is None else self.items.weight[items]
        return self.drop(self.norm(weight)), self.bias if items is None else self.bias[items]


class TestStatisticsOfLayers:
    def recoder(self):
        return Recoder(Normalized(), optimizer_type="adam", loss="logistic", seed=3)

    def train(self, recoder, num_epochs, **more):
        recoder.train(RecommendationDataset(matrix()), lr=0.05, num_epochs=num_epochs, batch_size=10, **more)
        return recoder

    def test_a_run_that_was_taken_further_ends_as_one_that_was_not(self):
        whole, parted = self.train(self.recoder(), 4), self.train(self.train(self.recoder(), 2), 4)
        assert whole.model.norm.num_batches_tracked == 4 * 3
        assert_equal(parted.model.state_dict(), whole.model.state_dict())

    @pytest.mark.parametrize("name", ["val_dataset", "popularity_bias"])
    def test_looking_at_the_items_is_no_step(self, name):
        more = {name: RecommendationDataset(matrix(seed=1)) if name == "val_dataset" else True}
        state = torch.get_rng_state()
        recoder = self.train(self.recoder(), 2, **more)
        assert recoder.model.norm.num_batches_tracked == 2 * 3
        assert torch.equal(torch.get_rng_state(), state)

    def test_validation_changes_no_weight(self):
        alone = self.train(self.recoder(), 2)
        validated = self.train(self.recoder(), 2, val_dataset=RecommendationDataset(matrix(seed=1)))
        assert_equal(validated.model.state_dict(), alone.model.state_dict())


class Rows(FactorizationModel):
    """Items that are the rows of an embedding, which may have rules of its own."""

    def __init__(self, **rules):
        super().__init__()
        self.rules = rules

    def init_model(self, num_items=None, num_users=None):
        self.items = nn.Embedding(num_items, 4, **self.rules)
        self.bias = nn.Parameter(torch.zeros(num_items))
        self.read = nn.Parameter(torch.randn(num_items, 4))
        self.asked = []

    def model_params(self):
        return {}

    def load_model_params(self, model_params):
        pass

    def user_factors(self, input, users=None, items=None):
        return input.to_dense() @ (self.read if items is None else self.read[items])

    def item_factors(self, items=None):
        if items is None:
            return self.items.weight, self.bias
        self.asked.append(len(items))
        return self.items(items), self.bias[items]


class TestRowsOfTheirOwnRules:
    def trained(self, model):
        recoder = Recoder(model, optimizer_type="adam", loss="logistic", seed=3)
        recoder.train(RecommendationDataset(matrix()), lr=0.3, num_epochs=3, batch_size=10, negative_sampling=True)
        return model

    def test_plain_rows_are_read_directly(self):
        assert self.trained(Rows()).asked == []

    def test_the_norm_of_an_embedding_is_kept_down(self):
        model = self.trained(Rows(max_norm=0.5))
        assert len(model.asked) == 9
        assert model.items(torch.arange(ITEMS)).norm(dim=1).max() <= 0.5 + 1e-5

    def test_the_row_of_padding_is_not_trained(self):
        assert self.trained(Rows(padding_idx=0)).items.weight[0].count_nonzero() == 0

    def test_hooks_of_a_parameter_are_called(self):
        model = Rows()
        recoder = Recoder(model, optimizer_type="adagrad", loss="logistic", seed=3)
        data = RecommendationDataset(matrix())
        recoder.train(data, lr=0.3, num_epochs=1, batch_size=10)
        before = model.items.weight.detach().clone()
        model.items.weight.register_hook(lambda gradient: gradient * (torch.arange(ITEMS) > 3)[:, None])
        recoder.train(data, lr=0.3, num_epochs=2, batch_size=10)
        changed = (model.items.weight != before).any(dim=1)
        assert changed.tolist() == [False] * 4 + [True] * (ITEMS - 4)


class Shaped(Rows):
    def __init__(self, penalty):
        super().__init__()
        self.value = penalty

    def penalty(self):
        return self.value


class OwnLoss(Rows):
    def batch_loss(self, input, users, items, target, target_items):
        return self.read.square().sum().reshape(1)


class TestOneNumber:
    @pytest.mark.parametrize("loss", ["logistic", nn.HuberLoss(reduction="sum")])
    @pytest.mark.parametrize(("penalty", "named"), [(torch.ones(1), r"\(1,\)"), (0.5, "float")])
    def test_a_penalty_that_is_none_is_refused_before_a_step(self, loss, penalty, named):
        recoder = Recoder(Shaped(penalty), loss=loss, seed=3)
        with pytest.raises(ConfigError, match=rf"Shaped\.penalty returned {named}; it must return one number"):
            recoder.train(RecommendationDataset(matrix()))

    def test_so_is_a_loss(self):
        with pytest.raises(ConfigError, match=r"OwnLoss\.batch_loss returned \(1,\); it must return one number"):
            Recoder(OwnLoss(), seed=3).train(RecommendationDataset(matrix()))


def test_biases_cannot_follow_a_loss_that_a_model_does_not_learn_by():
    with pytest.raises(ConfigError, match="popularity_bias goes by the loss, and OwnLoss brings one of its own"):
        Recoder(OwnLoss(), seed=3).train(RecommendationDataset(matrix()), popularity_bias=True)


@pytest.mark.parametrize("argument", ["popularity_bias", "logq_correction"])
def test_a_loss_with_parameters_that_make_it_another_is_told_from_the_plain_one(argument):
    recoder = Recoder(Rows(), loss="logistic", loss_params={"pos_weight": 3}, seed=3)
    with pytest.raises(ConfigError, match="'logistic' or 'logloss' without loss_params"):
        recoder.train(RecommendationDataset(matrix()), negative_sampling=True, **{argument: True})
