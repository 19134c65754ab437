"""Alternating least squares: the factors of all users, then those of all items, each the best for the others.

Hu, Koren & Volinsky 2008 (ICDM), section 4, with conjugate gradients from where the factors are, a few steps each time
(Takács, Pilászy & Tikk 2011, RecSys). Sizes: U users, N items, R rows of a table, D factors.
"""

from __future__ import annotations

import torch
from scipy import sparse
from torch import Tensor, nn

from recoder.errors import ConfigError
from recoder.losses import MSELoss
from recoder.nn.base import FactorizationModel
from recoder.nn.folding import scaled_penalties
from recoder.nn.matrix_factorization import MatrixFactorization
from recoder.ops.gram import gram_squared_error
from recoder.ops.item_blocks import ItemRows
from recoder.ops.least_squares import USERS_AT_ONCE, least_squares
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import SquaredError

__all__ = ["AlternatingLeastSquares", "check_alternating"]

STEPS = 3
"""Of conjugate gradients each time; the next sweep goes on from there, so few are enough (Takács, Pilászy & Tikk)."""


class AlternatingLeastSquares:
    """Sweeps over the tables of a matrix factorization; it lowers the squared error over all items plus the penalties.

    The biases of items stay zero.

    Args:
        model: the model, its parameters drawn.
        confidence: extra weight of an interaction of value 1.
        l2: penalty of squared factors; for each user and item times its number of interactions, over the mean, to the
            power that the model says.
        interactions: ``[U, N]``; there may be more users and items in the model.
    """

    def __init__(
        self, model: MatrixFactorization, confidence: float, l2: float, interactions: sparse.csr_matrix
    ) -> None:
        assert model.items is not None  # the caller has created it
        num_users = interactions.shape[0]
        model.users.weight.data[num_users:] = 0  # the best for users without interactions
        self._users, self._items = model.users.weight.data[:num_users], model.items.weight.data
        device = self._users.device
        parts = interactions.data, interactions.indices, interactions.indptr
        whole = sparse.csr_matrix(parts, shape=(num_users, len(self._items)))
        self._by_user = SparseRows.from_scipy(whole).to(device)
        self._by_item = SparseRows.from_scipy(whole.T.tocsr()).to(device)
        self._confidence = confidence
        self._of_users = _penalties(self._by_user, l2, model.l2_power)
        self._of_items = _penalties(self._by_item, l2, model.l2_power)

    @torch.no_grad()
    def sweep(self) -> None:
        """Improves the factors of users, then those of items."""
        self._improve(self._users, self._items, self._by_user, self._of_users)
        self._improve(self._items, self._users, self._by_item, self._of_items)

    @torch.no_grad()
    def objective(self) -> float:
        """Returns what sweeps lower, mean per user."""
        items = ItemRows(self._items, None, None)
        total, _ = gram_squared_error(SquaredError(self._confidence), self._users, items, self._by_user)
        for table_RD, penalties_R in ((self._users, self._of_users), (self._items, self._of_items)):
            total = total + torch.dot(table_RD.square().sum(dim=1), penalties_R)
        return float(total) / len(self._users)

    def _improve(self, table_RD: Tensor, others_ND: Tensor, rows: SparseRows, penalties_R: Tensor) -> None:
        gram_DD = others_ND.T @ others_ND
        for start in range(0, rows.num_rows, USERS_AT_ONCE):
            block = slice(start, min(start + USERS_AT_ONCE, rows.num_rows))
            table_RD[block] = least_squares(
                table_RD[block],
                others_ND,
                gram_DD,
                rows.cut(block.start, block.stop),
                confidence=self._confidence,
                penalties_B=penalties_R[block],
                steps=min(STEPS, table_RD.shape[1]),
            )


def check_alternating(model: FactorizationModel, loss: nn.Module) -> tuple[MatrixFactorization, float]:
    """Returns a model that alternating least squares can train, and the confidence.

    Raises:
        ConfigError: if it cannot.
    """
    if not isinstance(model, MatrixFactorization):
        raise ConfigError(
            f"optimizer_type='als' trains a MatrixFactorization, not a {type(model).__name__}; choose another optimizer"
        )
    if model.activation_type != "none" or model.dropout_prob:
        raise ConfigError(
            f"least squares are of factors as they are, but the model has activation_type {model.activation_type!r} "
            f"and dropout_prob {model.dropout_prob}; leave both out, or choose another optimizer than 'als'"
        )
    if type(loss) is not MSELoss:
        raise ConfigError(
            f"optimizer_type='als' minimises the squared error, not {type(loss).__name__}; "
            "pass loss='mse' and loss_params={'confidence': ...}"
        )
    return model, loss.confidence


def _penalties(rows: SparseRows, l2: float, power: float) -> Tensor:
    counts_R = rows.offsets.diff()
    return scaled_penalties(counts_R, l2, power, float(counts_R.float().mean()))
