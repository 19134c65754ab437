from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.distributions import Categorical, MixtureSameFamily, Normal

from recoder.data import RecommendationDataset
from recoder.errors import ConfigError, NotInitializedError
from recoder.model import Recoder
from recoder.nn import RecVAE
from recoder.nn.rec_vae import CompositePrior, log_normal
from recoder.ops.rows import SparseRows
from recoder.training import Callback


def made(**params):
    torch.manual_seed(0)
    model = RecVAE(8, 3, **params)
    model.init_model(num_items=12)
    return model


def data(num_users=30):
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(num_users, 12, generator=generator) < 0.4).float()


def trained(num_epochs, **params):
    recoder = Recoder(RecVAE(8, 3, **params), optimizer_type="adam", loss="logloss", seed=0)
    dataset = RecommendationDataset(sparse.csr_matrix(data().numpy()))
    recoder.train(dataset, num_epochs=num_epochs, batch_size=10)
    return recoder, dataset


def test_the_prior_is_the_mixture_of_three_normal_distributions():
    factors, means, log_variances = torch.randn(5, 3), torch.randn(5, 3), torch.randn(5, 3)
    parts = Normal(
        torch.stack([torch.zeros(5, 3), means, torch.zeros(5, 3)], dim=-1),
        torch.stack([torch.zeros(5, 3), log_variances, torch.full((5, 3), 10.0)], dim=-1).mul(0.5).exp(),
    )
    mixture = MixtureSameFamily(Categorical(torch.tensor([0.15, 0.75, 0.1]).expand(5, 3, 3)), parts)
    torch.testing.assert_close(CompositePrior()(factors, means, log_variances), mixture.log_prob(factors))


def test_the_penalty_is_the_sampled_divergence_weighted_by_each_users_interactions():
    model, dense = made(noise_prob=0.0, gamma=0.1).train(), data(6)
    rows = SparseRows.from_dense(dense)
    with torch.no_grad():
        for parameter in model.old_encoder.parameters():
            parameter.add_(0.1)
        factors = model.user_factors(rows)
        means, log_variances = model.encoder(rows, None, None)
        old = model.old_encoder(rows, None, None)
        ratios = log_normal(factors, means, log_variances) - model.prior(factors, *old)
        expected = (0.1 * dense.sum(dim=1) * ratios.sum(dim=1)).mean()
    torch.testing.assert_close(model.penalty(), expected)
    assert model.penalty() is None


def test_encoder_and_decoder_train_in_turn():
    """The trace of an epoch: which parts moved in each step, and when the prior got the new encoder."""
    recoder, dataset = trained(1, encoder_passes=2)
    model, trace = recoder.model, []

    def state(part):
        return torch.cat([tensor.flatten() for tensor in part.state_dict().values()]).clone()

    before = {name: state(part) for name, part in (("encoder", model.encoder), ("items", model.items))}
    old = state(model.old_encoder)

    class Trace(Callback):
        def on_step_end(self):
            nonlocal old
            moved = set()
            for name, part in (("encoder", model.encoder), ("items", model.items)):
                now = state(part)
                if not torch.equal(now, before[name]):
                    moved.add(name)
                before[name] = now
            now = state(model.old_encoder)
            trace.append((moved, not torch.equal(now, old), model.encoder.item_sum.noise.prob))
            old = now

    recoder.train(dataset, num_epochs=2, batch_size=10, callbacks=[Trace()])
    of_encoder, of_decoder = ({"encoder"}, False, 0.5), ({"items"}, False, 0.0)
    assert trace == [of_encoder] * 6 + [({"items"}, True, 0.0)] + [of_decoder] * 2
    assert torch.equal(state(model.old_encoder), state(model.encoder))
    assert all(p.requires_grad for name, p in model.named_parameters() if not name.startswith("old_encoder."))


@pytest.mark.parametrize("stop_after", [2, 7, 9])
def test_a_run_that_stops_within_an_epoch_goes_on_as_if_it_had_not(stop_after, tmp_path):
    class Interrupt(Callback):
        steps = 0

        def on_step_end(self):
            self.steps += 1
            if self.steps == stop_after:
                raise KeyboardInterrupt

    whole, dataset = trained(2, encoder_passes=2)
    stopped = Recoder(RecVAE(8, 3, encoder_passes=2), optimizer_type="adam", loss="logloss", seed=0)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(dataset, num_epochs=2, batch_size=10, callbacks=[Interrupt()])
    loaded = Recoder(RecVAE())
    loaded.init_from_model_file(stopped.save_state(tmp_path / "rec"))
    loaded.train(dataset, num_epochs=2, batch_size=10)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name]), name


def test_scores_are_those_of_the_means():
    model, rows = made().eval(), SparseRows.from_dense(data(4))
    means, _ = model.encoder(rows, None, None)
    assert torch.equal(model.user_factors(rows), means)
    assert model.penalty() is None
    np.testing.assert_array_equal(model.item_factors()[0].shape, (12, 3))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"latent_size": 0}, "latent_size is 0"),
        ({"gamma": -0.1}, "gamma is -0.1"),
        ({"encoder_passes": 0}, "encoder_passes is 0"),
        ({"noise_prob": 1.0}, r"it must lie in \[0, 1\)"),
    ],
)
def test_arguments_out_of_range_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        RecVAE(**params)


def test_before_init_model_there_are_no_factors():
    with pytest.raises(NotInitializedError):
        RecVAE().user_factors(SparseRows.from_dense(data(2)))
    with pytest.raises(NotInitializedError):
        RecVAE().item_factors()
