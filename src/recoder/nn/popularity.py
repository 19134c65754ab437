"""The baseline that every recommender must beat: the same popular items for everyone."""

from __future__ import annotations

from typing import Any

import torch
from scipy import sparse
from torch import Tensor

from recoder.data.mapped import item_counts
from recoder.errors import ConfigError
from recoder.nn.base import FactorizationModel, not_initialized
from recoder.ops.rows import SparseRows

__all__ = ["Popularity"]


class Popularity(FactorizationModel):
    """Scores an item by the number of users who interacted with it."""

    counts: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("counts", None)

    def init_model(self, num_items: int | None = None, num_users: int | None = None) -> None:
        """Sets the counts of ``num_items`` items to zero; ``num_users`` is not used."""
        if num_items is None or num_items < 1:
            raise ConfigError(f"num_items is {num_items}; popularity needs at least 1 item")
        self.counts = torch.zeros(num_items)

    def model_params(self) -> dict[str, Any]:
        """Returns no hyper-parameters: there are none."""
        return {}

    def load_model_params(self, model_params: dict[str, Any]) -> None:
        """Takes over no hyper-parameters: there are none."""

    def solve(self, interactions: sparse.csr_matrix) -> None:
        """Counts the users of each item."""
        if self.counts is None:
            raise not_initialized(self)
        counts = torch.from_numpy(item_counts(interactions))
        self.counts.zero_()
        self.counts[: len(counts)] = counts.to(self.counts)

    def user_factors(self, input: SparseRows, users: Tensor | None = None, items: Tensor | None = None) -> Tensor:
        """Returns ones: ``[B, 1]``."""
        if self.counts is None:
            raise not_initialized(self)
        return self.counts.new_ones(input.num_rows, 1)

    def item_factors(self, items: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Returns the counts, ``[I, 1]``, and no biases."""
        if self.counts is None:
            raise not_initialized(self)
        counts = self.counts if items is None else self.counts[items]
        return counts.unsqueeze(1), None
