"""Matrix factorization: a user's factors are looked up.

Sizes: B users, N items, U users of the table, D factors.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from recoder._checks import non_negative, whole_number
from recoder._random import fresh_seed
from recoder.errors import ConfigError
from recoder.nn.activations import activation
from recoder.nn.base import FactorizationModel, not_initialized
from recoder.nn.noise import FactorDropout
from recoder.nn.tables import FactorTable
from recoder.ops.rows import SparseRows

__all__ = ["MatrixFactorization"]


class MatrixFactorization(FactorizationModel):
    """One row of factors for each user and each item, and a bias for each item (Koren, Bell & Volinsky 2009, Computer).

    Only users of the training data can be scored.

    Args:
        embedding_size: D, the number of factors; a model file that is loaded brings its own.
        activation_type: applied to the user's row; ``'none'``, or an element-wise function of
            ``torch.nn.functional`` or ``torch``.
        dropout_prob: probability of dropping a factor of the user's row in training, after the activation.
        sparse: give both tables sparse gradients, so that a step touches only the rows it uses; for the optimizer
            ``'adam'``.

    Raises:
        ConfigError: if an argument is out of range or unknown.
    """

    folds_in_users: ClassVar[bool] = False
    items: FactorTable | None

    def __init__(
        self,
        embedding_size: int,
        activation_type: str = "none",
        dropout_prob: float = 0,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.sparse = sparse
        self.items = None
        self._set_params(embedding_size, activation_type, dropout_prob)

    def _set_params(self, embedding_size: int, activation_type: str, dropout_prob: float) -> None:
        self.embedding_size = whole_number("embedding_size", embedding_size, 1)
        self.activation_type = activation_type
        self.dropout_prob = non_negative("dropout_prob", dropout_prob)
        self._activation = activation(activation_type)
        self._dropout = FactorDropout(self.dropout_prob, "dropout")

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        """Creates the parameters for ``num_items`` items and ``num_users`` users."""
        if num_items is None or num_users is None or num_items < 1 or num_users < 1:
            raise ConfigError(
                f"num_items is {num_items} and num_users {num_users}; a factorization needs at least 1 of each"
            )
        seed = fresh_seed()
        size = self.embedding_size
        self.users = FactorTable(num_users, size, name="users", seed=seed, sparse=self.sparse)
        self.items = FactorTable(num_items, size, name="items", seed=seed, bias=True, sparse=self.sparse)

    def model_params(self) -> dict[str, Any]:
        """Returns the hyper-parameters."""
        return {
            "embedding_size": self.embedding_size,
            "activation_type": self.activation_type,
            "dropout_prob": self.dropout_prob,
        }

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        """Takes over hyper-parameters; ``sparse`` stays as it was given to the constructor."""
        self._set_params(**model_params)

    def user_factors(self, input: SparseRows, users: Tensor | None = None, items: Tensor | None = None) -> Tensor:
        """Returns the users' rows: ``[B, D]``; the interactions are not read."""
        if self.items is None:
            raise not_initialized(self)
        if users is None:
            raise ConfigError("a matrix factorization looks users up by their row; pass the users (input_users)")
        dropped: Tensor = self._dropout(self._activation(self.users.rows(users)))
        return dropped

    def item_factors(self, items: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns the items' rows and biases: ``[I, D]`` and ``[I]``."""
        if self.items is None:
            raise not_initialized(self)
        return self.items.rows(items), self.items.biases(items)
