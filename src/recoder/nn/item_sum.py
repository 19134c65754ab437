"""The input layer of models that read interactions: a sum over the user's items.

Sizes: B users, N items, D factors, Z stored interactions, C columns of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recoder.nn.noise import InteractionDropout
from recoder.nn.parts import WHOLE, Parts
from recoder.nn.tables import FactorTable
from recoder.ops.collectives import summed
from recoder.ops.encode import weighted_row_sums
from recoder.ops.rows import SparseRows

__all__ = ["ItemSum"]


class ItemSum(nn.Module):
    """Sums the item rows of each user's interactions, as a dense layer would with the L2-normalised, noisy row.

    Args:
        table: the items' rows ``[N, D]``.
        noise_prob: probability with which an interaction is dropped in training.
        parts: whose rows the table has; the sums are over the items of all processes.
    """

    def __init__(self, table: FactorTable, noise_prob: float, parts: Parts = WHOLE) -> None:
        super().__init__()
        self.table = table
        self.parts = parts
        self.noise = InteractionDropout(noise_prob, "noise")

    def forward(self, rows: SparseRows, users: Tensor | None, items: Tensor | None) -> Tensor:
        """Returns the sums: ``[B, D]``; zero for a user without items.

        Args:
            rows: interactions ``[B, C]``.
            users: int64 ``[B]``, for the noise; None: row numbers stand in.
            items: int64 ``[C]``: the row of each column; None: column ``c`` is row ``c``.
        """
        noisy = self.noise(rows, users, self.parts.catalogue_ids(items))
        sums_BD = weighted_row_sums(self.table.weight, noisy, items, sparse=self.table.row_gradients)
        squares_B = rows.sum_rows(rows.values.to(sums_BD.dtype).square())
        counts_B = rows.offsets.diff().to(sums_BD.dtype)
        if self.parts.ranks.size > 1:
            # one exchange: every start costs
            all_three = summed(self.parts.ranks, torch.cat([sums_BD, torch.stack([squares_B, counts_B], dim=1)], dim=1))
            sums_BD, squares_B, counts_B = all_three[:, :-2], all_three[:, -2], all_three[:, -1]
        # scaling the sums, not the Z values, whose norm is known only now. The floor is that of
        # torch.nn.functional.normalize; the norm is that of the row before noise
        lengths_B = squares_B.sqrt().clamp_min(1e-12)
        if self.noise.active:
            lengths_B = lengths_B / self.noise.scales(counts_B)
        return sums_BD / lengths_B.unsqueeze(1)
