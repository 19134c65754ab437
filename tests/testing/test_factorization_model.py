from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recoder.nn import FactorizationModel
from recoder.testing import FactorizationModelSuite


class Plain(FactorizationModel):
    """A linear autoencoder in the documented form: it passes every test."""

    def __init__(self, size=4):
        super().__init__()
        self.size = size

    def init_model(self, num_items=None, num_users=None):
        self.down = nn.Parameter(torch.randn(num_items, self.size) / 5)
        self.up = nn.Parameter(torch.randn(num_items, self.size) / 5)

    def model_params(self):
        return {"size": self.size}

    def load_model_params(self, model_params):
        self.size = model_params["size"]

    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        down = self.down if input_items is None else self.down[input_items]
        up = self.up if target_items is None else self.up[target_items]
        return input @ down @ up.T


class Factorized(Plain):
    forward = FactorizationModel.forward

    def user_factors(self, input, users=None, items=None):
        down = self.down if items is None else self.down[items]
        return input.to_dense() @ down

    def item_factors(self, items=None):
        return (self.up if items is None else self.up[items]), None


class ForgetsParams(Plain):
    def load_model_params(self, model_params):
        self.size = 3


class HoldsParamsThatAreNoJson(Plain):
    def model_params(self):
        return {"size": self.size, "kind": {1, 2}}


class HoldsAnObject(Plain):
    def get_extra_state(self):
        return {"anything": object()}

    def set_extra_state(self, state):
        pass


class DrawsFromNowhere(Plain):
    def init_model(self, num_items=None, num_users=None):
        super().init_model(num_items, num_users)
        self.up.data = torch.from_numpy(np.random.default_rng().normal(size=self.up.shape).astype(np.float32))


class ScoresOneItemTooMany(Plain):
    def forward(self, input, *args, **kwargs):
        return F.pad(super().forward(input, *args, **kwargs), (0, 1))


class ScoresNan(Plain):
    def forward(self, input, *args, **kwargs):
        return super().forward(input, *args, **kwargs) / input.sum(dim=1, keepdim=True)


class SortsTargets(Plain):
    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        target_items = None if target_items is None else target_items.sort().values
        return super().forward(input, input_users, input_items, target_users, target_items)


class IgnoresInputItems(Plain):
    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        first = torch.arange(input.shape[1])
        return super().forward(input, input_users, first, target_users, target_items)


class ScoresWhatItReads(Plain):
    def forward(self, input, input_users=None, input_items=None, target_users=None, target_items=None):
        if input_items is not None and target_items is not None:
            target_items = input_items[: len(target_items)]
        return super().forward(input, input_users, input_items, target_users, target_items)


class GivesOtherItemFactors(Factorized):
    def item_factors(self, items=None):
        return (self.up, None) if items is None else (self.up[items.flip(0)], None)


class SaysItIsFactorized(Plain):
    is_factorized = True


class DropsAlways(Plain):
    def forward(self, input, *args, **kwargs):
        return F.dropout(super().forward(input, *args, **kwargs), 0.5)


class ComparesWithTheBatch(Plain):
    def forward(self, input, *args, **kwargs):
        scores = super().forward(input, *args, **kwargs)
        return scores - scores.mean(dim=0)


class LearnsNothing(Plain):
    def forward(self, input, *args, **kwargs):
        scores = super().forward(input, *args, **kwargs)
        return scores.detach() + 0 * scores


class CountsOutsideTheState(Plain):
    passes = 0

    def forward(self, input, *args, **kwargs):
        self.passes += self.training
        return super().forward(input, *args, **kwargs) / (1 + self.passes)


class ForbidsAnItem(Plain):
    def forward(self, input, *args, **kwargs):
        scores = super().forward(input, *args, **kwargs)
        return scores if self.training else scores.index_fill(1, torch.tensor([3]), float("-inf"))


class ScoresOnlyWholeBlocks(Plain):
    def score_blocks(self, input, users, users_per_block):
        return (block for block in super().score_blocks(input, users, users_per_block) if len(block) == users_per_block)


BROKEN = [
    ("test_hyper_parameters_pass_through_json_and_build_an_equal_model", ForgetsParams),
    ("test_hyper_parameters_pass_through_json_and_build_an_equal_model", HoldsParamsThatAreNoJson),
    ("test_the_state_is_named_tensors", HoldsAnObject),
    ("test_the_same_seed_gives_the_same_weights", DrawsFromNowhere),
    ("test_there_is_one_score_per_user_and_item", ScoresOneItemTooMany),
    ("test_there_is_one_score_per_user_and_item", ScoresNan),
    ("test_target_items_select_columns", SortsTargets),
    ("test_input_items_name_the_columns_of_the_input", IgnoresInputItems),
    ("test_items_of_the_input_and_of_the_scores_are_apart", ScoresWhatItReads),
    ("test_scores_are_user_factors_times_item_factors", GivesOtherItemFactors),
    ("test_scores_are_user_factors_times_item_factors", SaysItIsFactorized),
    ("test_scores_of_blocks_of_users_are_those_of_forward", ScoresOnlyWholeBlocks),
    ("test_scores_in_evaluation_do_not_depend_on_chance", DropsAlways),
    ("test_scores_of_a_user_do_not_depend_on_the_batch", ComparesWithTheBatch),
    ("test_training_lowers_the_loss", LearnsNothing),
    ("test_training_that_was_interrupted_by_a_file_ends_with_the_same_weights", CountsOutsideTheState),
    ("test_a_saved_model_scores_the_same", CountsOutsideTheState),
    ("test_recommendations_are_the_best_of_what_a_user_has_not", ForbidsAnItem),
]


def suite_of(model):
    """A suite as a reader would write it."""

    class Suite(FactorizationModelSuite):
        def make_model(self):
            return model()

    return Suite()


def run(suite, name, tmp_path):
    test = getattr(suite, name)
    test(**({"tmp_path": tmp_path} if "tmp_path" in inspect.signature(test).parameters else {}))


TESTS = [name for name in dir(FactorizationModelSuite) if name.startswith("test_")]


class TestPlain(FactorizationModelSuite):
    def make_model(self):
        return Plain()


class TestFactorized(FactorizationModelSuite):
    num_users, num_items = 25, 10

    def make_model(self):
        return Factorized()


# what fails in a model's own code fails the test too
BY_ITSELF = {
    ForgetsParams: (RuntimeError, "size mismatch"),
    HoldsParamsThatAreNoJson: (TypeError, "not JSON serializable"),
    SaysItIsFactorized: (NotImplementedError, "does not implement item_factors"),
}


@pytest.mark.parametrize(("name", "model"), BROKEN, ids=[f"{model.__name__}-{name}" for name, model in BROKEN])
def test_a_broken_model_fails_the_test_that_is_for_it(name, model, tmp_path):
    error, words = BY_ITSELF.get(model, (AssertionError, None))
    with pytest.raises(error, match=words):
        run(suite_of(model), name, tmp_path)


def test_every_test_of_the_suite_can_fail():
    assert {name for name, _ in BROKEN} == set(TESTS)


def test_the_suite_leaves_the_global_random_state_alone(tmp_path):
    state = torch.get_rng_state()
    for name in TESTS:
        run(suite_of(Plain), name, tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_data_of_the_suite_is_zeros_and_ones_that_reach_every_item_and_leave_one_user_without():
    matrix = suite_of(Plain).interactions()
    assert set(matrix.data.tolist()) == {1.0}
    assert (matrix.getnnz(axis=0) > 0).all()
    assert (matrix.getnnz(axis=1) == 0).sum() == 1
