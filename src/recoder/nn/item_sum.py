"""The input layer of models that read interactions: a sum over the user's items.

Sizes: B users, N items, D factors, Z stored interactions, C columns of the batch.
"""

from __future__ import annotations

from torch import Tensor, nn

from recoder.nn.noise import InteractionDropout
from recoder.nn.tables import FactorTable
from recoder.ops.encode import row_norms, weighted_row_sums
from recoder.ops.rows import SparseRows

__all__ = ["ItemSum"]


class ItemSum(nn.Module):
    """Sums the item rows of each user's interactions, as a dense layer would with the L2-normalised, noisy row.

    Args:
        table: the items' rows ``[N, D]``.
        noise_prob: probability with which an interaction is dropped in training.
    """

    def __init__(self, table: FactorTable, noise_prob: float) -> None:
        super().__init__()
        self.table = table
        self.noise = InteractionDropout(noise_prob, "noise")

    def forward(self, rows: SparseRows, users: Tensor | None, items: Tensor | None) -> Tensor:
        """Returns the sums: ``[B, D]``; zero for a user without items.

        Args:
            rows: interactions ``[B, C]``.
            users: int64 ``[B]``, for the noise; None: row numbers stand in.
            items: int64 ``[C]``: the item of each column; None: column ``c`` is item ``c``.
        """
        noisy = self.noise(rows, users, items)
        sums_BD = weighted_row_sums(self.table.weight, noisy, items, sparse=self.table.row_gradients)
        # scaling the sums, not the Z values: the norm may come from another process together with the sum.
        # The floor is that of torch.nn.functional.normalize; the norm is that of the row before noise
        norms_B = row_norms(rows).to(sums_BD.dtype).clamp_min(1e-12)
        return sums_BD / norms_B.unsqueeze(1)
