from __future__ import annotations

import torch

from recoder.ops.collectives import Ranks
from recoder.ops.score_losses import over_all_items


class Two(Ranks):
    """Two processes; the other has what it is made with."""

    def __init__(self, logs_B, counts_B):
        super().__init__()
        self.size, self._others = 2, torch.stack([logs_B, counts_B])

    def gathered(self, tensor):
        return [tensor, self._others]


def test_users_whose_items_are_all_elsewhere_or_nowhere_have_finite_sums():
    nothing = -torch.inf
    # the first user has items here, the second at the other process, the third nowhere
    here = [torch.tensor([1.0, nothing, nothing])]
    other = Two(torch.tensor([nothing, 2.0, nothing]), torch.tensor([0.0, 3.0, 0.0]))
    logs_B, counts_B = over_all_items(here, torch.tensor([4.0, 0.0, 0.0]), other)
    assert logs_B.tolist() == [1.0, 2.0, 0.0]
    assert counts_B.tolist() == [4.0, 3.0, 0.0]
    logs_B, _ = over_all_items([], torch.zeros(3), Two(torch.full((3,), nothing), torch.zeros(3)))
    assert logs_B.tolist() == [0.0, 0.0, 0.0]
