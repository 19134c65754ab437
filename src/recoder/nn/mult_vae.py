"""Mult-VAE: an autoencoder whose bottleneck is a distribution.

Sizes: B users, N items, H units of the outer hidden layer, L latent factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from recoder._checks import non_negative, whole_number
from recoder._random import fresh_seed
from recoder.errors import ConfigError
from recoder.nn.activations import activation
from recoder.nn.autoencoder import checked_sizes, decoded, dense_layer, give_weights_up
from recoder.nn.base import FactorizationModel, not_initialized
from recoder.nn.item_sum import ItemSum
from recoder.nn.noise import FactorDropout, GaussianSample
from recoder.nn.tables import FactorTable
from recoder.ops.rows import SparseRows

__all__ = ["MultVAE"]


class MultVAE(FactorizationModel):
    """A variational autoencoder (Liang et al. 2018, arXiv:1802.05814).

    The paper has the loss ``'logloss'`` over all items; the recipe the loss ``'logistic'`` over sampled ones.
    The encoder gives mean and variance of the user's latent factors; training draws from them, and adds to the loss
    their divergence from a standard normal distribution, with a weight that grows from 0 by the step (their section
    2.2.2). Scores are those of the mean.

    Args:
        hidden_layers: sizes of the encoder's layers, the number of latent factors last; the decoder mirrors it. At
            least two.
        activation_type: of the hidden layers; as in ``DynamicAutoencoder``.
        noise_prob: probability of dropping an interaction of the input in training. What is kept is scaled up by the
            number of interactions over the number that is expected to be kept where one is.
        kl_weight: what the weight of the divergence grows to, at least 0.
        kl_steps: the weight grows by ``1 / kl_steps`` a step, at least 1.
        is_constrained: tie the decoder's weights to the encoder's, transposed; biases stay apart. The layer of the
            means is the one that the decoder's first mirrors.

    Raises:
        ConfigError: if an argument is out of range or unknown.
    """

    can_be_cut = True
    items: FactorTable | None
    num_steps: Tensor

    def __init__(
        self,
        hidden_layers: Sequence[int] = (600, 200),
        activation_type: str = "tanh",
        noise_prob: float = 0.5,
        kl_weight: float = 0.2,
        kl_steps: int = 200_000,
        is_constrained: bool = False,
    ) -> None:
        super().__init__()
        self.items = None
        self._kl: Tensor | None = None
        self._set_params(hidden_layers, activation_type, noise_prob, kl_weight, kl_steps, is_constrained)

    def _set_params(
        self,
        hidden_layers: Sequence[int],
        activation_type: str,
        noise_prob: float,
        kl_weight: float,
        kl_steps: int,
        is_constrained: bool = False,
    ) -> None:
        self.hidden_layers = checked_sizes(hidden_layers)
        if len(self.hidden_layers) < 2:
            raise ConfigError(
                f"hidden_layers is {hidden_layers!r}; a layer must come before the latent factors, as in [600, 200]"
            )
        self.activation_type = activation_type
        self.noise_prob = non_negative("noise_prob", noise_prob)
        self.kl_weight = non_negative("kl_weight", kl_weight)
        self.kl_steps = whole_number("kl_steps", kl_steps, 1)
        self.is_constrained = bool(is_constrained)
        self._activation = activation(activation_type)
        # checked here, used when init_model builds the layer
        FactorDropout(self.noise_prob, "noise")

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        """Creates the parameters for ``num_items`` items; ``num_users`` is not used."""
        if num_items is None or num_items < 1:
            raise ConfigError(f"num_items is {num_items}; an autoencoder needs at least 1 item")
        seed = fresh_seed()
        *hidden, latent = self.hidden_layers
        part = self.parts.items
        table = FactorTable(num_items, hidden[0], name="item_sum", seed=seed, part=part)
        self.item_sum = ItemSum(table, self.noise_prob, self.parts)
        self.input_bias = nn.Parameter(table.weight.new_zeros(hidden[0]))
        self.encoder = _layers(hidden)
        self.means = dense_layer(hidden[-1], latent)
        self.log_variances = dense_layer(hidden[-1], latent)
        self.sample = GaussianSample("sample")
        self.decoder = _layers([latent, *reversed(hidden)])
        self.items = FactorTable(num_items, hidden[0], name="items", seed=seed, bias=True, part=part)
        if self.is_constrained:
            self.items.weight = table.weight
            give_weights_up(self.decoder)
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.int64))

    def __getstate__(self) -> dict[str, Any]:
        # what a forward pass left is part of its graph, which can be neither copied nor stored
        return {**self.__dict__, "_kl": None}

    def model_params(self) -> dict[str, Any]:
        """Returns the hyper-parameters."""
        return {
            "hidden_layers": self.hidden_layers,
            "activation_type": self.activation_type,
            "noise_prob": self.noise_prob,
            "kl_weight": self.kl_weight,
            "kl_steps": self.kl_steps,
            "is_constrained": self.is_constrained,
        }

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        """Takes over hyper-parameters."""
        self._set_params(**model_params)

    def user_factors(self, input: SparseRows, users: Tensor | None = None, items: Tensor | None = None) -> Tensor:
        """Returns the last hidden layer of the decoder: ``[B, H]``."""
        if self.items is None:
            raise not_initialized(self)
        hidden = self._activation(self.item_sum(input, users, items) + self.input_bias)
        for layer in self.encoder:
            hidden = self._activation(layer(hidden))
        dtype = self.means.weight.dtype
        means_BL, log_variances_BL = self.means(hidden).to(dtype), self.log_variances(hidden).to(dtype)
        if self.training:
            self._kl = kl_from_standard_normal(means_BL, log_variances_BL).mean()
        mirrored = [self.means, *reversed(self.encoder)]
        return decoded(self.sample(means_BL, log_variances_BL), self.decoder, mirrored, self._activation)

    def item_factors(self, items: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns the rows and biases of the output layer: ``[I, H]`` and ``[I]``."""
        if self.items is None:
            raise not_initialized(self)
        return self.items.rows(items), self.items.biases(items)

    def penalty(self) -> Tensor | None:
        """Returns the weighted divergence, mean per user, of the training step whose forward pass just ran.

        The weight grows with each step that ``step_taken`` is told of.
        """
        divergence, self._kl = self._kl, None
        if divergence is None:
            return None
        # on the device, so that no step waits for a number
        weight = (self.num_steps / self.kl_steps).clamp_max(self.kl_weight)
        return weight * divergence

    def step_taken(self) -> None:
        """Counts the step."""
        self.num_steps += 1


def kl_from_standard_normal(means_BL: Tensor, log_variances_BL: Tensor) -> Tensor:
    """Returns the Kullback-Leibler divergence of normal distributions from the standard one, by user: ``[B]``.

    Kingma & Welling 2014 (arXiv:1312.6114), appendix B.
    """
    return -0.5 * (1 + log_variances_BL - means_BL.square() - log_variances_BL.exp()).sum(dim=1)


def _layers(sizes: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(dense_layer(above, below) for above, below in pairwise(sizes))
