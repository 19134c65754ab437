"""ELSA: a linear autoencoder of low rank whose weights are the cosines of items.

Sizes: B users, C columns of the batch, N items, I of them to score, D factors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recoder._checks import non_negative, whole_number
from recoder._random import fresh_seed
from recoder.errors import ConfigError
from recoder.nn.base import FactorizationModel, not_initialized
from recoder.nn.noise import InteractionDropout
from recoder.nn.tables import FactorTable
from recoder.ops.encode import weighted_row_sums
from recoder.ops.rows import SparseRows

__all__ = ["ELSA"]

_TINY = 1e-12
"""A user without interactions, or whose scores are all zero, has a cosine of 0."""


class ELSA(FactorizationModel):
    """Scores ``x A A' - x``, the rows of A of length 1, x the user's interactions (Vančura et al. 2022, RecSys).

    It brings a loss of its own: the squared distance of the user's scores from the interactions, both scaled to length
    1, so the loss that a ``Recoder`` is given is not used. It is computed over all items, without any score of them:
    ``A'A`` tells the length of the scores. What it subtracts, the interactions themselves, is left out of the scores
    that are returned: it concerns only items that the user has already.

    Args:
        embedding_size: D, the number of factors.
        noise_prob: probability of dropping an interaction of the input in training.

    Raises:
        ConfigError: if an argument is out of range.
    """

    table: FactorTable | None

    def __init__(self, embedding_size: int = 256, noise_prob: float = 0.0) -> None:
        super().__init__()
        self.table = None
        self._set_params(embedding_size, noise_prob)

    def _set_params(self, embedding_size: int, noise_prob: float) -> None:
        self.embedding_size = whole_number("embedding_size", embedding_size, 1)
        self.noise_prob = non_negative("noise_prob", noise_prob)
        self.noise = InteractionDropout(self.noise_prob, "noise")  # its scales would change no cosine

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        """Creates the parameters for ``num_items`` items; ``num_users`` is not used."""
        if num_items is None or num_items < 1:
            raise ConfigError(f"num_items is {num_items}; an autoencoder needs at least 1 item")
        self.table = FactorTable(num_items, self.embedding_size, name="items", seed=fresh_seed())

    def model_params(self) -> dict[str, Any]:
        """Returns the hyper-parameters."""
        return {"embedding_size": self.embedding_size, "noise_prob": self.noise_prob}

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        """Takes over hyper-parameters."""
        self._set_params(**model_params)

    def user_factors(self, input: SparseRows, users: Tensor | None = None, items: Tensor | None = None) -> Tensor:
        """Returns ``x A``: ``[B, D]``."""
        weight_CD, _ = self.item_factors(items)
        return weighted_row_sums(weight_CD, self.noise(input, users, items), None, sparse=False)

    def item_factors(self, items: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns the rows of A, ``[I, D]``, and no biases."""
        if self.table is None:
            raise not_initialized(self)
        unit_ID: Tensor = _UnitRows.apply(self.table.rows(items))  # type: ignore[no-untyped-call]  # in torch 2.13
        return unit_ID, None

    def batch_loss(
        self,
        input: SparseRows,
        users: Tensor | None,
        items: Tensor | None,
        target: SparseRows,
        target_items: Tensor | None,
    ) -> Tensor:
        """Returns the mean over users of ``|s / |s| - y / |y||^2 = 2 - 2 cos(s, y)``: a scalar, never in bfloat16.

        Args:
            input: x, ``[B, C]``; s is ``x A A' - x`` over these columns.
            users: int64 ``[B]``, for the noise.
            items: int64 ``[C]``: the item of each column; None: column ``c`` is item ``c``.
            target: y, over the same columns.
            target_items: these columns' items once more.

        Raises:
            ConfigError: if the input and the target are over different items.
        """
        if items is not target_items and not (
            items is not None and target_items is not None and torch.equal(items, target_items)
        ):
            raise ConfigError(
                "ELSA needs input and target over the same items, and sampled ones differ; "
                "leave negative_sampling out: its loss costs no more over the whole catalogue"
            )
        with torch.autocast(input.values.device.type, enabled=False):  # the squares cancel
            return self._batch_loss(input, users, items, target)

    def _batch_loss(self, input: SparseRows, users: Tensor | None, items: Tensor | None, target: SparseRows) -> Tensor:
        weight_CD, _ = self.item_factors(items)
        noisy = self.noise(input, users, items)
        factors_BD = weighted_row_sums(weight_CD, noisy, None, sparse=False)
        # |s|^2 = z A'A z' - 2 z (x A)' + x x', with z = x A
        of_gram_B: Tensor = _SquaresByGram.apply(factors_BD, weight_CD)  # type: ignore[no-untyped-call]  # in torch 2.13
        squares_B = of_gram_B - 2 * factors_BD.square().sum(dim=1) + noisy.sum_rows(noisy.values.square())
        wanted_BD = factors_BD if noisy is target else weighted_row_sums(weight_CD, target, None, sparse=False)
        products_B = (factors_BD * wanted_BD).sum(dim=1) - noisy.dot_rows(target)
        lengths_B = (squares_B.clamp_min(_TINY) * target.sum_rows(target.values.square()).clamp_min(_TINY)).sqrt()
        loss: Tensor = (2 - 2 * products_B / lengths_B).mean()
        return loss


class _UnitRows(torch.autograd.Function):
    """Rows of length 1, ``[N, D]``, as ``F.normalize`` makes them, with a gradient of three passes over the table."""

    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor) -> Tensor:
        lengths_N1: Tensor = torch.linalg.vector_norm(rows_ND, dim=1, keepdim=True).clamp_min_(_TINY)
        unit_ND = rows_ND / lengths_N1
        ctx.save_for_backward(unit_ND, lengths_N1)
        return unit_ND

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        unit_ND, lengths_N1 = ctx.saved_tensors
        along_N1 = torch.bmm(gradients[0].unsqueeze(1), unit_ND.unsqueeze(2)).squeeze(2)  # without a table of products
        return torch.addcmul(gradients[0], unit_ND, along_N1, value=-1).div_(lengths_N1)


class _SquaresByGram(torch.autograd.Function):
    """``z A'A z'`` of each row z, ``[B]``: of two products with all items, where those of autograd are three."""

    @staticmethod
    def forward(ctx: Any, factors_BD: Tensor, weight_ND: Tensor) -> Tensor:
        product_BD = factors_BD @ (weight_ND.T @ weight_ND)
        ctx.save_for_backward(factors_BD, weight_ND, product_BD)
        squares_B: Tensor = torch.linalg.vecdot(product_BD, factors_BD)
        return squares_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        factors_BD, weight_ND, product_BD = ctx.saved_tensors
        twice_B1 = 2 * gradients[0].unsqueeze(1)
        return twice_B1 * product_BD, weight_ND @ (factors_BD.T @ (twice_B1 * factors_BD))
