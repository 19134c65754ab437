"""What is most similar to what.

Sizes: Q asked for, R rows of a table, N items, U users, D factors, K neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy import sparse

from recoder.api.answering import have_no_score, kept_first, no_lists
from recoder.data import UsersInteractions
from recoder.errors import ConfigError
from recoder.model import Recoder
from recoder.ops.search import FactorSearch
from recoder.ops.topk import top_k

__all__ = ["similar_items", "similar_users"]

Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.floating[Any]]]


@torch.no_grad()
def similar_items(
    recoder: Recoder,
    cols_Q: npt.NDArray[np.int64],
    k: int,
    items: npt.NDArray[np.int64] | None,
    item_counts: npt.NDArray[np.int64],
) -> Found:
    """Returns the most similar items and how similar they are, ``[Q, K]``, an item itself left out.

    By the cosine of their factors; for a model without them by the score for a user with the item as only interaction.

    Args:
        recoder: what was trained.
        cols_Q: the items; there may be none.
        k: K.
        items: ascending: the only ones to choose from; None: all.
        item_counts: int64 ``[N]``: users of each item in training, all 0 where they are not known.

    Items without users have no similar ones; without factors, nor have those that nobody has beside another.

    Raises:
        ConfigError: if items have a single factor, so that all are alike, or the model has none and looks users up.
    """
    if not len(cols_Q):
        return no_lists(k)
    num_items = recoder.num_items or 0
    itself = sparse.csr_matrix(
        (np.ones(len(cols_Q), np.float32), (np.arange(len(cols_Q)), cols_Q)), shape=(len(cols_Q), num_items)
    )
    one_each = UsersInteractions(np.arange(len(cols_Q)), itself)
    is_known_N = item_counts > 0 if item_counts.any() else np.ones(num_items, bool)
    known = None if is_known_N.all() else np.flatnonzero(is_known_N)
    if not recoder.model.is_factorized:
        if not recoder.model.folds_in_users:
            raise ConfigError(
                f"a {type(recoder.model).__name__} has no factors of items, and looks users up: which items are "
                "similar does not follow from it"
            )
        scorer, choice = recoder.scorer(), known if items is None else items[is_known_N[items]]
        ids_QK, scores_QK = scorer.best(one_each, k, items=choice)
        ids_QK[have_no_score(scorer, one_each, ids_QK, scores_QK)] = -1
        return ids_QK, scores_QK
    factors_ND = recoder.model.item_factors()[0].detach()
    if factors_ND.shape[1] == 1:
        raise ConfigError(f"items of a {type(recoder.model).__name__} are not similar to one another: one number each")
    choice = known if items is None else items[is_known_N[items]]
    ids_QK, cosines_QK = _nearest(factors_ND, cols_Q, choice, k)
    ids_QK[~is_known_N[cols_Q]] = -1
    return ids_QK, cosines_QK


@torch.no_grad()
def similar_users(recoder: Recoder, known: UsersInteractions, rows_Q: npt.NDArray[np.int64], k: int) -> Found:
    """Returns the most similar users and how similar they are, ``[Q, K]``, a user self left out.

    By the cosine of their factors; for a model without them by that of their interactions. A model that folds users in
    knows nothing of those without interactions: they find nobody and nobody finds them.

    Args:
        recoder: what was trained.
        known: all users ``[U]``.
        rows_Q: those that are asked for; there may be none.
        k: K.

    Raises:
        ConfigError: if users have a single factor, so that all are alike.
    """
    if not len(rows_Q):
        return no_lists(k)
    has_history_U = np.diff(known.interactions_matrix.indptr) > 0
    by_histories = recoder.model.folds_in_users or not recoder.model.is_factorized
    is_known_U = has_history_U if by_histories else np.ones(len(known), bool)
    ids_QK, scores_QK = _similar_among(np.flatnonzero(is_known_U), recoder, known, rows_Q, k)
    ids_QK[~is_known_U[rows_Q]] = -1
    return ids_QK, scores_QK


def _similar_among(
    choice: npt.NDArray[np.int64], recoder: Recoder, known: UsersInteractions, rows_Q: npt.NDArray[np.int64], k: int
) -> Found:
    if not recoder.model.is_factorized:
        return _nearest_histories(known.interactions_matrix, rows_Q, choice, k)
    factors_UD = torch.cat(list(recoder.scorer().user_factors(known)))
    if factors_UD.shape[1] == 1:
        raise ConfigError(f"users of a {type(recoder.model).__name__} are not similar to one another: one number each")
    return _nearest(factors_UD, rows_Q, choice, k)


def _nearest(
    factors_RD: torch.Tensor, rows_Q: npt.NDArray[np.int64], choice: npt.NDArray[np.int64] | None, k: int
) -> Found:
    """Returns the nearest of ``choice``, ascending rows (None: all), to each of some rows by the cosine."""
    rows = torch.from_numpy(rows_Q).to(factors_RD.device)
    among = None if choice is None else torch.from_numpy(choice).to(factors_RD.device)
    units_ID = F.normalize((factors_RD if among is None else factors_RD[among]).float(), dim=1)
    # one more: a row is its own nearest
    search = FactorSearch(units_ID, None, k + 1)
    blocks = torch.split(F.normalize(factors_RD[rows].float(), dim=1), search.users_per_block)
    places, cosines = (torch.cat(parts) for parts in zip(*map(search.top_k, blocks), strict=True))
    ids = places if among is None else torch.where(places < 0, -1, among[places.clamp_min(0)])
    return _without_itself(ids.cpu().numpy(), cosines.cpu().numpy(), rows_Q, k)


def _nearest_histories(
    matrix_UN: sparse.csr_matrix, rows_Q: npt.NDArray[np.int64], choice: npt.NDArray[np.int64], k: int
) -> Found:
    lengths_U = np.sqrt(np.asarray(matrix_UN.multiply(matrix_UN).sum(axis=1)).ravel())
    units_UN = sparse.diags(1 / np.maximum(lengths_U, np.finfo(np.float32).tiny)) @ matrix_UN
    # transposed as it is, it would be turned into rows again for every block
    choice_units = (units_UN if len(choice) == units_UN.shape[0] else units_UN[choice]).T.tocsr()
    per_block = max(1, (1 << 23) // matrix_UN.shape[0])
    found = []
    for start in range(0, len(rows_Q), per_block):
        cosines = (units_UN[rows_Q[start : start + per_block]] @ choice_units).toarray().astype(np.float32)
        found.append(top_k(torch.from_numpy(cosines), k + 1))
    places, cosines = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return _without_itself(np.where(places < 0, -1, choice[places]), cosines, rows_Q, k)


def _without_itself(
    ids_QM: npt.NDArray[np.int64], scores_QM: npt.NDArray[np.floating[Any]], rows_Q: npt.NDArray[np.int64], k: int
) -> Found:
    """Returns the first k of each row that are not the row itself."""
    return kept_first(ids_QM, scores_QM, ids_QM != rows_Q[:, None], k)
