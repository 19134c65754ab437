"""Which rows of a model's tables this process has, where several have a part of them each.

Sizes: N items, n of them here, U users, u of them here, B users in the batch, D factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recoder.nn.tables import FactorTable
from recoder.ops.collectives import ALONE, Ranks, summed

__all__ = ["WHOLE", "Parts"]


@dataclass(frozen=True, eq=False)
class Parts:
    """The rows of the tables that are here.

    Attributes:
        ranks: the processes that have the others; each row is with one of them.
        items: int64 ``[n]``, ascending: the items here; None: all.
        users: int64 ``[u]``, ascending: likewise the users, for models that look users up.
    """

    ranks: Ranks = ALONE
    items: Tensor | None = None
    users: Tensor | None = None

    def to(self, device: torch.device) -> Parts:
        """Returns the same with the ids on a device."""
        items, users = (None if ids is None else ids.to(device) for ids in (self.items, self.users))
        return Parts(self.ranks, items, users)

    def catalogue_ids(self, items: Tensor | None) -> Tensor | None:
        """Returns which items of the catalogue these items here are; None: all, in order."""
        if self.items is None or items is None:
            return items if items is not None else self.items
        return self.items[items]

    def user_rows(self, table: FactorTable, users: Tensor) -> Tensor:
        """Returns the rows of these users, wherever they are: ``[B, D]``.

        Args:
            table: of the users here.
            users: int64 ``[B]``.
        """
        if self.users is None:
            return table.rows(users)
        places_B = torch.searchsorted(self.users, users).clamp_max(max(0, len(self.users) - 1))
        here = (self.users[places_B] == users).nonzero().squeeze(1) if len(self.users) else users[:0]
        own = table.rows(places_B[here])
        return summed(self.ranks, own.new_zeros(len(users), own.shape[1]).index_copy(0, here, own))


WHOLE = Parts()
"""All rows are here."""
