"""Matrix factorization: a user's factors are looked up.

Sizes: B users, N items, U users of the table, D factors.
"""

from __future__ import annotations

import weakref
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from recoder._checks import non_negative, whole_number
from recoder._random import fresh_seed
from recoder.errors import ConfigError, UnknownIdError
from recoder.losses import fused_form
from recoder.nn.activations import activation
from recoder.nn.base import FactorizationModel, not_initialized
from recoder.nn.folding import Objective
from recoder.nn.noise import FactorDropout
from recoder.nn.tables import FactorTable
from recoder.ops.rows import SparseRows

__all__ = ["MatrixFactorization"]


class MatrixFactorization(FactorizationModel):
    """One row of factors for each user and each item, and a bias for each item (Koren, Bell & Volinsky 2009, Computer).

    Only users of the training data can be scored, unless ``fold_in`` is set.

    Args:
        embedding_size: D, the number of factors; a model file that is loaded brings its own.
        activation_type: applied to the user's row; as in ``DynamicAutoencoder``.
        dropout_prob: probability of dropping a factor of the user's row in training, after the activation.
        sparse: give both tables sparse gradients, so that a step touches only the rows it uses; for the
            optimizers ``'adam'`` and ``'rowwise_adagrad'``.
        fold_in: score every user from the interactions that are passed, by the factors that minimise the training loss
            over all items with the items' factors as they are: users never seen in training too, and new interactions
            of others. The activation is left out of it.
        l2_power: where factors are solved for, in folding in and by alternating least squares
            (``Recoder(..., optimizer_type='als')``), the weight decay of a user or an item is multiplied by its number
            of interactions, over the mean, to this power (after Rendle et al. 2022, RecSys, "Revisiting the
            performance of iALS on item recommendation benchmarks", section 4.2; there the number also counts a share
            of all others).
        confidence_power: there, too, the confidence of an interaction is divided by its item's number of interactions
            in training plus 10, over the mean of these, to this power; for alternating least squares.

    Raises:
        ConfigError: if an argument is out of range or unknown.
    """

    can_be_cut = True
    items: FactorTable | None
    confidence_shares: Tensor | None

    def __init__(
        self,
        embedding_size: int,
        activation_type: str = "none",
        dropout_prob: float = 0,
        sparse: bool = False,
        *,
        fold_in: bool = False,
        l2_power: float = 0.0,
        confidence_power: float = 0.0,
    ) -> None:
        super().__init__()
        self.sparse = sparse
        self.items = None
        self._gram: tuple[weakref.ref[nn.Parameter], tuple[int, int], Tensor] | None = None
        self._set_params(embedding_size, activation_type, dropout_prob, fold_in, l2_power, confidence_power)

    def _set_params(
        self,
        embedding_size: int,
        activation_type: str,
        dropout_prob: float,
        fold_in: bool = False,
        l2_power: float = 0.0,
        confidence_power: float = 0.0,
        objective: dict[str, Any] | None = None,
    ) -> None:
        self.embedding_size = whole_number("embedding_size", embedding_size, 1)
        self.activation_type = activation_type
        self.dropout_prob = non_negative("dropout_prob", dropout_prob)
        self._activation = activation(activation_type)
        self._dropout = FactorDropout(self.dropout_prob, "dropout")
        self.folds_in_users = bool(fold_in)
        self.l2_power = non_negative("l2_power", l2_power)
        self.confidence_power = non_negative("confidence_power", confidence_power)
        self.objective = None if objective is None else Objective(**objective)

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        """Creates the parameters for ``num_items`` items and ``num_users`` users."""
        fewest_users = 0 if self.folds_in_users else 1  # a file without its training users can fold in others
        if num_items is None or num_users is None or num_items < 1 or num_users < fewest_users:
            raise ConfigError(
                f"num_items is {num_items} and num_users {num_users}; a factorization needs at least 1 of each"
            )
        seed = fresh_seed()
        size = self.embedding_size
        sparse, of_users, of_items = self.sparse, self.parts.users, self.parts.items
        self.users = FactorTable(num_users, size, name="users", seed=seed, sparse=sparse, part=of_users)
        self.items = FactorTable(num_items, size, name="items", seed=seed, bias=True, sparse=sparse, part=of_items)
        # of the confidence, for each item; a file of 0.4.0 has no such thing
        self.register_buffer("confidence_shares", torch.ones(num_items) if self.confidence_power else None)

    def model_params(self) -> dict[str, Any]:
        """Returns the hyper-parameters."""
        return {
            "embedding_size": self.embedding_size,
            "activation_type": self.activation_type,
            "dropout_prob": self.dropout_prob,
            "fold_in": self.folds_in_users,
            "l2_power": self.l2_power,
            "confidence_power": self.confidence_power,
            "objective": None if self.objective is None else asdict(self.objective),
        }

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        """Takes over hyper-parameters; ``sparse`` stays as it was given to the constructor."""
        self._set_params(**model_params)

    def learns_by(self, loss: nn.Module, l2: float, mean_interactions: float) -> None:
        """Keeps what folding in is to minimise.

        Raises:
            ConfigError: if users are to be folded in, but the loss is not one of the library's.
        """
        if not self.folds_in_users:
            return
        fused = fused_form(loss)
        if fused is None:
            raise ConfigError(
                f"fold_in=True needs the loss 'mse', or 'logistic' or 'logloss' without loss_params, not a "
                f"{type(loss).__name__}"
            )
        confidence = getattr(fused, "confidence", 0.0)
        self.objective = Objective(Objective.name_of(fused), confidence, l2, self.l2_power, mean_interactions)

    def user_factors(self, input: SparseRows, users: Tensor | None = None, items: Tensor | None = None) -> Tensor:
        """Returns the users' rows, ``[B, D]``; with ``fold_in``, but for training, what is solved for instead."""
        if self.items is None:
            raise not_initialized(self)
        if self.folds_in_users and not self.training:
            cols = input.cols if items is None else items[input.cols]
            if len(cols) and cols.device.type == "cpu" and int(cols.min()) < 0:
                raise UnknownIdError(f"item id {int(cols.min())} is negative; ids are the rows of the training data")
            values = input.values.to(self.items.weight.dtype)
            histories = SparseRows(input.offsets, cols, values, len(self.items.weight))
            objective = Objective("mse") if self.objective is None else self.objective
            parts = self.items.weight, self.items.bias, histories, self.confidence_shares
            return objective.minimised(*parts, gram=self._gram_of_items)
        if users is None:
            raise ConfigError("a matrix factorization looks users up by their row; pass the users (input_users)")
        dropped: Tensor = self._dropout(self._activation(self.parts.user_rows(self.users, users)))
        return dropped

    def _gram_of_items(self) -> Tensor:
        """Returns the products of the items' factors, ``[D, D]``: kept until torch sees these change.

        It does not see what is written through ``.data`` or an array that shares their memory.
        """
        assert self.items is not None  # the caller has looked
        weight = self.items.weight
        if weight.is_inference():  # it has no versions
            return weight.T @ weight
        kept, version = self._gram, (weight.data_ptr(), weight._version)
        if kept is None or kept[0]() is not weight or kept[1] != version:
            with torch.autocast(weight.device.type, enabled=False):
                kept = weakref.ref(weight), version, weight.detach().T @ weight.detach()
            self._gram = kept
        return kept[2]

    def _apply(self, *arguments: Any, **options: Any) -> MatrixFactorization:
        self._gram = None  # the parameters stay, and what they hold is another tensor
        super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]  # unannotated in torch 2.13
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_gram": None}

    def item_factors(self, items: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns the items' rows and biases: ``[I, D]`` and ``[I]``."""
        if self.items is None:
            raise not_initialized(self)
        return self.items.rows(items), self.items.biases(items)
