"""Folding in: the factors of users that a model has no row for, from their interactions.

Sizes: B users, N items, D factors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recoder._checks import non_negative
from recoder.errors import ConfigError, DataError
from recoder.ops.least_squares import blocks, improve, newton
from recoder.ops.rows import SparseRows
from recoder.ops.score_losses import Logistic, Multinomial, ScoreLoss, SquaredError

__all__ = ["Objective"]

_STEPS = 40
"""Of conjugate gradients; enough for four digits on real data."""

_SCORES_AT_ONCE = 1 << 22

_LEAST_L2 = 1e-2
"""Without any penalty a loss of logits has no least value where a plane divides the items."""

_LOSSES = ("mse", "logistic", "logloss")


@dataclass(frozen=True)
class Objective:
    """What a user's factors minimise: the loss over all items plus ``l2`` times their squares.

    Attributes:
        loss: ``'mse'``, ``'logistic'`` or ``'logloss'``.
        confidence: of the squared error.
        l2: at least 0.
        l2_power: ``l2`` is multiplied by the user's number of interactions over ``mean_interactions`` to this power.
        mean_interactions: of the users in training.

    Raises:
        ConfigError: if one is out of range.
    """

    loss: str
    confidence: float = 0.0
    l2: float = 0.0
    l2_power: float = 0.0
    mean_interactions: float = 1.0

    def __post_init__(self) -> None:
        if self.loss not in _LOSSES:
            raise ConfigError(f"users cannot be folded in with the loss {self.loss!r}; choose one of {_LOSSES}")
        for name in ("confidence", "l2", "l2_power", "mean_interactions"):
            non_negative(name, getattr(self, name))

    @staticmethod
    def name_of(loss: ScoreLoss | Multinomial) -> str:
        """Returns the name of a loss."""
        if isinstance(loss, Multinomial):
            return "logloss"
        return "mse" if isinstance(loss, SquaredError) else "logistic"

    def penalties(self, counts_B: Tensor) -> Tensor:
        """Returns the penalty of users with so many interactions: float32 ``[B]``."""
        return scaled_penalties(counts_B, self.l2, self.l2_power, self.mean_interactions)

    def minimised(
        self,
        table_ND: Tensor,
        bias_N: Tensor | None,
        rows: SparseRows,
        shares_N: Tensor | None = None,
        *,
        gram: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        """Returns the factors of users with these interactions: ``[B, D]``.

        Args:
            table_ND: the items' factors.
            bias_N: the items' biases; None: zero.
            rows: the interactions ``[B, N]``, or narrower.
            shares_N: what the confidence is multiplied by for each item; None: 1.
            gram: returns ``table.T @ table``, where somebody keeps it.

        Raises:
            DataError: for a value above 1 with the logistic loss.
        """
        if self.loss == "mse":
            found_BD = table_ND.new_zeros(rows.num_rows, table_ND.shape[1])
            improve(
                found_BD,
                table_ND,
                table_ND.T @ table_ND if gram is None else gram(),
                rows,
                weights_Z=extra_weights(rows, self.confidence, shares_N),
                penalties_B=self.penalties(rows.offsets.diff()),
                # not that of these users: nobody's factors depend on who else is asked for
                least_penalty=float(self.penalties(rows.offsets.new_ones(1))),
                steps=min(_STEPS, table_ND.shape[1]),
                bias_N=bias_N,
            )
            return found_BD
        if self.loss == "logistic" and rows.values.numel() and float(rows.values.max()) > 1:
            raise DataError(
                f"an interaction has the value {float(rows.values.max()):g}, and users are folded in with the logistic "
                "loss, to which values are probabilities, 0 to 1; pass 1 for each (Interactions.binarize)"
            )
        loss = Logistic() if self.loss == "logistic" else Multinomial()
        found = [table_ND.new_zeros(0, table_ND.shape[1])]
        for _, part in blocks(rows, max(1, _SCORES_AT_ONCE // len(table_ND))):
            penalties_b = self.penalties(part.offsets.diff()).clamp_min(_LEAST_L2)
            found.append(newton(loss, table_ND, bias_N, part, penalties_B=penalties_b))
        return torch.cat(found)


def extra_weights(rows: SparseRows, confidence: float, shares_N: Tensor | None) -> Tensor:
    """Returns the extra weight of each interaction: ``[Z]``."""
    weights_Z = confidence * rows.values
    return weights_Z if shares_N is None else weights_Z * shares_N[rows.cols]


def scaled_penalties(counts: Tensor, l2: float, power: float, mean: float) -> Tensor:
    """Returns ``l2 * (count / mean) ** power`` for each count; users and items without interactions count as one."""
    return l2 * (counts.clamp_min(1).to(torch.float32) / max(mean, 1e-12)) ** power
