from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from recoder.errors import ConfigError
from recoder.nn.noise import FactorDropout, InteractionDropout, seed_step
from recoder.ops.rows import SparseRows

NUM_USERS, NUM_ITEMS = 60, 50


@pytest.fixture(autouse=True)
def own_random_state():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def noisy(layer, users, items, values=None):
    """The noisy values of a full matrix of these users and items: ``[users, items]``."""
    dense = torch.ones(len(users), len(items)) if values is None else values
    rows = SparseRows.from_dense(dense)
    return layer(rows, users, items).to_dense()


def seeded(layer, step_seed):
    seed_step(layer, step_seed)
    return layer


def test_noise_of_an_interaction_does_not_depend_on_the_batch():
    layer = seeded(InteractionDropout(0.5, "noise"), 7)
    users, items = torch.arange(NUM_USERS), torch.arange(NUM_ITEMS)
    whole = noisy(layer, users, items)
    some_users, some_items = torch.tensor([59, 3, 17]), torch.tensor([8, 49, 0, 21])
    assert torch.equal(noisy(layer, some_users, some_items), whole[some_users][:, some_items])


def test_noise_follows_from_the_step_seed_alone():
    layer = InteractionDropout(0.5, "noise")
    users, items = torch.arange(NUM_USERS), torch.arange(NUM_ITEMS)
    first = noisy(seeded(layer, 7), users, items)
    torch.rand(3)
    assert torch.equal(noisy(seeded(layer, 7), users, items), first)
    assert not torch.equal(noisy(seeded(layer, 8), users, items), first)


def test_layers_of_other_streams_draw_other_noise():
    users, items = torch.arange(NUM_USERS), torch.arange(NUM_ITEMS)
    first = noisy(seeded(InteractionDropout(0.5, "noise"), 7), users, items)
    assert not torch.equal(noisy(seeded(InteractionDropout(0.5, "other"), 7), users, items), first)


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.8])
def test_interactions_are_kept_at_the_expected_rate_as_they_are(prob):
    values = torch.rand(NUM_USERS, NUM_ITEMS) + 0.5
    result = noisy(
        seeded(InteractionDropout(prob, "noise"), 7), torch.arange(NUM_USERS), torch.arange(NUM_ITEMS), values
    )
    kept = result != 0
    assert torch.equal(result[kept], values[kept])
    five_deviations = 5 * (prob * (1 - prob) / values.numel()) ** 0.5
    assert float(kept.float().mean()) == pytest.approx(1 - prob, abs=five_deviations)


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_scale_is_the_number_of_interactions_over_that_expected_beside_one_that_is_kept(count, prob):
    expected, of_first = 0.0, 1 - prob
    for kept in itertools.product([True, False], repeat=count):
        if kept[0]:  # one is as good as another
            chance = math.prod(1 - prob if one else prob for one in kept)
            expected += chance / of_first * sum(kept)
    scale = InteractionDropout(prob, "noise").scales(torch.tensor([count], dtype=torch.float64))
    assert float(scale) == pytest.approx(count / expected)


def test_scales_are_1_where_nothing_can_be_missing_and_the_inverse_of_the_rest_for_long_rows():
    scales = InteractionDropout(0.75, "noise").scales(torch.tensor([0.0, 1.0, 1e6]))
    torch.testing.assert_close(scales, torch.tensor([1.0, 1.0, 4.0]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("prob", [0.1, 0.5, 0.8])
def test_factors_are_kept_at_the_expected_rate_and_scaled_up(prob):
    factors = torch.rand(200, 30) + 0.5
    result = seeded(FactorDropout(prob, "dropout"), 7)(factors)
    kept = result != 0
    assert torch.allclose(result[kept], (factors / (1 - prob))[kept])
    five_deviations = 5 * (prob * (1 - prob) / factors.numel()) ** 0.5
    assert float(kept.float().mean()) == pytest.approx(1 - prob, abs=five_deviations)


@pytest.mark.parametrize("layer", [InteractionDropout(0.5, "noise"), FactorDropout(0.5, "dropout")])
def test_without_a_step_seed_draws_are_fresh_and_follow_the_global_seed_of_torch(layer):
    def draw():
        if isinstance(layer, FactorDropout):
            return layer(torch.ones(NUM_USERS, NUM_ITEMS))
        return noisy(layer, torch.arange(NUM_USERS), torch.arange(NUM_ITEMS))

    torch.manual_seed(3)
    first, second = draw(), draw()
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(draw(), first)
    assert torch.equal(draw(), second)


def test_factor_dropout_follows_from_the_step_seed_alone():
    layer = FactorDropout(0.5, "dropout")
    factors = torch.ones(20, 30)
    first = seeded(layer, 7)(factors)
    state = torch.get_rng_state()
    assert torch.equal(layer(factors), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(seeded(layer, 8)(factors), first)


def test_nothing_is_dropped_in_evaluation_or_with_probability_0():
    rows = SparseRows.from_dense(torch.ones(3, 4))
    ids = torch.zeros(12, dtype=torch.int64)
    factors = torch.ones(3, 4)
    assert InteractionDropout(0.0, "noise")(rows, ids, ids) is rows
    assert InteractionDropout(0.5, "noise").eval()(rows, ids, ids) is rows
    assert FactorDropout(0.0, "dropout")(factors) is factors
    assert FactorDropout(0.5, "dropout").eval()(factors) is factors


def test_seed_reaches_every_layer_of_a_model():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(FactorDropout(0.5, "a")), FactorDropout(0.5, "b"))
    seed_step(model, 5)
    assert [module.step_seed for module in (model[1][0], model[2])] == [5, 5]
    seed_step(model, None)
    assert [module.step_seed for module in (model[1][0], model[2])] == [None, None]


def test_a_copy_within_a_step_draws_anew():
    model = torch.nn.Sequential(FactorDropout(0.5, "layer"))
    seed_step(model, 3)
    copied = copy.deepcopy(model)
    x = torch.ones(4, 50)
    assert torch.equal(model(x), model(x))
    assert not torch.equal(copied(x), copied(x))


@pytest.mark.parametrize("prob", [-0.1, 1, 1.5, float("nan")])
def test_a_probability_outside_0_to_1_is_an_error(prob):
    with pytest.raises(ConfigError, match=r"noise probability is .*\[0, 1\)"):
        InteractionDropout(prob, "noise")
