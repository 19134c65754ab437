"""RecVAE: a variational autoencoder with a composite prior, whose encoder and decoder train in turn.

Sizes: B users, N items, H hidden units, L latent factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recoder._checks import non_negative, whole_number
from recoder._random import fresh_seed
from recoder.errors import ConfigError
from recoder.nn.autoencoder import dense_layer
from recoder.nn.base import FactorizationModel, Phase, not_initialized
from recoder.nn.item_sum import ItemSum
from recoder.nn.noise import FactorDropout, GaussianSample
from recoder.nn.tables import FactorTable
from recoder.ops.rows import SparseRows

__all__ = ["RecVAE"]

_NUM_LAYERS = 5
_NORM_EPS = 0.1
_PRIOR_WEIGHTS = (3 / 20, 3 / 4, 1 / 10)
_WIDE_LOG_VARIANCE = 10.0


class RecVAE(FactorizationModel):
    """A variational autoencoder with a composite prior (Shenbin et al. 2020, WSDM, arXiv:1912.11160).

    The paper has the loss ``'logloss'`` over all items; the recipe the loss ``'logistic'`` over sampled ones.
    An epoch goes through the users ``encoder_passes`` times to train the encoder, with noise in the input, and then
    once to train the decoder, a single layer, without. The divergence of a user's latent factors from the composite
    prior weighs ``gamma`` times the sum of the user's interactions (their equation 13). Scores are those of the mean.

    Args:
        hidden_size: H, of each of the encoder's five layers.
        latent_size: L.
        noise_prob: probability of dropping an interaction of the input while the encoder trains.
        gamma: weight of the divergence, at least 0.
        encoder_passes: at least 1.

    Raises:
        ConfigError: if an argument is out of range.
    """

    items: FactorTable | None

    def __init__(
        self,
        hidden_size: int = 600,
        latent_size: int = 200,
        noise_prob: float = 0.5,
        gamma: float = 0.005,
        encoder_passes: int = 3,
    ) -> None:
        super().__init__()
        self.items = None
        self._divergence: Tensor | None = None
        self._set_params(hidden_size, latent_size, noise_prob, gamma, encoder_passes)

    def _set_params(
        self, hidden_size: int, latent_size: int, noise_prob: float, gamma: float, encoder_passes: int
    ) -> None:
        self.hidden_size = whole_number("hidden_size", hidden_size, 1)
        self.latent_size = whole_number("latent_size", latent_size, 1)
        self.noise_prob = non_negative("noise_prob", noise_prob)
        self.gamma = non_negative("gamma", gamma)
        self.encoder_passes = whole_number("encoder_passes", encoder_passes, 1)
        # checked here, used when init_model builds the layer
        FactorDropout(self.noise_prob, "noise")

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        """Creates the parameters for ``num_items`` items; ``num_users`` is not used."""
        if num_items is None or num_items < 1:
            raise ConfigError(f"num_items is {num_items}; an autoencoder needs at least 1 item")
        seed = fresh_seed()
        self.encoder = DenseEncoder(num_items, self.hidden_size, self.latent_size, self.noise_prob, seed)
        self.old_encoder = DenseEncoder(num_items, self.hidden_size, self.latent_size, 0.0, seed)
        self.old_encoder.requires_grad_(False)
        self._keep_encoder()
        self.prior = CompositePrior()
        self.sample = GaussianSample("sample")
        self.items = FactorTable(num_items, self.latent_size, name="items", seed=seed, bias=True)

    def __getstate__(self) -> dict[str, Any]:
        # what a forward pass left is part of its graph, which can be neither copied nor stored
        return {**self.__dict__, "_divergence": None}

    def model_params(self) -> dict[str, Any]:
        """Returns the hyper-parameters."""
        return {
            "hidden_size": self.hidden_size,
            "latent_size": self.latent_size,
            "noise_prob": self.noise_prob,
            "gamma": self.gamma,
            "encoder_passes": self.encoder_passes,
        }

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        """Takes over hyper-parameters."""
        self._set_params(**model_params)

    def training_plan(self) -> Sequence[Phase]:
        """Returns the encoder's passes, after which the prior gets the new encoder, and the decoder's."""
        return (
            Phase(
                passes=self.encoder_passes,
                trains=lambda name: name.startswith("encoder."),
                prepares=lambda: self._set_noise(self.noise_prob),
            ),
            Phase(
                trains=lambda name: name.startswith("items."),
                begins=self._keep_encoder,
                prepares=lambda: self._set_noise(0.0),
            ),
        )

    def user_factors(self, input: SparseRows, users: Tensor | None = None, items: Tensor | None = None) -> Tensor:
        """Returns the latent factors: ``[B, L]``."""
        if self.items is None:
            raise not_initialized(self)
        means_BL, log_variances_BL = self.encoder(input, users, items)
        factors_BL: Tensor = self.sample(means_BL, log_variances_BL)
        if self.training:
            with torch.no_grad():
                old = self.old_encoder(input, users, items)
            log_ratios_BL = log_normal(factors_BL, means_BL, log_variances_BL) - self.prior(factors_BL, *old)
            weights_B = self.gamma * input.sum_rows(input.values)
            self._divergence = (weights_B * log_ratios_BL.sum(dim=1)).mean()
        return factors_BL

    def item_factors(self, items: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns the rows and biases of the decoder: ``[I, L]`` and ``[I]``."""
        if self.items is None:
            raise not_initialized(self)
        return self.items.rows(items), self.items.biases(items)

    def penalty(self) -> Tensor | None:
        """Returns the weighted divergence, mean per user, of the training step whose forward pass just ran."""
        divergence, self._divergence = self._divergence, None
        return divergence

    def _keep_encoder(self) -> None:
        with torch.no_grad():
            self.old_encoder.load_state_dict(self.encoder.state_dict())

    def _set_noise(self, prob: float) -> None:
        self.encoder.item_sum.noise.prob = prob


class DenseEncoder(nn.Module):
    """Five layers, each of the sum of all before it, normalised (Ba et al. 2016, arXiv:1607.06450), with swish.

    Args:
        num_items: N.
        hidden_size: H.
        latent_size: L.
        noise_prob: of the input.
        seed: of the item table.
    """

    def __init__(self, num_items: int, hidden_size: int, latent_size: int, noise_prob: float, seed: int) -> None:
        super().__init__()
        self.item_sum = ItemSum(FactorTable(num_items, hidden_size, name="item_sum", seed=seed), noise_prob)
        self.input_bias = nn.Parameter(torch.zeros(hidden_size))
        self.layers = nn.ModuleList(dense_layer(hidden_size, hidden_size) for _ in range(_NUM_LAYERS - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size, eps=_NORM_EPS) for _ in range(_NUM_LAYERS))
        self.means = dense_layer(hidden_size, latent_size)
        self.log_variances = dense_layer(hidden_size, latent_size)

    def forward(self, input: SparseRows, users: Tensor | None, items: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns the means and the logarithms of the variances of the latent factors, ``[B, L]`` each."""
        hidden = self.norms[0](F.silu(self.item_sum(input, users, items) + self.input_bias))
        summed = hidden
        for layer, norm in zip(self.layers, self.norms[1:], strict=True):
            hidden = norm(F.silu(layer(hidden) + summed))
            summed = summed + hidden
        dtype = self.means.weight.dtype
        return self.means(hidden).to(dtype), self.log_variances(hidden).to(dtype)


class CompositePrior(nn.Module):
    """For each latent factor a mixture of the standard normal, the old encoder's normal and a wide one.

    The first two are the prior of Shenbin et al. 2020 (arXiv:1912.11160, equation 9), by factor; the third keeps the
    gradient small where neither of them expects anything.
    """

    def forward(self, factors_BL: Tensor, old_means_BL: Tensor, old_log_variances_BL: Tensor) -> Tensor:
        """Returns the logarithm of the density of each factor: ``[B, L]``."""
        zero = factors_BL.new_zeros(())
        parts = torch.stack(
            [
                log_normal(factors_BL, zero, zero),
                log_normal(factors_BL, old_means_BL, old_log_variances_BL),
                log_normal(factors_BL, zero, zero + _WIDE_LOG_VARIANCE),
            ],
            dim=-1,
        )
        return torch.logsumexp(parts + factors_BL.new_tensor(_PRIOR_WEIGHTS).log(), dim=-1)


def log_normal(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Returns the logarithm of the density of a normal distribution, element by element."""
    return -0.5 * (math.log(2 * math.pi) + log_variance + (x - mean).square() * (-log_variance).exp())
