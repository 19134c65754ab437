"""Beyond accuracy, for each user: how novel, how popular and how varied what is recommended is.

Sizes: B users, C ranks (at most k), N items of the catalogue, D dimensions of an embedding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from torch import Tensor

from recoder.errors import DataError, DataTypeError, EmptyDataError, ShapeError, UnknownIdError
from recoder.metrics.metric import ListMetric
from recoder.metrics.ranking import FloatArray, IntArray, sums_of_users

__all__ = ["AveragePopularity", "IntraListDiversity", "Novelty"]


class Novelty(ListMetric):
    """Novelty: the mean self-information of the first ``k`` recommendations, ``-log2 p(i)`` in bits.

    ``p(i)`` is item i's share of all interactions, ``popularity[i] / sum(popularity)``, the probability that an
    interaction picked at random is with it (Vargas & Castells 2011, "Rank and relevance in novelty and diversity
    metrics for recommender systems", RecSys: free discovery, here without rank discount and relevance). Zhou et
    al. 2010, "Solving the apparent diversity-accuracy dilemma", PNAS 107(10), take the share of users instead,
    which differs by the same constant for every list.

    An item without interactions would be infinitely novel; it counts like the rarest that has some. The mean
    is over the items that are there, so a short list is judged by those; an empty one is NaN and does not count.

    Args:
        k: the cut-off, at least 1.
        popularity: ``[N]``, how often each item was interacted with in training, such as
            ``interactions.matrix.getnnz(axis=0)``.

    Raises:
        ConfigError: if ``k`` is below 1.
        DataError, ShapeError, DataTypeError: if ``popularity`` is no list of finite numbers of at least 0.
        EmptyDataError: if no item has any.
    """

    def __init__(self, k: int, popularity: npt.ArrayLike) -> None:
        super().__init__(f"Novelty@{k}", k)
        popularity_N = _popularity(popularity)
        rarest = popularity_N[popularity_N > 0].min()
        self.information = np.log2(popularity_N.sum()) - np.log2(np.maximum(popularity_N, rarest))
        self.num_items = len(popularity_N)

    def from_lists(self, ranked_BC: IntArray) -> FloatArray:
        """Returns each user's mean self-information, float64 ``[B]``; NaN for an empty list."""
        return _mean_over_items(self.information, ranked_BC)


class AveragePopularity(ListMetric):
    """Average recommendation popularity (ARP): the mean popularity of the first ``k`` recommendations.

    Source: Yin et al. 2012, "Challenging the long tail recommendation", PVLDB 5(9); under this name Abdollahpouri,
    Burke & Mobasher 2019, "Managing popularity bias in recommender systems with personalized re-ranking", FLAIRS.
    The mean is over the items that are there, so a short list is judged by those; an empty one is NaN and does not
    count.

    Args:
        k: the cut-off, at least 1.
        popularity: ``[N]``, how often each item was interacted with in training, such as
            ``interactions.matrix.getnnz(axis=0)``; the values are in its unit.

    Raises:
        ConfigError: if ``k`` is below 1.
        DataError, ShapeError, DataTypeError: if ``popularity`` is no list of finite numbers of at least 0.
        EmptyDataError: if no item has any.
    """

    def __init__(self, k: int, popularity: npt.ArrayLike) -> None:
        super().__init__(f"ARP@{k}", k)
        self.popularity = _popularity(popularity)
        self.num_items = len(self.popularity)

    def from_lists(self, ranked_BC: IntArray) -> FloatArray:
        """Returns each user's mean popularity, float64 ``[B]``; NaN for an empty list."""
        return _mean_over_items(self.popularity, ranked_BC)


class IntraListDiversity(ListMetric):
    """Intra-list diversity (ILD): the mean of ``1 - cosine`` over all pairs of the first ``k`` recommendations.

    Source: Smyth & McClave 2001, "Similarity vs. diversity", ICCBR; Ziegler et al. 2005, "Improving recommendation
    lists through topic diversification", WWW, for the similarity. It is 0 where all point the same way, and at most
    2. A vector of zeros is similar to nothing: cosine 0. A short list is judged by the pairs that are there; one of
    fewer than two items has none, is NaN and does not count.

    Args:
        k: the cut-off, at least 1.
        embeddings: ``[N, D]``, a vector for each item of the catalogue: an array or a tensor, such as
            ``model.item_factors()[0]``. A normalized float64 copy is kept.

    Raises:
        ConfigError: if ``k`` is below 1.
        ShapeError: if ``embeddings`` does not have two dimensions.
        DataError, DataTypeError: if they are not finite real numbers.
    """

    def __init__(self, k: int, embeddings: npt.ArrayLike | Tensor) -> None:
        super().__init__(f"ILD@{k}", k)
        vectors_ND = _finite_array("embeddings", embeddings, num_dims=2)
        norms_N = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
        self.directions = np.divide(vectors_ND, norms_N, out=np.zeros_like(vectors_ND), where=norms_N > 0)
        self.num_items = len(vectors_ND)

    def from_lists(self, ranked_BC: IntArray) -> FloatArray:
        """Returns each user's diversity, float64 ``[B]``; NaN for fewer than two items."""
        users, items, lengths_B = _items_of_lists(ranked_BC, len(self.directions))
        offsets = np.concatenate([[0], lengths_B.cumsum()])
        shape = (len(ranked_BC), len(self.directions))
        sums_BD = sparse.csr_matrix((np.ones(len(items)), items, offsets), shape=shape) @ self.directions
        # the cosines of all pairs add up to |sum|^2 less those of each item with itself: C D operations, not C^2 D
        own_N = np.einsum("nd,nd->n", self.directions, self.directions)
        cosines_B = np.einsum("bd,bd->b", sums_BD, sums_BD) - sums_of_users(users, own_N[items], len(ranked_BC))
        pairs_B = np.where(lengths_B > 1, lengths_B * (lengths_B - 1.0), np.nan)
        diversity_B: FloatArray = np.clip(1 - cosines_B / pairs_B, 0, 2)  # rounding may lead out of it
        return diversity_B


def _mean_over_items(values_N: FloatArray, ranked_BC: IntArray) -> FloatArray:
    users, items, lengths_B = _items_of_lists(ranked_BC, len(values_N))
    return sums_of_users(users, values_N[items], len(ranked_BC)) / np.where(lengths_B > 0, lengths_B, np.nan)


def _items_of_lists(ranked_BC: IntArray, num_items: int) -> tuple[npt.NDArray[np.intp], IntArray, IntArray]:
    """Returns all recommended items and whose they are, from the first user's best on, and each list's length."""
    highest = ranked_BC.max(initial=-1)
    if highest >= num_items:
        raise UnknownIdError(
            f"item {highest} is recommended, outside the metric's {num_items} items; "
            "give the metric an entry for each item of the catalogue"
        )
    users, ranks = (ranked_BC >= 0).nonzero()
    return users, ranked_BC[users, ranks], np.bincount(users, minlength=len(ranked_BC)).astype(np.int64)


def _popularity(popularity: npt.ArrayLike) -> FloatArray:
    popularity_N = _finite_array("popularity", popularity, num_dims=1)
    if (popularity_N < 0).any():
        raise DataError(f"popularity holds {popularity_N.min():g}; pass how often each item was interacted with")
    if not popularity_N.any():
        raise EmptyDataError("popularity is 0 for every item; pass how often each item was interacted with in training")
    return popularity_N


def _finite_array(name: str, given: npt.ArrayLike | Tensor, num_dims: int) -> FloatArray:
    array = given.detach().cpu().double().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if array.dtype.kind not in "buif":
        raise DataTypeError(f"{name} holds {array.dtype}; pass an array of real numbers")
    if array.ndim != num_dims or 0 in array.shape:
        raise ShapeError(
            f"{name} has shape {array.shape}; pass {('a number', 'a vector')[num_dims - 1]} for each item, "
            f"{('[N]', '[N, D]')[num_dims - 1]}"
        )
    numbers = array.astype(np.float64)  # a copy: the caller's array may change
    if not np.isfinite(numbers).all():
        raise DataError(f"{name} holds {(~np.isfinite(numbers)).sum()} values that are NaN or infinite")
    return numbers
