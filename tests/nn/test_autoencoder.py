from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from recoder.errors import ConfigError, NotInitializedError
from recoder.nn import DynamicAutoencoder
from recoder.nn.noise import seed_step
from recoder.ops.rows import SparseRows

NUM_ITEMS = 30

VARIANTS = {
    "plain": {"hidden_layers": [6]},
    "sparse": {"hidden_layers": [6], "sparse": True},
    "tied": {"hidden_layers": [6], "is_constrained": True},
    "deep": {"hidden_layers": [5, 3, 2]},
    "deep tied": {"hidden_layers": [5, 3, 2], "is_constrained": True},
    "linear": {"hidden_layers": [6, 4], "activation_type": "none"},
    "selu": {"hidden_layers": [6, 4], "activation_type": "selu"},
    "deep tied sparse": {"hidden_layers": [5, 3], "is_constrained": True, "sparse": True, "activation_type": "sigmoid"},
}


@pytest.fixture(autouse=True)
def own_random_state():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def make_model(seed=0, num_items=NUM_ITEMS, **params):
    """An initialised float64 autoencoder whose biases are not zero."""
    model = DynamicAutoencoder(**params)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model.init_model(num_items=num_items)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.data.uniform_(-0.5, 0.5)
    return model.double()


def random_input(num_users=7, num_items=NUM_ITEMS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(num_users, num_items, generator=generator, dtype=torch.float64)
    dense[torch.rand(num_users, num_items, generator=generator) < 0.7] = 0
    dense[0] = 0
    return dense


def dense_autoencoder(model, x, *, dropped=lambda hidden: hidden):
    """The documented network, written with dense matrices and the model's parameters."""
    p = dict(model.named_parameters(remove_duplicate=False))
    act = (lambda h: h) if model.activation_type == "none" else getattr(torch, model.activation_type)
    num_inner = len(model.hidden_layers) - 1
    hidden = act(F.normalize(x, p=2, dim=1) @ p["item_sum.table.weight"] + p["input_bias"])
    for layer in range(num_inner):
        hidden = act(hidden @ p[f"encoder.{layer}.weight"].T + p[f"encoder.{layer}.bias"])
    hidden = dropped(hidden)
    for layer in range(num_inner):
        weight = (
            p[f"encoder.{num_inner - 1 - layer}.weight"].T if model.is_constrained else p[f"decoder.{layer}.weight"]
        )
        hidden = act(hidden @ weight.T + p[f"decoder.{layer}.bias"])
    output_weight = p["item_sum.table.weight"] if model.is_constrained else p["items.weight"]
    return hidden @ output_weight.T + p["items.bias"]


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS.keys())
def test_forward_is_the_documented_dense_network(params):
    model, x = make_model(**params), random_input()
    torch.testing.assert_close(model(x), dense_autoencoder(model, x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS.keys())
def test_gradients_are_those_of_the_documented_dense_network(params):
    model, x = make_model(**params), random_input()
    weights = torch.rand(len(x), NUM_ITEMS, dtype=torch.float64)
    (dense_autoencoder(model, x) * weights).sum().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    (model(x) * weights).sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad.to_dense(), expected[name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS.keys())
def test_selection_of_items_is_reconstructed_as_the_columns_of_the_whole(params):
    model = make_model(**params)
    items = torch.tensor([10, 26, 2, 29, 14])
    selection = random_input(4, len(items), seed=1)
    whole = torch.zeros(4, NUM_ITEMS, dtype=torch.float64)
    whole[:, items] = selection
    part = model(selection, input_items=items, target_items=items)
    torch.testing.assert_close(part, model(whole)[:, items], rtol=1e-12, atol=1e-13)


def test_documented_calls_have_the_documented_shapes():
    autoencoder = DynamicAutoencoder([20, 10])
    autoencoder.init_model(num_items=500)
    batch_size = 32
    input = torch.rand(batch_size, 5)
    input_items = torch.LongTensor([10, 126, 452, 29, 34])
    assert autoencoder(input, input_items=input_items, target_items=input_items).shape == (32, 5)
    target_items = torch.LongTensor([31, 14, 95, 49, 10, 36, 239])
    assert autoencoder(input, input_items=input_items, target_items=target_items).shape == (32, 7)
    assert autoencoder(torch.rand(batch_size, 500)).shape == (32, 500)


def test_parameters_are_those_of_a_mirrored_network():
    def shapes(**params):
        return {name: tuple(p.shape) for name, p in make_model(**params).named_parameters()}

    shared = {
        "item_sum.table.weight": (30, 5),
        "input_bias": (5,),
        "encoder.0.weight": (3, 5),
        "encoder.0.bias": (3,),
        "encoder.1.weight": (2, 3),
        "encoder.1.bias": (2,),
        "decoder.0.bias": (3,),
        "decoder.1.bias": (5,),
        "items.bias": (30,),
    }
    own = {"decoder.0.weight": (3, 2), "decoder.1.weight": (5, 3), "items.weight": (30, 5)}
    assert shapes(hidden_layers=[5, 3, 2]) == shared | own
    assert shapes(hidden_layers=[5, 3, 2], is_constrained=True) == shared


def test_weights_start_xavier_uniform_and_biases_at_zero():
    model = DynamicAutoencoder([400, 300])
    model.init_model(num_items=600)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        else:
            weight, bound = parameter.detach(), math.sqrt(6 / sum(parameter.shape))
            assert float(weight.abs().max()) == pytest.approx(bound, rel=1e-3), name
            assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02), name


def test_same_seed_of_torch_gives_the_same_weights():
    def weights(seed):
        torch.manual_seed(seed)
        model = DynamicAutoencoder([5, 3])
        model.init_model(num_items=NUM_ITEMS)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_encoder_and_output_table_start_apart():
    model = DynamicAutoencoder([5])
    model.init_model(num_items=NUM_ITEMS)
    assert not torch.equal(model.item_sum.table.weight, model.items.weight)


def test_evaluation_ignores_noise_and_dropout():
    model = make_model(hidden_layers=[6, 4], noise_prob=0.5, dropout_prob=0.5).eval()
    x = random_input()
    torch.testing.assert_close(model(x), dense_autoencoder(model, x), rtol=1e-12, atol=1e-13)


def test_dropout_acts_on_the_bottleneck_after_its_activation():
    # an activation that maps 0 to 1/2, so that it shows whether the zeros come before or after
    model, x = make_model(hidden_layers=[6, 4], activation_type="sigmoid", dropout_prob=0.5), random_input()
    seed_step(model, 5)
    mask = model._dropout(torch.ones(len(x), 4, dtype=torch.float64))
    assert set(mask.unique().tolist()) == {0, 2}
    expected = dense_autoencoder(model, x, dropped=lambda hidden: hidden * mask)
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-13)


def test_noise_drops_interactions_of_the_normalised_input():
    model, x = make_model(hidden_layers=[6], noise_prob=0.5), random_input()
    users = torch.arange(20, 20 + len(x))
    seed_step(model, 5)
    normalised = SparseRows.from_dense(F.normalize(x, dim=1))
    noise = model.item_sum.noise
    noisy = noise(normalised, users, None).to_dense() * noise.scales((x != 0).sum(dim=1).to(x.dtype)).unsqueeze(1)
    assert 0 < int((noisy != 0).sum()) < int((x != 0).sum())
    table = model.item_sum.table.weight
    expected = torch.tanh(noisy @ table + model.input_bias) @ model.items.weight.T + model.items.bias
    torch.testing.assert_close(model(x, input_users=users), expected, rtol=1e-12, atol=1e-13)


def test_training_draws_follow_the_step_seed():
    model, x = make_model(hidden_layers=[6], noise_prob=0.5, dropout_prob=0.5), random_input()
    seed_step(model, 5)
    first = model(x)
    assert torch.equal(model(x), first)
    seed_step(model, 6)
    assert not torch.equal(model(x), first)


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS.keys())
def test_model_params_build_the_same_model(params):
    model = make_model(**params, noise_prob=0.25, dropout_prob=0.5)
    other = DynamicAutoencoder(sparse=model.sparse)
    other.load_model_params(model.model_params())
    other.init_model(num_items=NUM_ITEMS)
    other.double().load_state_dict(model.state_dict())
    assert other.model_params() == model.model_params()
    assert torch.equal(other.eval()(random_input()), model.eval()(random_input()))
    assert other.item_sum.noise.prob == 0.25


def test_sparse_stays_as_the_constructor_was_told():
    model = DynamicAutoencoder(sparse=True)
    model.load_model_params(DynamicAutoencoder([3], sparse=False).model_params())
    assert model.sparse is True


@pytest.mark.parametrize("name", VARIANTS)
def test_gradients_of_item_tables_are_sparse_only_where_asked_for(name):
    model = make_model(**VARIANTS[name])
    items = torch.tensor([3, 8, 20])
    model(random_input(4, 3), input_items=items, target_items=items).sum().backward()
    for table in ("item_sum.table.weight", "items.weight", "items.bias"):
        gradient = model.get_parameter(table).grad
        assert gradient.is_sparse is model.sparse
        touched = gradient.coalesce().indices()[0].tolist() if gradient.is_sparse else None
        assert touched is None or set(touched) <= {3, 8, 20}


def test_model_with_its_own_forward_is_not_factorized():
    class Shifted(DynamicAutoencoder):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs) + 1

    assert DynamicAutoencoder([3]).is_factorized
    assert not Shifted([3]).is_factorized


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"hidden_layers": []}, "hidden_layers"),
        ({"hidden_layers": [5, 0]}, "hidden_layers"),
        ({"hidden_layers": [5], "activation_type": "nope"}, "unknown activation 'nope'"),
        ({"hidden_layers": [5], "noise_prob": 1.0}, "noise probability is 1.0"),
        ({"hidden_layers": [5], "dropout_prob": -0.1}, "dropout_prob is -0.1"),
    ],
)
def test_arguments_out_of_range_are_errors(params, words):
    with pytest.raises(ConfigError, match=words):
        DynamicAutoencoder(**params)


@pytest.mark.parametrize("num_items", [None, 0, -3])
def test_a_model_of_no_items_is_an_error(num_items):
    with pytest.raises(ConfigError, match=f"num_items is {num_items}"):
        DynamicAutoencoder([5]).init_model(num_items=num_items)


def test_a_model_without_layers_cannot_be_initialised():
    with pytest.raises(ConfigError, match="hidden_layers is not set"):
        DynamicAutoencoder().init_model(num_items=5)


def test_calls_before_init_model_are_errors():
    model = DynamicAutoencoder([5])
    with pytest.raises(NotInitializedError, match="init_model"):
        model(torch.ones(2, 5))
    with pytest.raises(NotInitializedError, match="init_model"):
        model.item_factors()
