"""Autoencoders: a user's factors are computed from the user's interactions.

Sizes: B users, N items, D the size of the first hidden layer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from recoder._checks import non_negative
from recoder._random import fresh_seed
from recoder.errors import ConfigError
from recoder.nn.activations import activation
from recoder.nn.base import FactorizationModel, not_initialized
from recoder.nn.item_sum import ItemSum
from recoder.nn.noise import FactorDropout
from recoder.nn.tables import FactorTable
from recoder.ops.rows import SparseRows

__all__ = ["DynamicAutoencoder"]


class DynamicAutoencoder(FactorizationModel):
    """An autoencoder that reads and reconstructs any selection of the items (Moussawi 2018, arXiv:1809.00999).

    The encoder maps a user's L2-normalised row through ``hidden_layers``; the decoder mirrors it. Every hidden layer
    is followed by the activation, the output is not. Only the rows of the items that are read and of those that are
    scored take part, so with ``sparse=True`` and sampled items a step does not depend on the size of the catalogue.

    Args:
        hidden_layers: sizes of the encoder's layers, the bottleneck last. None: they come from a model file.
        activation_type: ``'none'``, an element-wise function of ``torch.nn.functional`` or ``torch``, or ``'softmax'``,
            ``'softmin'`` or ``'log_softmax'`` over a user's units.
        is_constrained: tie the decoder's weights to the encoder's, transposed; biases stay apart.
        dropout_prob: probability of dropping a unit of the bottleneck in training.
        noise_prob: probability of dropping an interaction of the input in training. What is kept of a user's n
            interactions is multiplied by ``n / (1 + (n - 1) (1 - noise_prob))``: by 1 for a single one, by nearly
            ``1 / (1 - noise_prob)`` for many.
        sparse: give the item tables sparse gradients, so that a step touches only the rows it uses; for the
            optimizers ``'adam'`` and ``'rowwise_adagrad'``.

    Raises:
        ConfigError: if an argument is out of range or unknown.
    """

    can_be_cut = True
    items: FactorTable | None

    def __init__(
        self,
        hidden_layers: Sequence[int] | None = None,
        activation_type: str = "tanh",
        is_constrained: bool = False,
        dropout_prob: float = 0.0,
        noise_prob: float = 0.0,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.sparse = sparse
        self.items = None
        self._set_params(hidden_layers, activation_type, is_constrained, dropout_prob, noise_prob)

    def _set_params(
        self,
        hidden_layers: Sequence[int] | None,
        activation_type: str,
        is_constrained: bool,
        dropout_prob: float,
        noise_prob: float,
    ) -> None:
        self.hidden_layers = None if hidden_layers is None else checked_sizes(hidden_layers)
        self.activation_type = activation_type
        self.is_constrained = bool(is_constrained)
        self.dropout_prob = non_negative("dropout_prob", dropout_prob)
        self.noise_prob = non_negative("noise_prob", noise_prob)
        self._activation = activation(activation_type)
        self._dropout = FactorDropout(self.dropout_prob, "dropout")
        # checked here, used when init_model builds the layer
        FactorDropout(self.noise_prob, "noise")

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        """Creates the parameters for ``num_items`` items; ``num_users`` is not used."""
        if self.hidden_layers is None:
            raise ConfigError("hidden_layers is not set; pass it, as in DynamicAutoencoder([200])")
        if num_items is None or num_items < 1:
            raise ConfigError(f"num_items is {num_items}; an autoencoder needs at least 1 item")
        seed = fresh_seed()
        first = self.hidden_layers[0]
        part = self.parts.items
        table = FactorTable(num_items, first, name="item_sum", seed=seed, sparse=self.sparse, part=part)
        self.item_sum = ItemSum(table, self.noise_prob, self.parts)
        self.input_bias = nn.Parameter(table.weight.new_zeros(first))
        pairs = list(zip(self.hidden_layers, self.hidden_layers[1:], strict=False))
        self.encoder = nn.ModuleList(dense_layer(above, below) for above, below in pairs)
        self.decoder = nn.ModuleList(dense_layer(below, above) for above, below in reversed(pairs))
        self.items = FactorTable(num_items, first, name="items", seed=seed, bias=True, sparse=self.sparse, part=part)
        if self.is_constrained:
            self.items.weight = table.weight
            give_weights_up(self.decoder)

    def model_params(self) -> dict[str, Any]:
        """Returns the hyper-parameters."""
        return {
            "hidden_layers": self.hidden_layers,
            "activation_type": self.activation_type,
            "is_constrained": self.is_constrained,
            "dropout_prob": self.dropout_prob,
            "noise_prob": self.noise_prob,
        }

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        """Takes over hyper-parameters; ``sparse`` stays as it was given to the constructor."""
        self._set_params(**model_params)

    def user_factors(self, input: SparseRows, users: Tensor | None = None, items: Tensor | None = None) -> Tensor:
        """Returns the last hidden layer of the decoder: ``[B, D]``."""
        if self.items is None:
            raise not_initialized(self)
        hidden = self._activation(self.item_sum(input, users, items) + self.input_bias)
        for layer in self.encoder:
            hidden = self._activation(layer(hidden))
        return decoded(self._dropout(hidden), self.decoder, reversed(self.encoder), self._activation)

    def item_factors(self, items: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns the rows and biases of the output layer: ``[I, D]`` and ``[I]``."""
        if self.items is None:
            raise not_initialized(self)
        return self.items.rows(items), self.items.biases(items)


def checked_sizes(hidden_layers: Sequence[int]) -> list[int]:
    """Returns the sizes of layers as a list of ints.

    Raises:
        ConfigError: if there is none, or one is no whole number or below 1.
    """
    try:
        sizes = [operator.index(size) for size in hidden_layers]
    except TypeError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise ConfigError(
            f"hidden_layers is {hidden_layers!r}; it must name at least one layer, each of at least 1 unit, as in [200]"
        )
    return sizes


def give_weights_up(decoder: nn.ModuleList) -> None:
    """Leaves the layers of a decoder their biases alone; the weights of the layers that they mirror serve."""
    for layer in decoder:
        layer.register_parameter("weight", None)


def decoded(
    hidden: Tensor, decoder: nn.ModuleList, mirrored: Iterable[nn.Module], activation: Callable[[Tensor], Tensor]
) -> Tensor:
    """Returns what a decoder makes of its input.

    Args:
        hidden: the input.
        decoder: linear layers, each followed by the activation.
        mirrored: the encoder's layer for each; its weight, transposed, serves one that has none.
        activation: as said.
    """
    for layer, other in cast("Iterable[tuple[nn.Linear, nn.Linear]]", zip(decoder, mirrored, strict=True)):
        weight = other.weight.T if layer.weight is None else layer.weight
        hidden = activation(F.linear(hidden, weight, layer.bias))
    return hidden


def dense_layer(num_in: int, num_out: int) -> nn.Linear:
    """Returns a layer with Glorot & Bengio's uniform weights and biases of zero."""
    layer = nn.Linear(num_in, num_out)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
