"""Alternating least squares: the factors of all users, then those of all items, each the best for the others.

Hu, Koren & Volinsky 2008 (ICDM), section 4, with conjugate gradients from where the factors are, a few steps each time
(Takács, Pilászy & Tikk 2011, RecSys). Sizes: U users, N items, R rows of a table, D factors.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn
from torch.autograd.graph import increment_version

from recoder.data.datasets import RecommendationDataset
from recoder.errors import ConfigError
from recoder.losses import MSELoss
from recoder.nn.base import FactorizationModel
from recoder.nn.folding import extra_weights, scaled_penalties
from recoder.nn.matrix_factorization import MatrixFactorization
from recoder.ops.least_squares import diagonal_basis, improve, spectrum_of
from recoder.ops.products_at import products_at
from recoder.ops.rows import SparseRows

__all__ = ["AlternatingLeastSquares", "check_alternating"]

STEPS = 2
"""Of conjugate gradients each time; the next sweep goes on from there, so few are enough (Takács, Pilászy & Tikk)."""

_PRIOR_COUNT = 10
"""Interactions that each item is taken to have beside its own where its popularity counts: a few say little of it."""

_ROWS_AT_ONCE = 4096

_SOLVED = ("users.weight", "items.weight")


class AlternatingLeastSquares:
    """Sweeps over the tables of a matrix factorization; it lowers the squared error over all items plus the penalties.

    The biases of items stay zero. Nothing of the model is changed before the first sweep.

    Args:
        model: the model, its parameters drawn.
        confidence: extra weight of an interaction of value 1, for each item as the model's ``confidence_power`` says.
        l2: penalty of squared factors; for each user and item times its number of interactions, over the mean, to the
            power that the model says.
        interactions: ``[U, N]``; there may be more users and items in the model.
    """

    def __init__(
        self, model: MatrixFactorization, confidence: float, l2: float, interactions: sparse.csr_matrix
    ) -> None:
        assert model.items is not None  # the caller has created it
        num_users = interactions.shape[0]
        # not .data: what is changed in place counts as another version of the tables
        users, items = model.users.weight.detach()[:num_users], model.items.weight.detach()
        parts = interactions.data, interactions.indices, interactions.indptr
        whole = sparse.csr_matrix(parts, shape=(num_users, len(items)))
        by_user, by_item = (SparseRows.from_scipy(matrix).to(users.device) for matrix in (whole, whole.T.tocsr()))
        shares_N = None
        if model.confidence_shares is not None:
            shares_N = _confidence_shares(by_item, model.confidence_power).to(model.confidence_shares)
        self._model, self._shares_N, self._has_begun = model, shares_N, False
        of_user_Z = extra_weights(by_user, confidence, shares_N)
        of_item_Z = confidence * by_item.values * (1 if shares_N is None else shares_N[by_item.row_ids])
        self._users = _Side(users, by_user, of_user_Z, _powers(by_user, l2, model.l2_power))
        self._items = _Side(items, by_item, of_item_Z, _powers(by_item, l2, model.l2_power))

    @staticmethod
    def of(
        model: FactorizationModel, loss: nn.Module, l2: float, dataset: RecommendationDataset
    ) -> AlternatingLeastSquares:
        """Returns those that fit a data set's targets, or where it has none its interactions.

        Raises:
            ConfigError: as ``check_alternating``.
        """
        factorization, confidence = check_alternating(model, loss)
        target = dataset.target_interactions_matrix
        fitted = dataset.interactions_matrix if target is None else target
        return AlternatingLeastSquares(factorization, confidence, l2, fitted)

    @property
    def num_users(self) -> int:
        """U."""
        return len(self._users.table_RD)

    @property
    def device(self) -> torch.device:
        """Where the tables are."""
        return self._users.table_RD.device

    @torch.no_grad()
    def sweep(self, unbroken: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """Improves the factors of users, then those of items, each in a basis that makes it quick.

        At the end the Gram matrix of the items is diagonal, for the next sweep and for users to be folded in.

        Args:
            unbroken: returns a block that interrupts do not end; in such the tables change their basis, both of them.
        """
        self._items.changed()  # so that a run that goes on from a file computes from the same numbers
        with unbroken():
            self._begin()
            self._turn_for(self._users, self._items)
        self._users.improve(self._items)
        with unbroken():
            self._turn_for(self._items, self._users)
        self._items.improve(self._users)
        with unbroken():
            self._turn_for(self._users, self._items)

    def _begin(self) -> None:
        """Changes in the model what follows from the interactions alone; not earlier, since a run may fail to begin."""
        if self._has_begun:
            return
        self._model.users.weight.data[self.num_users :] = 0  # the best for users without interactions
        if self._model.confidence_shares is not None and self._shares_N is not None:
            self._model.confidence_shares.copy_(self._shares_N)
        self._has_begun = True

    def _turn_for(self, side: _Side, others: _Side) -> None:
        """Turns both tables, which changes no score, so that the Gram matrix of the others is diagonal."""
        if spectrum_of(others.gram(), side.least_penalty) is None:
            basis_DD = diagonal_basis(others.gram())
            self._users.turn(basis_DD)
            self._items.turn(basis_DD)

    @torch.no_grad()
    def solve_again(self, users: npt.NDArray[np.int64], items: npt.NDArray[np.int64], *, steps: int) -> None:
        """Solves for some users and then for some items; all others stay as they are.

        Args:
            users: rows of the table, each once.
            items: likewise.
            steps: of conjugate gradients for each.
        """
        self._begin()
        for side, others, rows in ((self._users, self._items, users), (self._items, self._users, items)):
            chosen = torch.from_numpy(rows).to(side.table_RD.device)
            part = side.part(chosen)
            part.improve(others, steps)
            side.replace(chosen, part.table_RD)

    def put_items(self, items: npt.NDArray[np.int64], factors: Tensor) -> None:
        """Gives some items (rows, each once) these factors."""
        self._begin()
        self._items.replace(torch.from_numpy(items).to(self.device), factors)

    @torch.no_grad()
    def turn_for_new_users(self) -> None:
        """Turns both tables, so that the Gram matrix of the items is diagonal, as after a sweep."""
        self._items.changed()
        self._turn_for(self._users, self._items)

    @torch.no_grad()
    def objective(self) -> float:
        """Returns what sweeps lower, summed over users."""
        users, items = self._users, self._items
        rows, weights_Z = users.rows, users.weights_Z
        scores_Z = products_at(users.table_RD, items.table_RD, rows.offsets, rows.cols)
        squares = torch.sum(users.gram() * items.gram())
        of_entries = torch.sum((1 + weights_Z) * (rows.values - scores_Z).square() - scores_Z.square())
        return float(squares + of_entries + users.penalty() + items.penalty())


@dataclass(eq=False)
class _Side:
    """The users, or the items: their factors, interactions ``[R, others]``, extra weights of these, and penalties."""

    table_RD: Tensor
    rows: SparseRows
    weights_Z: Tensor
    penalties_R: Tensor
    _gram_DD: Tensor | None = None

    def gram(self) -> Tensor:
        """Returns ``table.T @ table``, computed once for the factors as they are: ``[D, D]``."""
        if self._gram_DD is None:
            self._gram_DD = self.table_RD.T @ self.table_RD
        return self._gram_DD

    def changed(self) -> None:
        """Says that the factors are others now."""
        self._gram_DD = None

    def replace(self, rows: Tensor, factors: Tensor) -> None:
        """Gives some rows (int64) other factors."""
        if self._gram_DD is not None:
            before = self.table_RD[rows]
            self._gram_DD = self._gram_DD + (factors.T @ factors - before.T @ before)
        self.table_RD[rows] = factors

    @property
    def least_penalty(self) -> float:
        """The least of the penalties."""
        return float(self.penalties_R.min()) if len(self.penalties_R) else 0.0

    def turn(self, basis_DD: Tensor) -> None:
        """Multiplies the factors with an orthogonal matrix."""
        for block in torch.split(self.table_RD, _ROWS_AT_ONCE):
            block.copy_(block @ basis_DD)
        if self._gram_DD is not None:
            wide_DD = basis_DD.double()
            self._gram_DD = (wide_DD.T @ self._gram_DD.double() @ wide_DD).to(basis_DD.dtype)

    def improve(self, others: _Side, steps: int = STEPS) -> None:
        """Goes some steps towards the best factors for those of the other side."""
        gram_DD = others.gram()
        self.changed()
        improve(
            self.table_RD,
            others.table_RD,
            gram_DD,
            self.rows,
            weights_Z=self.weights_Z,
            penalties_B=self.penalties_R,
            least_penalty=self.least_penalty,
            steps=min(steps, self.table_RD.shape[1]),
        )
        increment_version((self.table_RD,))  # a kernel may have changed it

    def part(self, rows: Tensor) -> _Side:
        """Returns some rows (int64), their factors in memory of their own."""
        counts = self.rows.offsets.diff()[rows]
        offsets = F.pad(counts.cumsum(0), (1, 0))
        first_Z = torch.repeat_interleave(self.rows.offsets[rows] - offsets[:-1], counts)
        entries = first_Z + torch.arange(len(first_Z), device=rows.device)
        taken = SparseRows(offsets, self.rows.cols[entries], self.rows.values[entries], self.rows.num_cols)
        return _Side(self.table_RD[rows], taken, self.weights_Z[entries], self.penalties_R[rows])

    def penalty(self) -> Tensor:
        """Returns the penalties times the squared factors."""
        return torch.dot(self.table_RD.square().sum(dim=1), self.penalties_R.to(self.table_RD.dtype))


def check_alternating(model: FactorizationModel, loss: nn.Module) -> tuple[MatrixFactorization, float]:
    """Returns a model that alternating least squares can train, and the confidence.

    Raises:
        ConfigError: if it cannot.
    """
    if not isinstance(model, MatrixFactorization):
        raise ConfigError(
            f"optimizer_type='als' trains a MatrixFactorization, not a {type(model).__name__}; choose another optimizer"
        )
    is_made = model.items is not None
    if is_made and not all(parameter.requires_grad for name, parameter in model.named_parameters() if name in _SOLVED):
        raise ConfigError(
            f"least squares solve for {' and '.join(_SOLVED)}, but one of them does not require a gradient; let it, or "
            "choose another optimizer than 'als'"
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


def _powers(rows: SparseRows, factor: float, power: float) -> Tensor:
    """Returns ``factor`` times each row's number of interactions, over the mean, to a power."""
    counts_R = rows.offsets.diff()
    return scaled_penalties(counts_R, factor, power, float(counts_R.float().mean()))


def _confidence_shares(by_item: SparseRows, power: float) -> Tensor:
    """Returns what the confidence of each item's interactions is multiplied by: ``[N]``."""
    counts_N = by_item.offsets.diff().to(torch.float32) + _PRIOR_COUNT
    return (counts_N / counts_N.mean()) ** -power
