"""How likely an item is to be a candidate of mini-batch based negative sampling.

Sizes: U users, N items.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.special import gammaln
from torch import Tensor

from recoder.data.loader import RecommendationDataLoader
from recoder.data.mapped import item_counts

__all__ = ["log_inclusion", "log_inclusion_of"]


def log_inclusion_of(loader: RecommendationDataLoader) -> Tensor:
    """Returns the same for the candidates that a loader makes."""
    interactions, target = loader.dataset.interactions_matrix, loader.dataset.target_interactions_matrix
    return log_inclusion(
        interactions if target is None else target,
        loader.mean_sampling_users,
        loader.num_uniform_negatives,
        loader.dataset.num_catalogue_items,
    )


def log_inclusion(
    target: sparse.csr_matrix, num_sampling_users: float, num_uniform: int, num_catalogue_items: int | None = None
) -> Tensor:
    """Returns the logarithm of the probability that an item is a candidate of a super-batch: float32 ``[N]``.

    It is if one of the super-batch's users, who are drawn without replacement, has it, or one of the uniform draws is
    it. With U users, c of whom have it, S drawn leave it out with probability C(U - c, S) / C(U, S).

    Args:
        target: what the candidates are taken from, ``[U, N]``.
        num_sampling_users: users of a super-batch, on average.
        num_uniform: items drawn uniformly besides.
        num_catalogue_items: that these are drawn from; there may be more than columns. None: as many.
    """
    num_users, num_items = target.shape
    drawn = min(num_sampling_users, num_users)
    # without uniform draws an item that nobody has is no candidate; as if one user had it, it has a logarithm
    counts_N = np.maximum(item_counts(target), 0 if num_uniform else 1).astype(np.float64)
    others_N = num_users - counts_N  # none of those drawn is left over where there are fewer: it is always a candidate
    with np.errstate(divide="ignore", invalid="ignore"):
        log_absent_N = (
            gammaln(others_N + 1)
            - gammaln(np.maximum(others_N - drawn, 0) + 1)
            + gammaln(num_users - drawn + 1)
            - gammaln(num_users + 1)
        )
        log_absent_N[others_N < drawn] = -np.inf
        if num_uniform:
            log_absent_N += num_uniform * np.log1p(-1 / (num_catalogue_items or num_items))
        return torch.from_numpy(np.log(-np.expm1(log_absent_N))).to(torch.float32)
