from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.distributions import Independent, Normal, kl_divergence

from recoder.data import RecommendationDataset
from recoder.errors import ConfigError, NotInitializedError
from recoder.model import Recoder
from recoder.nn import MultVAE, RecVAE
from recoder.nn.mult_vae import kl_from_standard_normal
from recoder.ops.rows import SparseRows


def made(**params):
    torch.manual_seed(0)
    model = MultVAE([8, 3], **params)
    model.init_model(num_items=12)
    return model


def rows(num_users=5):
    generator = torch.Generator().manual_seed(1)
    return SparseRows.from_dense((torch.rand(num_users, 12, generator=generator) < 0.4).float())


def test_the_divergence_is_that_of_torch_distributions():
    means, log_variances = torch.randn(6, 4), torch.randn(6, 4)
    posterior = Independent(Normal(means, (0.5 * log_variances).exp()), 1)
    standard = Independent(Normal(torch.zeros(6, 4), torch.ones(6, 4)), 1)
    torch.testing.assert_close(kl_from_standard_normal(means, log_variances), kl_divergence(posterior, standard))


def test_the_penalty_is_the_mean_divergence_with_a_weight_that_grows_by_the_step():
    model = made(noise_prob=0.0, kl_weight=0.5, kl_steps=4).train()
    weights = []
    for _ in range(4):
        model.user_factors(rows())
        hidden = torch.tanh(model.item_sum(rows(), None, None) + model.input_bias)
        divergence = kl_from_standard_normal(model.means(hidden), model.log_variances(hidden)).mean()
        weights.append(float((model.penalty() / divergence).detach()))
        model.user_factors(rows())
        model.penalty()  # of a step that is broken off, which counts for nothing
        model.step_taken()
    np.testing.assert_allclose(weights, [0, 0.25, 0.5, 0.5], rtol=1e-5)
    assert model.penalty() is None  # it belongs to one forward pass


def test_draws_have_the_mean_and_the_variance_of_the_posterior():
    model = made(noise_prob=0.0)
    means = torch.tensor([[1.0, -2.0]]).expand(40_000, 2)
    log_variances = torch.tensor([[0.5, -1.0]]).expand(40_000, 2)
    drawn = model.sample.train()(means, log_variances)
    torch.testing.assert_close(drawn.mean(dim=0), means[0], atol=0.03, rtol=0)
    torch.testing.assert_close(drawn.var(dim=0), log_variances[0].exp(), atol=0.04, rtol=0)


def test_users_are_scored_by_the_mean_of_the_posterior():
    model = made().eval()
    hidden = torch.tanh(model.item_sum(rows(), None, None) + model.input_bias)
    expected = torch.tanh(model.decoder[0](model.means(hidden)))
    torch.testing.assert_close(model.user_factors(rows()), expected)
    assert model.penalty() is None


def test_a_tied_decoder_has_the_weights_of_the_encoder_transposed(tmp_path):
    torch.manual_seed(0)
    model = MultVAE([8, 5, 3], is_constrained=True)
    model.init_model(num_items=12)
    assert model.items.weight is model.item_sum.table.weight
    assert {name for name, _ in model.decoder.named_parameters()} == {"0.bias", "1.bias"}
    free = MultVAE([8, 5, 3])
    free.init_model(num_items=12)
    twins = {"decoder.0.weight": model.means.weight.T, "decoder.1.weight": model.encoder[0].weight.T}
    free.load_state_dict({**model.state_dict(), **twins})
    torch.testing.assert_close(free.eval().user_factors(rows()), model.eval().user_factors(rows()))
    loaded = Recoder(MultVAE())
    trained = Recoder(model, optimizer_type="adam", loss="logistic", seed=0)
    trained.train(RecommendationDataset(sparse.csr_matrix(rows(30).to_dense().numpy())), batch_size=10)
    loaded.init_from_model_file(trained.save_state(tmp_path / "vae"))
    assert loaded.model.is_constrained
    assert loaded.model.items.weight is loaded.model.item_sum.table.weight
    torch.testing.assert_close(loaded.model.user_factors(rows()), trained.model.user_factors(rows()))


@pytest.mark.parametrize("model", [MultVAE([8, 3]), RecVAE(8, 3)], ids=lambda model: type(model).__name__)
def test_after_a_forward_pass_it_can_be_copied(model):
    model.init_model(num_items=12)
    model.train().user_factors(rows())
    copied = copy.deepcopy(model)
    assert copied.penalty() is None
    assert model.penalty() is not None


def test_a_loaded_run_goes_on_with_the_weight_it_had(tmp_path):
    data = RecommendationDataset(sparse.csr_matrix(rows(30).to_dense().numpy()))
    recoder = Recoder(MultVAE([8, 3], kl_steps=100), optimizer_type="adam", loss="logloss", seed=0)
    recoder.train(data, num_epochs=2, batch_size=10)
    loaded = Recoder(MultVAE())
    loaded.init_from_model_file(recoder.save_state(tmp_path / "vae"))
    assert int(loaded.model.num_steps) == 6
    assert loaded.model.kl_steps == 100


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hidden_layers": [5]}, "a layer must come before"),
        ({"kl_weight": -1}, "kl_weight is -1"),
        ({"kl_steps": 0}, "kl_steps is 0"),
        ({"noise_prob": 1.0}, r"it must lie in \[0, 1\)"),
    ],
)
def test_arguments_out_of_range_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        MultVAE(**params)


def test_before_init_model_there_are_no_factors():
    with pytest.raises(NotInitializedError):
        MultVAE().user_factors(rows())
    with pytest.raises(NotInitializedError):
        MultVAE().item_factors()
